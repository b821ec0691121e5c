//! Masks as people bring them: Lopper's own, and those of torch, in files and directories. One reader for every command.

mod look;
mod tensors;
mod values;

use crate::regular::read_mask;
use crate::tensors::read_metadata;
use lopper_core::{Error, MASK_METADATA_KEY, MaskOrigin, MaskSet, Model, ParameterName, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Names that a note shows.
const SHOWN: usize = 3;
/// The key of a mask's origin for options of the model without which it would have other prunable tensors.
const OPTIONS: &str = "model_options";

/// A mask as its file has it.
#[derive(Debug, Clone)]
pub struct GivenMask {
    /// What the user named.
    pub path: PathBuf,
    /// Whether the file is one of Lopper's, whose names and order are a model's.
    pub own: bool,
    /// With the file's names: those of the parameters, without what marks them as masks. Torch's files have no order, so theirs
    /// is that of names.
    pub mask: MaskSet,
    /// Where a mask of Lopper's came from.
    pub origin: MaskOrigin,
}

/// A mask of a model.
#[derive(Debug, Clone)]
pub struct ModelMask {
    /// With the model's names, in its order.
    pub mask: MaskSet,
    /// One line for each thing that was added, left out or renamed, with counts.
    pub notes: Vec<String>,
}

impl GivenMask {
    /// Reads a mask: a mask file of Lopper; `NAME_mask` tensors in safetensors or in a file of `torch.save`, alone or beside
    /// weights, in dictionaries that may hold one another; a file in which every tensor is a mask under its parameter's name.
    /// Of a directory, its `mask.safetensors` or that of its `model/`, of which a finished run has one, `mask.pt`, `mask.pth`, or the checkpoint that it holds.
    ///
    /// A mask's values are 0 (pruned) and 1 (kept), in any type. Nothing of a file is ever run.
    ///
    /// # Errors
    /// [`Error::File`] for what is no mask, with the command that converts it where there is one; every tensor whose values are
    /// others.
    pub fn read(path: &Path) -> Result<Self> {
        let file = look::locate(path)?;
        let own = read_metadata(&file).is_ok_and(|metadata| metadata.contains_key(MASK_METADATA_KEY));
        let (mask, origin) =
            if own { read_mask(&file) } else { tensors::read(&file).map(|mask| (mask, MaskOrigin::new())) }
                .map_err(|error| named(error, path))?;
        Ok(Self { path: path.to_owned(), own, mask, origin })
    }

    /// The mask of a model, by the names that its plugin knows and in the model's order.
    ///
    /// # Errors
    /// [`Error::Layout`] for a mask that is not of this model; see [`MaskSet::fitted_to`].
    pub fn for_model(&self, model: &dyn Model) -> Result<ModelMask> {
        let layout = Arc::new(model.layout()?);
        let options = options_of(model);
        let with = if options.is_empty() { String::new() } else { format!(", with {options},") };
        let context = format!("{} and the model{with} do not fit", self.path.display());
        let fitted = self.mask.fitted_to(&layout, |name| model.own_name(name), &context)?;
        let mut notes = Vec::new();
        let quantity = |number: usize| if number == 1 { "1 tensor".to_owned() } else { format!("{number} tensors") };
        for (prefix, number) in &fitted.prefixes {
            notes.push(format!("`{prefix}` before the names of {} is left out", quantity(*number)));
        }
        if !fitted.whole.is_empty() {
            let entries = |name: &ParameterName| {
                layout.tensors().iter().find(|tensor| tensor.name() == name).map_or(0, |tensor| tensor.entries())
            };
            notes.push(format!(
                "{} of {} prunable ones ({} of {} entries) without a mask: kept whole ({})",
                quantity(fitted.whole.len()),
                layout.tensors().len(),
                fitted.whole.iter().map(entries).sum::<u64>(),
                layout.entries(),
                shown(&fitted.whole)
            ));
        }
        if !fitted.left_out.is_empty() {
            notes.push(format!(
                "{} that the model does not offer for pruning: masks that keep everything, left out ({})",
                quantity(fitted.left_out.len()),
                shown(&fitted.left_out)
            ));
        }
        Ok(ModelMask { mask: fitted.mask, notes })
    }

    /// The mask of a model, as [`for_model`](Self::for_model) has it, with one warning for each of its notes.
    ///
    /// # Errors
    /// Those of [`for_model`](Self::for_model).
    pub fn told_for_model(&self, model: &dyn Model) -> Result<MaskSet> {
        let ModelMask { mask, notes } = self.for_model(model)?;
        for note in notes {
            tracing::warn!(mask = %self.path.display(), "{note}");
        }
        Ok(mask)
    }

    /// The options of the model, each `KEY=VALUE`, that a mask of Lopper's was made with, where they decide which tensors there
    /// are to prune.
    pub fn model_options(&self) -> Vec<String> {
        recorded(&self.origin)
    }
}

/// The options of a model, each `KEY=VALUE`, that the record of one that Lopper saved names, where they decide which tensors
/// there are to prune. Nothing for any other directory.
pub fn saved_model_options(directory: &Path) -> Vec<String> {
    crate::save::origin_of(directory).map(|origin| recorded(&origin)).unwrap_or_default()
}

/// Puts into the origin of a mask which options of its model decided what there is to prune.
pub fn record_model_options(origin: &mut MaskOrigin, model: &dyn Model) {
    let options = options_of(model);
    if !options.is_empty() {
        origin.insert(OPTIONS.to_owned(), options);
    }
}

fn options_of(model: &dyn Model) -> String {
    let options = model.prunable_options();
    options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
}

fn recorded(origin: &MaskOrigin) -> Vec<String> {
    origin.get(OPTIONS).map(|options| options.split(' ').map(str::to_owned).collect()).unwrap_or_default()
}

fn shown(names: &[ParameterName]) -> String {
    let first: Vec<&str> = names.iter().take(SHOWN).map(ParameterName::as_str).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", first.join(", "))
}

/// The error; of a tensor's values, which know no file, with what the user named.
fn named(error: Error, path: &Path) -> Error {
    match error {
        Error::Many(errors) => Error::Many(errors.into_iter().map(|error| named(error, path)).collect()),
        Error::InvalidValue { key, value, expected } => {
            Error::file(path, format!("{key} = {value} is not accepted: {expected}"))
        }
        error => error,
    }
}
