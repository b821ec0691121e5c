//! Sentence acceptability from a small English grammar, generated from a seed.
//!
//! A verb must agree in number with its subject, not with the nouns between the two (the agreement task of Linzen et
//! al. 2016): *The author near these kings **is** tired*, not *\*are tired*. Every acceptable sentence stands beside its
//! twin with the other form of the verb. In validation half of the subjects are singular, so no word tells the label: a
//! model that ignores the structure scores accuracy 0.5 and Matthews 0. Matthews is the primary metric, because 0 is then
//! what a collapsed model gets.
//!
//! Training prefers singular subjects, as English does. With equal shares the label is the parity of two numbers, whose
//! gradient vanishes at first: some seeds then finetune for a hundred updates and learn nothing. With a preference the
//! verb alone is worth a little, and the subject is learned on top of it.

mod grammar;

pub use grammar::{Pair, sentence_pair};

use lopper_core::{Dataset, DatasetEntry, DatasetRequest, Error, Result, Split, Task, options};
use lopper_metrics::ClassMetric::{Accuracy, Matthews};
use lopper_text::{Example, Kind, Label, TextDataset};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

const NAME: &str = "agreement";
const KIND: Kind = Kind::Classification { labels: &["unacceptable", "acceptable"], metrics: &[Matthews, Accuracy] };
const LARGEST_SPLIT: u64 = 1_000_000;
const MOST_DISTRACTORS: u64 = 3;

options! {
    /// Options of the `agreement` dataset.
    pub struct AgreementOptions {
        /// Seeds the sentences.
        seed: u64 = 1,
        /// Training sentences, an even number: every acceptable one comes with its unacceptable twin.
        train: u64 = 2000,
        /// Validation sentences, an even number.
        validation: u64 = 500,
        /// The most phrases with a noun of their own between the subject and its verb, 0 to 3; a sentence has any number up to it.
        distractors: u64 = 1,
        /// Share of training sentences with a singular subject, 0 to 1; validation has equal shares. At 0.5 training may not begin to learn for long.
        singular: f64 = 0.7,
        /// Tokens kept of a sentence, special tokens counted.
        max_length: u32 = 64,
    }
}

/// Generated sentences; no sentence and no twin is in both splits, or twice in one.
#[derive(Debug, Clone, PartialEq)]
pub struct Corpus {
    /// What is trained on.
    pub train: Vec<Example>,
    /// What is evaluated. It does not change with the number of training sentences.
    pub validation: Vec<Example>,
}

impl Corpus {
    /// The sentences that `options` describe: the same for the same options, on every machine.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for an odd or too large number of sentences, no validation, too many distractors, a share outside
    /// `[0, 1]`, and for more sentences than the grammar has with so few distractors.
    pub fn generate(options: &AgreementOptions) -> Result<Self> {
        check(options)?;
        let validation = (options.validation / 2) as usize;
        let wanted = validation + (options.train / 2) as usize;
        let mut rng = ChaCha8Rng::seed_from_u64(options.seed);
        let mut seen = HashSet::new();
        let mut pairs = Vec::with_capacity(wanted);
        // Twins differ in the verb alone, so distinct acceptable sentences have distinct twins.
        for _ in 0..1000 + 4 * wanted {
            if pairs.len() == wanted {
                break;
            }
            let singular = if pairs.len() < validation { 0.5 } else { options.singular };
            let pair = sentence_pair(&mut rng, options.distractors as usize, singular);
            if seen.insert(pair.acceptable.clone()) {
                pairs.push(pair);
            }
        }
        if pairs.len() < wanted {
            let (found, expected) = (2 * pairs.len(), "ask for fewer sentences or more distractors");
            let expected = format!("only {found} different sentences were found with so few distractors; {expected}");
            return Err(Error::invalid("[data] train + validation", options.train + options.validation, expected));
        }
        let train = pairs.split_off(validation);
        Ok(Self { train: examples(train), validation: examples(pairs) })
    }
}

fn check(options: &AgreementOptions) -> Result<()> {
    let mut problems = Vec::new();
    for (key, sentences, least) in [("train", options.train, 0), ("validation", options.validation, 2)] {
        if !sentences.is_multiple_of(2) || !(least..=LARGEST_SPLIT).contains(&sentences) {
            let expected = format!("give an even number from {least} to {LARGEST_SPLIT}");
            problems.push(Error::invalid(format!("[data] {key}"), sentences, expected));
        }
    }
    if options.distractors > MOST_DISTRACTORS {
        let expected = format!("give a number from 0 to {MOST_DISTRACTORS}");
        problems.push(Error::invalid("[data] distractors", options.distractors, expected));
    }
    if !(0.0..=1.0).contains(&options.singular) {
        problems.push(Error::invalid("[data] singular", options.singular, "give a share from 0 to 1"));
    }
    Error::all(problems)
}

fn examples(pairs: Vec<Pair>) -> Vec<Example> {
    let example = |first, class| Example { first, second: None, label: Label::Class(class) };
    pairs.into_iter().flat_map(|pair| [example(pair.acceptable, 1), example(pair.unacceptable, 0)]).collect()
}

/// The task, whatever the options.
///
/// # Errors
/// As [`AgreementOptions::parse`] and [`Corpus::generate`].
pub fn task(options: &toml::Table) -> Result<Task> {
    check(&AgreementOptions::parse(options, "[data]")?)?;
    Ok(KIND.task(NAME))
}

/// Generates the sentences and tokenises them.
///
/// # Errors
/// As [`task`], [`Corpus::generate`] and [`TextDataset::new`].
pub fn open(request: &DatasetRequest<'_>) -> Result<TextDataset> {
    let options = AgreementOptions::parse(request.options, "[data]")?;
    let corpus = Corpus::generate(&options)?;
    let splits = [(Split::TRAIN, corpus.train), (Split::VALIDATION, corpus.validation)];
    TextDataset::new(NAME, KIND, &splits, options.max_length, request.preprocessor.clone())
}

inventory::submit! {
    DatasetEntry::new(
        NAME,
        "sentence acceptability, generated: subject-verb agreement across distractors",
        AgreementOptions::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        task,
        |request| open(request).map(|dataset| Box::new(dataset) as Box<dyn Dataset>),
    )
}
