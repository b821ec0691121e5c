//! A dataset that several runs of one process may use, one after another.

use crate::Counts;
use lopper_core::{Dataset, Split};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

/// A dataset, and what it counted before anything of it was used: what a run records, the same however often it is continued and
/// whichever run was the first to use the data.
#[derive(Clone)]
pub struct OpenDataset {
    dataset: Arc<dyn Dataset>,
    counts: BTreeMap<String, Counts>,
}

impl OpenDataset {
    /// A dataset of which nothing was used yet.
    pub fn new(dataset: Box<dyn Dataset>) -> Self {
        let counts = counts(dataset.as_ref());
        Self { dataset: dataset.into(), counts }
    }

    /// By split, what it counted at first.
    pub(crate) fn counts(&self) -> &BTreeMap<String, Counts> {
        &self.counts
    }
}

impl Deref for OpenDataset {
    type Target = dyn Dataset;

    fn deref(&self) -> &Self::Target {
        self.dataset.as_ref()
    }
}

impl std::fmt::Debug for OpenDataset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let splits = std::iter::once(Split::TRAIN).chain(self.evaluation_splits());
        let rows: BTreeMap<String, usize> = splits.map(|split| (split.as_str().to_owned(), self.len(&split))).collect();
        f.debug_struct("OpenDataset").field("task", &self.task().name).field("rows", &rows).finish_non_exhaustive()
    }
}

/// What a dataset counts of the splits that a run uses.
fn counts(dataset: &dyn Dataset) -> BTreeMap<String, Counts> {
    let splits = std::iter::once(Split::TRAIN).chain(dataset.evaluation_splits());
    let named = |split: Split| {
        let counts = dataset.counts(&split).into_iter().map(|(what, number)| (what.to_owned(), number));
        (split.as_str().to_owned(), counts.collect::<Counts>())
    };
    splits.map(named).filter(|(_, counts)| !counts.is_empty()).collect()
}
