//! Parts of a file, read by their place.

use crate::error::damaged;
use crate::{Result, TableError};
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a table is read from, shared by all that read it, and its size in bytes.
pub(crate) struct Source<R> {
    from: Arc<Mutex<R>>,
    size: u64,
}

impl<R> Clone for Source<R> {
    fn clone(&self) -> Self {
        Self { from: self.from.clone(), size: self.size }
    }
}

impl<R: Read + Seek> Source<R> {
    pub(crate) fn new(mut from: R) -> Result<Self> {
        let size = from.seek(SeekFrom::End(0))?;
        Ok(Self { from: Arc::new(Mutex::new(from)), size })
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// `length` bytes from `start` on. Nothing is allocated for a range that the file does not have.
    pub(crate) fn bytes(&self, start: u64, length: u64) -> Result<Vec<u8>> {
        let end = start.checked_add(length).filter(|end| *end <= self.size);
        let (Some(_), Ok(length)) = (end, usize::try_from(length)) else {
            let size = self.size;
            return Err(damaged(format!("it names {length} bytes at {start}, and has {size}; it may be cut short")));
        };
        let mut bytes = vec![0; length];
        self.at(start)?.read_exact(&mut bytes).map_err(TableError::Io)?;
        Ok(bytes)
    }

    /// Everything from `start` on, as a stream.
    pub(crate) fn part(&self, start: u64) -> Part<R> {
        Part { source: self.clone(), at: start }
    }

    fn at(&self, place: u64) -> io::Result<MutexGuard<'_, R>> {
        // Whoever left it where it is: every reader goes to its own place first.
        let mut from = self.from.lock().unwrap_or_else(PoisonError::into_inner);
        from.seek(SeekFrom::Start(place))?;
        Ok(from)
    }
}

/// The rest of a source from some place on.
pub(crate) struct Part<R> {
    source: Source<R>,
    at: u64,
}

impl<R: Read + Seek> Read for Part<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.at(self.at)?.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}
