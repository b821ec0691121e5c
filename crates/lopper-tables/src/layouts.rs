//! The layouts in which tables lie about: the hub's shards, `save_to_disk`, and the caches of both.

use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How names of data files end, the preferred first.
pub const EXTENSIONS: [&str; 6] = ["tsv", "jsonl", "json", "csv", "parquet", "arrow"];
/// What `save_to_disk` writes beside the data.
const STATE: &str = "state.json";
/// Longest of these, in bytes.
const LONGEST_STATE: u64 = 1 << 20;

/// What is wrong with a file of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misplaced {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it, as the rest of a sentence.
    pub reason: String,
}

impl Misplaced {
    fn new(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self { path: path.into(), reason: reason.into() }
    }
}

/// The directories in a directory.
pub fn folders(path: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
}

/// The newest version in the hub's cache, if that is one. The hub's cache keeps versions in `snapshots`, and in `refs/main` which one is the newest.
pub fn snapshot(path: &Path) -> Option<PathBuf> {
    let newest = fs::read_to_string(path.join("refs/main")).ok()?;
    Some(path.join("snapshots").join(newest.trim())).filter(|path| path.is_dir())
}

/// The one folder in a directory that holds nothing to read itself.
pub fn only_folder(path: &Path) -> Option<PathBuf> {
    let mut found = folders(path);
    let [only] = found.as_mut_slice() else { return None };
    let (only, listed) = (std::mem::take(only), Directory::list(path));
    let holds_data = listed.names.iter().any(|name| extension(name).is_some_and(|e| EXTENSIONS.contains(&e)));
    let a_split = only.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        ["train", "validation", "dev", "test", "data"].iter().any(|stem| name.starts_with(stem))
    });
    (!holds_data && !a_split).then_some(only)
}

/// Whether `save_to_disk` wrote that folder, of one split.
pub fn is_saved(path: &Path) -> bool {
    path.join(STATE).is_file()
}

/// The files of a split that `save_to_disk` wrote, in their order.
///
/// # Errors
/// A list that cannot be read, and every file that it names and that is not there.
pub fn saved(path: &Path) -> Result<Vec<PathBuf>, Vec<Misplaced>> {
    let list = path.join(STATE);
    let unreadable = |e| vec![Misplaced::new(&list, format!("cannot be read: {e}"))];
    let mut text = Vec::new();
    let file = fs::File::open(&list).map_err(unreadable)?;
    file.take(LONGEST_STATE).read_to_end(&mut text).map_err(unreadable)?;
    let state: Option<Value> = serde_json::from_slice(&text).ok();
    let files = state.as_ref().and_then(|state| state.get("_data_files")?.as_array()).filter(|files| !files.is_empty());
    let names = files.map(|files| files.iter().map(|file| file.get("filename")?.as_str()).collect::<Option<Vec<_>>>());
    let Some(Some(names)) = names else {
        return Err(vec![Misplaced::new(&list, "names no files; expected `_data_files`, as save_to_disk writes it")]);
    };
    let paths: Vec<PathBuf> = names.into_iter().map(|name| path.join(name)).collect();
    let absent = paths.iter().filter(|path| !path.is_file());
    let problems: Vec<_> =
        absent.map(|absent| Misplaced::new(absent, format!("is not there; {} names it", list.display()))).collect();
    if problems.is_empty() { Ok(paths) } else { Err(problems) }
}

fn extension(name: &str) -> Option<&str> {
    name.rsplit_once('.').map(|(_, extension)| extension)
}

/// The names in a directory.
#[derive(Debug, Default)]
pub struct Directory {
    path: PathBuf,
    names: Vec<String>,
}

impl Directory {
    /// Reads a directory; one that cannot be read holds nothing.
    pub fn list(path: &Path) -> Self {
        let entries = fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        Self { path: path.to_owned(), names }
    }

    /// The files of the split that one of `stems` names, in their order; `None` where there are none. A warning names what may be
    /// that split, too.
    ///
    /// # Errors
    /// Shards of which some are missing or that belong to several versions, and those of [`saved`].
    pub fn split(&self, stems: &[&str]) -> Result<Option<Vec<PathBuf>>, Vec<Misplaced>> {
        let mut found = Vec::new();
        for stem in stems {
            found.extend(self.single(stem));
            found.extend(self.shards(stem)?);
            if self.names.iter().any(|name| name == "data") {
                let data = Self::list(&self.path.join("data"));
                found.extend(data.single(stem));
                found.extend(data.shards(stem)?);
            }
            found.extend(self.folder(stem)?);
        }
        let mut found = found.into_iter();
        let chosen = found.next();
        if let (Some(chosen), Some(other)) = (&chosen, found.next()) {
            let (chosen, other) = (chosen[0].display(), other[0].display());
            tracing::warn!(%chosen, %other, "two files may be this split; the first is read");
        }
        Ok(chosen)
    }

    /// `train.tsv`; or `glue-train.arrow`, as a cache names it.
    fn single(&self, stem: &str) -> Option<Vec<PathBuf>> {
        let file = |name: String| Some(self.path.join(name)).filter(|path| path.is_file()).map(|path| vec![path]);
        if let Some(found) = EXTENSIONS.iter().find_map(|extension| file(format!("{stem}.{extension}"))) {
            return Some(found);
        }
        let ends = ["arrow", "parquet"].map(|extension| format!("-{stem}.{extension}"));
        let cached = self.names.iter().find(|name| ends.iter().any(|end| name.ends_with(end)));
        cached.and_then(|name| file(name.clone()))
    }

    /// `train-00000-of-00002.parquet` and its like.
    fn shards(&self, stem: &str) -> Result<Option<Vec<PathBuf>>, Vec<Misplaced>> {
        let mut found: Vec<(Shard<'_>, &String)> =
            self.names.iter().filter_map(|name| Some((Shard::parse(name, stem)?, name))).collect();
        found.sort();
        let Some((first, name)) = found.first() else { return Ok(None) };
        if let Some((_, other)) = found.iter().find(|(shard, _)| (shard.of, shard.before) != (first.of, first.before)) {
            let reason = format!("belongs to other shards than {name}; keep one set of them, or name a file");
            return Err(vec![Misplaced::new(self.path.join(other), reason)]);
        }
        let missing: Vec<_> = (0..first.of).filter(|number| found.iter().all(|(s, _)| s.number != *number)).collect();
        if let Some(number) = missing.first() {
            let (there, of) = (found.len(), first.of);
            let reason = format!("is one of {of} shards, of which {there} are there; number {number} is missing");
            return Err(vec![Misplaced::new(self.path.join(name), reason)]);
        }
        if found.len() as u64 != first.of {
            return Err(vec![Misplaced::new(
                self.path.join(name),
                format!("has {} shards of {}", found.len(), first.of),
            )]);
        }
        Ok(Some(found.into_iter().map(|(_, name)| self.path.join(name)).collect()))
    }

    /// A folder of `save_to_disk`, or one with the hub's own `0000.parquet`.
    fn folder(&self, stem: &str) -> Result<Option<Vec<PathBuf>>, Vec<Misplaced>> {
        let path = self.path.join(stem);
        if is_saved(&path) {
            return saved(&path).map(Some);
        }
        if !path.is_dir() {
            return Ok(None);
        }
        let listed = Self::list(&path);
        let numbered = |name: &&String| {
            name.strip_suffix(".parquet")
                .is_some_and(|name| name.len() == 4 && name.bytes().all(|b| b.is_ascii_digit()))
        };
        let files: Vec<_> = listed.names.iter().filter(numbered).map(|name| path.join(name)).collect();
        Ok((!files.is_empty()).then_some(files))
    }
}

/// One file of several.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shard<'a> {
    /// Of how many.
    of: u64,
    /// What stands before the split's name.
    before: &'a str,
    number: u64,
}

impl<'a> Shard<'a> {
    /// `train-00000-of-00002.parquet`, perhaps with a name before and a hash behind.
    fn parse(name: &'a str, stem: &str) -> Option<Self> {
        let (base, end) = name.rsplit_once('.')?;
        let (left, right) = EXTENSIONS.contains(&end).then(|| base.rsplit_once("-of-"))??;
        let (split, number) = left.rsplit_once('-')?;
        let before = split.strip_suffix(stem)?;
        let of = right.split('-').next()?;
        let digits = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        let whole = before.is_empty() || before.ends_with('-');
        // More are no shards of a split, and are not counted up to.
        let of = digits(of).filter(|of| whole && (1..=100_000).contains(of))?;
        Some(Self { of, before, number: digits(number)? })
    }
}
