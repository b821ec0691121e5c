//! Tables of named columns, as the hubs and libraries of data hand them out: Parquet files, Arrow streams and files (what
//! `datasets.save_to_disk` writes), CSV, TSV with and without quotes, JSON arrays.
//!
//! [`Table`] reads Parquet and Arrow row by row of the columns asked for, and holds a page or a part of a batch at a time,
//! so that recordings in a column stream with flat memory. [`delimited`] and [`json`] read text, and [`layouts`] finds the
//! files of a split. No length is believed that the file has no bytes for, and nothing panics.
//!
//! Parquet is decoded by the crate `parquet`. Arrow is read here: `arrow-ipc` 60.1 and what stands below it take four times
//! as long to build as `parquet` does, and hold a whole batch, a hundred recordings or a thousand, where one cell is wanted.

mod arrow;
mod budget;
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

pub use budget::Budget;
pub use cells::{Batch, Cells, Value};
pub use column::{Column, ColumnKind};
pub use error::TableError;
pub use table::{Reader, Table, is_table};

/// What this crate's functions return.
pub type Result<T, E = TableError> = std::result::Result<T, E>;
