//! All recordings of a dataset, each looked at once.

use crate::audio::{AudioError, Bytes, Check, Inspection, LONGEST, RATE, inspect_bytes, resampled};
use crate::clip::{Clip, Whole};
use crate::corpora::Row;
use crate::utterances::Sound;
use lopper_core::DataCache;
use lopper_weights::FileStamp;
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

type Seen = (Arc<Whole>, Result<Inspection, AudioError>);
/// What an earlier look found, and the file's stamp then.
type Found = (FileStamp, Inspection);

/// What is known of each file.
pub(crate) struct Recordings<'a> {
    check: Check,
    files: HashMap<Whole, Seen>,
    cache: Option<(&'a dyn DataCache, String)>,
    /// From the cache, and what is to go there.
    known: HashMap<PathBuf, Found>,
    /// Whether there is anything new in it.
    learned: bool,
}

/// Of a recording or a piece of one.
struct Heard {
    /// At 16 kHz.
    samples: u64,
    /// Frames of the file; all of them without.
    range: Option<(u64, u64)>,
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
    pub(crate) fn look<'p>(&mut self, clips: impl Iterator<Item = &'p Clip>) {
        let fresh: HashSet<&Whole> =
            clips.map(|clip| &clip.whole).filter(|whole| !self.files.contains_key(*whole)).collect();
        let fresh: Vec<&Whole> = fresh.into_iter().collect();
        let look = |whole: &&Whole| {
            let path = whole.path();
            let stamp = FileStamp::of(path).ok();
            let known = self.known.get(path).filter(|(then, _)| Some(*then) == stamp);
            let found = known.map_or_else(|| inspect_bytes(&Bytes::File(path), self.check), |(_, found)| Ok(*found));
            // Read while it was written, or just after, it may be another file by now.
            let lasts = |stamp: &FileStamp| stamp.is_settled() && FileStamp::of(path).is_ok_and(|now| now == *stamp);
            let learned = stamp.filter(|stamp| known.is_none() && lasts(stamp)).zip(found.as_ref().ok().copied());
            ((*whole).clone(), learned, found)
        };
        let seen: Vec<_> = fresh.par_iter().map(look).collect();
        for (whole, learned, found) in seen {
            if let Some(learned) = learned {
                self.known.insert(whole.path().to_owned(), learned);
                self.learned = true;
            }
            self.files.insert(whole.clone(), (Arc::new(whole), found));
        }
    }

    fn seen(&self, clip: &Clip) -> Option<&Result<Inspection, AudioError>> {
        self.files.get(&clip.whole).map(|(_, seen)| seen)
    }

    /// What there is of a recording, or of its piece.
    fn heard(&self, clip: &Clip) -> Result<Heard, String> {
        let seen = match self.seen(clip) {
            Some(Ok(seen)) => seen,
            Some(Err(e)) => return Err(format!("{clip} {e}")),
            None => return Err(format!("{clip} was not looked at")),
        };
        let range = clip.piece.map_or(Ok(None), |piece| piece.frames(seen.rate, seen.frames));
        let range = range.map_err(|reason| format!("{clip} {reason}"))?;
        let samples = range.map_or(u64::from(seen.samples), |(start, end)| resampled(end - start, seen.rate));
        Ok(Heard { samples, range })
    }

    /// Samples at 16 kHz of a row's recording.
    ///
    /// # Errors
    /// What is wrong with its files, all of them, each with its name; a number of samples that is not the declared one.
    pub(crate) fn length(&self, row: &Row) -> Result<u64, String> {
        let (mut samples, mut wrong) = (0, Vec::new());
        for clip in &row.audio {
            match self.heard(clip) {
                Ok(heard) => samples += heard.samples,
                Err(reason) => wrong.push(reason),
            }
            if let (Some(Ok(seen)), Some(declared)) = (self.seen(clip), row.declared)
                && !seen.has(declared)
            {
                let found = format!("{clip} has {} samples", seen.frames);
                wrong.push(format!("{found}, and the manifest says {declared}"));
            }
        }
        if samples > LONGEST * u64::from(RATE) {
            wrong.push(format!("{} files together are longer than {LONGEST} seconds", row.audio.len()));
        }
        if wrong.is_empty() { Ok(samples) } else { Err(wrong.join("; ")) }
    }

    /// A row's recording as it is read in batches. What it is read from is shared by all rows that use it.
    pub(crate) fn sound(&self, clip: &Clip) -> Sound {
        let whole = self.files.get(&clip.whole).map_or_else(|| Arc::new(clip.whole.clone()), |(w, _)| w.clone());
        Sound { whole, range: self.heard(clip).ok().and_then(|heard| heard.range) }
    }

    /// The hash of a recording's content; zeros for one that cannot be used.
    pub(crate) fn hash(&self, sound: &Sound) -> [u8; 32] {
        let seen = self.files.get(&*sound.whole).and_then(|(_, seen)| seen.as_ref().ok());
        let hash = seen.map_or([0; 32], |seen| seen.hash);
        let Some((start, end)) = sound.range else { return hash };
        let mut piece = blake3::Hasher::new();
        piece.update(b"piece").update(&hash).update(&start.to_le_bytes()).update(&end.to_le_bytes());
        *piece.finalize().as_bytes()
    }

    /// Whether all recordings of a row hold nothing but zeros. Of pieces it is not asked.
    pub(crate) fn silent(&self, row: &Row) -> bool {
        row.audio.iter().all(|clip| clip.piece.is_none() && matches!(self.seen(clip), Some(Ok(seen)) if seen.silent))
    }
}
