//! One table's keys, each asked for once; what nobody asked for is unknown.

use crate::figure::Selection;
use crate::problem::nearest;
use crate::{AxisValue, Problem};
use std::collections::BTreeSet;
use toml::Value;

/// The keys of one table.
pub(super) struct Keys<'a> {
    table: &'a toml::Table,
    /// How messages name the figure: `figure.NAME`, or `figure[2]` counted from 0.
    figure: String,
    axes: &'a [&'a str],
    asked: Vec<&'static str>,
    /// Whether the kind is known, and so all keys that it knows.
    complete: bool,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Keys<'a> {
    pub(super) fn new(
        table: &'a toml::Table,
        place: usize,
        axes: &'a [&'a str],
        problems: &'a mut Vec<Problem>,
    ) -> Self {
        let figure = match table.get("name").and_then(Value::as_str) {
            Some(name) if is_file_name(name) => format!("figure.{name}"),
            _ => format!("figure[{place}]"),
        };
        Self { table, figure, axes, asked: Vec::new(), complete: true, problems }
    }

    /// Tells every key that nobody asked for. Without a kind it cannot be said which keys are known.
    pub(super) fn finish(self) {
        if !self.complete {
            return;
        }
        for key in self.table.keys().filter(|key| !self.asked.contains(&key.as_str())) {
            self.problems.push(Problem::UnknownKey {
                key: format!("{}.{key}", self.figure),
                nearest: nearest(key, &self.asked),
                known: self.asked.iter().map(|known| (*known).to_owned()).collect(),
            });
        }
    }

    fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.asked.push(key);
        self.table.get(key)
    }

    fn refuse(&mut self, key: &str, value: &Value, expected: impl Into<String>) {
        let key = format!("{}.{key}", self.figure);
        self.problems.push(Problem::Value { key, value: value.to_string(), expected: expected.into() });
    }

    fn missing(&mut self, key: &str, expected: impl Into<String>) {
        self.problems.push(Problem::Missing { key: format!("{}.{key}", self.figure), expected: expected.into() });
    }

    /// The figure's name, which no other may have.
    pub(super) fn name(&mut self, taken: &mut BTreeSet<String>) -> String {
        const EXPECTED: &str = "a file name of letters, digits, - and _, such as \"figure-3\"";
        let Some(value) = self.get("name") else {
            self.missing("name", EXPECTED);
            return String::new();
        };
        match value.as_str() {
            Some(name) if is_file_name(name) => {
                // File systems that do not tell letters' cases apart would keep one of two.
                if !taken.insert(name.to_lowercase()) {
                    self.refuse("name", value, "a name that no other figure has");
                }
                name.to_owned()
            }
            _ => {
                self.refuse("name", value, EXPECTED);
                String::new()
            }
        }
    }

    pub(super) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.get(key)?;
        match value.as_str() {
            Some(text) if !text.trim().is_empty() => return Some(text.to_owned()),
            _ => self.refuse(key, value, "a text that is not empty"),
        }
        None
    }

    /// One of some words, which must be there.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, known: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let Some(value) = self.get(key) else {
            self.missing(key, format!("one of {}", words.join(", ")));
            self.complete = false;
            return None;
        };
        let found = known.iter().find(|(word, _)| value.as_str() == Some(*word)).map(|(_, choice)| *choice);
        if found.is_none() {
            let hint = value.as_str().and_then(|word| nearest(word, &words));
            let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            self.refuse(key, value, format!("one of {}{hint}", words.join(", ")));
            self.complete = false;
        }
        found
    }

    /// One of some words.
    pub(super) fn choice_or<T: Copy>(&mut self, key: &'static str, known: &[(&str, T)], default: T) -> T {
        if !self.table.contains_key(key) {
            self.asked.push(key);
            return default;
        }
        let complete = self.complete;
        let found = self.choice(key, known).unwrap_or(default);
        self.complete = complete;
        found
    }

    /// An axis of the sweep.
    pub(super) fn axis(&mut self, key: &'static str) -> Option<String> {
        let value = self.get(key)?;
        match value.as_str() {
            Some(name) if self.axes.contains(&name) => return Some(name.to_owned()),
            other => {
                let hint = other.and_then(|name| nearest(name, self.axes));
                let hint = hint.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                self.refuse(key, value, format!("an axis, one of {}{hint}", self.axes.join(", ")));
            }
        }
        None
    }

    pub(super) fn axis_or(&mut self, key: &'static str, default: &str) -> String {
        self.axis(key).unwrap_or_else(|| default.to_owned())
    }

    pub(super) fn axis_needed(&mut self, key: &'static str) -> String {
        if !self.table.contains_key(key) {
            self.missing(key, format!("an axis, one of {}", self.axes.join(", ")));
        }
        self.axis(key).unwrap_or_default()
    }

    pub(super) fn value_needed(&mut self, key: &'static str) -> AxisValue {
        const EXPECTED: &str = "a value of the axis: a text, a number, true or false";
        match self.get(key) {
            None => self.missing(key, EXPECTED),
            Some(value) => match axis_value(value) {
                Some(value) => return value,
                None => self.refuse(key, value, EXPECTED),
            },
        }
        AxisValue::Flag(false)
    }

    /// `{ axis = value, axis = [values] }`.
    pub(super) fn selection(&mut self, key: &'static str) -> Option<Selection> {
        let value = self.get(key)?;
        self.read_selection(key, value)
    }

    /// One selection or a list of them.
    pub(super) fn selections(&mut self, key: &'static str) -> Vec<Selection> {
        match self.get(key) {
            None => Vec::new(),
            Some(Value::Array(all)) => {
                all.iter().enumerate().filter_map(|(i, one)| self.read_selection(&format!("{key}[{i}]"), one)).collect()
            }
            Some(one) => self.read_selection(key, one).into_iter().collect(),
        }
    }

    fn read_selection(&mut self, key: &str, value: &Value) -> Option<Selection> {
        let Value::Table(table) = value else {
            self.refuse(key, value, "axes with values, such as { method = [\"omp\", \"parp\"] }");
            return None;
        };
        let mut selection = Selection::new();
        for (axis, value) in table {
            if !self.axes.contains(&axis.as_str()) {
                self.problems.push(Problem::UnknownKey {
                    key: format!("{}.{key}.{axis}", self.figure),
                    nearest: nearest(axis, self.axes),
                    known: self.axes.iter().map(|known| (*known).to_owned()).collect(),
                });
                continue;
            }
            let values: Option<Vec<AxisValue>> = match value {
                Value::Array(all) if !all.is_empty() => all.iter().map(axis_value).collect(),
                one => axis_value(one).map(|one| vec![one]),
            };
            match values {
                Some(values) => drop(selection.insert(axis.clone(), values)),
                None => self.refuse(&format!("{key}.{axis}"), value, "a value of the axis, or a list of at least one"),
            }
        }
        Some(selection)
    }
}

fn axis_value(value: &Value) -> Option<AxisValue> {
    match value {
        Value::String(text) => Some(AxisValue::Text(text.clone())),
        Value::Integer(number) => Some(AxisValue::Number(*number as f64)),
        Value::Float(number) => Some(AxisValue::Number(*number)),
        Value::Boolean(flag) => Some(AxisValue::Flag(*flag)),
        _ => None,
    }
}

/// Whether this names a file on every system, and an element of a page.
fn is_file_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 100 && name.chars().all(fine) && !name.starts_with('-')
}
