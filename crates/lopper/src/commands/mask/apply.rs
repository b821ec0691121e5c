//! `lopper mask apply`: a model with a mask's zeros in place.

use super::read;
use crate::commands::prune::{DtypeArgument, save};
use crate::models::ModelArguments;
use lopper_core::{Error, Result};
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Mask file, or a directory with a mask.safetensors
    mask: PathBuf,

    #[command(flatten)]
    model: ModelArguments,

    /// Directory for the pruned model and its mask; one that Lopper saved is replaced
    #[arg(long)]
    out: PathBuf,

    #[command(flatten)]
    dtype: DtypeArgument,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let (file, open) = match (read(&self.mask), self.model.open()) {
            (Ok(file), Ok(open)) => (file, open),
            (file, open) => return Error::all(file.err().into_iter().chain(open.err()).collect()),
        };
        let model = open.model.as_ref();
        // A mask says what goes, whatever the order in which its tensors were ranked.
        let mask = file.mask.in_order_of(&std::sync::Arc::new(model.layout()?))?;
        let mut origin = file.origin;
        origin.insert("applied_to".into(), self.model.source());
        let by = format!("the mask {}", self.mask.display());
        save((&self.out, self.dtype), model, &self.model.source(), &mask, &origin, by, json)
    }
}
