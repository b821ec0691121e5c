//! The nine tasks of GLUE (Wang et al. 2018) from the benchmark's own TSV files, or from JSON lines.
//!
//! [`TASKS`] is the table of everything that differs between tasks; [`read`](mod@read) turns a file into examples,
//! [`files`] finds the files of a task.

pub mod files;
pub mod read;
mod tasks;

pub use tasks::{Columns, GlueTask, TASKS, parse_task};

use crate::read::Parsed;
use lopper_core::{DataCache, Dataset, DatasetEntry, DatasetRequest, Error, Result, Split, Task, options};
use lopper_text::{Content, EncodedSplit, Example, Kind, Label, TextDataset};
use lopper_weights::FileStamp;
use std::path::{Path, PathBuf};

options! {
    /// Options of the `glue` dataset.
    pub struct GlueOptions {
        /// One of cola, sst-2, mrpc, sts-b, qqp, mnli, qnli, rte, wnli. Required.
        task: String = String::new(),
        /// The directory of the task's files (or the one above, with GLUE's folder names), or one file: then it is the validation split.
        path: PathBuf = PathBuf::new(),
        /// The training file, relative to `path`; train.tsv or train.jsonl when absent. Without one, the data can only be evaluated on.
        train: Option<String> = None,
        /// The validation file, relative to `path`; dev.tsv, or MNLI's dev_matched.tsv, when absent.
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
        /// Leaves out TSV rows with a wrong number of columns instead of refusing the file; GLUE's own QQP training file has a few.
        skip_malformed: bool = false,
    }
}

/// The task that `options` describe, as the core knows it.
///
/// # Errors
/// As [`GlueOptions::parse`] and [`parse_task`].
pub fn task(options: &toml::Table) -> Result<Task> {
    let parsed = GlueOptions::parse(options, "[data]");
    match (parsed, parse_task(options)) {
        (Ok(_), Ok(task)) => Ok(task.task()),
        (Err(e), Ok(_)) | (Ok(_), Err(e)) => Err(e),
        (Err(a), Err(b)) => Err(Error::Many(vec![a, b])),
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
    let task = GlueTask::find(&options.task)?;
    let (mut splits, mut fresh) = (Vec::new(), Vec::new());
    let mut problems = Vec::new();
    let wanted = |split: &Split| request.training || *split != Split::TRAIN;
    for (split, path) in files::find(task, &options)?.into_iter().filter(|(split, _)| wanted(split)) {
        let known = Known::of(request, &options, &split, &path);
        if let Some(encoded) = known.as_ref().and_then(Known::recall) {
            splits.push((split, Content::Encoded(encoded)));
            continue;
        }
        let limit = if split == Split::TRAIN { options.limit_train } else { options.limit_validation };
        match read::read(&path, task, options.skip_malformed) {
            Ok(Parsed { examples, skipped }) => {
                fresh.push((split.clone(), skipped, known));
                splits.push((split, Content::Texts(subset(examples, limit, options.limit_seed))));
            }
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems)?;
    let dataset = TextDataset::of(task.name, task.kind, splits, options.max_length, request.preprocessor.clone())?;
    let dataset = fresh.iter().fold(dataset, |dataset, (split, rows, _)| dataset.with_left_out(split, *rows));
    for (split, _, known) in &fresh {
        if let (Some(known), Some(encoded)) = (known, dataset.encoded(split)) {
            known.remember(encoded);
        }
    }
    if let Some(training) = dataset.encoded(&Split::TRAIN) {
        warn_of_absent_classes(task, training.labels());
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
    fn of(request: &DatasetRequest<'a>, options: &GlueOptions, split: &Split, path: &Path) -> Option<Self> {
        let (cache, preprocessor) = (request.cache?, request.preprocessor.as_ref()?);
        let path = std::fs::canonicalize(path).ok()?;
        let stamp = FileStamp::of(&path).ok()?;
        let GlueOptions { task, max_length, limit_train, limit_validation, limit_seed, skip_malformed, .. } = options;
        let limit = if *split == Split::TRAIN { limit_train } else { limit_validation };
        let chosen = format!("{task} {split:?} {max_length} {limit} {limit_seed} {skip_malformed}");
        let name = format!("lopper-glue 1: {chosen} {} {path:?}", preprocessor.identity());
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
        "the nine GLUE tasks, from GLUE's own TSV files or JSON lines",
        GlueOptions::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        task,
        |request| open(request).map(|dataset| Box::new(dataset) as Box<dyn Dataset>),
    )
}
