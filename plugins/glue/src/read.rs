//! GLUE's TSV files and JSON lines.
//!
//! GLUE's files are raw: a quote is a character like any other, a tab always ends a field and a line feed a row.

use crate::GlueTask;
use crate::tasks::excerpt;
use lopper_core::{Error, Result, nearest};
use lopper_text::{Example, Label};
use serde_json::Value;
use std::path::Path;

/// Problems listed of one file; the rest is counted.
const LISTED: usize = 20;

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

/// What a file holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// In file order.
    pub examples: Vec<Example>,
    /// Rows left out because of a wrong number of columns.
    pub skipped: u64,
}

/// The examples of a file. `skip_malformed` leaves out TSV rows with a wrong number of columns.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read, is empty or lacks a column; [`Error::Line`] for every line that
/// cannot be used, the first 20 listed and the rest counted.
pub fn read(path: &Path, task: &GlueTask, skip_malformed: bool) -> Result<Vec<Example>> {
    let bytes = std::fs::read(path).map_err(|e| Error::file(path, format!("cannot be read: {e}")))?;
    match parse(&bytes, Format::of(path), task, skip_malformed) {
        Ok(parsed) => {
            if parsed.skipped > 0 {
                tracing::warn!(path = %path.display(), rows = parsed.skipped, "left out rows with a wrong number of columns");
            }
            Ok(parsed.examples)
        }
        Err(problems) => {
            let more = problems.len().saturating_sub(LISTED);
            let mut listed: Vec<_> = problems.into_iter().take(LISTED).map(|p| p.at(path)).collect();
            if more > 0 {
                listed.push(Error::file(path, format!("{more} more problems of this kind")));
            }
            Error::all(listed).map(|()| Vec::new())
        }
    }
}

impl Problem {
    fn at(self, path: &Path) -> Error {
        match self {
            Self::File(reason) => Error::file(path, reason),
            Self::Line(line, reason) => Error::Line { path: path.to_owned(), line, reason },
        }
    }
}

/// The examples in a file's bytes.
///
/// A byte-order mark and carriage returns before a line feed are dropped, and so are empty lines at the end. Empty
/// texts are accepted: QQP has some.
///
/// # Errors
/// Everything that is wrong with the file, in order.
pub fn parse(bytes: &[u8], format: Format, task: &GlueTask, skip_malformed: bool) -> Result<Parsed, Vec<Problem>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut problems = Vec::new();
    let mut lines = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
        match std::str::from_utf8(line.strip_suffix(b"\r").unwrap_or(line)) {
            Ok(text) => lines.push((number, text)),
            Err(e) => {
                problems.push(Problem::Line(number, format!("byte {} is not UTF-8", e.valid_up_to() + 1)));
            }
        }
    }
    while lines.pop_if(|(_, text)| text.trim().is_empty()).is_some() {}
    if lines.is_empty() {
        problems.push(Problem::File(format!("is empty; expected labelled examples of {}", task.name)));
        return Err(problems);
    }
    let mut parsed = Parsed { examples: Vec::new(), skipped: 0 };
    match format {
        Format::Tsv => parse_tsv(&lines, task, skip_malformed, &mut parsed, &mut problems),
        Format::JsonLines => {
            for (number, line) in lines {
                match parse_json(line, task) {
                    Ok(example) => parsed.examples.push(example),
                    Err(reasons) => problems.extend(reasons.into_iter().map(|r| Problem::Line(number, r))),
                }
            }
        }
    }
    if problems.is_empty() && parsed.examples.is_empty() {
        let skipped = if parsed.skipped > 0 { "only malformed rows" } else { "a header and no rows" };
        problems.push(Problem::File(format!("holds {skipped}; expected labelled examples of {}", task.name)));
    }
    problems.sort_by_key(|p| if let Problem::Line(number, _) = p { *number } else { 0 });
    if problems.is_empty() { Ok(parsed) } else { Err(problems) }
}

/// Positions of what is read in a row of `width` fields.
struct RowLayout {
    width: usize,
    first: usize,
    second: Option<usize>,
    label: usize,
    has_header: bool,
}

fn parse_tsv(
    lines: &[(u64, &str)],
    task: &GlueTask,
    skip_malformed: bool,
    parsed: &mut Parsed,
    problems: &mut Vec<Problem>,
) {
    let layout = match row_layout(lines[0].1, task) {
        Ok(layout) => layout,
        Err(missing) => {
            let found = missing.into_iter().map(|reason| Problem::Line(lines[0].0, reason));
            return problems.extend(found);
        }
    };
    for (number, line) in lines.iter().skip(usize::from(layout.has_header)) {
        let fields: Vec<&str> = line.split('\t').collect();
        if fields.len() != layout.width {
            if skip_malformed {
                parsed.skipped += 1;
                continue;
            }
            let (found, width) = (fields.len(), layout.width);
            problems.push(Problem::Line(*number, format!("has {found} tab-separated fields, not {width}")));
            continue;
        }
        match task.parse_label(fields[layout.label]) {
            Ok(label) => parsed.examples.push(Example {
                first: fields[layout.first].to_owned(),
                second: layout.second.map(|i| fields[i].to_owned()),
                label,
            }),
            Err(reason) => problems.push(Problem::Line(*number, reason)),
        }
    }
}

/// The layout from a header; or, where the task's files have none, from the task.
fn row_layout(header: &str, task: &GlueTask) -> Result<RowLayout, Vec<String>> {
    let names: Vec<&str> = header.split('\t').map(str::trim).collect();
    let columns = &task.columns;
    let (first, label) = (column(&names, columns.first), column(&names, columns.label));
    let second = columns.second.map(|aliases| column(&names, aliases)).transpose();
    match (first, second, label, columns.without_header) {
        (Ok(first), Ok(second), Ok(label), _) => {
            Ok(RowLayout { width: names.len(), first, second, label, has_header: true })
        }
        (_, _, _, Some((width, first, label))) => {
            Ok(RowLayout { width, first, second: None, label, has_header: false })
        }
        (first, second, label, None) => Err([first.err(), second.err(), label.err()].into_iter().flatten().collect()),
    }
}

/// The position of the first of `aliases` among the names of a header.
fn column(names: &[&str], aliases: &[&str]) -> Result<usize, String> {
    let position = aliases.iter().find_map(|alias| names.iter().position(|name| name == alias));
    position.ok_or_else(|| {
        let hint = nearest(aliases[0], names.iter().copied()).map(|n| format!("; nearest: {}", excerpt(&n)));
        let found: Vec<_> = names.iter().take(16).map(|name| excerpt(name)).collect();
        let wanted = aliases.join("` or `");
        format!("the header has no column `{wanted}`; found {}{}", found.join(", "), hint.unwrap_or_default())
    })
}

fn parse_json(line: &str, task: &GlueTask) -> Result<Example, Vec<String>> {
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(vec![format!("{} is not a JSON object", excerpt(line))]),
        Err(e) => return Err(vec![format!("is not JSON: {e}")]),
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
