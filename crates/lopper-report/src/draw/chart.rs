//! Lines or points over two axes, in panels.

use super::legend::Legend;
use super::line_style::LineStyle;
use super::svg::{Canvas, tag, width};
use super::ticks;
use crate::stats::Summary;
use crate::words::{decimals, fixed, interval, on_axis, shortened};

/// An axis of a chart.
#[derive(Debug, Clone, Default)]
pub(crate) struct Axis {
    /// What it is, with unit and direction.
    pub(crate) label: String,
    /// Whether shares are written as percentages.
    pub(crate) percent: bool,
    /// Whether it is logarithmic; then all its values are positive.
    pub(crate) logarithmic: bool,
}

/// How the points of a line are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Joined, with a bar for each interval.
    Bars,
    /// Joined, with a band for the intervals.
    Band,
    /// Joined, without intervals.
    Plain,
    /// Apart, each with a bar and its line's name beside it.
    Named,
}

/// Lines over the same axes.
#[derive(Debug)]
pub(crate) struct Chart {
    /// Unique on a page.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) description: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    /// Every line's name; its place is its style.
    pub(crate) names: Vec<String>,
    pub(crate) mark: Mark,
    pub(crate) panels: Vec<Panel>,
}

/// One pair of axes.
#[derive(Debug)]
pub(crate) struct Panel {
    pub(crate) label: String,
    pub(crate) lines: Vec<Line>,
    pub(crate) level: Option<Level>,
}

/// A line: its points from left to right.
#[derive(Debug)]
pub(crate) struct Line {
    /// Place among the names.
    pub(crate) name: usize,
    /// x, and the mean there.
    pub(crate) points: Vec<(f64, Summary)>,
}

/// A horizontal line.
#[derive(Debug)]
pub(crate) struct Level {
    pub(crate) name: String,
    pub(crate) at: Summary,
}

/// Where things lie, in pixels.
struct Frame {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
    x: (f64, f64),
    y: (f64, f64),
    logarithmic: bool,
}

impl Frame {
    fn x(&self, value: f64) -> f64 {
        let place = |v: f64| if self.logarithmic { v.ln() } else { v };
        let (low, high) = (place(self.x.0), place(self.x.1));
        self.left + self.width * (place(value) - low) / (high - low)
    }

    fn y(&self, value: f64) -> f64 {
        self.top + self.height * (1.0 - (value - self.y.0) / (self.y.1 - self.y.0))
    }
}

const LEFT: f64 = 68.0;
const RIGHT: f64 = 18.0;
const BOTTOM: f64 = 52.0;
/// Characters of a name beside its point.
const NAMED: usize = 20;

impl Chart {
    /// Whether some interval reaches beyond its panel.
    pub(crate) fn cuts(&self) -> bool {
        self.mark != Mark::Plain
            && self.panels.iter().any(|panel| {
                let (low, high) = panel.range(self.mark);
                panel.lines.iter().flat_map(|line| &line.points).any(|(_, s)| s.low() < low || s.high() > high)
            })
    }

    /// The drawing; nothing but its frame where there are no points.
    pub(crate) fn draw(&self) -> String {
        let columns = self.panels.len().clamp(1, 3);
        let (plot_width, plot_height) = match columns {
            1 => (640.0, 330.0),
            2 => (400.0, 290.0),
            _ => (268.0, 220.0),
        };
        let labelled = self.panels.iter().any(|panel| !panel.label.is_empty());
        let above = if labelled { 28.0 } else { 12.0 };
        let (cell_width, cell_height) = (LEFT + plot_width + RIGHT, above + plot_height + BOTTOM);
        let total = cell_width * columns as f64;
        let legend = self.legend(total);
        let rows = self.panels.len().div_ceil(columns).max(1);
        let size = (total, legend.height() + cell_height * rows as f64);
        let mut canvas = Canvas::new(size, &self.title, &self.description);
        legend.draw(&mut canvas);
        let x = self.x_range();
        for (place, panel) in self.panels.iter().enumerate() {
            let frame = Frame {
                left: cell_width * (place % columns) as f64 + LEFT,
                top: legend.height() + cell_height * (place / columns) as f64 + above,
                width: plot_width,
                height: plot_height,
                x,
                y: panel.range(self.mark),
                logarithmic: self.x.logarithmic,
            };
            self.draw_panel(&mut canvas, panel, &frame, &format!("{}.{place}", self.id));
        }
        canvas.finish()
    }

    /// The names of lines and of the horizontal one; named points need none.
    fn legend(&self, total: f64) -> Legend<'_> {
        let lines = self.names.iter().enumerate().map(|(place, name)| (Some(place), name.as_str()));
        let lines = lines.filter(|_| self.mark != Mark::Named);
        let level = self.panels.iter().find_map(|panel| panel.level.as_ref()).map(|level| (None, level.name.as_str()));
        Legend::new(lines.chain(level), LEFT, total)
    }

    fn x_range(&self) -> (f64, f64) {
        let all = self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points).map(|(x, _)| *x);
        let (low, high) = all.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)));
        if low > high {
            return if self.x.logarithmic { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if self.x.logarithmic {
            // Room to the right for the names of points.
            return (low / 1.4, high * if self.mark == Mark::Named { 2.2 } else { 1.4 });
        }
        let room = if high > low { 0.05 * (high - low) } else { 0.05 * high.abs().max(0.5) };
        (low - room, high + room)
    }

    fn draw_panel(&self, canvas: &mut Canvas, panel: &Panel, frame: &Frame, id: &str) {
        let Frame { left, top, width, height, .. } = *frame;
        if !panel.label.is_empty() {
            canvas.short_text(left, top - 9.0, "bold", &panel.label, 40);
        }
        self.draw_axes(canvas, frame);
        canvas.clip(id, left, top, width, height);
        let places = decimals(panel.lines.iter().flat_map(|line| &line.points).map(|(_, s)| *s));
        if let Some(level) = &panel.level {
            draw_level(canvas, level, frame, id, places, self.mark);
        }
        for line in &panel.lines {
            self.draw_line(canvas, line, frame, id, places);
        }
        if self.mark == Mark::Named {
            self.draw_names(canvas, panel, frame);
        }
        if panel.lines.iter().all(|line| line.points.is_empty()) {
            canvas.text(left + width / 2.0, top + height / 2.0, "soft mid", "no finished cell yet");
        }
    }

    fn draw_axes(&self, canvas: &mut Canvas, frame: &Frame) {
        let Frame { left, top, width, height, .. } = *frame;
        let bottom = top + height;
        let (ticks_y, places) = ticks::linear(frame.y.0, frame.y.1, 8);
        for tick in ticks_y {
            let y = frame.y(tick);
            let line = tag("line").with("class", "grid").with("x1", left).with("x2", left + width);
            canvas.empty(line.with("y1", y).with("y2", y));
            canvas.text(left - 7.0, y + 4.0, "soft end small", &fixed(tick, places));
        }
        for (tick, label) in self.x_ticks(frame) {
            let x = frame.x(tick);
            let line = tag("line").with("class", "frame").with("x1", x).with("x2", x);
            canvas.empty(line.with("y1", bottom).with("y2", bottom + 4.0));
            canvas.text(x, bottom + 17.0, "soft mid small", &label);
        }
        let axes = format!("M{left:.2} {top:.2}V{bottom:.2}H{:.2}", left + width);
        canvas.empty(tag("path").with("class", "frame").with("d", axes));
        canvas.text(left + width / 2.0, bottom + 38.0, "mid", &self.x.label);
        let (x, y) = (left - 54.0, top + height / 2.0);
        let turned =
            tag("text").with("class", "mid").with("transform", format!("translate({x:.2} {y:.2}) rotate(-90)"));
        canvas.text_as(turned, &shortened(&self.y.label, (height / 6.0) as usize));
    }

    /// The values that were measured where they are few, else round numbers.
    fn x_ticks(&self, frame: &Frame) -> Vec<(f64, String)> {
        let mut measured: Vec<f64> =
            self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points).map(|(x, _)| *x).collect();
        measured.sort_by(f64::total_cmp);
        measured.dedup();
        let own = |x: f64| (x, on_axis(x, self.x.percent));
        if self.x.logarithmic {
            return ticks::logarithmic(frame.x.0, frame.x.1).into_iter().map(own).collect();
        }
        let needed: f64 = measured.iter().map(|x| super::svg::width(&own(*x).1) + 8.0).sum();
        let apart = measured.windows(2).all(|pair| frame.x(pair[1]) - frame.x(pair[0]) > 30.0);
        if needed < frame.width && apart {
            return measured.into_iter().map(own).collect();
        }
        let (round, places) = ticks::linear(frame.x.0, frame.x.1, (frame.width / 60.0) as usize);
        let label = |x: f64| if self.x.percent { on_axis(x, true) } else { fixed(x, places) };
        round.into_iter().map(|x| (x, label(x))).collect()
    }

    fn draw_line(&self, canvas: &mut Canvas, line: &Line, frame: &Frame, id: &str, places: usize) {
        let style = LineStyle(line.name);
        let name = &self.names[line.name];
        // Bars of one place would hide each other.
        let aside = self.aside(line);
        let at = |(x, summary): &(f64, Summary)| (frame.x(*x) + aside, frame.y(summary.mean));
        canvas.group(tag("g").with("data-line", name.as_str()));
        canvas.group(tag("g").with("clip-path", format!("url(#{id})")));
        match self.mark {
            Mark::Bars | Mark::Named => self.draw_bars(canvas, line, frame, aside),
            Mark::Band => {
                let upper = line.points.iter().map(|(x, s)| (frame.x(*x), frame.y(s.high())));
                let lower = line.points.iter().rev().map(|(x, s)| (frame.x(*x), frame.y(s.low())));
                let corners: Vec<String> = upper.chain(lower).map(|(x, y)| format!("{x:.2},{y:.2}")).collect();
                let band = tag("polygon").with("class", format!("band {}", style.fill()));
                canvas.empty(band.with("points", corners.join(" ")));
            }
            Mark::Plain => {}
        }
        if self.mark != Mark::Named {
            style.path(canvas, &line.points.iter().map(at).collect::<Vec<_>>());
        }
        canvas.close();
        for point in &line.points {
            let (x, y) = at(point);
            let (value, summary) = point;
            canvas.group(tag("g"));
            let place = on_axis(*value, self.x.percent);
            canvas.title(&format!(
                "{name}, {}: {} (n\u{a0}=\u{a0}{})",
                place,
                interval(summary, places + 1),
                summary.n
            ));
            style.marker(canvas, x, y);
            canvas.empty(tag("circle").with("class", "hit").with("cx", x).with("cy", y).with("r", 11.0));
            canvas.close();
        }
        canvas.close();
    }

    /// How far the points of a line lie beside their place, in pixels.
    fn aside(&self, line: &Line) -> f64 {
        let order = line.name as f64 - (self.names.len() as f64 - 1.0) / 2.0;
        match self.mark {
            Mark::Bars => order * 3.0,
            Mark::Named => order * 5.0,
            Mark::Band | Mark::Plain => 0.0,
        }
    }

    /// The names of points, beside them and not upon each other.
    fn draw_names(&self, canvas: &mut Canvas, panel: &Panel, frame: &Frame) {
        let points = panel.lines.iter().flat_map(|line| line.points.iter().map(move |point| (line, point)));
        let mut places: Vec<(f64, f64, usize)> = points
            .map(|(line, (x, summary))| (frame.x(*x) + self.aside(line) + 9.0, frame.y(summary.mean) + 4.0, line.name))
            .collect();
        places.sort_by(|a, b| a.1.total_cmp(&b.1));
        for place in 1..places.len() {
            let (before, rest) = places.split_at_mut(place);
            let (x, y, _) = &mut rest[0];
            for (other_x, other_y, name) in before.iter() {
                let beside = *x > other_x + width(&shortened(&self.names[*name], NAMED)) || *other_x > *x + 120.0;
                if !beside && *y < other_y + 13.0 {
                    *y = other_y + 13.0;
                }
            }
        }
        for (x, y, name) in places {
            let name = &self.names[name];
            canvas.group(tag("g").with("data-line", name.as_str()));
            canvas.short_text(x, y, "", name, NAMED);
            canvas.close();
        }
    }

    fn draw_bars(&self, canvas: &mut Canvas, line: &Line, frame: &Frame, aside: f64) {
        let stroke = LineStyle(line.name).stroke();
        for (x, summary) in line.points.iter().filter(|(_, summary)| summary.half.is_some()) {
            let (x, low, high) = (frame.x(*x) + aside, frame.y(summary.low()), frame.y(summary.high()));
            let (from, to) = (x - 3.0, x + 3.0);
            let bar = format!("M{x:.2} {low:.2}V{high:.2}M{from:.2} {low:.2}H{to:.2}M{from:.2} {high:.2}H{to:.2}");
            canvas.empty(tag("path").with("class", format!("bar {stroke}")).with("d", bar));
        }
    }
}

fn draw_level(canvas: &mut Canvas, level: &Level, frame: &Frame, id: &str, places: usize, mark: Mark) {
    let y = frame.y(level.at.mean);
    let right = frame.left + frame.width;
    canvas.group(tag("g").with("data-line", level.name.as_str()).with("clip-path", format!("url(#{id})")));
    canvas.title(&format!("{}: {} (n\u{a0}=\u{a0}{})", level.name, interval(&level.at, places + 1), level.at.n));
    if mark != Mark::Plain && level.at.half.is_some() {
        let (high, low) = (frame.y(level.at.high()), frame.y(level.at.low()));
        let band = tag("rect").with("class", "levelband").with("x", frame.left).with("width", frame.width);
        canvas.empty(band.with("y", high).with("height", low - high));
    }
    let line = tag("line").with("class", "level").with("x1", frame.left).with("x2", right);
    canvas.empty(line.with("y1", y).with("y2", y));
    canvas.close();
}

impl Panel {
    /// The range of y: every mean, and intervals as far as they leave the means room enough to be read.
    fn range(&self, mark: Mark) -> (f64, f64) {
        let points = self.lines.iter().flat_map(|line| &line.points).map(|(_, summary)| *summary);
        let all: Vec<Summary> = points.chain(self.level.as_ref().map(|level| level.at)).collect();
        let smallest = |of: fn(&Summary) -> f64| all.iter().map(of).fold(f64::INFINITY, f64::min);
        let largest = |of: fn(&Summary) -> f64| all.iter().map(of).fold(f64::NEG_INFINITY, f64::max);
        if all.is_empty() {
            return (0.0, 1.0);
        }
        let (mut low, mut high) = (smallest(|s| s.mean), largest(|s| s.mean));
        if low >= high {
            let room = smallest(|s| s.half.unwrap_or(0.0)).max(0.02 * low.abs()).max(1e-6);
            (low, high) = (low - room, high + room);
        }
        let span = high - low;
        if mark != Mark::Plain {
            low = low.min(smallest(Summary::low).max(low - 0.4 * span));
            high = high.max(largest(Summary::high).min(high + 0.4 * span));
        }
        let room = 0.05 * (high - low);
        (low - room, high + room)
    }
}
