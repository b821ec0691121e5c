//! How a run is asked to stop, and whether anything would be lost if it ended this instant.

use lopper_core::{Error, Result};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long a wait sleeps before it looks again.
const SLICE: Duration = Duration::from_millis(50);

/// Asks a run to stop. Clones ask, and see, the same.
///
/// A run looks at it between updates, between the micro-batches of one, between batches of an evaluation, between stages
/// and while it waits. Code that does not look, such as a plugin that reads a corpus for minutes, may be ended with the
/// process as long as [`unsaved`](Self::unsaved) is false: that is for whoever owns the process to decide. So may a
/// micro-batch that takes long, once [`save_for_run`](Self::save_for_run) has saved what is unsaved. Whoever ends the process so
/// calls [`end_for_run`](Self::end_for_run) before.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    requested: Arc<AtomicBool>,
    unsaved: Arc<AtomicBool>,
    standby: Arc<Standby<Result<()>>>,
    end: Arc<Standby<()>>,
}

/// What another thread can do for a run that does not look itself, once. Locked while it is done.
struct Standby<T>(Mutex<Option<Box<dyn FnOnce() -> T + Send>>>);

impl<T> Standby<T> {
    fn set(&self, call: Option<Box<dyn FnOnce() -> T + Send>>) {
        *self.lock() = call;
    }

    fn call(&self) -> Option<T> {
        let mut call = self.lock();
        call.take().map(|call| call())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<dyn FnOnce() -> T + Send>>> {
        // Each change is one assignment, so it is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for Standby<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> fmt::Debug for Standby<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standby")
    }
}

impl Stop {
    /// One that is requested by setting `flag`, as a signal handler does.
    pub fn watching(flag: Arc<AtomicBool>) -> Self {
        Self { requested: flag, ..Self::default() }
    }

    /// Asks the run to stop.
    pub fn request(&self) {
        self.requested.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to stop.
    pub fn requested(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }

    /// Whether the process holds work that is on no disk: updates after the last checkpoint, or a finished stage that is
    /// not in the store yet.
    pub fn unsaved(&self) -> bool {
        self.unsaved.load(Ordering::Acquire)
    }

    /// From now until what this returns is dropped, the process counts as one with unsaved work: that of processes which it
    /// has started and waits for.
    pub fn begin_unsaved(&self) -> impl Drop + use<> {
        let unsaved = Unsaved::nothing(self);
        unsaved.begin();
        unsaved
    }

    /// Saves what is unsaved, from the thread that calls, if the run stands where that is possible: it computes gradients of
    /// a micro-batch that takes longer than a second, and weights and moments are those of the last update. `None` where
    /// it stands elsewhere, and then it will soon look itself. The run goes no further before this returns.
    pub fn save_for_run(&self) -> Option<Result<()>> {
        self.standby.call()
    }

    /// Notes where the run keeps its status that it was interrupted, from the thread that calls: the process is about to be
    /// ended, and nothing is unsaved. Afterwards the run writes no status any more. Nothing where no run goes on.
    pub fn end_for_run(&self) {
        self.end.call();
    }

    /// From now until [`stand_down`](Self::stand_down) the run changes nothing that `save` writes.
    pub(crate) fn stand_by(&self, save: impl FnOnce() -> Result<()> + Send + 'static) {
        self.standby.set(Some(Box::new(save)));
    }

    /// Waits for whoever saves right now; afterwards the state may change.
    pub(crate) fn stand_down(&self) {
        self.standby.set(None);
    }

    /// `note` is how [`end_for_run`](Self::end_for_run) notes it.
    pub(crate) fn note_end_with(&self, note: impl FnOnce() + Send + 'static) {
        self.end.set(Some(Box::new(note)));
    }

    /// Goes on unless a stop was requested; `doing` says what ends then, such as `ranking for stage omp`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once a stop was requested.
    pub fn check(&self, doing: &str) -> Result<()> {
        if self.requested() {
            return Err(Error::Interrupted(format!("while {doing}; the same command goes on from what is saved")));
        }
        Ok(())
    }

    /// Waits, unless a stop is requested meanwhile.
    ///
    /// # Errors
    /// As [`check`](Self::check), at most a twentieth of a second after the request.
    pub fn pause(&self, time: Duration, doing: &str) -> Result<()> {
        let started = Instant::now();
        loop {
            self.check(doing)?;
            match time.checked_sub(started.elapsed()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(SLICE)),
                _ => return Ok(()),
            }
        }
    }
}

/// Whether a stage holds unsaved work, for as long as the stage is this process's. Dropped, nothing is unsaved any more:
/// the stage is in the store, or the run has ended with an error.
#[derive(Debug)]
pub(crate) struct Unsaved(Stop);

impl Unsaved {
    /// Of a stage of which everything is saved.
    pub(crate) fn nothing(stop: &Stop) -> Self {
        Self(stop.clone())
    }

    /// An update was finished.
    pub(crate) fn begin(&self) {
        self.0.unsaved.store(true, Ordering::Release);
    }

    /// Says, from whichever thread writes it, that everything is saved.
    pub(crate) fn saved(&self) -> impl FnOnce() + Send + 'static {
        let unsaved = self.0.unsaved.clone();
        move || unsaved.store(false, Ordering::Release)
    }
}

impl Drop for Unsaved {
    fn drop(&mut self) {
        self.0.unsaved.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_ask_and_see_the_same() {
        let flag = Arc::new(AtomicBool::new(false));
        let stop = Stop::watching(flag.clone());
        let other = stop.clone();
        stop.check("reading").unwrap();
        flag.store(true, Ordering::Relaxed);
        assert!(other.requested());
        let error = other.check("reading the data").unwrap_err();
        assert!(matches!(error, Error::Interrupted(_)));
        assert!(error.to_string().starts_with("interrupted: while reading the data; "), "{error}");
    }

    #[test]
    fn a_wait_ends_with_its_time_or_with_a_request() {
        let stop = Stop::default();
        stop.pause(Duration::from_millis(1), "waiting").unwrap();
        let asked = stop.clone();
        let started = Instant::now();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            asked.request();
        });
        assert!(stop.pause(Duration::from_secs(600), "waiting for another process").is_err());
        assert!(started.elapsed() < Duration::from_secs(60));
        thread.join().unwrap();
    }

    #[test]
    fn a_state_that_stands_still_is_saved_once_and_by_whoever_comes_first() {
        let stop = Stop::default();
        assert!(stop.save_for_run().is_none());
        let (said, hear) = std::sync::mpsc::channel();
        let save = |number| {
            let said = said.clone();
            move || said.send(number).map_err(|e| Error::Other(e.to_string()))
        };
        stop.stand_by(save(1));
        stop.stand_down();
        assert!(stop.save_for_run().is_none());
        stop.stand_by(save(2));
        stop.clone().save_for_run().unwrap().unwrap();
        assert!(stop.save_for_run().is_none());
        assert_eq!(hear.try_iter().collect::<Vec<_>>(), [2]);
        // Who is saving is waited for.
        let (begun, begins) = std::sync::mpsc::channel();
        let done = Arc::new(AtomicBool::new(false));
        let ends = done.clone();
        stop.stand_by(move || {
            begun.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(50));
            ends.store(true, Ordering::Relaxed);
            Ok(())
        });
        let other = stop.clone();
        let thread = std::thread::spawn(move || other.save_for_run().unwrap());
        begins.recv().unwrap();
        stop.stand_down();
        assert!(done.load(Ordering::Relaxed));
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn work_is_unsaved_until_it_is_written_or_given_up() {
        let stop = Stop::default();
        let work = Unsaved::nothing(&stop);
        assert!(!stop.unsaved());
        work.begin();
        assert!(stop.unsaved());
        let saved = work.saved();
        std::thread::spawn(saved).join().unwrap();
        assert!(!stop.unsaved());
        work.begin();
        drop(work);
        assert!(!stop.unsaved());
    }
}
