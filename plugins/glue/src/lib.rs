//! The nine tasks of GLUE (Wang et al. 2018) from the benchmark's own TSV files, or as the hub, `datasets` and pandas hand them
//! on: Parquet, Arrow, CSV, JSON.
//!
//! [`TASKS`] is the table of everything that differs between tasks; [`read`](mod@read) turns a file into examples,
//! [`files`] finds the files of a task.

pub mod files;
mod layouts;
pub mod read;
mod tasks;

pub use tasks::{Columns, GlueTask, TASKS, parse_task};

use crate::read::Parsed;
use crate::tasks::excerpt;
use lopper_core::{DataCache, Dataset, DatasetEntry, DatasetRequest, Error, Head, Result, Split, Task, options};
use lopper_tables::delimited::Quoting;
use lopper_text::{Content, EncodedSplit, Example, Kind, Label, TextDataset};
use lopper_weights::FileStamp;
use std::path::PathBuf;

options! {
    /// Options of the `glue` dataset.
    pub struct GlueOptions {
        /// One of cola, sst-2, mrpc, sts-b, qqp, mnli, qnli, rte, wnli. Required.
        task: String = String::new(),
        /// The directory of the task's files (or the one above, with GLUE's or the hub's folder names), or one file: then it is the validation split.
        path: PathBuf = PathBuf::new(),
        /// The training file, or a folder of save_to_disk, relative to `path`; train.tsv, train.jsonl, …, or the shards of train-00000-of-00001.parquet when absent. Without one, the data can only be evaluated on.
        train: Option<String> = None,
        /// The validation file or folder, relative to `path`; dev or validation, or MNLI's dev_matched or validation_matched, when absent.
        validation: Option<String> = None,
        /// MNLI's mismatched validation file, relative to `path`; dev_mismatched.tsv when absent, left out where there is none.
        validation_mismatched: Option<String> = None,
        /// Tokens kept of an input, special tokens counted.
        max_length: u32 = 128,
        /// Training examples used, drawn without replacement; 0 for all. A larger limit contains a smaller one.
        limit_train: u64 = 0,
        /// Validation examples used, drawn in the same way; 0 for all.
        limit_validation: u64 = 0,
        /// Seeds the draw of both limits.
        limit_seed: u64 = 0,
        /// Leaves out rows of TSV and CSV with a wrong number of columns, and of tables without a text, instead of refusing the file; GLUE's own QQP training file has a few.
        skip_malformed: bool = false,
        /// The task's labels in the order of their numbers: what 0, 1, … mean in files that name no classes, and in a head without names. The hub's MNLI, and heads of today's run_glue.py, have ["entailment", "neutral", "contradiction"].
        labels: Option<Vec<String>> = None,
        /// What quotes in TSV files are: "raw", part of the text as in GLUE's own, or "csv", as pandas writes them; told from the file when absent.
        quoting: Option<String> = None,
    }
}

/// The task that `options` describe, as the core knows it.
///
/// # Errors
/// As [`GlueOptions::parse`] and [`parse_task`].
pub fn task(options: &toml::Table) -> Result<Task> {
    let parsed = GlueOptions::parse(options, "[data]");
    match (parsed, parse_task(options)) {
        (Ok(options), Ok(task)) => match (ordered(task, &options), quoting(&options)) {
            (Ok(task), Ok(_)) => Ok(task.task()),
            (Err(e), Ok(_)) | (Ok(_), Err(e)) => Err(e),
            (Err(a), Err(b)) => Err(Error::Many(vec![a, b])),
        },
        (Err(e), Ok(_)) | (Ok(_), Err(e)) => Err(e),
        (Err(a), Err(b)) => Err(Error::Many(vec![a, b])),
    }
}

/// The task with its labels in the order that the options give.
fn ordered(task: &GlueTask, options: &GlueOptions) -> Result<GlueTask> {
    options.labels.as_deref().map_or(Ok(*task), |labels| task.ordered(labels))
}

/// The task with its labels in the order of the head that answers, where that names them; a warning where it does not and copies
/// of the task disagree on the order.
fn answered_by(task: &GlueTask, options: &GlueOptions, head: Option<&Head>) -> Result<GlueTask> {
    match head {
        Some(head @ Head::Classification { labels }) if head.reorders(&task.task().head) => task.ordered(labels),
        Some(head) if head.is_unnamed() && !task.numbered && options.labels.is_none() => {
            if let Kind::Classification { labels, .. } = task.kind {
                let (task, labels) = (task.name, labels.join(", "));
                tracing::warn!(
                    task,
                    labels,
                    "the head has no names for its outputs, which are taken for these labels in this order; heads of today's \
                     run_glue.py have labels = [\"entailment\", \"neutral\", \"contradiction\"]"
                );
            }
            Ok(*task)
        }
        _ => Ok(*task),
    }
}

/// An example whose class is numbered as in `to`, not as in `from`.
fn relabelled(example: Example, from: &GlueTask, to: &GlueTask) -> Example {
    let (Label::Class(class), Kind::Classification { labels: from, .. }, Kind::Classification { labels: to, .. }) =
        (example.label, from.kind, to.kind)
    else {
        return example;
    };
    let name = from.get(class as usize);
    let class = to.iter().position(|label| Some(label) == name).map_or(class, |class| class as u32);
    Example { label: Label::Class(class), ..example }
}

fn quoting(options: &GlueOptions) -> Result<Option<Quoting>> {
    match options.quoting.as_deref() {
        None => Ok(None),
        Some("raw") => Ok(Some(Quoting::Raw)),
        Some("csv") => Ok(Some(Quoting::Csv)),
        Some(other) => {
            Err(Error::invalid("[data] quoting", excerpt(other), "give \"raw\" or \"csv\", or leave it out"))
        }
    }
}

/// Reads a task's files and tokenises them. A split whose file has not changed since the request's cache saw it is taken from
/// there.
///
/// # Errors
/// Bad options, files that are missing or cannot be used (see [`files::find`] and [`read::read`]; the problems of all
/// files together), and those of [`TextDataset::new`].
pub fn open(request: &DatasetRequest<'_>) -> Result<TextDataset> {
    task(request.options)?;
    let options = GlueOptions::parse(request.options, "[data]")?;
    let task = &ordered(GlueTask::find(&options.task)?, &options)?;
    let quoting = quoting(&options)?;
    let answered = &answered_by(task, &options, request.head)?;
    let (mut splits, mut fresh) = (Vec::new(), Vec::new());
    let mut problems = Vec::new();
    let wanted = |split: &Split| request.training || *split != Split::TRAIN;
    for (split, paths) in files::find(task, &options)?.into_iter().filter(|(split, _)| wanted(split)) {
        let known = Known::of(request, (&options, answered), &split, &paths);
        if let Some(encoded) = known.as_ref().and_then(Known::recall) {
            splits.push((split, Content::Encoded(encoded)));
            continue;
        }
        let limit = if split == Split::TRAIN { options.limit_train } else { options.limit_validation };
        let mut whole = Parsed::default();
        for path in &paths {
            match read::read(path, task, options.skip_malformed, quoting) {
                Ok(part) => {
                    whole.examples.extend(part.examples.into_iter().map(|example| relabelled(example, task, answered)));
                    whole.skipped += part.skipped;
                }
                Err(e) => problems.push(e),
            }
        }
        fresh.push((split.clone(), whole.skipped, known));
        splits.push((split, Content::Texts(subset(whole.examples, limit, options.limit_seed))));
    }
    Error::all(problems)?;
    let dataset = TextDataset::of(task.name, answered.kind, splits, options.max_length, request.preprocessor.clone())?;
    let dataset = fresh.iter().fold(dataset, |dataset, (split, rows, _)| dataset.with_left_out(split, *rows));
    for (split, _, known) in &fresh {
        if let (Some(known), Some(encoded)) = (known, dataset.encoded(split)) {
            known.remember(encoded);
        }
    }
    if let Some(training) = dataset.encoded(&Split::TRAIN) {
        warn_of_absent_classes(answered, training.labels());
    }
    Ok(dataset)
}

/// The place in a cache of a split that was tokenised from a file by a model.
struct Known<'a> {
    cache: &'a dyn DataCache,
    path: PathBuf,
    name: String,
    /// Before anything was read.
    stamp: FileStamp,
}

impl<'a> Known<'a> {
    /// `None` where there is no cache, no file or no model to read it.
    fn of(
        request: &DatasetRequest<'a>,
        (options, answered): (&GlueOptions, &GlueTask),
        split: &Split,
        paths: &[PathBuf],
    ) -> Option<Self> {
        let (cache, preprocessor) = (request.cache?, request.preprocessor.as_ref()?);
        // What is kept is of the first file; the others are part of its name, as they stand.
        let (first, others) = paths.split_first()?;
        let path = std::fs::canonicalize(first).ok()?;
        let stamp = FileStamp::of(&path).ok()?;
        let others = others.iter().map(|other| {
            let stamp = FileStamp::of(other).ok().filter(FileStamp::is_settled)?;
            Some((std::fs::canonicalize(other).ok()?, stamp))
        });
        let others = others.collect::<Option<Vec<_>>>()?;
        let GlueOptions { task, max_length, limit_train, limit_validation, limit_seed, skip_malformed, .. } = options;
        let limit = if *split == Split::TRAIN { limit_train } else { limit_validation };
        let meant = (&options.labels, &options.quoting, answered.kind);
        let chosen = format!("{task} {split:?} {max_length} {limit} {limit_seed} {skip_malformed} {meant:?}");
        let name = format!("lopper-glue 2: {chosen} {} {path:?} {others:?}", preprocessor.identity());
        Some(Self { cache, path, name, stamp })
    }

    fn recall(&self) -> Option<EncodedSplit> {
        EncodedSplit::from_bytes(&lopper_weights::recall(self.cache, &self.name, &self.path)?)
    }

    fn remember(&self, split: &EncodedSplit) {
        if let Some(bytes) = split.to_bytes() {
            lopper_weights::remember(self.cache, &self.name, &self.path, self.stamp, &bytes);
        }
    }
}

fn warn_of_absent_classes(task: &GlueTask, given: &[Label]) {
    let Kind::Classification { labels, .. } = task.kind else { return };
    let absent = |class: u32| given.iter().all(|label| *label != Label::Class(class));
    let absent: Vec<_> = (0..).zip(labels).filter(|(class, _)| absent(*class)).map(|(_, label)| *label).collect();
    // One class alone is refused by a run, and of no matter to an evaluation.
    if !absent.is_empty() && absent.len() + 1 < labels.len() {
        let (task, labels) = (task.name, absent.join(", "));
        tracing::warn!(task, labels, "no training example has these labels; the model cannot learn them");
    }
}

/// `limit` of the examples in their own order; all of them for 0. An example is drawn by the hash of its position, so
/// the draws of one seed are nested, and equal on every machine.
fn subset(examples: Vec<Example>, limit: u64, seed: u64) -> Vec<Example> {
    if limit == 0 || limit >= examples.len() as u64 {
        return examples;
    }
    let rank = |index: usize| {
        let mut hash = blake3::Hasher::new();
        hash.update(&seed.to_le_bytes()).update(&(index as u64).to_le_bytes());
        (*hash.finalize().as_bytes(), index)
    };
    let mut ranks: Vec<_> = (0..examples.len()).map(rank).collect();
    ranks.sort_unstable();
    let mut drawn = vec![false; examples.len()];
    ranks.iter().take(limit as usize).for_each(|(_, index)| drawn[*index] = true);
    examples.into_iter().zip(drawn).filter_map(|(example, drawn)| drawn.then_some(example)).collect()
}

inventory::submit! {
    DatasetEntry::new(
        "glue",
        "the nine GLUE tasks, from GLUE's own TSV files, or Parquet, Arrow, CSV and JSON of the hub",
        GlueOptions::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        task,
        |request| open(request).map(|dataset| Box::new(dataset) as Box<dyn Dataset>),
    )
}
