//! Lines over a numeric axis: what curves of metrics and of IOUs share.

use super::notes::Notes;
use super::{Ask, Drawn};
use crate::AxisValue;
use crate::draw::{Axis, Chart, Level, Line, Mark, Panel};
use crate::figure::Whiskers;
use crate::sample::{Point, Sample, differences, named, over_seeds, panels, values, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{about, decimals, interval, list, on_axis, places};
use std::collections::BTreeMap;

/// Cells that are drawn as a horizontal line.
pub(super) struct Reference<'a> {
    pub(super) name: String,
    pub(super) sample: Sample<'a>,
    /// The axes by which they were chosen.
    pub(super) compared: Vec<String>,
}

/// What is drawn.
pub(super) struct Lines<'a> {
    pub(super) ask: Ask<'a>,
    pub(super) x: &'a str,
    pub(super) lines: &'a str,
    pub(super) panels: &'a Option<String>,
    pub(super) whiskers: Whiskers,
    pub(super) sample: Sample<'a>,
    pub(super) reference: Option<Reference<'a>>,
}

/// The numbers of one line.
pub(super) struct LineData<'a> {
    pub(super) name: String,
    place: usize,
    /// x, the points there, and their mean.
    pub(super) at: Vec<(f64, Vec<Point<'a>>, Summary)>,
}

/// The numbers of one panel.
pub(super) struct PanelData<'a> {
    pub(super) label: String,
    pub(super) lines: Vec<LineData<'a>>,
    reference: Option<(Vec<Point<'a>>, Summary)>,
}

impl<'a> Lines<'a> {
    /// Draws them; `say` has the sentences of a panel.
    pub(super) fn draw(mut self, say: impl Fn(&Self, &PanelData<'a>) -> Vec<String>) -> Drawn {
        let numeric = |p: &Point<'_>| p.cell.axis(self.x).is_some_and(|x| x.number().is_some_and(f64::is_finite));
        let (kept, others): (Vec<_>, Vec<_>) = self.sample.points.iter().partition(|p| numeric(p));
        self.sample.missing.lacking += others.len();
        self.sample.points = kept;
        let mut notes = Notes::default();
        let line_values = values(self.sample.cells.iter().copied(), self.lines);
        let data = self.data(&line_values, &mut notes);
        let names: Vec<String> = line_values.iter().map(|value| named(self.lines, value)).collect();
        let chart = self.chart(&data, names.clone());
        let mut found = Vec::new();
        for panel in &data {
            found.extend(say(&self, panel).into_iter().map(|sentence| about(&panel.label, &sentence)));
        }
        let shown = match self.whiskers {
            Whiskers::Bars => "Bars are",
            Whiskers::Band => "Bands are",
            Whiskers::None => "Hovering shows",
        };
        let mut sentences = notes.sentences(shown);
        if chart.cuts() {
            sentences.push(
                "Intervals that would leave the means no room are cut at the frame; the values are whole.".into(),
            );
        }
        if found.iter().any(|sentence| sentence.contains("clearly")) {
            sentences.push("Clearly: beyond the interval of the difference paired by seed, to every other line or to the reference.".into());
        }
        sentences.extend(self.sample.missing.sentences());
        let mut lines = names;
        if let Some(reference) = &self.reference {
            sentences
                .extend(reference.sample.missing.sentences().into_iter().map(|s| format!("{}: {s}", reference.name)));
            lines.push(reference.name.clone());
        }
        Drawn { svg: chart.draw(), csv: self.csv(&data), found, notes: sentences, lines }
    }

    fn data(&self, line_values: &[AxisValue], notes: &mut Notes) -> Vec<PanelData<'a>> {
        let all = self.sample.cells.iter().copied();
        let mut found = Vec::new();
        for (panel, label) in panels(all, self.panels) {
            let axis = self.panels.as_deref().unwrap_or_default();
            let points = within(&self.sample.points, axis, panel.as_ref());
            let xs = values(points.iter().map(|p| p.cell), self.x);
            let mut lines = Vec::new();
            for (place, value) in line_values.iter().enumerate() {
                let own = within(&points, self.lines, Some(value));
                let mut at = Vec::new();
                for x in &xs {
                    let here = within(&own, self.x, Some(x));
                    let seeds = over_seeds(&here);
                    notes.add(&seeds);
                    if let (Some(x), Some(summary)) = (x.number(), seeds.summary()) {
                        at.push((x, here, summary));
                    }
                }
                lines.push(LineData { name: named(self.lines, value), place, at });
            }
            let reference = self.reference.as_ref().and_then(|reference| {
                // A dense model that is the same in all panels has no value on their axis.
                let has = |p: &&Point<'_>| {
                    panel.is_none() || p.cell.axis(axis).is_none_or(|value| Some(&value) == panel.as_ref())
                };
                let points: Vec<Point<'a>> = reference.sample.points.iter().filter(has).copied().collect();
                let seeds = over_seeds(&points);
                notes.add(&seeds);
                Some((points, seeds.summary()?))
            });
            found.push(PanelData { label, lines, reference });
        }
        found
    }

    fn percent(&self) -> bool {
        let shares =
            |p: &Point<'_>| p.cell.axis(self.x).and_then(|x| x.number()).is_some_and(|x| (0.0..=1.0).contains(&x));
        self.x.ends_with("sparsity") && self.sample.points.iter().all(shares)
    }

    fn chart(&self, data: &[PanelData<'a>], names: Vec<String>) -> Chart {
        let figure = self.ask.figure;
        let percent = self.percent();
        let panels = data.iter().map(|panel| {
            let line = |line: &LineData<'_>| Line {
                name: line.place,
                points: line.at.iter().map(|(x, _, summary)| (*x, *summary)).collect(),
            };
            let level = self.reference.as_ref().zip(panel.reference.as_ref());
            let level = level.map(|(reference, (_, at))| Level { name: reference.name.clone(), at: *at });
            Panel { label: panel.label.clone(), lines: panel.lines.iter().map(line).collect(), level }
        });
        let label = if percent { format!("{} (pruned share)", self.x) } else { self.x.to_owned() };
        Chart {
            id: figure.name.clone(),
            title: figure.title.clone(),
            description: format!("{} against {}", self.sample.scale.full(), self.x),
            x: Axis { label, percent, logarithmic: false },
            y: Axis { label: self.sample.scale.full(), ..Axis::default() },
            names,
            mark: match self.whiskers {
                Whiskers::Bars => Mark::Bars,
                Whiskers::Band => Mark::Band,
                Whiskers::None => Mark::Plain,
            },
            panels: panels.collect(),
        }
    }

    fn csv(&self, data: &[PanelData<'a>]) -> String {
        let mut rows = Vec::new();
        let mut row = |panel: &PanelData<'_>, line: &str, x: String, summary: &Summary| {
            let mut row = vec![panel.label.clone(), line.to_owned(), x];
            row.extend(fields(Some(summary)));
            rows.push(row);
        };
        for panel in data {
            for line in &panel.lines {
                for (x, _, summary) in &line.at {
                    row(panel, &line.name, x.to_string(), summary);
                }
            }
            if let (Some(reference), Some((_, summary))) = (&self.reference, &panel.reference) {
                row(panel, &reference.name, String::new(), summary);
            }
        }
        csv(&["panel", self.lines, self.x, "n", "mean", "low", "high"], rows)
    }

    /// A place on the axis, in words.
    pub(super) fn place(&self, x: f64) -> String {
        on_axis(x, self.percent())
    }

    /// Which line is best where, whether that is more than chance, and how they stand to the reference.
    pub(super) fn ranking(&self, panel: &PanelData<'a>) -> Vec<String> {
        let scale = &self.sample.scale;
        if scale.higher_is_better.is_none() || panel.lines.iter().all(|line| line.at.is_empty()) {
            return Vec::new();
        }
        let xs = xs(panel);
        let labels: Vec<String> = xs.iter().map(|x| self.place(*x)).collect();
        // By the places of lines: where each is best, and where clearly.
        let mut best: BTreeMap<usize, (Vec<usize>, Vec<usize>)> = BTreeMap::new();
        let mut widest: Option<(f64, f64)> = None;
        for (place, x) in xs.iter().enumerate() {
            let ranked = self.ranked(panel, *x);
            let [(first, points, top), rest @ ..] = &ranked[..] else { continue };
            let Some((_, _, last)) = rest.last() else { continue };
            let spread = scale.gain(top.mean - last.mean);
            if widest.is_none_or(|(_, most)| spread > most) {
                widest = Some((*x, spread));
            }
            let clearly = rest.iter().all(|(_, other, _)| {
                let difference = differences(points, other, &[self.lines]).summary();
                difference.is_some_and(|d| d.is_difference() && scale.gain(d.mean) > 0.0)
            });
            let (at, clear) = best.entry(*first).or_default();
            at.push(place);
            clear.extend(clearly.then_some(place));
        }
        let mut best: Vec<_> = best.into_iter().collect();
        best.sort_by_key(|(line, (at, _))| (usize::MAX - at.len(), *line));
        let parts: Vec<String> = best
            .iter()
            .map(|(line, (at, clear))| {
                let clearly = match clear.len() {
                    0 => "nowhere clearly".to_owned(),
                    n if n == at.len() => "clearly".to_owned(),
                    _ => format!("clearly at {}", places(clear, &labels)),
                };
                format!("{} at {} ({clearly})", panel.lines[*line].name, places(at, &labels))
            })
            .collect();
        let mut found = Vec::new();
        if !parts.is_empty() {
            found.push(format!("best mean: {}.", parts.join("; ")));
        }
        if let Some((x, _)) = widest {
            let digits = decimals(panel.lines.iter().flat_map(|line| line.at.iter().map(|(_, _, s)| *s)));
            let told =
                |(line, _, s): &(usize, _, Summary)| format!("{} {}", panel.lines[*line].name, interval(s, digits));
            let means: Vec<String> = self.ranked(panel, x).iter().map(told).collect();
            found.push(format!("furthest apart at {}: {}.", self.place(x), list(&means)));
        }
        found.extend(self.against_reference(panel));
        found
    }

    /// The lines that have a mean at this place, best first; of equals the first.
    fn ranked<'b>(&self, panel: &'b PanelData<'a>, x: f64) -> Vec<(usize, &'b Vec<Point<'a>>, Summary)> {
        let here = panel.lines.iter().enumerate().filter_map(|(line, data)| {
            let (_, points, summary) = data.at.iter().find(|(at, ..)| *at == x)?;
            Some((line, points, *summary))
        });
        let mut ranked: Vec<_> = here.collect();
        ranked.sort_by(|a, b| self.sample.scale.gain(b.2.mean).total_cmp(&self.sample.scale.gain(a.2.mean)));
        ranked
    }

    /// Up to where each line is not clearly worse than the reference.
    fn against_reference(&self, panel: &PanelData<'a>) -> Option<String> {
        let (reference, (points, level)) = self.reference.as_ref().zip(panel.reference.as_ref())?;
        let mut compared: Vec<&str> = reference.compared.iter().map(String::as_str).collect();
        compared.extend([self.x, self.lines]);
        let mut parts = Vec::new();
        for line in panel.lines.iter().filter(|line| !line.at.is_empty()) {
            let mut last = None;
            let mut worse = false;
            for (x, own, _) in &line.at {
                let difference = differences(own, points, &compared).summary().filter(|d| d.half.is_some())?;
                worse = difference.is_difference() && self.sample.scale.gain(difference.mean) < 0.0;
                if worse {
                    break;
                }
                last = Some(*x);
            }
            let until = match last {
                None => "nowhere".to_owned(),
                Some(_) if !worse => "everywhere".to_owned(),
                Some(x) => format!("up to {}", self.place(x)),
            };
            parts.push(format!("{} {until}", line.name));
        }
        let level = interval(level, decimals([*level]));
        Some(format!("not clearly worse than {} ({level}): {}.", reference.name, list(&parts)))
    }
}

/// Every place on the axis at which some line has a mean, ascending.
fn xs(panel: &PanelData<'_>) -> Vec<f64> {
    let mut xs: Vec<f64> = panel.lines.iter().flat_map(|line| line.at.iter().map(|(x, ..)| *x)).collect();
    xs.sort_by(f64::total_cmp);
    xs.dedup();
    xs
}
