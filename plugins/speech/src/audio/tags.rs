//! What is put around a recording, or into it, that is none of it.

use super::medium::Medium;
use std::io::{Read, Result, Seek, SeekFrom};

/// Tags that are passed over before a recording.
const MOST_TAGS: usize = 16;
/// Bytes behind them in which the first frame of an MP3 is looked for.
const REACH: u64 = 1 << 16;

/// `length` bytes from a place on, or as many as there are.
pub(super) fn bytes_at(file: &mut Medium, place: u64, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(place))?;
    file.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Where a file begins behind the ID3v2 tags in front (ID3v2.4, section 3.1: ten bytes whose last four, of seven bits each, are
/// the length of the rest; ten more at the end where bit 4 of the sixth says so).
pub(super) fn beginning(file: &mut Medium) -> Result<u64> {
    let mut place = 0;
    for _ in 0..MOST_TAGS {
        let bytes = bytes_at(file, place, 10)?;
        let [b'I', b'D', b'3', _, _, flags, a, b, c, d] = bytes[..] else { break };
        if [a, b, c, d].iter().any(|byte| *byte > 0x7f) {
            break;
        }
        let length = [a, b, c, d].iter().fold(0, |length, byte| length << 7 | u64::from(*byte));
        place += 10 + length + if flags & 0x10 != 0 { 10 } else { 0 };
    }
    Ok(place)
}

/// Where a file of `size` bytes ends before the tags at its end: ID3v1, which has 128 bytes, and APE, whose last 32 say how
/// long it is.
pub(super) fn end(file: &mut Medium, size: u64) -> Result<u64> {
    let mut end = size;
    if let Some(place) = end.checked_sub(128)
        && bytes_at(file, place, 3)? == b"TAG"
    {
        end = place;
    }
    if let Some(place) = end.checked_sub(32) {
        let footer = bytes_at(file, place, 32)?;
        if let (b"APETAGEX", [_, _, _, _, a, b, c, d, _, _, _, _, _, _, flags, ..]) =
            footer.split_at(8.min(footer.len()))
        {
            let header = if flags & 0x80 != 0 { 32 } else { 0 };
            end = end.saturating_sub(u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + header);
        }
    }
    Ok(end)
}

/// Where the checksum of a LAME tag stands, in an MP3 that begins at `start`, if it is wrong.
///
/// The tag says what its encoder has added at both ends. FFmpeg writes it with a checksum that is only right for stereo of
/// MPEG-1. mpg123 and FFmpeg read the tag whatever its checksum is; symphonia does where the checksum is 0, and where neither
/// the encoder's name is LAME nor frames have checksums.
pub(super) fn wrong_checksum(file: &mut Medium, start: u64) -> Result<Option<u64>> {
    let bytes = bytes_at(file, start, REACH)?;
    let tag = (0..bytes.len()).find_map(|place| checksum(&bytes[place..]).map(|within| (place, within)));
    Ok(tag.and_then(|(place, within)| {
        let (frame, written) = (bytes.get(place..place + within)?, bytes.get(place + within..place + within + 2)?);
        let is_looked_at = frame[1] & 1 == 0 || frame[within - 34..].starts_with(b"LAME");
        let is_wrong = is_looked_at && written != [0, 0] && written != crc16(frame).to_be_bytes();
        is_wrong.then_some(start + (place + within) as u64)
    }))
}

/// CRC-16 with the polynomial 0x8005, lowest bit first, from 0: what LAME computes over its first frame up to the checksum.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 })
    })
}

/// Where the checksum stands in a frame that these bytes begin with (Xing's header behind the side information, whose length
/// depends on version and channels; then LAME's 36 bytes, of which the last two are the checksum).
fn checksum(frame: &[u8]) -> Option<usize> {
    let [0xff, second, _, fourth, ..] = *frame else { return None };
    // Layer III of a version that there is.
    if second & 0xe6 != 0xe2 || second & 0x18 == 0x08 {
        return None;
    }
    let tag = 4 + match (second & 0x18 == 0x18, fourth & 0xc0 == 0xc0) {
        (true, false) => 32,
        (true, true) | (false, false) => 17,
        (false, true) => 9,
    };
    if !matches!(frame.get(tag..tag + 4)?, b"Xing" | b"Info") {
        return None;
    }
    let flags = *frame.get(tag + 7)?;
    let present = |bit: u8, length: usize| if flags & bit != 0 { length } else { 0 };
    Some(tag + 8 + present(1, 4) + present(2, 4) + present(4, 100) + present(8, 4) + 34)
}
