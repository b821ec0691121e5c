//! What a configuration alone says of a run.

use super::defaults::with_defaults;
use super::recipe::Length;
use super::resolved::Experiment;
use super::table::{Draft, read};
use crate::config::Setting;
use crate::models;
use lopper_core::{Error, Result, Sparsity, Stage};
use serde_json::{Value, json};
use std::path::Path;
use toml::Table;

/// What a configuration alone says of a run.
#[derive(Debug)]
pub struct Outline {
    /// The name of the pruning method.
    pub method: &'static str,
    /// The task; `None` where only the data tell.
    pub task: Option<String>,
    /// The sparsity to end at; `None` for that of the mask which the run is given.
    pub sparsity: Option<Sparsity>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

/// An outline, and what its stages depend on besides themselves: enough to tell which stages of two configurations are one.
#[derive(Debug)]
pub(crate) struct Outlined {
    pub(crate) outline: Outline,
    /// The model and its options: what the prunable weights come from.
    pub(crate) model: Value,
    /// The dataset plugin and its options.
    pub(crate) data: Value,
    /// Seed, precision and device.
    pub(crate) general: Value,
    /// The strategy and its options.
    pub(crate) strategy: Value,
    /// Whether only the data tell how many updates its stages have. They are planned with a nominal number then.
    pub(crate) in_epochs: bool,
}

impl Outlined {
    /// Where its model comes from, as the configuration has it.
    pub(crate) fn model_path(&self) -> &str {
        self.model["path"].as_str().unwrap_or_default()
    }

    /// Where it is trained, as the configuration has it.
    pub(crate) fn device(&self) -> &str {
        self.general["device"].as_str().unwrap_or_default()
    }
}

impl Experiment {
    /// The stages that a configuration plans. Neither model nor data need be there.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, everything that is wrong with it, and a length in epochs, which only the
    /// data turn into updates.
    pub fn outline(path: &Path, settings: &[Setting]) -> Result<Outline> {
        let context = path.display().to_string();
        let mut draft = Draft::new(&read(path, settings)?, &context);
        if let Length::Epochs(epochs) = draft.given.training.length {
            let expected = "updates, or the data, which tell how many updates that is";
            draft.problems.push(Error::invalid("[train] epochs", epochs, expected));
        }
        outlined(draft).map(|outlined| outlined.outline)
    }

    /// The outline of a configuration that has been read already; `context` names it in errors.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn outline_of(table: &Table, context: &str) -> Result<Outlined> {
        outlined(Draft::new(table, context))
    }
}

fn outlined(draft: Draft<'_>) -> Result<Outlined> {
    let Draft { context, mut problems, given, data, prune, sparsity } = draft;
    // A dictionary that the training set makes, a list of the corpus: what is absent is not wrong.
    problems.retain(|problem| !matches!(problem, Error::File { .. }));
    Error::all(problems)?;
    let (Some(strategy), Some(sparsity)) = (prune.settled(), sparsity) else {
        return Err(Error::Other(format!("{context}: incomplete")));
    };
    let spec = given.training.nominal_spec(sparsity.nominal(), given.general.seed);
    let stages = lopper_torch::guarded("the strategy", || strategy.made.plan(&spec))?;
    let entry = given.model.entry.or_else(|| {
        let directory = Path::new(&given.model.keys.path);
        directory.is_dir().then(|| models::plugin(None, directory).ok()).flatten()
    });
    let docs = entry.map_or(&[][..], |entry| entry.options);
    let model = json!({
        "name": entry.map(|entry| entry.name),
        "path": given.model.keys.path,
        "options": with_defaults(&given.model.options, docs),
    });
    let data_docs = data.entry.map_or(&[][..], |entry| entry.options);
    let general = &given.general;
    let options = with_defaults(&strategy.options, strategy.entry.options);
    Ok(Outlined {
        outline: Outline {
            method: strategy.entry.name,
            task: data.made.map(|task| task.name),
            sparsity: sparsity.given(),
            stages,
        },
        model,
        data: json!({
            "name": data.entry.map(|entry| entry.name),
            "options": with_defaults(&data.options, data_docs),
        }),
        general: json!({ "seed": general.seed, "precision": general.precision, "device": general.device }),
        strategy: json!({ "name": strategy.entry.name, "options": options }),
        in_epochs: matches!(given.training.length, Length::Epochs(_)),
    })
}
