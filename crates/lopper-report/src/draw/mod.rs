//! Drawing: nothing here knows of cells, and nothing is drawn but what the figures hand over.

mod chart;
mod colour;
mod forest;
mod grid;
mod heat;
mod legend;
mod line_style;
mod svg;
mod ticks;

pub(crate) use chart::{Axis, Chart, Level, Line, Mark, Panel};
pub(crate) use forest::{Forest, ForestPanel, ForestRow};
pub(crate) use grid::{Grid, GridCell};
pub(crate) use heat::{Colours, Heat, HeatCell, HeatPanel, HeatRow};
pub(crate) use svg::{STYLE, clean};
