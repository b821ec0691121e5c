//! `lopper mask apply`: a model with a mask's zeros in place.

use super::given::record;
use crate::commands::prune::{DtypeArgument, save};
use crate::models::ModelArguments;
use lopper_core::{Error, Result};
use lopper_weights::{GivenMask, record_model_options};
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Mask file of Lopper or of torch, or a directory that holds one. What the model has and it has not is kept whole
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
        let device = lopper_torch::resolve_device(&self.model.device);
        let found = Error::both(device, self.model.locate());
        let (given, (device, (path, entry))) = Error::both(GivenMask::read(&self.mask), found)?;
        // The mask knows what there was to prune where it was made.
        let options = self.model.options.recorded(&record(&[&given], &path));
        let model = options.open(entry, path, device)?;
        let model = model.as_ref();
        let mask = given.told_for_model(model)?;
        let mut origin = given.origin;
        origin.insert("applied_to".into(), self.model.source());
        record_model_options(&mut origin, model);
        let by = format!("the mask {}", self.mask.display());
        save((&self.out, self.dtype), model, &self.model.source(), &mask, &origin, by, json)
    }
}
