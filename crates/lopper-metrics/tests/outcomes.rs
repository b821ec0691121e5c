//! Outcomes: the same metrics as from pairs, of any choice of examples; text and bytes that give them back.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_metrics::{ClassMetric, Edits, Errors, Outcomes, ValueMetric, edits, error_rate, mean_error_rate};
use proptest::prelude::*;

fn classes() -> impl Strategy<Value = Outcomes> {
    prop_oneof![Just(2u32), Just(3), Just(40), Just(u32::MAX)]
        .prop_flat_map(|most| prop::collection::vec((0..most, 0..most), 0..60))
        .prop_map(Outcomes::Classes)
}

fn values() -> impl Strategy<Value = Outcomes> {
    let value = prop_oneof![-5.0..5.0f32, (0..6i8).prop_map(f32::from), prop::num::f32::NORMAL];
    prop::collection::vec((value.clone(), value), 0..60).prop_map(Outcomes::Values)
}

fn errors() -> impl Strategy<Value = Outcomes> {
    let counts = |n| prop::collection::vec((0..200u32, 0..200u32), n..=n);
    (0..40usize).prop_flat_map(move |n| (counts(n), counts(n))).prop_map(|(words, own)| {
        let way = |rate: &str, examples| Errors { rate: rate.into(), examples };
        Outcomes::Errors(vec![way("per", words), way("per_own", own)])
    })
}

fn outcomes() -> impl Strategy<Value = Outcomes> {
    prop_oneof![classes(), values(), errors()]
}

/// All metrics that such outcomes have.
fn names(outcomes: &Outcomes) -> &'static [&'static str] {
    match outcomes {
        Outcomes::Classes(_) => &["accuracy", "f1", "matthews"],
        Outcomes::Values(_) => &["pearson", "spearman"],
        Outcomes::Errors(_) => &["per", "per_mean", "per_own", "per_mean_own"],
    }
}

proptest! {
    #[test]
    fn metrics_are_those_of_the_pairs_to_the_last_bit(outcomes in outcomes()) {
        for name in names(&outcomes) {
            let found = outcomes.metric(name).unwrap();
            let expected = match &outcomes {
                Outcomes::Classes(pairs) => {
                    let all = [ClassMetric::Accuracy, ClassMetric::F1, ClassMetric::Matthews];
                    all.into_iter().find(|m| m.name() == *name).unwrap().of(pairs)
                }
                Outcomes::Values(pairs) => {
                    let pairs: Vec<_> = pairs.iter().map(|(p, t)| (f64::from(*p), f64::from(*t))).collect();
                    [ValueMetric::Pearson, ValueMetric::Spearman].into_iter().find(|m| m.name() == *name).unwrap().of(&pairs)
                }
                Outcomes::Errors(ways) => {
                    let way = &ways[usize::from(name.ends_with("_own"))];
                    let edits = |(errors, reference): &(u32, u32)| Edits {
                        deletions: (*errors).into(), reference: (*reference).into(), ..Edits::default()
                    };
                    let all: Vec<Edits> = way.examples.iter().map(edits).collect();
                    if name.contains("mean") { mean_error_rate(&all) } else { error_rate(&all) }
                }
            };
            prop_assert_eq!(found.to_bits(), expected.to_bits(), "{}: {} {}", name, found, expected);
        }
        prop_assert!(outcomes.metric("bleu").is_none());
    }

    /// Counting an example twice is having it twice.
    #[test]
    fn counts_are_repetitions(outcomes in outcomes(), counts in prop::collection::vec(0..4usize, 60)) {
        let counts = &counts[..outcomes.len()];
        let places: Vec<usize> = counts.iter().enumerate().flat_map(|(at, n)| vec![at; *n]).collect();
        let repeated = outcomes.at(&places);
        prop_assert_eq!(repeated.len(), places.len());
        let weights: Vec<f64> = counts.iter().map(|n| *n as f64).collect();
        for name in names(&outcomes) {
            let (counted, expected) = (outcomes.counted(name).unwrap().of(&weights), repeated.metric(name).unwrap());
            prop_assert!((counted - expected).abs() < 1e-9, "{}: {} {}", name, counted, expected);
        }
    }

    #[test]
    fn text_and_bytes_give_them_back(outcomes in outcomes()) {
        let text = outcomes.to_csv();
        prop_assert_eq!(&Outcomes::from_csv(&text).unwrap(), &outcomes);
        prop_assert_eq!(&Outcomes::from_csv(&text.replace('\n', "\r\n")).unwrap(), &outcomes);
        prop_assert_eq!(Outcomes::from_packed(&outcomes.to_packed()), Some(outcomes));
    }

    #[test]
    fn whatever_is_read_is_refused_or_written_again(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(read) = Outcomes::from_packed(&bytes) {
            prop_assert_eq!(Outcomes::from_packed(&read.to_packed()), Some(read));
        }
    }

    #[test]
    fn cut_bytes_are_refused(outcomes in outcomes()) {
        let packed = outcomes.to_packed();
        for length in 0..packed.len() {
            prop_assert!(Outcomes::from_packed(&packed[..length]).is_none(), "{} of {}", length, packed.len());
        }
    }
}

#[test]
fn what_is_no_outcome_is_refused_with_its_line() {
    let refused = |text: &str| Outcomes::from_csv(text).unwrap_err();
    assert!(refused("").contains("expected example with predicted_class,true_class"), "{}", refused(""));
    assert!(refused("example,wer_errors,cer_symbols\n").contains("has the columns `example,wer_errors,cer_symbols`"));
    assert!(refused("example,wer_errors\n").contains("expected"));
    assert!(refused("example,wer_errors,wer_symbols,wer_errors,wer_symbols\n").contains("expected"));
    let classes = "example,predicted_class,true_class\n";
    assert_eq!(
        refused(&format!("{classes}0,1,1\n1,-1,1\n")),
        "line 3: `-1`; expected a whole number from 0 to 4294967295"
    );
    assert_eq!(refused(&format!("{classes}1,1,1\n")), "line 2: example `1`; expected 0");
    assert_eq!(refused(&format!("{classes}0,1\n")), "line 2: 2 fields; expected 3");
    let values = "example,predicted_value,true_value\n";
    assert_eq!(refused(&format!("{values}0,inf,1\n")), "line 2: `inf`; expected a finite number");
}

/// 40,430 examples are QQP's, 9,815 MNLI's.
#[test]
fn classes_take_little_room() {
    let mnli = Outcomes::Classes((0..40_430).map(|n| (n % 3, n % 2)).collect());
    assert!(mnli.to_packed().len() < 21_000, "{}", mnli.to_packed().len());
    assert_eq!(Outcomes::from_packed(&mnli.to_packed()), Some(mnli));
}

#[test]
fn the_same_examples_have_the_same_answers_to_give() {
    let classes = |pairs: &[(u32, u32)]| Outcomes::Classes(pairs.to_vec());
    let errors = |rate: &str, examples: &[(u32, u32)]| {
        Outcomes::Errors(vec![Errors { rate: rate.into(), examples: examples.to_vec() }])
    };
    let same = |a: &Outcomes, b: &Outcomes| a.may_be_of_the_same_examples_as(b);
    assert!(same(&classes(&[(0, 1), (1, 0)]), &classes(&[(1, 1), (0, 0)])));
    assert!(!same(&classes(&[(0, 1), (1, 0)]), &classes(&[(0, 0), (1, 0)])));
    assert!(!same(&classes(&[(0, 1)]), &classes(&[(0, 1), (0, 1)])));
    assert!(same(&errors("wer", &[(3, 5)]), &errors("wer", &[(0, 5)])));
    assert!(!same(&errors("wer", &[(3, 5)]), &errors("wer", &[(3, 6)])));
    assert!(!same(&errors("wer", &[(3, 5)]), &errors("per", &[(3, 5)])));
    assert!(!same(&errors("wer", &[]), &classes(&[])));
    assert_eq!(classes(&[(0, 1), (1, 1)]).correct(), Some(vec![false, true]));
    assert_eq!(errors("wer", &[(3, 5)]).correct(), None);
    let counted = Errors::of("wer", [edits(b"abc", b"axcd")]);
    assert_eq!(counted.examples, [(2, 4)]);
}
