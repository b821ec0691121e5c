//! What commands write to standard output.

use lopper_core::{Error, Result};
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};

/// Writes a result; a reader that went away (`lopper … | head`) is no error.
///
/// # Errors
/// [`Error::Other`] when standard output cannot be written.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let newline = if text.ends_with('\n') { "" } else { "\n" };
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(newline.as_bytes())).and_then(|()| out.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => Err(Error::Other(format!("standard output: {e}"))),
        _ => Ok(()),
    }
}

/// Writes one JSON document, or the text for people.
///
/// # Errors
/// As [`print`], and a value that JSON cannot hold.
pub(crate) fn report(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    if json {
        let document =
            serde_json::to_string_pretty(value).map_err(|e| Error::Other(format!("the result as JSON: {e}")))?;
        print(&document)
    } else {
        print(&text())
    }
}

/// Asks on a terminal; anywhere else nobody can agree.
///
/// # Errors
/// [`Error::Other`] when standard input cannot be read.
pub(crate) fn agreed(question: &str) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stderr()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|e| Error::Other(format!("standard input: {e}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

/// A size for people, in MB of a million bytes.
pub(crate) fn size(bytes: u64) -> String {
    if bytes < 1_000_000 { format!("{} bytes", count(bytes)) } else { format!("{} MB", count(bytes / 1_000_000)) }
}

/// Columns of text, the first aligned left and the others right unless `left` says otherwise.
pub(crate) struct Table {
    left: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings. A heading that begins with `<` aligns its column left.
    pub(crate) fn new<const N: usize>(headings: [&str; N]) -> Self {
        let left = headings.iter().map(|h| h.starts_with('<')).collect();
        Self { left, rows: vec![headings.iter().map(|h| h.trim_start_matches('<').to_owned()).collect()] }
    }

    /// Adds a row of as many cells as there are headings.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// The table as lines.
    pub(crate) fn render(&self) -> String {
        let width = |column: usize| self.rows.iter().filter_map(|r| r.get(column)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..self.left.len()).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = widths[column];
                let gap = if column == 0 { "" } else { "  " };
                line +=
                    &if self.left[column] { format!("{gap}{cell:<width$}") } else { format!("{gap}{cell:>width$}") };
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}

/// A count with separators: 10,764,288.
pub(crate) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count of things: 1 update, 2 updates.
pub(crate) fn quantity(n: u64, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}

/// A time for people: `41.3 s`, `12.5 min` or `6.4 h`.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        ..120.0 => format!("{seconds:.1} s"),
        ..10_800.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_grouped() {
        let texts = [0, 12, 123, 1234, 10_764_288].map(count);
        assert_eq!(texts, ["0", "12", "123", "1,234", "10,764,288"]);
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(["<name", "entries"]);
        table.row(["é".to_owned(), "7".to_owned()]);
        assert_eq!(table.render(), "name  entries\né           7\n");
    }
}
