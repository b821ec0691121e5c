//! `compare`: differences to a baseline, paired by seed and by every other axis, over seeds and over examples.

use super::notes::Notes;
use super::over_examples::{OverExamples, Predictions};
use super::verdict::{ALPHA, Tested, verdict};
use super::{Ask, Drawn};
use crate::draw::{Forest, ForestPanel, ForestRow};
use crate::figure::Compare;
use crate::holm::holm;
use crate::sample::{Seeds, axes_of, metrics, named, over_pairs, pairs, panels, values, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{about, count, decimals, difference, probability, range, thousands};
use std::collections::BTreeSet;

/// One difference, before it is known how many there are.
struct Comparison {
    panel: usize,
    name: String,
    /// A value's place among all, so that its style is the same as in curves.
    style: usize,
    seeds: Seeds,
    summary: Option<Summary>,
    examples: Option<Result<OverExamples, String>>,
}

impl Comparison {
    fn told(&self) -> Option<&OverExamples> {
        self.examples.as_ref()?.as_ref().ok()
    }
}

pub(super) fn draw(ask: Ask<'_>, compare: &Compare) -> Drawn {
    let wanted = compare.value.as_deref();
    let sample = metrics(ask.selected(), &axes_of(&[&compare.over], &compare.panels), wanted);
    let is_baseline = |value: &crate::AxisValue| value.to_string() == compare.baseline.to_string();
    let all = values(sample.cells.iter().copied(), &compare.over);
    let baseline = all.iter().find(|value| is_baseline(value)).cloned();
    let base_name = named(&compare.over, &compare.baseline);
    let panels = panels(sample.cells.iter().copied(), &compare.panels);
    let mut predictions = Predictions::new(ask, wanted);
    let mut comparisons = Vec::new();
    for (panel, (value, _)) in panels.iter().enumerate() {
        let points = within(&sample.points, compare.panels.as_deref().unwrap_or_default(), value.as_ref());
        let base = baseline.as_ref().map(|value| within(&points, &compare.over, Some(value))).unwrap_or_default();
        for (style, value) in all.iter().enumerate().filter(|(_, value)| !is_baseline(value)) {
            let pairs = pairs(&within(&points, &compare.over, Some(value)), &base, &[&compare.over]);
            let seeds = over_pairs(&pairs);
            let (name, summary) = (named(&compare.over, value), seeds.summary());
            let examples = predictions.compare(&pairs, &seeds);
            comparisons.push(Comparison { panel, name, style, seeds, summary, examples });
        }
    }
    let tested = tested(&comparisons);
    let mut notes = Notes::default();
    comparisons.iter().for_each(|comparison| notes.add(&comparison.seeds));
    let (mut drawn, mut lines, mut found) = (Vec::new(), Vec::new(), Vec::new());
    for (panel, (_, label)) in panels.iter().enumerate() {
        let here = || comparisons.iter().zip(&tested).filter(|(comparison, _)| comparison.panel == panel);
        let digits = decimals(here().filter_map(|(comparison, _)| comparison.summary)).clamp(1, 4);
        let (mut rows, mut parts) = (Vec::new(), Vec::new());
        for (comparison, tested) in here() {
            let verdict = verdict(&sample.scale, comparison.summary.as_ref(), tested);
            let words = words(comparison, tested, &verdict, digits);
            let start = [label.clone(), comparison.name.clone(), base_name.clone()];
            lines.push(start.into_iter().chain(columns(comparison, tested)).chain([verdict.clone()]).collect());
            if comparison.summary.is_some() {
                parts.push(format!("{} {words}", comparison.name));
            }
            let (label, style, difference) = (comparison.name.clone(), comparison.style, comparison.summary);
            rows.push(ForestRow { label, style, difference, words });
        }
        if !parts.is_empty() {
            found.push(about(label, &format!("against {base_name}: {}.", parts.join("; "))));
        }
        drawn.push(ForestPanel { label: label.clone(), rows });
    }
    let forest = Forest {
        title: ask.figure.title.clone(),
        description: format!("differences to {base_name}"),
        label: format!("{}: difference to {base_name}", sample.scale.label),
        positive_is_better: sample.scale.higher_is_better,
        panels: drawn,
    };
    let mut sentences = notes.sentences("± and lines are");
    if forest.cuts() {
        sentences.push("Intervals longer than the axis are cut; the values are whole.".into());
    }
    sentences.push(
        "Differences are paired by seed and by every other axis. What lies within one of its intervals is not called a difference.".into(),
    );
    sentences.extend(explanations(&comparisons));
    sentences.extend(sample.missing.sentences());
    let header = [
        "panel",
        &compare.over,
        "baseline",
        "n",
        "mean",
        "low",
        "high",
        "p",
        "p_holm",
        "examples",
        "resamples",
        "examples_low",
        "examples_high",
        "examples_p",
        "examples_p_holm",
        "mcnemar_discordant",
        "mcnemar_p",
        "mcnemar_p_holm",
        "verdict",
    ];
    Drawn { svg: forest.draw(), csv: csv(&header, lines), found, notes: sentences, lines: Vec::new() }
}

/// Every comparison's probabilities, corrected for all of the figure's of the same kind.
fn tested(comparisons: &[Comparison]) -> Vec<Tested> {
    let corrected = |all: Vec<Option<f64>>| {
        let mut corrected = holm(&all.iter().copied().flatten().collect::<Vec<_>>()).into_iter();
        all.into_iter().map(move |known| known.and_then(|known| Some((known, corrected.next()?)))).collect::<Vec<_>>()
    };
    let seeds = corrected(comparisons.iter().map(|c| c.summary.and_then(|summary| summary.probability())).collect());
    let examples = corrected(comparisons.iter().map(|c| c.told().map(|told| told.resampled.probability)).collect());
    let single = comparisons.iter().flat_map(|c| c.told().into_iter().flat_map(|told| &told.mcnemar));
    let mut mcnemar = corrected(single.map(|test| Some(test.probability)).collect()).into_iter().flatten();
    let each = comparisons.iter().zip(seeds.into_iter().zip(examples));
    let tested = each.map(|(comparison, (seeds, examples))| {
        let told = comparison.told();
        let tests = told.map_or(0, |told| told.mcnemar.len());
        Tested {
            seeds,
            examples: told.map(|told| told.resampled).zip(examples),
            mcnemar: mcnemar.by_ref().take(tests).collect(),
        }
    });
    tested.collect()
}

/// A comparison in words, such as `+0.031 ± 0.013 (n = 3, p = 0.01), over 408 examples +0.012 to +0.049 (p < 0.001), better`.
fn words(comparison: &Comparison, tested: &Tested, verdict: &str, digits: usize) -> String {
    let Some(d) = &comparison.summary else { return verdict.to_owned() };
    let seeds = tested.seeds.map(|(_, corrected)| format!(", {}", probability(corrected))).unwrap_or_default();
    let mut words = format!("{} (n\u{a0}=\u{a0}{}{seeds})", difference(d, digits), d.n);
    if let Some((resampled, (_, corrected))) = &tested.examples {
        let (examples, range) = (thousands(resampled.examples as u64), range(resampled.low, resampled.high, digits));
        words += &format!(", over {examples} examples {range} ({})", probability(*corrected));
    }
    match &tested.mcnemar[..] {
        [] => {}
        [(_, one)] => words += &format!(", McNemar {}", probability(*one)),
        many => {
            let apart = many.iter().filter(|(_, corrected)| *corrected <= ALPHA).count();
            words += &format!(", McNemar {apart} of {} with p\u{a0}≤\u{a0}{ALPHA}", many.len());
        }
    }
    format!("{words}, {verdict}")
}

/// The columns between the names and the verdict.
fn columns(comparison: &Comparison, tested: &Tested) -> Vec<String> {
    let mut columns: Vec<String> = fields(comparison.summary.as_ref()).into();
    let both = |pair: Option<(f64, f64)>| match pair {
        Some((alone, corrected)) => [alone.to_string(), corrected.to_string()],
        None => Default::default(),
    };
    columns.extend(both(tested.seeds));
    match &tested.examples {
        Some((r, p)) => {
            columns.extend([r.examples.to_string(), r.resamples.to_string(), r.low.to_string(), r.high.to_string()]);
            columns.extend(both(Some(*p)));
        }
        None => columns.extend(vec![String::new(); 6]),
    }
    let joined = |parts: Vec<String>| parts.join(" ");
    let tests = comparison.told().map_or(&[][..], |told| &told.mcnemar);
    columns.push(joined(tests.iter().map(|test| format!("{}/{}", test.first_only, test.second_only)).collect()));
    columns.push(joined(tested.mcnemar.iter().map(|(alone, _)| alone.to_string()).collect()));
    columns.push(joined(tested.mcnemar.iter().map(|(_, corrected)| corrected.to_string()).collect()));
    columns
}

/// Which uncertainty each number is about, and what could not be told.
fn explanations(comparisons: &[Comparison]) -> Vec<String> {
    let mut found = Vec::new();
    let told: Vec<&OverExamples> = comparisons.iter().filter_map(Comparison::told).collect();
    let seeds = comparisons.iter().filter(|c| c.summary.is_some_and(|summary| summary.half.is_some())).count();
    let counts: BTreeSet<usize> = told.iter().map(|told| told.resampled.resamples).collect();
    if let (Some(least), Some(most)) = (counts.first(), counts.last()) {
        let (least, most) = (thousands(*least as u64), thousands(*most as u64));
        let resamples = if least == most { most } else { format!("{least} to {most}") };
        if seeds > 0 {
            found.push("± is about seeds: what another seed would give on these examples.".into());
        }
        found.push(format!(
            "What stands after \"over … examples\" is about examples: what these very models would give on others of the same kind, as \
             the 95 % interval of {resamples} paired bootstrap resamples (Koehn 2004)."
        ));
    }
    let tests: usize = told.iter().map(|told| told.mcnemar.len()).sum();
    if tests > 0 {
        found.push(
            "McNemar's test asks, seed by seed, whether both are wrong equally often (exact below 25 examples that one alone gets right)."
                .into(),
        );
    }
    let families: Vec<String> = [(seeds, "over seeds"), (told.len(), "over examples"), (tests, "of McNemar")]
        .into_iter()
        .filter(|(tests, _)| *tests > 0)
        .map(|(tests, what)| format!("{} {what}", count(tests, "test", "tests")))
        .collect();
    if !families.is_empty() {
        found.push(format!(
            "p is corrected by Holm's method for the {} of this figure; intervals are not corrected.",
            families.join(", the ")
        ));
    }
    let reasons: BTreeSet<&String> = comparisons.iter().filter_map(|c| c.examples.as_ref()?.as_ref().err()).collect();
    if let Some(first) = reasons.first() {
        let untold = comparisons.iter().filter(|c| matches!(c.examples, Some(Err(_)))).count();
        let more =
            if reasons.len() > 1 { format!(", and {} more such reasons", reasons.len() - 1) } else { String::new() };
        found.push(format!(
            "Nothing is said over examples of {untold} of {} comparisons: {first}{more}.",
            comparisons.len()
        ));
    }
    found
}
