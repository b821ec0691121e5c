//! Parts of a file, read by their place.

use crate::error::damaged;
use crate::{Result, TableError};
use std::io::{Read, Seek, SeekFrom};

/// What a table is read from, and its size in bytes.
pub(crate) struct Source<R> {
    from: R,
    size: u64,
}

impl<R: Read + Seek> Source<R> {
    pub(crate) fn new(mut from: R) -> Result<Self> {
        let size = from.seek(SeekFrom::End(0))?;
        Ok(Self { from, size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// `length` bytes from `start` on. Nothing is allocated for a range that the file does not have.
    pub(crate) fn bytes(&mut self, start: u64, length: u64) -> Result<Vec<u8>> {
        let end = start.checked_add(length).filter(|end| *end <= self.size);
        let (Some(_), Ok(length)) = (end, usize::try_from(length)) else {
            let size = self.size;
            return Err(damaged(format!("it names {length} bytes at {start}, and has {size}; it may be cut short")));
        };
        let mut bytes = vec![0; length];
        self.from.seek(SeekFrom::Start(start))?;
        self.from.read_exact(&mut bytes).map_err(TableError::Io)?;
        Ok(bytes)
    }
}
