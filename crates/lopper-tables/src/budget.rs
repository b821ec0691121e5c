//! How many texts of a table are believed.

use crate::cells::Batch;
use crate::error::unsupported;
use crate::{Result, Table};
use std::io::{Read, Seek};

/// A file may hold this many bytes of texts, and `RATIO` for each of its own. Texts that were compressed are no more than some
/// times larger; a file that was made to mislead states billions of rows in some bytes.
const ALWAYS: u64 = 8 << 20;
const RATIO: u64 = 64;

/// What whoever gathers the texts of a table holds, and may hold.
#[derive(Debug)]
pub struct Budget {
    most: u64,
    held: u64,
}

impl Budget {
    /// That of a table's file: 8 MiB, and 64 bytes for each of its own.
    pub fn new<R: Read + Seek + Send + 'static>(table: &Table<R>) -> Self {
        Self { most: ALWAYS.saturating_add(RATIO.saturating_mul(table.size())), held: 0 }
    }

    /// So many bytes more are held.
    pub fn hold(&mut self, bytes: u64) {
        self.held = self.held.saturating_add(bytes);
    }

    /// Asked after each batch.
    ///
    /// # Errors
    /// [`TableError::Unsupported`](crate::TableError::Unsupported) where more is held, or more rows were read.
    pub fn check(&self, batch: &Batch) -> Result<()> {
        let most = self.most;
        if self.held > most || batch.first_row > most {
            return Err(unsupported(format!(
                "holds more than {most} bytes of texts: it is damaged, or was made to mislead"
            )));
        }
        Ok(())
    }
}
