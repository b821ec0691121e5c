//! The names of lines, in rows.

use super::line_style::LineStyle;
use super::svg::{Canvas, tag, width};
use crate::words::shortened;

const ROW: f64 = 22.0;
/// Characters of a name.
const LONGEST: usize = 28;

/// Names with their places.
pub(super) struct Legend<'a> {
    entries: Vec<Entry<'a>>,
    rows: usize,
}

struct Entry<'a> {
    name: &'a str,
    /// The line's number; none for a horizontal line.
    line: Option<usize>,
    x: f64,
    y: f64,
}

impl<'a> Legend<'a> {
    /// Names from `left` on, in as many rows as a width of `total` asks for.
    pub(super) fn new(names: impl IntoIterator<Item = (Option<usize>, &'a str)>, left: f64, total: f64) -> Self {
        let (mut x, mut row) = (left, 0);
        let mut entries = Vec::new();
        for (line, name) in names {
            let needed = 44.0 + width(&shortened(name, LONGEST)) + 16.0;
            if x + needed > total && x > left {
                (x, row) = (left, row + 1);
            }
            entries.push(Entry { name, line, x, y: 16.0 + ROW * row as f64 });
            x += needed;
        }
        Self { entries, rows: row + 1 }
    }

    /// The height that it takes, in pixels.
    pub(super) fn height(&self) -> f64 {
        if self.entries.is_empty() { 6.0 } else { 10.0 + ROW * self.rows as f64 }
    }

    pub(super) fn draw(&self, canvas: &mut Canvas) {
        for Entry { name, line, x, y } in &self.entries {
            let (x, y) = (*x, *y);
            canvas.group(tag("g").with("data-line", *name));
            match line {
                Some(line) => {
                    let style = LineStyle(*line);
                    style.path(canvas, &[(x, y), (x + 34.0, y)]);
                    style.marker(canvas, x + 17.0, y);
                }
                None => {
                    let line = tag("line").with("class", "level").with("x1", x).with("x2", x + 34.0);
                    canvas.empty(line.with("y1", y).with("y2", y));
                }
            }
            canvas.short_text(x + 40.0, y + 4.0, "", name, LONGEST);
            canvas.close();
        }
    }
}
