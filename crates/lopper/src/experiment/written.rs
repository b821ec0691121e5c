//! A configuration with every default, as it is kept beside a run.

use super::defaults::{joined, with_defaults};
use super::resolved::Experiment;
use crate::config::{DataOptions, GeneralOptions, ModelOptions, PruneOptions, TABLES};
use lopper_core::registry::Entry;
use lopper_core::{OptionDoc, Sparsity};
use std::fmt::Write;
use toml::{Table, Value};

impl Experiment {
    /// The configuration with every default, those of the plugins too, as TOML: itself a configuration with the same plan.
    /// The model plugin's part is complete once [`locate_model`](Self::locate_model) has settled which one it is.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        write_table(&mut text, &self.given.general.to_table(), GeneralOptions::DOCS);
        for (name, own) in TABLES {
            let (keys, plugin) = self.section(name);
            let _ = write!(text, "\n[{name}]\n");
            write_table(&mut text, &keys, own);
            write_table(&mut text, &keys, plugin);
        }
        text
    }

    /// The configuration with every default, as a table.
    pub fn to_table(&self) -> Table {
        let mut table = self.given.general.to_table();
        table.extend(TABLES.iter().map(|(name, _)| ((*name).to_owned(), Value::Table(self.section(name).0))));
        table
    }

    /// The keys of a table with every default, and the docs of its plugin's.
    fn section(&self, name: &str) -> (Table, &'static [OptionDoc]) {
        let (given, data, prune) = (&self.given, &self.data, &self.prune);
        match name {
            "model" => {
                let name = given.model.entry.map(|entry| entry.name.to_owned());
                let keys = ModelOptions { name, path: given.model.keys.path.clone() }.to_table();
                let docs = given.model.entry.map_or(&[][..], Entry::options);
                (joined(keys, with_defaults(&given.model.options, docs)), docs)
            }
            "data" => {
                let keys = DataOptions { name: data.entry.name.into() }.to_table();
                (joined(keys, with_defaults(&data.options, data.entry.options)), data.entry.options)
            }
            "prune" => {
                let keys = PruneOptions {
                    method: prune.entry.name.into(),
                    sparsity: self.sparsity.given().map(Sparsity::get),
                    finetune: given.finetune,
                };
                let options = with_defaults(&prune.options, prune.entry.options);
                (joined(keys.to_table(), options), prune.entry.options)
            }
            "train" => (given.training.options.to_table(), &[]),
            "evaluate" => (given.evaluate.to_table(), &[]),
            "checkpoint" => (given.checkpoint.to_table(), &[]),
            "store" => (given.store.to_table(), &[]),
            "track" => (given.track.to_table(), &[]),
            _ => (given.run.to_table(), &[]),
        }
    }
}

/// The keys that `docs` list, in that order, each under what it does.
fn write_table(text: &mut String, table: &Table, docs: &[OptionDoc]) {
    for doc in docs {
        if let Some(value) = table.get(doc.name) {
            let _ = writeln!(text, "# {}\n{} = {value}", doc.doc, doc.name);
        }
    }
}
