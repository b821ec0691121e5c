//! Text files, line by line.

use crate::problems::{Place, Problems};
use lopper_core::{Error, Result};
use std::path::Path;
use std::sync::Arc;

/// The lines of a file without their ends; `None` for one that is not UTF-8 and has been reported.
pub(crate) struct Lines {
    pub(crate) file: Arc<Path>,
    pub(crate) lines: Vec<Option<String>>,
}

impl Lines {
    /// Reads a file. What follows its last line feed is no line when it is empty.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read.
    pub(crate) fn read(path: &Path, problems: &mut Problems) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
        Ok(Self::parse(path, &bytes, problems))
    }

    fn parse(path: &Path, bytes: &[u8], problems: &mut Problems) -> Self {
        let file: Arc<Path> = path.into();
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            lines.push(match std::str::from_utf8(line) {
                Ok(text) => Some(text.to_owned()),
                Err(e) => {
                    let reason = format!("byte {} is not UTF-8", e.valid_up_to() + 1);
                    problems.row(&Place { file: file.clone(), line: number }, reason);
                    None
                }
            });
        }
        if lines.last().is_some_and(|line| line.as_deref() == Some("")) {
            lines.pop();
        }
        Self { file, lines }
    }

    /// Drops empty lines at the end, down to `least` lines.
    pub(crate) fn trim_end(&mut self, least: usize) {
        let empty = |line: &Option<String>| line.as_ref().is_some_and(|text| text.trim().is_empty());
        while self.lines.len() > least && self.lines.last().is_some_and(empty) {
            self.lines.pop();
        }
    }

    /// Lines with something on them, each with its place.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (Place, &str)> {
        let all = (1..).zip(&self.lines).filter_map(|(number, line)| Some((number, line.as_deref()?)));
        all.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| (self.place(number), line))
    }

    pub(crate) fn place(&self, line: u64) -> Place {
        Place { file: self.file.clone(), line }
    }
}
