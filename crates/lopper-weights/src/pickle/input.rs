//! The bytes of pickles, and what may still be taken to hold their objects.

use std::io::Read;

/// What the objects of a small file may take, in bytes.
const ROOM: u64 = 48 << 20;
/// Longest line of text that names something.
const MAX_LINE: usize = 1024;

/// What `count` values in a growing vector take: while it grows, it holds its old and its new room.
pub(crate) const fn per_item<T>(count: usize) -> u64 {
    3 * (size_of::<T>() * count) as u64
}

/// A reader of known length, from which no more is asked than there is.
pub(crate) struct Input<R> {
    reader: R,
    length: u64,
    position: u64,
    room: u64,
}

impl<R: Read> Input<R> {
    /// `length` bytes from `reader`. All their objects together may take that much more than those of an empty file.
    pub(crate) fn new(reader: R, length: u64) -> Self {
        Self { reader, length, position: 0, room: ROOM.saturating_add(length) }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn remaining(&self) -> u64 {
        self.length - self.position
    }

    /// Counts what is about to be taken.
    pub(crate) fn charge(&mut self, bytes: u64) -> Result<(), String> {
        let refuse = || format!("its objects take more than {} bytes", ROOM.saturating_add(self.length));
        self.room = self.room.checked_sub(bytes).ok_or_else(refuse)?;
        Ok(())
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut array = [0; N];
        self.fill(&mut array)?;
        Ok(array)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[byte]| byte)
    }

    pub(crate) fn bytes(&mut self, length: u64) -> Result<Vec<u8>, String> {
        if length > self.remaining() {
            return Err(format!("it asks for {length} bytes where {} are left: it is truncated", self.remaining()));
        }
        self.charge(length)?;
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// UTF-8 text of that many bytes.
    pub(crate) fn text(&mut self, length: u64) -> Result<String, String> {
        String::from_utf8(self.bytes(length)?).map_err(|_| "text in it is not UTF-8".to_owned())
    }

    /// Text up to the end of the line, which is left out.
    pub(crate) fn line(&mut self) -> Result<String, String> {
        String::from_utf8(self.raw_line()?).map_err(|_| "a line in it is not UTF-8".to_owned())
    }

    pub(crate) fn raw_line(&mut self) -> Result<Vec<u8>, String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Ok(line),
                _ if line.len() == MAX_LINE => return Err(format!("a line in it is longer than {MAX_LINE} bytes")),
                byte => line.push(byte),
            }
        }
    }

    /// An error unless everything was read.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.remaining() {
            0 => Ok(()),
            more => Err(format!("{more} bytes follow the end of its pickle")),
        }
    }

    fn fill(&mut self, into: &mut [u8]) -> Result<(), String> {
        if into.len() as u64 > self.remaining() {
            return Err("its pickle ends too early: it is truncated".to_owned());
        }
        self.reader.read_exact(into).map_err(|e| format!("cannot be read: {e}"))?;
        self.position += into.len() as u64;
        Ok(())
    }
}
