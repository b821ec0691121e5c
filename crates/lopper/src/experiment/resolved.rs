//! A configuration that has been checked, and the run that it describes.

use super::defaults::with_defaults;
use super::recipe::Length;
use super::table::{Draft, Given, Settled, read};
use super::target::Target;
use crate::config::{ModelOptions, Setting, Split};
use crate::inspect::{self, Inspection, Part};
use crate::kept_data::KeptData;
use crate::models;
use crate::problems::keep;
use crate::recipes;
use lopper_core::{DatasetEntry, Error, Layout, PruningStrategy, Result, RunSpec, Sparsity, StrategyEntry, Task};
use lopper_session::{
    EvaluationBatches, Participants, RunIdentity, Session, SessionSettings, Stop, StoreCache, WantedByOthers,
    updates_per_epoch,
};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tch::Device;
use toml::Table;

/// One run, checked as far as that goes without loading anything.
pub struct Experiment {
    pub(super) given: Given,
    pub(super) data: Settled<DatasetEntry, Task>,
    pub(super) prune: Settled<StrategyEntry, Box<dyn PruningStrategy>>,
    pub(super) sparsity: Target,
    out: PathBuf,
    wanted_by_others: WantedByOthers,
    replace: bool,
    draws: bool,
    /// In place of what the configuration says.
    device: Option<Device>,
}

/// The device `name`, for a run whose configuration says `configured`. `key` is where `name` was given.
///
/// # Errors
/// [`Error::InvalidValue`] when its kind is another one, on which results depend; [`Error::Device`] for one that is not here.
pub(crate) fn in_place_of(configured: &str, name: &str, key: &str) -> Result<Device> {
    let (device, of_run) = (lopper_torch::resolve_device(name)?, lopper_torch::resolve_device(configured)?);
    let (kind, wanted) = (lopper_torch::device_kind(device), lopper_torch::device_kind(of_run));
    if kind == wanted {
        return Ok(device);
    }
    let expected =
        format!("a device of the kind {wanted}, which `device = {configured:?}` is here; results depend on it");
    Err(Error::invalid(key, format!("{name:?}"), expected))
}

impl Experiment {
    /// Reads a configuration file, puts `settings` into it and `out` in the place of its directory.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, and everything that is wrong with it, together; then also what is wrong
    /// with the device, model, data and masks that it names, as far as its right parts tell. A right configuration
    /// opens none of them: that is done by [`into_session`](Self::into_session).
    pub fn load(path: &Path, settings: &[Setting], out: Option<&Path>) -> Result<Self> {
        let table = read(path, settings)?;
        let default = Path::new("runs").join(path.file_stem().unwrap_or(OsStr::new("run")));
        let context = path.display().to_string();
        let mut draft = Draft::new(&table, &context);
        let configured = draft.given.run.out.as_ref().map(PathBuf::from);
        let place = out.map(Path::to_owned).or(configured).unwrap_or_else(|| default.clone());
        draft.look_further(&place);
        let mut experiment = Self::resolve(draft, out.unwrap_or(&default))?;
        if let Some(out) = out {
            experiment.set_out(out)?;
        }
        Ok(experiment)
    }

    /// Checks a configuration; `context` names it in errors, `default_out` is the run's directory unless it has one.
    ///
    /// # Errors
    /// Everything that is wrong with it, together.
    pub fn new(table: &Table, context: &str, default_out: &Path) -> Result<Self> {
        let mut table = table.clone();
        recipes::lay_under(&mut table, &[])?;
        Self::resolve(Draft::new(&table, context), default_out)
    }

    /// The experiment, or all problems.
    fn resolve(draft: Draft<'_>, default_out: &Path) -> Result<Self> {
        let Draft { context, problems, given, data, prune, sparsity } = draft;
        Error::all(problems)?;
        let (Some(data), Some(prune), Some(sparsity)) = (data.settled(), prune.settled(), sparsity) else {
            return Err(Error::Other(format!("{context}: incomplete")));
        };
        let out = given.run.out.as_ref().map_or_else(|| default_out.to_owned(), PathBuf::from);
        let wanted_by_others = WantedByOthers::default();
        let mut experiment = Self {
            given,
            data,
            prune,
            sparsity,
            out: PathBuf::new(),
            wanted_by_others,
            replace: false,
            draws: true,
            device: None,
        };
        experiment.set_out(&out)?;
        Ok(experiment)
    }

    fn set_out(&mut self, out: &Path) -> Result<()> {
        // Records and resolved configurations are text.
        let text = out.to_str().ok_or_else(|| Error::invalid("--out", out.display(), "give a path that is UTF-8"))?;
        self.given.run.out = Some(text.to_owned());
        self.out = out.to_owned();
        Ok(())
    }

    /// Says which stages' weights other runs want when this one is done with them: the others of one experiment.
    pub fn set_wanted_by_others(&mut self, wanted: WantedByOthers) {
        self.wanted_by_others = wanted;
    }

    /// Whether the run may take the place of another one that ended in its directory; unless told, it may not.
    pub fn set_replace(&mut self, replace: bool) {
        self.replace = replace;
    }

    /// Whether it draws a bar of the stage under way, which it does where there is a terminal.
    pub(crate) fn set_draws(&mut self, draws: bool) {
        self.draws = draws;
    }

    /// Trains on this device in place of the one that the configuration names, which stays on record.
    ///
    /// # Errors
    /// Those of [`in_place_of`].
    pub(crate) fn set_device(&mut self, name: &str) -> Result<()> {
        self.device = Some(in_place_of(&self.given.general.device, name, "--device")?);
        Ok(())
    }

    /// The run's own directory.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The directory of finished stages.
    pub fn store(&self) -> &Path {
        Path::new(&self.given.run.store)
    }

    /// The task it trains on.
    pub fn task(&self) -> &Task {
        &self.data.made
    }

    /// The name of the pruning method.
    pub fn method(&self) -> &'static str {
        self.prune.entry.name
    }

    /// The sparsity to end at; `None` for that of the mask which the run is given.
    pub fn sparsity(&self) -> Option<Sparsity> {
        self.sparsity.given()
    }

    /// Finds the checkpoint directory, fetching it first when it is the hub's, and settles which plugin reads it.
    ///
    /// # Errors
    /// When there is none, no plugin reads it, or the plugin has no such options.
    pub fn locate_model(&mut self) -> Result<PathBuf> {
        let path = models::locate(OsStr::new(&self.given.model.keys.path))?;
        let model = &mut self.given.model;
        if model.entry.is_none() {
            let entry = models::plugin(None, &path)?;
            let mut split = Split { own: Table::new(), plugin: model.options.clone() };
            Error::all(split.refuse_unknown("[model]", ModelOptions::DOCS, entry.options))?;
            model.entry = Some(entry);
        }
        Ok(path)
    }

    /// Opens model and data to find out what is wrong with them, and leaves them again; masks are not looked at. What is to be
    /// trained `elsewhere` needs no device of this machine. Returns what there is to prune in the model.
    ///
    /// # Errors
    /// Everything that is wrong with device, model and data, together.
    pub(crate) fn check_parts(mut self, cache: &StoreCache, elsewhere: bool) -> Result<Layout> {
        let mut problems = Vec::new();
        let name = &self.given.general.device;
        let resolve = |name| match elsewhere {
            true => lopper_torch::gpu_named(name).map(|_| Device::Cpu),
            false => lopper_torch::resolve_device(name),
        };
        let device = keep(&mut problems, resolve(name));
        let source = inspect::model_key(Path::new(&self.given.model.keys.path));
        let directory = keep(&mut problems, inspect::named(self.locate_model(), &source));
        keep(&mut problems, inspect::check_directory("[run] store", self.store()));
        let Self { given, data, prune, out, .. } = self;
        let entry = given.model.entry;
        let model = directory.zip(entry);
        let inspection = Inspection {
            device: device.unwrap_or(Device::Cpu),
            seed: given.general.seed,
            out: &out,
            model: model.map(|(path, entry)| (path, Part { entry, options: &given.model.options })),
            task: Some(&data.made),
            dataset: Some(Part { entry: data.entry, options: &data.options }),
            method: None,
            method_options: &prune.options,
            cache: Some(cache),
            tokenise: true,
        };
        let opened = inspection.run(&mut KeptData::default(), &mut problems);
        Error::all(problems)?;
        let (model, _) = opened.ok_or_else(|| Error::Other("no model plugin".into()))?;
        model.layout()
    }

    /// Loads model and data, and plans. A request through `stop` makes the run save its state and end. What `cache` knows of the
    /// data's files is not read again.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when a stop is requested meanwhile, everything that is wrong with device, model, data and
    /// masks, together, and a strategy whose options do not fit the run.
    pub fn into_session(self, stop: Stop, cache: &StoreCache) -> Result<Session> {
        self.into_session_with(stop, cache, &mut KeptData::default())
    }

    /// As [`into_session`](Self::into_session). The data are those of `kept` where it has them, and are kept there.
    pub(crate) fn into_session_with(mut self, stop: Stop, cache: &StoreCache, kept: &mut KeptData) -> Result<Session> {
        let seed = self.given.general.seed;
        let mut problems = Vec::new();
        let configured = || lopper_torch::resolve_device(&self.given.general.device);
        let device = keep(&mut problems, self.device.map_or_else(configured, Ok));
        let source = inspect::model_key(Path::new(&self.given.model.keys.path));
        let directory = keep(&mut problems, inspect::named(self.locate_model(), &source));
        keep(&mut problems, inspect::check_directory("[run] out", &self.out));
        keep(&mut problems, inspect::check_directory("[run] store", self.store()));
        let configuration = Some(self.to_toml());
        let Self { given, data, prune, sparsity, out, wanted_by_others, replace, draws, device: _ } = self;
        let mut nominal = given.training.nominal_spec(sparsity.nominal(), seed);
        let entry = given.model.entry;
        let inspection = Inspection {
            device: device.unwrap_or(Device::Cpu),
            seed,
            out: &out,
            model: directory
                .clone()
                .zip(entry)
                .map(|(path, entry)| (path, Part { entry, options: &given.model.options })),
            task: Some(&data.made),
            dataset: Some(Part { entry: data.entry, options: &data.options }),
            method: Some((prune.made.as_ref(), nominal.clone())),
            method_options: &prune.options,
            cache: Some(cache),
            tokenise: true,
        };
        let opened = inspection.run(kept, &mut problems);
        let (Some(device), Some((model, dataset)), Some(entry), Some(path)) = (device, opened, entry, directory) else {
            return Err(Error::all(problems).err().unwrap_or_else(|| Error::Other("no model plugin".into())));
        };
        Error::all(problems)?;
        nominal.sparsity = sparsity.settled(prune.made.as_ref(), &nominal, model.as_ref())?;
        stop.check("opening the model and the data")?;
        let per_epoch = updates_per_epoch(&*dataset, &given.training.recipe, seed)?;
        let updates = match given.training.length {
            Length::Updates(updates) => updates,
            Length::Epochs(epochs) => ((epochs * per_epoch as f64).round() as u64).max(1),
        };
        let identity = RunIdentity {
            model: entry.name.into(),
            strategy: prune.entry.name.into(),
            strategy_options: with_defaults(&prune.options, prune.entry.options),
            model_origin: entry.origin.into(),
            dataset_origin: data.entry.origin.into(),
            strategy_origin: prune.entry.origin.into(),
        };
        let spec = RunSpec { updates, updates_per_epoch: per_epoch, ..nominal };
        let settings = SessionSettings {
            seed,
            device,
            precision: given.general.precision,
            out,
            store: given.run.store.into(),
            keep: given.store.keep,
            wanted_by_others,
            lease: Duration::from_secs(given.store.lease),
            evaluate_every: given.evaluate.every,
            evaluation: EvaluationBatches { rows: given.evaluate.batch_size as usize, budget: given.evaluate.budget },
            checkpoint: given.checkpoint.every.every(),
            checkpoints_kept: given.checkpoint.keep as usize,
            save_model: given.run.save_model,
            save_dtype: given.run.save_dtype,
            replace,
            configuration,
            progress: draws,
            tensorboard: given.track.tensorboard,
            max_skipped: given.training.options.max_skipped,
            stop,
        };
        let task = dataset.task().clone();
        let options = given.model.options;
        let open_model = move || models::open(entry, path.clone(), &options, Some(&task), device, seed);
        let participants =
            Participants { model, open_model: Box::new(open_model), dataset, strategy: prune.made, identity };
        Session::new(participants, spec, settings)
    }
}
