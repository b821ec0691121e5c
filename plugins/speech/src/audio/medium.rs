//! Where the bytes of a recording are: in a file, or in memory, where a table had them.

use lopper_weights::open_regular;
use std::fs::File;
use std::io::{Cursor, Read, Result, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

/// The bytes of a recording, which may be opened any number of times.
#[derive(Debug, Clone)]
pub(crate) enum Bytes<'a> {
    /// All of a file.
    File(&'a Path),
    /// All of these.
    Memory(Arc<[u8]>),
}

impl Bytes<'_> {
    /// How many are in memory.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::File(_) => 0,
            Self::Memory(bytes) => bytes.len(),
        }
    }

    /// Opens them, and says how many they are.
    ///
    /// # Errors
    /// What the file system says; what is no regular file.
    pub(super) fn open(&self) -> Result<(Medium, u64)> {
        match self {
            Self::File(path) => open_regular(path).map(|(file, size)| (Medium::File(file), size)),
            Self::Memory(bytes) => Ok((Medium::Memory(Cursor::new(bytes.clone())), bytes.len() as u64)),
        }
    }
}

/// Opened bytes, and a place in them.
#[derive(Debug)]
pub(super) enum Medium {
    File(File),
    Memory(Cursor<Arc<[u8]>>),
}

impl Read for Medium {
    fn read(&mut self, bytes: &mut [u8]) -> Result<usize> {
        match self {
            Self::File(file) => file.read(bytes),
            Self::Memory(cursor) => cursor.read(bytes),
        }
    }
}

impl Seek for Medium {
    fn seek(&mut self, to: SeekFrom) -> Result<u64> {
        match self {
            Self::File(file) => file.seek(to),
            Self::Memory(cursor) => cursor.seek(to),
        }
    }
}
