//! Which entries of named tensors a file holds, where all that a mask prunes is zero and is left out.

use lopper_core::MaskSet;
use lopper_weights::save_kept_tensors;
use std::collections::BTreeMap;
use std::path::Path;
use tch::Tensor;

/// What an optimizer counts for a parameter is no tensor of its shape.
const STEP: &str = "step";

/// The bits of those tensors that a mask prunes anything of, by the names of their parameters.
#[derive(Debug, Default)]
pub(crate) struct Kept<'a>(BTreeMap<&'a str, &'a [u64]>);

impl<'a> Kept<'a> {
    /// With `None` every tensor is whole.
    pub(crate) fn by(mask: Option<&'a MaskSet>) -> Self {
        let named = mask.into_iter().flat_map(|mask| mask.layout().tensors().iter().zip(mask.words()));
        let pruned = named.filter(|(tensor, words)| {
            words.iter().map(|word| u64::from(word.count_ones())).sum::<u64>() < tensor.entries()
        });
        Self(pruned.map(|(tensor, words)| (tensor.name().as_str(), words.as_ref())).collect())
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

/// Writes named tensors, of those with bits what they keep, and returns the file's hash.
///
/// # Errors
/// [`Error::File`](lopper_core::Error::File) naming the path; errors of libtorch.
pub(crate) fn save<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    kept: impl Fn(&str) -> Option<&'a [u64]>,
) -> lopper_core::Result<String> {
    let tensors = tensors.into_iter().map(|(name, tensor)| (name, tensor, kept(name)));
    save_kept_tensors(path, tensors, &BTreeMap::new())
}
