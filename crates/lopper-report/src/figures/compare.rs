//! `compare`: differences to a baseline, paired by seed and by every other axis.

use super::notes::Notes;
use super::{Ask, Drawn};
use crate::draw::{Forest, ForestPanel, ForestRow};
use crate::figure::Compare;
use crate::sample::{Scale, axes_of, differences, metrics, named, panels, values, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{about, decimals, difference};

pub(super) fn draw(ask: Ask<'_>, compare: &Compare) -> Drawn {
    let sample = metrics(ask.selected(), &axes_of(&[&compare.over], &compare.panels), compare.value.as_deref());
    let is_baseline = |value: &crate::AxisValue| value.to_string() == compare.baseline.to_string();
    let all = values(sample.cells.iter().copied(), &compare.over);
    let baseline = all.iter().find(|value| is_baseline(value)).cloned();
    // A style is a value's place among all, so that it is the same as in curves.
    let others: Vec<_> = all.iter().enumerate().filter(|(_, value)| !is_baseline(value)).collect();
    let base_name = named(&compare.over, &compare.baseline);
    let mut notes = Notes::default();
    let (mut drawn_panels, mut lines, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for (panel, label) in panels(sample.cells.iter().copied(), &compare.panels) {
        let points = within(&sample.points, compare.panels.as_deref().unwrap_or_default(), panel.as_ref());
        let base = baseline.as_ref().map(|value| within(&points, &compare.over, Some(value))).unwrap_or_default();
        let pairs: Vec<(usize, String, Option<Summary>)> = others
            .iter()
            .map(|(style, value)| {
                let seeds = differences(&within(&points, &compare.over, Some(value)), &base, &[&compare.over]);
                notes.add(&seeds);
                (*style, named(&compare.over, value), seeds.summary())
            })
            .collect();
        let digits = decimals(pairs.iter().filter_map(|(.., d)| *d)).clamp(1, 4);
        let mut parts = Vec::new();
        let mut rows = Vec::new();
        for (style, name, summary) in pairs {
            let verdict = verdict(&sample.scale, summary.as_ref());
            let words = match &summary {
                Some(d) => format!("{} (n\u{a0}=\u{a0}{}), {verdict}", difference(d, digits), d.n),
                None => verdict.to_owned(),
            };
            let mut line = vec![label.clone(), name.clone(), base_name.clone()];
            line.extend(fields(summary.as_ref()));
            line.push(verdict.to_owned());
            lines.push(line);
            if summary.is_some() {
                parts.push(format!("{name} {words}"));
            }
            rows.push(ForestRow { label: name, style, difference: summary, words });
        }
        if !parts.is_empty() {
            found.push(about(&label, &format!("against {base_name}: {}.", parts.join("; "))));
        }
        drawn_panels.push(ForestPanel { label, rows });
    }
    let forest = Forest {
        title: ask.figure.title.clone(),
        description: format!("differences to {base_name}"),
        label: format!("{}: difference to {base_name}", sample.scale.label),
        positive_is_better: sample.scale.higher_is_better,
        panels: drawn_panels,
    };
    let mut sentences = notes.sentences("Lines are");
    if forest.cuts() {
        sentences.push("Intervals longer than the axis are cut; the values are whole.".into());
    }
    sentences.push(
        "Differences are paired by seed and by every other axis. What lies within its interval is not called a difference; nothing \
         is corrected for the number of comparisons."
            .into(),
    );
    sentences.extend(sample.missing.sentences());
    let csv = csv(&["panel", &compare.over, "baseline", "n", "mean", "low", "high", "verdict"], lines);
    Drawn { svg: forest.draw(), csv, found, notes: sentences, lines: Vec::new() }
}

/// What a difference is called.
fn verdict(scale: &Scale, difference: Option<&Summary>) -> &'static str {
    match difference {
        None => "no pair of finished cells",
        Some(d) if d.half.is_none() => "one seed, no interval",
        Some(d) if !d.is_difference() => "no difference beyond the interval",
        Some(_) if scale.higher_is_better.is_none() => "beyond the interval",
        Some(d) if scale.gain(d.mean) > 0.0 => "better",
        Some(_) => "worse",
    }
}
