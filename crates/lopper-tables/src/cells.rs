//! Decoded rows.

use crate::Result;
use crate::error::damaged;

/// One cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// Nothing stands there.
    Null,
    /// True or false.
    Boolean(bool),
    /// An integer of any width.
    Integer(i64),
    /// A number of single or double precision.
    Float(f64),
    /// Text in UTF-8.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// The cells of one column in a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// `None` is null.
    Booleans(Vec<Option<bool>>),
    /// `None` is null.
    Integers(Vec<Option<i64>>),
    /// `None` is null.
    Floats(Vec<Option<f64>>),
    /// Texts one after the other, and where each begins and ends; `None` is null.
    Texts(String, Vec<Option<(usize, usize)>>),
    /// Bytes one after the other, and where each begins and ends; `None` is null.
    Bytes(Vec<u8>, Vec<Option<(usize, usize)>>),
}

impl Cells {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Booleans(cells) => cells.len(),
            Self::Integers(cells) => cells.len(),
            Self::Floats(cells) => cells.len(),
            Self::Texts(_, places) | Self::Bytes(_, places) => places.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A cell; null beyond the last.
    pub fn get(&self, row: usize) -> Value<'_> {
        match self {
            Self::Booleans(cells) => cells.get(row).copied().flatten().map_or(Value::Null, Value::Boolean),
            Self::Integers(cells) => cells.get(row).copied().flatten().map_or(Value::Null, Value::Integer),
            Self::Floats(cells) => cells.get(row).copied().flatten().map_or(Value::Null, Value::Float),
            Self::Texts(text, places) => {
                places.get(row).copied().flatten().map_or(Value::Null, |(start, end)| Value::Text(&text[start..end]))
            }
            Self::Bytes(bytes, places) => {
                places.get(row).copied().flatten().map_or(Value::Null, |(start, end)| Value::Bytes(&bytes[start..end]))
            }
        }
    }

    /// Bytes held in texts and bytes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Texts(text, _) => text.len(),
            Self::Bytes(bytes, _) => bytes.len(),
            _ => 0,
        }
    }

    /// Adds a cell of another column of the same kind.
    pub(crate) fn push(&mut self, value: Value<'_>) -> Result<()> {
        match value {
            Value::Null => {
                self.push_null();
                Ok(())
            }
            Value::Boolean(value) => self.push_boolean(value),
            Value::Integer(value) => self.push_integer(value),
            Value::Float(value) => self.push_float(value),
            Value::Text(text) => self.push_bytes(text.as_bytes()),
            Value::Bytes(bytes) => self.push_bytes(bytes),
        }
    }

    pub(crate) fn push_null(&mut self) {
        match self {
            Self::Booleans(cells) => cells.push(None),
            Self::Integers(cells) => cells.push(None),
            Self::Floats(cells) => cells.push(None),
            Self::Texts(_, places) | Self::Bytes(_, places) => places.push(None),
        }
    }

    /// Text or bytes, whichever the column holds.
    pub(crate) fn push_bytes(&mut self, value: &[u8]) -> Result<()> {
        match self {
            Self::Texts(text, places) => {
                let start = text.len();
                let value = std::str::from_utf8(value);
                text.push_str(value.map_err(|e| damaged(format!("byte {} of a text is not UTF-8", e.valid_up_to())))?);
                places.push(Some((start, text.len())));
            }
            Self::Bytes(bytes, places) => {
                let start = bytes.len();
                bytes.extend_from_slice(value);
                places.push(Some((start, bytes.len())));
            }
            _ => return Err(damaged("text stands in a column of numbers")),
        }
        Ok(())
    }

    pub(crate) fn push_integer(&mut self, value: i64) -> Result<()> {
        match self {
            Self::Integers(cells) => cells.push(Some(value)),
            _ => return Err(damaged("an integer stands in a column of another kind")),
        }
        Ok(())
    }

    pub(crate) fn push_float(&mut self, value: f64) -> Result<()> {
        match self {
            Self::Floats(cells) => cells.push(Some(value)),
            _ => return Err(damaged("a number stands in a column of another kind")),
        }
        Ok(())
    }

    pub(crate) fn push_boolean(&mut self, value: bool) -> Result<()> {
        match self {
            Self::Booleans(cells) => cells.push(Some(value)),
            _ => return Err(damaged("a boolean stands in a column of another kind")),
        }
        Ok(())
    }
}

/// Some rows, of the columns that were asked for and in that order.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The number of its first row in the table, from 0.
    pub first_row: u64,
    /// Number of rows.
    pub rows: usize,
    /// One for each column, all of the same length.
    pub columns: Vec<Cells>,
}

/// Rows of a batch, at most.
pub(crate) const MOST_ROWS: usize = 1024;
/// Bytes of texts and bytes after which a batch ends; a single cell may be longer.
pub(crate) const MOST_BYTES: usize = 8 << 20;
