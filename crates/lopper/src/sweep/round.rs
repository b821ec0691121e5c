//! How the cells of a sweep stand, as all processes that are at work at it see it: from their directories alone.

use super::Sweep;
use lopper_core::{Error, Result};
use lopper_session::{RunState, RunStatus};
use lopper_weights::files;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::SystemTime;

/// In a cell's directory: why it failed.
pub(super) const FAILED: &str = "failed.txt";

/// In a cell's directory: locked by the process that is at work at the cell.
const CLAIM: &str = ".cell";

/// How a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Neither done nor given up since the sweep was started last, or somebody is at work at it.
    Open,
    Done,
    Failed,
}

/// Since the sweep was started last. What was done before is looked at again, once: data may have changed.
#[derive(Debug)]
pub(super) struct Round {
    since: SystemTime,
    /// What was seen to be open no more, which it stays.
    ended: RefCell<BTreeMap<usize, Standing>>,
}

impl Round {
    /// The round that is under way. All times are those of the file system, of whichever machine writes.
    pub(super) fn of(sweep: &Sweep) -> Result<Self> {
        let source = sweep.out.join(Sweep::SOURCE);
        let since = source.metadata().and_then(|data| data.modified()).map_err(|e| Error::file(&source, e))?;
        Ok(Self { since, ended: RefCell::default() })
    }

    /// How a cell stands.
    pub(super) fn standing(&self, sweep: &Sweep, cell: usize) -> Standing {
        if let Some(ended) = self.ended.borrow().get(&cell) {
            return *ended;
        }
        let standing = self.look(sweep, cell);
        if standing != Standing::Open {
            self.ended.borrow_mut().insert(cell, standing);
        }
        standing
    }

    fn look(&self, sweep: &Sweep, cell: usize) -> Standing {
        let directory = sweep.directory(cell);
        let is_new = |name: &str| {
            directory.join(name).metadata().and_then(|data| data.modified()).is_ok_and(|at| at >= self.since)
        };
        if is_new(FAILED) {
            return Standing::Failed;
        }
        let is_done = || RunStatus::read(&directory).is_ok_and(|status| status.state == RunState::Done);
        if is_new("status.json") && is_done() { Standing::Done } else { Standing::Open }
    }

    /// How many cells are open no more.
    pub(super) fn ended(&self, sweep: &Sweep) -> usize {
        (0..sweep.cells.len()).filter(|cell| self.standing(sweep, *cell) != Standing::Open).count()
    }
}

/// A cell that no other process is at work at while this lives.
pub(super) struct Claim {
    _locked: File,
}

impl Claim {
    /// Claims the cell of a directory; `None` when another process has it. A file system without locks lets two processes
    /// do the same, which costs time and nothing else.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be written.
    pub(super) fn of(directory: &Path) -> Result<Option<Self>> {
        files::create_dir(directory)?;
        let path = directory.join(CLAIM);
        let file = File::create(&path).map_err(|e| Error::file(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _locked: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {
                Ok(Some(Self { _locked: file }))
            }
            Err(TryLockError::Error(e)) => Err(Error::file(path, e)),
        }
    }
}
