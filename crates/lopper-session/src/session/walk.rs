//! From the plan's end to what must be done: each stage is trained at most once, by whoever claims it first.

use super::{Participants, Session};
use crate::checkpoint::CheckpointStore;
use crate::events::{EventLog, TrainingLines};
use crate::judge::Judge;
use crate::machine::Machine;
use crate::plan::rewinds;
use crate::plugins::Plugins;
use crate::provenance::Provenance;
use crate::status::StatusWriter;
use crate::store::{ArtefactId, Claim, Holder, Reference, StageStore, StoredStage};
use crate::{Keep, SessionSettings, SplitMetrics, Stop, WantedByOthers};
use lopper_core::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two looks at what another process does.
const LOOK: Duration = Duration::from_millis(100);

/// A stage that is whole and judged.
pub(super) struct Ended {
    pub(super) stored: StoredStage,
    /// Whether this run trained it.
    pub(super) trained: bool,
    /// Of what it ended with; none where that is neither known nor kept.
    pub(super) metrics: Vec<SplitMetrics>,
}

impl Session {
    pub(super) fn judge(&self) -> Judge<'_> {
        judge_of(&self.participants, &self.plugins, &self.settings, &self.store, &self.made_by)
    }

    /// Looks anew at what is done, after what is damaged was taken away: the last stage first, because what nobody will read
    /// need not be whole.
    pub(super) fn look(&mut self) -> Result<()> {
        for index in (0..self.plan.len()).rev() {
            self.check_whole(index)?;
            self.find_done()?;
        }
        Ok(())
    }

    /// Sees to it that stage `index` is whole, judged, and told in `events`.
    pub(super) fn end_stage(
        &mut self,
        index: usize,
        run: &str,
        checkpoints: &CheckpointStore,
        events: &mut EventLog,
        status: &mut StatusWriter,
    ) -> Result<Ended> {
        events.begin_stage()?;
        let mut trained = false;
        let mut waits = Waits::default();
        let mut start = None;
        let ended = loop {
            self.check_whole(index)?;
            if !self.missing()?[index].trains() {
                break self.judged(index, trained)?;
            }
            let key = match &self.plan[index].training_key {
                Some(key) => key.clone(),
                None => {
                    let (found, key) = self.find_start(index)?;
                    self.plan[index].training_key = Some(key.clone());
                    self.refer(run)?;
                    start = Some(found);
                    // Whoever came to the same start by another way may have trained it.
                    continue;
                }
            };
            self.store.note_alias(&self.plan[index].key, &key)?;
            let lease = match self.store.claim(&key, &self.settings.out)? {
                Claim::Held(lease) => lease,
                Claim::Busy(holder) => {
                    waits.wait(&holder, &self.plan[index].stage.name, &self.settings.stop.clone())?;
                    continue;
                }
            };
            // Somebody may have finished it between the look and the claim.
            let missing = self.missing()?[index].clone();
            if missing.trains() {
                let first = missing.stage;
                self.train_stage(index, &missing, start.take(), &lease, (checkpoints, events, status))?;
                trained |= first;
            }
        };
        self.tell(index, &ended, events)?;
        Ok(ended)
    }

    /// A stage that is damaged is as good as none, and what is damaged of it goes, unless somebody is at work at it.
    fn check_whole(&mut self, index: usize) -> Result<()> {
        let Some(key) = self.plan[index].training_key.clone() else { return Ok(()) };
        if self.damage(index, &key).is_empty() {
            return Ok(());
        }
        let Claim::Held(_lease) = self.store.claim(&key, &self.settings.out)? else { return Ok(()) };
        // It may have been made whole meanwhile.
        for (id, e) in self.damage(index, &key) {
            tracing::warn!("{e}; stage {} is trained again", self.plan[index].stage.name);
            self.store.discard(&id)?;
        }
        Ok(())
    }

    /// What is damaged of a stage, as far as it will be read. What was found whole once is not read again.
    fn damage(&mut self, index: usize, key: &str) -> Vec<(ArtefactId, Error)> {
        let mut damaged = Vec::new();
        let Some(stored) = self.store.find(key) else { return damaged };
        let planned = &self.plan[index];
        let next_reads = self.plan.get(index + 1).is_none_or(|next| !next.done);
        let stage = ArtefactId::stage(key);
        if !self.whole.contains(&stage) {
            match stored.verify() {
                Ok(()) => drop(self.whole.insert(stage)),
                Err(e) => damaged.push((stage, e)),
            }
        }
        for update in planned.snapshots.iter().copied().chain([planned.stage.updates]).filter(|_| next_reads) {
            let id = ArtefactId::weights(key, update);
            if !self.whole.contains(&id) {
                match self.store.weights(key, update) {
                    Ok(Some(_)) => drop(self.whole.insert(id)),
                    Ok(None) => {}
                    Err(e) => damaged.push((id, e)),
                }
            }
        }
        damaged
    }

    /// The end of a stage of which nothing is missing but what its weights are worth.
    fn judged(&mut self, index: usize, trained: bool) -> Result<Ended> {
        let planned = self.plan[index].clone();
        let key = planned.training_key.as_deref().unwrap_or_default();
        let gone = || Error::file(self.store.root(), format!("stage {key} was removed while this run was using it"));
        let stored = self.store.find(key).ok_or_else(gone)?;
        let (name, updates) = (&planned.stage.name, planned.stage.updates);
        if !trained {
            tracing::info!(stage = name, key, "taken from the store");
        }
        let known = self.judge().known(key, updates)?;
        let metrics = match known {
            Some(known) => known,
            None if self.store.has_weights(key, updates) => {
                self.load_end(&planned)?;
                self.judge().judge(name, key, updates)?
            }
            None => {
                tracing::info!(stage = name, "its weights are not kept, so it is not judged by these evaluations");
                Vec::new()
            }
        };
        Ok(Ended { stored, trained, metrics })
    }

    /// Tells a whole stage from its first line on. Where it was told while it was trained, nothing changes.
    fn tell(&self, index: usize, ended: &Ended, events: &mut EventLog) -> Result<()> {
        let planned = &self.plan[index];
        let (name, key, updates) = (&planned.stage.name, &ended.stored.record().key, planned.stage.updates);
        events.tell_stage(&self.told(name, key, updates, updates, ended.stored.events()?)?)
    }

    /// The lines of a stage up to an update, with what is known of its worth.
    pub(super) fn told(&self, name: &str, key: &str, updates: u64, until: u64, lines: Vec<u8>) -> Result<Vec<u8>> {
        let judge = self.judge();
        let mut known = BTreeMap::new();
        for update in judge.updates(updates).filter(|update| *update <= until) {
            if let Some(metrics) = judge.known(key, update)? {
                known.insert(update, metrics);
            }
        }
        let lines = TrainingLines::from_bytes(lines);
        lines.told((name, key, updates), until, |update| known.get(&update).cloned())
    }

    pub(super) fn key_of(&self, index: usize) -> Result<&str> {
        let planned = &self.plan[index];
        let unknown =
            || Error::Other(format!("stage {} was not found before it was needed; this is a bug", planned.stage.name));
        planned.training_key.as_deref().ok_or_else(unknown)
    }

    pub(super) fn stored(&self, key: &str) -> Result<StoredStage> {
        let gone = || Error::file(self.store.root(), format!("stage {key} was removed while this run was using it"));
        self.store.find(key).ok_or_else(gone)
    }

    /// Notes in the store what this run needs, as far as it is known.
    pub(super) fn refer(&self, run: &str) -> Result<()> {
        let out = &self.settings.out;
        let mut reference = Reference {
            id: run.to_owned(),
            run: std::fs::canonicalize(out).map_err(|e| Error::file(out, e))?,
            host: Machine::this().name().to_owned(),
            stages: BTreeSet::new(),
            weights: BTreeSet::new(),
        };
        let last = self.plan.len().saturating_sub(1);
        for (index, planned) in self.plan.iter().enumerate() {
            reference.stages.insert(planned.key.clone());
            let Some(key) = &planned.training_key else { continue };
            reference.stages.insert(key.clone());
            let next_reads = self.plan.get(index + 1).is_some_and(|next| !next.done && next.stage.needs_previous());
            let saved = index == last && (self.settings.save_model || self.settings.keep == Keep::All);
            if saved || next_reads {
                reference.weights.insert(ArtefactId::weights(key, planned.stage.updates).name);
            }
            let rewound = self.plan.iter().filter(|later| !later.done).filter_map(|later| rewinds(&later.stage));
            if index == 0 {
                reference.weights.extend(rewound.map(|update| ArtefactId::weights(key, update).name));
            }
        }
        self.store.refer(&reference)
    }

    /// Stage `index` is done: the weights of the one before it have had their last reader in this run.
    pub(super) fn drop_weights(&mut self, index: usize, run: &str) -> Result<()> {
        self.plan[index].done = true;
        self.refer(run)?;
        let Some(before) = index.checked_sub(1) else { return Ok(()) };
        if self.plan[index].training_key == self.plan[before].training_key {
            return Ok(());
        }
        self.drop_weights_of(before, run)
    }

    /// The weights that stage `index` ended with are of no more use to this run. They go, unless the store keeps all or others
    /// want them.
    pub(super) fn drop_weights_of(&mut self, index: usize, run: &str) -> Result<()> {
        let (key, updates) = (self.key_of(index)?.to_owned(), self.plan[index].stage.updates);
        if !self.store.has_weights(&key, updates) || !self.may_drop(index)? {
            return Ok(());
        }
        self.store.remove_weights(&[ArtefactId::weights(&key, updates)], run).map(drop)
    }

    /// The rewind points of the first stage are of no more use to this run.
    pub(super) fn drop_rewind_points(&mut self, run: &str) -> Result<()> {
        if self.plan[0].snapshots.is_empty() || matches!(self.settings.wanted_by_others, WantedByOthers::Dense) {
            return Ok(());
        }
        if !self.may_drop(0)? {
            return Ok(());
        }
        let key = self.key_of(0)?;
        let points: Vec<_> = self.plan[0].snapshots.iter().map(|update| ArtefactId::weights(key, *update)).collect();
        self.store.remove_weights(&points, run).map(drop)
    }

    /// Whether nobody but this run wants the weights of stage `index`, as far as the settings tell.
    fn may_drop(&self, index: usize) -> Result<bool> {
        Ok(match (&self.settings.keep, &self.settings.wanted_by_others) {
            (Keep::All, _) => false,
            (Keep::Needed, WantedByOthers::Stages(wanted)) => !wanted.contains(&index),
            (Keep::Needed, WantedByOthers::Dense) => self.stored(self.key_of(index)?)?.record().pruned > 0,
        })
    }
}

/// Who judges the stages of a run with these parts.
pub(super) fn judge_of<'a>(
    participants: &'a Participants,
    plugins: &'a Plugins,
    settings: &'a SessionSettings,
    store: &'a StageStore,
    made_by: &'a Provenance,
) -> Judge<'a> {
    let Participants { model, dataset, identity, .. } = participants;
    Judge { model: model.as_ref(), dataset: &**dataset, plugins, identity, settings, store, made_by }
}

/// Waiting for another process, which is told once for each holder.
#[derive(Default)]
struct Waits {
    told: Option<Holder>,
    /// Looks so far: what takes long need not be looked at often.
    looks: u32,
}

impl Waits {
    fn wait(&mut self, holder: &Holder, stage: &str, stop: &Stop) -> Result<()> {
        let same = self.told.as_ref().is_some_and(|told| (told.process, &told.host) == (holder.process, &holder.host));
        if !same {
            let Holder { process, host, run, .. } = holder;
            tracing::warn!("waiting for process {process} on {host}, which trains stage {stage} for {}", run.display());
            self.told = Some(holder.clone());
        }
        self.looks += 1;
        stop.pause(LOOK * self.looks.min(10), &format!("waiting for stage {stage}"))
    }
}
