//! Error rates against `jiwer` (`make_edit_fixtures.py`) and against the textbook's table.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_metrics::{Edits, character_edits, edits, error_rate, mean_error_rate, word_edits};
use proptest::prelude::*;
use serde_json::Value;

const FIXTURE: &str = include_str!("fixtures/edits.json");

/// Edits of each pair, by words and by characters, held against what `jiwer` says about the pair and about all together.
fn check(fixture: &str) -> usize {
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let text = |pair: &Value, key: &str| pair[key].as_str().unwrap().to_owned();
    let (mut by_word, mut by_character) = (Vec::new(), Vec::new());
    for pair in fixture["pairs"].as_array().unwrap() {
        let (predicted, truth) = (text(pair, "predicted"), text(pair, "truth"));
        let (words, characters) = (word_edits(&predicted, &truth), character_edits(&predicted, &truth));
        for (edits, errors, rate) in [(words, "word_errors", "wer"), (characters, "character_errors", "cer")] {
            assert_eq!(edits.errors(), pair[errors].as_u64().unwrap(), "{pair}");
            assert!((edits.rate() - pair[rate].as_f64().unwrap()).abs() < 1e-12, "{pair}");
        }
        by_word.push(words);
        by_character.push(characters);
    }
    for (edits, key) in [(&by_word, "wer"), (&by_character, "cer")] {
        let (ours, theirs) = (error_rate(edits), fixture["corpus"][key].as_f64().unwrap());
        assert!((ours - theirs).abs() < 1e-12, "{key}: ours {ours}, theirs {theirs}");
    }
    by_word.len()
}

#[test]
fn equal_to_jiwer() {
    assert_eq!(check(FIXTURE), 203);
    // More pairs than belong into the repository, made by the same script.
    if let Some(path) = std::env::var_os("LOPPER_EDITS") {
        let pairs = check(&std::fs::read_to_string(path).unwrap());
        assert!(pairs > 200, "{pairs} pairs");
    }
}

#[test]
fn the_counts_are_those_of_a_best_alignment() {
    let counts = |predicted: &str, truth: &str| {
        let predicted: Vec<_> = predicted.chars().collect();
        let Edits { substitutions, deletions, insertions, reference } =
            edits(&predicted, &truth.chars().collect::<Vec<_>>());
        (substitutions, deletions, insertions, reference)
    };
    assert_eq!(counts("sitting", "kitten"), (2, 0, 1, 6));
    assert_eq!(counts("kitten", "sitting"), (2, 1, 0, 7));
    assert_eq!(counts("", "abc"), (0, 3, 0, 3));
    assert_eq!(counts("abc", ""), (0, 0, 3, 0));
    assert_eq!(counts("", ""), (0, 0, 0, 0));
    // A deletion and an insertion would do as well; substitutions go first.
    assert_eq!(counts("ba", "ab"), (2, 0, 0, 2));
    assert_eq!(counts("xab", "abx"), (0, 1, 1, 3));
}

#[test]
fn a_corpus_weighs_symbols_and_a_mean_utterances() {
    let all = [word_edits("a b", "a b"), word_edits("x", "a"), word_edits("", "a b c d e")];
    assert_eq!(error_rate(&all), 6.0 / 8.0);
    assert_eq!(mean_error_rate(&all), 2.0 / 3.0);
    assert_eq!((error_rate(&[]), mean_error_rate(&[])), (0.0, 0.0));
    // An empty reference has no symbol to divide by.
    assert_eq!((word_edits("a b", " ").rate(), word_edits(" \t", "").rate()), (2.0, 0.0));
    assert_eq!(word_edits(" a\u{2003}b\n", "a b").errors(), 0);
    assert_eq!(character_edits("a  b", "a b").errors(), 0);
}

/// The whole table, without any of the shortcuts.
fn naive(predicted: &[u8], truth: &[u8]) -> u64 {
    let mut table = vec![vec![0; predicted.len() + 1]; truth.len() + 1];
    for t in 0..=truth.len() {
        for p in 0..=predicted.len() {
            table[t][p] = match (t, p) {
                (0, _) => p as u64,
                (_, 0) => t as u64,
                _ => {
                    let diagonal = table[t - 1][p - 1] + u64::from(predicted[p - 1] != truth[t - 1]);
                    diagonal.min(table[t - 1][p] + 1).min(table[t][p - 1] + 1)
                }
            };
        }
    }
    table[truth.len()][predicted.len()]
}

fn sequence() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![prop::collection::vec(0u8..3, 0..30), prop::collection::vec(0u8..20, 0..30)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn equal_to_the_whole_table(predicted in sequence(), truth in sequence()) {
        let found = edits(&predicted, &truth);
        prop_assert_eq!(found.errors(), naive(&predicted, &truth));
        prop_assert_eq!(found.reference, truth.len() as u64);
        prop_assert_eq!(found.deletions + predicted.len() as u64, found.insertions + truth.len() as u64);
        prop_assert!(found.substitutions + found.deletions <= truth.len() as u64);
        prop_assert!(found.substitutions + found.insertions <= predicted.len() as u64);
    }

    #[test]
    fn a_distance_in_the_sense_of_geometry(a in sequence(), b in sequence(), c in sequence()) {
        let distance = |x: &[u8], y: &[u8]| edits(x, y).errors();
        prop_assert_eq!(distance(&a, &a), 0);
        prop_assert_eq!(distance(&a, &b), distance(&b, &a));
        prop_assert!(distance(&a, &c) <= distance(&a, &b) + distance(&b, &c));
    }
}
