//! Transcribed recordings in splits, as a session uses them.

use crate::audio;
use crate::cache::Cache;
use crate::decode::{best_paths, collapse, spell};
use crate::labels::Lexicon;
use crate::tables::Tables;
use crate::utterances::{Fault, Opened, Utterance, Utterances};
use crate::{Dictionary, Unit};
use lopper_core::{
    Batch, Dataset, Error, Errors, Evaluation, Features, Input, Outcomes, Predictions, Preprocessor, Result, Split,
    Targets, Task,
};
use lopper_metrics::{Edits, character_edits, edits, word_edits};
use rayon::prelude::*;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Kind, Tensor};

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
    /// Samples that a model may need to hear anything.
    pub(crate) shortest: usize,
    /// Of each split, in their order.
    pub(crate) identities: Vec<String>,
    /// Whether training goes on without recordings that turn out damaged.
    pub(crate) skip_bad: bool,
}

/// What a row of a batch is made of.
enum Held<'a> {
    /// From the cache.
    Decoded(Arc<[f32]>),
    Encoded(Opened<'a>),
}

/// Transcribed recordings in splits. A batch decodes its recordings when it is asked for, on all threads of rayon.
pub struct SpeechDataset {
    parts: Parts,
    cache: Cache,
    tables: Tables,
    damaged: Mutex<HashSet<(usize, usize)>>,
}

impl SpeechDataset {
    pub(crate) fn new(parts: Parts) -> Self {
        Self { cache: Cache::new(parts.cache_bytes), tables: Tables::default(), parts, damaged: Mutex::default() }
    }

    /// The symbols of its labels.
    pub fn dictionary(&self) -> &Dictionary {
        &self.parts.dictionary
    }

    /// Rows that were left out because they cannot be used.
    pub fn skipped(&self) -> u64 {
        self.parts.splits.iter().map(|utterances| utterances.skipped).sum()
    }

    /// Recordings that hold nothing but zeros.
    pub fn silent(&self) -> usize {
        self.parts.splits.iter().map(Utterances::silent).sum()
    }

    /// Recordings that turned out damaged when they were decoded, and were left out of their batches.
    pub fn damaged(&self) -> usize {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner).len()
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

    /// Those of `indices` whose recordings can be decoded, each as the model reads it. What is left out depends on the
    /// files alone, so a run that is continued leaves out the same.
    fn usable(&self, number: usize, utterances: &Utterances, indices: &[usize]) -> Result<Vec<(usize, Features)>> {
        let rows = indices.iter().map(|i| Ok((*i, self.row(utterances, *i)?))).collect::<Result<Vec<_>>>()?;
        let held = self.held(number, &rows);
        let decoded = rows.par_iter().zip(held).map(|((i, row), held)| (*i, self.features((number, *i), row, held)));
        let decoded: Vec<_> = decoded.collect();
        let goes_on = self.parts.skip_bad && utterances.split == Split::TRAIN;
        let (mut usable, mut errors) = (Vec::with_capacity(decoded.len()), Vec::new());
        for (index, features) in decoded {
            match features {
                Ok(features) => usable.push((index, features)),
                Err(Fault::Damaged(e)) if goes_on => self.leave_out((number, index), &e),
                Err(Fault::Damaged(e) | Fault::Other(e)) => errors.push(e),
            }
        }
        Error::all(errors).map(|()| usable)
    }

    /// The first of the recordings behind `index` that can be decoded, for a batch of which nothing is left.
    fn next_usable(&self, number: usize, utterances: &Utterances, index: usize) -> Result<Vec<(usize, Features)>> {
        let len = utterances.rows.len();
        for step in 1..len {
            let usable = self.usable(number, utterances, &[(index + step) % len])?;
            if !usable.is_empty() {
                return Ok(usable);
            }
        }
        let split = utterances.split.as_str();
        Err(Error::Other(format!("none of the {len} recordings of the {split} split can be decoded")))
    }

    /// Refuses to judge a split of which recordings were left out: in a batch of nothing else, what was predicted is
    /// another recording's.
    fn refuse_substitutes(&self, number: usize, utterances: &Utterances) -> Result<()> {
        let damaged = self.count_damaged(number);
        if damaged == 0 {
            return Ok(());
        }
        let (name, split, all) = (&self.parts.task.name, utterances.split.as_str(), utterances.rows.len());
        let remedy = "`check = \"decode\"` leaves them out when the data are opened";
        Err(Error::Other(format!(
            "{damaged} of {all} recordings of {name} in its {split} split are damaged and were left out of their batches, so \
             the split cannot be judged; {remedy}"
        )))
    }

    /// Damaged recordings of the split of that number.
    fn count_damaged(&self, number: usize) -> u64 {
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        damaged.iter().filter(|(split, _)| *split == number).count() as u64
    }

    fn leave_out(&self, key: (usize, usize), error: &Error) {
        let mut damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        if damaged.insert(key) {
            let total = damaged.len();
            tracing::warn!(total, %error, "a damaged recording is left out of its batches");
        }
    }

    /// What each row is made of. Tables are read in their own order, in which rows of one page are read together.
    fn held<'a>(&self, number: usize, rows: &[(usize, &'a Utterance)]) -> Vec<Held<'a>> {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|place| rows[*place].1.audio.first().map(|sound| &sound.whole));
        let mut held: Vec<Held<'a>> = rows.iter().map(|_| Held::Encoded(Vec::new())).collect();
        for place in order {
            let (index, row) = rows[place];
            let kept = self.cache.get((number, index));
            held[place] = kept.map_or_else(|| Held::Encoded(row.open(&self.tables)), Held::Decoded);
        }
        held
    }

    /// A recording as the model reads it.
    fn features(&self, key: (usize, usize), utterance: &Utterance, held: Held<'_>) -> Result<Features, Fault> {
        let samples = match held {
            Held::Decoded(samples) => samples,
            Held::Encoded(opened) => {
                let samples: Arc<[f32]> = utterance.load(opened)?.into();
                self.cache.put(key, &samples);
                samples
            }
        };
        let features = |samples: &[f32]| {
            self.parts.preprocessor.features(Input::Audio { samples, sample_rate: audio::RATE }, None)
        };
        let judged = self.parts.splits.get(key.0).is_some_and(|utterances| utterances.split != Split::TRAIN);
        match features(&samples) {
            // Too short for the model's first step, and to be judged nevertheless: it is silent from there on.
            Err(_) if judged && samples.len() < self.parts.shortest => {
                let mut longer = samples.to_vec();
                longer.resize(self.parts.shortest, 0.0);
                features(&longer).map_err(Fault::Other)
            }
            features => features.map_err(Fault::Other),
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

    /// Refuses predictions of another head, or for another number of rows.
    fn check(&self, predictions: &Predictions, rows: Option<usize>) -> Result<()> {
        let (size, width) = (predictions.logits.size(), self.parts.dictionary.len() as i64);
        let rows = rows.map_or_else(|| size.first().copied().unwrap_or_default(), |rows| rows as i64);
        if size.len() == 3 && size[0] == rows && size[2] == width {
            return Ok(());
        }
        let (name, wanted) = (&self.parts.task.name, format!("[{rows}, time, {width}]"));
        Err(Error::Other(format!("{name} needs logits of shape {wanted}, not {size:?}")))
    }

    /// The symbols of the split's language, where it is one of several.
    fn own(&self, utterances: &Utterances) -> Option<&HashSet<u32>> {
        utterances.language.and_then(|language| self.parts.languages.get(language))
    }

    /// What a batch's rows say, for each way of [`paths`](Self::paths).
    fn hypotheses(
        &self,
        utterances: &Utterances,
        rows: usize,
        predictions: &Predictions,
    ) -> Result<Vec<Vec<Vec<u32>>>> {
        let blank = self.parts.dictionary.blank();
        let kept;
        let kept = if predictions.logits.kind() == Kind::Int {
            predictions
        } else {
            self.check(predictions, Some(rows))?;
            kept = self.paths(utterances, predictions)?;
            &kept
        };
        let (size, ways) = (kept.logits.size(), 1 + usize::from(self.own(utterances).is_some()));
        let [found, of, time] = size[..] else { return Err(self.not_kept(&size)) };
        let lengths = kept.lengths.as_deref().unwrap_or_default();
        let fit = lengths.len() == rows && lengths.iter().all(|length| (0..=time).contains(length));
        if found != rows as i64 || of != ways as i64 || !fit {
            return Err(self.not_kept(&size));
        }
        let paths = Vec::<i32>::try_from(&kept.logits.f_contiguous()?.f_view([-1])?)?;
        let path = |row: usize, way: usize| {
            let start = (row * ways + way) * time as usize;
            paths[start..start + lengths[row] as usize].iter().map(|output| *output as u32)
        };
        Ok((0..ways).map(|way| (0..rows).map(|row| collapse(path(row, way), blank)).collect()).collect())
    }

    fn not_kept(&self, size: &[i64]) -> Error {
        Error::Other(format!("{} cannot judge kept predictions of shape {size:?}", self.parts.task.name))
    }

    /// The likeliest output of every time step, `[rows, ways, time]` (int32): once among all symbols and, in a split of
    /// one of several languages, once among those of its own.
    fn paths(&self, utterances: &Utterances, predictions: &Predictions) -> Result<Predictions> {
        let blank = self.parts.dictionary.blank();
        let mut ways = vec![best_paths(predictions, blank, &|_| true)?];
        if let Some(own) = self.own(utterances) {
            ways.push(best_paths(predictions, blank, &|output| own.contains(&(output as u32)))?);
        }
        let (rows, time) = (ways[0].len(), predictions.logits.size()[1]);
        let lengths = ways[0].iter().map(|path| path.len() as i64).collect();
        let mut flat = vec![0i32; rows * ways.len() * time as usize];
        let places = (0..rows).flat_map(|row| ways.iter().map(move |way| &way[row]));
        for (place, path) in flat.chunks_exact_mut((time as usize).max(1)).zip(places) {
            place.iter_mut().zip(path).for_each(|(place, output)| *place = *output as i32);
        }
        let logits = Tensor::f_from_slice(&flat)?.f_view([rows as i64, ways.len() as i64, time])?;
        Ok(Predictions { logits, lengths: Some(lengths) })
    }

    /// What every row of a split says, for each way, from predictions that cover it once.
    fn decode(&self, utterances: &Utterances, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<Vec<Vec<u32>>>> {
        let name = &self.parts.task.name;
        let mut rows: Vec<Option<Vec<Vec<u32>>>> = vec![None; utterances.rows.len()];
        for (indices, predictions) in outputs {
            let ways = self.hypotheses(utterances, indices.len(), predictions)?;
            for (place, index) in indices.iter().enumerate() {
                self.row(utterances, *index)?;
                if rows[*index].replace(ways.iter().map(|way| way[place].clone()).collect()).is_some() {
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

    /// The errors of each row of a split, from predictions that cover it once.
    fn errors(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<Errors>> {
        let (number, utterances) = self.split(split)?;
        self.refuse_substitutes(number, utterances)?;
        let decoded = self.decode(utterances, outputs)?;
        let endings = if self.own(utterances).is_some() { &["", "_own"][..] } else { &[""] };
        let mut all = Vec::new();
        for (way, ending) in endings.iter().enumerate() {
            let pairs = || utterances.rows.iter().map(|row| &row.label).zip(decoded.iter().map(|ways| &ways[way]));
            if !self.parts.unit.spells() {
                all.push(Errors::of(format!("per{ending}"), pairs().map(|(label, ids)| edits(ids, label))));
                continue;
            }
            let texts: Vec<_> = pairs().map(|(label, ids)| (self.text(ids), self.text(label))).collect();
            let count = |of: fn(&str, &str) -> Edits| texts.iter().map(move |(found, wanted)| of(found, wanted));
            all.push(Errors::of(format!("wer{ending}"), count(word_edits)));
            all.push(Errors::of(format!("cer{ending}"), count(character_edits)));
        }
        Ok(all)
    }
}

impl Dataset for SpeechDataset {
    fn len(&self, split: &Split) -> usize {
        self.split(split).map_or(0, |(_, utterances)| utterances.rows.len())
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        self.split(split).ok().and_then(|(_, utterances)| utterances.rows.get(index)).map_or(0, |row| row.samples)
    }

    /// With `skip_bad`, a training batch has fewer rows than `indices` where recordings are damaged, and another
    /// recording where all are. [`evaluate`](Dataset::evaluate) refuses to judge a split of which anything was left out.
    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        let (number, utterances) = self.split(split)?;
        let mut rows = self.usable(number, utterances, indices)?;
        if let (true, Some(first)) = (rows.is_empty(), indices.first()) {
            rows = self.next_usable(number, utterances, *first)?;
        }
        let inputs = self.parts.preprocessor.collate(&rows.iter().map(|(_, features)| features).collect::<Vec<_>>())?;
        let targets = rows.iter().map(|(index, _)| self.target(&utterances.rows[*index].label)).collect();
        Ok(Batch::new(inputs, Targets::Sequences(targets), rows.len()))
    }

    fn task(&self) -> &Task {
        &self.parts.task
    }

    fn evaluation_splits(&self) -> Vec<Split> {
        self.parts.splits.iter().map(|s| s.split.clone()).filter(|s| *s != Split::TRAIN).collect()
    }

    /// The likeliest output of each time step alone: of ten hours of speech the outputs for 400 phones are gigabytes.
    fn keep(&self, split: &Split, predictions: Predictions) -> Result<Predictions> {
        self.check(&predictions, None)?;
        self.paths(self.split(split)?.1, &predictions)
    }

    /// For letters `wer` and `cer`, for phones `per` and `per_mean` (the mean over utterances); in a joint run also each with
    /// `_own` after its name, decoded among the symbols of the split's language alone. A split of which recordings were left
    /// out as damaged is refused.
    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation> {
        let errors = self.errors(split, outputs)?;
        let mut names = Vec::new();
        for Errors { rate, .. } in &errors {
            names.push(rate.clone());
            // The mean over utterances is told of phones alone.
            names.extend(rate.strip_prefix("per").map(|ending| format!("per_mean{ending}")));
        }
        Evaluation::of_outcomes(Outcomes::Errors(errors), names)
    }

    /// `rows_left_out` when the data were opened, `silent_recordings` and `unknown_symbols` of the others; of the recordings decoded so far
    /// `damaged_recordings`, which were left out of their batches.
    fn counts(&self, split: &Split) -> BTreeMap<&'static str, u64> {
        let Ok((number, utterances)) = self.split(split) else { return BTreeMap::new() };
        let all = [
            ("rows_left_out", utterances.skipped),
            ("silent_recordings", utterances.silent() as u64),
            ("unknown_symbols", utterances.unknown(self.parts.dictionary.len()) as u64),
            ("damaged_recordings", self.count_damaged(number)),
        ];
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    fn left_out(&self, split: &Split, indices: &[usize]) -> u64 {
        let Ok((number, _)) = self.split(split) else { return 0 };
        let damaged = self.damaged.lock().unwrap_or_else(PoisonError::into_inner);
        indices.iter().filter(|index| damaged.contains(&(number, **index))).count() as u64
    }

    fn identity(&self, split: &Split) -> String {
        let mut identities = self.parts.splits.iter().zip(&self.parts.identities);
        identities.find(|(found, _)| found.split == *split).map(|(_, identity)| identity.clone()).unwrap_or_default()
    }
}
