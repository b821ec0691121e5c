//! `table`: a metric over two axes in numbers.

use super::notes::Notes;
use super::{Ask, Drawn};
use crate::draw::{Grid, GridCell};
use crate::figure::Table;
use crate::sample::{Point, Scale, differences, metrics, named, over_seeds, values, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{decimals, interval};

pub(super) fn draw(ask: Ask<'_>, table: &Table) -> Drawn {
    let sample = metrics(ask.selected(), &[&table.rows, &table.columns], table.value.as_deref());
    let rows = values(sample.cells.iter().copied(), &table.rows);
    let columns = values(sample.cells.iter().copied(), &table.columns);
    let mut notes = Notes::default();
    let names: Vec<String> = rows.iter().map(|value| named(&table.rows, value)).collect();
    let mut drawn_rows: Vec<(String, Vec<GridCell>)> = names.iter().map(|name| (name.clone(), Vec::new())).collect();
    let mut head = vec![table.rows.clone()];
    let (mut lines, mut found) = (Vec::new(), Vec::new());
    for column in &columns {
        let label = named(&table.columns, column);
        let points = within(&sample.points, &table.columns, Some(column));
        // Each column has its own metric and direction.
        let scale = metrics(points.iter().map(|p| p.cell), &[], table.value.as_deref()).scale;
        let entries: Vec<(Vec<Point<'_>>, Option<Summary>)> = rows
            .iter()
            .map(|row| {
                let own = within(&points, &table.rows, Some(row));
                let seeds = over_seeds(&own);
                notes.add(&seeds);
                (own, seeds.summary())
            })
            .collect();
        let digits = decimals(entries.iter().filter_map(|(_, s)| *s)).min(4);
        let best = best(&scale, table, &entries);
        for (place, (_, summary)) in entries.iter().enumerate() {
            let apart = best == Some((place, true));
            let text = summary.as_ref().map(|s| interval(s, digits)).unwrap_or_else(|| "–".into());
            let hover = summary
                .as_ref()
                .map(|s| format!("{}, {label}: n\u{a0}=\u{a0}{}", names[place], s.n))
                .unwrap_or_default();
            drawn_rows[place].1.push(GridCell { text, bold: apart, hover });
            let mut line = vec![names[place].clone(), label.clone(), scale.label.clone()];
            line.extend(fields(summary.as_ref()));
            line.push(apart.to_string());
            lines.push(line);
        }
        if let Some((place, apart)) = best.filter(|_| entries.iter().filter(|(_, s)| s.is_some()).count() > 1) {
            let mean = entries[place].1.as_ref().map(|s| interval(s, digits)).unwrap_or_default();
            let clearly = if apart { "clearly" } else { "not clearly" };
            found.push(format!("{label} {} {mean} ({clearly})", names[place]));
        }
        head.push(if scale.direction().is_empty() { label } else { format!("{label} {}", arrow(&scale)) });
    }
    let found = if found.is_empty() { Vec::new() } else { vec![format!("Best means: {}.", found.join("; "))] };
    let grid = Grid {
        title: ask.figure.title.clone(),
        description: format!("{} by {} and {}", sample.scale.full(), table.rows, table.columns),
        head,
        rows: drawn_rows,
    };
    let mut sentences = vec![format!("{}.", sample.scale.full())];
    sentences.extend(notes.sentences("After ± stand half"));
    sentences.push(
        "Bold, and clearly: better than every other row of the column beyond the interval of the difference paired by seed."
            .into(),
    );
    sentences.extend(sample.missing.sentences());
    let csv = csv(&[&table.rows, &table.columns, "metric", "n", "mean", "low", "high", "best"], lines);
    Drawn { svg: grid.draw(), csv, found, notes: sentences, lines: Vec::new() }
}

fn arrow(scale: &Scale) -> &'static str {
    if scale.higher_is_better == Some(false) { "↓" } else { "↑" }
}

/// The row with the best mean, and whether it differs from every other beyond the interval.
fn best(scale: &Scale, table: &Table, entries: &[(Vec<Point<'_>>, Option<Summary>)]) -> Option<(usize, bool)> {
    scale.higher_is_better?;
    let known = || entries.iter().enumerate().filter_map(|(place, (points, s))| Some((place, points, (*s)?)));
    let (place, points, _) = known().reduce(|a, b| if scale.gain(b.2.mean - a.2.mean) > 0.0 { b } else { a })?;
    let mut others = known().filter(|(other, ..)| *other != place).peekable();
    let alone = others.peek().is_none();
    let apart = others.all(|(_, other, _)| {
        let difference = differences(points, other, &[&table.rows]).summary();
        difference.is_some_and(|d| d.is_difference() && scale.gain(d.mean) > 0.0)
    });
    Some((place, apart && !alone))
}
