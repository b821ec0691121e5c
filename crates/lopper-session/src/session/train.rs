//! One stage of the walk: trained, put into the store and judged.

use super::Session;
use super::missing::Missing;
use super::start::Start;
use super::walk::judge_of;
use crate::StageRecord;
use crate::checkpoint::CheckpointStore;
use crate::events::EventLog;
use crate::plan::PlannedStage;
use crate::progress::Progress;
use crate::stage::{Goal, Sink, StageInputs, Trained, run_stage};
use crate::status::StatusWriter;
use crate::store::{ArtefactId, Finished, Lease, StoredStage};
use crate::world::Alone;
use crate::writer::Writer;
use lopper_core::{Error, MaskSet, Result};

impl Session {
    /// Makes the updates that have what is missing of stage `index`, from its checkpoint if there is one, and puts all of it
    /// into the store.
    pub(super) fn train_stage(
        &mut self,
        index: usize,
        missing: &Missing,
        start: Option<Start>,
        lease: &Lease,
        (checkpoints, events, status): (&CheckpointStore, &mut EventLog, &mut StatusWriter),
    ) -> Result<()> {
        let planned = self.plan[index].clone();
        let (stage, key) = (&planned.stage, planned.training_key.as_deref().unwrap_or_default());
        let stored = self.store.find(key);
        let writer = Writer::of(&planned, &self.versions);
        // From the beginning, where something on the way is missing that came before it.
        let first = missing.snapshots.iter().chain(&missing.judged).min().copied().unwrap_or(u64::MAX);
        let resume = checkpoints.load(key)?.filter(|c| stored.is_none() || c.progress.update <= first);
        // A continued stage begins anew where its checkpoint came after something that is missing.
        let Start { mask: start_mask, mut method, lines } = match (&resume, start, &stored) {
            (Some(checkpoint), ..) => Start::recorded(checkpoint.start_mask.clone(), self.method(stage)?),
            (None, Some(start), _) => start,
            (None, None, Some(stored)) if !stage.depends_on_method() => {
                Start::recorded(stored.start_mask()?, self.method(stage)?)
            }
            (None, None, _) => self.start(index)?,
        };
        let told = match &resume {
            Some(checkpoint) => {
                let progress = &checkpoint.progress;
                tracing::info!(stage = stage.name, update = progress.update, "continued");
                status.stage(index, progress.update, progress.seconds);
                self.pretrained.leave();
                (progress.update, checkpoint.lines.as_bytes().to_vec())
            }
            None => {
                status.stage(index, 0, 0.0);
                self.load_start(index)?;
                self.pretrained.leave();
                (0, lines.as_bytes().to_vec())
            }
        };
        let tells = stored.is_none();
        if tells {
            events.tell_stage(&self.told(&stage.name, key, stage.updates, told.0, told.1)?)?;
        }
        let until = missing.until(stage.updates);
        // By its parts: the weights are the stage's meanwhile.
        let judge = judge_of(&self.participants, &self.plugins, &self.settings, &self.store, &self.made_by);
        let sink = Sink {
            stage: &stage.name,
            key,
            events: tells.then_some(events),
            status,
            progress: self.settings.progress.then(|| Progress::new(&stage.name, until, told.0)),
            checkpoints,
            writer: &writer,
            every: self.settings.checkpoint,
            judge: &judge,
            out: &self.settings.out,
        };
        let inputs = StageInputs {
            stage,
            key,
            start_mask: &start_mask,
            first_lines: lines,
            model: self.participants.model.as_ref(),
            weights: &mut self.weights,
            dataset: &*self.participants.dataset,
            method: method.as_mut(),
            plugins: &self.plugins,
            selector: &mut self.selector,
            seed: self.settings.seed,
            precision: self.settings.precision,
            device: self.settings.device,
            max_skipped: self.settings.max_skipped,
            resume,
            goal: Goal {
                until,
                snapshots: missing.snapshots.clone(),
                judged: missing.judged.clone(),
                hands_on: planned.hands_on,
            },
            stop: &self.settings.stop,
        };
        let trained = run_stage(inputs, &Alone, sink)?;
        if until == stage.updates {
            if !lease.is_held()? {
                tracing::warn!(
                    "stage {} was taken over while this process stood still; its own result is dropped",
                    stage.name
                );
                return Ok(());
            }
            self.put_into_store(&planned, key, stored.as_ref(), &start_mask, trained)?;
            // While the model holds them.
            self.judge().judge(&stage.name, key, until)?;
        }
        checkpoints.clear()
    }

    /// Puts the end of a stage into the store; `stored` is what stands there of it already.
    fn put_into_store(
        &mut self,
        planned: &PlannedStage,
        key: &str,
        stored: Option<&StoredStage>,
        start_mask: &MaskSet,
        trained: Trained,
    ) -> Result<()> {
        let stage = &planned.stage;
        // Dropped at the end of this function: until then it counts as unsaved.
        let Trained { mask, method, lines, progress, unsaved: _unsaved } = trained;
        let id = ArtefactId::weights(key, stage.updates);
        if stored.is_none() {
            // Of a process that was killed between the weights and the stage: nobody can depend on them.
            self.store.discard(&id)?;
        }
        let content = self.store.add_weights(key, stage.updates, &self.weights, &mask, &self.made_by)?;
        match stored {
            Some(stored) if stored.record().weights != content => {
                self.store.discard(&id)?;
                let why = "was trained again and came out differently: what its weights were cannot be had back. Results on \
                           this device do not repeat";
                Err(Error::file(self.store.root(), format!("stage {key} ({}) {why}", stage.name)))
            }
            Some(_) => Ok(()),
            None => {
                let record = StageRecord {
                    key: key.to_owned(),
                    stage: stage.clone(),
                    sparsity: mask.sparsity().get(),
                    pruned: mask.pruned(),
                    entries: mask.layout().entries(),
                    weights: content,
                    skipped_updates: progress.skipped,
                    counts: progress.counts,
                    seconds: progress.seconds,
                    made_by: self.made_by.clone(),
                    files: Default::default(),
                };
                self.whole.extend([id, ArtefactId::stage(key)]);
                let (mask, method, events) = (&mask, method.as_ref(), lines.as_bytes());
                let origin = &self.origin(planned);
                self.store.add(Finished { record, start_mask, mask, method, origin, events })?;
                Ok(())
            }
        }
    }
}
