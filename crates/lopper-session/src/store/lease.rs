//! Who is at work at what, a stage or a cell of a sweep: leases with a heartbeat.
//!
//! No clocks are compared. Whoever waits watches the holder's heartbeat count, and takes over when it has not changed for
//! the length of a lease by its own clock; at once when the holder was a process of this machine and is gone. A holder that
//! was stopped and wakes up sees that the lease is another's; what it adds to the store by then is dropped there, because
//! the first whole artefact stands.

use crate::machine::Machine;
use crate::sealed::{self, Sealed};
use lopper_core::{Error, Result};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Heartbeats in the length of a lease: some may come late.
const BEATS: u32 = 6;
const LOCK: &str = ".lock";

/// Whoever is at work at a stage, or at another thing of which only one is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Of no other lease.
    token: String,
    /// The machine, so that its processes can be looked up; absent where it cannot be told from others.
    machine: Option<String>,
    /// The machine's name, for people.
    pub host: String,
    /// The process.
    pub process: u32,
    /// When the process began, in the kernel's ticks: numbers of processes are used again.
    started: Option<u64>,
    /// The run's directory.
    pub run: PathBuf,
    /// Raised while the holder lives.
    beat: u64,
}

impl Sealed for Holder {
    const NAME: &'static str = "claim";
    const FORMAT: u32 = 1;
}

/// The answer to a claim.
#[derive(Debug)]
pub enum Claim {
    /// It is ours.
    Held(Lease),
    /// It is somebody else's.
    Busy(Holder),
}

/// The right to work at something, until it is dropped.
#[derive(Debug)]
pub struct Lease {
    desk: Arc<Desk>,
    key: String,
    token: String,
    taken_over: bool,
    end: Option<Sender<()>>,
    heart: Option<JoinHandle<()>>,
}

impl Lease {
    /// Whether it is still ours: a process that was stopped for longer than a lease may have lost it.
    ///
    /// # Errors
    /// [`Error::File`] when that cannot be read.
    pub fn is_held(&self) -> Result<bool> {
        Ok(self.desk.read(&self.key)?.is_some_and(|holder| holder.token == self.token))
    }

    /// Whether it was another's, which is gone without having given it back.
    pub fn was_taken_over(&self) -> bool {
        self.taken_over
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(heart) = self.heart.take() {
            // A heart that panicked beats no more, which is all that is wanted here.
            let _ = heart.join();
        }
        let release = || {
            let _lock = self.desk.lock()?;
            match self.desk.read(&self.key)? {
                Some(holder) if holder.token == self.token => self.desk.clear(&self.key),
                _ => Ok(()),
            }
        };
        if let Err(e) = release() {
            tracing::warn!("{e}; others wait for {} before they go on", seconds(self.desk.length));
        }
    }
}

/// A directory in which leases are given out.
#[derive(Debug)]
pub struct Desk {
    root: PathBuf,
    length: Duration,
    machine: Machine,
    /// Heartbeats of others as they were first seen.
    seen: Mutex<HashMap<String, (String, u64, Instant)>>,
}

impl Desk {
    /// Leases are files in `root`, which is created with the first one. One of which nothing is heard for `length` has run out.
    pub fn new(root: PathBuf, length: Duration) -> Self {
        Self { root, length, machine: Machine::this(), seen: Mutex::default() }
    }

    /// Claims `key`, which has to be good as a file's name, for the run in the directory `run`.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read or written.
    pub fn claim(self: &Arc<Self>, key: &str, run: &Path) -> Result<Claim> {
        files::create_dir(&self.root)?;
        let _lock = self.lock()?;
        let before = self.read(key)?;
        if let Some(holder) = &before {
            if !self.is_gone(key, holder) {
                return Ok(Claim::Busy(holder.clone()));
            }
            let (run, process, host) = (holder.run.display(), holder.process, &holder.host);
            tracing::warn!("process {process} on {host}, which worked here for {run}, is gone; it is taken over");
        }
        static LEASES: AtomicU64 = AtomicU64::new(0);
        let process = std::process::id();
        let started = self.machine.started(process);
        let number = LEASES.fetch_add(1, Ordering::Relaxed);
        let holder = Holder {
            token: format!("{}-{process}-{}-{number}", self.machine.name(), started.unwrap_or_default()),
            machine: self.machine.id().map(str::to_owned),
            host: self.machine.name().to_owned(),
            process,
            started,
            run: run.to_owned(),
            beat: 0,
        };
        self.write(key, &holder)?;
        let (end, ended) = channel();
        let (desk, name, token) = (self.clone(), key.to_owned(), holder.token.clone());
        let heart = std::thread::spawn(move || {
            while ended.recv_timeout(desk.length / BEATS) == Err(RecvTimeoutError::Timeout) {
                match desk.beat(&name, &token) {
                    Ok(true) => {}
                    Ok(false) => return,
                    Err(e) => tracing::warn!("{e}; others may take over what this process works at"),
                }
            }
        });
        Ok(Claim::Held(Lease {
            desk: self.clone(),
            key: key.to_owned(),
            token: holder.token,
            taken_over: before.is_some(),
            end: Some(end),
            heart: Some(heart),
        }))
    }

    /// Whether somebody seems to be at work at `key`.
    ///
    /// # Errors
    /// [`Error::File`] when that cannot be read.
    pub fn is_claimed(&self, key: &str) -> Result<bool> {
        Ok(self.read(key)?.is_some_and(|holder| !self.is_gone(key, &holder)))
    }

    /// Raises the heartbeat; false when the lease is another's by now.
    fn beat(&self, key: &str, token: &str) -> Result<bool> {
        let _lock = self.lock()?;
        match self.read(key)? {
            Some(holder) if holder.token == token => {
                self.write(key, &Holder { beat: holder.beat + 1, ..holder })?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Whether a holder is dead, as far as can be told from here.
    fn is_gone(&self, key: &str, holder: &Holder) -> bool {
        if self.machine.id().is_some_and(|here| holder.machine.as_deref() == Some(here)) {
            // One that is stopped lives: its lease must run out.
            let alive = holder.started.is_some() && self.machine.started(holder.process) == holder.started;
            if !alive {
                return true;
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.get(key) {
            Some((token, beat, since)) if *token == holder.token && *beat == holder.beat => {
                since.elapsed() >= self.length
            }
            _ => {
                seen.insert(key.to_owned(), (holder.token.clone(), holder.beat, Instant::now()));
                false
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(format!("{key}.json"))
    }

    fn read(&self, key: &str) -> Result<Option<Holder>> {
        let path = self.path(key);
        match fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::file(&path, e)),
            // Claims are written in one rename: what cannot be read is of another version, or damaged, and is no claim of
            // anybody who could be waited for.
            Ok(bytes) => match sealed::open(&bytes) {
                Ok(holder) => Ok(Some(holder)),
                Err(e) => {
                    tracing::warn!("{}: {e}; it is not heeded", path.display());
                    Ok(None)
                }
            },
        }
    }

    fn write(&self, key: &str, holder: &Holder) -> Result<()> {
        files::write_atomic(&self.path(key), &sealed::seal(holder)?)
    }

    fn clear(&self, key: &str) -> Result<()> {
        files::remove_file(&self.path(key))
    }

    /// Held for the blink in which a claim is read and written. A process that was stopped in that blink must not stop all
    /// others, so nobody waits for longer than a lease; and some file systems have no locks. Two may then hold one lease,
    /// which costs time and nothing else.
    fn lock(&self) -> Result<File> {
        let path = self.root.join(LOCK);
        let file = File::create(&path).map_err(|e| Error::file(&path, e))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Err(TryLockError::WouldBlock) if started.elapsed() < self.length => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(TryLockError::Error(e)) if e.kind() != ErrorKind::Unsupported => return Err(Error::file(path, e)),
                _ => return Ok(file),
            }
        }
    }
}

fn seconds(length: Duration) -> String {
    format!("{} s", length.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(root: &Path, length: u64) -> Arc<Desk> {
        Arc::new(Desk::new(root.to_owned(), Duration::from_millis(length)))
    }

    fn held(claim: Claim) -> Lease {
        match claim {
            Claim::Held(lease) => lease,
            Claim::Busy(holder) => panic!("{holder:?} has it"),
        }
    }

    fn is_busy(claim: Claim) -> bool {
        matches!(claim, Claim::Busy(_))
    }

    const KEY: &str = "stage";

    fn run() -> &'static Path {
        Path::new("runs/a")
    }

    #[test]
    fn one_holder_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (desk(directory.path(), 60_000), desk(directory.path(), 60_000));
        let lease = held(ours.claim(KEY, run()).unwrap());
        assert!(is_busy(theirs.claim(KEY, run()).unwrap()) && theirs.is_claimed(KEY).unwrap());
        assert!(is_busy(ours.claim(KEY, run()).unwrap()), "not twice in one process either");
        drop(held(theirs.claim("another stage", run()).unwrap()));
        drop(lease);
        assert!(!theirs.is_claimed(KEY).unwrap());
        drop(held(theirs.claim(KEY, run()).unwrap()));
    }

    #[test]
    fn a_heart_that_beats_keeps_the_lease() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) = (desk(directory.path(), 600), desk(directory.path(), 600));
        let lease = held(ours.claim(KEY, run()).unwrap());
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(1500) {
            assert!(is_busy(theirs.claim(KEY, run()).unwrap()));
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(lease.is_held().unwrap());
    }

    /// Writes a claim as another process would have.
    fn pretend(desk: &Desk, change: impl FnOnce(&mut Holder)) {
        let process = std::process::id();
        let mut holder = Holder {
            token: "theirs".into(),
            machine: desk.machine.id().map(str::to_owned),
            host: "there".into(),
            process,
            started: desk.machine.started(process),
            run: run().into(),
            beat: 7,
        };
        change(&mut holder);
        files::create_dir(&desk.root).unwrap();
        desk.write(KEY, &holder).unwrap();
    }

    #[test]
    fn a_process_of_this_machine_that_is_gone_holds_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let desk = desk(directory.path(), 60_000);
        pretend(&desk, |holder| holder.process = u32::MAX);
        let lease = held(desk.claim(KEY, run()).unwrap());
        assert!(lease.was_taken_over());
        drop(lease);
        assert!(!held(desk.claim(KEY, run()).unwrap()).was_taken_over(), "it was given back");
        // Its number is another process's by now.
        pretend(&desk, |holder| holder.started = holder.started.map(|started| started + 1));
        drop(held(desk.claim(KEY, run()).unwrap()));
        pretend(&desk, |_| {});
        assert!(is_busy(desk.claim(KEY, run()).unwrap()));
    }

    #[test]
    fn a_heart_that_stands_still_loses_the_lease_whatever_the_clocks_say() {
        let directory = tempfile::tempdir().unwrap();
        let desk = desk(directory.path(), 200);
        let machines = [None, Some("another".to_owned()), desk.machine.id().map(str::to_owned)];
        for (beat, machine) in (10..).zip(machines) {
            pretend(&desk, |holder| (holder.machine, holder.beat) = (machine, beat));
            let started = Instant::now();
            assert!(is_busy(desk.claim(KEY, run()).unwrap()));
            let lease = loop {
                match desk.claim(KEY, run()).unwrap() {
                    Claim::Held(lease) => break lease,
                    Claim::Busy(_) => std::thread::sleep(Duration::from_millis(5)),
                }
            };
            assert!(started.elapsed() >= Duration::from_millis(200));
            // The sleeper wakes up: its heartbeat finds another's lease, and takes nothing back.
            assert!(!desk.beat(KEY, "theirs").unwrap() && lease.is_held().unwrap());
        }
    }

    #[test]
    fn a_lease_that_was_taken_over_is_not_released_by_its_first_holder() {
        let directory = tempfile::tempdir().unwrap();
        let desk = desk(directory.path(), 60_000);
        let lease = held(desk.claim(KEY, run()).unwrap());
        pretend(&desk, |_| {});
        assert!(!lease.is_held().unwrap());
        drop(lease);
        assert_eq!(desk.read(KEY).unwrap().unwrap().token, "theirs");
    }

    #[test]
    fn what_is_no_claim_stops_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let desk = desk(directory.path(), 60_000);
        fs::write(desk.path(KEY), b"{").unwrap();
        drop(held(desk.claim(KEY, run()).unwrap()));
    }
}
