//! Which tensors a mask covers, in which order.

use crate::{Error, ParameterName, Result};
use serde::{Deserialize, Serialize};

/// One prunable tensor of a [`Layout`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorLayout {
    name: ParameterName,
    shape: Vec<u64>,
    entries: u64,
}

impl TensorLayout {
    /// The parameter's name, Hugging Face's.
    pub fn name(&self) -> &ParameterName {
        &self.name
    }

    /// Its dimensions, outermost first.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// The product of its dimensions.
    pub fn entries(&self) -> u64 {
        self.entries
    }
}

/// The prunable tensors of a model in the model's order, which fixes how ties are broken and how masks are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    tensors: Vec<TensorLayout>,
    entries: u64,
}

impl Layout {
    /// A layout of named shapes, in order. Shapes hold dimensions, outermost first; an empty shape is a scalar.
    ///
    /// # Errors
    /// [`Error::Layout`] for a repeated name, or a number of entries over `u64` or this machine's address space.
    pub fn new(tensors: impl IntoIterator<Item = (ParameterName, Vec<u64>)>) -> Result<Self> {
        let mut problems = Vec::new();
        let mut seen = std::collections::BTreeSet::new();
        let mut total = 0u64;
        let mut checked = Vec::new();
        for (name, shape) in tensors {
            if !seen.insert(name.clone()) {
                problems.push(format!("`{name}` is listed twice"));
            }
            let entries = shape.iter().try_fold(1u64, |product, dimension| product.checked_mul(*dimension));
            match entries.filter(|n| usize::try_from(*n).is_ok()).and_then(|n| Some((n, total.checked_add(n)?))) {
                Some((entries, sum)) => {
                    total = sum;
                    checked.push(TensorLayout { name, shape, entries });
                }
                None => problems.push(format!("`{name}` of shape {shape:?} has more entries than can be counted")),
            }
        }
        if problems.is_empty() {
            Ok(Self { tensors: checked, entries: total })
        } else {
            Err(Error::Layout { context: "prunable tensors".into(), problems })
        }
    }

    /// The tensors in order.
    pub fn tensors(&self) -> &[TensorLayout] {
        &self.tensors
    }

    /// Entries over all tensors: the denominator of every global sparsity.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Fails with every difference at once unless `other` has the same names and shapes in the same order.
    ///
    /// # Errors
    /// [`Error::Layout`], `context` naming what is compared; of many differences it lists ten.
    pub fn check_same(&self, other: &Self, context: &str) -> Result<()> {
        if self == other {
            return Ok(());
        }
        self.check_same_tensors(other, context)?;
        Err(Error::Layout { context: context.into(), problems: vec!["the tensors stand in another order".into()] })
    }

    /// As [`check_same`](Self::check_same), whatever the order.
    ///
    /// # Errors
    /// [`Error::Layout`], `context` naming what is compared; of many differences it lists ten.
    pub fn check_same_tensors(&self, other: &Self, context: &str) -> Result<()> {
        let mut problems = Vec::new();
        let find = |layout: &'_ Self, name: &ParameterName| {
            layout.tensors.iter().find(|t| t.name == *name).map(|t| t.shape.clone())
        };
        for mine in &self.tensors {
            match find(other, &mine.name) {
                None => problems.push(format!("`{}` is missing from the second", mine.name)),
                Some(shape) if shape != mine.shape => {
                    problems.push(format!(
                        "`{}` has shape {:?} in the first and {shape:?} in the second",
                        mine.name, mine.shape
                    ));
                }
                Some(_) => {}
            }
        }
        for theirs in &other.tensors {
            if find(self, &theirs.name).is_none() {
                problems.push(format!("`{}` is only in the second", theirs.name));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::layout(context, problems)) }
    }

    /// Fails with every difference at once unless there is a flat slice of the right length for each tensor, in order.
    pub(crate) fn check_lengths(&self, lengths: impl ExactSizeIterator<Item = usize>) -> Result<()> {
        let mut problems = Vec::new();
        if lengths.len() != self.tensors.len() {
            problems.push(format!("{} slices for {} prunable tensors", lengths.len(), self.tensors.len()));
        }
        for (tensor, length) in self.tensors.iter().zip(lengths) {
            if tensor.entries != length as u64 {
                problems.push(format!("`{}` has {} entries, its slice {length}", tensor.name, tensor.entries));
            }
        }
        if problems.is_empty() { Ok(()) } else { Err(Error::Layout { context: "mask and slices".into(), problems }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_differences_ten_are_listed_and_all_are_counted() {
        let layout = |tensors: u64, rows: u64| {
            Layout::new((0..tensors).map(|n| (ParameterName::new(format!("t{n:02}")), vec![rows]))).unwrap()
        };
        let said = |tensors| layout(tensors, 2).check_same(&layout(tensors, 3), "a and b").unwrap_err().to_string();
        let (ten, twelve) = (said(10), said(12));
        assert!(ten.starts_with("a and b: 10 problems:\n  - `t00` has shape [2]") && ten.contains("`t09`"), "{ten}");
        assert!(twelve.starts_with("a and b: 12 problems:\n  - `t00`") && twelve.contains("`t09`"), "{twelve}");
        assert!(twelve.ends_with("\n  - and 2 more like them") && !twelve.contains("`t10`"), "{twelve}");
    }
}
