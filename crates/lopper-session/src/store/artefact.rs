//! What a store keeps, and the few calls behind which it stands.

use super::lease::Claim;
use super::reference::Reference;
use lopper_core::Result;
use std::fmt::{self, Debug};
use std::path::{Path, PathBuf};

/// What an artefact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What training a stage left: its record, first and last mask, and the lines of its updates. Named by training key.
    Stage,
    /// The weights of a stage after some of its updates. Named by training key and update.
    Weights,
    /// Metrics of some weights on one split, and what they said of every example. Named by evaluation key.
    Evaluation,
    /// Which training key a planned stage turned out to have. Named by plan key.
    Alias,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Stage, Self::Weights, Self::Evaluation, Self::Alias];

    /// The directory in which artefacts of this kind lie.
    pub(crate) fn directory(self) -> &'static str {
        match self {
            Self::Stage => "stages",
            Self::Weights => "weights",
            Self::Evaluation => "evaluations",
            Self::Alias => "aliases",
        }
    }
}

/// The name of an artefact: it says what it is a function of, so there is never a reason to write it twice.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ArtefactId {
    /// What it is.
    pub kind: Kind,
    /// Unique among its kind; a plain file name.
    pub name: String,
}

impl ArtefactId {
    /// The stage with this training key.
    pub fn stage(key: &str) -> Self {
        Self { kind: Kind::Stage, name: key.to_owned() }
    }

    /// The weights of stage `key` after `update` updates.
    pub fn weights(key: &str, update: u64) -> Self {
        Self { kind: Kind::Weights, name: format!("{key}-{update}") }
    }

    /// The evaluation with this key.
    pub fn evaluation(key: &str) -> Self {
        Self { kind: Kind::Evaluation, name: key.to_owned() }
    }

    /// What the plan key `key` stands for.
    pub fn alias(key: &str) -> Self {
        Self { kind: Kind::Alias, name: key.to_owned() }
    }

    /// The training key and update of an artefact of kind [`Kind::Weights`].
    pub(crate) fn weights_of(&self) -> Option<(&str, u64)> {
        let (key, update) = self.name.rsplit_once('-').filter(|_| self.kind == Kind::Weights)?;
        Some((key, update.parse().ok()?))
    }
}

impl fmt::Display for ArtefactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.directory(), self.name)
    }
}

/// An artefact that [`Store::list`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub id: ArtefactId,
    /// Size of its files.
    pub bytes: u64,
}

/// Artefacts by key, written once and never replaced, shared by any number of processes on any number of machines.
///
/// An artefact is a directory of files that appears whole. Whoever adds one that is there already gets the one that is
/// there. [`claim`](Self::claim) keeps two processes from working at the same artefact at the same time; should they all the
/// same, the first whole result stands and both go on with it.
pub trait Store: Debug + Send + Sync {
    /// Where it lies, for messages.
    fn root(&self) -> &Path;

    /// The directory of an artefact, if it is there.
    fn find(&self, id: &ArtefactId) -> Option<PathBuf>;

    /// Puts an artefact into the store: `write` fills an empty directory, which then appears under its name at once, unless
    /// there is one already. Returns the directory of the one that stands, and whether it is the new one.
    ///
    /// # Errors
    /// Those of `write`, and [`Error::File`](lopper_core::Error::File) naming what could not be written; nothing half-written
    /// stays.
    fn add(&self, id: &ArtefactId, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<(PathBuf, bool)>;

    /// Takes the right to work at `key` for the run in `run`, until the lease is dropped; or says who has it.
    ///
    /// # Errors
    /// [`Error::File`](lopper_core::Error::File) naming what could not be read or written.
    fn claim(&self, key: &str, run: &Path) -> Result<Claim>;

    /// Everything in it.
    ///
    /// # Errors
    /// [`Error::File`](lopper_core::Error::File) when it cannot be read.
    fn list(&self) -> Result<Vec<Listed>>;

    /// Notes what a run needs, in the place of what was noted for it before; `None` drops that.
    ///
    /// # Errors
    /// [`Error::File`](lopper_core::Error::File) naming what could not be written.
    fn refer(&self, run: &str, needs: Option<&Reference>) -> Result<()>;

    /// What all runs need.
    ///
    /// # Errors
    /// [`Error::File`](lopper_core::Error::File) when not every reference can be read: what is not known to be free must not
    /// be removed.
    fn references(&self) -> Result<Vec<Reference>>;

    /// Removes those artefacts that `doomed` chooses, while no run can begin to refer to any. Returns the bytes freed.
    ///
    /// # Errors
    /// Those of `doomed`, and [`Error::File`](lopper_core::Error::File) naming what could not be removed; those before it are
    /// gone then.
    fn remove(&self, doomed: &mut dyn FnMut() -> Result<Vec<Listed>>) -> Result<u64>;
}
