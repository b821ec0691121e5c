//! Parquet files.

mod codec;
mod delta;
mod footer;
mod hybrid;
mod page;
mod thrift;
mod values;

use crate::Result;
use crate::cells::{Cells, MOST_BYTES};
use crate::column::Column;
use crate::error::{damaged, no_row};
use crate::source::Source;
use footer::Footer;
use page::Pages;
use std::io::{Read, Seek};

/// A file whose footer was read.
pub(crate) struct ParquetTable {
    footer: Footer,
}

impl ParquetTable {
    pub(crate) fn open<R: Read + Seek>(source: &mut Source<R>) -> Result<Self> {
        Ok(Self { footer: Footer::read(source)? })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.footer.columns
    }

    pub(crate) fn rows(&self) -> u64 {
        self.footer.rows
    }
}

/// A place among its rows.
pub(crate) struct ParquetReader {
    footer: Footer,
    chosen: Vec<usize>,
    group: usize,
    /// Rows left in the row group at hand.
    left: u64,
    pages: Vec<Pages>,
    /// Rows before the next one.
    rows: u64,
    /// Rows of the first groups, as many as were asked for.
    known: Vec<u64>,
}

impl ParquetReader {
    pub(crate) fn new(table: ParquetTable, chosen: Vec<usize>) -> Self {
        Self { footer: table.footer, chosen, group: 0, left: 0, pages: Vec::new(), rows: 0, known: Vec::new() }
    }

    /// Goes to a row.
    pub(crate) fn seek<R: Read + Seek>(&mut self, source: &mut Source<R>, row: u64) -> Result<()> {
        if row < self.rows || row - self.rows >= self.left {
            (self.group, self.left, self.rows) = (0, 0, 0);
            loop {
                if self.group == self.footer.groups() {
                    return Err(no_row(row));
                }
                if self.known.len() == self.group {
                    self.known.push(self.footer.group(self.group, &self.chosen)?.0);
                }
                let rows = self.known[self.group];
                if row - self.rows < rows {
                    break;
                }
                (self.group, self.rows) = (self.group + 1, self.rows.saturating_add(rows));
            }
            self.open()?;
        }
        let before = row - self.rows;
        for (pages, column) in self.pages.iter_mut().zip(&self.chosen) {
            pages.pass(source, before, &self.footer.columns[*column].kind)?;
        }
        (self.left, self.rows) = (self.left - before, row);
        Ok(())
    }

    /// Goes to the first row of the next group.
    fn open(&mut self) -> Result<()> {
        let (rows, chunks) = self.footer.group(self.group, &self.chosen)?;
        if let Some(chunk) = chunks.iter().find(|chunk| chunk.values != rows) {
            return Err(damaged(format!("a column has {} values for {rows} rows", chunk.values)));
        }
        let leaves = self.chosen.iter().map(|column| self.footer.leaves[*column].clone());
        self.pages = leaves.zip(&chunks).map(|(leaf, chunk)| Pages::new(leaf, chunk)).collect();
        (self.group, self.left) = (self.group + 1, rows);
        Ok(())
    }

    /// The next rows, at most `most`, and how many they are.
    pub(crate) fn next<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        most: usize,
    ) -> Result<Option<(usize, Vec<Cells>)>> {
        while self.left == 0 {
            if self.group == self.footer.groups() {
                if self.rows != self.footer.rows {
                    let (rows, stated) = (self.rows, self.footer.rows);
                    return Err(damaged(format!("it holds {rows} rows, and says {stated}")));
                }
                return Ok(None);
            }
            self.open()?;
        }
        let kinds = self.chosen.iter().map(|column| self.footer.columns[*column].kind.cells());
        let mut columns = kinds.collect::<Result<Vec<_>>>()?;
        let (mut rows, mut weight) = (0, 0);
        while rows < most && weight < MOST_BYTES && self.left > 0 {
            weight = 0;
            for (pages, cells) in self.pages.iter_mut().zip(&mut columns) {
                pages.cell(source, cells)?;
                weight += cells.weight();
            }
            (rows, self.left, self.rows) = (rows + 1, self.left - 1, self.rows.saturating_add(1));
        }
        Ok(Some((rows, columns)))
    }
}
