//! Which files make which split.

use crate::corpora::expand;
use crate::names::{self, LANGUAGE};
use crate::options::{Paths, SpeechOptions};
use lopper_core::{Error, Result, Split, nearest};
use lopper_tables::layouts::{Directory, EXTENSIONS, Misplaced, is_saved, only_folder, snapshot};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is looked for without being named.
const TRAIN: [&str; 5] = ["train.tsv", "train.jsonl", "train.json", "train.csv", "train"];
const VALIDATION: [&str; 16] = [
    "valid.tsv",
    "validation.tsv",
    "dev.tsv",
    "valid.jsonl",
    "validation.jsonl",
    "dev.jsonl",
    "valid.json",
    "validation.json",
    "dev.json",
    "valid.csv",
    "validation.csv",
    "dev.csv",
    "valid",
    "validation",
    "dev",
    "dev-other",
];

/// Folders within folders that are passed through.
const DEEPEST: usize = 4;

/// One file or directory of a split.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) path: PathBuf,
    /// The one language that is taken from it, as its place among the options' languages.
    pub(crate) language: Option<usize>,
    /// Whether the file may hold other languages, whose rows are then passed over.
    pub(crate) mixed: bool,
    /// The option that names it.
    pub(crate) key: &'static str,
    /// What the option names, where that is not there and this stands for it.
    pub(crate) named: Option<PathBuf>,
}

/// A split and what it is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) split: Split,
    pub(crate) parts: Vec<Part>,
}

/// The splits that the options name or `path` holds: training first, where there is one, then those to evaluate.
///
/// # Errors
/// [`Error::InvalidValue`] without a path, for languages that are there twice, and for splits of one name;
/// [`Error::File`] when nothing can be evaluated, which says what was looked for and what is there.
pub(crate) fn find(options: &SpeechOptions) -> Result<Vec<Parts>> {
    check(options)?;
    let languages = languages(options);
    let (mut splits, mut problems) = (Vec::new(), Vec::new());
    let train: Vec<Part> = languages.iter().flat_map(|language| train_parts(options, *language)).collect();
    if !train.is_empty() {
        splits.push(Parts { split: Split::TRAIN, parts: train });
    }
    for (kind, named) in [("validation", &options.validation), ("test", &options.test)] {
        for (name, path) in evaluated(options, kind, named) {
            for language in &languages {
                let name = match language {
                    Some(language) => format!("{name}_{}", options.languages[*language]),
                    None => name.clone(),
                };
                let split = Split::named(name);
                if splits.iter().any(|other| other.split == split) {
                    let expected = "give files of different names, so that their splits have different names";
                    problems.push(Error::invalid(format!("[data] {kind}"), split.as_str(), expected));
                }
                splits.push(Parts { split, parts: vec![part(options, &path, *language, kind)] });
            }
        }
    }
    Error::all(problems)?;
    if splits.iter().any(|parts| parts.split != Split::TRAIN) {
        return Ok(splits);
    }
    let directory = language_path(&options.path, options, Some(0));
    let reason = format!(
        "holds nothing to validate on: looked for shards of valid, validation and dev, and for {}",
        VALIDATION.join(", ")
    );
    let there = holds(&names(&directory));
    Err(Error::file(&directory, format!("{reason}; it {there}; name another with `validation`")))
}

fn check(options: &SpeechOptions) -> Result<()> {
    let mut problems = Vec::new();
    let has = |path: &str| path.contains(LANGUAGE);
    let named = [&options.train, &options.validation, &options.test];
    if options.path.as_os_str().is_empty() && named.iter().all(|paths| paths.0.is_empty()) {
        let expected = "give the directory of the corpus, or `train` and `validation`";
        problems.push(Error::invalid("[data] path", "\"\"", expected));
    }
    if !has(&options.path.to_string_lossy()) && !options.path.as_os_str().is_empty() && !options.path.exists() {
        let reason = "does not exist; give the directory of the corpus, or one file of it";
        problems.push(Error::file(&options.path, reason));
    }
    for (key, paths) in ["train", "validation", "test"].into_iter().zip(named) {
        if paths.0.iter().any(String::is_empty) {
            problems.push(Error::invalid(format!("[data] {key}"), "\"\"", "give a path relative to `path`"));
        }
    }
    if is_one(&options.path) && !options.validation.0.is_empty() {
        let expected = format!("`path` is itself a file ({}), and so the validation split", options.path.display());
        problems.push(Error::invalid("[data] validation", options.validation.0.join(", "), expected));
    }
    for (number, language) in options.languages.iter().enumerate() {
        if language.is_empty() || options.languages[..number].contains(language) {
            problems.push(Error::invalid("[data] languages", format!("\"{language}\""), "name every language once"));
        }
    }
    let templates = named
        .iter()
        .flat_map(|paths| &paths.0)
        .chain(&options.phones)
        .chain(&options.phone_symbols)
        .chain(&options.clips);
    if options.languages.is_empty()
        && (templates.into_iter().any(|path| has(path)) || has(&options.path.to_string_lossy()))
    {
        let expected = format!("a path has {LANGUAGE} in it; name what stands for it, such as [\"es\", \"fr\"]");
        problems.push(Error::invalid("[data] languages", "[]", expected));
    }
    Error::all(problems)
}

fn train_parts(options: &SpeechOptions, language: Option<usize>) -> Vec<Part> {
    let directory = directory(options, language);
    let mut names = options.train.0.clone();
    if names.is_empty() && !options.path.as_os_str().is_empty() && !is_one(&options.path) {
        names.extend(found_in(&directory, &TRAIN));
    }
    let paths = names.iter().flat_map(|name| match expand(&directory, name) {
        Some(paths) => paths,
        None => vec![PathBuf::from(name)],
    });
    paths.map(|path| part(options, &path.to_string_lossy(), language, "train")).collect()
}

/// The first of `wanted` that a directory holds, as a file, a folder or shards; otherwise the list of Spontaneous Speech, in which
/// a column tells the splits. Folders that hold one folder and nothing to read are passed through.
fn found_in(directory: &Path, wanted: &[&str]) -> Option<String> {
    let mut at = directory.to_owned();
    for _ in 0..DEEPEST {
        let found = wanted.iter().find(|name| at.join(name).exists());
        let found = found.or_else(|| wanted.iter().find(|name| !matches!(shards(&at.join(name)), Ok(None))));
        let spontaneous = |name: &String| name.starts_with("ss-corpus-") && name.ends_with(".tsv");
        let found = found.map(|name| (*name).to_owned()).or_else(|| names(&at)?.into_iter().find(spontaneous));
        if let Some(found) = found {
            let path = at.join(found);
            return Some(path.strip_prefix(directory).unwrap_or(&path).to_string_lossy().into_owned());
        }
        at = only_folder(&at)?;
    }
    None
}

/// The files of what is no file or folder itself but the name of a split, of which there are shards: `data/train` is
/// `data/train-00000-of-00002.parquet` and the next, or `train-00000-of-…` in `data`. `None` where there are none.
///
/// # Errors
/// [`Error::File`] for shards of which some are missing.
pub(crate) fn shards(path: &Path) -> Result<Option<Vec<PathBuf>>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
        return Ok(None);
    };
    Directory::list(directory).split(&[name]).map_err(misplaced)
}

/// What is wrong with the files of a layout.
pub(crate) fn misplaced(problems: Vec<Misplaced>) -> Error {
    let errors = problems.into_iter().map(|problem| Error::file(problem.path, problem.reason)).collect();
    Error::all(errors).expect_err("what is misplaced is an error")
}

/// Whether a path is one split by itself: a file, or a folder of `save_to_disk`.
fn is_one(path: &Path) -> bool {
    path.is_file() || is_saved(path)
}

/// Names and paths of the evaluation splits of one kind.
fn evaluated(options: &SpeechOptions, kind: &str, named: &Paths) -> Vec<(String, String)> {
    match named.0.as_slice() {
        [] if kind == "validation" && is_one(&options.path) => {
            vec![(kind.to_owned(), options.path.to_string_lossy().into_owned())]
        }
        [] if kind == "validation" && !options.path.as_os_str().is_empty() => {
            let directory = directory(options, (!options.languages.is_empty()).then_some(0));
            found_in(&directory, &VALIDATION).map(|name| (kind.to_owned(), name)).into_iter().collect()
        }
        [] => Vec::new(),
        [one] => vec![(kind.to_owned(), one.clone())],
        several => several.iter().map(|path| (split_name(kind, path), path.clone())).collect(),
    }
}

/// `test-clean` and `lists/clean.tsv` are both `test_clean` among the tests.
fn split_name(kind: &str, path: &str) -> String {
    let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
    // What follows the last dot may be part of a name, such as `test.clean`.
    let ends = EXTENSIONS.into_iter().chain(["txt", "lst", "ndjson"]);
    let stem = ends.filter_map(|end| name.strip_suffix(end)?.strip_suffix('.')).next().unwrap_or(&name);
    let stem = stem.replace(['-', '.', ' '], "_");
    let bare = stem.strip_prefix(kind).map_or(stem.as_str(), |rest| rest.trim_start_matches('_'));
    if bare.is_empty() { kind.to_owned() } else { format!("{kind}_{bare}") }
}

fn part(options: &SpeechOptions, path: &str, language: Option<usize>, key: &'static str) -> Part {
    let full = if is_one(&options.path) && options.path.as_os_str() == path {
        options.path.clone()
    } else {
        options_directory(options).join(path)
    };
    let mixed = language.is_some() && !full.to_string_lossy().contains(LANGUAGE);
    let named = literal(&full, options, language);
    let path = names::list(language_path(&full, options, language));
    Part { named: Some(named).filter(|named| *named != path), path, language, mixed, key }
}

/// The directory that names are relative to, `{language}` not yet replaced.
fn options_directory(options: &SpeechOptions) -> PathBuf {
    if is_one(&options.path) {
        options.path.parent().unwrap_or(Path::new("")).to_owned()
    } else {
        // The hub's cache has its newest version elsewhere.
        snapshot(&options.path).unwrap_or_else(|| options.path.clone())
    }
}

fn directory(options: &SpeechOptions, language: Option<usize>) -> PathBuf {
    language_path(&options_directory(options), options, language)
}

/// A path relative to `path`, for one language.
pub(crate) fn beside(options: &SpeechOptions, path: &str, language: Option<usize>) -> PathBuf {
    language_path(&options_directory(options).join(path), options, language)
}

/// The paths that one relative to `path` stands for: one for each language that is in it, or one alone.
pub(crate) fn all_beside(options: &SpeechOptions, path: &str) -> BTreeSet<PathBuf> {
    languages(options).into_iter().map(|language| beside(options, path, language)).collect()
}

/// The places of the languages among the options, or none.
fn languages(options: &SpeechOptions) -> Vec<Option<usize>> {
    match options.languages.len() {
        0 => vec![None],
        n => (0..n).map(Some).collect(),
    }
}

/// The path with the language in it, or of another name of the language where that is what is there.
fn language_path(path: &Path, options: &SpeechOptions, language: Option<usize>) -> PathBuf {
    match (language.and_then(|language| options.languages.get(language)), path.to_str()) {
        (Some(language), Some(text)) if text.contains(LANGUAGE) => names::folder(text, language, &options.languages),
        _ => path.to_owned(),
    }
}

/// The path with the language in it, as it is named.
fn literal(path: &Path, options: &SpeechOptions, language: Option<usize>) -> PathBuf {
    match (language.and_then(|language| options.languages.get(language)), path.to_str()) {
        (Some(language), Some(text)) => PathBuf::from(text.replace(LANGUAGE, language)),
        _ => path.to_owned(),
    }
}

/// Says once which files stand for others that are not there.
pub(crate) fn tell(found: &[Parts]) {
    let mut told = BTreeSet::new();
    for part in found.iter().flat_map(|parts| &parts.parts) {
        if let Some(named) = part.named.as_ref().filter(|named| part.path.exists() && told.insert((*named).clone())) {
            tracing::warn!("{} is not there; {} is read in its place", named.display(), part.path.display());
        }
    }
}

/// That nothing is at `path`, where the option `key` wants `what`; with what is there instead, and what is called nearly
/// so.
pub(crate) fn absent(path: &Path, key: &str, what: &str) -> Error {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = names(directory);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let near = names.as_ref().and_then(|names| nearest(&name, names.iter().map(String::as_str)));
    let near = near.map(|near| format!(" (did you mean `{near}`?)")).unwrap_or_default();
    let there = format!("{} {}", directory.display(), holds(&names));
    Error::file(path, format!("does not exist; give `{key}` {what} that does, relative to `path`{near}; {there}"))
}

/// The names in a directory, in order; `None` where it cannot be read.
fn names(directory: &Path) -> Option<Vec<String>> {
    let entries = std::fs::read_dir(directory).ok()?;
    let mut names: Vec<_> = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    Some(names)
}

/// What a directory with these names holds, for a message.
fn holds(names: &Option<Vec<String>>) -> String {
    match names.as_deref() {
        None => "cannot be read".into(),
        Some([]) => "is empty".into(),
        Some(names) => format!("holds {}", names[..names.len().min(10)].join(", ")),
    }
}
