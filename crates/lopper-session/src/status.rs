//! What a run says about itself while it goes on, for whoever looks in from outside.

use crate::RunRecord;
use crate::checkpoint::CheckpointStore;
use crate::sealed::{self, Sealed};
use crate::store::{LEASE, StageStore};
use lopper_core::{Error, MetricValue, Result};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const FILE: &str = "status.json";
const LOCK: &str = ".lock";
/// Time between two notes of a stage's progress: seldom enough to cost nothing.
const INTERVAL: Duration = Duration::from_secs(2);

/// Whether a run goes on, and how it ended if it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// A process is at it.
    Running,
    /// It saved its state when it was asked to stop; the same command goes on.
    Interrupted,
    /// It ended without a word, as by kill -9 or a power cut; the same command goes on from the last checkpoint.
    Killed,
    /// It ended with an error.
    Failed,
    /// Model and record are written.
    Done,
}

/// One stage of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageStatus {
    /// The stage's name.
    pub name: String,
    /// Its plan key.
    pub key: String,
    /// Updates it consists of.
    pub updates: u64,
    /// Updates that are done and will not be done again: all of them for a stage in the store.
    pub done: u64,
    /// Wall-clock seconds that the updates done by this run took; 0 for a stage that was in the store.
    pub seconds: f64,
}

/// A run as its directory tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// Whether it goes on.
    pub state: RunState,
    /// Why it failed.
    pub error: Option<String>,
    /// The pruning method.
    pub method: String,
    /// The task.
    pub task: String,
    /// The process that runs it, or ran it last.
    pub process: u32,
    /// The store of finished stages.
    pub store: PathBuf,
    /// Its stages, in order.
    pub stages: Vec<StageStatus>,
    /// The loss of the latest update of the stage under way. Absent before there is one, and once the run has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// The task's primary metric, once the run is done. Absent from what older versions wrote, as is the sparsity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<MetricValue>,
    /// Exact share of pruned entries, once the run is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<f64>,
}

impl Sealed for RunStatus {
    const NAME: &'static str = "status of a run";
    const FORMAT: u32 = 1;
}

impl RunStatus {
    /// Reads the status of the run in `out`. Takes no part in the run and may be called at any time.
    ///
    /// # Errors
    /// [`Error::File`] when there is no run in `out`, or its status is damaged or of another version.
    pub fn read(out: &Path) -> Result<Self> {
        let path = out.join(FILE);
        let bytes = std::fs::read(&path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(out, format!("holds no run of Lopper (there is no {FILE})")),
            _ => Error::file(&path, e),
        })?;
        let mut status: Self = sealed::open(&bytes).map_err(|e| Error::file(&path, e))?;
        if status.state == RunState::Running && !is_locked(out, status.process) {
            status.state = RunState::Killed;
        }
        if !matches!(status.state, RunState::Running | RunState::Done) {
            status.count_what_is_kept(out);
        }
        Ok(status)
    }

    /// Of a run that ended early: what came after the last checkpoint is lost, and so is a stage that was trained to its last
    /// update, until it is in the store.
    fn count_what_is_kept(&mut self, out: &Path) {
        let newest = CheckpointStore::new(out).newest();
        let store = StageStore::open(&self.store, LEASE).ok();
        for stage in &mut self.stages {
            let key = store.as_ref().and_then(|store| store.resolve(&stage.key));
            let stored = store.as_ref().zip(key.as_ref()).and_then(|(store, key)| store.find(key));
            (stage.done, stage.seconds) = match stored {
                // No pace is taken from a stage that was there before.
                Some(_) if stage.seconds == 0.0 => (stage.updates, 0.0),
                Some(stored) => (stage.updates, stored.record().seconds),
                None => {
                    let checkpoint = newest.as_ref().filter(|progress| Some(&progress.key) == key.as_ref());
                    checkpoint.map_or((0, 0.0), |progress| (progress.update, progress.seconds))
                }
            };
        }
    }

    /// Seconds that the rest takes, by the pace of the latest stage that trained; `None` before there is one. Evaluations
    /// count as part of the pace.
    pub fn seconds_left(&self) -> Option<f64> {
        let paced = self.stages.iter().rev().find(|stage| stage.done > 0 && stage.seconds > 0.0)?;
        let left: u64 = self.stages.iter().map(|stage| stage.updates - stage.done.min(stage.updates)).sum();
        Some(left as f64 * paced.seconds / paced.done as f64)
    }
}

/// Writes the status of a run under way into its file.
pub(crate) struct StatusWriter {
    shared: Arc<Mutex<Shared>>,
    /// The stage under way.
    stage: usize,
    written: Instant,
}

/// What the thread that ends a process in the place of its run writes, too.
struct Shared {
    path: PathBuf,
    status: RunStatus,
}

impl Shared {
    fn write(&self) -> Result<()> {
        files::write_atomic(&self.path, &sealed::seal(&self.status)?)
    }

    /// A status that cannot be written must not stop a run.
    fn tell(&self) {
        if let Err(e) = self.write() {
            tracing::warn!("{e}");
        }
    }
}

impl StatusWriter {
    /// Writes it for the first time.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be written: a run that cannot write here had better know at once.
    pub(crate) fn begin(out: &Path, status: RunStatus) -> Result<Self> {
        let shared = Shared { path: out.join(FILE), status };
        shared.write()?;
        Ok(Self { shared: Arc::new(Mutex::new(shared)), stage: 0, written: Instant::now() })
    }

    /// Stage `index` stands at `done` updates.
    pub(crate) fn stage(&mut self, index: usize, done: u64, seconds: f64) {
        self.stage = index;
        self.stands_at(done, seconds, None, true);
    }

    /// The stage under way has finished another update, with this loss.
    pub(crate) fn update(&mut self, done: u64, seconds: f64, loss: Option<f64>) {
        self.stands_at(done, seconds, loss, self.written.elapsed() >= INTERVAL);
    }

    fn stands_at(&mut self, done: u64, seconds: f64, loss: Option<f64>, write: bool) {
        let mut shared = locked(&self.shared);
        let stage = &mut shared.status.stages[self.stage];
        (stage.done, stage.seconds) = (done, seconds);
        // What is not finite is skipped, and no number for JSON.
        shared.status.loss = loss.filter(|loss| loss.is_finite());
        if write && shared.status.state == RunState::Running {
            shared.tell();
            self.written = Instant::now();
        }
    }

    /// What notes, from another thread, that the run was interrupted where it stands. Nothing once the run has ended; and after
    /// it, this writes no status any more.
    pub(crate) fn interrupts(&self) -> impl FnOnce() + Send + 'static {
        let shared = self.shared.clone();
        move || end(&shared, RunState::Interrupted, |_| {})
    }

    /// The run ends like this.
    pub(crate) fn end(self, result: &Result<RunRecord>) {
        match result {
            Ok(record) => end(&self.shared, RunState::Done, |status| {
                (status.metric, status.sparsity) = (record.metric.clone(), Some(record.sparsity));
            }),
            Err(Error::Interrupted(_)) => end(&self.shared, RunState::Interrupted, |_| {}),
            Err(e) => end(&self.shared, RunState::Failed, |status| status.error = Some(e.to_string())),
        }
    }
}

/// Notes how a run ends, unless it has ended; `note` adds what else there is to say.
fn end(shared: &Mutex<Shared>, state: RunState, note: impl FnOnce(&mut RunStatus)) {
    let mut shared = locked(shared);
    if shared.status.state == RunState::Running {
        shared.status.state = state;
        shared.status.loss = None;
        note(&mut shared.status);
        shared.tell();
    }
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Numbers and a state, of which any combination may be written.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for StatusWriter {
    /// A panic, caught further up or not, would otherwise look like kill -9.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "a defect in Lopper or a plugin: it panicked";
            end(&self.shared, RunState::Failed, |status| status.error = Some(why.into()));
        }
    }
}

/// One process a run directory: two would write over each other's checkpoints. The lock ends with the process. Where the
/// file system has no locks there is none, as in the store.
///
/// # Errors
/// [`Error::File`] naming the directory when another process has it.
pub(crate) fn lock(out: &Path) -> Result<File> {
    lock_by(out, File::try_lock)
}

fn lock_by(out: &Path, try_lock: impl Fn(&File) -> Result<(), TryLockError>) -> Result<File> {
    let path = out.join(LOCK);
    let file = File::create(&path).map_err(|e| Error::file(&path, e))?;
    let started = Instant::now();
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(file),
            // Somebody who asks for the status holds it for a moment.
            Err(TryLockError::WouldBlock) if started.elapsed() < Duration::from_millis(200) => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                let why = "another process is running in this directory; wait for it, or give another --out";
                return Err(Error::file(out, why));
            }
            Err(TryLockError::Error(e)) if e.kind() == ErrorKind::Unsupported => {
                tracing::warn!("{}: this file system has no locks; do not run twice in it at once", out.display());
                return Ok(file);
            }
            Err(TryLockError::Error(e)) => return Err(Error::file(path, e)),
        }
    }
}

/// Whether a process is at work in `out`, as far as can be told; `process` is the one that was last.
fn is_locked(out: &Path, process: u32) -> bool {
    File::open(out.join(LOCK)).is_ok_and(|file| is_held(file.try_lock_shared(), process, Path::new("/proc")))
}

/// Whether an attempt to lock shows a process at work. Where there are no locks, a process of its number is one; where
/// `processes` does not list them either, nothing says that it ended.
fn is_held(attempt: Result<(), TryLockError>, process: u32, processes: &Path) -> bool {
    match attempt {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => !processes.join("self").exists() || processes.join(process.to_string()).exists(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::record;

    fn status(done: [u64; 3]) -> RunStatus {
        let stage = |(index, done): (usize, u64)| StageStatus {
            name: format!("stage {index}"),
            key: format!("{index:064}"),
            updates: 100,
            done,
            seconds: if index == 0 { 0.0 } else { done as f64 * 0.5 },
        };
        RunStatus {
            state: RunState::Running,
            error: None,
            method: "imp".into(),
            task: "rte".into(),
            process: 1,
            store: "nowhere".into(),
            stages: done.into_iter().enumerate().map(stage).collect(),
            loss: None,
            metric: None,
            sparsity: None,
        }
    }

    #[test]
    fn the_rest_is_estimated_from_what_trained_here() {
        assert_eq!(status([0, 0, 0]).seconds_left(), None);
        // The first stage was in the store, so its pace is unknown.
        assert_eq!(status([100, 0, 0]).seconds_left(), None);
        assert_eq!(status([100, 40, 0]).seconds_left(), Some(80.0));
        assert_eq!(status([100, 100, 100]).seconds_left(), Some(0.0));
    }

    #[test]
    fn a_run_that_ended_without_a_word_was_killed() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let error = RunStatus::read(at).unwrap_err().to_string();
        assert!(error.contains("holds no run") && error.contains(at.to_str().unwrap()), "{error}");
        let held = lock(at).unwrap();
        StatusWriter::begin(at, status([100, 40, 0])).unwrap();
        assert_eq!(RunStatus::read(at).unwrap(), status([100, 40, 0]));
        let error = lock(at).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        drop(held);
        let killed = RunStatus::read(at).unwrap();
        assert_eq!((killed.state, killed.stages[1].done), (RunState::Killed, 0));
        StatusWriter::begin(at, status([100, 40, 0])).unwrap().end(&Err(Error::Other("no more disk".into())));
        let failed = RunStatus::read(at).unwrap();
        assert_eq!((failed.state, failed.error.as_deref()), (RunState::Failed, Some("no more disk")));
    }

    /// Trained to the last update and killed in the validation after it: that stage begins again at its checkpoint.
    #[test]
    fn a_stage_that_is_not_in_the_store_is_not_done() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let store = StageStore::open(at.join("store"), LEASE).unwrap();
        let told = RunStatus { store: at.join("store"), ..status([100, 100, 0]) };
        crate::store::tests::pretend(&store, &told.stages[0].key);
        for ended in [None, Some(Error::Other("no more disk".into()))] {
            let writer = StatusWriter::begin(at, told.clone()).unwrap();
            if let Some(error) = ended {
                writer.end(&Err(error));
            }
            let status = RunStatus::read(at).unwrap();
            assert_eq!(status.stages.iter().map(|stage| stage.done).collect::<Vec<_>>(), [100, 0, 0]);
            assert_eq!(status.seconds_left(), None, "nothing that is kept tells a pace");
        }
        crate::store::tests::pretend(&store, &told.stages[1].key);
        let status = RunStatus::read(at).unwrap();
        assert_eq!((status.stages[1].done, status.stages[1].seconds), (100, 25.0));
        assert_eq!(status.seconds_left(), Some(25.0));
    }

    /// As by the thread that ends a process whose run does not look.
    #[test]
    fn an_end_that_is_noted_for_a_run_is_its_last_word() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let mut writer = StatusWriter::begin(at, status([100, 40, 0])).unwrap();
        let (first, second) = (writer.interrupts(), writer.interrupts());
        std::thread::spawn(first).join().unwrap();
        let interrupted = RunStatus::read(at).unwrap();
        assert_eq!((interrupted.state, interrupted.stages[1].done), (RunState::Interrupted, 0), "what is kept counts");
        writer.stage(1, 50, 1.0);
        writer.end(&Err(Error::Other("the process ends anyway".into())));
        assert_eq!(RunStatus::read(at).unwrap(), interrupted);
        // And of a run that is over nothing is noted.
        let writer = StatusWriter::begin(at, status([100, 100, 100])).unwrap();
        let late = writer.interrupts();
        // As versions wrote it that told neither metric nor sparsity.
        let told = String::from_utf8(std::fs::read(at.join(FILE)).unwrap()).unwrap();
        assert!(!told.contains("metric") && !told.contains("sparsity"), "{told}");
        writer.end(&Ok(record(&[])));
        late();
        second();
        let done = RunStatus::read(at).unwrap();
        let metric = done.metric.map(|metric| (metric.name, metric.value));
        assert_eq!((done.state, metric), (RunState::Done, Some(("accuracy".to_owned(), 0.75))));
        assert_eq!(done.sparsity, Some(0.5));
    }

    #[test]
    fn a_panic_is_no_kill() {
        let directory = tempfile::tempdir().unwrap();
        let writer = StatusWriter::begin(directory.path(), status([0, 0, 0])).unwrap();
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _writer = writer;
            panic!("on purpose");
        }));
        assert!(panic.is_err());
        let status = RunStatus::read(directory.path()).unwrap();
        assert_eq!(status.state, RunState::Failed);
        assert!(status.error.unwrap().contains("panicked"));
    }

    #[test]
    fn a_file_system_without_locks_holds_runs() {
        let none = || Err(TryLockError::Error(ErrorKind::Unsupported.into()));
        let directory = tempfile::tempdir().unwrap();
        drop(lock_by(directory.path(), |_| none()).unwrap());
        let broken = |_: &File| Err(TryLockError::Error(ErrorKind::Other.into()));
        assert!(lock_by(directory.path(), broken).unwrap_err().to_string().contains(LOCK));
        let processes = directory.path().join("proc");
        let held = |attempt, process| is_held(attempt, process, &processes);
        // Nothing lists processes: what the run said last stands.
        assert!(!held(Ok(()), 7) && held(Err(TryLockError::WouldBlock), 7) && held(none(), 7));
        for name in ["self", "7"] {
            std::fs::create_dir_all(processes.join(name)).unwrap();
        }
        assert!(!held(Ok(()), 7) && held(Err(TryLockError::WouldBlock), 8));
        assert!(held(none(), 7) && !held(none(), 8));
    }
}
