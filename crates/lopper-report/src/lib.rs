//! From the finished cells of an experiment to figures (SVG and CSV) and one self-contained HTML page.

mod cell;
mod figure;
mod masks;
mod parse;
mod problem;
mod rendered;

pub use cell::{AxisValue, BUILT_IN_AXES, Cell, CellResult, Experiment, Metric, State};
pub use figure::{
    Compare, Cost, Curve, Drift, Effort, Figure, Kind, Layers, Matrix, Measure, Overlap, Selection, Table, Whiskers,
};
pub use masks::{MaskFiles, Masks};
pub use problem::Problem;
pub use rendered::{Caption, Rendered};

/// Draws every figure of an experiment, in order; cells that are not done are left out and counted in the captions.
pub fn render(experiment: &Experiment, masks: &dyn Masks) -> Vec<Rendered> {
    let _ = masks;
    let drawn = |figure: &Figure| Rendered {
        name: figure.name.clone(),
        title: figure.title.clone(),
        svg: String::new(),
        csv: String::new(),
        caption: Caption::default(),
        lines: Vec::new(),
    };
    experiment.figures.iter().map(drawn).collect()
}

/// One HTML document with everything in it.
pub fn page(experiment: &Experiment, figures: &[Rendered]) -> String {
    let _ = figures;
    experiment.title.clone()
}

/// All cells as CSV by RFC 4180.
pub fn records_csv(cells: &[Cell]) -> String {
    let _ = cells;
    String::new()
}
