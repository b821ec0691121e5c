//! From the tensors of a checkpoint to those of an architecture: names, shapes and values are checked first.

use lopper_core::{Error, ParameterName, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tch::Tensor;

/// Named tensors to read from.
pub trait Source {
    /// All names.
    fn names(&self) -> Vec<String>;
    /// Dimensions, outermost first.
    fn shape(&self, name: &str) -> Option<Vec<u64>>;
    /// A float32 CPU tensor of its own memory.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be read.
    fn tensor(&self, name: &str) -> Result<Tensor>;
}

impl Source for lopper_weights::Checkpoint {
    fn names(&self) -> Vec<String> {
        self.names().map(|name| name.to_string()).collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.shape(name).map(|shape| shape.to_vec())
    }

    fn tensor(&self, name: &str) -> Result<Tensor> {
        self.tensor(name)
    }
}

/// A checkpoint's tensors under a model's own names, which are Hugging Face's.
#[derive(Debug)]
pub struct Named<'a, S> {
    source: &'a S,
    /// From the model's name to the checkpoint's.
    names: BTreeMap<String, String>,
    twice: Vec<String>,
}

impl<'a, S: Source> Named<'a, S> {
    /// `canonical` gives the model's name for a checkpoint's, or `None` for what the model has no use for.
    pub fn new(source: &'a S, canonical: impl Fn(&str) -> Option<String>) -> Self {
        let (mut names, mut twice) = (BTreeMap::new(), Vec::new());
        for name in source.names() {
            let Some(canonical) = canonical(&name) else { continue };
            if let Some(other) = names.insert(canonical.clone(), name.clone()) {
                twice.push(format!("`{other}` and `{name}` are both `{canonical}`"));
            }
        }
        Self { source, names, twice }
    }

    /// The model's names of the tensors there are, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The checkpoint's name of what has that name here.
    pub fn original(&self, name: &str) -> Option<&str> {
        self.names.get(name).map(String::as_str)
    }

    /// Dimensions of the tensor of that name, outermost first.
    pub fn shape(&self, name: &str) -> Option<Vec<u64>> {
        self.source.shape(self.names.get(name)?)
    }

    /// The tensors that `expected` lists, in its order, float32 on the CPU. Those of which `is_fresh` holds are made by
    /// `draw` whether or not the checkpoint has them; tensors that `known` accepts may be there beside the expected
    /// ones. `path` names the checkpoint in errors, and `by` what the expected shapes come from, such as `config.json`.
    ///
    /// # Errors
    /// [`Error::Layout`] with everything missing, unexpected or of another shape, before any tensor is read;
    /// [`Error::File`] naming tensor and index for every tensor that holds a NaN or an infinity.
    pub fn load(
        &self,
        expected: Vec<(ParameterName, Vec<u64>)>,
        is_fresh: impl Fn(&str) -> bool,
        known: impl Fn(&str) -> bool,
        draw: impl Fn(&str, &[u64]) -> Result<Tensor>,
        (path, by): (&Path, &str),
    ) -> Result<Vec<(ParameterName, Tensor)>> {
        self.check(&expected, &is_fresh, known, path, by)?;
        let mut problems = Vec::new();
        let mut tensors = Vec::with_capacity(expected.len());
        for (name, shape) in expected {
            let tensor = match self.names.get(name.as_str()) {
                Some(source) if !is_fresh(name.as_str()) => self.source.tensor(source)?,
                _ => draw(name.as_str(), &shape)?,
            };
            problems.extend(first_non_finite(&name, &tensor)?.map(|e| Error::file(path, e)));
            tensors.push((name, tensor));
        }
        Error::all(problems)?;
        Ok(tensors)
    }

    fn check(
        &self,
        expected: &[(ParameterName, Vec<u64>)],
        is_fresh: &impl Fn(&str) -> bool,
        known: impl Fn(&str) -> bool,
        path: &Path,
        by: &str,
    ) -> Result<()> {
        let mut problems = self.twice.clone();
        for (name, shape) in expected.iter().filter(|(name, _)| !is_fresh(name.as_str())) {
            let Some(source) = self.names.get(name.as_str()) else {
                problems.push(format!("`{name}` of shape {shape:?} is missing"));
                continue;
            };
            let found = self.source.shape(source).unwrap_or_default();
            if found != *shape {
                problems.push(format!("`{source}` has shape {found:?}; by {by} it is {shape:?}"));
            }
        }
        let parts: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
        for (name, source) in &self.names {
            if !known(name) && !parts.contains(name.as_str()) {
                problems.push(format!("`{source}` belongs to no part of this model"));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Error::Layout { context: format!("{} does not fit its {by}", path.display()), problems })
    }
}

/// An error naming the first entry that is a NaN or an infinity, if there is one.
///
/// # Errors
/// Errors of libtorch.
pub fn first_non_finite(name: &ParameterName, tensor: &Tensor) -> Result<Option<Error>> {
    // One pass and no copy; a NaN is both its least and its largest. An empty tensor has neither.
    if tensor.numel() == 0 {
        return Ok(None);
    }
    let (least, largest) = tensor.f_aminmax(None::<i64>, false)?;
    if least.f_double_value(&[])?.is_finite() && largest.f_double_value(&[])?.is_finite() {
        return Ok(None);
    }
    let finite = tensor.f_isfinite()?;
    let index =
        finite.f_view([-1])?.f_logical_not()?.f_to_kind(tch::Kind::Uint8)?.f_argmax(0, false)?.f_int64_value(&[])?;
    let value = tensor.f_view([-1])?.f_double_value(&[index])? as f32;
    Ok(Some(Error::NonFinite { tensor: name.to_string(), index: index as u64, value }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn the_first_that_is_not_finite_is_found_wherever_it_is() {
        let name = ParameterName::new("w");
        let find = |tensor: &Tensor| first_non_finite(&name, tensor).unwrap();
        // Longer than what vectors and threads take at a time.
        let finite = Tensor::arange(100_003, (Kind::Float, Device::Cpu)).view([-1, 1]);
        assert!(find(&finite).is_none() && find(&Tensor::zeros([0, 4], (Kind::Float, Device::Cpu))).is_none());
        assert!(find(&Tensor::full([5], f64::from(f32::MAX), (Kind::Float, Device::Cpu))).is_none());
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            for place in [0, 7, 50_001, 100_002] {
                let tensor = finite.copy();
                let _ = tensor.get(place).fill_(value);
                let _ = tensor.get(100_002).fill_(f64::NAN);
                let Some(Error::NonFinite { index, value: found, .. }) = find(&tensor) else { panic!("{place}") };
                assert_eq!(index, place as u64);
                assert!(found.is_nan() == (value.is_nan() || place == 100_002) && !found.is_finite());
            }
        }
    }
}
