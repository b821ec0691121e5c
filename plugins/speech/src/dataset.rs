//! Transcribed recordings in splits, of which only paths, lengths and labels are in memory.

use crate::audio;
use crate::cache::Cache;
use crate::decode::{greedy, greedy_among, spell};
use crate::labels::Lexicon;
use crate::{Dictionary, Unit};
use lopper_core::{
    Batch, Dataset, Error, Features, Input, MetricValue, Predictions, Preprocessor, Result, Split, Targets, Task,
};
use lopper_metrics::{Edits, character_edits, edits, error_rate, mean_error_rate, word_edits};
use rayon::prelude::*;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

/// One recording and what is said in it.
#[derive(Debug)]
pub(crate) struct Utterance {
    /// The files that make it, joined in this order.
    pub(crate) audio: Box<[Arc<PathBuf>]>,
    /// Samples at 16 kHz.
    pub(crate) samples: u32,
    /// Ids of the dictionary, and of the lexicon beyond it.
    pub(crate) label: Box<[u32]>,
}

/// The recordings of one split.
#[derive(Debug)]
pub(crate) struct Utterances {
    pub(crate) split: Split,
    /// Of a joint run: the language that the split is in.
    pub(crate) language: Option<usize>,
    pub(crate) rows: Vec<Utterance>,
}

/// What a dataset is made of.
pub(crate) struct Parts {
    pub(crate) task: Task,
    pub(crate) unit: Unit,
    pub(crate) dictionary: Dictionary,
    pub(crate) lexicon: Lexicon,
    /// Outputs that occur in the training data of each language.
    pub(crate) languages: Vec<HashSet<u32>>,
    pub(crate) splits: Vec<Utterances>,
    pub(crate) preprocessor: Arc<dyn Preprocessor>,
    pub(crate) cache_bytes: u64,
    pub(crate) identity: String,
    pub(crate) skipped: u64,
}

/// Transcribed recordings in splits. A batch decodes its recordings when it is asked for, on all threads of rayon.
pub struct SpeechDataset {
    parts: Parts,
    cache: Cache,
    silent: Mutex<HashSet<(usize, usize)>>,
}

impl SpeechDataset {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { cache: Cache::new(parts.cache_bytes), parts, silent: Mutex::default() }
    }

    /// The symbols of its labels.
    pub fn dictionary(&self) -> &Dictionary {
        &self.parts.dictionary
    }

    /// Rows that were left out because they cannot be used.
    pub fn skipped(&self) -> u64 {
        self.parts.skipped
    }

    /// Recordings decoded so far that hold nothing but zeros.
    pub fn silent(&self) -> usize {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn split(&self, split: &Split) -> Result<(usize, &Utterances)> {
        let mut numbered = self.parts.splits.iter().enumerate();
        numbered.find(|(_, utterances)| utterances.split == *split).ok_or_else(|| {
            let known: Vec<_> = self.parts.splits.iter().map(|s| s.split.as_str()).collect();
            let name = &self.parts.task.name;
            Error::Other(format!("{name} was opened without a {} split; it has {}", split.as_str(), known.join(", ")))
        })
    }

    fn row<'a>(&self, utterances: &'a Utterances, index: usize) -> Result<&'a Utterance> {
        utterances.rows.get(index).ok_or_else(|| {
            let (name, split, len) = (&self.parts.task.name, utterances.split.as_str(), utterances.rows.len());
            Error::Other(format!("{name} has {len} recordings in its {split} split, and none of index {index}"))
        })
    }

    /// A recording as the model reads it.
    fn features(&self, key: (usize, usize), utterance: &Utterance) -> Result<Features> {
        let samples = match self.cache.get(key) {
            Some(samples) => samples,
            None => {
                let samples: Arc<[f32]> = load(&utterance.audio)?.into();
                self.count_silence(key, &samples, utterance);
                self.cache.put(key, &samples);
                samples
            }
        };
        self.parts.preprocessor.features(Input::Audio { samples: &samples, sample_rate: audio::RATE }, None)
    }

    fn count_silence(&self, key: (usize, usize), samples: &[f32], utterance: &Utterance) {
        if samples.iter().any(|sample| *sample != 0.0) {
            return;
        }
        if self.silent.lock().unwrap_or_else(PoisonError::into_inner).insert(key) {
            let file = utterance.audio.first().map(|path| path.display().to_string()).unwrap_or_default();
            tracing::warn!(file, "a recording is silent");
        }
    }

    /// What a target is trained with: a symbol outside the dictionary is its unknown symbol.
    fn target(&self, label: &[u32]) -> Vec<i64> {
        label.iter().map(|id| i64::from(self.parts.dictionary.trained(*id))).collect()
    }

    fn text(&self, ids: &[u32]) -> String {
        let Parts { dictionary, lexicon, .. } = &self.parts;
        spell(ids.iter().filter_map(|id| lexicon.symbol(*id, dictionary)), dictionary.delimiter())
    }

    /// The decoded ids of every row of a split, from predictions that cover it once, in its own order.
    fn decode(
        &self,
        utterances: &Utterances,
        outputs: &[(Vec<usize>, Predictions)],
        among: Option<&HashSet<u32>>,
    ) -> Result<Vec<Vec<u32>>> {
        let (name, blank) = (&self.parts.task.name, self.parts.dictionary.blank());
        let mut rows: Vec<Option<Vec<u32>>> = vec![None; utterances.rows.len()];
        for (indices, predictions) in outputs {
            let size = predictions.logits.size();
            let (rows_wanted, width) = (indices.len() as i64, self.parts.dictionary.len() as i64);
            if size.len() != 3 || size[0] != rows_wanted || size[2] != width {
                let wanted = format!("[{rows_wanted}, time, {width}]");
                return Err(Error::Other(format!("{name} needs logits of shape {wanted}, not {size:?}")));
            }
            let decoded = match among {
                None => greedy(predictions, blank),
                Some(among) => greedy_among(predictions, blank, &|output| among.contains(&(output as u32))),
            };
            for (index, ids) in indices.iter().zip(decoded?) {
                self.row(utterances, *index)?;
                if rows[*index].replace(ids).is_some() {
                    return Err(Error::Other(format!("{name} recording {index} was predicted twice")));
                }
            }
        }
        let (missing, all) = (rows.iter().filter(|row| row.is_none()).count(), rows.len());
        if missing > 0 {
            return Err(Error::Other(format!("{missing} of {all} recordings of {name} were not predicted")));
        }
        Ok(rows.into_iter().flatten().collect())
    }

    fn rates(&self, utterances: &Utterances, decoded: &[Vec<u32>]) -> Vec<(&'static str, f64)> {
        let pairs = || utterances.rows.iter().map(|row| &row.label).zip(decoded);
        if !self.parts.unit.spells() {
            let all: Vec<Edits> = pairs().map(|(label, ids)| edits(ids, label)).collect();
            return vec![("per", error_rate(&all)), ("per_mean", mean_error_rate(&all))];
        }
        let texts: Vec<_> = pairs().map(|(label, ids)| (self.text(ids), self.text(label))).collect();
        let rate = |of: fn(&str, &str) -> Edits| {
            error_rate(&texts.iter().map(|(found, wanted)| of(found, wanted)).collect::<Vec<_>>())
        };
        vec![("wer", rate(word_edits)), ("cer", rate(character_edits))]
    }
}

/// The samples of a recording at 16 kHz, of its files one after the other.
fn load(files: &[Arc<PathBuf>]) -> Result<Vec<f32>> {
    let mut samples = Vec::new();
    for path in files {
        samples.extend(audio::load(path).map_err(|e| Error::file(path.as_path(), e))?);
    }
    Ok(samples)
}

/// All values, or all errors.
fn all<T>(results: Vec<Result<T>>) -> Result<Vec<T>> {
    let (mut values, mut errors) = (Vec::with_capacity(results.len()), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(e) => errors.push(e),
        }
    }
    Error::all(errors).map(|()| values)
}

impl Dataset for SpeechDataset {
    fn len(&self, split: &Split) -> usize {
        self.split(split).map_or(0, |(_, utterances)| utterances.rows.len())
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        self.split(split).ok().and_then(|(_, utterances)| utterances.rows.get(index)).map_or(0, |row| row.samples)
    }

    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        let (number, utterances) = self.split(split)?;
        let rows: Vec<&Utterance> = indices.iter().map(|i| self.row(utterances, *i)).collect::<Result<_>>()?;
        let places: Vec<_> = indices.iter().copied().zip(&rows).collect();
        let features: Vec<Result<Features>> =
            places.par_iter().map(|(index, row)| self.features((number, *index), row)).collect();
        let features = all(features)?;
        let inputs = self.parts.preprocessor.collate(&features.iter().collect::<Vec<_>>())?;
        let targets = rows.iter().map(|row| self.target(&row.label)).collect();
        Ok(Batch { inputs, targets: Some(Targets::Sequences(targets)), len: indices.len() })
    }

    fn task(&self) -> &Task {
        &self.parts.task
    }

    fn evaluation_splits(&self) -> Vec<Split> {
        self.parts.splits.iter().map(|s| s.split.clone()).filter(|s| *s != Split::TRAIN).collect()
    }

    /// For letters `wer` and `cer`, for phones `per` and `per_mean` (the mean over utterances); in a joint run also each
    /// with `_own` after its name, decoded among the symbols of the split's language alone.
    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<MetricValue>> {
        let (_, utterances) = self.split(split)?;
        let metric = |name: String, value: f64| MetricValue { name, value };
        let decoded = self.decode(utterances, outputs, None)?;
        let rates = self.rates(utterances, &decoded);
        let mut metrics: Vec<_> = rates.into_iter().map(|(name, value)| metric(name.to_owned(), value)).collect();
        if let Some(own) = utterances.language.and_then(|language| self.parts.languages.get(language)) {
            let decoded = self.decode(utterances, outputs, Some(own))?;
            let rates = self.rates(utterances, &decoded);
            metrics.extend(rates.into_iter().map(|(name, value)| metric(format!("{name}_own"), value)));
        }
        Ok(metrics)
    }

    fn identity(&self) -> String {
        self.parts.identity.clone()
    }
}
