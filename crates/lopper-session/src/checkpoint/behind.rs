//! A checkpoint that is written while training goes on.
//!
//! Weights and moments change in an optimizer step and in nothing else, so a thread can write them as they lie, without a
//! copy of 12 bytes a parameter, while the next update's gradients are computed. The step waits for it.

use super::Progressed;
use lopper_core::{Error, Result};
use std::panic::resume_unwind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Instant;

/// The thread that writes, if one does, and what this process knows to be on disk.
#[derive(Debug, Default)]
pub(super) struct Behind(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    writing: Option<(Place, JoinHandle<Result<()>>)>,
    held: Option<Place>,
}

/// A stage's key and the updates that are done.
type Place = (String, u64);

fn place(progress: &Progressed) -> Place {
    (progress.key.clone(), progress.update)
}

impl Behind {
    /// Starts to write the checkpoint that stands where `progress` does.
    ///
    /// # Errors
    /// [`Error::Other`] when the system gives no thread.
    pub(super) fn begin(
        &self,
        progress: Progressed,
        write: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let thread = Builder::new().name("checkpoint".into()).spawn(write);
        let thread = thread.map_err(|e| Error::Other(format!("no thread to write a checkpoint: {e}")))?;
        self.state().writing = Some((place(&progress), thread));
        Ok(())
    }

    /// Waits for what is being written.
    ///
    /// # Errors
    /// Those of writing it.
    ///
    /// # Panics
    /// When writing it did, with its message.
    pub(super) fn settle(&self) -> Result<()> {
        let writing = self.state().writing.take();
        if let Some((place, thread)) = writing {
            let started = Instant::now();
            thread.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            tracing::debug!("waited {:.3?} for a checkpoint", started.elapsed());
            self.state().held = Some(place);
        }
        Ok(())
    }

    /// Notes that a checkpoint is on disk.
    pub(super) fn hold(&self, progress: &Progressed) {
        self.state().held = Some(place(progress));
    }

    /// Whether the last one that is known to be on disk stands where `progress` does.
    pub(super) fn holds(&self, progress: &Progressed) -> bool {
        self.state().held == Some(place(progress))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one assignment, so the state is whole even after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Behind {
    /// A checkpoint that was begun is finished: the run may have failed for a reason that it outlives.
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, thread)) = state.writing.take()
            && let Ok(Err(error)) = thread.join()
        {
            tracing::warn!("{error}");
        }
    }
}
