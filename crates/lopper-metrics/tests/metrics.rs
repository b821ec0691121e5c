//! The metrics against scikit-learn and scipy (`make_metric_fixtures.py`), and where those have no answer.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_metrics::{ClassMetric, ValueMetric, accuracy, f1, matthews, pearson, spearman};
use proptest::prelude::*;
use serde_json::Value;

const FIXTURE: &str = include_str!("fixtures/metrics.json");

fn numbers(case: &Value, key: &str) -> Vec<f64> {
    case[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn pairs(case: &Value) -> Vec<(f64, f64)> {
    numbers(case, "predicted").into_iter().zip(numbers(case, "truth")).collect()
}

#[track_caller]
fn check(case: &Value, name: &str, ours: f64, tolerance: f64) {
    let theirs = case[name].as_f64().unwrap_or(0.0);
    assert!((ours - theirs).abs() <= tolerance, "{name}: ours {ours}, theirs {theirs}: {case}");
}

#[test]
fn equal_to_scikit_learn_and_scipy() {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let (classes, values) = (fixture["classes"].as_array().unwrap(), fixture["values"].as_array().unwrap());
    assert!(classes.len() + values.len() >= 200);
    for case in classes {
        let pairs: Vec<_> = pairs(case).into_iter().map(|(p, t)| (p as u32, t as u32)).collect();
        for metric in [ClassMetric::Accuracy, ClassMetric::F1, ClassMetric::Matthews] {
            check(case, metric.name(), metric.of(&pairs), 1e-12);
        }
    }
    for case in values {
        for metric in [ValueMetric::Pearson, ValueMetric::Spearman] {
            check(case, metric.name(), metric.of(&pairs(case)), 1e-9);
        }
    }
    assert!(values.iter().any(|c| c["pearson"].is_null()), "no constant case");
}

#[test]
fn undefined_is_zero() {
    assert_eq!([accuracy(&[]), f1(&[]), matthews(&[])], [0.0; 3]);
    assert_eq!(f1(&[(0, 0), (2, 0)]), 0.0);
    assert_eq!(matthews(&[(0, 0), (0, 1)]), 0.0);
    for metric in [pearson, spearman] {
        assert_eq!(metric(&[]), 0.0);
        assert_eq!(metric(&[(1.0, 2.0)]), 0.0);
        // The mean of three 0.1 is not 0.1.
        assert_eq!(metric(&[(0.1, 1.0), (0.1, 2.0), (0.1, 4.0)]), 0.0);
    }
}

#[test]
fn extremes_do_not_overflow() {
    assert!((pearson(&[(-1.7e308, 1e-300), (1.7e308, 2e-300), (1.7e308, 2e-300)]) - 1.0).abs() < 1e-12);
    assert_eq!(spearman(&[(-f64::MAX, -0.0), (f64::MAX, 0.0)]), 0.0);
}

proptest! {
    #[test]
    fn always_in_range(pairs in prop::collection::vec((prop::num::f64::ANY, prop::num::f64::ANY), 0..20)) {
        for metric in [pearson, spearman] {
            prop_assert!((-1.0..=1.0).contains(&metric(&pairs)), "{}", metric(&pairs));
        }
    }

    #[test]
    fn symmetric_and_in_range(pairs in prop::collection::vec((0u32..4, 0u32..4), 0..50)) {
        let swapped: Vec<_> = pairs.iter().map(|(p, t)| (*t, *p)).collect();
        for metric in [accuracy, f1, matthews] {
            prop_assert_eq!(metric(&pairs), metric(&swapped));
            prop_assert!((-1.0..=1.0).contains(&metric(&pairs)));
        }
    }

    #[test]
    fn spearman_sees_only_order(xs in prop::collection::vec(-5i32..5, 2..30), ys in prop::collection::vec(-5i32..5, 30)) {
        let plain: Vec<_> = xs.iter().zip(&ys).map(|(x, y)| (f64::from(*x), f64::from(*y))).collect();
        let bent: Vec<_> = plain.iter().map(|(x, y)| (x.exp(), y * y * y)).collect();
        prop_assert!((spearman(&plain) - spearman(&bent)).abs() < 1e-12);
    }
}
