//! `layers`: the sparsity of every layer and kind of matrix.

use super::notes::{Notes, grouped};
use super::{Ask, Drawn};
use crate::AxisValue;
use crate::draw::{Colours, Heat, HeatCell, HeatPanel, HeatRow};
use crate::figure::Layers;
use crate::sample::{Point, Scale, Seeds, axes_of, collect, panels, within};
use crate::stats::Summary;
use crate::table::{csv, fields};
use crate::words::{self, decimals, interval};
use std::collections::{BTreeMap, BTreeSet};

/// Where a tensor stands: its stack of layers, the layer's number in it, and the kind of matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    stack: String,
    layer: Option<u64>,
    kind: String,
}

/// Reads a tensor's name: `encoder.layer.3.attention.self.query.weight` is layer 3 of `encoder.layer`, `attention.self.query`.
/// The first part that is a number is the layer; a name without one is a kind of its own.
fn place(name: &str) -> Place {
    let name = name.strip_suffix(".weight").unwrap_or(name);
    let parts: Vec<&str> = name.split('.').collect();
    let number = parts.iter().enumerate().find_map(|(at, part)| part.parse().ok().map(|number: u64| (at, number)));
    match number {
        Some((at, layer)) => {
            Place { stack: parts[..at].join("."), layer: Some(layer), kind: parts[at + 1..].join(".") }
        }
        None => Place { stack: String::new(), layer: None, kind: name.to_owned() },
    }
}

/// A layer, in the order of rows: without a number last.
type Layer = (usize, Option<u64>);

pub(super) fn draw(ask: Ask<'_>, layers: &Layers) -> Drawn {
    let scale = |_: &crate::CellResult| Some((0.0, Scale { label: String::new(), higher_is_better: None }));
    let sample = collect(ask.selected(), &axes_of(&[], &layers.panels), scale);
    let mut notes = Notes::default();
    let mut table = Sparsities::default();
    let asked = panels(sample.cells.iter().copied(), &layers.panels);
    for (panel, (value, _)) in asked.iter().enumerate() {
        let axis = layers.panels.as_deref().unwrap_or_default();
        for point in within(&sample.points, axis, value.as_ref()) {
            match ask.artefacts.mask(&point.result.mask) {
                Ok(mask) => table.add(panel, &point, &mask),
                Err(problem) => notes.unreadable(problem),
            }
        }
    }
    let labels: Vec<String> = asked.into_iter().map(|(_, label)| label).collect();
    let numbers = table.numbers();
    numbers.values().for_each(|seeds| notes.add(seeds));
    let digits = decimals(numbers.values().filter_map(Seeds::summary)).min(3);
    let found = labels.iter().enumerate().filter_map(|(panel, label)| table.about(&numbers, panel, label, digits));
    let found = found.collect();
    let mut sentences = notes.sentences("Hovering shows");
    sentences.extend(sample.missing.sentences());
    let svg = table.heat(ask, &numbers, &labels, digits).draw();
    Drawn { svg, csv: table.csv(&numbers, &labels), found, notes: sentences, lines: Vec::new() }
}

/// Panel, layer and kind.
type Spot = (usize, Layer, usize);

/// The seed and the axes of a mask, and its sparsity at a spot.
type Share = (u64, BTreeMap<String, AxisValue>, f64);

/// The sparsities of all masks.
type Numbers = BTreeMap<Spot, Seeds>;

#[derive(Default)]
struct Sparsities {
    stacks: Vec<String>,
    kinds: Vec<String>,
    parts: Vec<(Spot, Share)>,
}

impl Sparsities {
    fn add(&mut self, panel: usize, point: &Point<'_>, mask: &lopper_mask::MaskSet) {
        let mut sums: BTreeMap<(Layer, usize), (u64, u64)> = BTreeMap::new();
        for (name, entries, kept, _) in mask.tensors() {
            let place = place(name.as_str());
            let stack = if place.layer.is_some() { position(&mut self.stacks, place.stack) } else { usize::MAX };
            let kind = position(&mut self.kinds, place.kind);
            let sum = sums.entry(((stack, place.layer), kind)).or_default();
            *sum = (sum.0 + entries, sum.1 + entries - kept);
        }
        for ((layer, kind), (entries, pruned)) in sums {
            let share = pruned as f64 / entries.max(1) as f64;
            self.parts.push(((panel, layer, kind), (point.cell.seed, point.cell.axes.clone(), share)));
        }
    }

    fn numbers(&self) -> Numbers {
        let groups = grouped(self.parts.iter().cloned());
        groups.into_iter().map(|(place, parts)| (place, Seeds::of_parts(parts))).collect()
    }

    fn layer(&self, (stack, number): Layer) -> String {
        match number {
            None => "no layer".into(),
            Some(number) if self.stacks.len() == 1 => format!("layer {number}"),
            Some(number) => format!("{} {number}", self.stacks[stack]),
        }
    }

    fn about(&self, numbers: &Numbers, panel: usize, label: &str, digits: usize) -> Option<String> {
        let own = numbers.iter().filter(|((at, ..), _)| *at == panel);
        let all: Vec<(Layer, usize, Summary)> =
            own.filter_map(|((_, layer, kind), seeds)| Some((*layer, *kind, seeds.summary()?))).collect();
        let by_mean = |a: &&(Layer, usize, Summary), b: &&(Layer, usize, Summary)| a.2.mean.total_cmp(&b.2.mean);
        let (low, high) = (all.iter().min_by(by_mean)?, all.iter().max_by(by_mean)?);
        let told = |(layer, kind, s): &(Layer, usize, Summary)| {
            format!("{} (n\u{a0}=\u{a0}{}) in {}, {}", interval(s, digits), s.n, self.layer(*layer), self.kinds[*kind])
        };
        Some(words::about(label, &format!("sparsity goes from {} to {}.", told(low), told(high))))
    }

    fn heat(&self, ask: Ask<'_>, numbers: &Numbers, labels: &[String], digits: usize) -> Heat {
        let layers: BTreeSet<Layer> = numbers.keys().map(|(_, layer, _)| *layer).collect();
        let means: Vec<f64> = numbers.values().filter_map(Seeds::summary).map(|s| s.mean).collect();
        let (low, high) = means.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        let panels = labels.iter().enumerate().map(|(panel, label)| {
            let rows = layers.iter().map(|layer| {
                let cells = (0..self.kinds.len()).map(|kind| {
                    let summary = numbers.get(&(panel, *layer, kind))?.summary()?;
                    let place = format!("{}, {}", self.layer(*layer), self.kinds[kind]);
                    let hover = format!("{place}: {} (n\u{a0}=\u{a0}{})", interval(&summary, digits + 2), summary.n);
                    Some(HeatCell { value: summary.mean, hover, own: false, plain: false })
                });
                HeatRow { label: self.layer(*layer), apart: layer.1.is_none(), cells: cells.collect() }
            });
            HeatPanel { label: label.clone(), columns: self.kinds.clone(), rows: rows.collect() }
        });
        Heat {
            title: ask.figure.title.clone(),
            description: "sparsity by layer and kind of matrix".into(),
            rows: "layer".into(),
            columns: "kind of matrix".into(),
            scale: "sparsity: pruned share of the matrix".into(),
            colours: if low <= high { Colours::Sequential(low, high) } else { Colours::Sequential(0.0, 1.0) },
            decimals: digits,
            signed: false,
            panels: panels.collect(),
        }
    }

    fn csv(&self, numbers: &Numbers, labels: &[String]) -> String {
        let lines = numbers.iter().map(|((panel, layer, kind), seeds)| {
            let mut line = vec![labels[*panel].clone(), self.layer(*layer), self.kinds[*kind].clone()];
            line.extend(fields(seeds.summary().as_ref()));
            line
        });
        csv(&["panel", "layer", "matrix", "n", "mean", "low", "high"], lines)
    }
}

/// The place of a name, which is added where it is new.
fn position(names: &mut Vec<String>, name: String) -> usize {
    names.iter().position(|known| *known == name).unwrap_or_else(|| {
        names.push(name);
        names.len() - 1
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_bert_and_wav2vec2_are_layers_and_matrices() {
        let told = |name| {
            let Place { stack, layer, kind } = place(name);
            (stack, layer, kind)
        };
        let bert = told("bert.encoder.layer.11.attention.self.query.weight");
        assert_eq!(bert, ("bert.encoder.layer".into(), Some(11), "attention.self.query".into()));
        let speech = told("wav2vec2.encoder.layers.0.feed_forward.output_dense.weight");
        assert_eq!(speech, ("wav2vec2.encoder.layers".into(), Some(0), "feed_forward.output_dense".into()));
        assert_eq!(told("bert.pooler.dense.weight"), (String::new(), None, "bert.pooler.dense".into()));
    }
}
