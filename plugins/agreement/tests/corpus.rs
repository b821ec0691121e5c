//! The generated sentences against a parser of their own.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../../../crates/lopper-text/tests/words/mod.rs"]
mod words;

use lopper_agreement::{AgreementOptions, Corpus};
use lopper_core::{DatasetEntry, DatasetRequest, Split, registry};
use lopper_text::{Example, Label};
use proptest::prelude::*;
use std::collections::HashSet;

fn corpus(options: AgreementOptions) -> Corpus {
    Corpus::generate(&options).unwrap()
}

/// Reads a sentence from the left and says whether its main verb agrees, and how many modifiers it has. Panics when
/// anything but the main verb is wrong. Knows English endings and closed word classes, not the generator's lists.
fn acceptable(sentence: &str) -> (bool, usize) {
    let body = sentence.strip_suffix('.').expect("no full stop");
    assert!(body.starts_with(|c: char| c.is_ascii_uppercase()), "{sentence}");
    let lower = body.to_lowercase();
    let mut words = lower.split(' ').peekable();
    let plural_noun = |words: &mut std::iter::Peekable<std::str::Split<'_, char>>| {
        let determiner = words.next().unwrap();
        let plural = words.next().unwrap().ends_with('s');
        match determiner {
            "the" => {}
            "this" | "one" | "every" | "each" => assert!(!plural, "{sentence}"),
            "these" | "two" | "some" | "many" => assert!(plural, "{sentence}"),
            other => panic!("`{other}` is no determiner: {sentence}"),
        }
        plural
    };
    let plural_verb = |verb: &str| !verb.ends_with('s');
    let subject = plural_noun(&mut words);
    let mut modifiers = 0;
    loop {
        match words.next().unwrap() {
            "near" | "behind" | "beside" | "with" | "from" | "above" | "under" | "around" => {
                plural_noun(&mut words);
            }
            "who" => {
                assert_eq!(plural_verb(words.next().unwrap()), subject, "{sentence}");
                plural_noun(&mut words);
            }
            "that" => {
                let other = plural_noun(&mut words);
                assert_eq!(plural_verb(words.next().unwrap()), other, "{sentence}");
            }
            verb => {
                let plural = match verb {
                    "is" | "was" | "has" | "does" => false,
                    "are" | "were" | "have" | "do" => true,
                    other => panic!("`{other}` is no verb: {sentence}"),
                };
                let follows = match verb {
                    "has" | "have" => Some("been"),
                    "does" | "do" => Some("not"),
                    _ => None,
                };
                assert!(follows.is_none_or(|word| words.next() == Some(word)), "{sentence}");
                assert!((1..=2).contains(&words.count()), "{sentence}");
                return (plural == subject, modifiers);
            }
        }
        modifiers += 1;
    }
}

#[track_caller]
fn check(examples: &[Example], distractors: usize, seen: &mut HashSet<String>) {
    for pair in examples.chunks(2) {
        let [good, bad] = pair else { panic!("a sentence without its twin") };
        assert_eq!((good.label, bad.label), (Label::Class(1), Label::Class(0)));
        let (of_good, of_bad) = (acceptable(&good.first), acceptable(&bad.first));
        assert!(of_good.0 && !of_bad.0, "{} / {}", good.first, bad.first);
        assert!(of_good.1 <= distractors && of_good.1 == of_bad.1, "{}", good.first);
        let differing = good.first.split(' ').zip(bad.first.split(' ')).filter(|(a, b)| a != b).count();
        assert_eq!(differing, 1, "{} / {}", good.first, bad.first);
        assert!(seen.insert(good.first.clone()) && seen.insert(bad.first.clone()), "twice: {}", good.first);
    }
}

#[test]
fn sentences_are_balanced_distinct_and_of_the_grammar() {
    let default = AgreementOptions::default();
    let all = corpus(default.clone());
    assert_eq!((all.train.len(), all.validation.len()), (2000, 500));
    let mut seen = HashSet::new();
    check(&all.train, default.distractors as usize, &mut seen);
    check(&all.validation, default.distractors as usize, &mut seen);
}

fn has_plural_verb(example: &Example) -> bool {
    example.first.split([' ', '.']).any(|w| matches!(w, "are" | "were" | "have" | "do"))
}

/// Share of plural verbs among the sentences of a class.
fn plural(examples: &[Example], class: u32) -> f64 {
    let of_class: Vec<_> = examples.iter().filter(|e| e.label == Label::Class(class)).collect();
    of_class.iter().filter(|e| has_plural_verb(e)).count() as f64 / of_class.len() as f64
}

#[test]
fn the_verb_alone_tells_nothing_in_validation_and_a_little_in_training() {
    let all = corpus(AgreementOptions { train: 20_000, validation: 20_000, ..AgreementOptions::default() });
    for class in [0, 1] {
        let share = plural(&all.validation, class);
        assert!((share - 0.5).abs() < 0.02, "class {class}: {share} plural");
    }
    assert!((plural(&all.train, 1) - 0.3).abs() < 0.02 && (plural(&all.train, 0) - 0.7).abs() < 0.02);
    let attracted = all.validation.iter().filter(|e| acceptable(&e.first).1 > 0).count();
    assert!(attracted > 8_000, "{attracted}");
    for singular in [0.0, 1.0] {
        let all = corpus(AgreementOptions { singular, ..AgreementOptions::default() });
        assert_eq!(plural(&all.train, 1), 1.0 - singular);
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let all = corpus(AgreementOptions::default());
    let mut hash = blake3::Hasher::new();
    for example in all.train.iter().chain(&all.validation) {
        hash.update(example.first.as_bytes()).update(b"\n");
    }
    assert_eq!(&hash.finalize().to_hex()[..16], "a5ffc9d6fb2ed2ff");
    assert_ne!(all, corpus(AgreementOptions { seed: 2, ..AgreementOptions::default() }));
    let more = corpus(AgreementOptions { train: 3000, ..AgreementOptions::default() });
    assert_eq!(more.validation, all.validation);
    assert_eq!(more.train[..2000], all.train[..]);
}

#[track_caller]
fn refused(options: &str, parts: &[&str]) {
    let table = options.parse().unwrap();
    let request = DatasetRequest::new(&table, words::words());
    let message = lopper_agreement::open(&request).err().expect("accepted").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn impossible_options_are_named_together() {
    refused(
        "train = 3\nvalidation = 0\ndistractors = 4",
        &["train = 3", "validation = 0", "distractors = 4", "0 to 3"],
    );
    refused("train = 2000000", &["from 0 to 1000000"]);
    refused("distractors = 0\ntrain = 600000\nvalidation = 600000", &["1200000", "fewer sentences"]);
    refused("singular = 1.1", &["singular = 1.1", "from 0 to 1"]);
    refused("singular = nan", &["singular"]);
    refused("sed = 3", &["did you mean `seed`?"]);
    refused("train = -2", &["train"]);
}

#[test]
fn opens_through_the_registry() {
    let entry = registry::find::<DatasetEntry>("agreement").unwrap();
    let table = "train = 40\nvalidation = 20".parse().unwrap();
    let task = (entry.task)(&table).unwrap();
    assert_eq!((task.name.as_str(), task.head.outputs(), task.primary_metric.as_str()), ("agreement", 2, "matthews"));
    let data = (entry.open)(&DatasetRequest::new(&table, words::words())).unwrap();
    assert_eq!((data.len(&Split::TRAIN), data.len(&Split::VALIDATION)), (40, 20));
    assert!(data.cost(&Split::TRAIN, 0) >= 4);
}

proptest! {
    #[test]
    fn every_corpus_is_of_the_grammar(seed in any::<u64>(), train in 0u64..40, validation in 1u64..20, distractors in 0u64..4) {
        let options = AgreementOptions { seed, train: 2 * train, validation: 2 * validation, distractors, ..Default::default() };
        let all = corpus(options);
        prop_assert_eq!((all.train.len() as u64, all.validation.len() as u64), (2 * train, 2 * validation));
        let mut seen = HashSet::new();
        check(&all.train, distractors as usize, &mut seen);
        check(&all.validation, distractors as usize, &mut seen);
    }
}
