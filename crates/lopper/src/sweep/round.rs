//! How the cells of a sweep stand, as all processes that are at work at it see it: from its directory alone.

use super::Sweep;
use super::started::Started;
use crate::config;
use lopper_core::{Error, Result};
use lopper_session::{Claim, Desk, LEASE, Lease, RunState, RunStatus};
use lopper_weights::files;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use toml::{Table, Value};

/// In a cell's directory: why it failed.
pub(super) const FAILED: &str = "failed.txt";

/// In a cell's directory: the round in which it ended last, well or not.
const ENDED: &str = "round.txt";

/// In a sweep's directory: who is at work at which cell.
const CLAIMS: &str = "claims";

/// What is claimed by whoever writes the report. Every cell's name ends with its seed.
const REPORT: &str = ".report";

/// In a sweep's directory: the round that the report is of.
const REPORTED: &str = "claims/reported.txt";

/// In a run's directory: locked by the process that runs it.
const RUN_LOCK: &str = ".lock";

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
    started: Started,
    /// The sweep's source, and what it says but for who started it.
    source: (Vec<u8>, Table),
    desk: Arc<Desk>,
    /// What was seen to be open no more, which it stays.
    ended: RefCell<BTreeMap<usize, Standing>>,
}

impl Round {
    /// The round that is under way.
    ///
    /// # Errors
    /// [`Error::File`] when the sweep's source cannot be read, or another version of Lopper started it.
    pub(super) fn of(sweep: &Sweep) -> Result<Self> {
        let (bytes, started, table) = read(&sweep.out)?;
        let lease = sweep.source.get("store").and_then(|store| store.get("lease")).and_then(Value::as_integer);
        let lease = lease.and_then(|seconds| seconds.try_into().ok()).map_or(LEASE, Duration::from_secs);
        let claims = sweep.out.join(CLAIMS);
        files::sweep(&claims);
        let desk = Arc::new(Desk::new(claims, lease));
        Ok(Self { started, source: (bytes, table), desk, ended: RefCell::default() })
    }

    /// Sees whether the sweep was started again since, and goes on in that round if its configuration is the same. Returns whether
    /// it was.
    ///
    /// # Errors
    /// [`Error::File`] when it is another one, or another version of Lopper started it.
    pub(super) fn renew(&mut self, sweep: &Sweep) -> Result<bool> {
        let path = sweep.out.join(Sweep::SOURCE);
        if fs::read(&path).is_ok_and(|bytes| bytes == self.source.0) {
            return Ok(false);
        }
        let (bytes, started, table) = read(&sweep.out)?;
        if table != self.source.1 {
            let why = "the sweep was started again with another configuration while this process was at work at it; \
                       `lopper work` takes part in that one";
            return Err(Error::file(path, why));
        }
        tracing::info!("{}: the sweep was started again; this process goes on in that round", sweep.out.display());
        self.ended.borrow_mut().clear();
        (self.started, self.source) = (started, (bytes, table));
        Ok(true)
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
        let ended = fs::read(directory.join(ENDED)).is_ok_and(|round| round == self.started.round().as_bytes());
        let is_done = || RunStatus::read(&directory).is_ok_and(|status| status.state == RunState::Done);
        match ended {
            true if directory.join(FAILED).exists() => Standing::Failed,
            true if is_done() => Standing::Done,
            _ => Standing::Open,
        }
    }

    /// Notes that a cell, of which `why` says whether it failed, has ended in this round.
    ///
    /// # Errors
    /// [`Error::File`] when its directory cannot be written.
    pub(super) fn end(&self, directory: &Path, why: Option<&str>) -> Result<()> {
        files::create_dir(directory)?;
        match why {
            Some(why) => files::write_atomic(&directory.join(FAILED), why.as_bytes())?,
            None => files::remove_file(&directory.join(FAILED))?,
        }
        files::write_atomic(&directory.join(ENDED), self.started.round().as_bytes())
    }

    /// How many cells are open no more.
    pub(super) fn ended(&self, sweep: &Sweep) -> usize {
        (0..sweep.cells.len()).filter(|cell| self.standing(sweep, *cell) != Standing::Open).count()
    }

    /// Claims a cell; `None` when another process has it.
    ///
    /// # Errors
    /// [`Error::File`] when the sweep's directory cannot be written.
    pub(super) fn claim(&self, sweep: &Sweep, cell: usize) -> Result<Option<Lease>> {
        let directory = sweep.directory(cell);
        let lease = self.claim_name(&sweep.cells[cell].name, &directory)?;
        if lease.as_ref().is_some_and(Lease::was_taken_over) {
            release(&directory.join(RUN_LOCK))?;
        }
        Ok(lease)
    }

    /// Claims the report, once all cells have ended; `None` when another process has it, or has written that of this round.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub(super) fn claim_report(&self, sweep: &Sweep) -> Result<Option<Lease>> {
        let is_written =
            || fs::read(sweep.out.join(REPORTED)).is_ok_and(|round| round == self.started.round().as_bytes());
        if is_written() {
            return Ok(None);
        }
        Ok(self.claim_name(REPORT, &sweep.out)?.filter(|_| !is_written()))
    }

    /// Notes that the report of this round is written.
    ///
    /// # Errors
    /// [`Error::File`] when the sweep's directory cannot be written.
    pub(super) fn note_report(&self, sweep: &Sweep) -> Result<()> {
        files::create_dir(&sweep.out.join(CLAIMS))?;
        files::write_atomic(&sweep.out.join(REPORTED), self.started.round().as_bytes())
    }

    fn claim_name(&self, name: &str, directory: &Path) -> Result<Option<Lease>> {
        // A look needs no lock, and most cells of a large sweep are somebody's.
        if self.desk.is_claimed(name)? {
            return Ok(None);
        }
        Ok(match self.desk.claim(name, directory)? {
            Claim::Held(lease) => Some(lease),
            Claim::Busy(_) => None,
        })
    }
}

/// A sweep's source: its bytes, who started it, and the rest.
fn read(directory: &Path) -> Result<(Vec<u8>, Started, Table)> {
    let path = directory.join(Sweep::SOURCE);
    let bytes = fs::read(&path).map_err(|e| Error::file(&path, e))?;
    let mut table = config::read(&path)?;
    let started = Started::of(&table, &path)?;
    table.remove(Started::TABLE);
    Ok((bytes, started, table))
}

/// Puts aside the lock of a run whose process is gone, where the file system has not let go of it: some never do when
/// a machine dies. Whoever runs it next makes a file of its own.
fn release(lock: &Path) -> Result<()> {
    match File::open(lock).map(|file| file.try_lock()) {
        Ok(Err(TryLockError::WouldBlock)) => {
            tracing::warn!("{}: still locked for a process that is gone; the lock is put aside", lock.display());
            files::remove_file(lock)
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_claims_and_the_report_are_of_a_round() {
        let directory = tempfile::tempdir().unwrap();
        let (file, out) = (directory.path().join("a.toml"), directory.path().join("out"));
        let sweep = |seeds: &str| {
            fs::write(&file, format!("[sweep]\nseeds = {seeds}\n")).unwrap();
            Sweep::read(&file, &[], Some(&out)).unwrap().unwrap()
        };
        let one = sweep("[1, 2]");
        one.start().unwrap();
        let mut round = Round::of(&one).unwrap();
        let failed = one.directory(0);
        round.end(&failed, Some("no luck")).unwrap();
        // What a machine's clock may say is nothing to anybody.
        for name in [FAILED, ENDED] {
            let file = File::options().write(true).open(failed.join(name)).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        }
        let stand = |round: &Round| [0, 1].map(|cell| round.standing(&one, cell));
        assert_eq!(stand(&Round::of(&one).unwrap()), [Standing::Failed, Standing::Open]);
        let lease = round.claim(&one, 1).unwrap().unwrap();
        assert!(Round::of(&one).unwrap().claim(&one, 1).unwrap().is_none());
        drop(lease);
        drop(round.claim_report(&one).unwrap().unwrap());
        round.note_report(&one).unwrap();
        assert!(round.claim_report(&one).unwrap().is_none(), "once a round");

        assert!(!round.renew(&one).unwrap());
        one.start().unwrap();
        assert!(round.renew(&one).unwrap());
        assert_eq!((stand(&round), round.ended(&one)), ([Standing::Open; 2], 0));
        assert!(round.claim_report(&one).unwrap().is_some());
        sweep("[1, 3]").start().unwrap();
        let error = round.renew(&one).unwrap_err().to_string();
        assert!(error.contains("started again with another configuration"), "{error}");
    }

    #[test]
    fn a_lock_of_the_dead_is_put_aside_and_another_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let lock = directory.path().join(RUN_LOCK);
        release(&lock).unwrap();
        let held = File::create(&lock).unwrap();
        release(&lock).unwrap();
        assert!(lock.exists(), "nobody holds it");
        held.lock().unwrap();
        release(&lock).unwrap();
        assert!(!lock.exists());
        File::create(&lock).unwrap().try_lock().unwrap();
    }
}
