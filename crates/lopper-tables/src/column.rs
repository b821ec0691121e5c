//! What a table says of its columns.

use crate::Result;
use crate::cells::Cells;
use crate::error::unsupported;

/// Columns and groups of columns in a file, at most.
pub(crate) const MOST_COLUMNS: usize = 10_000;
/// Columns within columns, at most.
pub(crate) const DEEPEST: usize = 32;

/// What the cells of a column are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ColumnKind {
    /// True or false.
    Boolean,
    /// Integers of any width.
    Integer,
    /// Numbers of single or double precision.
    Float,
    /// Texts.
    Text,
    /// Bytes.
    Bytes,
    /// Something that is not read; what it is.
    Other(String),
}

impl ColumnKind {
    /// An empty column of that kind.
    pub(crate) fn cells(&self) -> Result<Cells> {
        Ok(match self {
            Self::Boolean => Cells::Booleans(Vec::new()),
            Self::Integer => Cells::Integers(Vec::new()),
            Self::Float => Cells::Floats(Vec::new()),
            Self::Text => Cells::Texts(String::new(), Vec::new()),
            Self::Bytes => Cells::Bytes(Vec::new(), Vec::new()),
            Self::Other(what) => return Err(unsupported(format!("its cells are of a kind that is not read: {what}"))),
        })
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name. Of a structure's part, the names on the way with dots between them: `audio.bytes`.
    pub name: String,
    /// What its cells are.
    pub kind: ColumnKind,
    /// The names of its classes in class order, where `datasets` wrote them down.
    pub classes: Option<Vec<String>>,
}
