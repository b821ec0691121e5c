//! How good the weights of a stage are: evaluated once, kept apart from training.

use crate::evaluate::evaluate;
use crate::identity::evaluation_key;
use crate::memory;
use crate::plugins::Plugins;
use crate::provenance::Provenance;
use crate::record::EvaluationRecord;
use crate::store::StageStore;
use crate::{RunIdentity, SessionSettings, SplitMetrics};
use lopper_core::{Dataset, Evaluation, Model, Outcomes, Result, Split};
use std::time::Instant;

/// Judges the weights of one run's stages on all splits that its dataset evaluates.
pub(crate) struct Judge<'a> {
    pub(crate) model: &'a dyn Model,
    pub(crate) dataset: &'a dyn Dataset,
    pub(crate) plugins: &'a Plugins,
    pub(crate) identity: &'a RunIdentity,
    pub(crate) settings: &'a SessionSettings,
    pub(crate) store: &'a StageStore,
    pub(crate) made_by: &'a Provenance,
}

impl Judge<'_> {
    /// Updates of a stage after which it is judged, ascending: on the way as `evaluate.every` says, and at its end.
    pub(crate) fn updates(&self, of: u64) -> impl Iterator<Item = u64> + use<> {
        let every = self.settings.evaluate_every;
        let most = of.saturating_sub(1).checked_div(every).unwrap_or(0);
        (1..=most).map(move |number| number * every).chain([of])
    }

    /// What is known of the stage `key` after `update` updates, on all splits; `None` where any of them is missing.
    pub(crate) fn known(&self, key: &str, update: u64) -> Result<Option<Vec<SplitMetrics>>> {
        let mut all = Vec::new();
        for split in self.splits_after(update)? {
            match self.store.evaluation(&self.key(key, update, &split)?) {
                Some(metrics) => all.push(metrics),
                None => return Ok(None),
            }
        }
        Ok(Some(all))
    }

    /// What the weights of the stage `key` after `update` updates said of every example, of those splits of which that is known.
    pub(crate) fn outcomes(&self, key: &str, update: u64) -> Result<Vec<(Split, Outcomes)>> {
        let mut all = Vec::new();
        for split in self.splits_after(update)? {
            if let Some(outcomes) = self.store.outcomes(&self.key(key, update, &split)?) {
                all.push((split, outcomes));
            }
        }
        Ok(all)
    }

    /// The metrics of the weights that the model holds, mask ⊙ weights of the stage `key`, called `name`, after `update`
    /// updates. What is known is not evaluated again.
    pub(crate) fn judge(&self, name: &str, key: &str, update: u64) -> Result<Vec<SplitMetrics>> {
        let SessionSettings { device, precision, evaluation, .. } = *self.settings;
        let mut all = Vec::new();
        for split in self.splits_after(update)? {
            let id = self.key(key, update, &split)?;
            if let Some(known) = self.store.evaluation(&id) {
                all.push(known);
                continue;
            }
            tracing::info!(stage = name, update, split = split.as_str(), "evaluating");
            let started = Instant::now();
            let stop = &self.settings.stop;
            let evaluate = || evaluate(self.model, self.dataset, &split, device, precision, evaluation, stop);
            let Evaluation { metrics, outcomes } = self.plugins.evaluation(evaluate).map_err(|error| {
                let during = format!("evaluating stage {name} on {}", split.as_str());
                memory::explain(error, &during, || memory::in_evaluation(evaluation))
            })?;
            let record = EvaluationRecord {
                key: id,
                stage: key.to_owned(),
                update,
                metrics: SplitMetrics { split, metrics },
                seconds: started.elapsed().as_secs_f64(),
                made_by: self.made_by.clone(),
                predictions: None,
            };
            all.push(self.store.add_evaluation(record, outcomes.as_ref())?);
        }
        Ok(all)
    }

    /// The splits on which weights are judged after `update` updates: none before the first, when the head is fresh.
    fn splits_after(&self, update: u64) -> Result<Vec<Split>> {
        if update == 0 { Ok(Vec::new()) } else { self.splits() }
    }

    /// The splits that hold anything to judge by.
    fn splits(&self) -> Result<Vec<Split>> {
        self.plugins.dataset(|| {
            let splits = self.dataset.evaluation_splits().into_iter();
            splits.filter(|split| self.dataset.len(split) > 0).collect()
        })
    }

    fn key(&self, stage: &str, update: u64, split: &Split) -> Result<String> {
        evaluation_key(stage, update, split, self.dataset, self.identity, self.settings)
    }
}
