//! Removing runs: the one way in which a store learns that a run is gone.

use crate::store::{LEASE, Reference, StageStore};
use crate::{RunStatus, run_id, status};
use lopper_core::{Error, Result};
use lopper_weights::files;
use std::fmt;
use std::path::{Path, PathBuf};

/// A run that can be removed.
#[derive(Debug)]
pub struct RemovableRun {
    /// Its directory, if it is there.
    directory: Option<PathBuf>,
    store: StageStore,
    /// What the store knows of it.
    references: Vec<Reference>,
}

impl fmt::Display for RemovableRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.directory, self.references.first()) {
            (Some(directory), _) => write!(f, "{}", directory.display()),
            (None, Some(Reference { run, host, .. })) => {
                write!(f, "{} (not to be seen from here; last run on {host})", run.display())
            }
            (None, None) => write!(f, "nothing"),
        }
    }
}

/// The run in the directory `run`, or, if that is gone, the one that `store` knows to have been there.
///
/// # Errors
/// [`Error::File`] when there is none, or a process is at work in it.
pub fn removable(run: &Path, store: &Path) -> Result<RemovableRun> {
    if !run.is_dir() {
        let place = std::path::absolute(run).map_err(|e| Error::file(run, e))?;
        let store = StageStore::open(store, LEASE)?;
        let references: Vec<_> = store.references()?.into_iter().filter(|reference| reference.run == place).collect();
        if references.is_empty() {
            let known = format!("{} knows of no run that was there", store.root().display());
            return Err(Error::file(
                run,
                format!("is no directory, and {known}; give --store, or the path that gc tells"),
            ));
        }
        return Ok(RemovableRun { directory: None, store, references });
    }
    // Also of a run of another version: then there is no status to be read, and its directory is left alone.
    let status = RunStatus::read(run)?;
    drop(status::lock(run)?);
    let store = StageStore::open(&status.store, LEASE)?;
    let id = run_id::read(run)?;
    let references = store.references()?.into_iter().filter(|reference| Some(&reference.id) == id.as_ref()).collect();
    Ok(RemovableRun { directory: Some(run.to_owned()), store, references })
}

impl RemovableRun {
    /// Removes the directory, then what the store knows of the run: after a fault between the two nothing that is needed is
    /// free.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be removed, or the directory when a process is at work in it by now.
    pub fn remove(self) -> Result<()> {
        if let Some(directory) = &self.directory {
            let _lock = status::lock(directory)?;
            files::remove_dir(directory)?;
        }
        self.references.iter().try_for_each(|reference| self.store.forget(&reference.id))
    }
}
