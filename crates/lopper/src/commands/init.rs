//! `lopper init`: a configuration to start from.

use super::eval::{DICTIONARY, takes};
use super::plugins::kind;
use crate::config::TABLES;
use crate::{GeneralOptions, output};
use lopper_core::{DatasetEntry, Error, ModelEntry, OptionDoc, Result, StrategyEntry, registry};
use lopper_weights::files;
use serde::Serialize;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use toml::Value;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The file to write, which ends in .toml, or the directory for a lopper.toml
    #[arg(default_value = "lopper.toml")]
    path: PathBuf,

    /// The pruning method whose options are listed
    #[arg(long, value_name = "NAME", default_value = "parp")]
    method: String,

    /// The dataset plugin whose options are listed
    #[arg(long, value_name = "NAME", default_value = "glue")]
    dataset: String,

    /// The model plugin whose options are listed [default: wav2vec2 for recordings, bert for texts]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
}

#[derive(Serialize)]
struct Written {
    config: PathBuf,
    /// Dotted keys that are empty and must be filled in.
    fill_in: Vec<String>,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let plugins = self.plugins()?;
        let path = match self.path.extension() {
            Some(extension) if extension == "toml" => self.path.clone(),
            _ => self.path.join("lopper.toml"),
        };
        let mut draft = Draft::default();
        draft.whole(&plugins);
        create(&path, &draft.text)?;
        let written = Written { config: path, fill_in: draft.fill_in };
        output::report(json, &written, || {
            let path = written.config.display();
            format!("wrote {path}; fill in {}, then: lopper plan {path}", written.fill_in.join(", "))
        })
    }

    fn plugins(&self) -> Result<Plugins> {
        let dataset = registry::find::<DatasetEntry>(&self.dataset);
        let model = self.model.as_deref().unwrap_or_else(|| usual_model(dataset.as_ref().ok().copied()));
        let model_and_dataset = Error::both(registry::find(model), dataset);
        let ((model, dataset), strategy) = Error::both(model_and_dataset, registry::find(&self.method))?;
        Ok(Plugins { model, dataset, strategy })
    }
}

/// The model that a dataset is for: one that writes symbols of a dictionary hears.
fn usual_model(dataset: Option<&DatasetEntry>) -> &'static str {
    if dataset.is_some_and(|entry| takes(entry, DICTIONARY)) { "wav2vec2" } else { "bert" }
}

struct Plugins {
    model: &'static ModelEntry,
    dataset: &'static DatasetEntry,
    strategy: &'static StrategyEntry,
}

/// Writes a file that must not exist yet.
fn create(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        files::create_dir(directory)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Error::file(path, "exists already and is left as it is; give another name"),
        _ => Error::file_caused(path, "cannot be written", e),
    })?;
    file.write_all(text.as_bytes()).map_err(|e| Error::file_caused(path, "cannot be written", e))
}

/// A configuration as it is written.
#[derive(Default)]
struct Draft {
    text: String,
    fill_in: Vec<String>,
}

impl Draft {
    fn whole(&mut self, plugins: &Plugins) {
        self.text += "# A configuration of Lopper. `lopper plan` shows what it does, `lopper run` does it. Keys that are\n\
                      # commented out show their defaults, or their type where they are absent by default; what is\n\
                      # empty must be filled in. Paths are relative to the working directory.\n\n";
        self.options("", GeneralOptions::DOCS, &[]);
        let name = |name: &'static str| Value::from(name);
        // A dense finetuning prunes nothing.
        let sparsity = Value::from(if plugins.strategy.name == "dense" { 0.0 } else { 0.5 });
        for (section, own) in TABLES {
            let (given, plugin): (Vec<(&str, Value)>, &[OptionDoc]) = match section {
                "model" => (vec![("name", name(plugins.model.name))], plugins.model.options),
                "data" => (vec![("name", name(plugins.dataset.name))], plugins.dataset.options),
                "prune" => {
                    let given = vec![("method", name(plugins.strategy.name)), ("sparsity", sparsity.clone())];
                    (given, plugins.strategy.options)
                }
                _ => (Vec::new(), &[]),
            };
            let _ = writeln!(self.text, "[{section}]");
            self.options(section, own, &given);
            self.options(section, plugin, &[]);
        }
        self.text.truncate(self.text.trim_end().len());
        self.text.push('\n');
    }

    /// One option a paragraph: what it does, and its line.
    fn options(&mut self, section: &str, docs: &[OptionDoc], given: &[(&str, Value)]) {
        for doc in docs {
            let given = given.iter().find(|(name, _)| *name == doc.name).map(|(_, value)| value.clone());
            let line = match (given, (doc.default)()) {
                (Some(value), _) => format!("{} = {value}", doc.name),
                (None, Some(Value::String(empty))) if empty.is_empty() => {
                    self.fill_in.push(format!("{section}.{}", doc.name));
                    format!("{} = \"\"", doc.name)
                }
                (None, Some(value)) => format!("# {} = {value}", doc.name),
                (None, None) => format!("# {} = ({})", doc.name, kind(doc.kind)),
            };
            let _ = writeln!(self.text, "# {}\n{line}\n", doc.doc);
        }
    }
}
