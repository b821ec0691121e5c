//! Values of axes and of settings: how they are told apart, written into names, and put into texts.

use std::collections::BTreeMap;
use toml::{Table, Value};

/// The values that a cell has on its axes, by the axes' names.
pub(crate) type Axes = BTreeMap<String, Value>;

/// Whether two values are the same. Numbers are compared as such: 1 and 1.0 are.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    match (number(one), number(other)) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        _ => None,
    }
}

/// A value as a part of a cell's name: texts as they are, numbers after their axis.
pub(super) fn part_of_name(axis: &str, value: &Value) -> String {
    let text = match value {
        Value::String(_) | Value::Array(_) => text(value),
        value => format!("{axis}{}", text(value)),
    };
    // The name is a directory's.
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    text.chars().map(allowed).collect()
}

/// A value for people: without quotes, numbers as short as they are, what is listed with a plus between.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) => number.to_string(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join("+"),
        value => value.to_string(),
    }
}

/// Puts a cell's values in the place of `${axis}`, wherever `value` is text. A text that is nothing else takes the axis's
/// value with its type.
///
/// # Errors
/// The name of an axis that the cell does not have.
pub(super) fn filled_in(value: &Value, axes: &Axes) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => filled_in_text(text, axes)?,
        Value::Array(values) => {
            Value::Array(values.iter().map(|value| filled_in(value, axes)).collect::<Result<_, _>>()?)
        }
        Value::Table(table) => {
            let filled = table.iter().map(|(key, value)| Ok((key.clone(), filled_in(value, axes)?)));
            Value::Table(filled.collect::<Result<Table, String>>()?)
        }
        value => value.clone(),
    })
}

fn filled_in_text(text: &str, axes: &Axes) -> Result<Value, String> {
    let of = |axis: &str| axes.get(axis).ok_or_else(|| axis.to_owned());
    if let Some(axis) = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'))
        && !axis.contains('}')
    {
        return of(axis).cloned();
    }
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${")
        && let Some((axis, after)) = after.split_once('}')
    {
        filled += before;
        filled += &self::text(of(axis)?);
        rest = after;
    }
    filled += rest;
    Ok(Value::String(filled))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axes() -> Axes {
        [("task", Value::from("mrpc")), ("sparsity", Value::from(0.5))]
            .into_iter()
            .map(|(axis, value)| (axis.to_owned(), value))
            .collect()
    }

    #[test]
    fn texts_are_filled_in() {
        let filled = |text: &str| filled_in(&Value::from(text), &axes());
        assert_eq!(filled("data/${task}/${sparsity}.tsv"), Ok(Value::from("data/mrpc/0.5.tsv")));
        assert_eq!(filled("${sparsity}"), Ok(Value::from(0.5)), "a whole value keeps its type");
        assert_eq!(filled("$task ${ }"), Err(" ".to_owned()));
        assert_eq!(filled("a ${task"), Ok(Value::from("a ${task")));
        assert_eq!(filled("${source}"), Err("source".to_owned()));
        let nested: Value = "x = ['${task}', 3]".parse::<Table>().unwrap().into();
        assert_eq!(filled_in(&nested, &axes()).unwrap(), "x = ['mrpc', 3]".parse::<Table>().unwrap().into());
    }

    #[test]
    fn names_of_cells_are_names_of_files() {
        assert_eq!(part_of_name("task", &Value::from("sst-2")), "sst-2");
        assert_eq!(part_of_name("path", &Value::from("../a b")), "..-a-b");
        assert_eq!(part_of_name("sparsity", &Value::from(0.7)), "sparsity0.7");
        assert_eq!(part_of_name("language", &Value::from(vec!["nl", "tt"])), "nl-tt");
        assert!(same(&Value::from(1), &Value::from(1.0)) && !same(&Value::from("1"), &Value::from(1)));
    }
}
