//! Parquet and Arrow, as the hub and `datasets` hand tasks out.

use super::text::found_columns;
use super::{Parsed, Problem, Problems};
use crate::GlueTask;
use crate::tasks::excerpt;
use lopper_tables::{Batch, Budget, Table, TableError, Value};
use lopper_text::{Example, Kind, Label};
use std::io::{Read, Seek};

/// What a row takes beside its texts.
const ROW: u64 = 56;

pub(super) fn parse<R: Read + Seek + Send + 'static>(
    from: R,
    task: &GlueTask,
    skip_malformed: bool,
) -> Result<Parsed, Problems> {
    let table = Table::read(from).map_err(unreadable)?;
    let (columns, classes) = chosen(&table, task)?;
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut budget = Budget::new(&table);
    let (mut parsed, mut problems) = (Parsed::default(), Problems::default());
    for batch in table.stream(&columns).map_err(unreadable)? {
        let batch = batch.map_err(unreadable)?;
        for row in 0..batch.rows {
            match example(&batch, row, task, (&columns, classes.as_deref())) {
                Ok(Some(example)) => {
                    let texts = example.first.len() + example.second.as_ref().map_or(0, String::len);
                    budget.hold(texts as u64 + ROW);
                    parsed.examples.push(example);
                }
                Ok(None) if skip_malformed => parsed.skipped += 1,
                Ok(None) => {
                    let reason = "has a text that is null; skip_malformed = true leaves such rows out";
                    problems.push(Problem::Row(batch.first_row + row as u64, reason.into()));
                }
                Err(reason) => problems.push(Problem::Row(batch.first_row + row as u64, reason)),
            }
        }
        budget.check(&batch).map_err(unreadable)?;
    }
    if problems.listed.is_empty() { Ok(parsed) } else { Err(problems) }
}

fn unreadable(e: TableError) -> Problems {
    Problems::file(e.to_string())
}

/// What is read: the names of the columns of the label, the first text and the second; and the class that each number means.
type Chosen = (Vec<String>, Option<Vec<u32>>);

fn chosen<R: Read + Seek + Send + 'static>(table: &Table<R>, task: &GlueTask) -> Result<Chosen, Problems> {
    let columns = &task.columns;
    let names: Vec<&str> = table.columns().iter().take(64).map(|column| column.name.as_str()).collect();
    let (mut found, mut problems) = (Vec::new(), Problems::default());
    let wanted = [Some(columns.label), Some(columns.first), columns.second];
    for aliases in wanted.into_iter().flatten() {
        match aliases.iter().find(|alias| table.columns().iter().any(|column| column.name == **alias)) {
            Some(name) => found.push((*name).to_owned()),
            None => {
                let shown = &names[..names.len().min(16)];
                let reason = format!("has no column `{}`; {}", aliases.join("` or `"), found_columns(shown, aliases));
                problems.push(Problem::File(reason));
            }
        }
    }
    if !problems.listed.is_empty() {
        return Err(problems);
    }
    let label = table.columns().iter().find(|column| column.name == found[0]);
    let classes = label.and_then(|label| label.classes.as_deref());
    let classes = classes.map(|names| task.named_classes(names)).transpose().map_err(Problems::file)?;
    Ok((found, classes.flatten()))
}

/// A row as an example; `None` where a text is null.
fn example(
    batch: &Batch,
    row: usize,
    task: &GlueTask,
    (columns, classes): (&[&str], Option<&[u32]>),
) -> Result<Option<Example>, String> {
    let mut texts = Vec::new();
    for (name, cells) in columns.iter().zip(&batch.columns).skip(1) {
        texts.push(match cells.get(row) {
            Value::Text(text) => text.to_owned(),
            Value::Null => return Ok(None),
            other => return Err(format!("`{name}` is {}, not a text", shown(other))),
        });
    }
    let label = label(batch.columns[0].get(row), task, classes)?;
    let mut texts = texts.into_iter();
    Ok(Some(Example { first: texts.next().unwrap_or_default(), second: texts.next(), label }))
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Boolean(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(text) => excerpt(text),
        Value::Bytes(bytes) => format!("{} bytes", bytes.len()),
    }
}

fn label(value: Value<'_>, task: &GlueTask, classes: Option<&[u32]>) -> Result<Label, String> {
    let number = match value {
        // Scores go through single precision like those in text do.
        Value::Float(value) if matches!(task.kind, Kind::Regression { .. }) => {
            return task.parse_label(&value.to_string());
        }
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e9 => value as i64,
        Value::Integer(value) => value,
        Value::Boolean(value) => i64::from(value),
        Value::Text(text) => return task.parse_label(text),
        Value::Null => return Err("has no label: it is null".into()),
        other => return task.parse_label(&shown(other)),
    };
    let named = classes.and_then(|classes| classes.get(usize::try_from(number).ok()?));
    named.map_or_else(|| task.parse_label(&number.to_string()), |class| Ok(Label::Class(*class)))
}
