//! Which cells a figure shows, what they measured, and what of it is missing.

use crate::cell::BUILT_IN_AXES;
use crate::figure::Selection;
use crate::stats::Summary;
use crate::{AxisValue, Cell, CellResult, State};
use std::collections::{BTreeMap, BTreeSet};

/// The axis that tells groups of cells apart.
pub(crate) const GROUP: &str = "group";

/// A finished cell and one number of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Point<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) result: &'a CellResult,
    pub(crate) value: f64,
}

/// What a metric is called, and which way it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Such as `accuracy (dev)`.
    pub(crate) label: String,
    /// `None` where some of the metrics count up and others down.
    pub(crate) higher_is_better: Option<bool>,
}

/// The cells of a figure that have no number to show.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    pub(crate) planned: usize,
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    pub(crate) failed: usize,
    /// Without this metric, or without a value on an axis of the figure.
    pub(crate) lacking: usize,
    pub(crate) not_finite: usize,
}

/// What a figure shows.
#[derive(Debug)]
pub(crate) struct Sample<'a> {
    /// Every cell that the figure would show, done or not, in the order of the experiment.
    pub(crate) cells: Vec<&'a Cell>,
    /// Those with a finite number.
    pub(crate) points: Vec<Point<'a>>,
    pub(crate) scale: Scale,
    pub(crate) missing: Missing,
}

/// Whether a cell has, on every axis of the selection, one of its values.
///
/// A cell that is not done does not know its method, task and sparsity unless the sweep names them, and may yet be one of these.
pub(crate) fn is_selected(cell: &Cell, selection: &Selection) -> bool {
    selection.iter().all(|(axis, values)| match cell.axis(axis) {
        // By what is written, so that 1 in a configuration finds 1.0 and "1".
        Some(value) => values.iter().any(|wanted| wanted.to_string() == value.to_string()),
        None => cell.result.is_none() && BUILT_IN_AXES.contains(&axis.as_str()),
    })
}

/// Whether a cell is one of a figure's reference (such as the dense model, or random masks): of the part's selection, and of the
/// figure's on every axis that the part does not name and the cell has. A dense model has no value on the axes of pruning.
pub(crate) fn is_reference(cell: &Cell, figure: &Selection, part: &Selection) -> bool {
    let fits = |(axis, values): (&String, &Vec<AxisValue>)| {
        let own = cell.axes.get(axis).map(ToString::to_string);
        part.contains_key(axis) || own.is_none_or(|own| values.iter().any(|wanted| wanted.to_string() == own))
    };
    is_selected(cell, part) && figure.iter().all(fits)
}

/// What a reference is called: its methods where it names them, else all of its values.
pub(crate) fn reference_name(part: &Selection) -> String {
    let values = part.get("method").map_or_else(|| part.values().flatten().collect(), Vec::from_iter);
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Those cells that have a value on every one of these axes, and the number that `of` finds in each that is done.
///
/// `of` returns `None` for a cell that has no such number; numbers that are not finite are left out and counted.
pub(crate) fn collect<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    axes: &[&str],
    of: impl Fn(&'a CellResult) -> Option<(f64, Scale)>,
) -> Sample<'a> {
    // A figure over an axis that only some of the sweep's cells have is about those.
    let has = |cell: &&Cell| axes.iter().all(|axis| cell.axis(axis).is_some() || BUILT_IN_AXES.contains(axis));
    let cells: Vec<&Cell> = cells.into_iter().filter(has).collect();
    let mut missing = Missing { planned: cells.len(), ..Missing::default() };
    let mut points = Vec::new();
    let mut scales: Vec<Scale> = Vec::new();
    for cell in &cells {
        match &cell.state {
            State::Waiting => missing.waiting += 1,
            State::Running => missing.running += 1,
            State::Failed(_) => missing.failed += 1,
            State::Done => {
                let number = cell.result.as_ref().and_then(|result| Some((result, of(result)?)));
                match number {
                    Some((result, (value, scale))) if axes.iter().all(|axis| cell.axis(axis).is_some()) => {
                        if value.is_finite() {
                            points.push(Point { cell, result, value });
                        } else {
                            missing.not_finite += 1;
                        }
                        if !scales.contains(&scale) {
                            scales.push(scale);
                        }
                    }
                    _ => missing.lacking += 1,
                }
            }
        }
    }
    Sample { cells, points, scale: Scale::of_all(&scales), missing }
}

/// The metric of this name in every cell.
pub(crate) fn metrics<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    axes: &[&str],
    wanted: Option<&'a str>,
) -> Sample<'a> {
    collect(cells, axes, |result| {
        let metric = result.metric(wanted)?;
        let label = format!("{} ({})", metric.name, metric.split);
        Some((metric.value, Scale { label, higher_is_better: Some(metric.higher_is_better) }))
    })
}

impl Scale {
    fn of_all(scales: &[Self]) -> Self {
        match scales {
            [] => Self { label: "metric".into(), higher_is_better: None },
            [one] => one.clone(),
            [first, ..] => {
                let same = scales.iter().all(|scale| scale.higher_is_better == first.higher_is_better);
                let higher_is_better = if same { first.higher_is_better } else { None };
                Self { label: "primary metric of each task".into(), higher_is_better }
            }
        }
    }

    /// The direction in words.
    pub(crate) fn direction(&self) -> &'static str {
        match self.higher_is_better {
            Some(true) => "higher is better ↑",
            Some(false) => "lower is better ↓",
            None => "",
        }
    }

    /// Label and direction.
    pub(crate) fn full(&self) -> String {
        match self.direction() {
            "" => self.label.clone(),
            direction => format!("{}, {direction}", self.label),
        }
    }

    /// Positive where `a` is better than `b`.
    pub(crate) fn gain(&self, difference: f64) -> f64 {
        if self.higher_is_better == Some(false) { -difference } else { difference }
    }
}

impl Missing {
    /// What is missing, as sentences; none where nothing is.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let mut found = Vec::new();
        let states = [(self.failed, "failed"), (self.running, "running"), (self.waiting, "waiting")];
        let states: Vec<String> =
            states.iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")).collect();
        if !states.is_empty() {
            found.push(format!("Missing of {} cells: {}.", self.planned, states.join(", ")));
        }
        if self.lacking > 0 {
            found.push(format!("{} of {} cells have no such value and are left out.", self.lacking, self.planned));
        }
        if self.not_finite > 0 {
            let n = self.not_finite;
            found.push(format!("{n} of {} values {} no finite number and left out.", self.planned, are(n)));
        }
        found
    }
}

fn are(n: usize) -> &'static str {
    if n == 1 { "is" } else { "are" }
}

/// The values on an axis: numbers in ascending order, texts in the order in which they first appear.
pub(crate) fn values<'a>(cells: impl IntoIterator<Item = &'a Cell>, axis: &str) -> Vec<AxisValue> {
    let mut seen = BTreeSet::new();
    let mut found: Vec<AxisValue> = Vec::new();
    for value in cells.into_iter().filter_map(|cell| cell.axis(axis)) {
        if seen.insert(value.clone()) {
            found.push(value);
        }
    }
    if found.iter().all(|value| value.number().is_some()) {
        found.sort();
    }
    found
}

/// The panels of a figure: one without a label, or one for every value of the axis.
pub(crate) fn panels<'a>(
    cells: impl IntoIterator<Item = &'a Cell>,
    axis: &Option<String>,
) -> Vec<(Option<AxisValue>, String)> {
    match axis {
        None => vec![(None, String::new())],
        Some(axis) => {
            let label = |value: AxisValue| (Some(value.clone()), named(axis, &value));
            values(cells, axis).into_iter().map(label).collect()
        }
    }
}

/// The axes of a figure: those given, and that of its panels.
pub(crate) fn axes_of<'a>(given: &[&'a str], panels: &'a Option<String>) -> Vec<&'a str> {
    given.iter().copied().chain(panels.as_deref()).collect()
}

/// A value with its axis where it does not speak for itself: `mrpc`, but `sparsity 0.7`.
pub(crate) fn named(axis: &str, value: &AxisValue) -> String {
    match value {
        AxisValue::Text(text) => text.clone(),
        other => format!("{axis} {other}"),
    }
}

/// The points whose cell has this value on this axis; all where there is no value.
pub(crate) fn within<'a>(points: &[Point<'a>], axis: &str, value: Option<&AxisValue>) -> Vec<Point<'a>> {
    points.iter().filter(|p| value.is_none_or(|value| p.cell.axis(axis).as_ref() == Some(value))).copied().collect()
}

/// One number a seed.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seeds {
    /// In the order of the seeds.
    pub(crate) values: BTreeMap<u64, f64>,
    /// Seeds that are left out because some of their cells have no number.
    pub(crate) incomplete: usize,
    /// Axes over which the number is a mean within a seed.
    pub(crate) averaged: BTreeSet<String>,
}

impl Seeds {
    /// Mean and interval over the seeds.
    pub(crate) fn summary(&self) -> Option<Summary> {
        Summary::of(&self.values.values().copied().collect::<Vec<_>>())
    }

    /// The means within each seed of some numbers, each with the axes that part it from the others of its seed; axes on which
    /// all agree do no harm.
    ///
    /// A seed counts only if it has a number for everything that any seed has a number for: means over different tasks are not
    /// repetitions of each other.
    pub(crate) fn of_parts(parts: impl IntoIterator<Item = (u64, BTreeMap<String, AxisValue>, f64)>) -> Self {
        let mut by_seed: BTreeMap<u64, BTreeMap<BTreeMap<String, AxisValue>, Vec<f64>>> = BTreeMap::new();
        let mut all = BTreeSet::new();
        for (seed, axes, value) in parts {
            all.insert(axes.clone());
            by_seed.entry(seed).or_default().entry(axes).or_default().push(value);
        }
        let mut found = Self::default();
        for (seed, parts) in by_seed {
            if parts.len() < all.len() {
                found.incomplete += 1;
                continue;
            }
            let means = parts.into_values().map(|mut values| {
                values.sort_by(f64::total_cmp);
                values.iter().sum::<f64>() / values.len() as f64
            });
            found.values.insert(seed, means.sum::<f64>() / all.len() as f64);
        }
        let axes: BTreeSet<&String> = all.iter().flat_map(BTreeMap::keys).collect();
        let varies = |axis: &&String| all.iter().map(|part| part.get(*axis)).collect::<BTreeSet<_>>().len() > 1;
        found.averaged = axes.into_iter().filter(|axis| *axis != "seed").filter(varies).cloned().collect();
        found
    }
}

/// The numbers of some points, one a seed.
pub(crate) fn over_seeds(points: &[Point<'_>]) -> Seeds {
    Seeds::of_parts(points.iter().map(|p| (p.cell.seed, p.cell.axes.clone(), p.value)))
}

/// A cell with those that it is compared with.
#[derive(Debug, Clone)]
pub(crate) struct Pair<'a> {
    pub(crate) first: Point<'a>,
    /// At least one.
    pub(crate) second: Vec<Point<'a>>,
}

/// Every cell of `first` with those of `second` that have its seed and agree on every axis that both have but `compared`: with those
/// of its own group where there are any. Where none agrees, the cell is left out, and its seed may be incomplete.
pub(crate) fn pairs<'a>(first: &[Point<'a>], second: &[Point<'a>], compared: &[&str]) -> Vec<Pair<'a>> {
    let pair = |a: &Point<'a>| {
        let agrees = |b: &&Point<'_>| b.cell.seed == a.cell.seed && agree(a.cell, b.cell, compared);
        let mut fitting: Vec<Point<'a>> = second.iter().filter(agrees).copied().collect();
        let own = |b: &Point<'_>| b.cell.axes.get(GROUP) == a.cell.axes.get(GROUP);
        if fitting.iter().any(own) {
            fitting.retain(own);
        }
        fitting.sort_by(|a, b| a.value.total_cmp(&b.value));
        (!fitting.is_empty()).then_some(Pair { first: *a, second: fitting })
    };
    first.iter().filter_map(pair).collect()
}

/// The differences of some pairs, one a seed. Where several of the second fit, their mean is taken.
pub(crate) fn over_pairs(pairs: &[Pair<'_>]) -> Seeds {
    let parts = pairs.iter().map(|Pair { first, second }| {
        let mean = second.iter().map(|b| b.value).sum::<f64>() / second.len() as f64;
        (first.cell.seed, first.cell.axes.clone(), first.value - mean)
    });
    Seeds::of_parts(parts)
}

/// The differences `first - second`, one a seed: those [`over_pairs`].
pub(crate) fn differences(first: &[Point<'_>], second: &[Point<'_>], compared: &[&str]) -> Seeds {
    over_pairs(&pairs(first, second, compared))
}

/// Whether two cells agree on every axis that both have but some. The seed is no axis here, nor is the group: it says where in the
/// configuration a cell is written, and what a cell is compared with is mostly written elsewhere.
pub(crate) fn agree(a: &Cell, b: &Cell, but: &[&str]) -> bool {
    let counts = |axis: &str| !["seed", GROUP].contains(&axis) && !but.contains(&axis);
    a.axes.iter().all(|(axis, own)| !counts(axis) || b.axes.get(axis).is_none_or(|other| other == own))
}
