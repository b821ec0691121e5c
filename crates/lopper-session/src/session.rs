//! A run: plans, skips what the store already holds, trains the rest, and writes what came out.

mod missing;
mod start;
mod train;
mod walk;

use self::walk::Ended;
use crate::checkpoint::CheckpointStore;
use crate::disk::check_text;
use crate::events::EventLog;
use crate::identity::{RunIdentity, Surroundings};
use crate::occupied::{self, Begins};
use crate::plan::{Identification, PlannedStage};
use crate::plugins::Plugins;
use crate::predictions;
use crate::pretrained::Pretrained;
use crate::provenance::Provenance;
use crate::run_id;
use crate::sealed;
use crate::status::{self, RunState, RunStatus, StageStatus, StatusWriter};
use crate::store::{ArtefactId, StageStore};
use crate::tensorboard::EventFiles;
use crate::weights::Weights;
use crate::{Batcher, DiskNeeds, MicroBatches, OpenDataset, RunRecord, RunStage, SessionSettings};
use lopper_core::{
    Dataset, Error, MaskOrigin, Model, PruningStrategy, Recipe, Result, RunSpec, Selector, Split, Stage,
};
use lopper_weights::files;
use std::collections::{BTreeMap, BTreeSet};

/// Who takes part in a run.
pub struct Participants {
    /// The model, holding theta_0 and the run's fresh head.
    pub model: Box<dyn Model>,
    /// Opens that model once more, with the same weights and head: how a run comes back to theta_0.
    pub open_model: Box<dyn Fn() -> Result<Box<dyn Model>> + Send>,
    /// The data.
    pub dataset: OpenDataset,
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
    pretrained: Pretrained,
    plan: Vec<PlannedStage>,
    surroundings: Surroundings,
    /// Versions of plugins and the kind of device, on which results depend.
    versions: BTreeMap<String, String>,
    made_by: Provenance,
    selector: Selector,
    /// What of the store was read and found whole.
    whole: BTreeSet<ArtefactId>,
    /// Prunable entries of the pre-trained model that are zero.
    zeros_at_start: u64,
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
    Ok(MicroBatches::new(batches, recipe.accumulate).updates_per_epoch())
}

impl Session {
    /// Plans the run and looks up which stages are done; trains and writes nothing.
    ///
    /// # Errors
    /// A strategy whose options do not fit, a mask file that cannot be read or is of another model or sparsity, a store of
    /// another version.
    pub fn new(participants: Participants, spec: RunSpec, settings: SessionSettings) -> Result<Self> {
        let weights = Weights::of(participants.model.as_ref())?;
        let (model, dataset, identity) = (participants.model.as_ref(), &*participants.dataset, &participants.identity);
        let surroundings = Surroundings::new(identity, model, weights.layout(), dataset, &settings)?;
        let plugins = Plugins::of(identity);
        plugins.strategy(|| participants.strategy.accepts(weights.layout(), spec.sparsity))?;
        let stages = plugins.strategy(|| participants.strategy.plan(&spec))?;
        let store = StageStore::open(&settings.store, settings.lease)?;
        let pretrained = Pretrained::live(&weights)?;
        let plan = Identification {
            surroundings: &surroundings,
            identity,
            pretrained: pretrained.hash(),
            weights: &weights,
            model,
            store: &store,
        }
        .identify(&stages, &spec)?;
        let versions = surroundings.versions(identity);
        let plugins_alone = versions.iter().filter(|(name, _)| name.ends_with(" plugin"));
        let plugin_versions = plugins_alone.map(|(name, version)| (name.clone(), version.clone())).collect();
        let made_by = Provenance::here(settings.device, plugin_versions);
        let selector = Selector::new();
        let zeros_at_start = plugins.model(|| model.zeros())?;
        let mut session = Self {
            participants,
            plugins,
            spec,
            settings,
            store,
            weights,
            pretrained,
            plan,
            surroundings,
            versions,
            made_by,
            selector,
            whole: BTreeSet::new(),
            zeros_at_start,
        };
        session.find_done()?;
        Ok(session)
    }

    /// The stages in order.
    pub fn plan(&self) -> &[PlannedStage] {
        &self.plan
    }

    /// What is planned of each, in order.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        self.plan.iter().map(|planned| &planned.stage)
    }

    /// The disk that [`run`](Self::run) will need.
    pub fn disk_needs(&self) -> DiskNeeds {
        DiskNeeds::of(self.participants.model.as_ref(), self.weights.layout(), &self.plan, &self.settings)
    }

    /// Trains what the store does not hold, judges what is not judged, then writes `model/` (a Hugging Face directory with
    /// `mask.safetensors` beside the weights; the mask alone where no model is wanted), what it said of every example
    /// (`predictions-SPLIT.csv`) and `record.json` into the run's directory. Per-update metrics go to `metrics.jsonl`. A stage that another process is at work at is waited for.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when asked to stop, [`Error::Diverged`] when the loss stays not finite, [`Error::File`]
    /// when something cannot be written or the directory holds another run's progress, or its result and that is not to be
    /// replaced, and errors of the plugins.
    pub fn run(&mut self) -> Result<RunRecord> {
        crate::needs::check(self.participants.model.as_ref(), self.weights.layout(), &self.plan, &self.settings)?;
        let out = self.settings.out.clone();
        Error::all([&out, &self.settings.store].into_iter().filter_map(|path| check_text(path).err()).collect())?;
        files::create_dir(&out)?;
        let _lock = status::lock(&out)?;
        files::sweep(&out);
        // Before anything is written: the references, too, keep what the other run needs.
        let begins = Begins {
            method: &self.participants.identity.strategy,
            seed: self.settings.seed,
            precision: self.settings.precision,
            device: lopper_torch::device_kind(self.settings.device),
            replace: self.settings.replace,
        };
        occupied::make_way(&out, &self.plan, &self.versions, &self.store, &begins)?;
        let id = run_id::of(&out, &self.store)?;
        self.refer(&id)?;
        if let Some(text) = &self.settings.configuration {
            files::write_atomic(&out.join("config.toml"), text.as_bytes())?;
        }
        let mut status = StatusWriter::begin(&out, self.status()?)?;
        self.settings.stop.note_end_with(status.interrupts());
        let result = self.train(&id, &mut status);
        status.end(&result);
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
            loss: None,
            metric: None,
            sparsity: None,
        })
    }

    fn train(&mut self, id: &str, status: &mut StatusWriter) -> Result<RunRecord> {
        let checkpoints = CheckpointStore::new(&self.settings.out).keeping(self.settings.checkpoints_kept);
        let stages = self.plan.iter().map(|planned| planned.stage.name.as_str());
        let event_files =
            self.settings.tensorboard.then(|| EventFiles::open(&self.settings.out, stages)).transpose()?;
        let mut events = EventLog::open(&self.settings.out.join("metrics.jsonl"))?.with_event_files(event_files);
        let mut ended: Vec<Ended> = Vec::new();
        // Before anything is trained: what is damaged is found now.
        self.look()?;
        for index in 0..self.plan.len() {
            self.settings.stop.check(&format!("beginning stage {}", self.plan[index].stage.name))?;
            let stage = self.end_stage(index, id, &checkpoints, &mut events, status)?;
            let (updates, seconds) = (self.plan[index].stage.updates, stage.stored.record().seconds);
            status.stage(index, updates, if stage.trained { seconds } else { 0.0 });
            ended.push(stage);
            self.drop_weights(index, id)?;
        }
        self.settings.stop.check("saving the model; all stages are in the store")?;
        let record = self.finish(&ended)?;
        events.finish()?;
        // A stage that another run put into the store meanwhile leaves a checkpoint that is needed no more.
        checkpoints.clear()?;
        self.drop_rewind_points(id)?;
        if let Some(last) = self.plan.len().checked_sub(1).filter(|_| !self.settings.save_model) {
            self.drop_weights_of(last, id)?;
        }
        Ok(record)
    }

    fn origin(&self, planned: &PlannedStage) -> MaskOrigin {
        let identity = &self.participants.identity;
        let mut origin: MaskOrigin = [
            ("lopper", env!("CARGO_PKG_VERSION").to_owned()),
            ("method", identity.strategy.clone()),
            ("model", identity.model.clone()),
            ("task", self.participants.dataset.task().name.clone()),
            ("stage", planned.stage.name.clone()),
            ("stage_key", planned.training_key.clone().unwrap_or_default()),
            ("seed", self.settings.seed.to_string()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
        lopper_weights::record_model_options(&mut origin, self.participants.model.as_ref());
        origin
    }

    /// Saves the pruned model and the record.
    fn finish(&mut self, ended: &[Ended]) -> Result<RunRecord> {
        let (Some(last), Some(planned)) = (ended.last(), self.plan.last()) else {
            return Err(Error::Other("the plan has no stages".into()));
        };
        let mask = last.stored.mask()?;
        let planned = planned.clone();
        let lone_mask = self.settings.out.join(RunRecord::LONE_MASK);
        let model_dir = self.settings.save_model.then(|| self.settings.out.join(RunRecord::MODEL));
        match &model_dir {
            Some(model_dir) => {
                self.load_end(&planned)?;
                self.weights.check_pruned_are_zero(&mask)?;
                self.plugins.model(|| {
                    let model = self.participants.model.as_ref();
                    let (origin, over) = (self.origin(&planned), lopper_weights::Overwrite::default());
                    let dtype = self.settings.save_dtype;
                    lopper_weights::save_model_with(model_dir, model, Some(&mask), &origin, over, dtype)
                })?;
                files::remove_file(&lone_mask)?;
            }
            None => files::link_or_copy(&last.stored.mask_path(), &lone_mask)?,
        }
        let outcomes = self.judge().outcomes(&last.stored.record().key, planned.stage.updates)?;
        let predictions = predictions::write(&self.settings.out, &outcomes)?;
        let task = self.participants.dataset.task();
        let metrics = last.metrics.clone();
        let metric = metrics
            .first()
            .map(|split| {
                let primary = split.metrics.iter().find(|metric| metric.name == task.primary_metric).cloned();
                primary.ok_or_else(|| Error::Other(format!("task {} reported no {}", task.name, task.primary_metric)))
            })
            .transpose()?;
        let stages = self.plan.iter().zip(ended).map(|(planned, ended)| {
            let record = ended.stored.record();
            RunStage {
                name: planned.stage.name.clone(),
                key: record.key.clone(),
                plan: planned.key.clone(),
                updates: planned.stage.updates,
                trained: ended.trained,
                seconds: record.seconds,
                sparsity: record.sparsity,
                metrics: ended.metrics.clone(),
                counts: record.counts.clone(),
            }
        });
        let record = RunRecord {
            libtorch: lopper_torch::libtorch_version(),
            method: self.participants.identity.strategy.clone(),
            model: self.participants.identity.model.clone(),
            task: task.name.clone(),
            metric,
            metrics,
            predictions,
            counts: self.participants.dataset.counts().clone(),
            sparsity: mask.sparsity().get(),
            pruned: mask.pruned(),
            entries: mask.layout().entries(),
            zeros_at_start: self.zeros_at_start,
            finetunings: self.plan.iter().filter(|p| p.stage.is_finetuning()).count() as u64,
            trained: ended
                .iter()
                .zip(&self.plan)
                .filter(|(ended, planned)| ended.trained && planned.stage.is_finetuning())
                .count() as u64,
            updates: self.plan.iter().map(|p| p.stage.updates).sum(),
            seconds: ended.iter().map(|ended| ended.stored.record().seconds).sum(),
            stages: stages.collect(),
            mask: model_dir.as_ref().map_or(lone_mask, |model_dir| model_dir.join("mask.safetensors")),
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
