//! Text files, line by line.

use crate::problems::{Place, Problems};
use lopper_core::{Error, Result};
use lopper_weights::read_regular;
use std::path::Path;
use std::sync::Arc;

/// Longest text that is read, in bytes.
const LONGEST: u64 = 1 << 32;

/// The bytes of a regular file, at most `most` of them.
///
/// # Errors
/// As one text: what is no regular file, is longer, or cannot be read.
pub(crate) fn bytes(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    read_regular(path, most.min(LONGEST)).map_err(|e| format!("cannot be read: {e}"))
}

/// The lines of a file without their ends. They are found anew each time they are asked for, so that a file of nothing
/// but line feeds takes no more memory than its bytes.
pub(crate) struct Lines {
    pub(crate) file: Arc<Path>,
    bytes: Vec<u8>,
    /// What is behind these bytes is no line.
    end: usize,
    number: usize,
}

impl Lines {
    /// Reads a file. What follows its last line feed is no line when it is empty. Lines that are not UTF-8 are reported.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read.
    pub(crate) fn read(path: &Path, problems: &mut Problems) -> Result<Self> {
        let mut bytes = bytes(path, u64::MAX).map_err(|reason| Error::file(path, reason))?;
        if bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        let end = bytes.strip_suffix(b"\n").map_or(bytes.len(), <[u8]>::len);
        let feeds = bytes[..end].iter().filter(|byte| **byte == b'\n').count();
        let number = if bytes.is_empty() { 0 } else { feeds + 1 };
        let lines = Self { file: path.into(), bytes, end, number };
        for (number, line) in lines.raw() {
            if let Err(e) = std::str::from_utf8(line) {
                let reason = format!("byte {} is not UTF-8", e.valid_up_to() + 1);
                problems.row(&lines.place(number), reason);
            }
        }
        Ok(lines)
    }

    /// All of the file but a byte-order mark.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.number
    }

    fn raw(&self) -> impl Iterator<Item = (u64, &[u8])> {
        let lines = self.bytes[..self.end].split(|byte| *byte == b'\n').take(self.number);
        (1..).zip(lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line)))
    }

    /// All lines and their numbers from 1; `None` for one that is not UTF-8 and has been reported.
    pub(crate) fn all(&self) -> impl Iterator<Item = (u64, Option<&str>)> {
        self.raw().map(|(number, line)| (number, std::str::from_utf8(line).ok()))
    }

    /// The first line.
    pub(crate) fn first(&self) -> Option<Option<&str>> {
        self.all().next().map(|(_, line)| line)
    }

    /// Drops empty lines at the end, down to `least` lines.
    pub(crate) fn trim_end(&mut self, least: usize) {
        while self.number > least {
            let feed = self.bytes[..self.end].iter().rposition(|byte| *byte == b'\n');
            let last = &self.bytes[feed.map_or(0, |at| at + 1)..self.end];
            if !std::str::from_utf8(last).is_ok_and(|line| line.trim().is_empty()) {
                return;
            }
            self.end = feed.unwrap_or(0);
            self.number -= 1;
        }
    }

    /// Lines with something on them, each with its place.
    pub(crate) fn filled(&self) -> impl Iterator<Item = (Place, &str)> {
        let there = self.all().filter_map(|(number, line)| Some((number, line?)));
        there.filter(|(_, line)| !line.trim().is_empty()).map(|(number, line)| (self.place(number), line))
    }

    pub(crate) fn place(&self, line: u64) -> Place {
        Place::line(&self.file, line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[u8]) -> (Lines, Problems) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, text).unwrap();
        let mut problems = Problems::new(true);
        (Lines::read(&path, &mut problems).unwrap(), problems)
    }

    #[test]
    fn lines_end_as_they_do_everywhere() {
        let all = |text: &[u8]| -> Vec<Option<String>> {
            let (lines, _) = lines(text);
            let all: Vec<_> = lines.all().map(|(_, line)| line.map(str::to_owned)).collect();
            assert_eq!(all.len(), lines.len());
            all
        };
        let some = |lines: &[&str]| lines.iter().map(|line| Some((*line).to_owned())).collect::<Vec<_>>();
        assert_eq!(all(b""), some(&[]));
        assert_eq!(all(b"\n"), some(&[""]));
        assert_eq!(all(b"\xef\xbb\xbfa\r\n\nb"), some(&["a", "", "b"]));
        assert_eq!(all(b"a\n\n"), some(&["a", ""]));
        assert_eq!(all(b"a\n\xff\n"), [Some("a".to_owned()), None]);
        assert_eq!(lines(b"a\n\xff\nb\n\xff").1.skipped(), 2);
    }

    #[test]
    fn empty_lines_at_the_end_are_dropped_down_to_a_number() {
        let trimmed = |text: &[u8], least: usize| {
            let (mut lines, _) = lines(text);
            lines.trim_end(least);
            assert_eq!(lines.all().count(), lines.len());
            lines.len()
        };
        assert_eq!(trimmed(b"a\n \n\t\n\n", 0), 1);
        assert_eq!(trimmed(b"a\n\n\n", 2), 2);
        assert_eq!(trimmed(b"a\n\xff\n\n", 0), 2);
        assert_eq!(trimmed(b"\n\n", 0), 0);
        assert_eq!(trimmed(b"\n\n", 1), 1);
    }
}
