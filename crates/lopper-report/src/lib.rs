//! From the finished cells of an experiment to figures (SVG and CSV) and one self-contained HTML page.

mod cell;
mod draw;
mod experiment;
mod figure;
mod figures;
mod masks;
mod page;
mod parse;
mod problem;
mod records;
mod render;
mod rendered;
mod sample;
mod stats;
mod table;
mod words;

pub use cell::{AxisValue, BUILT_IN_AXES, Cell, CellResult, Metric, State};
pub use experiment::Experiment;
pub use figure::{
    Compare, Cost, Curve, Drift, Effort, Figure, Kind, Layers, Matrix, Measure, Overlap, Selection, Table, Whiskers,
};
pub use masks::{MaskFiles, Masks};
pub use page::page;
pub use problem::Problem;
pub use records::records_csv;
pub use render::render;
pub use rendered::{Caption, Rendered};
pub use stats::{Summary, t_quantile};
