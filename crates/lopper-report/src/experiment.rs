//! An experiment as the report is given it.

use crate::{Cell, Figure};

/// A sweep, finished or under way: its cells, the figures asked for, and what a reader needs to judge them.
#[derive(Debug, Clone, Default)]
pub struct Experiment {
    /// The heading of the page.
    pub title: String,
    /// Every cell that was planned, in the order of the plan. Lines, rows and columns of figures come in the order in
    /// which their values first appear here.
    pub cells: Vec<Cell>,
    /// What to draw, in the order of the page.
    pub figures: Vec<Figure>,
    /// The configuration with every default, as TOML.
    pub configuration: String,
    /// Versions and hardware, as name and value, in the order in which they are shown.
    pub provenance: Vec<(String, String)>,
}
