//! `matrix`: a metric over two axes, such as where a mask comes from and where it is finetuned.

use super::notes::Notes;
use super::{Ask, Drawn};
use crate::AxisValue;
use crate::draw::{Colours, Heat, HeatCell, HeatPanel, HeatRow};
use crate::figure::Matrix;
use crate::sample::{Point, Sample, Seeds, axes_of, differences, metrics, named, over_seeds, panels, values, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{self, count, decimals, difference, fixed, interval};

/// One number with its difference to the diagonal.
struct Entry {
    value: Option<Summary>,
    relative: Option<Summary>,
    is_diagonal: bool,
    /// Whether its row is a column too.
    is_own: bool,
}

/// One row of a panel.
struct Row {
    part: &'static str,
    label: String,
    entries: Vec<Entry>,
}

/// One panel's numbers.
struct PanelData<'a> {
    label: String,
    rows: Vec<Row>,
    /// Cells of rows that are columns too, off and on the diagonal.
    off: Vec<Point<'a>>,
    diagonal: Vec<Point<'a>>,
}

const CELL: &str = "cell";
const OFF: &str = "mean off the diagonal";
const ON: &str = "diagonal";

pub(super) fn draw(ask: Ask<'_>, matrix: &Matrix) -> Drawn {
    let sample =
        metrics(ask.selected(), &axes_of(&[&matrix.rows, &matrix.columns], &matrix.panels), matrix.value.as_deref());
    let columns = values(sample.cells.iter().copied(), &matrix.columns);
    // Rows in the order of the columns, so that the diagonal is one; others, such as random masks, stand apart below.
    let all_rows = values(sample.cells.iter().copied(), &matrix.rows);
    let (own, extra): (Vec<_>, Vec<_>) = all_rows.into_iter().partition(|row| columns.contains(row));
    let own: Vec<AxisValue> = columns.iter().filter(|column| own.contains(column)).cloned().collect();
    let mut notes = Notes::default();
    let asked = panels(sample.cells.iter().copied(), &matrix.panels);
    let data: Vec<PanelData<'_>> = asked
        .into_iter()
        .map(|(panel, label)| {
            let axis = matrix.panels.as_deref().unwrap_or_default();
            let points = within(&sample.points, axis, panel.as_ref());
            read(matrix, &points, (&own, &extra, &columns), label, &mut notes)
        })
        .collect();
    let heat = heat(ask, matrix, &sample, &columns, extra.len(), &data);
    let digits = heat.decimals;
    let mut found: Vec<String> = data.iter().filter_map(|panel| about(&sample, matrix, panel, digits)).collect();
    found.extend(between(matrix, &sample, &data, digits));
    let mut sentences = notes.sentences("Hovering shows");
    sentences.extend(sample.missing.sentences());
    Drawn { svg: heat.draw(), csv: rows_csv(matrix, &columns, &data), found, notes: sentences, lines: Vec::new() }
}

fn read<'a>(
    matrix: &Matrix,
    points: &[Point<'a>],
    (own, extra, columns): (&[AxisValue], &[AxisValue], &[AxisValue]),
    label: String,
    notes: &mut Notes,
) -> PanelData<'a> {
    let has = |p: &Point<'_>, axis: &str, value: &AxisValue| p.cell.axis(axis).as_ref() == Some(value);
    let in_column = |value: &AxisValue| within(points, &matrix.columns, Some(value));
    let is_own = |p: &Point<'_>| own.iter().any(|row| has(p, &matrix.rows, row));
    let is_diagonal = |p: &Point<'_>| p.cell.axis(&matrix.rows) == p.cell.axis(&matrix.columns);
    let mut entry = |of: &[Point<'_>], diagonal: &[Point<'_>], is_diagonal: bool| {
        let mut seeds = over_seeds(of);
        // That a mean over rows is one is said by its label.
        seeds.averaged.remove(&matrix.rows);
        notes.add(&seeds);
        let relative = differences(of, diagonal, &[&matrix.rows]).summary();
        Entry { value: seeds.summary(), relative, is_diagonal, is_own: of.iter().all(is_own) }
    };
    let mut rows = Vec::new();
    for row in own.iter().chain(extra) {
        let entries = columns.iter().map(|column| {
            let column_points = in_column(column);
            let diagonal = within(&column_points, &matrix.rows, Some(column));
            entry(&within(&column_points, &matrix.rows, Some(row)), &diagonal, row == column)
        });
        rows.push(Row { part: CELL, label: named(&matrix.rows, row), entries: entries.collect() });
    }
    for (part, wanted) in [(OFF, false), (ON, true)] {
        let entries = columns.iter().map(|column| {
            let column_points = in_column(column);
            let diagonal = within(&column_points, &matrix.rows, Some(column));
            let of: Vec<Point<'_>> =
                column_points.iter().filter(|p| is_own(p) && is_diagonal(p) == wanted).copied().collect();
            entry(&of, &diagonal, wanted)
        });
        let entries: Vec<Entry> = entries.collect();
        if entries.iter().any(|entry| entry.value.is_some()) && !own.is_empty() {
            // Beside differences to it, the diagonal is told as it is.
            let absolute = wanted && matrix.relative;
            let label = if absolute { format!("{part}, absolute") } else { part.to_owned() };
            rows.push(Row { part, label, entries });
        }
    }
    let (diagonal, off) = points.iter().filter(|p| is_own(p)).copied().partition(is_diagonal);
    PanelData { label, rows, off, diagonal }
}

fn heat(
    ask: Ask<'_>,
    matrix: &Matrix,
    sample: &Sample<'_>,
    columns: &[AxisValue],
    extra: usize,
    data: &[PanelData<'_>],
) -> Heat {
    let shown = |entry: &Entry| if matrix.relative { entry.relative } else { entry.value };
    let entries = || data.iter().flat_map(|p| &p.rows).filter(|row| row.part == CELL).flat_map(|row| &row.entries);
    // Random masks would leave the transfers one colour; they have that of the end.
    let chosen = || entries().filter(|entry| entry.is_own || entries().all(|other| !other.is_own));
    let means: Vec<f64> = chosen().filter_map(shown).map(|s| s.mean).collect();
    let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
    // Four digits hardly fit into a cell, and tell no more than three.
    let digits = decimals(entries().filter_map(|entry| entry.value)).min(4);
    let most = low.abs().max(high.abs());
    let colours = if matrix.relative {
        Colours::Diverging { most, positive_is_better: sample.scale.higher_is_better != Some(false) }
    } else {
        Colours::Sequential(low, high)
    };
    let difference_label = format!("{}: difference to the diagonal of the column; blue is better", sample.scale.label);
    let columns: Vec<String> = columns.iter().map(|value| named(&matrix.columns, value)).collect();
    let panels = data.iter().map(|panel| {
        let own = panel.rows.iter().filter(|row| row.part == CELL).count() - extra;
        let rows = panel.rows.iter().enumerate().map(|(place, row)| {
            // What the diagonal is cannot be told as a difference to itself.
            let absolute = row.part == ON || !matrix.relative;
            let cells = row.entries.iter().zip(&columns).map(|(entry, column)| {
                let summary = if absolute { entry.value } else { shown(entry) };
                summary.map(|summary| HeatCell {
                    value: summary.mean,
                    hover: hover(&row.label, column, entry, digits),
                    own: entry.is_diagonal && row.part == CELL,
                    plain: absolute && matrix.relative,
                })
            });
            HeatRow {
                label: row.label.clone(),
                apart: (place == own && extra > 0) || row.part == OFF,
                cells: cells.collect(),
            }
        });
        HeatPanel { label: panel.label.clone(), columns: columns.clone(), rows: rows.collect() }
    });
    Heat {
        title: ask.figure.title.clone(),
        description: format!("{} by {} and {}", sample.scale.full(), matrix.rows, matrix.columns),
        rows: format!("{} →", matrix.rows),
        columns: format!("→ {}", matrix.columns),
        scale: if matrix.relative { difference_label } else { sample.scale.full() },
        colours,
        decimals: digits,
        signed: matrix.relative,
        panels: panels.collect(),
    }
}

fn hover(row: &str, column: &str, entry: &Entry, digits: usize) -> String {
    let mut text = format!("{row} → {column}");
    if let Some(value) = &entry.value {
        text += &format!(": {} (n\u{a0}=\u{a0}{})", interval(value, digits + 1), value.n);
    }
    if let Some(relative) = entry.relative.as_ref().filter(|_| !entry.is_diagonal) {
        text += &format!(", to the diagonal {} (n\u{a0}=\u{a0}{})", difference(relative, digits + 1), relative.n);
    }
    text
}

/// How transferred masks do beside the column's own.
fn about(sample: &Sample<'_>, matrix: &Matrix, panel: &PanelData<'_>, digits: usize) -> Option<String> {
    let cells = || panel.rows.iter().filter(|row| row.part == CELL).flat_map(|row| &row.entries);
    let (off, own) = (over_seeds(&panel.off).summary(), over_seeds(&panel.diagonal).summary());
    let (Some(off), Some(own)) = (off, own) else {
        let all = || cells().filter_map(|entry| entry.value).map(|s| s.mean);
        let (low, high) = (all().reduce(f64::min)?, all().reduce(f64::max)?);
        let told = format!("values from {} to {}.", fixed(low, digits), fixed(high, digits));
        return Some(words::about(&panel.label, &told));
    };
    let verdict = verdict(sample, differences(&panel.off, &panel.diagonal, &[&matrix.rows]).summary(), digits);
    let compared: Vec<Summary> =
        cells().filter(|entry| entry.is_own && !entry.is_diagonal).filter_map(|entry| entry.relative).collect();
    let beyond: Vec<&Summary> = compared.iter().filter(|s| s.is_difference()).collect();
    let higher = beyond.iter().filter(|s| sample.scale.gain(s.mean) > 0.0).count();
    let counts = match sample.scale.higher_is_better {
        None => format!("{} are other", beyond.len()),
        Some(_) => format!("{} are worse and {higher} better", beyond.len() - higher),
    };
    let told = format!(
        "on the diagonal {} (n\u{a0}=\u{a0}{}), off it {} (n\u{a0}=\u{a0}{}); {verdict} Of {} off it, {counts} than the diagonal of their column beyond \
         the interval.",
        interval(&own, digits),
        own.n,
        interval(&off, digits),
        off.n,
        count(compared.len(), "cell", "cells"),
    );
    Some(words::about(&panel.label, &told))
}

fn verdict(sample: &Sample<'_>, relative: Option<Summary>, digits: usize) -> String {
    match relative {
        None => "no seed has all the cells that the difference needs.".into(),
        Some(d) if d.half.is_none() => format!("the difference is {} of one seed.", difference(&d, digits)),
        Some(d) if !d.is_difference() => {
            format!("the difference, {} (n\u{a0}=\u{a0}{}), lies within its interval.", difference(&d, digits), d.n)
        }
        Some(d) => {
            let word = match sample.scale.higher_is_better {
                None => "is beyond its interval",
                Some(_) if sample.scale.gain(d.mean) > 0.0 => "is a gain",
                Some(_) => "is a loss",
            };
            format!("the difference, {} (n\u{a0}=\u{a0}{}), {word}.", difference(&d, digits), d.n)
        }
    }
}

/// How the transfers of later panels differ from those of the first.
fn between(matrix: &Matrix, sample: &Sample<'_>, data: &[PanelData<'_>], digits: usize) -> Vec<String> {
    let (Some(axis), [first, others @ ..]) = (&matrix.panels, data) else { return Vec::new() };
    let told = |other: &PanelData<'_>| {
        let seeds: Seeds = differences(&other.off, &first.off, &[axis]);
        let relative = seeds.summary()?;
        let verdict = verdict(sample, Some(relative), digits);
        Some(format!("{} minus {}, over all cells off the diagonal: {verdict}", other.label, first.label))
    };
    others.iter().filter_map(told).collect()
}

fn rows_csv(matrix: &Matrix, columns: &[AxisValue], data: &[PanelData<'_>]) -> String {
    let header = [
        "panel",
        "part",
        &matrix.rows,
        &matrix.columns,
        "n",
        "mean",
        "low",
        "high",
        "difference_n",
        "difference_mean",
        "difference_low",
        "difference_high",
    ];
    let mut rows = Vec::new();
    for panel in data {
        for row in &panel.rows {
            for (entry, column) in row.entries.iter().zip(columns) {
                let label = if row.part == CELL { row.label.clone() } else { String::new() };
                let mut line = vec![panel.label.clone(), row.part.to_owned(), label, named(&matrix.columns, column)];
                line.extend(fields(entry.value.as_ref()));
                line.extend(fields(entry.relative.as_ref()));
                rows.push(line);
            }
        }
    }
    csv(&header, rows)
}
