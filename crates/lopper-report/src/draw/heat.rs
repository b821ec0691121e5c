//! Heat maps with a number in every cell, in panels.

use super::colour::{Fill, diverging, sequential};
use super::svg::{Canvas, tag, width};
use crate::words::{fixed, shortened, signed};

/// How values become colours.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Colours {
    /// From dark to light, over this range.
    Sequential(f64, f64),
    /// From red by white to blue, where blue is better; up to this distance from 0.
    Diverging {
        /// The distance from 0 of the strongest colours.
        most: f64,
        /// Whether positive values are the better ones.
        positive_is_better: bool,
    },
}

/// Heat maps with the same columns, rows and colours.
#[derive(Debug)]
pub(crate) struct Heat {
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) rows: String,
    pub(crate) columns: String,
    /// What the colours mean.
    pub(crate) scale: String,
    pub(crate) colours: Colours,
    /// Decimals of the numbers in the cells.
    pub(crate) decimals: usize,
    /// Whether positive numbers have a sign.
    pub(crate) signed: bool,
    pub(crate) panels: Vec<HeatPanel>,
}

/// One heat map.
#[derive(Debug)]
pub(crate) struct HeatPanel {
    pub(crate) label: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<HeatRow>,
}

/// One row of it.
#[derive(Debug)]
pub(crate) struct HeatRow {
    pub(crate) label: String,
    /// Whether it stands apart from the row above.
    pub(crate) apart: bool,
    pub(crate) cells: Vec<Option<HeatCell>>,
}

/// One cell of it.
#[derive(Debug)]
pub(crate) struct HeatCell {
    pub(crate) value: f64,
    /// What is shown on hovering.
    pub(crate) hover: String,
    /// Whether it is the cell that others are compared with.
    pub(crate) own: bool,
    /// Whether it takes no colour, being of another kind than the others.
    pub(crate) plain: bool,
}

const CELL_HEIGHT: f64 = 30.0;
const APART: f64 = 10.0;
const LONGEST: usize = 26;
const BETWEEN: f64 = 36.0;

impl Heat {
    fn number(&self, cell: &HeatCell) -> String {
        if self.signed && !cell.plain { signed(cell.value, self.decimals) } else { fixed(cell.value, self.decimals) }
    }

    fn fill(&self, value: f64) -> Fill {
        match self.colours {
            Colours::Sequential(low, high) => sequential(if high > low { (value - low) / (high - low) } else { 0.5 }),
            Colours::Diverging { most, positive_is_better } => {
                let share = if most > 0.0 { value / most } else { 0.0 };
                diverging(if positive_is_better { share } else { -share })
            }
        }
    }

    /// The drawing.
    pub(crate) fn draw(&self) -> String {
        let cells = || self.panels.iter().flat_map(|p| &p.rows).flat_map(|row| row.cells.iter().flatten());
        let rows = || self.panels.iter().flat_map(|panel| &panel.rows);
        let columns = || self.panels.iter().flat_map(|panel| &panel.columns);
        let widest = |texts: &mut dyn Iterator<Item = f64>| texts.fold(0.0, f64::max);
        let number = widest(&mut cells().map(|cell| width(&self.number(cell))));
        let header = widest(&mut columns().map(|name| width(&shortened(name, LONGEST))));
        let cell_width = (number + 14.0).max(44.0);
        // Headers that do not fit over their columns are turned.
        let turned = header + 6.0 > cell_width.max(64.0);
        let cell_width = if turned { cell_width } else { cell_width.max(header + 6.0) };
        let left = widest(&mut rows().map(|row| width(&shortened(&row.label, LONGEST)))) + 40.0;
        let labelled = self.panels.iter().any(|panel| !panel.label.is_empty());
        let above = if labelled { 24.0 } else { 4.0 } + 22.0 + if turned { header * 0.75 + 16.0 } else { 22.0 };
        let most_columns = self.panels.iter().map(|panel| panel.columns.len()).max().unwrap_or(0).max(1);
        let panel_width = left + cell_width * most_columns as f64 + if turned { header * 0.5 } else { 8.0 };
        let panel_height = |panel: &HeatPanel| {
            above + panel.rows.iter().map(|r| CELL_HEIGHT + if r.apart { APART } else { 0.0 }).sum::<f64>()
        };
        // Two side by side where both stay narrow.
        let side_by_side = if self.panels.len() > 1 && panel_width < 560.0 { 2 } else { 1 };
        let height = widest(&mut self.panels.iter().map(panel_height)).max(above + CELL_HEIGHT);
        let bands = self.panels.len().div_ceil(side_by_side).max(1);
        let total_width = (panel_width + BETWEEN) * side_by_side as f64 - BETWEEN + 12.0;
        let size = (total_width.max(420.0), (height + 22.0) * bands as f64 + 50.0);
        let mut canvas = Canvas::new(size, &self.title, &self.description);
        for (place, panel) in self.panels.iter().enumerate() {
            let x = (panel_width + BETWEEN) * (place % side_by_side) as f64;
            let y = (height + 22.0) * (place / side_by_side) as f64;
            let at = Place { x, y, left, above, cell_width, turned };
            self.draw_panel(&mut canvas, panel, &at);
        }
        if cells().next().is_none() {
            canvas.text(size.0 / 2.0, above + 20.0, "soft mid", "no finished cell yet");
        } else {
            self.draw_scale(&mut canvas, 24.0, size.1 - 44.0);
        }
        canvas.finish()
    }

    fn draw_panel(&self, canvas: &mut Canvas, panel: &HeatPanel, at: &Place) {
        let first = at.x + at.left;
        let top = at.y + at.above;
        if !panel.label.is_empty() {
            canvas.short_text(first, at.y + 18.0, "bold", &panel.label, 60);
        }
        let middle = first + at.cell_width * panel.columns.len() as f64 / 2.0;
        canvas.text(
            middle,
            at.y + if self.panels.iter().any(|p| !p.label.is_empty()) { 36.0 } else { 16.0 },
            "soft mid small",
            &self.columns,
        );
        for (column, name) in panel.columns.iter().enumerate() {
            let x = first + at.cell_width * (column as f64 + 0.5);
            if at.turned {
                let turn = format!("translate({:.2} {:.2}) rotate(-45)", x + 4.0, top - 7.0);
                canvas.text_as(tag("text").with("transform", turn), &shortened(name, LONGEST));
            } else {
                canvas.short_text(x, top - 8.0, "mid", name, LONGEST);
            }
        }
        let mut y = top;
        let body: f64 = panel.rows.len() as f64 * CELL_HEIGHT;
        let turn = format!("translate({:.2} {:.2}) rotate(-90)", at.x + 16.0, top + body / 2.0);
        canvas.text_as(tag("text").with("class", "soft mid small").with("transform", turn), &self.rows);
        for row in &panel.rows {
            y += if row.apart { APART } else { 0.0 };
            canvas.short_text(first - 8.0, y + CELL_HEIGHT / 2.0 + 4.0, "end", &row.label, LONGEST);
            for (column, cell) in row.cells.iter().enumerate() {
                self.draw_cell(canvas, cell.as_ref(), first + at.cell_width * column as f64, y, at.cell_width);
            }
            y += CELL_HEIGHT;
        }
    }

    fn draw_cell(&self, canvas: &mut Canvas, cell: Option<&HeatCell>, x: f64, y: f64, wide: f64) {
        let place = |class: &str| {
            let rect = tag("rect").with("class", class).with("x", x + 0.75).with("y", y + 0.75);
            rect.with("width", wide - 1.5).with("height", CELL_HEIGHT - 1.5)
        };
        let Some(cell) = cell else {
            return canvas.empty(place("void"));
        };
        canvas.group(tag("g"));
        canvas.title(&cell.hover);
        let text = if cell.plain {
            canvas.empty(place("void"));
            "mid".to_owned()
        } else {
            let fill = self.fill(cell.value);
            canvas.empty(place("cell").with("fill", fill.colour));
            format!("mid {}", fill.text)
        };
        if cell.own {
            canvas.empty(place("own"));
        }
        canvas.text(x + wide / 2.0, y + CELL_HEIGHT / 2.0 + 4.0, &text, &self.number(cell));
        canvas.close();
    }

    /// A strip of all colours with its ends.
    fn draw_scale(&self, canvas: &mut Canvas, x: f64, y: f64) {
        const STEPS: usize = 60;
        let (low, high) = match self.colours {
            Colours::Sequential(low, high) => (low, high),
            Colours::Diverging { most, .. } => (-most, most),
        };
        for step in 0..STEPS {
            let value = low + (high - low) * (step as f64 + 0.5) / STEPS as f64;
            let rect =
                tag("rect").with("x", x + 3.0 * step as f64).with("y", y).with("width", 3.2).with("height", 12.0);
            canvas.empty(rect.with("fill", self.fill(value).colour));
        }
        let number = |value| if self.signed { signed(value, self.decimals) } else { fixed(value, self.decimals) };
        canvas.text(x, y + 27.0, "soft small", &number(low));
        canvas.text(x + 180.0, y + 27.0, "soft small end", &number(high));
        canvas.text(x + 192.0, y + 11.0, "soft small", &self.scale);
    }
}

/// Where a panel lies, and what all share, in pixels.
struct Place {
    x: f64,
    y: f64,
    left: f64,
    above: f64,
    cell_width: f64,
    turned: bool,
}
