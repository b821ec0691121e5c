//! Curves, costs, tables and comparisons on numbers that can be checked by hand.

use crate::common::{caption, cell, close, draw, number, rows, unfinished};
use lopper_report::{Cell, State, Summary};

/// Two methods at two sparsities with three seeds; `b` is better by 0.1, 0.11 and 0.09 at 0.5, and by chance at 0.1.
fn cells() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (seed, base, gap) in [(1, 0.50, 0.10), (2, 0.60, 0.11), (3, 0.70, 0.09)] {
        cells.push(cell(&[("method", "dense".into())], seed, base + 0.12));
        for (sparsity, gap) in [(0.1, 0.01 * (seed as f64 - 2.0)), (0.5, gap)] {
            cells.push(cell(&[("method", "a".into()), ("sparsity", sparsity.into())], seed, base));
            cells.push(cell(&[("method", "b".into()), ("sparsity", sparsity.into())], seed, base + gap));
        }
    }
    cells
}

const CURVE: &str = "kind = \"curve\"\ndense = { method = \"dense\" }";

#[test]
fn a_curve_has_means_and_intervals_over_seeds() {
    let figure = draw(&cells(), CURVE);
    let rows = rows(&figure.csv);
    assert_eq!(rows.len(), 5);
    let expected = Summary::of(&[0.6, 0.71, 0.79]).unwrap();
    let at = [("method", "b"), ("sparsity", "0.5")];
    assert!(close(number(&rows, "mean", &at), expected.mean));
    assert!(close(number(&rows, "low", &at), expected.low()));
    assert!(close(number(&rows, "high", &at), expected.high()));
    assert_eq!(number(&rows, "n", &at), 3.0);
    assert!(close(number(&rows, "mean", &[("method", "dense"), ("sparsity", "")]), 0.72));
    assert_eq!(figure.lines, ["a", "b", "dense"]);
}

#[test]
fn a_curve_says_what_is_more_than_chance() {
    let told = caption(&draw(&cells(), CURVE));
    // Unpaired, the intervals of a and b overlap widely; paired by seed they do not.
    assert!(told.contains("Best mean: a at 10 % (nowhere clearly); b at 50 % (clearly)."), "{told}");
    assert!(told.contains("Furthest apart at 50 %: b 0.700 ± 0.237 and a 0.600 ± 0.248."), "{told}");
    assert!(told.contains("Not clearly worse than dense (0.720 ± 0.248): a nowhere and b nowhere."), "{told}");
    assert!(told.contains("Bars are 95 % intervals of Student's t over 3 seeds."), "{told}");
}

#[test]
fn a_metric_of_which_less_is_better_turns_the_ranking() {
    let told = caption(&draw(&cells(), "kind = \"curve\"\ny = \"dev/wer\"\nwhere = { method = [\"a\", \"b\"] }"));
    assert!(told.contains("b at 50 % (clearly)") && told.contains("Furthest apart at 50 %: b 0.300"), "{told}");
    let figure = draw(&cells(), "kind = \"curve\"\ny = \"wer\"");
    assert!(figure.svg.contains("wer (dev), lower is better ↓"));
}

#[test]
fn one_seed_has_no_interval_and_says_so() {
    let one: Vec<Cell> = cells().into_iter().filter(|cell| cell.seed == 1).collect();
    let figure = draw(&one, CURVE);
    assert!(rows(&figure.csv).iter().all(|row| row["n"] == "1" && row["low"].is_empty() && row["high"].is_empty()));
    let told = caption(&figure);
    assert!(told.contains("One seed: there is no interval, and no difference can be told from chance."), "{told}");
    assert!(
        told.contains("nowhere clearly") && !told.contains("(clearly") && !told.contains("Not clearly worse"),
        "{told}"
    );
}

#[test]
fn what_is_missing_is_left_out_and_counted() {
    let mut cells = cells();
    let axes = |sparsity: f64| [("method", "b".into()), ("sparsity", sparsity.into())];
    cells.push(unfinished(&axes(0.9), 1, State::Failed("disk full".into())));
    cells.push(unfinished(&axes(0.9), 2, State::Running));
    cells.push(unfinished(&axes(0.9), 3, State::Waiting));
    let mut undefined = cell(&axes(0.9), 4, 0.5);
    undefined.result.as_mut().unwrap().metrics[1].value = f64::NAN;
    cells.push(undefined);
    let mut without = cell(&axes(0.9), 5, 0.5);
    without.result.as_mut().unwrap().metrics.clear();
    cells.push(without);
    let figure = draw(&cells, CURVE);
    assert_eq!(rows(&figure.csv).len(), 5, "nothing is drawn at 0.9");
    let told = caption(&figure);
    assert!(told.contains("Missing of 17 cells: 1 failed, 1 running, 1 waiting."), "{told}");
    assert!(told.contains("1 of 17 cells have no such value and are left out."), "{told}");
    assert!(told.contains("1 of 17 values is no finite number and left out."), "{told}");
}

#[test]
fn a_mean_over_tasks_needs_all_of_a_seeds_tasks() {
    let mut cells = Vec::new();
    for seed in 1..4 {
        for (task, value) in [("x", 0.2), ("y", 0.8)] {
            cells.push(cell(&[("method", "a".into()), ("sparsity", 0.5.into()), ("task", task.into())], seed, value));
        }
    }
    cells.pop();
    let figure = draw(&cells, "kind = \"curve\"");
    let rows = rows(&figure.csv);
    assert_eq!(number(&rows, "n", &[]), 2.0, "the seed without y would count as 0.2");
    assert!(close(number(&rows, "mean", &[]), 0.5));
    let told = caption(&figure);
    assert!(told.contains("Within a seed, values are means over task."), "{told}");
    assert!(told.contains("1 seed is left out of a mean"), "{told}");
}

#[test]
fn costs_are_the_finetunings_that_a_method_needs() {
    let mut cells = Vec::new();
    for seed in 1..4 {
        let jitter = 0.001 * seed as f64;
        cells.push(cell(&[("method", "parp".into())], seed, 0.800 + jitter));
        cells.push(cell(&[("method", "imp".into())], seed, 0.801 + 2.0 * jitter - 0.002));
    }
    let figure = draw(&cells, "kind = \"cost\"");
    let rows = rows(&figure.csv);
    assert_eq!(number(&rows, "finetunings", &[("method", "imp")]), 10.0);
    assert_eq!(number(&rows, "finetunings", &[("method", "parp")]), 1.0);
    let told = caption(&figure);
    assert!(told.contains("Best mean: imp (0.8030 ± 0.0050, n = 3, 10 finetunings)"), "{told}");
    assert!(told.contains("the cheapest that does not differ from it beyond the interval is parp"), "{told}");
    let updates = draw(&cells, "kind = \"cost\"\nx = \"updates\"");
    assert_eq!(number(&crate::common::rows(&updates.csv), "updates", &[("method", "imp")]), 100.0);
}

#[test]
fn a_table_marks_the_best_only_where_it_is_more_than_chance() {
    let figure = draw(&cells(), "kind = \"table\"\ncolumns = \"sparsity\"\nwhere = { method = [\"a\", \"b\"] }");
    let rows = rows(&figure.csv);
    let best: Vec<(&str, &str)> =
        rows.iter().filter(|row| row["best"] == "true").map(|row| (&*row["method"], &*row["sparsity"])).collect();
    assert_eq!(best, [("b", "sparsity 0.5")]);
    assert_eq!(figure.svg.matches("class=\"bold end\">0.700").count(), 1);
    let told = caption(&figure);
    assert!(
        told.contains("sparsity 0.1 a 0.600 ± 0.248 (not clearly); sparsity 0.5 b 0.700 ± 0.237 (clearly)"),
        "{told}"
    );
}

#[test]
fn comparisons_are_paired_by_seed() {
    let keys = "kind = \"compare\"\nbaseline = \"a\"\nwhere = { method = [\"a\", \"b\"], sparsity = 0.5 }";
    let figure = draw(&cells(), keys);
    let rows = rows(&figure.csv);
    let expected = Summary::of(&[0.10, 0.11, 0.09]).unwrap();
    let at = [("method", "b"), ("baseline", "a")];
    assert!(close(number(&rows, "mean", &at), expected.mean));
    assert!(close(number(&rows, "low", &at), expected.low()));
    assert_eq!(rows[0]["verdict"], "better");
    let chance = draw(&cells(), &keys.replace("0.5", "0.1"));
    assert_eq!(crate::common::rows(&chance.csv)[0]["verdict"], "no difference beyond the interval");
    assert!(
        caption(&chance).contains("Against a: b 0.000 ± 0.025 (n = 3, p = 1.00), no difference beyond the interval.")
    );
    let nobody = draw(&cells(), &keys.replace("\"a\"\nwhere", "\"c\"\nwhere"));
    assert!(crate::common::rows(&nobody.csv).iter().all(|row| row["n"] == "0"), "{}", nobody.csv);
}

/// Groups of a configuration say where a cell is written. Those of one's own group come first.
#[test]
fn cells_are_paired_across_groups() {
    let keys = "kind = \"compare\"\nbaseline = \"a\"\nwhere = { method = [\"a\", \"b\"] }\npanels = \"sparsity\"";
    let in_groups = |group: fn(&str) -> &'static str| {
        let mut cells = cells();
        for cell in &mut cells {
            let method = cell.axes["method"].to_string();
            cell.axes.insert("group".into(), group(&method).into());
        }
        cells
    };
    let alone = draw(&cells(), keys).csv;
    let parted = in_groups(|method| if method == "a" { "first" } else { "second" });
    assert_eq!(draw(&parted, keys).csv, alone);
    // Another group whose baseline is far off.
    let mut both = in_groups(|_| "first");
    for mut cell in in_groups(|_| "other") {
        cell.name.push_str("-other");
        if cell.axes["method"].to_string() == "a" {
            cell.result.as_mut().unwrap().metrics[0].value += 100.0;
            both.push(cell);
        }
    }
    assert_eq!(draw(&both, keys).csv, alone);
}

#[test]
fn pairs_do_not_depend_on_the_order_of_cells() {
    let mut cells = cells();
    for cell in &mut cells {
        // What only one of the two has does not part them.
        if cell.axes["method"].to_string() == "b" {
            cell.axes.insert("every".into(), 5.0.into());
        }
    }
    let sorted = |cells: &[Cell]| {
        let mut rows = rows(&draw(cells, "kind = \"compare\"\nbaseline = \"a\"\npanels = \"sparsity\"").csv);
        rows.sort();
        rows
    };
    let first = sorted(&cells);
    assert!(first.iter().filter(|row| row["method"] == "b").all(|row| row["n"] == "3"), "{first:?}");
    for turn in 1..cells.len() {
        cells.rotate_left(turn);
        assert_eq!(sorted(&cells), first);
    }
}
