//! Arrow streams, and Arrow files, which hold one.
//!
//! Source: <https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc>.

mod batch;
mod flatbuffer;
mod schema;

use crate::Result;
use crate::cells::{Cells, MOST_ROWS};
use crate::column::Column;
use crate::error::{damaged, no_row, unsupported};
use crate::source::Source;
use batch::OpenBatch;
use flatbuffer::Flat;
use schema::Schema;
use std::collections::HashMap;
use std::io::{Read, Seek};

/// What a message is, by the number of its header.
const SCHEMA: u8 = 1;
const DICTIONARY: u8 = 2;
const BATCH: u8 = 3;

/// Bytes that the values of a dictionary may have beyond four times the file.
const SHARED: u64 = 8 << 20;

/// A stream whose schema was read.
pub(crate) struct ArrowTable {
    schema: Schema,
    /// Where the next message begins.
    next: u64,
}

/// A message: its header, and where its body lies.
struct Message {
    header: Vec<u8>,
    body: (u64, u64),
    next: u64,
}

/// The message at `at`; `None` where the stream ends.
fn message<R: Read + Seek>(source: &Source<R>, at: u64) -> Result<Option<Message>> {
    // Some writers stop without the mark of the end.
    if at >= source.size() {
        return Ok(None);
    }
    let start = source.bytes(at, 8)?;
    let Some((&[0xff, 0xff, 0xff, 0xff], length)) = start.split_first_chunk::<4>() else {
        return Err(damaged(format!("no message of Arrow begins at byte {at}")));
    };
    let length = i32::from_le_bytes([length[0], length[1], length[2], length[3]]);
    if length == 0 {
        return Ok(None);
    }
    let length = u64::try_from(length).map_err(|_| damaged("a message of Arrow has a negative length"))?;
    let header = source.bytes(at + 8, length)?;
    let size = Flat::root(&header)?.long(3, 0)?;
    let (start, size) = (at + 8 + length, u64::try_from(size).ok());
    let size = size.filter(|size| *size <= source.size() - start);
    let size =
        size.ok_or_else(|| damaged(format!("the message at byte {at} ends beyond the file; it may be cut short")))?;
    Ok(Some(Message { header, body: (start, size), next: start + size }))
}

impl ArrowTable {
    pub(crate) fn open<R: Read + Seek>(source: &Source<R>, at: u64) -> Result<Self> {
        let Some(Message { header, next, .. }) = message(source, at)? else {
            return Err(damaged("the stream of Arrow ends before its schema"));
        };
        let root = Flat::root(&header)?;
        // Version 4 came with Arrow 0.8, in 2017.
        if root.short(0, 0)? < 3 {
            return Err(unsupported("is an Arrow stream from before version 4 of the format, which is not read"));
        }
        let (SCHEMA, Some(table)) = (root.byte(1, 0)?, root.table(2)?) else {
            return Err(damaged("the stream of Arrow does not begin with its schema"));
        };
        Ok(Self { schema: Schema::read(table)?, next })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.schema.columns
    }
}

/// A place among its rows.
pub(crate) struct ArrowReader {
    schema: Schema,
    chosen: Vec<usize>,
    /// Where the first message behind the schema begins, and the next one.
    start: u64,
    next: u64,
    dictionaries: HashMap<i64, Cells>,
    batch: Option<OpenBatch>,
    /// Rows before the batch at hand; where there is none, before the next one.
    before: u64,
}

impl ArrowReader {
    pub(crate) fn new(table: ArrowTable, chosen: Vec<usize>) -> Self {
        let (start, next) = (table.next, table.next);
        Self { schema: table.schema, chosen, start, next, dictionaries: HashMap::new(), batch: None, before: 0 }
    }

    /// Goes to a row.
    pub(crate) fn seek<R: Read + Seek>(&mut self, source: &Source<R>, row: u64) -> Result<()> {
        if row < self.before {
            (self.next, self.batch, self.before) = (self.start, None, 0);
            self.dictionaries.clear();
        }
        loop {
            if let Some(batch) = &mut self.batch
                && batch.go(row - self.before)
            {
                return Ok(());
            }
            if !self.open(source, Some(row))? {
                return Err(no_row(row));
            }
        }
    }

    /// The next rows, at most `most`, and how many they are.
    pub(crate) fn next<R: Read + Seek>(
        &mut self,
        source: &Source<R>,
        most: usize,
    ) -> Result<Option<(usize, Vec<Cells>)>> {
        loop {
            if let Some(batch) = &mut self.batch
                && let Some(found) = batch.next(source, &self.dictionaries, most)?
            {
                return Ok(Some(found));
            }
            if !self.open(source, None)? {
                return Ok(None);
            }
        }
    }

    /// Opens the next batch, or the next that has not ended before the row `wanted`; false where there is none.
    fn open<R: Read + Seek>(&mut self, source: &Source<R>, wanted: Option<u64>) -> Result<bool> {
        if let Some(batch) = self.batch.take() {
            self.before = self.before.saturating_add(batch.rows());
        }
        loop {
            let Some(message) = message(source, self.next)? else { return Ok(false) };
            self.next = message.next;
            let root = Flat::root(&message.header)?;
            let table = root.table(2)?.ok_or_else(|| damaged("a message of Arrow has no header"))?;
            match root.byte(1, 0)? {
                DICTIONARY => self.dictionary(source, table, message.body)?,
                BATCH => {
                    let rows = u64::try_from(table.long(0, 0)?).unwrap_or_default();
                    if wanted.is_some_and(|row| row - self.before >= rows) {
                        self.before = self.before.saturating_add(rows);
                        continue;
                    }
                    let columns = self.chosen.iter().map(|column| (*column, self.schema.columns[*column].kind.clone()));
                    let columns = columns.map(|(column, kind)| (self.schema.leaves[column].clone(), kind)).collect();
                    self.batch = Some(OpenBatch::open(source, table, message.body, columns)?);
                    return Ok(true);
                }
                other => return Err(damaged(format!("a message of Arrow is of kind {other}"))),
            }
        }
    }

    /// Keeps a dictionary that a column needs.
    fn dictionary<R: Read + Seek>(&mut self, source: &Source<R>, table: Flat<'_>, body: (u64, u64)) -> Result<()> {
        let id = table.long(0, 0)?;
        let users = self
            .chosen
            .iter()
            .filter(|column| matches!(self.schema.leaves[**column].dictionary, Some((wanted, _)) if wanted == id));
        let Some(column) = users.copied().next() else { return Ok(()) };
        let values = table.table(1)?.ok_or_else(|| damaged("a dictionary has no values"))?;
        let kind = self.schema.columns[column].kind.clone();
        let leaf = self.schema.leaves[column].of_values();
        let mut cells = match (table.byte(2, 0)?, self.dictionaries.remove(&id)) {
            (1.., Some(before)) => before,
            _ => kind.cells()?,
        };
        let mut batch = OpenBatch::open(source, values, body, vec![(leaf, kind)])?;
        while let Some((rows, found)) = batch.next(source, &HashMap::new(), MOST_ROWS)? {
            for row in 0..rows {
                cells.push(found[0].get(row))?;
            }
            // Only values that take no bytes in the file, or share them, could be more.
            if cells.len() as u64 > source.size() || cells.weight() as u64 > SHARED + 4 * source.size() {
                return Err(damaged("a dictionary is larger than its file"));
            }
        }
        self.dictionaries.insert(id, cells);
        Ok(())
    }
}
