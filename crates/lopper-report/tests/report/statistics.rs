//! Means, intervals and quantiles beside what scipy says of them (`scipy/make.py`).

use lopper_report::{Summary, t_quantile};
use proptest::prelude::*;

fn rows(csv: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(csv.as_bytes()).records().collect::<Result<_, _>>().unwrap()
}

#[test]
fn quantiles_are_those_of_scipy() {
    let rows = rows(include_str!("scipy/quantiles.csv"));
    assert!(rows.len() > 40);
    for row in rows {
        let (degrees, expected): (u32, f64) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        let found = t_quantile(degrees);
        // The exact values below show that scipy's are off by as much as 2e-11.
        assert!((found / expected - 1.0).abs() < 1e-10, "{degrees}: {found}, scipy {expected}");
    }
}

#[test]
fn quantiles_of_few_degrees_are_exact() {
    // The distributions of 1 and 2 degrees can be inverted by hand.
    let p: f64 = 0.975;
    let one = (std::f64::consts::PI * (p - 0.5)).tan();
    let two = (2.0 * p - 1.0) / (2.0 * p * (1.0 - p)).sqrt();
    assert!((t_quantile(1) / one - 1.0).abs() < 1e-14, "{} {one}", t_quantile(1));
    assert!((t_quantile(2) / two - 1.0).abs() < 1e-14, "{} {two}", t_quantile(2));
}

#[test]
fn intervals_and_differences_are_those_of_scipy() {
    let rows = rows(include_str!("scipy/intervals.csv"));
    let (mut yes, mut no) = (0, 0);
    for row in rows {
        let expected: Vec<f64> = (0..4).map(|place| row[place].parse().unwrap()).collect();
        let values: Vec<f64> = row[4].split(' ').map(|value| value.parse().unwrap()).collect();
        let found = Summary::of(&values).unwrap();
        assert_eq!(found.n, values.len());
        for (found, expected) in [found.mean, found.low(), found.high()].into_iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-10, "{found}, scipy {expected}");
        }
        // The interval of the mean leaves 0 out just where the two-sided test is below 0.05.
        assert_eq!(found.is_difference(), expected[3] < 0.05, "p = {}", expected[3]);
        if found.is_difference() { yes += 1 } else { no += 1 }
    }
    assert!(yes > 1 && no > 1, "the rows show both");
}

#[test]
fn one_value_has_no_interval_and_what_is_not_finite_has_no_mean() {
    let one = Summary::of(&[0.5]).unwrap();
    assert_eq!((one.n, one.mean, one.half, one.is_difference()), (1, 0.5, None, false));
    assert_eq!(Summary::of(&[]), None);
    assert_eq!(Summary::of(&[0.5, f64::NAN]), None);
    assert_eq!(Summary::of(&[0.5, f64::INFINITY]), None);
    let same = Summary::of(&[0.25; 3]).unwrap();
    assert_eq!(same.half, Some(0.0));
}

proptest! {
    #[test]
    fn an_interval_holds_its_mean_and_moves_with_its_values(
        values in prop::collection::vec(-100.0..100.0f64, 2..12), shift in -50.0..50.0f64, factor in 0.1..10.0f64,
    ) {
        let summary = Summary::of(&values).unwrap();
        prop_assert!(summary.low() <= summary.mean && summary.mean <= summary.high());
        let moved = Summary::of(&values.iter().map(|v| factor * v + shift).collect::<Vec<_>>()).unwrap();
        prop_assert!((moved.mean - (factor * summary.mean + shift)).abs() < 1e-9);
        prop_assert!((moved.half.unwrap() - factor * summary.half.unwrap()).abs() < 1e-8);
    }
}

#[test]
fn quantiles_fall_towards_that_of_the_normal_distribution() {
    let all: Vec<f64> = (1..200).map(t_quantile).collect();
    assert!(all.windows(2).all(|pair| pair[0] > pair[1]));
    assert!(t_quantile(100_000) > 1.959_963 && t_quantile(100_000) < 1.96);
}
