//! Masks as a user names them, with the model whose they are where one is named.

use crate::models::{self, OptionArguments};
use lopper_core::{Error, MaskSet, Model, Result};
use lopper_weights::{GivenMask, saved_model_options};
use std::path::{Path, PathBuf};
use tch::Device;

/// The model that masks are read for.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ForModel {
    /// Checkpoint directory whose masks they are: its names are found in every spelling, its order counts, and what has no
    /// mask is kept whole [default: by the files' own names]
    #[arg(long, value_name = "DIR")]
    pub(super) model: Option<PathBuf>,

    #[command(flatten)]
    options: OptionArguments,
}

/// A mask, and what the user named.
pub(super) struct MaskFile {
    pub(super) path: PathBuf,
    pub(super) mask: MaskSet,
}

impl ForModel {
    /// The model, with the options that `given` were made with unless others are given; `None` where none is named.
    ///
    /// # Errors
    /// Those of the plugin.
    pub(super) fn open(&self, given: &[&GivenMask]) -> Result<Option<Box<dyn Model>>> {
        let Some(directory) = &self.model else { return Ok(None) };
        let path = models::locate(directory.as_os_str())?;
        let entry = models::plugin(None, &path)?;
        let options = self.options.recorded(&record(given, &path));
        options.open(entry, path, Device::Cpu).map(Some)
    }
}

/// The options by which masks and a model know what there is to prune: those of the masks where these are Lopper's, and of the
/// model's own record otherwise.
pub(super) fn record(given: &[&GivenMask], directory: &Path) -> Vec<String> {
    match given.iter().find(|given| given.own) {
        Some(own) => own.model_options(),
        None => saved_model_options(directory),
    }
}

/// Masks of the same tensors, in one order: that of the model, or else of the first that Lopper wrote, or else of names.
///
/// # Errors
/// Everything wrong with the files; masks that are not of the same tensors.
pub(super) fn read_all(paths: &[PathBuf], model: &ForModel) -> Result<Vec<MaskFile>> {
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match GivenMask::read(path) {
            Ok(file) => given.push(file),
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems)?;
    let file = |given: &GivenMask, mask| MaskFile { path: given.path.clone(), mask };
    if let Some(model) = model.open(&given.iter().collect::<Vec<_>>())? {
        let fitted: Vec<_> = given.iter().map(|given| given.told_for_model(model.as_ref())).collect();
        let (fitted, problems): (Vec<_>, Vec<_>) = fitted.into_iter().partition(Result::is_ok);
        Error::all(problems.into_iter().filter_map(Result::err).collect())?;
        return Ok(given.iter().zip(fitted.into_iter().flatten()).map(|(given, mask)| file(given, mask)).collect());
    }
    let Some(first) = given.iter().find(|given| given.own).or(given.first()) else { return Ok(Vec::new()) };
    let layout = first.mask.layout();
    for other in &given {
        let context = format!("{} and {}", first.path.display(), other.path.display());
        layout.check_same_tensors(other.mask.layout(), &context).map_err(|error| match first.own && other.own {
            true => error.into(),
            false => Error::Other(format!(
                "{error}\nwith --model DIR they are read by the names of that model, in every spelling"
            )),
        })?;
    }
    given.iter().map(|given| Ok(file(given, given.mask.clone().in_order_of(layout)?))).collect()
}
