//! Tables of named columns, as the hubs and libraries of data hand them out: Parquet files, Arrow streams and files (what
//! `datasets.save_to_disk` writes), CSV, TSV with and without quotes, JSON arrays.
//!
//! [`Table`] reads Parquet and Arrow row by row of the columns asked for, and holds a page or a part of a batch at a time,
//! so that recordings in a column stream with flat memory. [`delimited`] and [`json`] read text, and [`layouts`] finds the files of a
//! split. Nothing of a file is
//! believed: no length allocates more than the file has bytes to justify, and nothing panics.
//!
//! The formats are read here rather than by the crates `parquet` and `arrow`: of version 60.1, with only the features needed, what
//! stands below `parquet` took 3 to 4 minutes of CPU in a clean build on two busy cores, and `parquet` itself comes after that. Here
//! every length is held against the size of the file before anything is allocated for it.

mod arrow;
mod cells;
mod class_labels;
mod column;
pub mod delimited;
mod error;
pub mod json;
pub mod layouts;
mod parquet;
mod source;
mod table;

pub use cells::{Batch, Cells, Value};
pub use column::{Column, ColumnKind};
pub use error::TableError;
pub use table::{Reader, Table};

/// What this crate's functions return.
pub type Result<T, E = TableError> = std::result::Result<T, E>;
