//! A run: plans, skips what the store already holds, trains the rest, and writes what came out.

use crate::calibration::Calibrator;
use crate::checkpoint::CheckpointStore;
use crate::events::{Event, EventLog};
use crate::identity::{RunIdentity, Surroundings};
use crate::occupied::{self, Writer};
use crate::plan::{self, PlannedStage};
use crate::plugins::Plugins;
use crate::room::check_text;
use crate::sealed;
use crate::status::{self, RunState, RunStatus, StageStatus, Teller};
use crate::store::{Finished, StageStore, StoredStage, read_mask};
use crate::train::Trainer;
use crate::weights::{Values, Weights};
use crate::{Batcher, Counts, DiskNeeds, RunRecord, RunStage, SessionSettings, StageRecord};
use lopper_core::{
    Among, Calibrated, Calibration, Dataset, Error, HeadStart, InitialMask, MaskOrigin, MaskSet, Model, PrunableWeight,
    PruningStrategy, RandomKind, Recipe, Request, Result, RewindPoint, Role, RunSpec, Scores, Selector, Split, Stage,
    StageMethod, View, WeightView,
};
use lopper_weights::files;
use std::collections::BTreeMap;
use tch::Tensor;

/// Who takes part in a run.
pub struct Participants {
    /// The model, holding theta_0 and the run's fresh head.
    pub model: Box<dyn Model>,
    /// The data.
    pub dataset: Box<dyn Dataset>,
    /// The method.
    pub strategy: Box<dyn PruningStrategy>,
    /// Their names, options and origins.
    pub identity: RunIdentity,
}

/// One run of one method on one task.
pub struct Session {
    participants: Participants,
    plugins: Plugins,
    spec: RunSpec,
    settings: SessionSettings,
    store: StageStore,
    weights: Weights,
    pretrained: Values,
    plan: Vec<PlannedStage>,
    /// Which versions carry the run out, and on what.
    versions: BTreeMap<String, String>,
    selector: Selector,
    /// What the dataset counts before anything of it was used: the same however often a run is continued.
    counts: BTreeMap<String, Counts>,
}

/// Updates of one pass over the training split.
///
/// # Errors
/// [`Error::Other`] when the split is empty; a batching that holds nothing.
pub fn updates_per_epoch(dataset: &dyn Dataset, recipe: &Recipe, seed: u64) -> Result<u64> {
    let costs = crate::evaluate::costs(dataset, &Split::TRAIN);
    if costs.is_empty() {
        return Err(Error::Other(format!("task {} has no training examples", dataset.task().name)));
    }
    let batches = Batcher::new(&costs, &recipe.batching, recipe.bucket_by_length, seed)?.batches_per_epoch();
    Ok(batches.div_ceil(recipe.accumulate.max(1)))
}

/// What a dataset counts of the splits that a run uses.
fn counts(dataset: &dyn Dataset) -> BTreeMap<String, Counts> {
    let splits = std::iter::once(Split::TRAIN).chain(dataset.evaluation_splits());
    let named = |split: Split| {
        let counts = dataset.counts(&split).into_iter().map(|(what, number)| (what.to_owned(), number));
        (split.as_str().to_owned(), counts.collect::<Counts>())
    };
    splits.map(named).filter(|(_, counts)| !counts.is_empty()).collect()
}

impl Session {
    /// Plans the run and looks up which stages are done; trains and writes nothing.
    ///
    /// # Errors
    /// A strategy whose options do not fit, a mask file that cannot be read or is of another model or sparsity.
    pub fn new(participants: Participants, spec: RunSpec, settings: SessionSettings) -> Result<Self> {
        let weights = Weights::of(participants.model.as_ref())?;
        let surroundings = Surroundings::new(
            &participants.identity,
            participants.model.as_ref(),
            participants.dataset.as_ref(),
            weights.hash()?,
            &settings,
        );
        let plugins = Plugins::of(&participants.identity);
        plugins.strategy(|| participants.strategy.accepts(weights.layout(), spec.sparsity))?;
        let stages = plugins.strategy(|| participants.strategy.plan(&spec))?;
        plan::check(&stages, &spec, &weights)?;
        let store = StageStore::new(&settings.store);
        let plan = plan::identify(&stages, &surroundings, &participants.identity, &store)?;
        let pretrained = weights.copy()?;
        let versions = surroundings.versions(&participants.identity);
        let selector = Selector::new();
        let counts = plugins.dataset(|| counts(participants.dataset.as_ref()))?;
        Ok(Self { participants, plugins, spec, settings, store, weights, pretrained, plan, versions, selector, counts })
    }

    /// The stages in order.
    pub fn plan(&self) -> &[PlannedStage] {
        &self.plan
    }

    /// The disk that [`run`](Self::run) will need.
    pub fn disk_needs(&self) -> DiskNeeds {
        DiskNeeds::of(self.participants.model.as_ref(), self.weights.layout(), &self.plan, &self.settings)
    }

    /// Trains what the store does not hold, then writes `model/` (a Hugging Face directory with `mask.safetensors`
    /// beside the weights) and `record.json` into the run's directory. Per-update metrics go to `metrics.jsonl`.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when asked to stop, [`Error::Diverged`] when the loss stays not finite, [`Error::File`]
    /// when something cannot be written or the directory holds another run's progress, and errors of the plugins.
    pub fn run(&mut self) -> Result<RunRecord> {
        crate::needs::check(self.participants.model.as_ref(), self.weights.layout(), &self.plan, &self.settings)?;
        let out = self.settings.out.clone();
        Error::all([&out, &self.settings.store].into_iter().filter_map(|path| check_text(path).err()).collect())?;
        files::create_dir(&out)?;
        let _lock = status::lock(&out)?;
        files::sweep(&out);
        // Before anything is written: the references, too, keep what the other run needs.
        occupied::check(&out, &self.plan, &self.versions, &self.store)?;
        self.store.refer(&out, self.plan.iter().map(|planned| planned.key.clone()).collect())?;
        if let Some(text) = &self.settings.configuration {
            files::write_atomic(&out.join("config.toml"), text.as_bytes())?;
        }
        let mut teller = Teller::begin(&out, self.status()?)?;
        let result = self.train(&mut teller);
        teller.end(&result);
        result
    }

    /// The status before anything is done.
    fn status(&self) -> Result<RunStatus> {
        let store = self.store.root();
        let stage = |planned: &PlannedStage| StageStatus {
            name: planned.stage.name.clone(),
            key: planned.key.clone(),
            updates: planned.stage.updates,
            done: if planned.done { planned.stage.updates } else { 0 },
            seconds: 0.0,
        };
        Ok(RunStatus {
            state: RunState::Running,
            error: None,
            method: self.participants.identity.strategy.clone(),
            task: self.participants.dataset.task().name.clone(),
            process: std::process::id(),
            store: std::path::absolute(store).map_err(|e| Error::file(store, e))?,
            stages: self.plan.iter().map(stage).collect(),
        })
    }

    fn train(&mut self, teller: &mut Teller) -> Result<RunRecord> {
        let checkpoints = CheckpointStore::new(&self.settings.out);
        let mut events = EventLog::open(&self.settings.out.join("metrics.jsonl"))?;
        let mut finished: Vec<(StoredStage, bool)> = Vec::new();
        for index in 0..self.plan.len() {
            let stored = self.stored(index);
            let trained = stored.is_none();
            let stored = match stored {
                Some(stored) => {
                    events.begin_stage(&stored.events()?)?;
                    stored
                }
                None => self.train_stage(index, &finished, &checkpoints, &mut events, teller)?,
            };
            let (updates, seconds) = (self.plan[index].stage.updates, stored.record().seconds);
            teller.stage(index, updates, if trained { seconds } else { 0.0 });
            finished.push((stored, trained));
        }
        let record = self.finish(&finished)?;
        events.finish()?;
        // A stage that another run put into the store meanwhile leaves a checkpoint that is needed no more.
        checkpoints.clear()?;
        Ok(record)
    }

    /// Stage `index` from the store, if it is there and whole as far as it will be read.
    fn stored(&self, index: usize) -> Option<StoredStage> {
        let planned = &self.plan[index];
        let stored = self.store.find(&planned.key, &planned.snapshots)?;
        let followed = self.plan.get(index + 1).is_none_or(|next| !next.done);
        match stored.verify(followed, &planned.snapshots) {
            Ok(()) => {
                tracing::info!(stage = planned.stage.name, key = planned.key, "taken from the store");
                Some(stored)
            }
            Err(e) => {
                tracing::warn!("{e}; stage {} is trained again", planned.stage.name);
                None
            }
        }
    }

    /// Trains stage `index`, from its checkpoint if there is one, and puts it into the store.
    fn train_stage(
        &mut self,
        index: usize,
        finished: &[(StoredStage, bool)],
        checkpoints: &CheckpointStore,
        events: &mut EventLog,
        teller: &mut Teller,
    ) -> Result<StoredStage> {
        let planned = self.plan[index].clone();
        let writer = Writer::of(&planned, &self.versions);
        let resume = checkpoints.load(&planned.key)?;
        let layout = self.weights.layout().clone();
        let mut method = self.plugins.strategy(|| self.participants.strategy.method(&planned.stage, &layout))?;
        let mask = match &resume {
            Some(checkpoint) => {
                let progress = &checkpoint.progress;
                tracing::info!(stage = planned.stage.name, update = progress.update, "continued");
                events.begin_stage(&checkpoint.events)?;
                teller.stage(index, progress.update, progress.seconds);
                checkpoint.mask.clone()
            }
            None => {
                events.begin_stage(&[])?;
                let (name, key, updates) = (&planned.stage.name, &planned.key, planned.stage.updates);
                events.write(&Event::Stage { name, key, updates })?;
                teller.stage(index, 0, 0.0);
                let mask = self.start(&planned.stage, method.as_mut(), finished)?;
                let measures = self.plugins.strategy(|| Ok(method.measures()))?;
                if planned.stage.depends_on_method() && !measures.is_empty() {
                    events.write(&Event::Measures { stage: name, update: 0, measures: &measures })?;
                }
                mask
            }
        };
        let trained = Trainer {
            model: self.participants.model.as_ref(),
            dataset: self.participants.dataset.as_ref(),
            method: method.as_mut(),
            weights: &mut self.weights,
            settings: &self.settings,
            events,
            checkpoints,
            teller,
            selector: &mut self.selector,
            plugins: &self.plugins,
            key: &planned.key,
            writer: &writer,
            stage: &planned.stage,
            snapshots: &planned.snapshots,
            hands_on: planned.hands_on,
        }
        .train(mask, resume)?;
        let record = StageRecord {
            key: planned.key.clone(),
            stage: planned.stage.clone(),
            sparsity: trained.mask.sparsity().get(),
            pruned: trained.mask.pruned(),
            entries: trained.mask.layout().entries(),
            validations: trained.progress.validations.clone(),
            skipped_updates: trained.progress.skipped,
            counts: trained.progress.counts.clone(),
            seconds: trained.progress.seconds,
            files: Default::default(),
        };
        let stored = self.store.publish(Finished {
            record,
            weights: &self.weights.copy()?,
            mask: &trained.mask,
            method: trained.method.as_ref(),
            origin: &self.origin(&planned),
            snapshots: &trained.snapshots,
            events: &events.stage_lines()?,
        })?;
        checkpoints.clear()?;
        Ok(stored)
    }

    /// Puts the stage's starting weights into the model and returns its starting mask; `method` is fresh.
    fn start(
        &mut self,
        stage: &Stage,
        method: &mut dyn StageMethod,
        finished: &[(StoredStage, bool)],
    ) -> Result<MaskSet> {
        let previous = finished.last().map(|(stored, _)| stored);
        if stage.carry
            && let Some(previous) = previous
        {
            let carried = previous.method_state()?.to_device(self.settings.device)?;
            self.plugins.strategy(|| method.load_state(carried))?;
        }
        let previous_mask = |weights: &Weights| match previous {
            Some(stored) => stored.mask(),
            None => Ok(MaskSet::dense(weights.layout().clone())),
        };
        let mask = match &stage.mask {
            InitialMask::Dense => MaskSet::dense(self.weights.layout().clone()),
            InitialMask::Keep => previous_mask(&self.weights)?,
            InitialMask::Load(path) => read_mask(path)?,
            InitialMask::Random { kind: RandomKind::Uniform, sparsity, seed } => {
                MaskSet::random_as(self.weights.layout().clone(), &stage.request(*sparsity, Among::All), *seed)?
            }
            InitialMask::Random { kind: RandomKind::RandomInitMagnitude, sparsity, seed } => {
                let tensors = self.plugins.model(|| self.participants.model.random_prunable(*seed))?;
                let request = stage.request(*sparsity, Among::All);
                random_init_mask(&tensors, &self.weights, &mut self.selector, &request)?
            }
            InitialMask::Discover { on, sparsity, among } => {
                self.rewind(*on, finished)?;
                let mask = previous_mask(&self.weights)?;
                let calibrated = stage.calibration.map(|calibration| self.calibrate(stage, calibration)).transpose()?;
                let weights = self.weights.view()?;
                let view = View::new(&weights, stage, &mask)
                    .of_run(self.plugins.method(), self.settings.seed)
                    .with_calibration(calibrated.as_ref());
                self.plugins.strategy(|| self.selector.next_mask(method, &view, *sparsity, *among))?.0
            }
        };
        self.rewind(stage.weights, finished)?;
        if stage.head == HeadStart::Previous
            && let Some(previous) = previous
        {
            self.weights.load(&previous.weights()?, Some(Role::Head))?;
        }
        Ok(mask)
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

    /// Puts the weights of a rewind point into the model.
    fn rewind(&mut self, point: RewindPoint, finished: &[(StoredStage, bool)]) -> Result<()> {
        match (point, finished.first(), finished.last()) {
            (RewindPoint::Current, _, Some((last, _))) => self.weights.load(&last.weights()?, None),
            (RewindPoint::Update(update), Some((first, _)), _) if update > 0 => {
                self.weights.load(&first.snapshot(update)?, None)
            }
            _ => self.weights.load(&self.pretrained, None),
        }
    }

    fn origin(&self, planned: &PlannedStage) -> MaskOrigin {
        let identity = &self.participants.identity;
        [
            ("lopper", env!("CARGO_PKG_VERSION").to_owned()),
            ("method", identity.strategy.clone()),
            ("model", identity.model.clone()),
            ("task", self.participants.dataset.task().name.clone()),
            ("stage", planned.stage.name.clone()),
            ("stage_key", planned.key.clone()),
            ("seed", self.settings.seed.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// Saves the pruned model and the record.
    fn finish(&mut self, finished: &[(StoredStage, bool)]) -> Result<RunRecord> {
        let (last, _) = finished.last().ok_or_else(|| Error::Other("the plan has no stages".into()))?;
        let mask = last.mask()?;
        self.weights.load(&last.weights()?, None)?;
        self.weights.check_pruned_are_zero(&mask)?;
        let planned = self.plan.last().ok_or_else(|| Error::Other("the plan has no stages".into()))?;
        let model_dir = self.settings.out.join("model");
        self.plugins.model(|| {
            let model = self.participants.model.as_ref();
            lopper_weights::save_model(&model_dir, model, Some(&mask), &self.origin(planned))
        })?;
        let task = self.participants.dataset.task();
        let metrics = last.record().final_metrics().to_vec();
        let metric = metrics
            .first()
            .and_then(|split| split.metrics.iter().find(|m| m.name == task.primary_metric))
            .cloned()
            .ok_or_else(|| Error::Other(format!("task {} reported no {}", task.name, task.primary_metric)))?;
        let stages = self.plan.iter().zip(finished).map(|(planned, (stored, trained))| RunStage {
            name: planned.stage.name.clone(),
            key: planned.key.clone(),
            updates: planned.stage.updates,
            trained: *trained,
            seconds: stored.record().seconds,
            sparsity: stored.record().sparsity,
            metrics: stored.record().final_metrics().to_vec(),
            counts: stored.record().counts.clone(),
        });
        let record = RunRecord {
            libtorch: lopper_torch::libtorch_version(),
            method: self.participants.identity.strategy.clone(),
            model: self.participants.identity.model.clone(),
            task: task.name.clone(),
            metric,
            metrics,
            counts: self.counts.clone(),
            sparsity: mask.sparsity().get(),
            pruned: mask.pruned(),
            entries: mask.layout().entries(),
            finetunings: self.plan.iter().filter(|p| p.stage.is_finetuning()).count() as u64,
            trained: finished
                .iter()
                .zip(&self.plan)
                .filter(|((_, trained), planned)| *trained && planned.stage.is_finetuning())
                .count() as u64,
            updates: self.plan.iter().map(|p| p.stage.updates).sum(),
            seconds: finished.iter().map(|(stored, _)| stored.record().seconds).sum(),
            stages: stages.collect(),
            mask: model_dir.join("mask.safetensors"),
            model_dir,
            device: lopper_torch::device_kind(self.settings.device).into(),
            precision: self.settings.precision,
            seed: self.settings.seed,
        };
        files::write_atomic(&self.settings.out.join(RunRecord::FILE), &sealed::seal(&record)?)?;
        Ok(record)
    }

    /// What the plan was made for.
    pub fn spec(&self) -> &RunSpec {
        &self.spec
    }
}

/// A mask by the magnitudes of a freshly initialised network, of which these are the prunable tensors.
///
/// # Errors
/// When they are of other shapes.
fn random_init_mask(
    tensors: &[Tensor],
    weights: &Weights,
    selector: &mut Selector,
    request: &Request,
) -> Result<MaskSet> {
    let random = weights
        .prunable_names()
        .zip(tensors)
        .map(|(name, tensor)| PrunableWeight::new(name, tensor, lopper_torch::host_slice(tensor)));
    let random = WeightView::new(weights.layout(), random.collect::<Result<_>>()?);
    let dense = MaskSet::dense(weights.layout().clone());
    selector.select(&random, &Scores::Magnitude, &dense, request)
}
