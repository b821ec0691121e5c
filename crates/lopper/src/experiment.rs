//! A configuration that has been checked: nothing after it sees a name or a number out of range.

use crate::config::{
    self, CheckpointOptions, DataOptions, EvaluateOptions, GeneralOptions, ModelOptions, OptimizerName, PruneOptions,
    RunOptions, ScheduleName, Setting, Split, TABLES, TrainOptions,
};
use crate::inspect::{self, Inspection, Part};
use crate::models;
use crate::recipes;
use lopper_core::registry::{self, DatasetEntry, Entry, ModelEntry, StrategyEntry};
use lopper_core::{
    Batching, Error, Optimizer, OptionDoc, PruningStrategy, RateSchedule, Recipe, Result, RunSpec, Sparsity, Stage,
    Task, nearest, parse_leniently,
};
use lopper_session::{EvaluationBatches, Participants, RunIdentity, Session, SessionSettings, updates_per_epoch};
use std::ffi::OsStr;
use std::fmt::{Display, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tch::Device;
use toml::{Table, Value};

/// Upper bounds far above any sensible run, so that no product of two of them overflows.
const MOST_UPDATES: u64 = 1_000_000_000_000;
const MOST_EPOCHS: f64 = 1e6;
const MOST_ROWS: u64 = 1_000_000_000;

/// How long a full finetuning is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Length {
    Epochs(f64),
    Updates(u64),
}

/// What a configuration alone says of a run.
#[derive(Debug)]
pub struct Outline {
    /// The name of the pruning method.
    pub method: &'static str,
    /// The task; `None` where only the data tell.
    pub task: Option<String>,
    /// The sparsity to end at.
    pub sparsity: Sparsity,
    /// The stages, in order.
    pub stages: Vec<Stage>,
}

/// One run, checked as far as that goes without loading anything.
pub struct Experiment {
    general: GeneralOptions,
    model: Option<&'static ModelEntry>,
    model_path: String,
    model_options: Table,
    dataset: &'static DatasetEntry,
    dataset_options: Table,
    task: Task,
    strategy: &'static StrategyEntry,
    method: Box<dyn PruningStrategy>,
    strategy_options: Table,
    sparsity: Sparsity,
    length: Length,
    recipe: Recipe,
    /// With every default that applies.
    train: TrainOptions,
    evaluate: EvaluateOptions,
    checkpoint: CheckpointOptions,
    run: RunOptions,
    out: PathBuf,
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
        let configured = draft.run.out.as_ref().map(PathBuf::from);
        let place = out.map(Path::to_owned).or(configured).unwrap_or_else(|| default.clone());
        draft.look_further(&place);
        let mut experiment = draft.finish(out.unwrap_or(&default))?;
        if let Some(out) = out {
            experiment.set_out(out)?;
        }
        Ok(experiment)
    }

    /// The stages that a configuration plans. Neither model nor data need be there.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read, everything that is wrong with it, and a length in epochs, which only the
    /// data turn into updates.
    pub fn outline(path: &Path, settings: &[Setting]) -> Result<Outline> {
        let table = read(path, settings)?;
        let context = path.display().to_string();
        let mut draft = Draft::new(&table, &context);
        // A dictionary that the training set makes, a list of the corpus: what is absent is not wrong.
        draft.problems.retain(|problem| !matches!(problem, Error::File { .. }));
        if let Length::Epochs(epochs) = draft.length {
            let expected = "updates, or the data, which tell how many updates that is";
            draft.problems.push(Error::invalid("[train] epochs", epochs, expected));
        }
        Error::all(draft.problems)?;
        let (Some(strategy), Some(method), Some(sparsity)) = (draft.strategy, draft.method, draft.sparsity) else {
            return Err(Error::Other(format!("{context}: incomplete")));
        };
        let spec = nominal_spec(sparsity, &draft.recipe, draft.length, draft.general.seed);
        let stages = lopper_torch::guarded("the strategy", || method.plan(&spec))?;
        Ok(Outline { method: strategy.name, task: draft.task.map(|task| task.name), sparsity, stages })
    }

    /// Checks a configuration; `context` names it in errors, `default_out` is the run's directory unless it has one.
    ///
    /// # Errors
    /// Everything that is wrong with it, together.
    pub fn new(table: &Table, context: &str, default_out: &Path) -> Result<Self> {
        let mut table = table.clone();
        recipes::lay_under(&mut table, &[])?;
        Draft::new(&table, context).finish(default_out)
    }

    fn set_out(&mut self, out: &Path) -> Result<()> {
        // Records and resolved configurations are text.
        let text = out.to_str().ok_or_else(|| Error::invalid("--out", out.display(), "give a path that is UTF-8"))?;
        self.run.out = Some(text.to_owned());
        self.out = out.to_owned();
        Ok(())
    }

    /// The run's own directory.
    pub fn out(&self) -> &Path {
        &self.out
    }

    /// The directory of finished stages.
    pub fn store(&self) -> &Path {
        Path::new(&self.run.store)
    }

    /// The task it trains on.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The name of the pruning method.
    pub fn method(&self) -> &'static str {
        self.strategy.name
    }

    /// The sparsity to end at.
    pub fn sparsity(&self) -> Sparsity {
        self.sparsity
    }

    /// Finds the checkpoint directory, fetching it first when it is the hub's, and settles which plugin reads it.
    ///
    /// # Errors
    /// When there is none, no plugin reads it, or the plugin has no such options.
    pub fn locate_model(&mut self) -> Result<PathBuf> {
        let path = models::locate(OsStr::new(&self.model_path))?;
        if self.model.is_none() {
            let entry = models::plugin(None, &path)?;
            let mut split = Split { own: Table::new(), plugin: self.model_options.clone() };
            Error::all(split.refuse_unknown("[model]", ModelOptions::DOCS, entry.options))?;
            self.model = Some(entry);
        }
        Ok(path)
    }

    /// The configuration with every default, those of the plugins too, as TOML: itself a configuration with the same plan.
    /// The model plugin's part is complete once [`locate_model`](Self::locate_model) has settled which one it is.
    pub fn to_toml(&self) -> String {
        let mut text = String::new();
        write_table(&mut text, &self.general.to_table(), GeneralOptions::DOCS);
        for (name, own) in TABLES {
            let (keys, plugin) = self.section(name);
            let _ = write!(text, "\n[{name}]\n");
            write_table(&mut text, &keys, own);
            write_table(&mut text, &keys, plugin);
        }
        text
    }

    /// The configuration with every default, as a table.
    pub fn to_table(&self) -> Table {
        let mut table = self.general.to_table();
        table.extend(TABLES.iter().map(|(name, _)| ((*name).to_owned(), Value::Table(self.section(name).0))));
        table
    }

    /// The keys of a table with every default, and the docs of its plugin's.
    fn section(&self, name: &str) -> (Table, &'static [OptionDoc]) {
        match name {
            "model" => {
                let name = self.model.map(|entry| entry.name.to_owned());
                let keys = ModelOptions { name, path: self.model_path.clone() }.to_table();
                let docs = self.model.map_or(&[][..], Entry::options);
                (joined(keys, with_defaults(&self.model_options, docs)), docs)
            }
            "data" => {
                let keys = DataOptions { name: self.dataset.name.into() }.to_table();
                (joined(keys, with_defaults(&self.dataset_options, self.dataset.options)), self.dataset.options)
            }
            "prune" => {
                let keys = PruneOptions { method: self.strategy.name.into(), sparsity: Some(self.sparsity.get()) };
                let options = with_defaults(&self.strategy_options, self.strategy.options);
                (joined(keys.to_table(), options), self.strategy.options)
            }
            "train" => (self.train.to_table(), &[]),
            "evaluate" => (self.evaluate.to_table(), &[]),
            "checkpoint" => (self.checkpoint.to_table(), &[]),
            _ => (self.run.to_table(), &[]),
        }
    }

    /// Loads model and data, and plans. Setting `stop` makes the run save its state and end.
    ///
    /// # Errors
    /// Everything that is wrong with device, model, data and masks, together, and a strategy whose options do not fit
    /// the run.
    pub fn into_session(mut self, stop: Arc<AtomicBool>) -> Result<Session> {
        let seed = self.general.seed;
        let mut problems = Vec::new();
        let device = keep(&mut problems, lopper_torch::resolve_device(&self.general.device));
        let source = inspect::model_key(Path::new(&self.model_path));
        let directory = keep(&mut problems, inspect::named(self.locate_model(), &source));
        keep(&mut problems, inspect::check_directory("[run] out", &self.out));
        keep(&mut problems, inspect::check_directory("[run] store", Path::new(&self.run.store)));
        let inspection = Inspection {
            device: device.unwrap_or(Device::Cpu),
            seed,
            out: &self.out,
            model: match (&directory, self.model) {
                (Some(path), Some(entry)) => Some((path.clone(), Part { entry, options: &self.model_options })),
                _ => None,
            },
            task: Some(&self.task),
            dataset: Some(Part { entry: self.dataset, options: &self.dataset_options }),
            method: Some((self.method.as_ref(), self.nominal_spec())),
            method_options: &self.strategy_options,
            tokenise: true,
        };
        let (Some(device), Some((model, dataset)), Some(entry)) = (device, inspection.run(&mut problems), self.model)
        else {
            return Err(Error::all(problems).err().unwrap_or_else(|| Error::Other("no model plugin".into())));
        };
        Error::all(problems)?;
        let per_epoch = updates_per_epoch(dataset.as_ref(), &self.recipe, seed)?;
        let updates = match self.length {
            Length::Updates(updates) => updates,
            Length::Epochs(epochs) => ((epochs * per_epoch as f64).round() as u64).max(1),
        };
        let identity = RunIdentity {
            model: entry.name.into(),
            strategy: self.strategy.name.into(),
            strategy_options: with_defaults(&self.strategy_options, self.strategy.options),
            model_origin: entry.origin.into(),
            dataset_origin: self.dataset.origin.into(),
            strategy_origin: self.strategy.origin.into(),
        };
        let spec = RunSpec { updates, updates_per_epoch: per_epoch, ..self.nominal_spec() };
        let configuration = Some(self.to_toml());
        let settings = SessionSettings {
            seed,
            device,
            precision: self.general.precision,
            out: self.out.clone(),
            store: self.run.store.clone().into(),
            keep: lopper_session::Keep::default(),
            lease: lopper_session::LEASE,
            evaluate_every: self.evaluate.every,
            evaluation: EvaluationBatches { rows: self.evaluate.batch_size as usize, budget: self.evaluate.budget },
            checkpoint: self.checkpoint.every.every(),
            configuration,
            max_skipped: self.train.max_skipped,
            stop,
        };
        Session::new(Participants { model, dataset, strategy: self.method, identity }, spec, settings)
    }

    /// What a strategy plans for, before the data tell how many updates that is.
    fn nominal_spec(&self) -> RunSpec {
        nominal_spec(self.sparsity, &self.recipe, self.length, self.general.seed)
    }
}

/// A configuration file with the recipe it names and `settings` put into it.
fn read(path: &Path, settings: &[Setting]) -> Result<Table> {
    let mut table = config::read(path)?;
    recipes::lay_under(&mut table, settings)?;
    config::apply(&mut table, settings)?;
    Ok(table)
}

fn nominal_spec(sparsity: Sparsity, recipe: &Recipe, length: Length, seed: u64) -> RunSpec {
    let (updates, updates_per_epoch) = match length {
        Length::Updates(updates) => (updates, updates),
        Length::Epochs(_) => (10_000, 10_000),
    };
    RunSpec { sparsity, updates, updates_per_epoch, recipe: recipe.clone(), seed }
}

/// A configuration under check: what of it is right, and all that is wrong.
struct Draft<'a> {
    context: &'a str,
    problems: Vec<Error>,
    general: GeneralOptions,
    model_keys: ModelOptions,
    model: Option<&'static ModelEntry>,
    model_options: Table,
    dataset: Option<&'static DatasetEntry>,
    dataset_options: Table,
    task: Option<Task>,
    strategy: Option<&'static StrategyEntry>,
    method: Option<Box<dyn PruningStrategy>>,
    strategy_options: Table,
    sparsity: Option<Sparsity>,
    length: Length,
    recipe: Recipe,
    train: TrainOptions,
    evaluate: EvaluateOptions,
    checkpoint: CheckpointOptions,
    run: RunOptions,
}

impl<'a> Draft<'a> {
    /// Reads what can be read.
    fn new(table: &Table, context: &'a str) -> Self {
        let mut problems = Vec::new();
        let (general, sections) = split_root(table, context, &mut problems);
        let general = parse_leniently(&general, GeneralOptions::parse, context, &mut problems);
        let section = |name: &str| sections.get(name).and_then(Value::as_table).cloned().unwrap_or_default();

        let mut model = Split::new(&section("model"), ModelOptions::DOCS);
        let model_keys = parse_leniently(&model.own, ModelOptions::parse, "[model]", &mut problems);
        let source = "a checkpoint directory, or hf:ORGANISATION/NAME[@REVISION]";
        require(&mut problems, &model.own, "model", "path", source);
        let model_entry = model_keys.name.as_deref().map(registry::find::<ModelEntry>);
        let model_entry = model_entry.and_then(|found| keep(&mut problems, found));
        let docs = options_of(model_entry, registry::all());
        problems.extend(model.refuse_unknown("[model]", ModelOptions::DOCS, &docs));

        let mut data = Split::new(&section("data"), DataOptions::DOCS);
        parse_leniently(&data.own, DataOptions::parse, "[data]", &mut problems);
        let dataset = named(&mut problems, &data.own, "[data] name", registry::all::<DatasetEntry>(), registry::find);
        let docs = options_of(dataset, registry::all());
        problems.extend(data.refuse_unknown("[data]", DataOptions::DOCS, &docs));
        let task = dataset.and_then(|entry| keep(&mut problems, (entry.task)(&data.plugin)));

        let mut prune = Split::new(&section("prune"), PruneOptions::DOCS);
        let prune_keys = parse_leniently(&prune.own, PruneOptions::parse, "[prune]", &mut problems);
        let strategy =
            named(&mut problems, &prune.own, "[prune] method", registry::all::<StrategyEntry>(), registry::find);
        let docs = options_of(strategy, registry::all());
        problems.extend(prune.refuse_unknown("[prune]", PruneOptions::DOCS, &docs));
        let method = strategy.and_then(|entry| keep(&mut problems, (entry.open)(&prune.plugin)));
        let share = "a number from 0 (dense) to 1 (everything pruned)";
        require(&mut problems, &prune.own, "prune", "sparsity", share);
        let sparsity = prune_keys
            .sparsity
            .map(|value| Sparsity::new(value).map_err(|_| Error::invalid("[prune] sparsity", value, share)));
        let sparsity = sparsity.and_then(|checked| keep(&mut problems, checked));

        let train = parse_leniently(&section("train"), TrainOptions::parse, "[train]", &mut problems);
        let (length, recipe, train) = recipe(train, &mut problems);
        let evaluate = evaluate_options(&section("evaluate"), &mut problems);
        let checkpoint =
            parse_leniently(&section("checkpoint"), CheckpointOptions::parse, "[checkpoint]", &mut problems);
        let run = run_options(&section("run"), &mut problems);
        Self {
            context,
            // Each by itself, to be told apart.
            problems: problems.into_iter().flat_map(Error::into_single).collect(),
            general,
            model_keys,
            model: model_entry,
            model_options: model.plugin,
            dataset,
            dataset_options: data.plugin,
            task,
            strategy,
            method,
            strategy_options: prune.plugin,
            sparsity,
            length,
            recipe,
            train,
            evaluate,
            checkpoint,
            run,
        }
    }

    /// Once something is wrong, adds what is wrong with everything that the right parts name, so that the next attempt
    /// does not meet one more problem at a time.
    fn look_further(&mut self, out: &Path) {
        if self.problems.is_empty() {
            return;
        }
        let known = std::mem::take(&mut self.problems);
        // Without its task a dataset is not opened, and without its options a method plans nothing.
        let dataset = self.dataset.filter(|_| self.task.is_some());
        let (data, prune) =
            (options_of(self.dataset, registry::all()), options_of(self.strategy, registry::all::<StrategyEntry>()));
        let mut missing = Vec::new();
        if dataset.is_none() {
            missing.extend(inspect::missing_paths("[data]", &self.dataset_options, &data, &known));
        }
        if self.method.is_none() {
            missing.extend(inspect::missing_paths("[prune]", &self.strategy_options, &prune, &known));
        }
        let keys = inspect::path_keys("[data]", &self.dataset_options, &data);
        let mut problems: Vec<Error> = known.into_iter().map(|error| inspect::named_one(error, &keys)).collect();
        keep(&mut problems, inspect::check_directory("[run] out", out));
        keep(&mut problems, inspect::check_directory("[run] store", Path::new(&self.run.store)));
        let device = keep(&mut problems, lopper_torch::resolve_device(&self.general.device));
        let path = match self.model_keys.path.as_str() {
            "" => None,
            source => {
                let key = inspect::model_key(Path::new(source));
                keep(&mut problems, inspect::named(models::present(source), &key)).flatten()
            }
        };
        let entry = match (&self.model_keys.name, &path) {
            (None, Some(directory)) => {
                let key = inspect::model_key(directory);
                keep(&mut problems, inspect::named(models::plugin(None, directory), &key))
            }
            _ => self.model,
        };
        problems.extend(missing);
        let spec = |sparsity| nominal_spec(sparsity, &self.recipe, self.length, self.general.seed);
        let inspection = Inspection {
            device: device.unwrap_or(Device::Cpu),
            seed: self.general.seed,
            out,
            model: match (path, entry) {
                (Some(path), Some(entry)) => Some((path, Part { entry, options: &self.model_options })),
                _ => None,
            },
            task: self.task.as_ref(),
            dataset: dataset.map(|entry| Part { entry, options: &self.dataset_options }),
            method: match (&self.method, self.sparsity) {
                (Some(method), Some(sparsity)) => Some((method.as_ref(), spec(sparsity))),
                _ => None,
            },
            method_options: &self.strategy_options,
            tokenise: false,
        };
        inspection.run(&mut problems);
        self.problems = problems;
    }

    /// The experiment, or all problems.
    fn finish(self, default_out: &Path) -> Result<Experiment> {
        Error::all(self.problems)?;
        let (Some(dataset), Some(task), Some(strategy), Some(method), Some(sparsity)) =
            (self.dataset, self.task, self.strategy, self.method, self.sparsity)
        else {
            return Err(Error::Other(format!("{}: incomplete", self.context)));
        };
        let out = self.run.out.as_ref().map_or_else(|| default_out.to_owned(), PathBuf::from);
        let mut experiment = Experiment {
            general: self.general,
            model: self.model,
            model_path: self.model_keys.path,
            model_options: self.model_options,
            dataset,
            dataset_options: self.dataset_options,
            task,
            strategy,
            method,
            strategy_options: self.strategy_options,
            sparsity,
            length: self.length,
            recipe: self.recipe,
            train: self.train,
            evaluate: self.evaluate,
            checkpoint: self.checkpoint,
            run: self.run,
            out: PathBuf::new(),
        };
        experiment.set_out(&out)?;
        Ok(experiment)
    }
}

/// The options of a plugin; of every plugin of its kind, each name once, when it is not known which one is meant.
fn options_of<E: Entry>(entry: Option<&'static E>, all: Result<Vec<&'static E>>) -> Vec<OptionDoc> {
    let Some(entry) = entry else {
        let all = all.unwrap_or_default();
        let mut docs: Vec<OptionDoc> = all.iter().flat_map(|entry| entry.options()).copied().collect();
        docs.sort_by_key(|doc| doc.name);
        docs.dedup_by_key(|doc| doc.name);
        return docs;
    };
    entry.options().to_vec()
}

/// Parts the keys outside of tables from the tables.
fn split_root(table: &Table, context: &str, problems: &mut Vec<Error>) -> (Table, Table) {
    let known: Vec<&str> =
        GeneralOptions::DOCS.iter().map(|d| d.name).chain(TABLES.iter().map(|(name, _)| *name)).collect();
    let (mut general, mut sections) = (Table::new(), Table::new());
    for (key, value) in table {
        let is_section = TABLES.iter().any(|(name, _)| name == key);
        if !known.contains(&key.as_str()) {
            problems.push(Error::UnknownKey {
                context: context.to_owned(),
                key: key.clone(),
                nearest: nearest(key, known.iter().copied()),
                known: known.iter().map(|k| (*k).to_owned()).collect(),
            });
        } else if is_section && !value.is_table() {
            problems.push(Error::invalid(key, value, format!("a table, [{key}]")));
        } else if is_section {
            sections.insert(key.clone(), value.clone());
        } else {
            general.insert(key.clone(), value.clone());
        }
    }
    (general, sections)
}

/// The value, or `None` with its error among the problems.
pub(crate) fn keep<T>(problems: &mut Vec<Error>, result: Result<T>) -> Option<T> {
    result.map_err(|e| problems.push(e)).ok()
}

fn check(problems: &mut Vec<Error>, ok: bool, key: &str, value: impl Display, expected: impl FnOnce() -> String) {
    if !ok {
        problems.push(Error::invalid(key, value, expected()));
    }
}

fn require(problems: &mut Vec<Error>, table: &Table, section: &str, key: &str, expected: &str) {
    let given = table.get(key).is_some_and(|value| value.as_str() != Some(""));
    check(problems, given, &format!("[{section}] {key}"), "(not given)", || format!("give {expected}"));
}

/// The plugin that a required key names.
fn named<E: Entry>(
    problems: &mut Vec<Error>,
    table: &Table,
    key: &str,
    all: Result<Vec<&'static E>>,
    find: impl Fn(&str) -> Result<&'static E>,
) -> Option<&'static E> {
    let (_, last) = key.split_once(' ')?;
    match table.get(last) {
        Some(Value::String(name)) if !name.is_empty() => keep(problems, find(name)),
        value => {
            let names = keep(problems, all)?.iter().map(|entry| entry.name()).collect::<Vec<_>>().join(", ");
            // Of another type it was refused already, without the names.
            problems.retain(|problem| !matches!(problem, Error::InvalidValue { key: of, .. } if of == key));
            let value = value.filter(|value| value.as_str() != Some("")).map_or("(not given)".into(), Value::to_string);
            problems.push(Error::invalid(key, value, format!("give one of {names}")));
            None
        }
    }
}

fn evaluate_options(table: &Table, problems: &mut Vec<Error>) -> EvaluateOptions {
    let options = parse_leniently(table, EvaluateOptions::parse, "[evaluate]", problems);
    let rows = options.batch_size;
    check(problems, (1..=MOST_ROWS).contains(&rows), "[evaluate] batch_size", rows, || {
        format!("from 1 to {MOST_ROWS} examples")
    });
    let budget = options.budget.unwrap_or(1);
    check(problems, (1..=MOST_ROWS).contains(&budget), "[evaluate] budget", budget, || {
        format!("from 1 to {MOST_ROWS} tokens or samples")
    });
    options
}

fn run_options(table: &Table, problems: &mut Vec<Error>) -> RunOptions {
    let options = parse_leniently(table, RunOptions::parse, "[run]", problems);
    for (key, value) in [("[run] store", Some(&options.store)), ("[run] out", options.out.as_ref())] {
        let given = value.is_none_or(|path| !path.is_empty());
        check(problems, given, key, "\"\"", || "the path of a directory".into());
    }
    options
}

/// How a full finetuning trains, how long, and the options with every default that applies.
fn recipe(mut o: TrainOptions, problems: &mut Vec<Error>) -> (Length, Recipe, TrainOptions) {
    let key = |name: &str| format!("[train] {name}");
    let mut refuse = |ok: bool, name: &str, value: &dyn Display, expected: &str| {
        check(problems, ok, &key(name), value, || expected.to_owned());
    };
    let number = |x: f64| (0.0..=f64::MAX).contains(&x);
    let share = |x: f64| (0.0..=1.0).contains(&x);

    if let (Some(epochs), Some(updates)) = (o.epochs, o.updates) {
        refuse(false, "epochs", &epochs, &format!("give either epochs or updates ({updates}), not both"));
    }
    if let (Some(rows), Some(budget)) = (o.batch_size, o.budget) {
        refuse(false, "batch_size", &rows, &format!("give either batch_size or budget ({budget}), not both"));
    }
    let epochs = o.epochs.unwrap_or(3.0);
    let whole = |x: u64, most: u64| (1..=most).contains(&x);
    refuse(epochs > 0.0 && epochs <= MOST_EPOCHS, "epochs", &epochs, &format!("a number above 0, up to {MOST_EPOCHS}"));
    let updates = o.updates.unwrap_or(1);
    refuse(whole(updates, MOST_UPDATES), "updates", &updates, &format!("from 1 to {MOST_UPDATES}"));
    let rows = o.batch_size.unwrap_or(32);
    refuse(whole(rows, MOST_ROWS), "batch_size", &rows, &format!("from 1 to {MOST_ROWS} examples"));
    let budget = o.budget.unwrap_or(1);
    refuse(whole(budget, MOST_ROWS), "budget", &budget, &format!("from 1 to {MOST_ROWS} tokens or samples"));
    refuse(whole(o.accumulate, 1 << 20), "accumulate", &o.accumulate, "from 1 to 1048576 micro-batches");
    refuse(number(o.learning_rate), "learning_rate", &o.learning_rate, "a finite number from 0 up");
    refuse(number(o.weight_decay), "weight_decay", &o.weight_decay, "a finite number from 0 up");
    refuse(number(o.clip_norm), "clip_norm", &o.clip_norm, "a finite number from 0 (no clipping) up");

    let sgd = o.optimizer == OptimizerName::Sgd;
    for (name, value) in [("beta1", o.beta1), ("beta2", o.beta2), ("epsilon", o.epsilon)] {
        refuse(!sgd || value.is_none(), name, &value.unwrap_or(0.0), "only with optimizer = \"adam\" or \"adamw\"");
    }
    refuse(sgd || o.momentum.is_none(), "momentum", &o.momentum.unwrap_or(0.0), "only with optimizer = \"sgd\"");
    let (beta1, beta2) = (o.beta1.unwrap_or(0.9), o.beta2.unwrap_or(0.999));
    let (epsilon, momentum) = (o.epsilon.unwrap_or(1e-8), o.momentum.unwrap_or(0.0));
    for (name, value) in [("beta1", beta1), ("beta2", beta2), ("momentum", momentum)] {
        refuse((0.0..1.0).contains(&value), name, &value, "from 0 up to, not including, 1");
    }
    refuse(number(epsilon) && epsilon > 0.0, "epsilon", &epsilon, "a finite number above 0");
    let weight_decay = o.weight_decay;
    let optimizer = match o.optimizer {
        OptimizerName::Adam => Optimizer::Adam { beta1, beta2, epsilon, weight_decay },
        OptimizerName::AdamW => Optimizer::AdamW { beta1, beta2, epsilon, weight_decay },
        OptimizerName::Sgd => Optimizer::Sgd { momentum, weight_decay },
    };

    let tri_stage = o.schedule == ScheduleName::TriStage;
    for (name, value) in
        [("hold", o.hold), ("decay", o.decay), ("initial_scale", o.initial_scale), ("final_scale", o.final_scale)]
    {
        refuse(tri_stage || value.is_none(), name, &value.unwrap_or(0.0), "only with schedule = \"tri-stage\"");
    }
    let constant = o.schedule == ScheduleName::Constant;
    refuse(!constant || o.warmup.is_none(), "warmup", &o.warmup.unwrap_or(0.0), "not with schedule = \"constant\"");
    let warmup = o.warmup.unwrap_or(if tri_stage { 0.1 } else { 0.0 });
    let (hold, decay) = (o.hold.unwrap_or(0.4), o.decay.unwrap_or(0.5));
    let (initial_scale, final_scale) = (o.initial_scale.unwrap_or(0.01), o.final_scale.unwrap_or(0.05));
    for (name, value) in [("warmup", warmup), ("hold", hold), ("decay", decay), ("initial_scale", initial_scale)] {
        refuse(share(value), name, &value, "a share from 0 to 1");
    }
    refuse(share(final_scale) && final_scale > 0.0, "final_scale", &final_scale, "a share above 0, up to 1");
    let sum = warmup + hold + decay;
    refuse(!tri_stage || (sum - 1.0).abs() < 1e-9, "warmup + hold + decay", &sum, "shares that add up to 1");
    let rate_schedule = match o.schedule {
        ScheduleName::Constant => RateSchedule::Constant,
        ScheduleName::Linear => RateSchedule::Linear { warmup },
        ScheduleName::TriStage => RateSchedule::TriStage { warmup, hold, decay, initial_scale, final_scale },
    };

    let length = o.updates.map_or(Length::Epochs(epochs), Length::Updates);
    let batching = o.budget.map_or(Batching::Examples(rows), Batching::Budget);
    let recipe = Recipe {
        optimizer,
        learning_rate: o.learning_rate,
        rate_schedule,
        rate_horizon: None,
        batching,
        bucket_by_length: o.bucket_by_length,
        accumulate: o.accumulate,
        clip_norm: (o.clip_norm > 0.0).then_some(o.clip_norm),
        freeze_encoder_updates: o.freeze_encoder_updates,
    };
    o.epochs = o.updates.is_none().then_some(epochs);
    o.batch_size = o.budget.is_none().then_some(rows);
    (o.beta1, o.beta2, o.epsilon) = if sgd { (None, None, None) } else { (Some(beta1), Some(beta2), Some(epsilon)) };
    o.momentum = sgd.then_some(momentum);
    o.warmup = (!constant).then_some(warmup);
    (o.hold, o.decay) = if tri_stage { (Some(hold), Some(decay)) } else { (None, None) };
    (o.initial_scale, o.final_scale) = if tri_stage { (Some(initial_scale), Some(final_scale)) } else { (None, None) };
    (length, recipe, o)
}

/// The given options and the defaults of all others.
fn with_defaults(given: &Table, docs: &[OptionDoc]) -> Table {
    let default = |doc: &OptionDoc| Some((doc.name.to_owned(), (doc.default)()?));
    joined(docs.iter().filter_map(default).collect(), given.clone())
}

fn joined(mut table: Table, more: Table) -> Table {
    table.extend(more);
    table
}

/// The keys that `docs` list, in that order, each under what it does.
fn write_table(text: &mut String, table: &Table, docs: &[OptionDoc]) {
    for doc in docs {
        if let Some(value) = table.get(doc.name) {
            let _ = writeln!(text, "# {}\n{} = {value}", doc.doc, doc.name);
        }
    }
}
