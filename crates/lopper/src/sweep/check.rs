//! What is wrong with the cells of a sweep, found before anything is trained.

use super::running::Beginning;
use super::{Graph, Problems, Sweep};
use crate::Experiment;
use crate::experiment::{Outlined, in_place_of};
use lopper_core::{Error, Layout, MaskSet, Result};
use lopper_session::{StoreCache, warn_of_long_intervals};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a model and data that cells name have come to: what there is to prune, or what is wrong with them.
type Looked = std::result::Result<Arc<Layout>, Vec<String>>;

impl Sweep {
    /// Looks at every cell as far as that goes before anything is trained: configurations, once each of the models and data that
    /// they name, and whether masks are of the models of those that take them.
    ///
    /// # Errors
    /// All of it, each problem once, with the cells that have it.
    pub(super) fn check(&self, outlines: &[Outlined], beginning: &Beginning<'_>) -> Result<()> {
        // Cells with the same parts have the same problems.
        let mut opened: BTreeMap<(String, String), Looked> = BTreeMap::new();
        let mut outlines = outlines.iter();
        let check = |table: &toml::Table| {
            let Some(Outlined { model, data, .. }) = outlines.next() else {
                return Err(Error::Other("a cell without an outline".into()));
            };
            let experiment = Experiment::new(table, &self.context, &self.out)?;
            let parts = (model.to_string(), data.to_string());
            let looked = match opened.get(&parts) {
                Some(looked) => looked.clone(),
                None => {
                    beginning.stop.check("looking at the models and the data")?;
                    let cache = StoreCache::new(experiment.store(), beginning.verify);
                    let looked = experiment.check_parts(&cache, beginning.elsewhere).map(Arc::new);
                    cache.write().unwrap_or_else(|e| tracing::warn!("{e}"));
                    let told = |error: Error| error.into_single().iter().map(ToString::to_string).collect();
                    opened.entry(parts).or_insert(looked.map_err(told)).clone()
                }
            };
            looked.map_err(|problems| Error::Many(problems.into_iter().map(Error::Other).collect()))
        };
        let layouts = self.of_each(check)?;
        self.check_masks(&layouts)
    }

    /// Whether devices are here, and of the kind that the cells are trained on; `key` is where they were given.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn check_devices<'a>(
        outlines: &[Outlined],
        devices: impl IntoIterator<Item = &'a str>,
        key: &str,
    ) -> Result<()> {
        let wanted: BTreeSet<&str> = outlines.iter().map(Outlined::device).collect();
        let each = devices.into_iter().flat_map(|device| wanted.iter().map(move |cell| in_place_of(cell, device, key)));
        Error::all(each.filter_map(Result::err).collect())
    }

    /// Warns, once for all cells, of what is allowed and seldom meant. Where only the data tell how long stages are, each cell does
    /// when it is run.
    pub(crate) fn warn(&self, outlines: &[Outlined], graph: &Graph) {
        if !graph.in_epochs {
            warn_of_long_intervals(outlines.iter().flat_map(|outlined| &outlined.outline.stages));
        }
    }

    /// Whether the mask of each cell is one of the model of every cell that takes it, as far as names and shapes say before it is
    /// there.
    fn check_masks(&self, layouts: &[Arc<Layout>]) -> Result<()> {
        let mut problems = Problems::default();
        for (cell, layout) in self.cells.iter().zip(layouts) {
            for (_, source) in &cell.masks {
                let mask = MaskSet::dense(Arc::clone(&layouts[*source]));
                // Without names, so that cells that have one problem share it.
                let context = "the mask of another cell (mask_of) and the model do not fit";
                if let Err(error) = mask.fitted_to(layout, |name| Some(name.to_owned()), context) {
                    problems.add(&cell.name, error.into());
                }
            }
        }
        problems.into_result(self.cells.len())
    }
}
