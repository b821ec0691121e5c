//! How lines are told apart: by colour (Okabe and Ito, *Color Universal Design*, 2008), marker and dashes, each of which is enough.

use super::svg::{Canvas, tag};

/// Styles before they repeat.
const COLOURS: usize = 8;

/// Dashes; solid for the first.
const DASHES: [&str; 5] = ["", "8 3", "2 3", "9 3 2 3", "5 2 2 2 2 2"];

/// The style of the line of this number.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineStyle(pub(super) usize);

impl LineStyle {
    /// The class that colours strokes.
    pub(super) fn stroke(self) -> String {
        format!("s{}", self.0 % COLOURS)
    }

    /// The class that colours areas.
    pub(super) fn fill(self) -> String {
        format!("f{}", self.0 % COLOURS)
    }

    /// A line through these points.
    pub(super) fn path(self, canvas: &mut Canvas, points: &[(f64, f64)]) {
        let corners: Vec<String> = points.iter().map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
        let line = tag("polyline").with("class", format!("path {}", self.stroke())).with("points", corners.join(" "));
        let dash = DASHES[self.0 % DASHES.len()];
        canvas.empty(if dash.is_empty() { line } else { line.with("stroke-dasharray", dash) });
    }

    /// Its marker at a place.
    pub(super) fn marker(self, canvas: &mut Canvas, x: f64, y: f64) {
        let class = format!("mark {}", self.fill());
        // Corners in tenths of pixels around the place.
        let corners: &[(i32, i32)] = match self.0 % COLOURS {
            0 => return canvas.empty(tag("circle").with("class", class).with("cx", x).with("cy", y).with("r", 4.5)),
            1 => &[(-40, -40), (40, -40), (40, 40), (-40, 40)],
            2 => &[(0, -52), (50, 38), (-50, 38)],
            3 => &[(0, -56), (50, 0), (0, 56), (-50, 0)],
            4 => &[(0, 52), (50, -38), (-50, -38)],
            5 => &[
                (-18, -52),
                (18, -52),
                (18, -18),
                (52, -18),
                (52, 18),
                (18, 18),
                (18, 52),
                (-18, 52),
                (-18, 18),
                (-52, 18),
                (-52, -18),
                (-18, -18),
            ],
            6 => &[
                (-52, -30),
                (-30, -52),
                (0, -22),
                (30, -52),
                (52, -30),
                (22, 0),
                (52, 30),
                (30, 52),
                (0, 22),
                (-30, 52),
                (-52, 30),
                (-22, 0),
            ],
            _ => &[
                (0, -56),
                (14, -18),
                (54, -18),
                (22, 8),
                (34, 48),
                (0, 24),
                (-34, 48),
                (-22, 8),
                (-54, -18),
                (-14, -18),
            ],
        };
        let at = |(dx, dy): &(i32, i32)| format!("{:.1},{:.1}", x + f64::from(*dx) / 10.0, y + f64::from(*dy) / 10.0);
        let corners: Vec<String> = corners.iter().map(at).collect();
        canvas.empty(tag("polygon").with("class", class).with("points", corners.join(" ")));
    }
}
