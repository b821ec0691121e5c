//! TSV, CSV, JSON lines and JSON arrays.
//!
//! GLUE's own files are raw: a quote is a character like any other, a tab always ends a field and a line feed a row. What pandas
//! and spreadsheets write has CSV's quotes. Read as the other kind, either gives other texts, so it is told from the file.

use super::{Format, Parsed, Problem, Problems};
use crate::tasks::excerpt;
use crate::{GlueTask, TASKS};
use lopper_core::nearest;
use lopper_tables::delimited::{Quoting, Record, has_one_width, quotes, records};
use lopper_tables::json::elements;
use lopper_text::{Example, Label};
use serde_json::Value;

/// Longest object of JSON that is read, in bytes: parsed, it may take many times its size.
const LONGEST_JSON: usize = 1 << 20;

pub(super) fn parse(bytes: &[u8], format: Format, task: &GlueTask, skip_malformed: bool) -> Result<Parsed, Problems> {
    let bytes = without_empty_end(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    if bytes.is_empty() {
        return Err(Problems::file(format!("is empty; expected labelled examples of {}", task.name)));
    }
    match format {
        Format::Json => parse_json(bytes, task),
        _ => parse_delimited(bytes, format, task, skip_malformed),
    }
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

/// Positions of what is read in a row of `width` fields.
struct RowLayout {
    width: usize,
    first: usize,
    second: Option<usize>,
    label: usize,
    has_header: bool,
}

fn parse_delimited(bytes: &[u8], format: Format, task: &GlueTask, skip_malformed: bool) -> Result<Parsed, Problems> {
    let delimiter = delimiter(bytes, format, task);
    let tabs = delimiter == '\t';
    let quoting = match format {
        Format::QuotedTsv(quoting) => quoting,
        _ if tabs => told_quoting(bytes, task).map_err(Problems::file)?,
        _ => Quoting::Csv,
    };
    let (mut parsed, mut problems) = (Parsed::default(), Problems::default());
    let mut rows = records(bytes, delimiter, quoting);
    let header = rows.clone().next().map_or(Err("is empty".to_owned()), |(_, header)| header);
    let layout = match header.map_err(|reason| vec![reason]).and_then(|header| row_layout(&header, task)) {
        Ok(layout) => layout,
        Err(reasons) => {
            problems.at_line(1, reasons);
            return Err(problems);
        }
    };
    if layout.has_header {
        rows.next();
    }
    for (number, record) in rows {
        let record = match record {
            Ok(record) => record,
            Err(reason) => {
                problems.push(Problem::Line(number, reason));
                continue;
            }
        };
        let (found, width) = (record.width(), layout.width);
        if found != width {
            if skip_malformed {
                parsed.skipped += 1;
            } else {
                let separated = if tabs { "tab-separated " } else { "" };
                problems.push(Problem::Line(number, format!("has {found} {separated}fields, not {width}")));
            }
            continue;
        }
        let field = |index| record.field(index).unwrap_or_default();
        match task.parse_label(&field(layout.label)) {
            Ok(label) => parsed.examples.push(Example {
                first: field(layout.first).into_owned(),
                second: layout.second.map(|index| field(index).into_owned()),
                label,
            }),
            Err(reason) => problems.push(Problem::Line(number, reason)),
        }
    }
    if problems.listed.is_empty() { Ok(parsed) } else { Err(problems) }
}

/// The delimiter between which the header has the task's columns; the format's own where none does.
fn delimiter(bytes: &[u8], format: Format, task: &GlueTask) -> char {
    let all = match format {
        Format::QuotedTsv(_) => return '\t',
        Format::Csv => [',', ';', '\t'],
        _ => ['\t', ',', ';'],
    };
    let named = |delimiter: &char| {
        let header = records(bytes, *delimiter, Quoting::Csv).next().and_then(|(_, header)| header.ok());
        header.is_some_and(|header| row_layout(&header, task).is_ok_and(|layout| layout.has_header))
    };
    all.iter().copied().find(named).unwrap_or(all[0])
}

/// What quotes mean between tabs.
fn told_quoting(bytes: &[u8], task: &GlueTask) -> Result<Quoting, String> {
    if !bytes.contains(&b'"') {
        return Ok(Quoting::Raw);
    }
    let found = quotes(bytes, '\t');
    if found.header {
        return Ok(Quoting::Csv);
    }
    // Quotes of several raw rows may pair up across line feeds; then CSV's rows have other widths.
    if has_one_width(bytes, '\t', Quoting::Raw) == Some(true) && has_one_width(bytes, '\t', Quoting::Csv) == Some(false)
    {
        return Ok(Quoting::Raw);
    }
    // QQP's own texts have CSV's quotes around them, and keep them wherever the task is read; pandas adds another pair.
    if task.name == "qqp" && found.nested * 2 < found.needed && has_own_header(bytes, task) {
        return Ok(Quoting::Raw);
    }
    // Of real texts with quotes few stand between two and hold none, or hold only pairs of them.
    if found.bare > 0 && found.needed * 4 < found.bare {
        return Ok(Quoting::Raw);
    }
    let once = task.name == "qqp" && found.nested * 2 < found.needed;
    if found.bare == 0 && found.needed > 0 && found.idle == 0 && !found.either && !once {
        return Ok(Quoting::Csv);
    }
    if found.bare == 0 && found.needed == 0 && has_own_header(bytes, task) {
        return Ok(Quoting::Raw);
    }
    Err(format!(
        "has quotes that may be part of its texts, as in GLUE's own files, or CSV's, as pandas writes them: {} fields with \
         quotes that CSV would not write, {} that only CSV would, {} that both may; say which with quoting = \"raw\" or \
         quoting = \"csv\"",
        found.bare,
        found.needed,
        found.idle + found.commas
    ))
}

/// Whether the first row is that of GLUE's own file of the task, which copies elsewhere have not: they have `idx`.
fn has_own_header(bytes: &[u8], task: &GlueTask) -> bool {
    let Some((_, Ok(header))) = records(bytes, '\t', Quoting::Raw).next() else { return false };
    let first = header.field(0).unwrap_or_default();
    match task.columns.without_header {
        Some((width, ..)) if header.width() == width => true,
        _ => matches!(first.trim(), "index" | "id" | "Quality") || (task.name == "sst-2" && header.width() == 2),
    }
}

/// The layout from a header; or, where the task's files have none, from the task.
fn row_layout(header: &Record<'_>, task: &GlueTask) -> Result<RowLayout, Vec<String>> {
    let columns = &task.columns;
    let column = |aliases: &[&str]| {
        let named = |alias: &&str| header.fields().position(|name| name.trim() == *alias);
        aliases.iter().find_map(named).ok_or_else(|| no_column(header, aliases))
    };
    let (first, label, second) = (column(columns.first), column(columns.label), columns.second.map(column).transpose());
    match (first, second, label, columns.without_header) {
        (Ok(first), Ok(second), Ok(label), _) => {
            Ok(RowLayout { width: header.width(), first, second, label, has_header: true })
        }
        (_, _, _, Some((width, first, label))) => {
            Ok(RowLayout { width, first, second: None, label, has_header: false })
        }
        (first, second, label, None) => Err([first.err(), second.err(), label.err()].into_iter().flatten().collect()),
    }
}

fn no_column(header: &Record<'_>, aliases: &[&str]) -> String {
    let names: Vec<String> = header.fields().take(16).map(|name| name.trim().to_owned()).collect();
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    format!("the header has no column `{}`; {}", aliases.join("` or `"), found_columns(&names, aliases))
}

/// The columns that are there, the one nearest to a missing one, and the tasks that have them.
pub(super) fn found_columns(names: &[&str], aliases: &[&str]) -> String {
    let hint = nearest(aliases[0], names.iter().copied()).map(|n| format!("; nearest: {}", excerpt(&n)));
    let has = |aliases: &[&str]| aliases.iter().any(|alias| names.contains(alias));
    let fits = |task: &&GlueTask| {
        let columns = &task.columns;
        has(columns.first) && has(columns.label) && columns.second.is_some_and(has)
    };
    let tasks: Vec<_> = TASKS.iter().filter(fits).map(|task| task.name).collect();
    let tasks = if tasks.is_empty() { String::new() } else { format!("; they are those of {}", tasks.join(", ")) };
    let found: Vec<_> = names.iter().map(|name| excerpt(name)).collect();
    format!("found {}{}{tasks}", found.join(", "), hint.unwrap_or_default())
}

fn parse_json(bytes: &[u8], task: &GlueTask) -> Result<Parsed, Problems> {
    let (mut parsed, mut problems) = (Parsed::default(), Problems::default());
    let mut take = |number: u64, text: Result<&str, String>| match text
        .map_err(|reason| vec![reason])
        .and_then(|text| parse_object(text, task))
    {
        Ok(example) => parsed.examples.push(example),
        Err(reasons) => problems.at_line(number, reasons),
    };
    match elements(bytes) {
        Some(elements) => elements.for_each(|(number, text)| take(number, text)),
        None => {
            for (number, line) in (1..).zip(bytes.split(|b| *b == b'\n')) {
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let text = std::str::from_utf8(line).map_err(|e| format!("byte {} is not UTF-8", e.valid_up_to() + 1));
                take(number, text);
            }
        }
    }
    if problems.listed.is_empty() { Ok(parsed) } else { Err(problems) }
}

fn parse_object(line: &str, task: &GlueTask) -> Result<Example, Vec<String>> {
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
