//! Where the samples of a WAV file lie.

use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Result};
use std::path::Path;

/// Chunks that are looked at before the one with the samples.
const MOST_CHUNKS: usize = 1000;

/// Frames (samples of all channels) that the data chunk of a WAV file claims, and those that are there. `None` for
/// any other file, and where the chunk does not tell its length, as in one written to a pipe.
pub(super) fn frames(path: &Path) -> Result<Option<(u64, u64)>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    match walk(&mut BufReader::new(file), size) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Ok(None),
        found => found,
    }
}

fn walk(file: &mut BufReader<File>, size: u64) -> Result<Option<(u64, u64)>> {
    let riff: [u8; 12] = take(file)?;
    if &riff[..4] != b"RIFF" || &riff[8..] != b"WAVE" {
        return Ok(None);
    }
    let (mut place, mut frame) = (12u64, 0u64);
    for _ in 0..MOST_CHUNKS {
        let [a, b, c, d, length @ ..] = take::<8>(file)?;
        let length = u32::from_le_bytes(length);
        place += 8;
        if [a, b, c, d] == *b"data" {
            let told = frame > 0 && length != u32::MAX;
            return Ok(told.then(|| (u64::from(length) / frame, size.saturating_sub(place) / frame)));
        }
        // Chunks begin at even places.
        let mut rest = i64::from(length) + i64::from(length % 2);
        place += rest as u64;
        if [a, b, c, d] == *b"fmt " && length >= 16 {
            let format: [u8; 16] = take(file)?;
            frame = u64::from(u16::from_le_bytes([format[12], format[13]]));
            rest -= 16;
        }
        file.seek_relative(rest)?;
    }
    Ok(None)
}

fn take<const N: usize>(file: &mut impl Read) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes).map(|()| bytes)
}
