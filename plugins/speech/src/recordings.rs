//! All recordings of a dataset, each looked at once.

use crate::audio::{AudioError, Check, Inspection, LONGEST, RATE, inspect};
use crate::corpora::Row;
use lopper_core::DataCache;
use lopper_weights::FileStamp;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Seen = (Arc<PathBuf>, Result<Inspection, AudioError>);
/// What an earlier look found, and the file's stamp then.
type Found = (FileStamp, Inspection);

/// What is known of each file.
pub(crate) struct Recordings<'a> {
    check: Check,
    files: HashMap<PathBuf, Seen>,
    cache: Option<(&'a dyn DataCache, String)>,
    /// From the cache, and what is to go there.
    known: HashMap<PathBuf, Found>,
    /// Whether there is anything new in it.
    learned: bool,
}

impl<'a> Recordings<'a> {
    /// Of no files yet. What `cache` knows under `name` is not looked at again while it has not changed.
    pub(crate) fn new(check: Check, cache: Option<&'a dyn DataCache>, name: &str) -> Self {
        let cache = cache.map(|cache| (cache, format!("lopper-speech 2: {check:?} {name}")));
        let kept = cache.as_ref().and_then(|(cache, name)| cache.get(name));
        let known = kept.and_then(|bytes| serde_json::from_slice::<Vec<(PathBuf, Found)>>(&bytes).ok());
        let known = known.unwrap_or_default().into_iter().collect();
        Self { check, files: HashMap::new(), cache, known, learned: false }
    }

    /// Puts what was found into the cache.
    pub(crate) fn remember(&self) {
        let Some((cache, name)) = self.cache.as_ref().filter(|_| self.learned) else { return };
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_unstable_by_key(|(path, _)| *path);
        // A path that is not UTF-8 is not remembered, and neither is anything beside it.
        if let Ok(bytes) = serde_json::to_vec(&known) {
            cache.put(name, &bytes);
        }
    }

    /// Looks at every file that has not been looked at, on all threads of rayon.
    pub(crate) fn look<'p>(&mut self, paths: impl Iterator<Item = &'p PathBuf>) {
        let fresh: HashSet<&PathBuf> = paths.filter(|path| !self.files.contains_key(*path)).collect();
        let fresh: Vec<&PathBuf> = fresh.into_iter().collect();
        let look = |path: &&PathBuf| {
            let stamp = FileStamp::of(path).ok();
            let known = self.known.get(*path).filter(|(then, _)| Some(*then) == stamp);
            let found = known.map_or_else(|| inspect(path, self.check), |(_, found)| Ok(*found));
            // Read while it was written, or just after, it may be another file by now.
            let lasts = |stamp: &FileStamp| stamp.is_settled() && FileStamp::of(path).is_ok_and(|now| now == *stamp);
            let learned = stamp.filter(|stamp| known.is_none() && lasts(stamp)).zip(found.as_ref().ok().copied());
            ((*path).clone(), learned, found)
        };
        let seen: Vec<_> = fresh.par_iter().map(look).collect();
        for (path, learned, found) in seen {
            if let Some(learned) = learned {
                self.known.insert(path.clone(), learned);
                self.learned = true;
            }
            self.files.insert(path.clone(), (Arc::new(path), found));
        }
    }

    /// Samples at 16 kHz of a row's recording.
    ///
    /// # Errors
    /// What is wrong with its files, all of them, each with its name; a number of samples that is not the declared one.
    pub(crate) fn length(&self, row: &Row) -> Result<u64, String> {
        let (mut samples, mut wrong) = (0, Vec::new());
        for path in &row.audio {
            match self.files.get(path).map(|(_, seen)| seen) {
                Some(Ok(seen)) => {
                    samples += u64::from(seen.samples);
                    if let Some(declared) = row.declared.filter(|declared| !seen.has(*declared)) {
                        let found = format!("{} has {} samples", path.display(), seen.frames);
                        wrong.push(format!("{found}, and the manifest says {declared}"));
                    }
                }
                Some(Err(e)) => wrong.push(format!("{} {e}", path.display())),
                None => wrong.push(format!("{} was not looked at", path.display())),
            }
        }
        if samples > LONGEST * u64::from(RATE) {
            wrong.push(format!("{} files together are longer than {LONGEST} seconds", row.audio.len()));
        }
        if wrong.is_empty() { Ok(samples) } else { Err(wrong.join("; ")) }
    }

    /// The path, shared by all rows that use it.
    pub(crate) fn shared(&self, path: &Path) -> Arc<PathBuf> {
        self.files.get(path).map_or_else(|| Arc::new(path.to_owned()), |(shared, _)| shared.clone())
    }

    /// The hash of a file's content; zeros for one that cannot be used.
    pub(crate) fn hash(&self, path: &Path) -> [u8; 32] {
        let seen = self.files.get(path).and_then(|(_, seen)| seen.as_ref().ok());
        seen.map_or([0; 32], |seen| seen.hash)
    }

    /// Whether all files of a row hold nothing but zeros.
    pub(crate) fn silent(&self, row: &Row) -> bool {
        let silent = |path| matches!(self.files.get(path), Some((_, Ok(seen))) if seen.silent);
        row.audio.iter().all(silent)
    }
}
