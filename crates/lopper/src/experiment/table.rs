//! A configuration's table under check: each section for itself, so that one thing that is wrong hides no other.

use super::recipe::{MOST_ROWS, Training};
use super::target::{Target, ends_with_given_mask};
use super::unfinetuned::Unfinetuned;
use crate::config::{
    self, CheckpointOptions, DataOptions, EvaluateOptions, GeneralOptions, ModelOptions, PruneOptions, RunOptions,
    Setting, Split, StoreOptions, TABLES, TrackOptions, TrainOptions,
};
use crate::problems::{check, keep};
use crate::recipes;
use lopper_core::registry::{self, Entry};
use lopper_core::{
    DatasetEntry, Error, ModelEntry, OptionDoc, PruningStrategy, Result, Sparsity, StrategyEntry, Task, nearest,
    parse_leniently,
};
use std::path::Path;
use toml::{Table, Value};

/// What a table gives of the parts that need not be found first, with defaults where it gives nothing, or nothing right.
pub(super) struct Given {
    pub(super) general: GeneralOptions,
    pub(super) model: ModelChoice,
    /// Whether the subnetwork is finetuned.
    pub(super) finetune: bool,
    pub(super) training: Training,
    pub(super) evaluate: EvaluateOptions,
    pub(super) checkpoint: CheckpointOptions,
    pub(super) store: StoreOptions,
    pub(super) run: RunOptions,
    pub(super) track: TrackOptions,
}

/// The model that `[model]` names. Which plugin reads it may show only when it is found.
pub(super) struct ModelChoice {
    pub(super) keys: ModelOptions,
    pub(super) entry: Option<&'static ModelEntry>,
    pub(super) options: Table,
}

/// A plugin that a section must name, its options, and what it makes of them; `None` for what is wrong.
pub(super) struct Choice<E: 'static, M> {
    pub(super) entry: Option<&'static E>,
    pub(super) options: Table,
    pub(super) made: Option<M>,
}

/// A [`Choice`] in which nothing is wrong.
pub(super) struct Settled<E: 'static, M> {
    pub(super) entry: &'static E,
    pub(super) options: Table,
    pub(super) made: M,
}

impl<E, M> Choice<E, M> {
    pub(super) fn settled(self) -> Option<Settled<E, M>> {
        Some(Settled { entry: self.entry?, options: self.options, made: self.made? })
    }
}

/// A configuration under check: what of it is right, and all that is wrong.
pub(super) struct Draft<'a> {
    pub(super) context: &'a str,
    pub(super) problems: Vec<Error>,
    pub(super) given: Given,
    pub(super) data: Choice<DatasetEntry, Task>,
    pub(super) prune: Choice<StrategyEntry, Box<dyn PruningStrategy>>,
    pub(super) sparsity: Option<Target>,
}

/// A configuration file with the recipe it names and `settings` put into it.
pub(super) fn read(path: &Path, settings: &[Setting]) -> Result<Table> {
    let mut table = config::read(path)?;
    recipes::lay_under(&mut table, settings)?;
    config::apply(&mut table, settings)?;
    Ok(table)
}

impl<'a> Draft<'a> {
    /// Reads what can be read; `context` names the configuration in errors.
    pub(super) fn new(table: &Table, context: &'a str) -> Self {
        let mut problems = Vec::new();
        let (general, sections) = split_root(table, context, &mut problems);
        let general = parse_leniently(&general, GeneralOptions::parse, context, &mut problems);
        let section = |name: &str| sections.get(name).and_then(Value::as_table).cloned().unwrap_or_default();
        let model = model(&section("model"), &mut problems);
        let data = data(&section("data"), &mut problems);
        let (prune, sparsity, finetune) = prune(&section("prune"), &mut problems);
        let train = parse_leniently(&section("train"), TrainOptions::parse, "[train]", &mut problems);
        let training = Training::read(train, &mut problems);
        let evaluate = evaluate_options(&section("evaluate"), &mut problems);
        let checkpoint = checkpoint_options(&section("checkpoint"), &mut problems);
        let store = store_options(&section("store"), &mut problems);
        let run = run_options(&section("run"), &mut problems);
        let track = parse_leniently(&section("track"), TrackOptions::parse, "[track]", &mut problems);
        Self {
            context,
            // Each by itself, to be told apart.
            problems: problems.into_iter().flat_map(Error::into_single).collect(),
            given: Given { general, model, finetune, training, evaluate, checkpoint, store, run, track },
            data,
            prune,
            sparsity,
        }
    }
}

fn model(section: &Table, problems: &mut Vec<Error>) -> ModelChoice {
    let mut model = Split::new(section, ModelOptions::DOCS);
    let keys = parse_leniently(&model.own, ModelOptions::parse, "[model]", problems);
    let source = "a checkpoint directory, or hf:ORGANISATION/NAME[@REVISION]";
    require(problems, &model.own, "model", "path", source);
    let entry = keys.name.as_deref().and_then(|name| keep(problems, registry::find::<ModelEntry>(name)));
    let docs = options_of(entry, registry::all());
    problems.extend(model.refuse_unknown("[model]", ModelOptions::DOCS, &docs));
    ModelChoice { keys, entry, options: model.plugin }
}

fn data(section: &Table, problems: &mut Vec<Error>) -> Choice<DatasetEntry, Task> {
    let mut data = Split::new(section, DataOptions::DOCS);
    parse_leniently(&data.own, DataOptions::parse, "[data]", problems);
    let entry = named(problems, &data.own, "[data] name", registry::all::<DatasetEntry>(), registry::find);
    let docs = options_of(entry, registry::all());
    problems.extend(data.refuse_unknown("[data]", DataOptions::DOCS, &docs));
    let made = entry.and_then(|entry| keep(problems, (entry.task)(&data.plugin)));
    Choice { entry, options: data.plugin, made }
}

/// The method, the sparsity to end at, and whether the subnetwork is finetuned.
fn prune(
    section: &Table,
    problems: &mut Vec<Error>,
) -> (Choice<StrategyEntry, Box<dyn PruningStrategy>>, Option<Target>, bool) {
    let mut prune = Split::new(section, PruneOptions::DOCS);
    let keys = parse_leniently(&prune.own, PruneOptions::parse, "[prune]", problems);
    let entry = named(problems, &prune.own, "[prune] method", registry::all::<StrategyEntry>(), registry::find);
    let docs = options_of(entry, registry::all());
    problems.extend(prune.refuse_unknown("[prune]", PruneOptions::DOCS, &docs));
    let made = entry.and_then(|entry| keep(problems, (entry.open)(&prune.plugin)));
    let made = made.map(|made| if keys.finetune { made } else { Box::new(Unfinetuned::new(made)) });
    let share = "a number from 0 (dense) to 1 (everything pruned)";
    if keys.sparsity.is_none()
        && !prune.own.contains_key("sparsity")
        && made.as_deref().is_some_and(ends_with_given_mask)
    {
        return (Choice { entry, options: prune.plugin, made }, Some(Target::OfMask), keys.finetune);
    }
    require(problems, &prune.own, "prune", "sparsity", share);
    let sparsity = |value| Sparsity::new(value).map_err(|_| Error::invalid("[prune] sparsity", value, share));
    let sparsity = keys.sparsity.and_then(|value| keep(problems, sparsity(value)));
    (Choice { entry, options: prune.plugin, made }, sparsity.map(Target::Given), keys.finetune)
}

/// The options of a plugin; of every plugin of its kind, each name once, when it is not known which one is meant.
pub(super) fn options_of<E: Entry>(entry: Option<&'static E>, all: Result<Vec<&'static E>>) -> Vec<OptionDoc> {
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

fn checkpoint_options(section: &Table, problems: &mut Vec<Error>) -> CheckpointOptions {
    let options = parse_leniently(section, CheckpointOptions::parse, "[checkpoint]", problems);
    check(problems, options.keep > 0, "[checkpoint] keep", options.keep, || "a number of checkpoints from 1 up".into());
    options
}

fn store_options(table: &Table, problems: &mut Vec<Error>) -> StoreOptions {
    let options = parse_leniently(table, StoreOptions::parse, "[store]", problems);
    check(problems, options.lease > 0, "[store] lease", options.lease, || "a number of seconds from 1 up".into());
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
