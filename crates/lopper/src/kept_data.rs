//! The data of the run before, for the next run of the same process.

use lopper_core::{Head, Model};
use lopper_session::OpenDataset;
use toml::Table;

/// The data that were opened last: cells of a sweep mostly share theirs, and opening them anew would tokenise them anew.
#[derive(Debug, Default)]
pub(crate) struct KeptData(Option<(Source, OpenDataset)>);

/// All that an open dataset depends on but its files, whose content it knows by itself.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Source {
    plugin: &'static str,
    options: Table,
    /// The identity of what turns raw inputs into features.
    preprocessor: Option<String>,
    /// The head that the model has already, whose order of labels data may take over.
    head: Option<Head>,
}

impl Source {
    pub(crate) fn new(plugin: &'static str, options: &Table, model: Option<&dyn Model>) -> Self {
        Self {
            plugin,
            options: options.clone(),
            preprocessor: model.and_then(Model::preprocessor).map(|preprocessor| preprocessor.identity()),
            head: model.and_then(Model::head).cloned(),
        }
    }
}

impl KeptData {
    /// The data that were opened last, if they are of this source. If not, they are let go: what is opened next may be large.
    pub(crate) fn take(&mut self, source: &Source) -> Option<OpenDataset> {
        match &self.0 {
            Some((kept, dataset)) if kept == source => Some(dataset.clone()),
            _ => {
                self.forget();
                None
            }
        }
    }

    /// Keeps what was opened.
    pub(crate) fn keep(&mut self, source: Source, dataset: &OpenDataset) {
        self.0 = Some((source, dataset.clone()));
    }

    /// Lets them go: what comes next opens its own.
    pub(crate) fn forget(&mut self) {
        self.0 = None;
    }
}
