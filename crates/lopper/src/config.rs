//! A configuration as it is written: which keys there are, their types and defaults, and `--set`.

use crate::interval::Interval;
use lopper_core::registry::{self, Entry};
use lopper_core::{DatasetEntry, Error, ModelEntry, OptionDoc, Result, StrategyEntry, nearest, options};
use lopper_session::{Keep, Precision};
use lopper_weights::SaveDtype;
use lopper_weights::open_regular;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::path::Path;
use std::str::FromStr;
use toml::{Table, Value};

/// Names of optimizers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Weight decay is added to the gradient.
    Adam,
    /// Weight decay is decoupled.
    AdamW,
    /// Heavy-ball momentum.
    Sgd,
}

/// Names of learning-rate schedules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScheduleName {
    /// The peak throughout.
    Constant,
    /// Warm-up, then a line to 0.
    Linear,
    /// Warm-up, hold, exponential decay.
    TriStage,
}

options! {
    /// Keys outside of any table.
    pub struct GeneralOptions {
        /// A published training whose keys hold where the configuration gives none; `lopper recipes` lists them.
        recipe: Option<String> = None,
        /// Seeds data order, dropout, a fresh head and random masks.
        seed: u64 = 57,
        /// Where to compute: `auto` (a GPU if there is a usable one), `cpu`, or `cuda:N`.
        device: String = "auto".to_owned(),
        /// Arithmetic of forward and backward: `float32` or `bf16`.
        precision: Precision = Precision::Float32,
    }
}

options! {
    /// Keys of `[model]` that belong to no plugin.
    pub struct ModelOptions {
        /// The model plugin; recognised by what is in the directory when absent.
        name: Option<String> = None,
        /// A checkpoint directory, or `hf:ORGANISATION/NAME[@REVISION]`. Required.
        path: String = String::new(),
    }
}

options! {
    /// Keys of `[data]` that belong to no plugin.
    pub struct DataOptions {
        /// The dataset plugin. Required.
        name: String = String::new(),
    }
}

options! {
    /// Keys of `[prune]` that belong to no plugin.
    pub struct PruneOptions {
        /// The pruning method, a strategy plugin. Required.
        method: String = String::new(),
        /// Share of prunable entries that are pruned in the end, 0 (dense) to 1. Required, but where a mask is given that the run ends with.
        sparsity: Option<f64> = None,
        /// Whether the subnetwork is finetuned. If not, the run ends when its last mask is known, which must be before the method's last finetuning.
        finetune: bool = true,
    }
}

options! {
    /// Keys of `[train]`: how one full finetuning trains. The defaults are BERT-Tickets' for GLUE (Chen et al. 2020).
    pub struct TrainOptions {
        /// Passes over the training split, fractions too; 3 unless `updates` is given.
        epochs: Option<f64> = None,
        /// Optimizer steps, in the place of `epochs`.
        updates: Option<u64> = None,
        /// Examples a micro-batch; 32 unless `budget` is given.
        batch_size: Option<u64> = None,
        /// Tokens or samples of audio a micro-batch, padding counted, in the place of `batch_size`; examples of like length stand together.
        budget: Option<u64> = None,
        /// Micro-batches an update; the last update of a pass over the training split takes what is left of the pass.
        accumulate: u64 = 1,
        /// Whether batches hold examples of like length; always so under a budget.
        bucket_by_length: bool = false,
        /// `adamw`, `adam` or `sgd`.
        optimizer: OptimizerName = OptimizerName::AdamW,
        /// Peak learning rate.
        learning_rate: f64 = 2e-5,
        /// Decay of the first moment, for Adam and AdamW; 0.9 when absent.
        beta1: Option<f64> = None,
        /// Decay of the second moment, for Adam and AdamW; 0.999 when absent.
        beta2: Option<f64> = None,
        /// Added to the root of the second moment, for Adam and AdamW; 1e-8 when absent.
        epsilon: Option<f64> = None,
        /// Momentum, for SGD; 0 when absent.
        momentum: Option<f64> = None,
        /// Weight decay: decoupled for AdamW, added to the gradient for the others.
        weight_decay: f64 = 0.0,
        /// Whether weight decay applies to biases and to the weights of norms too; in transformers' trainer it does not.
        decay_biases_and_norms: bool = true,
        /// How the rate moves over a finetuning: `linear`, `constant` or `tri-stage`.
        schedule: ScheduleName = ScheduleName::Linear,
        /// Share of warm-up; 0 when absent for linear, 0.1 for tri-stage.
        warmup: Option<f64> = None,
        /// Share at the peak, for tri-stage; 0.4 when absent.
        hold: Option<f64> = None,
        /// Share of decay, for tri-stage; 0.5 when absent.
        decay: Option<f64> = None,
        /// Rate at the start as a share of the peak, for tri-stage; 0.01 when absent.
        initial_scale: Option<f64> = None,
        /// Rate at the end as a share of the peak, for tri-stage; 0.05 when absent.
        final_scale: Option<f64> = None,
        /// Largest global norm of the gradients; 0 clips nothing.
        clip_norm: f64 = 1.0,
        /// Updates at the start of every finetuning in which the head alone is trained.
        freeze_encoder_updates: u64 = 0,
        /// Updates in a row that may be skipped for a loss or gradient that is not finite before the run stops.
        max_skipped: u64 = 10,
    }
}

options! {
    /// Keys of `[evaluate]`.
    pub struct EvaluateOptions {
        /// Updates between validations while training; 0 for one at the end of each stage.
        every: u64 = 0,
        /// Most examples a batch.
        batch_size: u64 = 64,
        /// Most tokens or samples of audio a batch, padding counted; any number when absent.
        budget: Option<u64> = None,
    }
}

options! {
    /// Keys of `[store]`.
    pub struct StoreOptions {
        /// Which weights stay: `needed` lets go of those of a pruned stage once the next one has read them, such as a round of IMP; `all` keeps them.
        keep: Keep = Keep::Needed,
        /// Seconds after which the work of a process from which nothing is heard is taken over.
        lease: u64 = 60,
    }
}

options! {
    /// Keys of `[run]`. Paths are relative to the working directory, here and everywhere in a configuration.
    pub struct RunOptions {
        /// The directory of finished stages, shared by runs.
        store: String = "runs/store".to_owned(),
        /// The run's own directory: record, metrics, checkpoints, pruned model; `runs/` and the configuration's name when absent.
        out: Option<String> = None,
        /// Whether the pruned model is written. Without it a run leaves its mask and metrics alone: for experiments of many runs.
        save_model: bool = true,
        /// The type of the saved model's weights: "float32", in which they were trained; "float16" or "bfloat16", which round them; or "as loaded", that of the checkpoint. Metrics are those of float32.
        save_dtype: SaveDtype = SaveDtype::Float32,
    }
}

options! {
    /// Keys of `[checkpoint]`.
    pub struct CheckpointOptions {
        /// Between checkpoints of a stage under way: a time such as "10min", "30s" or "2h", or a number of updates; 0 for none but on an interrupt.
        every: Interval = Interval::minutes(10),
        /// Checkpoints that are kept, the newest; one more while one is written. With 2 a run goes on where a disk has damaged the newest.
        keep: u64 = 1,
    }
}

options! {
    /// Keys of `[track]`: programs that show how a run is going.
    pub struct TrackOptions {
        /// Whether the run's directory also gets event files for `tensorboard --logdir`, of what `metrics.jsonl` tells.
        tensorboard: bool = false,
    }
}

/// Name and own keys of each table.
pub(crate) const TABLES: [(&str, &[OptionDoc]); 9] = [
    ("model", ModelOptions::DOCS),
    ("data", DataOptions::DOCS),
    ("prune", PruneOptions::DOCS),
    ("train", TrainOptions::DOCS),
    ("evaluate", EvaluateOptions::DOCS),
    ("checkpoint", CheckpointOptions::DOCS),
    ("store", StoreOptions::DOCS),
    ("run", RunOptions::DOCS),
    ("track", TrackOptions::DOCS),
];

/// Pairs of keys of `[train]` of which one is given: setting one on the command line takes the place of the other.
pub(crate) const ALTERNATIVES: [[&str; 2]; 2] = [["epochs", "updates"], ["batch_size", "budget"]];

/// Longest configuration that is read, in bytes: parsed, TOML may take a hundred times its size.
const LONGEST: u64 = 1 << 18;

/// Most parts of a dotted key. Every part is a table within a table, and dropping them takes stack for each.
const MOST_PARTS: usize = 64;

/// Keys that name the plugin whose options stand beside them.
const PLUGIN_KEYS: [&str; 3] = ["model.name", "data.name", "prune.method"];

/// One `--set key=value`, with `key` a dotted path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    key: String,
    value: String,
}

impl Setting {
    /// The dotted path.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// What it is set to, as written.
    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, _)) if key.split('.').count() > MOST_PARTS => Err(too_deep()),
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.trim().to_owned() })
            }
            _ => Err("write key=value, such as prune.sparsity=0.7".into()),
        }
    }
}

/// Reads a configuration file.
///
/// # Errors
/// [`Error::File`] when it cannot be read, is no regular file or is not TOML.
pub(crate) fn read(path: &Path) -> Result<Table> {
    let mut bytes = Vec::new();
    let read = open_regular(path).and_then(|(file, _)| file.take(LONGEST + 1).read_to_end(&mut bytes));
    let length = read.map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::file(path, "does not exist; the path of a TOML configuration was expected")
        }
        std::io::ErrorKind::IsADirectory => Error::file(path, "is a directory; a TOML configuration was expected"),
        _ => Error::file_caused(path, "cannot be read", e),
    })?;
    if length as u64 > LONGEST {
        return Err(Error::file(path, format!("is longer than {LONGEST} bytes; no configuration is")));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Error::file(path, format!("is not TOML: byte {at} is not UTF-8"))
    })?;
    if !text.lines().all(is_shallow) {
        return Err(Error::file(path, too_deep()));
    }
    text.trim_start_matches('\u{feff}').parse().map_err(|e| Error::file(path, format!("is not TOML: {}", one_line(&e))))
}

/// Whether no key of a line has too many parts. Texts with as many dots are taken for keys, comments are not.
fn is_shallow(line: &str) -> bool {
    let dots = |part: &str| part.bytes().filter(|b| *b == b'.').count();
    line.trim_start().starts_with('#') || line.split(['=', ',', '{', '}', '[', ']']).all(|part| dots(part) < MOST_PARTS)
}

fn too_deep() -> String {
    format!("a key has more than {MOST_PARTS} parts; no key of Lopper's has more than two")
}

/// Where and what, without the snippet.
fn one_line(error: &toml::de::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().filter(|line| !line.contains('|')).map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.trim_start_matches("TOML parse error at ")).collect::<Vec<_>>().join(": ")
}

/// Puts settings of the command line into a configuration; a later one wins over an earlier one.
///
/// # Errors
/// [`Error::InvalidValue`] when a key leads through something that is no table.
pub(crate) fn apply(table: &mut Table, settings: &[Setting]) -> Result<()> {
    // Plugins first: what type an option has depends on them.
    let (plugins, others): (Vec<_>, Vec<_>) = settings.iter().partition(|s| PLUGIN_KEYS.contains(&s.key.as_str()));
    let mut problems = Vec::new();
    for setting in plugins.into_iter().chain(others) {
        let value = typed(table, setting);
        if let Err(e) = insert(table, setting, value, settings) {
            problems.push(e);
        }
    }
    Error::all(problems)
}

/// `settings` are all of the command line: of two alternatives that both stand there neither gives way.
fn insert(table: &mut Table, setting: &Setting, value: Value, settings: &[Setting]) -> Result<()> {
    let is_set = |key: &str| settings.iter().any(|setting| setting.key == key);
    put(table, &setting.key, value, is_set).map_err(|part| {
        Error::invalid(format!("--set {}", setting.key), &setting.value, format!("`{part}` is no table"))
    })
}

/// Puts a value under a dotted key. What it is an alternative to gives way, unless that `is_set` in the same go.
///
/// # Errors
/// The part of the key that leads through something that is no table.
pub(crate) fn put<'a>(
    table: &mut Table,
    key: &'a str,
    value: Value,
    is_set: impl Fn(&str) -> bool,
) -> Result<(), &'a str> {
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or_default();
    let mut at = table;
    for part in &parts {
        at = at.entry(*part).or_insert_with(|| Value::Table(Table::new())).as_table_mut().ok_or(*part)?;
    }
    if parts == ["train"] {
        for alternative in ALTERNATIVES.iter().filter(|pair| pair.contains(&last)).flatten() {
            if *alternative != last && !is_set(&format!("train.{alternative}")) {
                at.remove(*alternative);
            }
        }
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// The value in the type that the configuration gives its key. What is of no such type stays text, and is refused with
/// the key's own message.
fn typed(table: &Table, setting: &Setting) -> Value {
    value(setting, find(table, &setting.key).as_ref())
}

fn value(setting: &Setting, doc: Option<&OptionDoc>) -> Value {
    let parsed = Value::from_str(&setting.value).ok();
    let text = || Value::String(setting.value.clone());
    if doc.is_some_and(is_text) {
        parsed.filter(Value::is_str).unwrap_or_else(text)
    } else {
        parsed.unwrap_or_else(text)
    }
}

/// Puts one option into the table of its plugin, in the type that `docs` give it.
pub(crate) fn insert_option(table: &mut Table, setting: &Setting, docs: &[OptionDoc]) {
    let doc = docs.iter().find(|doc| doc.name == setting.key);
    table.insert(setting.key.clone(), value(setting, doc));
}

fn find(table: &Table, key: &str) -> Option<OptionDoc> {
    let Some((section, name)) = key.split_once('.') else {
        return GeneralOptions::DOCS.iter().find(|doc| doc.name == key).copied();
    };
    let own = TABLES.iter().find(|(table, _)| *table == section)?.1;
    let plugin = plugin_options(table, section).unwrap_or_default();
    own.iter().chain(plugin).find(|doc| doc.name == name).copied()
}

fn is_text(doc: &OptionDoc) -> bool {
    let kind: String = doc.kind.chars().filter(|c| !c.is_whitespace()).collect();
    matches!(kind.as_str(), "String" | "PathBuf" | "Option<String>" | "Option<PathBuf>")
        || (doc.default)().is_some_and(|value| value.is_str())
}

fn plugin_options(table: &Table, section: &str) -> Option<&'static [OptionDoc]> {
    let name = |key: &str| table.get(section)?.get(key)?.as_str();
    match section {
        "model" => registry::find::<ModelEntry>(name("name")?).ok().map(Entry::options),
        "data" => registry::find::<DatasetEntry>(name("name")?).ok().map(Entry::options),
        "prune" => registry::find::<StrategyEntry>(name("method")?).ok().map(Entry::options),
        _ => None,
    }
}

/// A table split into keys of Lopper and keys of a plugin.
#[derive(Debug, Default)]
pub(crate) struct Split {
    pub(crate) own: Table,
    pub(crate) plugin: Table,
}

impl Split {
    /// Splits by the names in `own`.
    pub(crate) fn new(table: &Table, own: &[OptionDoc]) -> Self {
        let mut split = Self::default();
        for (key, value) in table {
            let part = if own.iter().any(|doc| doc.name == key) { &mut split.own } else { &mut split.plugin };
            part.insert(key.clone(), value.clone());
        }
        split
    }

    /// Takes out, and refuses, keys that neither Lopper nor the plugin knows; the nearest is sought among both.
    pub(crate) fn refuse_unknown(&mut self, context: &str, own: &[OptionDoc], plugin: &[OptionDoc]) -> Vec<Error> {
        let known: Vec<&str> = own.iter().chain(plugin).map(|doc| doc.name).collect();
        let unknown: Vec<String> = self.plugin.keys().filter(|key| !known.contains(&key.as_str())).cloned().collect();
        unknown
            .into_iter()
            .map(|key| {
                self.plugin.remove(&key);
                Error::UnknownKey {
                    context: context.to_owned(),
                    nearest: nearest(&key, known.iter().copied()),
                    known: known.iter().map(|k| (*k).to_owned()).collect(),
                    key,
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(config: &str, settings: &[&str]) -> Table {
        let mut table = config.parse().unwrap();
        let settings: Vec<Setting> = settings.iter().map(|s| s.parse().unwrap()).collect();
        apply(&mut table, &settings).unwrap();
        table
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_read() {
        let message = |path: &str| read(Path::new(path)).unwrap_err().to_string();
        assert_eq!(message("/dev/zero"), "/dev/zero: cannot be read: is no regular file");
        assert_eq!(message("/dev"), "/dev: is a directory; a TOML configuration was expected");
    }

    #[test]
    fn settings_have_the_type_of_their_key() {
        let table = set(
            "[prune]\nmethod = 'omp'\n",
            &[
                "seed=3",
                "device=cuda:0",
                "model.path=123",
                "data.name=glue",
                "data.path=2024-01-01",
                "data.limit_train=7",
                "prune.initial=runs/a=b.safetensors",
                "prune.mask_seed=4",
                "prune.sparsity=1",
                "prune.method=parp",
                "train.bucket_by_length=true",
                "train.learning_rate=1e-4",
                "run.out=\"quoted\"",
                "train.clip_norm=abc",
            ],
        );
        let expected = "seed = 3\ndevice = 'cuda:0'\n[model]\npath = '123'\n[data]\nname = 'glue'\npath = '2024-01-01'\n\
            limit_train = 7\n[prune]\nmethod = 'parp'\ninitial = 'runs/a=b.safetensors'\nmask_seed = 4\nsparsity = 1\n\
            [train]\nbucket_by_length = true\nlearning_rate = 1e-4\nclip_norm = 'abc'\n[run]\nout = 'quoted'\n";
        assert_eq!(table, expected.parse().unwrap());
    }

    #[test]
    fn one_of_two_alternatives_takes_the_place_of_the_other() {
        let table = set("[train]\nepochs = 3\nbatch_size = 32\n", &["train.updates=5", "train.budget=4096"]);
        assert_eq!(table, "[train]\nupdates = 5\nbudget = 4096\n".parse().unwrap());
        let table = set("[train]\nupdates = 5\n[evaluate]\nbatch_size = 3\n", &["train.epochs=0.5"]);
        assert_eq!(table, "[train]\nepochs = 0.5\n[evaluate]\nbatch_size = 3\n".parse().unwrap());
    }

    #[test]
    fn settings_that_lead_nowhere_are_refused() {
        assert!("seed".parse::<Setting>().is_err() && "=3".parse::<Setting>().is_err());
        let mut table = "seed = 3".parse().unwrap();
        let error = apply(&mut table, &["seed.x=1".parse().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("seed.x") && error.contains("no table"), "{error}");
    }
}
