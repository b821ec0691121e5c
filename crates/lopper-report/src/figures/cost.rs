//! `cost`: a metric against what it cost.

use super::notes::Notes;
use super::{Ask, Drawn};
use crate::draw::{Axis, Chart, Line, Mark, Panel};
use crate::figure::{Cost, Effort};
use crate::sample::{Point, axes_of, differences, metrics, named, over_seeds, panels, values, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{self, count, decimals, fixed, interval};

/// One point.
struct Spot<'a> {
    line: usize,
    name: String,
    points: Vec<Point<'a>>,
    effort: f64,
    summary: Summary,
}

pub(super) fn draw(ask: Ask<'_>, cost: &Cost) -> Drawn {
    let sample = metrics(ask.selected(), &axes_of(&[&cost.points], &cost.panels), cost.y.as_deref());
    let names = values(sample.cells.iter().copied(), &cost.points);
    let mut notes = Notes::default();
    let (mut drawn_panels, mut found, mut rows) = (Vec::new(), Vec::new(), Vec::new());
    for (panel, label) in panels(sample.cells.iter().copied(), &cost.panels) {
        let points = within(&sample.points, cost.panels.as_deref().unwrap_or_default(), panel.as_ref());
        let spots: Vec<Spot<'_>> = names
            .iter()
            .enumerate()
            .filter_map(|(line, value)| {
                let own = within(&points, &cost.points, Some(value));
                let seeds = over_seeds(&own);
                notes.add(&seeds);
                let effort = own.iter().map(|p| effort(cost.x, p)).sum::<f64>() / own.len() as f64;
                // Nothing of no cost has a place on a logarithmic axis.
                let summary = seeds.summary().filter(|_| effort > 0.0)?;
                Some(Spot { line, name: named(&cost.points, value), points: own, effort, summary })
            })
            .collect();
        for spot in &spots {
            let mut row = vec![label.clone(), spot.name.clone(), spot.effort.to_string()];
            row.extend(fields(Some(&spot.summary)));
            rows.push(row);
        }
        found.extend(about(cost, &sample.scale, &spots, &label));
        let line = |spot: &Spot<'_>| Line { name: spot.line, points: vec![(spot.effort, spot.summary)] };
        drawn_panels.push(Panel { label, lines: spots.iter().map(line).collect(), level: None });
    }
    let lines: Vec<String> = names.iter().map(|value| named(&cost.points, value)).collect();
    let chart = Chart {
        id: ask.figure.name.clone(),
        title: ask.figure.title.clone(),
        description: format!("{} against {}", sample.scale.full(), word(cost.x)),
        x: Axis {
            label: format!("{}, logarithmic, fewer is cheaper", word(cost.x)),
            percent: false,
            logarithmic: true,
        },
        y: Axis { label: sample.scale.full(), ..Axis::default() },
        names: lines.clone(),
        mark: Mark::Named,
        panels: drawn_panels,
    };
    let mut sentences = notes.sentences("Bars are");
    if chart.cuts() {
        sentences
            .push("Intervals that would leave the means no room are cut at the frame; the values are whole.".into());
    }
    sentences.extend(sample.missing.sentences());
    let csv = csv(&["panel", &cost.points, column(cost.x), "n", "mean", "low", "high"], rows);
    Drawn { svg: chart.draw(), csv, found, notes: sentences, lines }
}

fn effort(effort: Effort, point: &Point<'_>) -> f64 {
    match effort {
        Effort::Finetunings => point.result.finetunings as f64,
        Effort::Updates => point.result.updates as f64,
        Effort::Seconds => point.result.seconds,
    }
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::Finetunings => "finetunings needed for a subnetwork",
        Effort::Updates => "updates needed for a subnetwork",
        Effort::Seconds => "seconds for a subnetwork",
    }
}

fn column(effort: Effort) -> &'static str {
    match effort {
        Effort::Finetunings => "finetunings",
        Effort::Updates => "updates",
        Effort::Seconds => "seconds",
    }
}

/// The best point, and the cheapest that does not differ from it beyond the interval.
fn about(cost: &Cost, scale: &crate::sample::Scale, spots: &[Spot<'_>], label: &str) -> Option<String> {
    scale.higher_is_better?;
    let best = spots.iter().reduce(|a, b| if scale.gain(b.summary.mean - a.summary.mean) > 0.0 { b } else { a })?;
    let digits = decimals(spots.iter().map(|spot| spot.summary));
    let told = |spot: &Spot<'_>| {
        let effort = match cost.x {
            Effort::Finetunings if spot.effort.fract() == 0.0 => {
                count(spot.effort as usize, "finetuning", "finetunings")
            }
            _ => format!("{} {}", fixed(spot.effort, 1), column(cost.x)),
        };
        format!("{} ({}, n\u{a0}=\u{a0}{}, {effort})", spot.name, interval(&spot.summary, digits), spot.summary.n)
    };
    let alike = spots.iter().filter(|spot| {
        let difference = differences(&best.points, &spot.points, &[&cost.points]).summary();
        spot.effort < best.effort && difference.is_some_and(|d| d.half.is_some() && !d.is_difference())
    });
    let cheapest = alike.reduce(|a, b| if b.effort < a.effort { b } else { a });
    let cheaper = cheapest
        .map(|spot| format!("; the cheapest that does not differ from it beyond the interval is {}", told(spot)));
    Some(words::about(label, &format!("best mean: {}{}.", told(best), cheaper.unwrap_or_default())))
}
