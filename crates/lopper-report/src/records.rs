//! All cells as one table.

use crate::table::csv;
use crate::{Cell, State};
use std::collections::BTreeSet;

/// One row a cell, as header and rows: every axis, the seed, the state, every metric and what it cost.
pub(crate) fn records(cells: &[Cell]) -> (Vec<String>, Vec<Vec<String>>) {
    let axes: BTreeSet<&String> =
        cells.iter().flat_map(|cell| cell.axes.keys()).filter(|axis| *axis != "seed").collect();
    // In the order of first appearance, which is the task's own.
    let mut metrics: Vec<(&str, &str)> = Vec::new();
    for metric in cells.iter().filter_map(|cell| cell.result.as_ref()).flat_map(|result| &result.metrics) {
        let key = (metric.split.as_str(), metric.name.as_str());
        if !metrics.contains(&key) {
            metrics.push(key);
        }
    }
    let mut header = vec!["cell".to_owned()];
    // A column of the result that is an axis of the sweep stands once.
    let own = |name: &&str| !axes.iter().any(|axis| axis == name);
    let given: Vec<&str> = ["method", "task"].into_iter().filter(own).collect();
    header.extend(axes.iter().map(|axis| (*axis).clone()));
    header.extend(given.iter().map(|name| (*name).to_owned()));
    header.extend(["seed", "state"].map(str::to_owned));
    header.extend(metrics.iter().map(|(split, name)| format!("{split}/{name}")));
    let numbers =
        ["exact_sparsity", "pruned", "entries", "finetunings", "trained", "updates", "seconds", "mask", "error"];
    header.extend(numbers.map(str::to_owned));
    let rows = cells.iter().map(|cell| {
        let mut row = vec![cell.name.clone()];
        let value = |axis: &str| cell.axis(axis).map(|value| value.to_string()).unwrap_or_default();
        row.extend(axes.iter().map(|axis| cell.axes.get(*axis).map(ToString::to_string).unwrap_or_default()));
        row.extend(given.iter().map(|axis| value(axis)));
        row.extend([cell.seed.to_string(), cell.state.word().to_owned()]);
        let result = cell.result.as_ref();
        row.extend(metrics.iter().map(|(split, name)| {
            let of = result.and_then(|r| r.metrics.iter().find(|m| m.split == *split && m.name == *name));
            of.map(|metric| metric.value.to_string()).unwrap_or_default()
        }));
        match result {
            Some(r) => row.extend([
                r.sparsity.to_string(),
                r.pruned.to_string(),
                r.entries.to_string(),
                r.finetunings.to_string(),
                r.trained.to_string(),
                r.updates.to_string(),
                r.seconds.to_string(),
                r.mask.display().to_string(),
            ]),
            None => row.extend(vec![String::new(); 8]),
        }
        row.push(if let State::Failed(error) = &cell.state { error.clone() } else { String::new() });
        row
    });
    (header, rows.collect())
}

/// All cells as CSV by RFC 4180, one row a cell: name, every axis, seed, state, every metric as `split/name`, exact sparsity, pruned and
/// prunable entries, finetunings needed and trained, updates, seconds, the mask's path, and why it failed. Empty where a cell has no such
/// value; numbers in as many digits as give them back exactly, `NaN` where a metric is not defined.
pub fn records_csv(cells: &[Cell]) -> String {
    let (header, rows) = records(cells);
    csv(&header.iter().map(String::as_str).collect::<Vec<_>>(), rows)
}
