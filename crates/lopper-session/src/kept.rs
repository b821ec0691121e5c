//! Which entries of named tensors a file holds, where all that a mask prunes is zero and is left out.

use lopper_core::{MaskSet, Result};
use lopper_weights::{SealedTensors, save_kept_tensors};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Kind, Tensor};

/// What an optimizer counts for a parameter is no tensor of its shape.
const STEP: &str = "step";

/// The bits of those tensors that a mask prunes anything of, by the names of their parameters.
#[derive(Debug, Default)]
pub(crate) struct Kept<'a>(BTreeMap<&'a str, &'a [u64]>);

impl<'a> Kept<'a> {
    /// With `None` every tensor is whole.
    pub(crate) fn by(mask: Option<&'a MaskSet>) -> Self {
        let tensors = mask.into_iter().flat_map(|mask| mask.tensors().zip(mask.words()));
        let pruned = tensors.filter(|((_, entries, kept, _), _)| kept < entries);
        Self(pruned.map(|((name, ..), words)| (name.as_str(), words.as_ref())).collect())
    }

    /// Of a parameter; `None` where all of it is kept.
    pub(crate) fn of(&self, parameter: &str) -> Option<&'a [u64]> {
        self.0.get(parameter).copied()
    }

    /// Of an entry of [`OptimizerState::state`](crate::OptimizerState::state).
    pub(crate) fn of_state(&self, name: &str) -> Option<&'a [u64]> {
        let (kind, parameter) = name.split_once('.')?;
        self.of(parameter).filter(|_| kind != STEP)
    }
}

/// Tensors as [`save`] takes them.
pub(crate) fn named(tensors: &BTreeMap<String, Tensor>) -> impl Iterator<Item = (&str, &Tensor)> {
    tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
}

/// Writes named tensors, of those with bits what they keep, and returns the file's hash.
///
/// # Errors
/// [`Error::File`](lopper_core::Error::File) naming the path; errors of libtorch.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    kept: impl Fn(&str) -> Option<&'a [u64]>,
) -> Result<String> {
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor, kept(name)));
    save_kept_tensors(path, tensors, &BTreeMap::new())
}

/// Why tensor `name` of a file of [`save`] cannot be read into one of that kind and shape, with its bits if it has some; `None`
/// where it can.
pub(crate) fn problem(
    file: &SealedTensors,
    name: &str,
    (kind, shape): (Kind, &[i64]),
    kept: Option<&[u64]>,
) -> Option<String> {
    match kept {
        Some(words) => file.kept_problem(name, kind, shape, words),
        None => file.problem(name, kind, shape),
    }
}

/// Reads tensor `name` of a file of [`save`] into `tensor`; entries that its bits leave out become +0.
///
/// # Errors
/// [`Error::File`](lopper_core::Error::File) for what [`problem`] finds and when the disk fails half-way; errors of libtorch.
pub(crate) fn read_into(file: &SealedTensors, name: &str, tensor: &mut Tensor, kept: Option<&[u64]>) -> Result<()> {
    match kept {
        Some(words) => file.read_kept_into(name, tensor, words),
        None => file.read_into(name, tensor),
    }
}
