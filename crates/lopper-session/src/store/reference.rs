//! What a run needs of a store.

use crate::sealed::Sealed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What one run needs. It stays until the run is removed by name (`lopper rm`): a directory that is not to be seen may have
/// been moved, or lie on another machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// The run's own name, which moves with its directory.
    pub id: String,
    /// Where its directory lay when it last ran, absolute.
    pub run: PathBuf,
    /// The machine it ran on.
    pub host: String,
    /// Plan keys and training keys of its stages.
    pub stages: BTreeSet<String>,
    /// The weights that it still wants to read, and those it ended with: names of artefacts.
    pub weights: BTreeSet<String>,
}

impl Sealed for Reference {
    const NAME: &'static str = "reference to stages";
    const FORMAT: u32 = 2;
}
