//! Differences with their intervals around zero, in panels.

use super::line_style::LineStyle;
use super::svg::{Canvas, tag, width};
use super::ticks;
use crate::stats::Summary;
use crate::words::{shortened, signed};

/// Differences to one baseline.
#[derive(Debug)]
pub(crate) struct Forest {
    pub(crate) title: String,
    pub(crate) description: String,
    /// What the horizontal axis is.
    pub(crate) label: String,
    /// Which side of zero is better; `None` where that is not known.
    pub(crate) positive_is_better: Option<bool>,
    pub(crate) panels: Vec<ForestPanel>,
}

/// Differences of one panel.
#[derive(Debug)]
pub(crate) struct ForestPanel {
    pub(crate) label: String,
    pub(crate) rows: Vec<ForestRow>,
}

/// One difference.
#[derive(Debug)]
pub(crate) struct ForestRow {
    pub(crate) label: String,
    pub(crate) style: usize,
    pub(crate) difference: Option<Summary>,
    /// The difference in words, beside it.
    pub(crate) words: String,
}

const ROW: f64 = 28.0;
const PLOT: f64 = 380.0;
const LONGEST: usize = 26;

impl Forest {
    /// The drawing.
    pub(crate) fn draw(&self) -> String {
        let rows = || self.panels.iter().flat_map(|panel| &panel.rows);
        let left = rows().map(|row| width(&shortened(&row.label, LONGEST))).fold(0.0, f64::max).max(60.0) + 24.0;
        let right = rows().map(|row| width(&row.words)).fold(0.0, f64::max) + 30.0;
        let labelled = self.panels.iter().any(|panel| !panel.label.is_empty());
        let above = if labelled { 30.0 } else { 10.0 };
        let body: f64 = self.panels.iter().map(|panel| above + ROW * panel.rows.len() as f64).sum();
        let mut canvas = Canvas::new((left + PLOT + right, body.max(40.0) + 68.0), &self.title, &self.description);
        let most = self.most();
        let x = |value: f64| left + PLOT * (0.5 + 0.5 * value / most);
        let bottom = body.max(40.0) + 12.0;
        let (marks, places) = ticks::linear(-most, most, 6);
        for tick in marks {
            let class = if tick == 0.0 { "zero" } else { "grid" };
            let line = tag("line").with("class", class).with("x1", x(tick)).with("x2", x(tick));
            canvas.empty(line.with("y1", 8.0).with("y2", bottom));
            canvas.text(x(tick), bottom + 16.0, "soft mid small", &signed(tick, places));
        }
        canvas.text(left + PLOT / 2.0, bottom + 46.0, "mid", &self.label);
        if let Some(positive) = self.positive_is_better {
            let (worse, better) = ("← worse", "better →");
            let (first, second) = if positive { (worse, better) } else { ("← better", "worse →") };
            canvas.text(left, bottom + 31.0, "soft small", first);
            canvas.text(left + PLOT, bottom + 31.0, "soft small end", second);
        }
        let mut y = 8.0;
        for panel in &self.panels {
            if !panel.label.is_empty() {
                canvas.short_text(12.0, y + 20.0, "bold", &panel.label, 40);
            }
            y += above;
            for row in &panel.rows {
                let middle = y + ROW / 2.0;
                canvas.group(tag("g").with("data-line", row.label.as_str()));
                canvas.title(&format!("{}: {}", row.label, row.words));
                canvas.short_text(left - 12.0, middle + 4.0, "end", &row.label, LONGEST);
                if let Some(difference) = &row.difference {
                    let style = LineStyle(row.style);
                    let edge = |value: f64| x(value.clamp(-most, most));
                    let (from, to) = (edge(difference.low()), edge(difference.high()));
                    let bar = format!("M{from:.2} {middle:.2}H{to:.2}");
                    canvas.empty(tag("path").with("class", format!("path {}", style.stroke())).with("d", bar));
                    style.marker(&mut canvas, x(difference.mean), middle);
                }
                canvas.text(left + PLOT + 14.0, middle + 4.0, "", &row.words);
                canvas.close();
                y += ROW;
            }
        }
        canvas.finish()
    }

    /// The end of the axis: every mean, and intervals up to two and a half times the largest of them.
    fn most(&self) -> f64 {
        let all = || self.panels.iter().flat_map(|panel| &panel.rows).filter_map(|row| row.difference);
        let mean = all().map(|d| d.mean.abs()).fold(0.0, f64::max);
        let end = all().map(|d| d.high().abs().max(d.low().abs())).fold(0.0, f64::max);
        let most = if mean > 0.0 { end.min(2.5 * mean) } else { end };
        if most > 0.0 { 1.08 * most } else { 1.0 }
    }

    /// Whether some interval reaches beyond the axis.
    pub(crate) fn cuts(&self) -> bool {
        let most = self.most();
        let all = self.panels.iter().flat_map(|panel| &panel.rows).filter_map(|row| row.difference);
        all.into_iter().any(|d| d.low() < -most || d.high() > most)
    }
}
