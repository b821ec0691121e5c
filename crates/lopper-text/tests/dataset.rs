//! Batches, metrics and identities of labelled texts.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod words;

use lopper_core::{Dataset, Error, Predictions, Split, Targets};
use lopper_metrics::{ClassMetric, ValueMetric};
use lopper_text::{Example, Kind, Label, TextDataset};
use tch::Tensor;
use words::words;

const CLASSES: Kind =
    Kind::Classification { labels: &["no", "yes"], metrics: &[ClassMetric::Accuracy, ClassMetric::F1] };
const NUMBERS: Kind = Kind::Regression { metrics: &[ValueMetric::Pearson] };

fn example(first: &str, second: Option<&str>, label: Label) -> Example {
    Example { first: first.into(), second: second.map(Into::into), label }
}

fn three(labels: [Label; 3]) -> Vec<Example> {
    let [a, b, c] = labels;
    vec![example("a bb ccc", None, a), example("dddd", Some("ee f"), b), example("a b c d e f g", None, c)]
}

fn dataset(kind: Kind, labels: [Label; 3], max_length: u32) -> TextDataset {
    TextDataset::new("toy", kind, &[(Split::VALIDATION, three(labels))], max_length, words()).unwrap()
}

fn classes() -> [Label; 3] {
    [Label::Class(1), Label::Class(0), Label::Class(1)]
}

fn predictions(logits: &[f32], outputs: i64) -> Predictions {
    Predictions { logits: Tensor::from_slice(logits).reshape([-1, outputs]), lengths: None }
}

#[test]
fn batches_hold_the_rows_asked_for() {
    let data = dataset(CLASSES, classes(), 5);
    let costs: Vec<_> = (0..4).map(|i| data.cost(&Split::VALIDATION, i)).collect();
    assert_eq!(costs, [3, 4, 5, 0]);
    let batch = data.batch(&Split::VALIDATION, &[1, 0]).unwrap();
    let ids: Vec<Vec<i64>> = Vec::try_from(batch.input("input_ids").unwrap()).unwrap();
    assert_eq!(ids, [[4, 0, 2, 1], [1, 2, 3, 0]]);
    let Some(Targets::Classes(targets)) = batch.targets else { panic!("no classes") };
    assert_eq!(Vec::<i64>::try_from(targets).unwrap(), [0, 1]);
    assert_eq!(batch.len, 2);
    assert_eq!(data.len(&Split::TRAIN), 0);
    assert_eq!(data.evaluation_splits(), [Split::VALIDATION]);
}

#[test]
fn rows_and_splits_that_are_not_there_are_named() {
    let data = dataset(CLASSES, classes(), 5);
    let message = data.batch(&Split::VALIDATION, &[0, 3]).unwrap_err().to_string();
    assert!(message.contains("3 examples") && message.contains("index 3"), "{message}");
    let message = data.batch(&Split::TRAIN, &[0]).unwrap_err().to_string();
    assert!(message.contains("without a train split; it has validation"), "{message}");
}

#[test]
fn metrics_do_not_depend_on_the_order_of_batches() {
    let data = dataset(CLASSES, classes(), 5);
    let outputs = [(vec![2, 0], predictions(&[0.0, 1.0, 2.0, 1.0], 2)), (vec![1], predictions(&[3.0, 3.0], 2))];
    let metrics = data.evaluate(&Split::VALIDATION, &outputs).unwrap().metrics;
    // Example 0 is called 0 (wrong), 2 is called 1, and the tie of 1 goes to class 0.
    let named: Vec<_> = metrics.iter().map(|m| (m.name.as_str(), m.value)).collect();
    assert_eq!(named, [("accuracy", 2.0 / 3.0), ("f1", 2.0 / 3.0)]);
}

#[test]
fn regression_compares_raw_values() {
    let data = dataset(NUMBERS, [Label::Value(0.0), Label::Value(2.5), Label::Value(5.0)], 5);
    let metrics =
        data.evaluate(&Split::VALIDATION, &[(vec![0, 1, 2], predictions(&[-7.0, 0.0, 7.0], 1))]).unwrap().metrics;
    assert!((metrics[0].value - 1.0).abs() < 1e-12, "{metrics:?}");
    let Some(Targets::Values(targets)) = data.batch(&Split::VALIDATION, &[2]).unwrap().targets else { panic!() };
    assert_eq!(Vec::<f32>::try_from(targets).unwrap(), [5.0]);
}

#[track_caller]
fn refused(outputs: &[(Vec<usize>, Predictions)], part: &str) -> Error {
    let error = dataset(CLASSES, classes(), 5).evaluate(&Split::VALIDATION, outputs).unwrap_err();
    assert!(error.to_string().contains(part), "{error}");
    error
}

#[test]
fn predictions_must_cover_the_split_once_with_finite_numbers() {
    let two = || predictions(&[0.0, 1.0, 1.0, 0.0], 2);
    refused(&[], "3 of 3 examples of toy were not predicted");
    refused(&[(vec![0, 2], two())], "1 of 3");
    refused(&[(vec![0, 0], two())], "example 0 was predicted twice");
    refused(&[(vec![0, 7], two())], "none of index 7");
    refused(&[(vec![0, 1, 2], two())], "shape [3, 2], not [2, 2]");
    refused(&[(vec![0, 1], predictions(&[0.0; 6], 3))], "not [2, 3]");
    let error = refused(&[(vec![0, 1], predictions(&[0.0, 1.0, f32::NAN, 0.0], 2))], "example 1");
    assert!(matches!(error, Error::Diverged(_)));
}

#[test]
fn labels_of_another_kind_are_refused() {
    for (kind, label) in [
        (CLASSES, Label::Class(2)),
        (CLASSES, Label::Value(0.0)),
        (NUMBERS, Label::Class(0)),
        (NUMBERS, Label::Value(f32::NAN)),
    ] {
        let splits = [(Split::TRAIN, vec![example("a", None, label)])];
        assert!(TextDataset::new("toy", kind, &splits, 5, words()).is_err(), "{kind:?} {label:?}");
    }
    let twice = [(Split::TRAIN, Vec::new()), (Split::TRAIN, Vec::new())];
    assert!(TextDataset::new("toy", CLASSES, &twice, 5, words()).is_err());
    assert!(matches!(TextDataset::new("toy", CLASSES, &[], 5, None), Err(Error::Unsupported { .. })));
}

#[test]
fn everything_that_batches_depend_on_is_in_the_identity() {
    let of = |name: &str, kind, splits: &[(Split, Vec<Example>)], max_length| {
        let dataset = TextDataset::new(name, kind, splits, max_length, words()).unwrap();
        dataset.identity(&splits.last().unwrap().0)
    };
    let base = vec![(Split::VALIDATION, three(classes()))];
    let mut variants = vec![
        of("toy", CLASSES, &base, 5),
        of("other", CLASSES, &base, 5),
        of("toy", CLASSES, &base, 6),
        of("toy", CLASSES, &[(Split::TRAIN, three(classes()))], 5),
        of("toy", CLASSES, &[(Split::VALIDATION, three([Label::Class(0); 3]))], 5),
    ];
    let texts = [("ab", Some("c")), ("a", Some("bc")), ("abc", None), ("abc", Some(""))];
    for (first, second) in texts {
        let splits = [(Split::VALIDATION, vec![example(first, second, Label::Class(0))])];
        variants.push(of("toy", CLASSES, &splits, 5));
    }
    assert_eq!(variants[0], of("toy", CLASSES, &base, 5));
    // And nothing that they do not depend on: other splits.
    assert_eq!(variants[0], of("toy", CLASSES, &[(Split::TRAIN, three(classes())), base[0].clone()], 5));
    let count = variants.len();
    variants.sort();
    variants.dedup();
    assert_eq!(variants.len(), count);
}
