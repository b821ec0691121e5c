//! The chunks of a RIFF or IFF file: four letters, a length, the content, a byte of padding behind an odd length.

use super::{AudioError, Medium, at, upto};
use std::io::BufReader;

/// Chunks that are looked at before the samples.
const MOST: usize = 1000;
/// Chunks that a file may have. Where the padding is missing, one of these shows where the next chunk begins.
const KNOWN: [&[u8; 4]; 22] = [
    b"fmt ", b"data", b"LIST", b"fact", b"bext", b"cue ", b"smpl", b"inst", b"PEAK", b"JUNK", b"junk", b"ds64",
    b"iXML", b"id3 ", b"ID3 ", b"DISP", b"COMM", b"SSND", b"COMT", b"FVER", b"NAME", b"ANNO",
];

/// A chunk: its name, where its content begins, and how long it claims to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunk {
    pub(super) name: [u8; 4],
    pub(super) start: u64,
    pub(super) length: u32,
}

/// The chunks of a file, one after the other.
pub(super) struct Chunks<'a> {
    file: &'a mut BufReader<Medium>,
    big: bool,
    place: u64,
    left: usize,
}

impl<'a> Chunks<'a> {
    /// Those behind the twelve bytes with which such a file begins; `big` if lengths have their highest byte first.
    pub(super) fn new(file: &'a mut BufReader<Medium>, big: bool) -> Self {
        Self { file, big, place: 12, left: MOST }
    }

    /// The next chunk; `None` at the end of the file, and where there is nothing that could be a chunk.
    pub(super) fn next(&mut self) -> Result<Option<Chunk>, AudioError> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let Some(chunk) = self.at(self.place)? else { return Ok(None) };
        self.place = chunk.start.saturating_add(u64::from(chunk.length));
        if chunk.length % 2 == 1 && self.is_padded()? {
            self.place += 1;
        }
        Ok(Some(chunk))
    }

    fn at(&mut self, place: u64) -> Result<Option<Chunk>, AudioError> {
        let Some([a, b, c, d, length @ ..]) = at::<8>(self.file, place)? else { return Ok(None) };
        let name = [a, b, c, d];
        let length = if self.big { u32::from_be_bytes(length) } else { u32::from_le_bytes(length) };
        Ok(is_name(&name).then_some(Chunk { name, start: place + 8, length }))
    }

    /// Whether the chunk of odd length that ends here is followed by a byte of padding.
    fn is_padded(&mut self) -> Result<bool, AudioError> {
        let Some([first, rest @ ..]) = at::<5>(self.file, self.place)? else { return Ok(true) };
        let [a, b, c, _] = rest;
        Ok(KNOWN.contains(&&rest)
            || (!KNOWN.contains(&&[first, a, b, c]) && (first == 0 || !is_name(&[first, a, b, c]))))
    }

    /// The content of a chunk, up to `N` bytes of it; zeros behind what there is.
    pub(super) fn content<const N: usize>(&mut self, chunk: Chunk) -> Result<[u8; N], AudioError> {
        let length = N.min(chunk.length as usize);
        let mut content = [0; N];
        upto(self.file, chunk.start, &mut content[..length])?;
        Ok(content)
    }

    /// Whether nothing but whole chunks lies from `place` to the end of a file of `size` bytes.
    pub(super) fn fill(&mut self, place: u64, size: u64) -> Result<bool, AudioError> {
        let mut rest = Chunks { file: &mut *self.file, big: self.big, place, left: MOST };
        while rest.place < size {
            if rest.next()?.is_none() {
                return Ok(false);
            }
        }
        Ok(rest.place <= size + 1)
    }
}

fn is_name(name: &[u8; 4]) -> bool {
    name.iter().all(|letter| (0x20..0x7f).contains(letter))
}
