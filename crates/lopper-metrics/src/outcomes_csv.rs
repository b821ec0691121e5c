//! Outcomes as text, for people and pandas, that gives them back to the last bit.

use crate::{Errors, Outcomes};
use std::fmt::Write;
use std::str::FromStr;

const EXAMPLE: &str = "example";
const CLASSES: [&str; 2] = ["predicted_class", "true_class"];
const VALUES: [&str; 2] = ["predicted_value", "true_value"];
const ERRORS: &str = "_errors";
const SYMBOLS: &str = "_symbols";

impl Outcomes {
    /// CSV with a header and a line for each example, numbered from 0: `predicted_class` and `true_class`, or `predicted_value`
    /// and `true_value`, or for each way of counting errors such as `wer_errors` and `wer_symbols`.
    pub fn to_csv(&self) -> String {
        let mut text = EXAMPLE.to_owned();
        let columns: Vec<String> = match self {
            Self::Classes(_) => CLASSES.map(str::to_owned).to_vec(),
            Self::Values(_) => VALUES.map(str::to_owned).to_vec(),
            Self::Errors(ways) => {
                ways.iter().flat_map(|way| [ERRORS, SYMBOLS].map(|column| format!("{}{column}", way.rate))).collect()
            }
        };
        columns.iter().for_each(|column| text.extend([",", column]));
        text.push('\n');
        for example in 0..self.len() {
            let written = match self {
                Self::Classes(pairs) => writeln!(text, "{example},{},{}", pairs[example].0, pairs[example].1),
                Self::Values(pairs) => writeln!(text, "{example},{},{}", pairs[example].0, pairs[example].1),
                Self::Errors(ways) => {
                    let pairs = ways.iter().map(|way| way.examples[example]);
                    write!(text, "{example}")
                        .and_then(|()| pairs.into_iter().try_for_each(|(e, s)| write!(text, ",{e},{s}")))
                        .and_then(|()| writeln!(text))
                }
            };
            written.expect("memory takes text");
        }
        text
    }

    /// Reads what [`to_csv`](Self::to_csv) wrote, whether its lines end with LF or CR LF. Memory stays in proportion to the text.
    ///
    /// # Errors
    /// What is wrong: the header, or a line by its number, with what was expected there.
    pub fn from_csv(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        let header = lines.next().unwrap_or_default();
        let columns: Vec<&str> = header.split(',').collect();
        let mut rows = Rows { lines, columns: columns.len() };
        match columns[..] {
            [EXAMPLE, a, b] if [a, b] == CLASSES => {
                rows.read(|row| Ok((whole(row[0])?, whole(row[1])?))).map(Self::Classes)
            }
            [EXAMPLE, a, b] if [a, b] == VALUES => {
                rows.read(|row| Ok((value(row[0])?, value(row[1])?))).map(Self::Values)
            }
            [EXAMPLE, ref rest @ ..] => {
                let rates = rates(rest).ok_or_else(|| unknown(header))?;
                let mut ways: Vec<Errors> =
                    rates.into_iter().map(|rate| Errors { rate, examples: Vec::new() }).collect();
                rows.read(|row| {
                    for (way, pair) in ways.iter_mut().zip(row.chunks_exact(2)) {
                        way.examples.push((whole(pair[0])?, whole(pair[1])?));
                    }
                    Ok(())
                })?;
                Ok(Self::Errors(ways))
            }
            _ => Err(unknown(header)),
        }
    }
}

fn unknown(header: &str) -> String {
    let shown: String = header.chars().take(80).collect();
    format!(
        "has the columns `{shown}`; expected {EXAMPLE} with {}, with {}, or with such as wer{ERRORS},wer{SYMBOLS}",
        CLASSES.join(","),
        VALUES.join(",")
    )
}

/// The rates of pairs of columns; none is no outcome.
fn rates(columns: &[&str]) -> Option<Vec<String>> {
    let mut rates: Vec<String> = Vec::new();
    for pair in columns.chunks(2) {
        let [errors, symbols] = pair else { return None };
        let rate = errors.strip_suffix(ERRORS).filter(|rate| symbols.strip_suffix(SYMBOLS) == Some(rate))?;
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if rate.is_empty() || !rate.chars().all(plain) || rates.iter().any(|other| other == rate) {
            return None;
        }
        rates.push(rate.to_owned());
    }
    (!rates.is_empty()).then_some(rates)
}

struct Rows<'a> {
    lines: std::str::Lines<'a>,
    columns: usize,
}

impl Rows<'_> {
    /// Each row's fields but the example's number, which has to be that of the row.
    fn read<T>(&mut self, mut of: impl FnMut(&[&str]) -> Result<T, String>) -> Result<Vec<T>, String> {
        let mut read = Vec::new();
        for (example, line) in self.lines.by_ref().enumerate() {
            let told = |why: String| format!("line {}: {why}", example + 2);
            let fields: Vec<&str> = line.split(',').collect();
            if fields.len() != self.columns {
                return Err(told(format!("{} fields; expected {}", fields.len(), self.columns)));
            }
            if fields[0] != example.to_string() {
                return Err(told(format!("example `{}`; expected {example}", fields[0])));
            }
            read.push(of(&fields[1..]).map_err(told)?);
        }
        Ok(read)
    }
}

fn whole(field: &str) -> Result<u32, String> {
    parse(field, "a whole number from 0 to 4294967295", |_| true)
}

fn value(field: &str) -> Result<f32, String> {
    parse(field, "a finite number", |value: &f32| value.is_finite())
}

fn parse<T: FromStr>(field: &str, expected: &str, accepts: impl Fn(&T) -> bool) -> Result<T, String> {
    field.parse().ok().filter(accepts).ok_or_else(|| format!("`{field}`; expected {expected}"))
}
