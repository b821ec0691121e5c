//! A table in a file, whichever of the formats it has.

use crate::arrow::{ArrowReader, ArrowTable};
use crate::cells::{Batch, MOST_ROWS};
use crate::column::{Column, ColumnKind};
use crate::error::{no_row, unsupported};
use crate::parquet::{ParquetReader, ParquetTable};
use crate::source::Source;
use crate::{Result, TableError};
use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

/// A table in a Parquet file, an Arrow stream or an Arrow file.
pub struct Table<R> {
    source: Source<R>,
    format: Format,
}

enum Format {
    Parquet(ParquetTable),
    Arrow(ArrowTable),
}

/// Whether a file that begins so is one, or an encrypted one that [`Table::read`] refuses by name.
pub fn is_table(beginning: &[u8]) -> bool {
    [&b"PAR1"[..], b"PARE", b"ARROW1", b"\xff\xff\xff\xff"].iter().any(|magic| beginning.starts_with(magic))
}

impl Table<File> {
    /// Opens a file, by its content: its name may end in anything.
    ///
    /// # Errors
    /// [`TableError`] for a file that cannot be read, is neither, or whose description is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        Self::read(File::open(path)?)
    }
}

impl<R: Read + Seek + Send + 'static> Table<R> {
    /// As [`open`](Table::open), from anything that can be read at any place.
    ///
    /// # Errors
    /// As [`open`](Table::open).
    pub fn read(from: R) -> Result<Self> {
        let source = Source::new(from)?;
        let start = source.bytes(0, source.size().min(8))?;
        let format = match start.as_slice() {
            [b'P', b'A', b'R', b'1', ..] => Format::Parquet(ParquetTable::open(&source)?),
            [b'P', b'A', b'R', b'E', ..] => return Err(unsupported("is an encrypted Parquet file, which is not read")),
            b"ARROW1\0\0" => Format::Arrow(ArrowTable::open(&source, 8)?),
            [0xff, 0xff, 0xff, 0xff, ..] => Format::Arrow(ArrowTable::open(&source, 0)?),
            [] => return Err(unsupported("is empty")),
            _ => return Err(unsupported("is neither a Parquet file nor an Arrow stream")),
        };
        Ok(Self { source, format })
    }

    /// Its columns in order, parts of structures each for itself.
    pub fn columns(&self) -> &[Column] {
        match &self.format {
            Format::Parquet(table) => table.columns(),
            Format::Arrow(table) => table.columns(),
        }
    }

    /// The number of rows, where the format states it: Parquet does.
    pub fn rows(&self) -> Option<u64> {
        match &self.format {
            Format::Parquet(table) => Some(table.rows()),
            Format::Arrow(_) => None,
        }
    }

    /// The size of the file in bytes.
    pub fn size(&self) -> u64 {
        self.source.size()
    }

    /// The rows of some columns, in order and streamed: at any time a page of each column, or a part of a batch of at most 8
    /// MiB and a row, is held.
    ///
    /// # Errors
    /// [`TableError::NoColumn`], and [`TableError::Unsupported`] for a column whose cells are not read.
    pub fn stream(self, columns: &[&str]) -> Result<Reader<R>> {
        if columns.is_empty() {
            return Err(unsupported("no column was asked for"));
        }
        let mut chosen = Vec::new();
        for name in columns {
            let Some(position) = self.columns().iter().position(|column| column.name == *name) else {
                let found = self.columns().iter().take(16).map(|column| format!("`{}`", column.name.escape_debug()));
                return Err(TableError::NoColumn { name: (*name).to_owned(), found: found.collect() });
            };
            if let ColumnKind::Other(what) = &self.columns()[position].kind {
                return Err(unsupported(format!("column `{name}` holds {what}, which is not read")));
            }
            chosen.push(position);
        }
        let format = match self.format {
            Format::Parquet(table) => Stream::Parquet(ParquetReader::new(table, chosen)),
            Format::Arrow(table) => Stream::Arrow(ArrowReader::new(table, chosen)),
        };
        Ok(Reader { source: self.source, format, row: 0, ended: false })
    }
}

/// The rows of a table, batch by batch: an iterator that ends with the first error. [`row`](Self::row) reads single ones.
pub struct Reader<R> {
    source: Source<R>,
    format: Stream,
    row: u64,
    ended: bool,
}

enum Stream {
    Parquet(ParquetReader),
    Arrow(ArrowReader),
}

impl<R: Read + Seek + Send + 'static> Reader<R> {
    /// The row of that number alone, counted from 0. Pages and batches on the way to it are passed over without being read; of the one
    /// that it is in, Parquet decodes what stands before it. The row behind the last one that was read costs as much as it does in a
    /// batch. The iterator goes on behind it.
    ///
    /// # Errors
    /// [`TableError::Damaged`] for a row that there is not, and as the iterator.
    pub fn row(&mut self, row: u64) -> Result<Batch> {
        match &mut self.format {
            Stream::Parquet(reader) => reader.seek(&self.source, row)?,
            Stream::Arrow(reader) => reader.seek(&self.source, row)?,
        }
        (self.row, self.ended) = (row, false);
        self.batch(1).unwrap_or_else(|| Err(no_row(row)))
    }

    /// The next rows, at most `most`.
    fn batch(&mut self, most: usize) -> Option<Result<Batch>> {
        if self.ended {
            return None;
        }
        let columns = match &mut self.format {
            Stream::Parquet(reader) => reader.next(&self.source, most),
            Stream::Arrow(reader) => reader.next(&self.source, most),
        };
        match columns {
            Ok(Some((rows, columns))) => {
                let first_row = self.row;
                self.row += rows as u64;
                Some(Ok(Batch { first_row, rows, columns }))
            }
            Ok(None) => {
                self.ended = true;
                None
            }
            Err(e) => {
                self.ended = true;
                Some(Err(e))
            }
        }
    }
}

impl<R: Read + Seek + Send + 'static> Iterator for Reader<R> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.batch(MOST_ROWS)
    }
}
