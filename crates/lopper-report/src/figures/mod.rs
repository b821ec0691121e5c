//! The kinds of figures: from cells to numbers, a drawing and sentences.

mod compare;
mod cost;
mod curve;
mod drift;
mod layers;
mod lines;
mod matrix;
mod notes;
mod over_examples;
mod overlap;
mod score_table;
mod verdict;

use crate::figure::{Figure, Kind};
use crate::sample::is_selected;
use crate::{Artefacts, Caption, Cell, Rendered};

/// What a kind makes of its cells.
struct Drawn {
    svg: String,
    csv: String,
    found: Vec<String>,
    notes: Vec<String>,
    lines: Vec<String>,
}

/// What every kind is given.
#[derive(Clone, Copy)]
struct Ask<'a> {
    /// All cells of the experiment.
    cells: &'a [Cell],
    figure: &'a Figure,
    artefacts: &'a dyn Artefacts,
}

impl<'a> Ask<'a> {
    /// The cells that the figure shows.
    fn selected(&self) -> impl Iterator<Item = &'a Cell> + use<'a> {
        let Self { cells, figure, .. } = *self;
        cells.iter().filter(|cell| is_selected(cell, &figure.cells))
    }
}

/// Draws one figure.
pub(crate) fn draw(cells: &[Cell], figure: &Figure, artefacts: &dyn Artefacts) -> Rendered {
    let ask = Ask { cells, figure, artefacts };
    let drawn = match &figure.kind {
        Kind::Curve(curve) => curve::draw(ask, curve),
        Kind::Matrix(matrix) => matrix::draw(ask, matrix),
        Kind::Overlap(overlap) => overlap::draw(ask, overlap),
        Kind::Drift(drift) => drift::draw(ask, drift),
        Kind::Layers(layers) => layers::draw(ask, layers),
        Kind::Cost(cost) => cost::draw(ask, cost),
        Kind::Table(table) => score_table::draw(ask, table),
        Kind::Compare(compare) => compare::draw(ask, compare),
    };
    let Drawn { svg, csv, mut found, notes, lines } = drawn;
    if found.is_empty() {
        found.push("Nothing can be said yet.".into());
    }
    let caption = Caption { paper: figure.paper.clone(), found, notes };
    Rendered { name: figure.name.clone(), title: figure.title.clone(), svg, csv, caption, lines }
}
