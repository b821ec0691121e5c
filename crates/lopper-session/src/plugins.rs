//! Calls into plugins while a stage trains: a panic of theirs is an error that names them.

use crate::RunIdentity;
use lopper_core::Result;
use lopper_torch::guarded;

/// Who takes part, as errors name them.
#[derive(Debug, Clone)]
pub(crate) struct Plugins {
    model: String,
    dataset: String,
    strategy: String,
    method: String,
}

impl Plugins {
    pub(crate) fn of(identity: &RunIdentity) -> Self {
        Self {
            model: format!("model plugin `{}`", identity.model),
            dataset: format!("dataset plugin of {}", identity.dataset_origin),
            strategy: format!("strategy plugin `{}`", identity.strategy),
            method: identity.strategy.clone(),
        }
    }

    /// The strategy's registered name.
    pub(crate) fn method(&self) -> &str {
        &self.method
    }

    /// Runs the model's code.
    pub(crate) fn model<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        guarded(&self.model, call)
    }

    /// Runs the dataset's code.
    pub(crate) fn dataset<T>(&self, call: impl FnOnce() -> T) -> Result<T> {
        guarded(&self.dataset, || Ok(call()))
    }

    /// Runs the strategy's code.
    pub(crate) fn strategy<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        guarded(&self.strategy, call)
    }

    /// Runs an evaluation, in which model and dataset take turns.
    pub(crate) fn evaluation<T>(&self, call: impl FnOnce() -> Result<T>) -> Result<T> {
        guarded(&format!("in an evaluation, {} or {}", self.model, self.dataset), call)
    }
}
