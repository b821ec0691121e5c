//! What a figure becomes.

use std::fmt;

/// A figure, drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The name of its files, without an ending.
    pub name: String,
    /// The heading.
    pub title: String,
    /// A whole SVG document with its own light and dark style; hovering shows exact values.
    pub svg: String,
    /// The same numbers, as CSV by RFC 4180 with a header, in as many digits as give them back exactly.
    pub csv: String,
    /// What the paper found, and what was found here.
    pub caption: Caption,
    /// Lines that can be switched off: the `data-line` of their elements in the SVG.
    pub lines: Vec<String>,
}

/// What stands under a figure, in sentences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caption {
    /// What the paper found, where that was given.
    pub paper: Option<String>,
    /// What was found here, with numbers and intervals.
    pub found: Vec<String>,
    /// How to read it, and what is missing.
    pub notes: Vec<String>,
}

/// All of it in one paragraph.
impl fmt::Display for Caption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(paper) = &self.paper {
            write!(f, "The paper: {paper} ")?;
        }
        write!(f, "Here: {}", self.found.join(" "))?;
        for note in &self.notes {
            write!(f, " {note}")?;
        }
        Ok(())
    }
}
