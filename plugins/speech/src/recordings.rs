//! All recordings of a dataset, each looked at once.

use crate::audio::{AudioError, Bytes, Check, Inspection, LONGEST, RATE, inspect_bytes, resampled};
use crate::clip::{Clip, Whole};
use crate::corpora::Row;
use crate::tables::Tables;
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
/// By what it is remembered: the file, and the row of a table.
type Key = (PathBuf, Option<u64>);
type Looked = (Whole, Option<Found>, Result<Inspection, AudioError>);

/// Recordings of tables that are looked at together, and the bytes of which no more are read, though the last recording may be
/// longer.
const TOGETHER: usize = 256;
const HELD: usize = 16 << 20;

fn key(whole: &Whole) -> Key {
    let row = if let Whole::Cell(cell) = whole { Some(cell.row) } else { None };
    (whole.path().to_owned(), row)
}

/// What is known of each file.
pub(crate) struct Recordings<'a> {
    check: Check,
    files: HashMap<Whole, Seen>,
    cache: Option<(&'a dyn DataCache, String)>,
    /// From the cache, and what is to go there.
    known: HashMap<Key, Found>,
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
        let cache = cache.map(|cache| (cache, format!("lopper-speech 3: {check:?} {name}")));
        let kept = cache.as_ref().and_then(|(cache, name)| cache.get(name));
        let known = kept.and_then(|bytes| serde_json::from_slice::<Vec<(Key, Found)>>(&bytes).ok());
        let known = known.unwrap_or_default().into_iter().collect();
        Self { check, files: HashMap::new(), cache, known, learned: false }
    }

    /// Puts what was found into the cache.
    pub(crate) fn remember(&self) {
        let Some((cache, name)) = self.cache.as_ref().filter(|_| self.learned) else { return };
        let mut known: Vec<_> = self.known.iter().collect();
        known.sort_unstable_by_key(|(key, _)| *key);
        // A path that is not UTF-8 is not remembered, and neither is anything beside it.
        if let Ok(bytes) = serde_json::to_vec(&known) {
            cache.put(name, &bytes);
        }
    }

    /// Looks at every recording that has not been looked at, on all threads of rayon.
    pub(crate) fn look<'p>(&mut self, clips: impl Iterator<Item = &'p Clip>) {
        let fresh: HashSet<&Whole> =
            clips.map(|clip| &clip.whole).filter(|whole| !self.files.contains_key(*whole)).collect();
        let (files, cells): (Vec<&Whole>, Vec<&Whole>) =
            fresh.into_iter().partition(|whole| matches!(whole, Whole::File(_)));
        let seen = files.par_iter().map(|whole| {
            let stamp = FileStamp::of(whole.path()).ok();
            self.look_at(whole, stamp, || Ok(Bytes::File(whole.path())))
        });
        let seen = seen.collect();
        self.take(seen);
        self.look_at_cells(cells);
    }

    /// Tables are read in their order, and as many recordings are held as are looked at together.
    fn look_at_cells(&mut self, mut cells: Vec<&Whole>) {
        cells.sort_unstable();
        let tables = Tables::default();
        let mut stamps = HashMap::new();
        let mut left = cells.into_iter().peekable();
        while left.peek().is_some() {
            let (mut together, mut held) = (Vec::new(), 0);
            while let Some(whole) = left.next_if(|_| together.len() < TOGETHER && held < HELD) {
                let stamp = *stamps.entry(whole.path()).or_insert_with(|| FileStamp::of(whole.path()).ok());
                // What is known is not read.
                let bytes = match self.known_of(whole, stamp) {
                    Some(_) => None,
                    None => Some(tables.bytes(whole)),
                };
                held += bytes.as_ref().map_or(0, |bytes| bytes.as_ref().map_or(0, Bytes::held));
                together.push((whole, stamp, bytes));
            }
            let seen = together.into_par_iter().map(|(whole, stamp, bytes)| {
                // What lies in another file may change without the table.
                let stamp = stamp.filter(|_| !matches!(bytes, Some(Ok(Bytes::File(_)))));
                self.look_at(whole, stamp, || bytes.unwrap_or(Err(AudioError::Absent)))
            });
            let seen = seen.collect();
            self.take(seen);
        }
    }

    fn known_of(&self, whole: &Whole, stamp: Option<FileStamp>) -> Option<Inspection> {
        let known = self.known.get(&key(whole));
        known.filter(|(then, _)| Some(*then) == stamp).map(|(_, found)| *found)
    }

    /// What there is to be known of a recording, and what of it is new. `stamp` is that of the file that it is in.
    fn look_at<'b>(
        &self,
        whole: &Whole,
        stamp: Option<FileStamp>,
        bytes: impl FnOnce() -> Result<Bytes<'b>, AudioError>,
    ) -> Looked {
        let known = self.known_of(whole, stamp);
        let found = known.map_or_else(|| inspect_bytes(&bytes()?, self.check), Ok);
        // Read while it was written, or just after, it may be another file by now.
        let lasts =
            |stamp: &FileStamp| stamp.is_settled() && FileStamp::of(whole.path()).is_ok_and(|now| now == *stamp);
        let learned = stamp.filter(|stamp| known.is_none() && lasts(stamp)).zip(found.as_ref().ok().copied());
        (whole.clone(), learned, found)
    }

    fn take(&mut self, seen: Vec<Looked>) {
        for (whole, learned, found) in seen {
            if let Some(learned) = learned {
                self.known.insert(key(&whole), learned);
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
