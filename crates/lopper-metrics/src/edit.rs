//! Error rates of sequences: words, letters, phones.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// What turns a reference into a prediction, by an alignment with the fewest errors.
///
/// Of several such alignments the one with the most substitutions counts, so that the counts are the same everywhere.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Edits {
    /// Symbols that stand where another should.
    pub substitutions: u64,
    /// Symbols of the reference that are missing.
    pub deletions: u64,
    /// Symbols that the reference does not have.
    pub insertions: u64,
    /// Symbols of the reference.
    pub reference: u64,
}

impl Edits {
    /// Substitutions, deletions and insertions together: the Levenshtein distance.
    pub fn errors(&self) -> u64 {
        self.substitutions + self.deletions + self.insertions
    }

    /// Errors for each symbol of the reference, from 0 up and above 1 where more is inserted than there is. An empty
    /// reference has as many as there are insertions, so that the rate is a number: as `jiwer` 4 has it.
    pub fn rate(&self) -> f64 {
        self.errors() as f64 / self.reference.max(1) as f64
    }
}

impl Add for Edits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            substitutions: self.substitutions + other.substitutions,
            deletions: self.deletions + other.deletions,
            insertions: self.insertions + other.insertions,
            reference: self.reference + other.reference,
        }
    }
}

impl AddAssign for Edits {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// The edits of a whole corpus.
impl Sum for Edits {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), Add::add)
    }
}

/// One error in the upper half, one insertion or deletion in the lower: smaller is better, errors first.
const SUBSTITUTION: u64 = 1 << 32;
const GAP: u64 = SUBSTITUTION + 1;

/// The edits between a prediction and its reference, in time `predicted × truth` and memory `predicted`; each at most
/// 2³¹ symbols long.
pub fn edits<T: PartialEq>(predicted: &[T], truth: &[T]) -> Edits {
    // What both begin and end with is aligned with itself in some best alignment.
    let head = predicted.iter().zip(truth).take_while(|(p, t)| p == t).count();
    let (short, long) = (&predicted[head..], &truth[head..]);
    let tail = short.iter().rev().zip(long.iter().rev()).take_while(|(p, t)| p == t).count();
    let (p, t) = (&short[..short.len() - tail], &long[..long.len() - tail]);
    let mut row: Vec<u64> = (0..=p.len() as u64).map(|inserted| inserted * GAP).collect();
    for (place, wanted) in t.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (place as u64 + 1) * GAP;
        for (column, found) in p.iter().enumerate() {
            let matched = diagonal + if found == wanted { 0 } else { SUBSTITUTION };
            diagonal = row[column + 1];
            row[column + 1] = matched.min(diagonal + GAP).min(row[column] + GAP);
        }
    }
    let best = row[p.len()];
    let (errors, gaps) = (best >> 32, best & u64::from(u32::MAX));
    // Deletions less insertions are the difference in length.
    let deletions = (gaps + t.len() as u64 - p.len() as u64) / 2;
    Edits { substitutions: errors - gaps, deletions, insertions: gaps - deletions, reference: truth.len() as u64 }
}

/// [`edits`] between the words of two texts, split at white space: what a word error rate counts.
pub fn word_edits(predicted: &str, truth: &str) -> Edits {
    edits(&words(predicted), &words(truth))
}

/// [`edits`] between the characters (Unicode scalar values) of two texts, a single space between words: what a character
/// error rate counts.
pub fn character_edits(predicted: &str, truth: &str) -> Edits {
    let characters = |text: &str| words(text).join(" ").chars().collect::<Vec<_>>();
    edits(&characters(predicted), &characters(truth))
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

/// The error rate of a corpus: the errors of all utterances for each symbol of all references. What fairseq and `jiwer`
/// report; where all references are empty the insertions, as in `jiwer` 4; 0 for no utterances.
pub fn error_rate(utterances: &[Edits]) -> f64 {
    utterances.iter().copied().sum::<Edits>().rate()
}

/// The mean of the utterances' own rates, which gives a short utterance the weight of a long one: what CPC_audio
/// reports; 0 for no utterances.
pub fn mean_error_rate(utterances: &[Edits]) -> f64 {
    let sum: f64 = utterances.iter().map(Edits::rate).sum();
    if utterances.is_empty() { 0.0 } else { sum / utterances.len() as f64 }
}
