//! `curve`: a metric against a numeric axis.

use super::lines::{Lines, Reference};
use super::{Ask, Drawn};
use crate::figure::Curve;
use crate::sample::{is_selected, metrics, overridden};

pub(super) fn draw(ask: Ask<'_>, curve: &Curve) -> Drawn {
    let wanted = curve.y.as_deref();
    let is_dense = |cell: &&crate::Cell| curve.dense.as_ref().is_some_and(|dense| is_selected(cell, dense));
    let sample = metrics(ask.selected().filter(|cell| !is_dense(cell)), &[&curve.x, &curve.lines], wanted);
    let reference = curve.dense.as_ref().map(|dense| {
        // The figure's own selection may name the methods of its lines alone.
        let selection = overridden(&ask.figure.cells, dense);
        let cells = ask.cells.iter().filter(|cell| is_selected(cell, &selection));
        let values: Vec<String> = dense.values().flatten().map(ToString::to_string).collect();
        let compared = dense.keys().cloned().collect();
        Reference { name: values.join(" "), sample: metrics(cells, &[], wanted), compared }
    });
    let lines = Lines {
        ask,
        x: &curve.x,
        lines: &curve.lines,
        panels: &curve.panels,
        whiskers: curve.interval,
        sample,
        reference,
    };
    lines.draw(|lines, panel| lines.ranking(panel))
}
