//! `lopper mask union` and `lopper mask intersect`.

use super::given::{ForModel, read_all};
use super::{check_free, write};
use crate::output::{self, count};
use lopper_core::{Error, MaskOrigin, Result};
use serde::Serialize;
use std::path::PathBuf;

/// What is made of what masks keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Union,
    Intersection,
}

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Mask files, or directories with a mask.safetensors
    #[arg(required = true, num_args = 2..)]
    masks: Vec<PathBuf>,

    /// File for the new mask; a mask file that Lopper wrote is replaced
    #[arg(long)]
    out: PathBuf,

    #[command(flatten)]
    of: ForModel,
}

#[derive(Serialize)]
struct Combined {
    masks: Vec<PathBuf>,
    operation: &'static str,
    mask: PathBuf,
    entries: u64,
    kept: u64,
    pruned: u64,
    sparsity: f64,
}

impl Arguments {
    pub(super) fn execute(&self, operation: Operation, json: bool) -> Result<()> {
        let files = match (read_all(&self.masks, &self.of), check_free(&self.out)) {
            (Ok(files), Ok(())) => files,
            (files, free) => return Error::all(files.err().into_iter().chain(free.err()).collect()),
        };
        let name = if operation == Operation::Union { "union" } else { "intersection" };
        let names: Vec<String> = self.masks.iter().map(|path| path.display().to_string()).collect();
        let origin = MaskOrigin::from([
            ("lopper".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("method".to_owned(), name.to_owned()),
            ("of".to_owned(), names.join(", ")),
        ]);
        let mut files = files.into_iter().map(|file| file.mask);
        let first = files.next().ok_or_else(|| Error::Other("no mask was given".into()))?;
        let mask = files.try_fold(first, |mask, other| match operation {
            Operation::Union => mask.union(&other),
            Operation::Intersection => mask.intersection(&other),
        })?;
        write(&self.out, &mask, &origin)?;
        let combined = Combined {
            masks: self.masks.clone(),
            operation: name,
            mask: self.out.clone(),
            entries: mask.layout().entries(),
            kept: mask.kept(),
            pruned: mask.pruned(),
            sparsity: mask.sparsity().get(),
        };
        output::report(json, &combined, || {
            let (kept, entries) = (count(combined.kept), count(combined.entries));
            let sparsity = combined.sparsity;
            format!(
                "{name} of {} masks: keeps {kept} of {entries} entries, sparsity {sparsity:.6}\nmask   {}",
                names.len(),
                self.out.display()
            )
        })
    }
}
