//! Recordings in the cells of Parquet and Arrow.

use crate::audio::{AudioError, Bytes};
use crate::clip::{Cell, Recorded, Whole};
use lopper_tables::{Reader, Table, TableError, Value};
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that stay open, at most. Each holds a page of Parquet, which may be many recordings.
const OPEN: usize = 2;

/// Files that have been opened, the last one first: what is read of them in their order is read once.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    open: Mutex<Vec<Open>>,
}

struct Open {
    within: Arc<Recorded>,
    reader: Reader<File>,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("within", &self.within).finish_non_exhaustive()
    }
}

impl Tables {
    /// The bytes of a recording.
    ///
    /// # Errors
    /// A table that cannot be read or is damaged; a cell without bytes and without a path.
    pub(crate) fn bytes<'a>(&self, whole: &'a Whole) -> Result<Bytes<'a>, AudioError> {
        let cell = match whole {
            Whole::File(path) => return Ok(Bytes::File(path)),
            Whole::Cell(cell) => cell,
        };
        match (self.cell(cell)?, &cell.beside) {
            (Some(bytes), _) => Ok(Bytes::Memory(bytes)),
            (None, Some(path)) => Ok(Bytes::File(path)),
            (None, None) => Err(AudioError::Absent),
        }
    }

    /// What a cell holds; `None` for null.
    fn cell(&self, cell: &Cell) -> Result<Option<Arc<[u8]>>, AudioError> {
        // One recording is read at a time, so that memory does not grow with threads.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let place = open.iter().position(|open| *open.within == *cell.within);
        // After an error it is opened anew.
        let mut reader = match place.map(|place| open.remove(place)) {
            Some(open) => open.reader,
            None => {
                open.truncate(OPEN - 1);
                read(&cell.within)?
            }
        };
        let batch = reader.row(cell.row).map_err(unusable)?;
        let bytes = match batch.columns.first().map_or(Value::Null, |cells| cells.get(0)) {
            Value::Bytes(bytes) => Some(bytes.into()),
            _ => None,
        };
        open.insert(0, Open { within: cell.within.clone(), reader });
        Ok(bytes)
    }
}

fn read(within: &Recorded) -> Result<Reader<File>, AudioError> {
    Table::open(&within.file).and_then(|table| table.stream(&[&within.column])).map_err(unusable)
}

fn unusable(e: TableError) -> AudioError {
    match e {
        TableError::Io(e) => AudioError::Unreadable(e.to_string()),
        TableError::Damaged(reason) => AudioError::Damaged(reason),
        e => AudioError::Unreadable(e.to_string()),
    }
}
