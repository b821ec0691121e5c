//! What else is wrong with a configuration that something is wrong with.

use super::table::{Draft, options_of};
use crate::inspect::{self, Inspection, Part};
use crate::kept_data::KeptData;
use crate::models;
use crate::problems::keep;
use lopper_core::Error;
use lopper_core::{DatasetEntry, StrategyEntry, registry};
use std::path::Path;
use tch::Device;

impl Draft<'_> {
    /// Once something is wrong, adds what is wrong with everything that the right parts name, so that the next attempt
    /// does not meet one more problem at a time.
    pub(super) fn look_further(&mut self, out: &Path) {
        if self.problems.is_empty() {
            return;
        }
        let known = std::mem::take(&mut self.problems);
        let (given, data, prune) = (&self.given, &self.data, &self.prune);
        // Without its task a dataset is not opened, and without its options a method plans nothing.
        let dataset = data.entry.filter(|_| data.made.is_some());
        let data_docs = options_of(data.entry, registry::all::<DatasetEntry>());
        let prune_docs = options_of(prune.entry, registry::all::<StrategyEntry>());
        let mut missing = Vec::new();
        if dataset.is_none() {
            missing.extend(inspect::missing_paths("[data]", &data.options, &data_docs, &known));
        }
        if prune.made.is_none() {
            missing.extend(inspect::missing_paths("[prune]", &prune.options, &prune_docs, &known));
        }
        let keys = inspect::path_keys("[data]", &data.options, &data_docs);
        let mut problems: Vec<Error> = known.into_iter().map(|error| inspect::named_one(error, &keys)).collect();
        keep(&mut problems, inspect::check_directory("[run] out", out));
        keep(&mut problems, inspect::check_directory("[run] store", Path::new(&given.run.store)));
        let device = keep(&mut problems, lopper_torch::resolve_device(&given.general.device));
        let path = match given.model.keys.path.as_str() {
            "" => None,
            source => {
                let key = inspect::model_key(Path::new(source));
                keep(&mut problems, inspect::named(models::present(source), &key)).flatten()
            }
        };
        let entry = match (&given.model.keys.name, &path) {
            (None, Some(directory)) => {
                let key = inspect::model_key(directory);
                keep(&mut problems, inspect::named(models::plugin(None, directory), &key))
            }
            _ => given.model.entry,
        };
        problems.extend(missing);
        let seed = given.general.seed;
        let inspection = Inspection {
            device: device.unwrap_or(Device::Cpu),
            seed,
            out,
            model: path.zip(entry).map(|(path, entry)| (path, Part { entry, options: &given.model.options })),
            task: data.made.as_ref(),
            dataset: dataset.map(|entry| Part { entry, options: &data.options }),
            method: prune
                .made
                .as_deref()
                .zip(self.sparsity.map(|sparsity| given.training.nominal_spec(sparsity.nominal(), seed))),
            method_options: &prune.options,
            cache: None,
            tokenise: false,
        };
        inspection.run(&mut KeptData::default(), &mut problems);
        self.problems = problems;
    }
}
