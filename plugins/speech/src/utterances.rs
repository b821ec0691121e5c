//! The recordings of a split, of which only paths, lengths and labels are in memory.

use crate::audio::{AudioError, Bytes, load_bytes};
use crate::clip::Whole;
use crate::problems::{At, Place, QUOTED};
use crate::tables::Tables;
use lopper_core::{Error, Split};
use std::fmt::Display;
use std::sync::Arc;

/// What is read of a file for a recording.
#[derive(Debug)]
pub(crate) struct Sound {
    pub(crate) whole: Arc<Whole>,
    /// Frames at the file's own rate; all of them without.
    pub(crate) range: Option<(u64, u64)>,
}

impl Sound {
    fn load(&self, bytes: Result<Bytes<'_>, AudioError>) -> Result<Vec<f32>, AudioError> {
        load_bytes(&bytes?, self.range.map(|(start, end)| start..end))
    }
}

/// One recording and what is said in it.
#[derive(Debug)]
pub(crate) struct Utterance {
    /// The files that make it, joined in this order.
    pub(crate) audio: Box<[Sound]>,
    /// Samples at 16 kHz.
    pub(crate) samples: u32,
    /// Whether they are all zero.
    pub(crate) silent: bool,
    /// Ids of the dictionary, and of the lexicon beyond it.
    pub(crate) label: Box<[u32]>,
    /// The row of the corpus that it is.
    pub(crate) place: Place,
}

impl Utterance {
    /// What is said of one of its files, with the row that it is in.
    fn error(&self, sound: &Sound, reason: impl Display) -> Error {
        let is_row = self.place.at == At::File && self.place.file.as_ref() == sound.whole.path();
        self.place.error(if is_row { reason.to_string() } else { format!("{} {reason}", sound.whole) })
    }

    /// What it is read from: the bytes themselves where a table has them.
    pub(crate) fn open(&self, tables: &Tables) -> Opened<'_> {
        self.audio.iter().map(|sound| tables.bytes(&sound.whole)).collect()
    }

    /// The samples of a recording at 16 kHz, of its files one after the other. An error names the file and its row.
    pub(crate) fn load(&self, opened: Opened<'_>) -> Result<Vec<f32>, Fault> {
        let mut samples = Vec::new();
        for (sound, bytes) in self.audio.iter().zip(opened) {
            samples.extend(sound.load(bytes).map_err(|e| {
                let error = self.error(sound, &e);
                if e.lasts() { Fault::Damaged(error) } else { Fault::Other(error) }
            })?);
        }
        Ok(samples)
    }

    fn silence(&self) -> Option<Error> {
        self.audio.first().filter(|_| self.silent).map(|sound| self.error(sound, "is silent"))
    }
}

/// What the parts of a recording are read from.
pub(crate) type Opened<'a> = Vec<Result<Bytes<'a>, AudioError>>;

/// Why a recording gives a batch nothing.
pub(crate) enum Fault {
    /// Its content cannot be decoded, now or ever ([`AudioError::lasts`]).
    Damaged(Error),
    /// Anything else, which may be otherwise the next time: nothing is left out for it.
    Other(Error),
}

/// The recordings of one split.
#[derive(Debug)]
pub(crate) struct Utterances {
    pub(crate) split: Split,
    /// Of a joint run: the language that the split is in.
    pub(crate) language: Option<usize>,
    pub(crate) rows: Vec<Utterance>,
    /// Rows that were left out because they cannot be used.
    pub(crate) skipped: u64,
}

impl Utterances {
    /// Warns of silent recordings. They are used: a model may have to learn that nothing was said.
    pub(crate) fn warn_of_silence(&self) {
        let all: Vec<String> = self.rows.iter().filter_map(Utterance::silence).map(|e| e.to_string()).collect();
        if all.is_empty() {
            return;
        }
        let (split, used) = (self.split.as_str(), self.rows.len());
        all.iter().for_each(|silent| tracing::debug!(split, "{silent}"));
        let (silent, first) = (all.len(), all[..QUOTED.min(all.len())].join("; "));
        tracing::warn!(split, silent, used, first, "recordings are silent");
    }

    pub(crate) fn silent(&self) -> usize {
        self.rows.iter().filter(|row| row.silent).count()
    }

    /// Symbols of transcripts that the dictionary, which has so many, does not have.
    pub(crate) fn unknown(&self, known: usize) -> usize {
        self.rows.iter().flat_map(|row| &row.label).filter(|id| **id as usize >= known).count()
    }
}
