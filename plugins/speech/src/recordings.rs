//! All recordings of a dataset, each looked at once.

use crate::audio::{AudioError, Check, Inspection, LONGEST, RATE, inspect};
use crate::corpora::Row;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

type Seen = (Arc<PathBuf>, Result<Inspection, AudioError>);

/// What is known of each file.
pub(crate) struct Recordings {
    check: Check,
    files: HashMap<PathBuf, Seen>,
}

impl Recordings {
    /// Of no files yet.
    pub(crate) fn new(check: Check) -> Self {
        Self { check, files: HashMap::new() }
    }

    /// Looks at every file that has not been looked at, on all threads of rayon.
    pub(crate) fn look<'a>(&mut self, paths: impl Iterator<Item = &'a PathBuf>) {
        let fresh: HashSet<&PathBuf> = paths.filter(|path| !self.files.contains_key(*path)).collect();
        let fresh: Vec<&PathBuf> = fresh.into_iter().collect();
        let look = |path: &&PathBuf| ((*path).clone(), (Arc::new((*path).clone()), inspect(path, self.check)));
        let seen: Vec<_> = fresh.par_iter().map(look).collect();
        self.files.extend(seen);
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
                    if let Some(declared) = row.declared.filter(|declared| *declared != seen.frames) {
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
