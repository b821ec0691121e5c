//! From the plan's end to what must be done: each stage is trained at most once, by whoever claims it first.

use super::{Participants, Session};
use crate::calibration::Calibrator;
use crate::checkpoint::CheckpointStore;
use crate::events::{Event, EventLog, TrainingLines};
use crate::identity::{StartContent, mask_content, training_key};
use crate::judge::Judge;
use crate::machine::Machine;
use crate::plan::{PlannedStage, rewinds};
use crate::plugins::Plugins;
use crate::provenance::Provenance;
use crate::status::Teller;
use crate::store::{ArtefactId, Claim, Finished, Holder, Lease, Reference, StageStore, StoredStage};
use crate::train::{Trained, Trainer};
use crate::writer::Writer;
use crate::{Keep, SessionSettings, SplitMetrics, StageRecord, Stop};
use lopper_core::{
    Among, Calibrated, Calibration, Error, HeadStart, InitialMask, MaskSet, PrunableWeight, RandomKind, Request,
    Result, RewindPoint, Role, Scores, Stage, StageMethod, View, WeightView,
};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Between two looks at what another process does.
const LOOK: Duration = Duration::from_millis(100);

/// What of a stage is wanted, by the stages after it and at the end of the run.
#[derive(Debug, Clone, Default)]
struct Wanted {
    /// The weights it ends with.
    weights: bool,
    /// Its weights after some of its updates.
    snapshots: BTreeSet<u64>,
}

/// What of a stage is wanted and not in the store.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    /// It was never trained, or its record is gone.
    stage: bool,
    /// The weights it ends with.
    weights: bool,
    /// Its weights after these updates.
    snapshots: BTreeSet<u64>,
    /// What it is worth after these updates on the way.
    judged: BTreeSet<u64>,
}

impl Missing {
    /// Whether updates must be made to have it.
    pub(super) fn trains(&self) -> bool {
        self.stage || self.weights || !self.snapshots.is_empty() || !self.judged.is_empty()
    }

    /// The update to which the stage is trained to have it.
    fn until(&self, updates: u64) -> u64 {
        if self.stage || self.weights {
            return updates;
        }
        self.snapshots.iter().chain(&self.judged).copied().max().unwrap_or(0)
    }
}

/// How a stage starts: its first mask, a method that has made it, and what was told of that.
struct Start {
    mask: MaskSet,
    method: Box<dyn StageMethod>,
    lines: TrainingLines,
}

impl Start {
    /// As it is on record: the method need not make the mask again.
    fn recorded(mask: MaskSet, method: Box<dyn StageMethod>) -> Self {
        Self { mask, method, lines: TrainingLines::default() }
    }
}

/// A stage that is whole and judged.
pub(super) struct Ended {
    pub(super) stored: StoredStage,
    /// Whether this run trained it.
    pub(super) trained: bool,
    /// Of what it ended with; none where that is neither known nor kept.
    pub(super) metrics: Vec<SplitMetrics>,
}

impl Session {
    /// What is missing of each stage. The walk begins at the end: what nobody needs is not missed.
    pub(super) fn missing(&self) -> Result<Vec<Missing>> {
        let mut wanted = vec![Wanted::default(); self.plan.len()];
        let mut missing = vec![Missing::default(); self.plan.len()];
        if let Some(last) = wanted.last_mut() {
            last.weights = true;
        }
        for index in (0..self.plan.len()).rev() {
            missing[index] = self.missing_of(&self.plan[index], &wanted[index])?;
            if !missing[index].trains() {
                continue;
            }
            let stage = &self.plan[index].stage;
            let ranked = match &stage.mask {
                // What was trained before has its first mask on record; what a method remembers of the way there is not.
                InitialMask::Discover { on, .. } if missing[index].stage || stage.depends_on_method() => Some(*on),
                _ => None,
            };
            for point in [Some(stage.weights), ranked].into_iter().flatten() {
                match point {
                    RewindPoint::Pretrained | RewindPoint::Update(0) => {}
                    RewindPoint::Update(update) => {
                        wanted[0].snapshots.insert(update);
                    }
                    RewindPoint::Current if index > 0 => wanted[index - 1].weights = true,
                    RewindPoint::Current => {}
                }
            }
            if stage.head == HeadStart::Previous && index > 0 {
                wanted[index - 1].weights = true;
            }
        }
        Ok(missing)
    }

    fn missing_of(&self, planned: &PlannedStage, wanted: &Wanted) -> Result<Missing> {
        let judge = self.judge();
        let updates = planned.stage.updates;
        let on_the_way = || judge.updates(updates).filter(|update| *update < updates);
        let stored = planned.training_key.as_deref().and_then(|key| self.store.find(key).map(|stored| (key, stored)));
        let Some((key, _)) = stored else {
            let snapshots = planned.snapshots.iter().copied().collect();
            return Ok(Missing { stage: true, weights: true, snapshots, judged: on_the_way().collect() });
        };
        let mut judged = BTreeSet::new();
        for update in on_the_way() {
            if judge.known(key, update)?.is_none() {
                judged.insert(update);
            }
        }
        Ok(Missing {
            stage: false,
            weights: wanted.weights && !self.store.has_weights(key, updates),
            snapshots: wanted.snapshots.iter().copied().filter(|u| !self.store.has_weights(key, *u)).collect(),
            judged,
        })
    }

    fn judge(&self) -> Judge<'_> {
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

    /// Notes of which stages nothing is to be trained.
    pub(super) fn find_done(&mut self) -> Result<()> {
        let done: Vec<bool> = self.missing()?.iter().map(|missing| !missing.trains()).collect();
        self.plan.iter_mut().zip(done).for_each(|(planned, done)| planned.done = done);
        Ok(())
    }

    /// Sees to it that stage `index` is whole, judged, and told in `events`.
    pub(super) fn end_stage(
        &mut self,
        index: usize,
        run: &str,
        checkpoints: &CheckpointStore,
        events: &mut EventLog,
        teller: &mut Teller,
    ) -> Result<Ended> {
        events.begin_stage();
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
                self.train_stage(index, &missing, start.take(), &lease, (checkpoints, events, teller))?;
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
    fn told(&self, name: &str, key: &str, updates: u64, until: u64, lines: Vec<u8>) -> Result<Vec<u8>> {
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

    /// Makes the updates that have what is missing of stage `index`, from its checkpoint if there is one, and puts all of it
    /// into the store.
    fn train_stage(
        &mut self,
        index: usize,
        missing: &Missing,
        start: Option<Start>,
        lease: &Lease,
        (checkpoints, events, teller): (&CheckpointStore, &mut EventLog, &mut Teller),
    ) -> Result<()> {
        let planned = self.plan[index].clone();
        let (stage, key) = (&planned.stage, planned.training_key.as_deref().unwrap_or_default());
        let stored = self.store.find(key);
        let writer = Writer::of(&planned, &self.versions);
        // From the beginning, where something on the way is missing that came before it.
        let first = missing.snapshots.iter().chain(&missing.judged).min().copied().unwrap_or(u64::MAX);
        let resume = checkpoints.load(key)?.filter(|c| stored.is_none() || c.progress.update <= first);
        // A continued stage begins anew where its checkpoint came after something that is missing.
        let later = self.plan[index + 1..].iter().any(|next| !next.done) || resume.is_some();
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
                teller.stage(index, progress.update, progress.seconds);
                self.pretrained.leave(&self.weights, later)?;
                (progress.update, checkpoint.lines.as_bytes().to_vec())
            }
            None => {
                teller.stage(index, 0, 0.0);
                self.load_start(index)?;
                self.pretrained.leave(&self.weights, later)?;
                (0, lines.as_bytes().to_vec())
            }
        };
        let tells = stored.is_none();
        if tells {
            events.tell_stage(&self.told(&stage.name, key, stage.updates, told.0, told.1)?)?;
        }
        let until = missing.until(stage.updates);
        // By its parts: the weights are the trainer's meanwhile.
        let judge = judge_of(&self.participants, &self.plugins, &self.settings, &self.store, &self.made_by);
        let Trained { mask, method, lines, progress, unsaved } = Trainer {
            model: self.participants.model.as_ref(),
            dataset: self.participants.dataset.as_ref(),
            method: method.as_mut(),
            weights: &mut self.weights,
            settings: &self.settings,
            events: tells.then_some(events),
            checkpoints,
            teller,
            selector: &mut self.selector,
            plugins: &self.plugins,
            judge: &judge,
            made_by: &self.made_by,
            key,
            writer: &writer,
            stage,
            start_mask: &start_mask,
            first_lines: lines,
            until,
            snapshots: missing.snapshots.clone(),
            judged: missing.judged.clone(),
            hands_on: planned.hands_on,
        }
        .train(resume)?;
        if until == stage.updates {
            if !lease.is_held()? {
                tracing::warn!(
                    "stage {} was taken over while this process stood still; its own result is dropped",
                    stage.name
                );
                return Ok(());
            }
            let id = ArtefactId::weights(key, until);
            if stored.is_none() {
                // Of a process that was killed between the weights and the stage: nobody can depend on them.
                self.store.discard(&id)?;
            }
            let content = self.store.add_weights(key, until, &self.weights, &mask, &self.made_by)?;
            match stored {
                Some(stored) if stored.record().weights != content => {
                    self.store.discard(&id)?;
                    let why = "was trained again and came out differently: what its weights were cannot be had back. Results \
                               on this device do not repeat";
                    return Err(Error::file(self.store.root(), format!("stage {key} ({}) {why}", stage.name)));
                }
                Some(_) => {}
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
                    let origin = self.origin(&planned);
                    let events = lines.as_bytes();
                    let (start_mask, method) = (&start_mask, method.as_ref());
                    self.store.add(Finished { record, start_mask, mask: &mask, method, origin: &origin, events })?;
                }
            }
            drop(unsaved);
            // While the model holds them.
            self.judge().judge(&stage.name, key, until)?;
        }
        checkpoints.clear()
    }

    /// How stage `index` starts, and its training key.
    fn find_start(&mut self, index: usize) -> Result<(Start, String)> {
        let start = self.start(index)?;
        self.load_start(index)?;
        let planned = &self.plan[index];
        let stage = &planned.stage;
        let pretrained = stage.weights == RewindPoint::Pretrained && stage.head == HeadStart::Rewound;
        let weights = if pretrained { self.pretrained.hash().to_owned() } else { self.weights.hash()? };
        let content = StartContent { mask: mask_content(&start.mask)?, weights };
        let (identity, hands_on) = (&self.participants.identity, planned.hands_on);
        let key = training_key(&self.surroundings, stage, &planned.key, &content, identity, hands_on)?;
        Ok((start, key))
    }

    /// A method that remembers nothing.
    fn method(&self, stage: &Stage) -> Result<Box<dyn StageMethod>> {
        self.plugins.strategy(|| self.participants.strategy.method(stage, self.weights.layout()))
    }

    /// How stage `index` starts.
    fn start(&mut self, index: usize) -> Result<Start> {
        let planned = self.plan[index].clone();
        let stage = &planned.stage;
        let mut method = self.method(stage)?;
        if stage.carry && index > 0 {
            let carried = self.stored(self.key_of(index - 1)?)?.method_state()?.to_device(self.settings.device)?;
            self.plugins.strategy(|| method.load_state(carried))?;
        }
        let layout = self.weights.layout().clone();
        let mask = match &stage.mask {
            InitialMask::Dense => MaskSet::dense(layout),
            InitialMask::Keep => self.previous_mask(index)?,
            InitialMask::Load(_) => planned.loaded.as_deref().cloned().unwrap_or_else(|| MaskSet::dense(layout)),
            InitialMask::Random { kind: RandomKind::Uniform, sparsity, seed } => {
                MaskSet::random_as(layout, &stage.request(*sparsity, Among::All), *seed)?
            }
            InitialMask::Random { kind: RandomKind::RandomInitMagnitude, sparsity, seed } => {
                let tensors = self.plugins.model(|| self.participants.model.random_prunable(*seed))?;
                self.random_init_mask(&tensors, &stage.request(*sparsity, Among::All))?
            }
            InitialMask::Discover { on, sparsity, among } => {
                self.rewind(index, *on)?;
                let mask = self.previous_mask(index)?;
                let calibrated = stage.calibration.map(|calibration| self.calibrate(stage, calibration)).transpose()?;
                let weights = self.weights.view()?;
                let view = View::new(&weights, stage, &mask)
                    .of_run(self.plugins.method(), self.settings.seed)
                    .with_calibration(calibrated.as_ref());
                let ranked = || self.selector.next_mask(method.as_mut(), &view, *sparsity, *among);
                self.plugins.strategy(ranked)?.0
            }
        };
        let mut lines = TrainingLines::default();
        if stage.depends_on_method() {
            let measures = self.plugins.strategy(|| Ok(method.measures()))?;
            if !measures.is_empty() {
                lines.push(&Event::Measures { stage: None, update: 0, measures })?;
            }
        }
        Ok(Start { mask, method, lines })
    }

    /// Shows the stage's method the data, at the weights that the model holds.
    fn calibrate(&self, stage: &Stage, calibration: Calibration) -> Result<Calibrated> {
        let calibrator = Calibrator {
            model: self.participants.model.as_ref(),
            dataset: self.participants.dataset.as_ref(),
            weights: &self.weights,
            plugins: &self.plugins,
            settings: &self.settings,
            stage,
        };
        calibrator.collect(calibration)
    }

    /// The mask at the end of the stage before; dense for the first.
    fn previous_mask(&self, index: usize) -> Result<MaskSet> {
        match index.checked_sub(1).map(|before| self.key_of(before)) {
            None => Ok(MaskSet::dense(self.weights.layout().clone())),
            Some(key) => self.stored(key?)?.mask(),
        }
    }

    /// A mask by the magnitudes of a freshly initialised network, of which `tensors` are the prunable ones.
    fn random_init_mask(&mut self, tensors: &[tch::Tensor], request: &Request) -> Result<MaskSet> {
        let named = self.weights.prunable_names().zip(tensors);
        let random = named.map(|(name, tensor)| PrunableWeight::new(name, tensor));
        let random = WeightView::new(self.weights.layout(), random.collect::<Result<_>>()?);
        let dense = MaskSet::dense(self.weights.layout().clone());
        self.selector.select(&random.lent_by(lopper_torch::lend_hosts), &Scores::Magnitude, &dense, request)
    }

    /// Puts the weights that stage `index` starts from into the model.
    fn load_start(&mut self, index: usize) -> Result<()> {
        let Stage { weights, head, .. } = self.plan[index].stage;
        self.rewind(index, weights)?;
        if head == HeadStart::Previous && index > 0 {
            let (key, updates) = (self.key_of(index - 1)?.to_owned(), self.plan[index - 1].stage.updates);
            self.leave_pretrained()?;
            self.load(&key, updates, Some(Role::Head))?;
        }
        Ok(())
    }

    /// Puts the weights of a rewind point of stage `index` into the model.
    fn rewind(&mut self, index: usize, point: RewindPoint) -> Result<()> {
        let (from, update) = match point {
            RewindPoint::Current if index > 0 => (index - 1, self.plan[index - 1].stage.updates),
            RewindPoint::Update(update) if index > 0 && update > 0 => (0, update),
            RewindPoint::Pretrained | RewindPoint::Current | RewindPoint::Update(_) => {
                return self.pretrained.restore(&mut self.weights);
            }
        };
        let key = self.key_of(from)?.to_owned();
        self.leave_pretrained()?;
        self.load(&key, update, None)
    }

    /// Puts the weights that a stage ended with, mask ⊙ weights, into the model.
    pub(super) fn load_end(&mut self, planned: &PlannedStage) -> Result<()> {
        self.leave_pretrained()?;
        self.load(planned.training_key.as_deref().unwrap_or_default(), planned.stage.updates, None)
    }

    fn load(&mut self, key: &str, update: u64, only: Option<Role>) -> Result<()> {
        let stored = self.store.weights(key, update)?;
        let gone =
            || Error::file(self.store.root(), format!("the weights of {key} were removed while they were in use"));
        stored.ok_or_else(gone)?.put_into(&mut self.weights, only)
    }

    /// Other weights are about to take the place of theta_0 in the model.
    fn leave_pretrained(&mut self) -> Result<()> {
        let wanted = self.plan.iter().any(|planned| !planned.done);
        self.pretrained.leave(&self.weights, wanted)
    }

    fn key_of(&self, index: usize) -> Result<&str> {
        let planned = &self.plan[index];
        let unknown =
            || Error::Other(format!("stage {} was not found before it was needed; this is a bug", planned.stage.name));
        planned.training_key.as_deref().ok_or_else(unknown)
    }

    fn stored(&self, key: &str) -> Result<StoredStage> {
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
            if index == last || next_reads {
                reference.weights.insert(ArtefactId::weights(key, planned.stage.updates).name);
            }
            let rewound = self.plan.iter().filter(|later| !later.done).filter_map(|later| rewinds(&later.stage));
            if index == 0 {
                reference.weights.extend(rewound.map(|update| ArtefactId::weights(key, update).name));
            }
        }
        self.store.refer(&reference)
    }

    /// Stage `index` is done: the weights of the one before it have had their last reader in this run. Those of a pruned
    /// stage go, unless the store keeps all or another run wants them; those of a dense one serve other methods too.
    pub(super) fn drop_weights(&mut self, index: usize, run: &str) -> Result<()> {
        self.plan[index].done = true;
        self.refer(run)?;
        let Some(before) = index.checked_sub(1).filter(|_| self.settings.keep == Keep::Needed) else { return Ok(()) };
        let (key, updates) = (self.key_of(before)?.to_owned(), self.plan[before].stage.updates);
        let same = self.plan[index].training_key.as_deref() == Some(&key);
        if same || !self.store.has_weights(&key, updates) || self.stored(&key)?.record().pruned == 0 {
            return Ok(());
        }
        self.store.remove_weights(&[ArtefactId::weights(&key, updates)], run).map(drop)
    }
}

/// Who judges the stages of a run with these parts.
fn judge_of<'a>(
    participants: &'a Participants,
    plugins: &'a Plugins,
    settings: &'a SessionSettings,
    store: &'a StageStore,
    made_by: &'a Provenance,
) -> Judge<'a> {
    let Participants { model, dataset, identity, .. } = participants;
    Judge { model: model.as_ref(), dataset: dataset.as_ref(), plugins, identity, settings, store, made_by }
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
