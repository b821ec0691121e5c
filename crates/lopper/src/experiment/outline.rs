//! What a configuration alone says of a run.

use super::recipe::Length;
use super::resolved::Experiment;
use super::table::{Draft, read};
use crate::config::Setting;
use lopper_core::{Error, Result, Sparsity, Stage};
use std::path::Path;

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

impl Experiment {
    /// The stages that a configuration plans. Neither model nor data need be there.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, everything that is wrong with it, and a length in epochs, which only the
    /// data turn into updates.
    pub fn outline(path: &Path, settings: &[Setting]) -> Result<Outline> {
        let context = path.display().to_string();
        let Draft { mut problems, given, data, prune, sparsity, .. } = Draft::new(&read(path, settings)?, &context);
        // A dictionary that the training set makes, a list of the corpus: what is absent is not wrong.
        problems.retain(|problem| !matches!(problem, Error::File { .. }));
        if let Length::Epochs(epochs) = given.training.length {
            let expected = "updates, or the data, which tell how many updates that is";
            problems.push(Error::invalid("[train] epochs", epochs, expected));
        }
        Error::all(problems)?;
        let (Some(strategy), Some(sparsity)) = (prune.settled(), sparsity) else {
            return Err(Error::Other(format!("{context}: incomplete")));
        };
        let spec = given.training.nominal_spec(sparsity.nominal(), given.general.seed);
        let stages = lopper_torch::guarded("the strategy", || strategy.made.plan(&spec))?;
        Ok(Outline {
            method: strategy.entry.name,
            task: data.made.map(|task| task.name),
            sparsity: sparsity.given(),
            stages,
        })
    }
}
