//! Where a stage under way writes.

use crate::CheckpointEvery;
use crate::checkpoint::{Checkpoint, CheckpointStore, Progressed};
use crate::events::{Event, EventLog};
use crate::judge::Judge;
use crate::progress::Progress;
use crate::status::StatusWriter;
use crate::weights::Weights;
use crate::writer::Writer;
use lopper_core::{MaskSet, Result};
use std::path::Path;
use std::time::Duration;

/// Where checkpoints, snapshots, lines, status and evaluations on the way go. Nothing that a stage computes depends on it, and
/// of several processes that train a stage together one alone uses it.
///
/// A checkpoint is written behind the training. It shares storage with model and optimizer, so there is no copy, and **weights,
/// moments and what a strategy remembers may change only after [`settle`](Self::settle)**.
pub(crate) struct Sink<'a> {
    /// The stage's name.
    pub(crate) stage: &'a str,
    /// Its training key.
    pub(crate) key: &'a str,
    /// Where its lines are told as they come; `None` when the run has told them already.
    pub(crate) events: Option<&'a mut EventLog>,
    pub(crate) status: &'a mut StatusWriter,
    /// A bar on the terminal, where the run draws one.
    pub(crate) progress: Option<Progress>,
    pub(crate) checkpoints: &'a CheckpointStore,
    /// Who trains it, for its checkpoints.
    pub(crate) writer: &'a Writer,
    pub(crate) every: CheckpointEvery,
    /// Judges its weights, and knows the store that they and its evaluations go to.
    pub(crate) judge: &'a Judge<'a>,
    /// The run's own directory.
    pub(crate) out: &'a Path,
}

impl Sink<'_> {
    /// Tells a line.
    pub(crate) fn tell(&mut self, event: &Event<'_>) -> Result<()> {
        match &mut self.events {
            Some(events) => events.write(self.stage, event),
            None => Ok(()),
        }
    }

    /// The stage has come so far; `loss` is that of its latest update.
    pub(crate) fn stands_at(&mut self, progress: &Progressed, loss: Option<f64>) {
        self.status.update(progress.update, progress.seconds, loss);
        if let (Some(bar), Some(loss)) = (&self.progress, loss) {
            bar.update(progress.update, loss);
        }
    }

    /// Puts the weights after `update` into the store.
    pub(crate) fn keep(&self, update: u64, weights: &Weights, mask: &MaskSet) -> Result<()> {
        self.judge.store.add_weights(self.key, update, weights, mask, self.judge.made_by).map(drop)
    }

    /// Judges the weights that the model holds, mask ⊙ weights after `update`, and tells what they are worth.
    pub(crate) fn judge(&mut self, update: u64) -> Result<()> {
        let splits = self.judge.judge(self.stage, self.key, update)?;
        self.tell(&Event::Validation { stage: self.stage.into(), update, splits: splits.into() })
    }

    /// Whether a checkpoint is wanted after `update`, when the last one is so old.
    pub(crate) fn is_due(&self, update: u64, age: Duration) -> bool {
        match self.every {
            CheckpointEvery::OnInterrupt => false,
            CheckpointEvery::Updates(every) => update.is_multiple_of(every),
            CheckpointEvery::Time(interval) => age >= interval,
        }
    }

    /// Writes a checkpoint and waits for it. `then` is called once it is on disk.
    pub(crate) fn save(&self, checkpoint: &Checkpoint, then: impl FnOnce()) -> Result<()> {
        self.checkpoints.save(checkpoint, self.writer, then)
    }

    /// Writes a checkpoint on a thread of its own: what it shares may change only after [`settle`](Self::settle).
    pub(crate) fn save_behind(&self, checkpoint: Checkpoint, then: impl FnOnce() + Send + 'static) -> Result<()> {
        self.checkpoints.save_behind(checkpoint, self.writer, then)
    }

    /// What writes a checkpoint if somebody calls it before [`settle`](Self::settle).
    pub(crate) fn writing(
        &self,
        checkpoint: Checkpoint,
        then: impl FnOnce() + Send + 'static,
    ) -> impl FnOnce() -> Result<()> + Send + 'static {
        self.checkpoints.writing(checkpoint, self.writer, then)
    }

    /// Whether a checkpoint that stands there is on disk.
    pub(crate) fn holds(&self, progress: &Progressed) -> bool {
        self.checkpoints.holds(progress)
    }

    /// Waits until nobody reads any more what a checkpoint shares.
    pub(crate) fn settle(&self) -> Result<()> {
        self.checkpoints.settle()
    }
}
