//! The files of a task: GLUE's own TSV, TSV and CSV with quotes, JSON lines and arrays, Parquet and Arrow.

mod table;
mod text;

use crate::GlueTask;
use lopper_core::{Error, Result};
use lopper_tables::delimited::Quoting;
use lopper_tables::is_table;
use lopper_text::Example;
use lopper_weights::read_regular;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Problems listed of one file; the rest is counted.
const LISTED: usize = 20;

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fields between tabs; whether quotes are characters like any other, as in GLUE's own files, or those of CSV, is told from
    /// the file. So is another delimiter.
    Tsv,
    /// Fields between tabs, and quotes of which it is known what they mean.
    QuotedTsv(Quoting),
    /// Fields between commas or semicolons, with CSV's quotes.
    Csv,
    /// One JSON object a line, or an array of objects.
    Json,
    /// Parquet or Arrow.
    Table,
}

impl Format {
    /// By the first bytes, and else by the extension: `jsonl`, `ndjson` and `json` are JSON, `csv` is CSV, everything else is
    /// TSV, whose quotes mean what `quoting` says.
    pub fn of(path: &Path, start: &[u8], quoting: Option<Quoting>) -> Self {
        if is_table(start) {
            return Self::Table;
        }
        match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
            Some("parquet" | "arrow" | "feather") => Self::Table,
            Some("jsonl" | "ndjson" | "json") => Self::Json,
            Some("csv") => Self::Csv,
            _ => quoting.map_or(Self::Tsv, Self::QuotedTsv),
        }
    }
}

/// What is wrong with a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// With the file as a whole.
    File(String),
    /// With one line, counted from 1.
    Line(u64, String),
    /// With one row of a table without lines, counted from 0.
    Row(u64, String),
}

/// Everything that is wrong with a file's content, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Problems {
    /// The first 20.
    pub listed: Vec<Problem>,
    /// How many more there are.
    pub more: u64,
}

impl Problems {
    fn push(&mut self, problem: Problem) {
        if self.listed.len() < LISTED {
            self.listed.push(problem);
        } else {
            self.more += 1;
        }
    }

    fn file(reason: impl Into<String>) -> Self {
        Self { listed: vec![Problem::File(reason.into())], more: 0 }
    }

    fn at_line(&mut self, line: u64, reasons: Vec<String>) {
        reasons.into_iter().for_each(|reason| self.push(Problem::Line(line, reason)));
    }

    /// What the problems are of.
    fn unit(&self) -> &'static str {
        if self.listed.iter().any(|problem| matches!(problem, Problem::Row(..))) { "rows" } else { "lines" }
    }

    fn into_error(self, path: &Path) -> Error {
        let unit = self.unit();
        let at = |problem| match problem {
            Problem::File(reason) => Error::file(path, reason),
            Problem::Line(line, reason) => Error::Line { path: path.to_owned(), line, reason },
            Problem::Row(row, reason) => Error::file(path, format!("row {row}, counted from 0: {reason}")),
        };
        let mut errors: Vec<_> = self.listed.into_iter().map(at).collect();
        if self.more > 0 {
            errors.push(Error::file(path, format!("{} more {} cannot be used", self.more, unit)));
        }
        if errors.len() == 1 { errors.remove(0) } else { Error::Many(errors) }
    }
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parsed {
    /// In file order.
    pub examples: Vec<Example>,
    /// Rows left out because of a wrong number of columns.
    pub skipped: u64,
}

/// What a file holds. `skip_malformed` leaves out rows of text with a wrong number of columns, and rows of tables in which a
/// text is null; `quoting` says what quotes mean in TSV.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read, is empty or lacks a column, or in which the meaning of quotes cannot be told;
/// [`Error::Line`] for every line that cannot be used, the first 20 listed and the rest counted.
pub fn read(path: &Path, task: &GlueTask, skip_malformed: bool, quoting: Option<Quoting>) -> Result<Parsed> {
    let unreadable = |e| Error::file_caused(path, "cannot be read", e);
    let mut start = Vec::new();
    if path.is_file() {
        File::open(path).and_then(|file| file.take(8).read_to_end(&mut start)).map_err(unreadable)?;
    }
    let parsed = match Format::of(path, &start, quoting) {
        // Streamed: its texts are held, and nothing else of it.
        Format::Table if path.is_file() => {
            let file = File::open(path).map_err(unreadable)?;
            labelled(task, table::parse(file, task, skip_malformed))
        }
        format => {
            let bytes = read_regular(path, u64::MAX).map_err(unreadable)?;
            parse(&bytes, format, task, skip_malformed)
        }
    };
    let parsed = parsed.map_err(|p| p.into_error(path))?;
    if parsed.skipped > 0 {
        let why = "left out rows with a wrong number of columns, or without a text";
        tracing::warn!(path = %path.display(), rows = parsed.skipped, "{why}");
    }
    Ok(parsed)
}

/// The examples in a file's bytes.
///
/// A byte-order mark and carriage returns before a line feed are dropped, and so are empty lines at the end. Empty
/// texts are accepted: QQP has some.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn parse(bytes: &[u8], format: Format, task: &GlueTask, skip_malformed: bool) -> Result<Parsed, Problems> {
    let parsed = match format {
        Format::Table => table::parse(Cursor::new(bytes.to_vec()), task, skip_malformed),
        _ => text::parse(bytes, format, task, skip_malformed),
    };
    labelled(task, parsed)
}

/// What was read, unless it is nothing.
fn labelled(task: &GlueTask, parsed: Result<Parsed, Problems>) -> Result<Parsed, Problems> {
    let parsed = parsed?;
    if !parsed.examples.is_empty() {
        return Ok(parsed);
    }
    let found = if parsed.skipped > 0 { "only malformed rows" } else { "a header and no rows" };
    Err(Problems::file(format!("holds {found}; expected labelled examples of {}", task.name)))
}
