//! What can be wrong with a table.

/// Why a table cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// The file is not what its format says: cut, damaged or made to mislead.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// The file is right, and something in it is not read here.
    #[error("{0}")]
    Unsupported(String),
    /// No such column; what there is.
    #[error("has no column `{name}`; found {}", found.join(", "))]
    NoColumn {
        /// The column asked for.
        name: String,
        /// The columns that are there, in backticks.
        found: Vec<String>,
    },
}

pub(crate) fn damaged(reason: impl Into<String>) -> TableError {
    TableError::Damaged(reason.into())
}

pub(crate) fn unsupported(reason: impl Into<String>) -> TableError {
    TableError::Unsupported(reason.into())
}

pub(crate) fn no_row(row: u64) -> TableError {
    damaged(format!("it has no row {row}, counted from 0; it may have changed"))
}
