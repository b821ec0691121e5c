//! SVG, written through quick-xml, which escapes; with what the drawings share.

use crate::words::shortened;
use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

/// The style of every drawing, light and dark. A page holds it once and takes it out of the drawings.
pub(crate) const STYLE: &str = include_str!("style.css");

/// The width of an average character of 12 pixels, in pixels: no font is at hand to ask.
const CHARACTER: f64 = 6.7;

/// The width that a text takes, in pixels, at 12 pixels a letter's height.
pub(crate) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * CHARACTER
}

/// A text without the characters that XML cannot hold.
pub(crate) fn clean(text: &str) -> String {
    let allowed = |c: char| matches!(c, '\t' | '\n' | '\r') || (c >= ' ' && c != '\u{FFFE}' && c != '\u{FFFF}');
    text.chars().map(|c| if allowed(c) { c } else { '\u{FFFD}' }).collect()
}

/// A tag with its attributes.
#[derive(Debug)]
pub(crate) struct Tag(BytesStart<'static>);

/// What an attribute may be: a text, or a length in pixels, of which hundredths are kept.
pub(crate) trait Attribute {
    fn written(self) -> String;
}

impl Attribute for &str {
    fn written(self) -> String {
        clean(self)
    }
}

impl Attribute for String {
    fn written(self) -> String {
        clean(&self)
    }
}

impl Attribute for f64 {
    fn written(self) -> String {
        let hundredths = (self * 100.0).round() / 100.0;
        // -0 and 0 are one place.
        format!("{}", hundredths + 0.0)
    }
}

/// A tag without attributes.
pub(crate) fn tag(name: &'static str) -> Tag {
    Tag(BytesStart::new(name))
}

impl Tag {
    pub(crate) fn with(mut self, name: &str, value: impl Attribute) -> Self {
        self.0.push_attribute((name, value.written().as_str()));
        self
    }
}

/// A drawing under way.
pub(crate) struct Canvas {
    writer: Writer<Vec<u8>>,
    open: Vec<&'static str>,
}

impl Canvas {
    /// An empty drawing of this size in pixels, with what a screen reader says of it.
    pub(crate) fn new(size: (f64, f64), title: &str, description: &str) -> Self {
        let mut canvas = Self { writer: Writer::new(Vec::new()), open: Vec::new() };
        let (width, height) = size;
        let root = tag("svg")
            .with("xmlns", "http://www.w3.org/2000/svg")
            .with("class", "lopper")
            .with("viewBox", format!("0 0 {} {}", width.ceil(), height.ceil()))
            .with("width", width.ceil())
            .with("height", height.ceil())
            // On a narrow screen it is scrolled rather than made too small to read.
            .with("style", format!("min-width:{}px", (0.72 * width).ceil()))
            .with("role", "img")
            .with("aria-label", format!("{title}. {description}"));
        canvas.open("svg", root);
        canvas.open("style", tag("style"));
        canvas.write(Event::Text(BytesText::from_escaped(STYLE)));
        canvas.close();
        canvas.empty(tag("rect").with("class", "paper").with("width", "100%").with("height", "100%"));
        canvas
    }

    fn write(&mut self, event: Event<'_>) {
        self.writer.write_event(event).expect("a vector takes all that is written to it");
    }

    /// Opens a group; everything up to `close` lies in it.
    pub(crate) fn group(&mut self, tag: Tag) {
        self.open("g", tag);
    }

    fn open(&mut self, name: &'static str, tag: Tag) {
        self.open.push(name);
        self.write(Event::Start(tag.0));
    }

    /// Ends what was opened last.
    pub(crate) fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.write(Event::End(BytesEnd::new(name)));
        }
    }

    /// An element without content.
    pub(crate) fn empty(&mut self, tag: Tag) {
        self.write(Event::Empty(tag.0));
    }

    /// A region outside of which nothing that refers to it is drawn.
    pub(crate) fn clip(&mut self, id: &str, x: f64, y: f64, width: f64, height: f64) {
        self.open("clipPath", tag("clipPath").with("id", id));
        self.empty(tag("rect").with("x", x).with("y", y).with("width", width).with("height", height));
        self.close();
    }

    /// What is shown on hovering over the group that is open.
    pub(crate) fn title(&mut self, text: &str) {
        self.open("title", tag("title"));
        self.write(Event::Text(BytesText::new(&clean(text))));
        self.close();
    }

    /// A text at a place.
    pub(crate) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.text_as(tag("text").with("x", x).with("y", y).with("class", class), text);
    }

    /// A text of at most so many characters; the whole of it is shown on hovering.
    pub(crate) fn short_text(&mut self, x: f64, y: f64, class: &str, text: &str, most: usize) {
        let short = shortened(text, most);
        if short == text {
            return self.text(x, y, class, text);
        }
        self.group(tag("g"));
        self.title(text);
        self.text(x, y, class, &short);
        self.close();
    }

    /// A text in a tag of one's own.
    pub(crate) fn text_as(&mut self, tag: Tag, text: &str) {
        self.open("text", tag);
        self.write(Event::Text(BytesText::new(&clean(text))));
        self.close();
    }

    /// The whole document.
    pub(crate) fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        String::from_utf8(self.writer.into_inner()).expect("text was written")
    }
}
