//! Opens what a configuration names, each part for itself, so that one thing that is wrong hides no other.

use crate::kept_data::{KeptData, Source};
use crate::models;
use crate::problems::keep;
use lopper_core::{
    DataCache, Dataset, DatasetEntry, DatasetRequest, Error, Head, InitialMask, Model, ModelEntry, OptionDoc,
    PruningStrategy, Result, RunSpec, Split, Targets, Task,
};
use lopper_session::{OpenDataset, check_disk_for_model, check_text};
use lopper_weights::GivenMask;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tch::Device;
use toml::Table;

/// Paths that a configuration names, each with its key.
type Keys = Vec<(String, PathBuf)>;

/// Training examples looked at in one go.
const ROWS: usize = 64;

/// A plugin and the options it is given.
pub(crate) struct Part<'a, E: 'static> {
    pub(crate) entry: &'static E,
    pub(crate) options: &'a Table,
}

/// What there is to open; `None` for what is not settled because its configuration is wrong.
pub(crate) struct Inspection<'a> {
    pub(crate) device: Device,
    pub(crate) seed: u64,
    /// The run's directory.
    pub(crate) out: &'a Path,
    /// The checkpoint's directory and its plugin.
    pub(crate) model: Option<(PathBuf, Part<'a, ModelEntry>)>,
    pub(crate) task: Option<&'a Task>,
    pub(crate) dataset: Option<Part<'a, DatasetEntry>>,
    /// The method, and what it plans for as far as that is known.
    pub(crate) method: Option<(&'a dyn PruningStrategy, RunSpec)>,
    pub(crate) method_options: &'a Table,
    /// What is known of the data's files.
    pub(crate) cache: Option<&'a dyn DataCache>,
    /// Whether the data are read to the end, for use. If not, their files are read and not tokenised.
    pub(crate) tokenise: bool,
}

impl Inspection<'_> {
    /// Opens everything, the data only where they are not those of `kept`, adds what is wrong to `problems`, and returns model and
    /// data when both could be opened.
    pub(crate) fn run(self, kept: &mut KeptData, problems: &mut Vec<Error>) -> Option<(Box<dyn Model>, OpenDataset)> {
        let model = self.model.as_ref().and_then(|(path, Part { entry, options })| {
            tracing::info!(path = %path.display(), plugin = entry.name, device = ?self.device, "opening the model");
            let opened = models::open(entry, path.clone(), options, self.task, self.device, self.seed);
            let opened = opened.map_err(|error| match error {
                Error::Unsupported { .. } => Error::file(path, error),
                error => error,
            });
            keep(problems, named(opened, &model_key(path)))
        });
        if let Some(model) = &model {
            keep(problems, tell_zeros(model.as_ref()));
            keep(problems, check_disk_for_model(model.as_ref(), self.out));
        }
        let dataset = self.dataset.as_ref().and_then(|part| self.open_data(part, model.as_deref(), kept, problems));
        if let Some((method, spec)) = &self.method {
            self.check_masks(*method, spec, model.as_deref(), problems);
        }
        Some((model?, dataset?))
    }

    fn open_data(
        &self,
        part: &Part<'_, DatasetEntry>,
        model: Option<&dyn Model>,
        kept: &mut KeptData,
        problems: &mut Vec<Error>,
    ) -> Option<OpenDataset> {
        let Part { entry, options } = part;
        let model = model.filter(|_| self.tokenise);
        let source = Source::new(entry.name, options, model);
        if let Some(dataset) = kept.take(&source) {
            return Some(dataset);
        }
        tracing::info!(plugin = entry.name, "opening the data");
        let request = DatasetRequest::new(options, model.and_then(Model::preprocessor))
            .answered_by(model.and_then(Model::head))
            .cached(self.cache);
        let checked = lopper_torch::guarded(&format!("dataset plugin `{}`", entry.name), || {
            let dataset = OpenDataset::new((entry.open)(&request)?);
            check_training(&*dataset, entry)?;
            check_order(model, &*dataset)?;
            Ok(dataset)
        });
        let checked = named(checked, &path_keys("[data]", options, entry.options));
        // Without a model nothing reads the inputs; that is no fault of the data.
        let counts = |e: &Error| model.is_some() || !matches!(e, Error::Unsupported { .. });
        let dataset = checked.map_err(|e| problems.extend(e.into_single().into_iter().filter(counts))).ok()?;
        kept.keep(source, &dataset);
        Some(dataset)
    }

    /// Reads the mask files that the plan names. What the plan itself says against the options is only a hint before the
    /// number of updates is known, and so is added to other problems and makes none alone.
    fn check_masks(
        &self,
        method: &dyn PruningStrategy,
        spec: &RunSpec,
        model: Option<&dyn Model>,
        problems: &mut Vec<Error>,
    ) {
        let keys = path_keys("[prune]", self.method_options, &[]);
        let stages = match lopper_torch::guarded("the strategy", || method.plan(spec)) {
            Ok(stages) => stages,
            Err(e) if problems.is_empty() => return tracing::debug!("planned too early: {e}"),
            Err(e) => return problems.push(e),
        };
        let paths: BTreeSet<PathBuf> = stages
            .into_iter()
            .filter_map(|stage| match stage.mask {
                InitialMask::Load(path) => Some(path),
                _ => None,
            })
            .collect();
        for path in paths {
            problems.extend(named(check_mask(&path, model), &keys).err());
        }
    }
}

/// Warns of a model that was pruned before. A few weights are zero in any.
fn tell_zeros(model: &dyn Model) -> Result<()> {
    let (zeros, entries) = (model.zeros()?, model.layout()?.entries());
    if zeros.saturating_mul(1000) >= entries.max(1) {
        tracing::warn!(
            zeros,
            entries,
            "the checkpoint was pruned before: what is trained without a mask of these zeros, as `dense` is, fills them again \
             (`transfer` keeps them with the mask.safetensors beside it)"
        );
    }
    Ok(())
}

/// The key of a model's path.
pub(crate) fn model_key(path: &Path) -> Keys {
    vec![("[model] path".to_owned(), path.to_owned())]
}

/// The paths among a plugin's options, those first that are paths by their type: an initial mask may be a word as well.
pub(crate) fn path_keys(context: &str, options: &Table, docs: &[OptionDoc]) -> Keys {
    let is_path = |name: &str| docs.iter().any(|doc| doc.name == name && doc.kind.contains("PathBuf"));
    let texts = options.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)));
    let (first, then): (Vec<_>, Vec<_>) = texts.partition(|(name, _)| is_path(name));
    first.into_iter().chain(then).map(|(name, path)| (format!("{context} {name}"), PathBuf::from(path))).collect()
}

/// The result; an error about a path that the configuration names says under which key.
pub(crate) fn named<T>(result: Result<T>, keys: &Keys) -> Result<T> {
    result.map_err(|error| match error {
        Error::Many(errors) => {
            let each = errors.into_iter().flat_map(Error::into_single);
            Error::Many(each.map(|error| named_one(error, keys)).collect())
        }
        error => named_one(error, keys),
    })
}

/// One error, with the key of the path that it is about.
pub(crate) fn named_one(error: Error, keys: &Keys) -> Error {
    let key = |path: &Path| keys.iter().find(|(_, configured)| configured == path).map(|(key, _)| key);
    match &error {
        Error::File { path, .. } | Error::Line { path, .. } if let Some(key) = key(path) => {
            Error::Configured { key: key.clone(), error: Box::new(error) }
        }
        // Whoever refuses it does not know where it was written.
        Error::InvalidValue { key: unknown, value, expected } if !unknown.starts_with('[') => {
            match key(Path::new(value)) {
                Some(key) => Error::invalid(key, value, expected),
                None => error,
            }
        }
        _ => error,
    }
}

/// Reads a mask file and holds it against the model.
fn check_mask(path: &Path, model: Option<&dyn Model>) -> Result<()> {
    let given = GivenMask::read(path)?;
    model.map_or(Ok(()), |model| given.for_model(model).map(drop))
}

/// That a head of the data's labels has them in the data's order, which the data is free to take from the head.
fn check_order(model: Option<&dyn Model>, dataset: &dyn Dataset) -> Result<()> {
    let (Some(head), wanted) = (model.and_then(Model::head), &dataset.task().head) else { return Ok(()) };
    let (Head::Classification { labels: found }, Head::Classification { labels: wanted }) = (head, wanted) else {
        return Ok(());
    };
    if !head.reorders(&dataset.task().head) {
        return Ok(());
    }
    let expected = format!("the order of {}, {}; or head = \"fresh\"", dataset.task().name, wanted.join(", "));
    Err(Error::invalid("[model] head", format!("\"checkpoint\", whose labels are {},", found.join(", ")), expected))
}

/// Refuses data that nothing can be learned from: no training examples, or examples of one class alone.
fn check_training(dataset: &dyn Dataset, entry: &DatasetEntry) -> Result<()> {
    let (task, len) = (dataset.task(), dataset.len(&Split::TRAIN));
    if len == 0 {
        let doc = entry.options.iter().find(|doc| doc.name == "train").map(|doc| format!("; `train`: {}", doc.doc));
        return Err(Error::Other(format!("[data]: {} has no training examples{}", task.name, doc.unwrap_or_default())));
    }
    let Head::Classification { labels } = &task.head else { return Ok(()) };
    let mut only = None;
    for start in (0..len).step_by(ROWS) {
        let indices: Vec<usize> = (start..len.min(start + ROWS)).collect();
        let Some(Targets::Classes(classes)) = dataset.batch(&Split::TRAIN, &indices)?.targets else { return Ok(()) };
        for class in Vec::<i64>::try_from(&classes)? {
            if *only.get_or_insert(class) != class {
                return Ok(());
            }
        }
    }
    let label = only.and_then(|class| labels.get(usize::try_from(class).ok()?)).map_or("", String::as_str);
    Err(Error::Other(format!(
        "[data]: every training example of {} ({len} in all) has the label `{label}`; a classifier learns nothing from \
         one class: give more training examples, or others, with at least two of {}",
        task.name,
        labels.join(", ")
    )))
}

/// Refuses a path that cannot be a directory, because it or something above it is a file, that cannot be written, or that
/// records cannot hold.
pub(crate) fn check_directory(key: &str, path: &Path) -> Result<()> {
    match path.ancestors().find(|above| above.exists()) {
        Some(file) if !file.is_dir() => {
            let what = if file == path { "it is a file".into() } else { format!("{} is a file", file.display()) };
            Err(Error::invalid(key, path.display(), format!("give the path of a directory; {what}")))
        }
        _ => {
            let refuse = |expected: &str, e| Error::invalid(key, path.display(), format!("{expected}; {e}"));
            lopper_weights::check_writable(path).map_err(|e| refuse("give a directory that can be written", e))?;
            check_text(path).map_err(|e| refuse("give a directory whose whole path is UTF-8", e))
        }
    }
}

/// Options that are paths, by their type, and lead nowhere: for a plugin that cannot be asked itself.
/// What is `known` to be wrong already is left out.
pub(crate) fn missing_paths(context: &str, options: &Table, docs: &[OptionDoc], known: &[Error]) -> Vec<Error> {
    let is_path = |doc: &&OptionDoc| doc.kind.contains("PathBuf");
    let told = |sought: &str| known.iter().any(|e| matches!(e, Error::File { path, .. } if path == Path::new(sought)));
    let missing = |doc: &OptionDoc| {
        let path = options.get(doc.name)?.as_str().filter(|path| !path.is_empty() && !Path::new(path).exists())?;
        (!told(path)).then_some(())?;
        Some(Error::invalid(format!("{context} {}", doc.name), path, format!("does not exist ({})", doc.doc)))
    };
    docs.iter().filter(is_path).filter_map(missing).collect()
}
