//! Mask transfer with regular finetuning (paper, sections 4.3 and 4.5): a mask found elsewhere over theta_0.

use lopper_core::{Error, InitialMask, PruningStrategy, Result, RunSpec, Stage, options, strategy};
use std::path::PathBuf;

options! {
    /// Options of a transfer.
    pub struct TransferOptions {
        /// The mask: a file, the directory of a finished run (with or without its model), or that of a pruned model. The run's sparsity is the mask's, and need not be given.
        mask: PathBuf = PathBuf::new(),
    }
}

/// Lays a given mask over theta_0 and finetunes what is left. PARP's side of the comparison is `parp` with
/// `initial` set to the same file.
#[derive(Debug)]
pub struct Transfer {
    options: TransferOptions,
}

impl Transfer {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] when no mask is named.
    pub fn new(options: TransferOptions) -> Result<Self> {
        if options.mask.as_os_str().is_empty() {
            return Err(Error::invalid(
                "[prune] mask",
                "\"\"",
                "the path of a mask file or of a finished run for the method `transfer`",
            ));
        }
        Ok(Self { options })
    }
}

impl PruningStrategy for Transfer {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let given = InitialMask::Load(self.options.mask.clone());
        Ok(vec![Stage::dense(run).named(format!("transfer at {}", run.sparsity)).mask(given)])
    }
}

strategy! {
    name: "transfer",
    summary: "a mask found on another task over the pre-trained weights, then one finetuning",
    options: TransferOptions,
    open: Transfer::new,
}
