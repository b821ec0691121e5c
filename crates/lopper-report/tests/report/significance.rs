//! Tests over the same examples, beside what statsmodels and scipy say of them (`scipy/significance.py`), and the figure that tells them.

use crate::common::{caption, cell, close, draw, number, rows};
use lopper_metrics::{Errors, Outcomes};
use lopper_report::{Cell, ExampleSet, McNemar, Resampled, Summary, holm, paired_bootstrap};
use proptest::prelude::*;
use std::path::Path;

fn numbers(text: &str) -> Vec<f64> {
    text.split(' ').map(|number| number.parse().unwrap()).collect()
}

fn records(csv: &str) -> Vec<csv::StringRecord> {
    csv::Reader::from_reader(csv.as_bytes()).records().collect::<Result<_, _>>().unwrap()
}

/// Two models of which each alone is right so often.
fn answers(first_only: usize, second_only: usize) -> (Vec<bool>, Vec<bool>) {
    let both = [(true, true), (false, false), (true, true)];
    let apart = std::iter::repeat_n((true, false), first_only).chain(std::iter::repeat_n((false, true), second_only));
    both.into_iter().chain(apart).unzip()
}

#[test]
fn mcnemar_is_that_of_statsmodels() {
    let rows = records(include_str!("scipy/mcnemar.csv"));
    assert!(rows.len() > 80);
    let mut exact = 0;
    for row in rows {
        let (b, c): (usize, usize) = (row[0].parse().unwrap(), row[1].parse().unwrap());
        let (expected, (first, second)) = (row[2].parse::<f64>().unwrap(), answers(b, c));
        let found = McNemar::of(&first, &second);
        assert_eq!((found.first_only, found.second_only), (b as u64, c as u64));
        assert!((found.probability - expected).abs() <= 1e-12 + 1e-10 * expected, "{b} {c}: {found:?}, {expected}");
        exact += usize::from(b + c < 25);
    }
    assert!(exact > 30);
    // As many on either side are no difference, however many.
    for same in [0, 1, 12, 13, 500] {
        let (first, second) = answers(same, same);
        assert_eq!(McNemar::of(&first, &second).probability, 1.0);
    }
}

#[test]
fn holm_is_that_of_statsmodels() {
    for row in records(include_str!("scipy/holm.csv")) {
        let (found, expected) = (holm(&numbers(&row[0])), numbers(&row[1]));
        assert!(
            found.iter().zip(&expected).all(|(found, expected)| close(*found, *expected)),
            "{found:?} {expected:?}"
        );
        assert_eq!(found.len(), expected.len());
    }
    assert_eq!(holm(&[]), Vec::<f64>::new());
}

#[test]
fn probabilities_over_seeds_are_those_of_scipy() {
    for row in records(include_str!("scipy/intervals.csv")) {
        let (found, expected) =
            (Summary::of(&numbers(&row[4])).unwrap().probability().unwrap(), row[3].parse::<f64>().unwrap());
        assert!((found - expected).abs() < 1e-10, "{found}, scipy {expected}");
    }
    let p = |values: &[f64]| Summary::of(values).unwrap().probability();
    assert_eq!((p(&[0.5]), p(&[0.25; 3]), p(&[0.0; 3])), (None, Some(0.0), Some(1.0)));
}

fn outcomes(metric: &str, said: &[f64], truth: &[f64]) -> Outcomes {
    let pairs = || said.iter().zip(truth);
    match metric {
        "wer" => {
            let examples = pairs().map(|(e, s)| (*e as u32, *s as u32)).collect();
            Outcomes::Errors(vec![Errors { rate: metric.into(), examples }])
        }
        "pearson" | "spearman" => Outcomes::Values(pairs().map(|(p, t)| (*p as f32, *t as f32)).collect()),
        _ => Outcomes::Classes(pairs().map(|(p, t)| (*p as u32, *t as u32)).collect()),
    }
}

fn compared(metric: &str, first: &Outcomes, second: &Outcomes) -> Resampled {
    let set = ExampleSet { metric, first: vec![(1.0, first)], second: vec![(1.0, second)] };
    paired_bootstrap(&[set]).unwrap()
}

#[test]
fn intervals_over_examples_are_those_of_scipy() {
    let rows = records(include_str!("scipy/bootstrap.csv"));
    let metrics: std::collections::BTreeSet<&str> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(metrics.len(), 6);
    for row in &rows {
        let [difference, low, high] = [1, 2, 3].map(|place| row[place].parse::<f64>().unwrap());
        let [first, second, truth] = [4, 5, 6].map(|place| numbers(&row[place]));
        let (metric, first, second) = (&row[0], outcomes(&row[0], &first, &truth), outcomes(&row[0], &second, &truth));
        let found = compared(metric, &first, &second);
        assert!((found.difference - difference).abs() < 1e-6, "{metric}: {found:?}, {difference}");
        // Two bootstraps of 10,000 differ by chance: an end by about 0.03 of its distance from the middle.
        let apart = 0.1 * (high - low) / 2.0;
        assert!(
            (found.low - low).abs() < apart && (found.high - high).abs() < apart,
            "{metric}: {found:?}, {low} {high}"
        );
        assert_eq!(found.is_difference(), found.probability < 0.05, "{metric}: {found:?}");
        assert_eq!(found.examples, truth.len());
    }
}

/// Two models' outcomes on the same examples, and a metric of theirs.
fn two() -> impl Strategy<Value = (&'static str, Outcomes, Outcomes)> {
    let classes = prop::collection::vec((0..2u32, 0..2u32, 0..2u32), 1..40).prop_map(|all| {
        let of = |said: fn(&(u32, u32, u32)) -> u32| Outcomes::Classes(all.iter().map(|e| (said(e), e.2)).collect());
        (of(|e| e.0), of(|e| e.1))
    });
    let values = prop::collection::vec((-3..3i8, -3..3i8, -3..3i8), 1..20).prop_map(|all| {
        let of = |said: fn(&(i8, i8, i8)) -> i8| {
            Outcomes::Values(all.iter().map(|e| (f32::from(said(e)), f32::from(e.2))).collect())
        };
        (of(|e| e.0), of(|e| e.1))
    });
    let errors = prop::collection::vec((0..5u32, 0..5u32, 1..9u32), 1..30).prop_map(|all| {
        let of = |said: fn(&(u32, u32, u32)) -> u32| {
            let examples = all.iter().map(|e| (said(e), e.2)).collect();
            Outcomes::Errors(vec![Errors { rate: "per".into(), examples }])
        };
        (of(|e| e.0), of(|e| e.1))
    });
    prop_oneof![
        (prop::sample::select(&["accuracy", "f1", "matthews"][..]), classes).prop_map(|(m, (a, b))| (m, a, b)),
        (prop::sample::select(&["pearson", "spearman"][..]), values).prop_map(|(m, (a, b))| (m, a, b)),
        (prop::sample::select(&["per", "per_mean"][..]), errors).prop_map(|(m, (a, b))| (m, a, b)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_same_answers_are_no_difference((metric, first, _) in two()) {
        let found = compared(metric, &first, &first);
        prop_assert_eq!((found.difference, found.low, found.high, found.probability), (0.0, 0.0, 0.0, 1.0));
        if let Some(correct) = first.correct() {
            prop_assert_eq!(McNemar::of(&correct, &correct).probability, 1.0);
        }
    }

    #[test]
    fn exchanged_models_have_the_mirrored_interval((metric, first, second) in two()) {
        let (found, mirrored) = (compared(metric, &first, &second), compared(metric, &second, &first));
        prop_assert_eq!((found.low, found.high), (-mirrored.high, -mirrored.low));
        prop_assert_eq!((found.difference, found.probability), (-mirrored.difference, mirrored.probability));
    }

    #[test]
    fn the_order_of_examples_is_nothing((metric, first, second) in two(), turn in 0..40usize, back in any::<bool>()) {
        let n = first.len();
        let mut places: Vec<usize> = (0..n).map(|place| (place + turn) % n).collect();
        if back {
            places.reverse();
        }
        prop_assert_eq!(compared(metric, &first, &second), compared(metric, &first.at(&places), &second.at(&places)));
    }

    #[test]
    fn an_interval_and_its_probability_agree((metric, first, second) in two()) {
        let found = compared(metric, &first, &second);
        prop_assert!(found.low <= found.high && found.probability > 0.0 && found.probability <= 1.0);
        prop_assert!(!found.is_difference() || found.probability <= 0.05, "{:?}", found);
        prop_assert_eq!(found.resamples, 10_000);
    }
}

#[test]
fn sets_that_cannot_be_compared_are_refused() {
    let (two, three) = (Outcomes::Classes(vec![(0, 1); 2]), Outcomes::Classes(vec![(0, 1); 3]));
    let set = |metric, second| ExampleSet { metric, first: vec![(1.0, &two)], second: vec![(1.0, second)] };
    assert_eq!(paired_bootstrap(&[set("accuracy", &three)]), None);
    assert_eq!(paired_bootstrap(&[set("wer", &two)]), None);
    assert_eq!(paired_bootstrap(&[]), None);
    let none = Outcomes::Classes(Vec::new());
    let empty = ExampleSet { metric: "accuracy", first: vec![(1.0, &none)], second: vec![(1.0, &none)] };
    assert_eq!(paired_bootstrap(&[empty]), None);
    // Many examples get fewer resamples, and not less than a thousand.
    let many = Outcomes::Classes((0..40_000).map(|n| (u32::from(n % 5 == 0), n % 2)).collect());
    assert_eq!(compared("accuracy", &many, &many).resamples, 4_996);
}

const EXAMPLES: u64 = 400;

/// Cells of two methods with three seeds, whose predictions lie in `folder`: `b` is right where `a` is, and of the others in
/// `more` of a hundred.
fn experiment(folder: &Path, more: u64) -> Vec<Cell> {
    let mixed =
        |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(n << 7).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33;
    let cells = (1..=3).flat_map(|seed| ["a", "b"].map(|method| (seed, method))).map(|(seed, method)| {
        let right = |n: u64| {
            let hard = mixed(1000 * seed + n) % 100 >= 70;
            !hard || method == "b" && mixed(77 + 1000 * seed + n) % 100 < more
        };
        let pair = |n: u64| ((n % 2) as u32 ^ u32::from(!right(n)), (n % 2) as u32);
        let outcomes = Outcomes::Classes((0..EXAMPLES).map(pair).collect());
        let mut cell = cell(&[("method", method.into())], seed, outcomes.metric("accuracy").unwrap());
        let path = folder.join(format!("{method}-{seed}.csv"));
        std::fs::write(&path, outcomes.to_csv()).unwrap();
        cell.result.as_mut().unwrap().predictions.insert("dev".into(), path);
        cell
    });
    cells.collect()
}

const COMPARE: &str = "kind = \"compare\"\nbaseline = \"a\"\n";

#[test]
fn a_comparison_tells_seeds_from_examples() {
    let folder = tempfile::tempdir().unwrap();
    let figure = draw(&experiment(folder.path(), 60), COMPARE);
    let rows = rows(&figure.csv);
    let at = |column| number(&rows, column, &[("method", "b")]);
    assert_eq!((at("n"), at("examples"), rows[0]["verdict"].as_str()), (3.0, 400.0, "better"), "{}", figure.csv);
    assert!(at("examples_low") > 0.0 && at("examples_low") < at("mean") && at("mean") < at("examples_high"));
    assert_eq!((at("p"), at("examples_p")), (at("p_holm"), at("examples_p_holm")), "there is one comparison");
    assert!(at("p") < 0.05 && at("examples_p") < 0.001);
    // Where a is right b is, too; three tests are corrected for.
    assert!(rows[0]["mcnemar_discordant"].split(' ').all(|pair| pair.ends_with("/0")), "{}", figure.csv);
    let (alone, corrected) = (numbers(&rows[0]["mcnemar_p"]), numbers(&rows[0]["mcnemar_p_holm"]));
    assert_eq!(holm(&alone), corrected);
    let told = caption(&figure);
    assert!(told.contains("over 400 examples +0.2"), "{told}");
    assert!(told.contains("McNemar 3 of 3 with p ≤ 0.05, better."), "{told}");
    assert!(
        told.contains("± is about seeds") && told.contains("10,000 paired bootstrap resamples (Koehn 2004)"),
        "{told}"
    );
    assert!(
        told.contains(
            "corrected by Holm's method for the 1 test over seeds, the 1 test over examples, the 3 tests of McNemar"
        ),
        "{told}"
    );
}

#[test]
fn what_lies_within_either_interval_is_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    // Every seed gains the same two of 400 examples: beyond any interval over seeds, and within that over examples.
    let mut cells = experiment(folder.path(), 0);
    for cell in &mut cells {
        let result = cell.result.as_mut().unwrap();
        let better = u32::from(result.method == "b");
        let pair = |n: u32| (u32::from(n >= 2 + better) * (n % 2) + u32::from(n < 2 + better) * (1 - n % 2), n % 2);
        let outcomes = Outcomes::Classes((0..400).map(|n| if n < 300 { pair(n) } else { (0, n % 2) }).collect());
        result.metrics[1].value = outcomes.metric("accuracy").unwrap();
        std::fs::write(&result.predictions["dev"], outcomes.to_csv()).unwrap();
    }
    let figure = draw(&cells, COMPARE);
    let verdict = &rows(&figure.csv)[0]["verdict"];
    assert_eq!(verdict, "no difference beyond the interval over examples", "{}", figure.csv);
    assert!(!caption(&figure).contains("better") && !caption(&figure).contains("worse"), "{}", caption(&figure));
    // One seed alone is told of as one seed.
    let (one, _): (Vec<Cell>, Vec<Cell>) = experiment(folder.path(), 60).into_iter().partition(|cell| cell.seed == 1);
    let verdict = rows(&draw(&one, COMPARE).csv)[0]["verdict"].clone();
    assert_eq!(verdict, "better on these examples, with one seed");
}

#[test]
fn many_comparisons_are_corrected() {
    let folder = tempfile::tempdir().unwrap();
    let one = experiment(folder.path(), 60);
    let mut many = one.clone();
    for copy in 0..30 {
        // The same as the baseline, but for chance in one seed.
        for cell in one.iter().filter(|cell| cell.result.as_ref().is_some_and(|r| r.method == "a")) {
            let mut cell = cell.clone();
            let name = format!("c{copy}");
            cell.axes.insert("method".into(), name.as_str().into());
            cell.result.as_mut().unwrap().method = name;
            many.push(cell);
        }
    }
    let figure = draw(&many, COMPARE);
    let rows = rows(&figure.csv);
    let b = rows.iter().find(|row| row["method"] == "b").unwrap();
    let (alone, corrected) = (numbers(&b["p"])[0], numbers(&b["p_holm"])[0]);
    assert!(close(corrected, (31.0 * alone).min(1.0)), "{alone} {corrected}");
    let expected = if corrected > 0.05 { "beyond its interval, but not among so many comparisons" } else { "better" };
    assert_eq!(b["verdict"], expected);
    let same = rows.iter().find(|row| row["method"] == "c7").unwrap();
    assert_eq!(
        (same["examples_p_holm"].as_str(), same["verdict"].as_str()),
        ("1", "no difference beyond the intervals")
    );
}

#[test]
fn predictions_that_do_not_tell_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let cells = experiment(folder.path(), 60);
    let said = |change: &dyn Fn(&mut Cell)| {
        let mut cells = cells.clone();
        change(cells.iter_mut().find(|cell| cell.name == "b 2").unwrap());
        let figure = draw(&cells, COMPARE);
        assert_eq!(rows(&figure.csv)[0]["examples"], "");
        assert_eq!(rows(&figure.csv)[0]["verdict"], "better", "seeds still tell");
        caption(&figure)
    };
    let predictions = |cell: &mut Cell| cell.result.as_mut().unwrap().predictions.clone();
    let told = said(&|cell| cell.result.as_mut().unwrap().predictions.clear());
    let why = "Nothing is said over examples of 1 of 1 comparisons: b 2 has no predictions of dev: it was judged by a Lopper that did not \
               keep them, or its dataset does not tell them.";
    assert!(told.contains(why), "{told}");
    let told = said(&|cell| *cell.result.as_mut().unwrap().predictions.get_mut("dev").unwrap() = "none.csv".into());
    assert!(told.contains("none.csv cannot be read"), "{told}");
    let whole = std::fs::read_to_string(&cells[3].result.as_ref().unwrap().predictions["dev"]).unwrap();
    let told = said(&|cell| std::fs::write(&predictions(cell)["dev"], whole.replacen(",1,1\n", ",0,1\n", 1)).unwrap());
    assert!(told.contains("it is of other predictions"), "{told}");
    // As many right answers, to other questions.
    let other = whole.replace(",1,1\n", ",x\n").replace(",0,0\n", ",1,1\n").replace(",x\n", ",0,0\n");
    let told = said(&|cell| std::fs::write(&predictions(cell)["dev"], &other).unwrap());
    assert!(told.contains("were not judged by the same examples"), "{told}");
    let told = said(&|cell| std::fs::write(&predictions(cell)["dev"], "pandas").unwrap());
    assert!(told.contains("is no file of predictions: has the columns `pandas`"), "{told}");
}
