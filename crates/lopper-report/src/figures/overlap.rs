//! `overlap`: final masks compared pairwise.

use super::notes::{Notes, grouped};
use super::{Ask, Drawn};
use crate::draw::{Colours, Heat, HeatCell, HeatPanel, HeatRow};
use crate::figure::{Measure, Overlap, Selection};
use crate::sample::{GROUP, Seeds, agree, axes_of, collect, is_reference, named, panels, reference_name, values};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{about, decimals, fixed, interval};
use crate::{AxisValue, Cell, CellResult};
use lopper_mask::MaskSet;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What parts one number from others of its seed.
type Axes = BTreeMap<String, AxisValue>;

/// Comparisons of two masks, by panel, row and column.
type Parts = BTreeMap<(usize, usize, usize), Vec<(u64, Axes, f64)>>;

/// Masks that are compared with each other: of one seed, and alike on all axes but the one.
struct Unit<'a> {
    panel: usize,
    cells: Vec<(usize, &'a Cell, &'a CellResult)>,
}

/// Masks that are open; none is opened twice for one unit.
struct Opened<'a> {
    ask: Ask<'a>,
    masks: BTreeMap<PathBuf, Option<Rc<MaskSet>>>,
}

impl Opened<'_> {
    fn get(&mut self, path: &Path, notes: &mut Notes) -> Option<Rc<MaskSet>> {
        if let Some(known) = self.masks.get(path) {
            return known.clone();
        }
        let mask = match self.ask.artefacts.mask(path) {
            Ok(mask) => Some(Rc::new(mask)),
            Err(problem) => {
                notes.unreadable(problem);
                None
            }
        };
        self.masks.insert(path.to_owned(), mask.clone());
        mask
    }
}

pub(super) fn draw(ask: Ask<'_>, overlap: &Overlap) -> Drawn {
    let scale = |_: &CellResult| Some((0.0, crate::sample::Scale { label: String::new(), higher_is_better: None }));
    let sample = collect(ask.selected(), &axes_of(&[&overlap.over], &overlap.panels), scale);
    let columns = values(sample.cells.iter().copied(), &overlap.over);
    let asked = panels(sample.cells.iter().copied(), &overlap.panels);
    let mut notes = Notes::default();
    let mut parts = Parts::new();
    let mut kept = Vec::new();
    for unit in units(overlap, &sample.points, &columns, &asked) {
        kept.extend(unit.cells.iter().map(|(_, _, result)| 1.0 - result.sparsity));
        compare(ask, overlap, &unit, columns.len(), &mut parts, &mut notes);
    }
    let numbers: BTreeMap<(usize, usize, usize), Seeds> =
        parts.into_iter().map(|(place, parts)| (place, Seeds::of_parts(parts))).collect();
    numbers.values().for_each(|seeds| notes.add(seeds));
    let mut rows: Vec<String> = columns.iter().map(|value| named(&overlap.over, value)).collect();
    rows.extend(overlap.reference.iter().map(reference_name));
    let figure = Numbers { overlap, columns: rows[..columns.len()].to_vec(), rows, numbers };
    let labels: Vec<String> = asked.into_iter().map(|(_, label)| label).collect();
    let found = labels.iter().enumerate().flat_map(|(panel, label)| figure.about(panel, label)).collect();
    let mut sentences = notes.sentences("Hovering shows");
    if overlap.measure == Measure::Iou && !kept.is_empty() {
        let k = kept.iter().sum::<f64>() / kept.len() as f64;
        sentences.push(format!(
            "Independent random masks that keep {} would have IOU k / (2 - k) = {}.",
            fixed(k, 3),
            fixed(k / (2.0 - k), 3)
        ));
    }
    sentences.extend(sample.missing.sentences());
    let svg = figure.heat(ask, &labels).draw();
    Drawn { svg, csv: figure.csv(&labels), found, notes: sentences, lines: Vec::new() }
}

fn units<'a>(
    overlap: &Overlap,
    points: &[crate::sample::Point<'a>],
    columns: &[AxisValue],
    panels: &[(Option<AxisValue>, String)],
) -> Vec<Unit<'a>> {
    let keyed = points.iter().filter_map(|point| {
        let column = columns.iter().position(|value| point.cell.axis(&overlap.over).as_ref() == Some(value))?;
        let own = overlap.panels.as_ref().and_then(|axis| point.cell.axis(axis));
        let panel = panels.iter().position(|(value, _)| *value == own)?;
        let mut axes = point.cell.axes.clone();
        axes.remove(&overlap.over);
        Some(((panel, point.cell.seed, axes), (column, point.cell, point.result)))
    });
    grouped(keyed).into_iter().map(|((panel, ..), cells)| Unit { panel, cells }).collect()
}

/// Compares all masks of a unit with each other and with the references, into `parts`.
fn compare(ask: Ask<'_>, overlap: &Overlap, unit: &Unit<'_>, columns: usize, parts: &mut Parts, notes: &mut Notes) {
    let mut opened = Opened { ask, masks: BTreeMap::new() };
    let mut told = |row: usize, column: usize, a: &CellResult, b: (&Cell, &CellResult), notes: &mut Notes| {
        let (Some(first), Some(second)) = (opened.get(&a.mask, notes), opened.get(&b.1.mask, notes)) else {
            return None;
        };
        let comparison = match first.compare(&second) {
            Ok(comparison) => comparison,
            Err(problem) => {
                notes.unreadable(format!("{} and {}: {problem}", a.mask.display(), b.1.mask.display()));
                return None;
            }
        };
        let value = match overlap.measure {
            Measure::Iou => comparison.iou,
            Measure::Overlap => comparison.overlap,
        };
        let mut axes = b.0.axes.clone();
        axes.remove(&overlap.over);
        parts.entry((unit.panel, row, column)).or_default().push((b.0.seed, axes, value));
        Some(())
    };
    for (row, _, a) in &unit.cells {
        for (column, cell, b) in &unit.cells {
            told(*row, *column, a, (cell, b), notes);
        }
    }
    for (place, reference) in overlap.reference.iter().enumerate() {
        for (column, cell, result) in &unit.cells {
            match closest(ask, overlap, reference, cell) {
                Some(other) => drop(told(columns + place, *column, other, (cell, result), notes)),
                None => {
                    notes.unreadable(format!("no finished cell of {} is like {}", reference_name(reference), cell.name))
                }
            }
        }
    }
}

/// The cell of a reference that is compared with a cell: alike on all axes that both have but those that the reference names; of
/// its seed and its own value on the compared axis where there is one, since a random mask is drawn for each seed.
fn closest<'a>(ask: Ask<'a>, overlap: &Overlap, reference: &Selection, cell: &Cell) -> Option<&'a CellResult> {
    let mut free: Vec<&str> = reference.keys().map(String::as_str).collect();
    free.push(&overlap.over);
    let fits = |other: &&Cell| {
        other.result.is_some() && is_reference(other, &ask.figure.cells, reference) && agree(cell, other, &free)
    };
    let distance = |other: &&Cell| {
        let value = other.axis(&overlap.over);
        let own_group = other.axes.get(GROUP) == cell.axes.get(GROUP);
        (other.seed != cell.seed, value != cell.axis(&overlap.over), !own_group)
    };
    ask.cells.iter().filter(fits).min_by_key(distance).and_then(|other| other.result.as_ref())
}

/// The numbers of the figure.
struct Numbers<'a> {
    overlap: &'a Overlap,
    columns: Vec<String>,
    /// The columns, then the references.
    rows: Vec<String>,
    numbers: BTreeMap<(usize, usize, usize), Seeds>,
}

impl Numbers<'_> {
    fn word(&self) -> &'static str {
        match self.overlap.measure {
            Measure::Iou => "IOU",
            Measure::Overlap => "overlap",
        }
    }

    fn summary(&self, panel: usize, row: usize, column: usize) -> Option<Summary> {
        self.numbers.get(&(panel, row, column))?.summary()
    }

    /// The comparisons of different masks of a row, each once: for a reference all, else those to the right of the diagonal.
    fn row(&self, panel: usize, row: usize) -> Vec<&Seeds> {
        let first = if row < self.columns.len() { row + 1 } else { 0 };
        (first..self.columns.len()).filter_map(|column| self.numbers.get(&(panel, row, column))).collect()
    }

    /// The mean of some comparisons within each seed that all of them have.
    fn mean(all: &[&Seeds]) -> Option<Summary> {
        let first = all.first()?;
        let shared = first.values.keys().filter(|seed| all.iter().all(|seeds| seeds.values.contains_key(seed)));
        let means = shared.map(|seed| all.iter().map(|seeds| seeds.values[seed]).sum::<f64>() / all.len() as f64);
        Summary::of(&means.collect::<Vec<_>>())
    }

    fn about(&self, panel: usize, label: &str) -> Vec<String> {
        let pairs: Vec<&Seeds> = (0..self.columns.len()).flat_map(|row| self.row(panel, row)).collect();
        let mut found = Vec::new();
        let all: Vec<f64> = pairs.iter().filter_map(|seeds| seeds.summary()).map(|s| s.mean).collect();
        let digits = decimals(pairs.iter().filter_map(|seeds| seeds.summary()));
        if let Some(mean) = Self::mean(&pairs) {
            let (low, high) = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
            let told = format!(
                "{} between two different values of {} is {} on average (n\u{a0}=\u{a0}{}), from {} to {}.",
                self.word(),
                self.overlap.over,
                interval(&mean, digits),
                mean.n,
                fixed(low, digits),
                fixed(high, digits),
            );
            found.push(about(label, &told));
        }
        for row in self.columns.len()..self.rows.len() {
            if let Some(mean) = Self::mean(&self.row(panel, row)) {
                let (name, word) = (&self.rows[row], self.word());
                let told = format!(
                    "with {name}, {word} is {} on average (n\u{a0}=\u{a0}{}).",
                    interval(&mean, digits),
                    mean.n
                );
                found.push(about(label, &told));
            }
        }
        found
    }

    fn heat(&self, ask: Ask<'_>, labels: &[String]) -> Heat {
        let pairs =
            (0..labels.len()).flat_map(|panel| (0..self.columns.len()).flat_map(move |row| self.row(panel, row)));
        let digits = decimals(pairs.filter_map(Seeds::summary)).min(4);
        let panels = labels.iter().enumerate().map(|(panel, label)| {
            let rows = self.rows.iter().enumerate().map(|(row, name)| {
                let cells = (0..self.columns.len()).map(|column| {
                    let summary = self.summary(panel, row, column)?;
                    let hover = format!(
                        "{name}, {}: {} (n\u{a0}=\u{a0}{})",
                        self.columns[column],
                        interval(&summary, digits + 2),
                        summary.n
                    );
                    // A mask and itself are no comparison.
                    let own = row == column;
                    Some(HeatCell { value: summary.mean, hover, own, plain: own })
                });
                HeatRow { label: name.clone(), apart: row == self.columns.len(), cells: cells.collect() }
            });
            HeatPanel { label: label.clone(), columns: self.columns.clone(), rows: rows.collect() }
        });
        // From 0, so that what is alike looks alike beside random masks.
        let (scale, most) = match self.overlap.measure {
            Measure::Iou => ("IOU |a ∧ b| / |a ∨ b| of kept entries", 1.0),
            Measure::Overlap => {
                let shares = self.numbers.values().filter_map(Seeds::summary).map(|s| s.mean);
                ("overlap |a ∧ b| / all prunable entries", shares.fold(0.0, f64::max))
            }
        };
        Heat {
            title: ask.figure.title.clone(),
            description: format!("{} of final masks by {}", self.word(), self.overlap.over),
            rows: self.overlap.over.clone(),
            columns: self.overlap.over.clone(),
            scale: scale.into(),
            colours: Colours::Sequential(0.0, most),
            decimals: digits,
            signed: false,
            panels: panels.collect(),
        }
    }

    fn csv(&self, labels: &[String]) -> String {
        let mut lines = Vec::new();
        for ((panel, row, column), seeds) in &self.numbers {
            let part = if *row < self.columns.len() { "cell" } else { "reference" };
            let mut line =
                vec![labels[*panel].clone(), part.to_owned(), self.rows[*row].clone(), self.columns[*column].clone()];
            line.extend(fields(seeds.summary().as_ref()));
            lines.push(line);
        }
        let over = &self.overlap.over;
        csv(&["panel", "part", over, &format!("other_{over}"), "n", "mean", "low", "high"], lines)
    }
}
