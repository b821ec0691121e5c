//! `[[figure]]` tables: every key is checked, and all problems are told at once.

mod keys;

use crate::cell::BUILT_IN_AXES;
use crate::figure::{Compare, Cost, Curve, Drift, Effort, Kind, Layers, Matrix, Measure, Overlap, Table, Whiskers};
use crate::{Figure, Problem};
use keys::Keys;
use std::collections::BTreeSet;

/// The kinds, by their words.
const KINDS: [&str; 8] = ["curve", "matrix", "overlap", "drift", "layers", "cost", "table", "compare"];

impl Figure {
    /// Reads the `[[figure]]` tables of an experiment whose sweep has these axes ([`BUILT_IN_AXES`] are known anyway).
    ///
    /// # Errors
    /// All problems of all figures: unknown keys with the most similar known one, kinds and axes that do not exist, values that a
    /// key does not take, missing keys, and names that are no file name or that two figures share.
    pub fn parse(tables: &[toml::Table], axes: &[String]) -> Result<Vec<Self>, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut names = BTreeSet::new();
        let mut axes: Vec<&str> = axes.iter().map(String::as_str).collect();
        axes.extend(BUILT_IN_AXES.iter().filter(|name| !axes.contains(name)).copied().collect::<Vec<_>>());
        let mut figures = Vec::new();
        for (place, table) in tables.iter().enumerate() {
            let mut keys = Keys::new(table, place, &axes, &mut problems);
            let figure = read(&mut keys, &mut names);
            keys.finish();
            figures.extend(figure);
        }
        if problems.is_empty() { Ok(figures) } else { Err(problems) }
    }
}

/// One figure; `None` where its problems leave no kind to speak of.
fn read(keys: &mut Keys<'_>, names: &mut BTreeSet<String>) -> Option<Figure> {
    let name = keys.name(names);
    let title = keys.text("title").unwrap_or_else(|| name.clone());
    let paper = keys.text("paper");
    let cells = keys.selection("where").unwrap_or_default();
    let kind = match keys.choice("kind", &KINDS.map(|word| (word, word)))? {
        "curve" => Kind::Curve(Curve {
            x: keys.axis_or("x", "sparsity"),
            y: keys.text("y"),
            lines: keys.axis_or("lines", "method"),
            panels: keys.axis("panels"),
            dense: keys.selection("dense"),
            interval: whiskers(keys),
        }),
        "matrix" => Kind::Matrix(Matrix {
            rows: keys.axis_needed("rows"),
            columns: keys.axis_needed("columns"),
            value: keys.text("value"),
            relative: keys.choice_or("relative", &[("diagonal", true)], false),
            panels: keys.axis("panels"),
        }),
        "overlap" => Kind::Overlap(Overlap {
            over: keys.axis_or("over", "task"),
            measure: keys.choice_or("measure", &[("iou", Measure::Iou), ("overlap", Measure::Overlap)], Measure::Iou),
            reference: keys.selections("reference"),
            panels: keys.axis("panels"),
        }),
        "drift" => Kind::Drift(Drift {
            x: keys.axis_or("x", "sparsity"),
            lines: keys.axis_or("lines", "method"),
            panels: keys.axis("panels"),
            interval: whiskers(keys),
        }),
        "layers" => Kind::Layers(Layers { panels: keys.axis("panels") }),
        "cost" => {
            let efforts =
                [("finetunings", Effort::Finetunings), ("updates", Effort::Updates), ("seconds", Effort::Seconds)];
            Kind::Cost(Cost {
                x: keys.choice_or("x", &efforts, Effort::Finetunings),
                y: keys.text("y"),
                points: keys.axis_or("points", "method"),
                panels: keys.axis("panels"),
            })
        }
        "table" => Kind::Table(Table {
            rows: keys.axis_or("rows", "method"),
            columns: keys.axis_or("columns", "task"),
            value: keys.text("value"),
        }),
        _ => Kind::Compare(Compare {
            over: keys.axis_or("over", "method"),
            baseline: keys.value_needed("baseline"),
            value: keys.text("value"),
            panels: keys.axis("panels"),
        }),
    };
    Some(Figure { name, title, paper, cells, kind })
}

fn whiskers(keys: &mut Keys<'_>) -> Whiskers {
    let known = [("bars", Whiskers::Bars), ("band", Whiskers::Band), ("none", Whiskers::None)];
    keys.choice_or("interval", &known, Whiskers::Bars)
}
