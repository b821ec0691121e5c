//! GLUE's TSV files and JSON lines.
//!
//! GLUE's files are raw: a quote is a character like any other, a tab always ends a field and a line feed a row.

use crate::GlueTask;
use crate::tasks::excerpt;
use lopper_core::{Error, Result, nearest};
use lopper_text::{Example, Label};
use lopper_weights::read_regular;
use serde_json::Value;
use std::path::Path;

/// Problems listed of one file; the rest is counted.
const LISTED: usize = 20;
/// Longest line of JSON that is read, in bytes: parsed, it may take many times its size.
const LONGEST_JSON: usize = 1 << 20;

/// How a file is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fields between tabs, no quoting.
    Tsv,
    /// One JSON object a line.
    JsonLines,
}

impl Format {
    /// By the extension: `jsonl`, `ndjson` and `json` are JSON lines, everything else is TSV.
    pub fn of(path: &Path) -> Self {
        match path.extension().and_then(|e| e.to_str()).map(str::to_lowercase).as_deref() {
            Some("jsonl" | "ndjson" | "json") => Self::JsonLines,
            _ => Self::Tsv,
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

    fn at_line(&mut self, line: u64, reasons: Vec<String>) {
        reasons.into_iter().for_each(|reason| self.push(Problem::Line(line, reason)));
    }

    fn into_error(self, path: &Path) -> Error {
        let at = |problem| match problem {
            Problem::File(reason) => Error::file(path, reason),
            Problem::Line(line, reason) => Error::Line { path: path.to_owned(), line, reason },
        };
        let mut errors: Vec<_> = self.listed.into_iter().map(at).collect();
        if self.more > 0 {
            errors.push(Error::file(path, format!("{} more lines cannot be used", self.more)));
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

/// What a file holds. `skip_malformed` leaves out TSV rows with a wrong number of columns.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read, is empty or lacks a column; [`Error::Line`] for every line that
/// cannot be used, the first 20 listed and the rest counted.
pub fn read(path: &Path, task: &GlueTask, skip_malformed: bool) -> Result<Parsed> {
    let bytes = read_regular(path, u64::MAX).map_err(|e| Error::file_caused(path, "cannot be read", e))?;
    let parsed = parse(&bytes, Format::of(path), task, skip_malformed).map_err(|p| p.into_error(path))?;
    if parsed.skipped > 0 {
        tracing::warn!(path = %path.display(), rows = parsed.skipped, "left out rows with a wrong number of columns");
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
    let bytes = without_empty_end(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let mut problems = Problems::default();
    let mut parsed = Parsed::default();
    if bytes.is_empty() {
        problems.push(Problem::File(format!("is empty; expected labelled examples of {}", task.name)));
        return Err(problems);
    }
    match format {
        Format::Tsv => parse_tsv(bytes, task, skip_malformed, &mut parsed, &mut problems),
        Format::JsonLines => {
            for (number, line) in lines(bytes) {
                match line.map_err(|reason| vec![reason]).and_then(|line| parse_json(line, task)) {
                    Ok(example) => parsed.examples.push(example),
                    Err(reasons) => problems.at_line(number, reasons),
                }
            }
        }
    }
    if problems.listed.is_empty() && parsed.examples.is_empty() {
        let found = if parsed.skipped > 0 { "only malformed rows" } else { "a header and no rows" };
        problems.push(Problem::File(format!("holds {found}; expected labelled examples of {}", task.name)));
    }
    if problems.listed.is_empty() { Ok(parsed) } else { Err(problems) }
}

fn without_empty_end(mut bytes: &[u8]) -> &[u8] {
    loop {
        let last = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |feed| feed + 1);
        if !bytes[last..].trim_ascii().is_empty() {
            return bytes;
        }
        bytes = &bytes[..last.saturating_sub(1)];
        if last == 0 {
            return bytes;
        }
    }
}

/// Lines counted from 1, without their ends; a reason for one that is not UTF-8.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (u64, Result<&str, String>)> {
    (1..).zip(bytes.split(|b| *b == b'\n').map(line_text))
}

fn line_text(line: &[u8]) -> Result<&str, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    std::str::from_utf8(line).map_err(|e| format!("byte {} is not UTF-8", e.valid_up_to() + 1))
}

/// Positions of what is read in a row of `width` fields.
struct RowLayout {
    width: usize,
    first: usize,
    second: Option<usize>,
    label: usize,
    has_header: bool,
}

fn parse_tsv(bytes: &[u8], task: &GlueTask, skip_malformed: bool, parsed: &mut Parsed, problems: &mut Problems) {
    let header = lines(bytes).next().map_or(Ok(""), |(_, line)| line);
    let layout = match header.map_err(|reason| vec![reason]).and_then(|header| row_layout(header, task)) {
        Ok(layout) => layout,
        Err(reasons) => return problems.at_line(1, reasons),
    };
    for (number, line) in lines(bytes).skip(usize::from(layout.has_header)) {
        let line = match line {
            Ok(line) => line,
            Err(reason) => {
                problems.push(Problem::Line(number, reason));
                continue;
            }
        };
        let (found, width) = (line.split('\t').count(), layout.width);
        if found != width {
            if skip_malformed {
                parsed.skipped += 1;
            } else {
                problems.push(Problem::Line(number, format!("has {found} tab-separated fields, not {width}")));
            }
            continue;
        }
        let field = |index| line.split('\t').nth(index).unwrap_or_default();
        match task.parse_label(field(layout.label)) {
            Ok(label) => parsed.examples.push(Example {
                first: field(layout.first).to_owned(),
                second: layout.second.map(|index| field(index).to_owned()),
                label,
            }),
            Err(reason) => problems.push(Problem::Line(number, reason)),
        }
    }
}

/// The layout from a header; or, where the task's files have none, from the task.
fn row_layout(header: &str, task: &GlueTask) -> Result<RowLayout, Vec<String>> {
    let columns = &task.columns;
    let (first, label) = (column(header, columns.first), column(header, columns.label));
    let second = columns.second.map(|aliases| column(header, aliases)).transpose();
    match (first, second, label, columns.without_header) {
        (Ok(first), Ok(second), Ok(label), _) => {
            Ok(RowLayout { width: header.split('\t').count(), first, second, label, has_header: true })
        }
        (_, _, _, Some((width, first, label))) => {
            Ok(RowLayout { width, first, second: None, label, has_header: false })
        }
        (first, second, label, None) => Err([first.err(), second.err(), label.err()].into_iter().flatten().collect()),
    }
}

/// The position of the first of `aliases` among the names of a header.
fn column(header: &str, aliases: &[&str]) -> Result<usize, String> {
    let names = || header.split('\t').map(str::trim);
    let position = aliases.iter().find_map(|alias| names().position(|name| name == *alias));
    position.ok_or_else(|| {
        let hint = nearest(aliases[0], names()).map(|n| format!("; nearest: {}", excerpt(&n)));
        let found: Vec<_> = names().take(16).map(excerpt).collect();
        let wanted = aliases.join("` or `");
        let commas = names().nth(1).is_none() && header.contains(',');
        let tabs = if commas { "; tabs separate columns, not commas" } else { "" };
        format!("the header has no column `{wanted}`; found {}{}{tabs}", found.join(", "), hint.unwrap_or_default())
    })
}

fn parse_json(line: &str, task: &GlueTask) -> Result<Example, Vec<String>> {
    if line.len() > LONGEST_JSON {
        return Err(vec![format!("is {} bytes long; at most {LONGEST_JSON} are accepted", line.len())]);
    }
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(vec![format!("{} is not a JSON object", excerpt(line))]),
        // It counts lines within this one.
        Err(e) => return Err(vec![format!("is not JSON: {e}").replace(" at line 1 column", " at column")]),
    };
    let find = |aliases: &[&str]| {
        aliases.iter().find_map(|alias| object.get(*alias)).ok_or_else(|| {
            let found: Vec<_> = object.keys().take(16).map(|key| excerpt(key)).collect();
            format!("has no key `{}`; found {}", aliases.join("` or `"), found.join(", "))
        })
    };
    let text = |aliases: &[&str]| match find(aliases)? {
        Value::String(text) => Ok(text.clone()),
        other => Err(format!("`{}` is {}, not a text", aliases[0], excerpt(&other.to_string()))),
    };
    let label = |aliases: &[&str]| -> Result<Label, String> {
        match find(aliases)? {
            Value::String(text) => task.parse_label(text),
            other => task.parse_label(&other.to_string()),
        }
    };
    let columns = &task.columns;
    match (text(columns.first), columns.second.map(text).transpose(), label(columns.label)) {
        (Ok(first), Ok(second), Ok(label)) => Ok(Example { first, second, label }),
        (first, second, label) => Err([first.err(), second.err(), label.err()].into_iter().flatten().collect()),
    }
}
