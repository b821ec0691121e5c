//! A table of texts.

use super::svg::{Canvas, tag, width};
use crate::words::shortened;

/// A table with a head and a first column of labels.
#[derive(Debug)]
pub(crate) struct Grid {
    pub(crate) title: String,
    pub(crate) description: String,
    /// The head, that of the labels first.
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<(String, Vec<GridCell>)>,
}

/// One cell.
#[derive(Debug, Default)]
pub(crate) struct GridCell {
    pub(crate) text: String,
    pub(crate) bold: bool,
    /// What is shown on hovering.
    pub(crate) hover: String,
}

const ROW: f64 = 28.0;
const LONGEST: usize = 28;

impl Grid {
    /// The drawing.
    pub(crate) fn draw(&self) -> String {
        let columns = self.head.len();
        let needed = |text: &str| width(&shortened(text, LONGEST)) + 24.0;
        let mut widths: Vec<f64> = self.head.iter().map(|text| needed(text)).collect();
        for (label, cells) in &self.rows {
            widths[0] = widths[0].max(needed(label));
            for (place, cell) in cells.iter().enumerate() {
                // Bold letters are wider.
                widths[place + 1] = widths[place + 1].max(needed(&cell.text) * if cell.bold { 1.08 } else { 1.0 });
            }
        }
        let total: f64 = widths.iter().sum();
        let height = ROW * (self.rows.len() as f64 + 1.0) + 16.0;
        let mut canvas = Canvas::new((total + 16.0, height), &self.title, &self.description);
        let right = |column: usize| 8.0 + widths[..=column].iter().sum::<f64>() - 12.0;
        canvas.short_text(20.0, 26.0, "bold", &self.head[0], LONGEST);
        for column in 1..columns {
            canvas.short_text(right(column), 26.0, "bold end", &self.head[column], LONGEST);
        }
        let rule = |canvas: &mut Canvas, y: f64, class: &str| {
            let line = tag("line").with("class", class).with("x1", 8.0).with("x2", total + 8.0);
            canvas.empty(line.with("y1", y).with("y2", y));
        };
        rule(&mut canvas, 8.0 + ROW, "frame");
        for (place, (label, cells)) in self.rows.iter().enumerate() {
            let y = 8.0 + ROW * (place as f64 + 1.0);
            canvas.short_text(20.0, y + 18.0, "", label, LONGEST);
            for (column, cell) in cells.iter().enumerate() {
                canvas.group(tag("g"));
                if !cell.hover.is_empty() {
                    canvas.title(&cell.hover);
                }
                let class = if cell.bold { "bold end" } else { "end" };
                canvas.short_text(right(column + 1), y + 18.0, class, &cell.text, LONGEST);
                canvas.close();
            }
            rule(&mut canvas, y + ROW, "grid");
        }
        canvas.finish()
    }
}
