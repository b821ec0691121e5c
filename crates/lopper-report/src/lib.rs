//! From the finished cells of an experiment to figures (SVG and CSV) and one self-contained HTML page.
//!
//! An [`Experiment`] is plain data: [`Cell`]s with their axes, seeds and results, the [`Figure`]s that its configuration asks for, and what a
//! reader needs to judge them. [`render`] draws the figures, [`page`] puts them into one document, [`records_csv`] lists all cells. Nothing
//! here trains or needs libtorch; masks and predictions are read through [`Artefacts`] when a figure needs them. The kinds of figures and their keys are in
//! `docs/figures.md`, the statistics at [`Summary`].
//!
//! ```
//! use lopper_report::{Experiment, Figure, ArtefactFiles, page, render};
//!
//! let table: toml::Table = "name = 'iou'\nkind = 'overlap'\nover = 'task'".parse()?;
//! let figures = Figure::parse(&[table], &["task".into()]).map_err(|problems| problems[0].clone())?;
//! let experiment = Experiment { title: "Masks of nine tasks".into(), figures, ..Experiment::default() };
//! let drawn = render(&experiment, &ArtefactFiles);
//! assert!(drawn[0].svg.starts_with("<svg"));
//! assert!(page(&experiment, &drawn).contains("Masks of nine tasks"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Why the drawings are written here
//! Readers hover over points, switch lines off, and read pages aloud, in the dark and on paper. That asks for SVG with a `<title>` for every value,
//! names on groups, and classes instead of colours. `plotters` writes anonymous shapes with fixed colours (and was last released in
//! 2024), `charming` wraps a megabyte of script, `poloto` rests since 2023. So the shapes are written through `quick-xml`, which escapes;
//! the page is an `askama` template, checked when it is compiled; colours of heat maps are those of `colorous`; CSV is that of `csv`.

mod artefacts;
mod bootstrap;
mod cell;
mod draw;
mod experiment;
mod figure;
mod figures;
mod holm;
mod mcnemar;
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

pub use artefacts::{ArtefactFiles, Artefacts};
pub use bootstrap::{ExampleSet, Resampled, paired_bootstrap};
pub use cell::{AxisValue, BUILT_IN_AXES, Cell, CellResult, Metric, State};
pub use experiment::Experiment;
pub use figure::{
    Compare, Cost, Curve, Drift, Effort, Figure, Kind, Layers, Matrix, Measure, Overlap, Selection, Table, Whiskers,
};
pub use holm::holm;
pub use mcnemar::McNemar;
pub use page::page;
pub use problem::Problem;
pub use records::records_csv;
pub use render::render;
pub use rendered::{Caption, Rendered};
pub use stats::{Summary, t_quantile};
