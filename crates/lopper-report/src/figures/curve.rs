//! `curve`: a metric against a numeric axis.

use super::lines::{Lines, Reference};
use super::{Ask, Drawn};
use crate::figure::Curve;
use crate::sample::{axes_of, is_reference, is_selected, metrics, reference_name};

pub(super) fn draw(ask: Ask<'_>, curve: &Curve) -> Drawn {
    let wanted = curve.y.as_deref();
    let is_dense = |cell: &&crate::Cell| curve.dense.as_ref().is_some_and(|dense| is_selected(cell, dense));
    let sample = metrics(
        ask.selected().filter(|cell| !is_dense(cell)),
        &axes_of(&[&curve.x, &curve.lines], &curve.panels),
        wanted,
    );
    let reference = curve.dense.as_ref().map(|dense| {
        let cells = ask.cells.iter().filter(|cell| is_reference(cell, &ask.figure.cells, dense));
        let compared = dense.keys().cloned().collect();
        Reference { name: reference_name(dense), sample: metrics(cells, &[], wanted), compared }
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
