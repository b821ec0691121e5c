//! AIFF and AIFF-C (Apple, Audio Interchange File Format AIFF-C, 1991).

use super::chunks::Chunks;
use super::{AudioError, Encoding, Layout, Medium, floats, integers};
use std::io::BufReader;

/// From here on a length that a file does not have was left open: SoX writes 0x7F000008 into a pipe.
const OPEN: u64 = 0x7f00_0000;

pub(super) fn is(beginning: &[u8]) -> bool {
    beginning.len() >= 12
        && beginning.starts_with(b"FORM")
        && [b"AIFF", b"AIFC"].iter().any(|name| beginning[8..12] == **name)
}

/// Of a file of `size` bytes.
pub(super) fn layout(file: &mut BufReader<Medium>, size: u64) -> Result<Layout, AudioError> {
    let is_compressed = super::at::<4>(file, 8)? == Some(*b"AIFC");
    let mut chunks = Chunks::new(file, true);
    let (mut common, mut sound) = (None, None);
    // The samples may come first.
    while common.is_none() || sound.is_none() {
        let Some(chunk) = chunks.next()? else {
            let missing = if common.is_none() { "COMM" } else { "SSND" };
            return Err(AudioError::Header(format!("it has no `{missing}` chunk")));
        };
        match &chunk.name {
            b"COMM" => common = Some(chunks.content::<22>(chunk)?),
            b"SSND" => {
                let [a, b, c, d] = chunks.content(chunk)?;
                sound = Some((chunk.start + 8 + u64::from(u32::from_be_bytes([a, b, c, d])), chunk));
            }
            _ => {}
        }
    }
    let (Some(common), Some((start, chunk))) = (common, sound) else { unreachable!("the loop ends with both") };
    let [c0, c1, f0, f1, f2, f3, b0, b1, ..] = common;
    let mut rate = [0; 10];
    rate.copy_from_slice(&common[8..18]);
    let kind: [u8; 4] = if is_compressed { [common[18], common[19], common[20], common[21]] } else { *b"NONE" };
    let encoding = encoding(kind, u16::from_be_bytes([b0, b1]).into())?;
    let channels = usize::from(u16::from_be_bytes([c0, c1]));
    let frame = (encoding.bytes() * channels.max(1)) as u64;
    let length = u64::from(chunk.length);
    let is_open = length >= OPEN && length > size.saturating_sub(chunk.start);
    let frames = match u64::from(u32::from_be_bytes([f0, f1, f2, f3])) {
        _ if is_open => None,
        // FFmpeg leaves both at 0 in a pipe.
        0 if length <= 8 => chunks.fill(chunk.start + length, size)?.then_some(0),
        0 => Some((length - 8) / frame),
        frames => Some(frames),
    };
    Ok(Layout { encoding, channels, rate: extended(rate), start, frames })
}

fn encoding(kind: [u8; 4], bits: u32) -> Result<Encoding, AudioError> {
    match &kind {
        b"NONE" | b"twos" => integers(bits, true),
        b"sowt" => integers(bits, false),
        b"in24" => integers(24, true),
        b"in32" => integers(32, true),
        b"raw " if bits <= 8 => Ok(Encoding::Unsigned),
        b"fl32" | b"FL32" => floats(32, true),
        b"fl64" | b"FL64" => floats(64, true),
        b"ulaw" | b"ULAW" => Ok(Encoding::MuLaw),
        b"alaw" | b"ALAW" => Ok(Encoding::ALaw),
        kind => Err(AudioError::foreign(format!("AIFF-C of compression `{}`", kind.escape_ascii()))),
    }
}

/// A rate as the 80 bits of an extended-precision number: sign and exponent, then 64 bits whose highest is the one before
/// the point. Fractions of a sample a second are left out, and what cannot be a rate becomes one that is refused.
fn extended(bytes: [u8; 10]) -> u32 {
    let [a, b, mantissa @ ..] = bytes;
    match u32::from(u16::from_be_bytes([a, b])).checked_sub(16_383) {
        Some(exponent @ 0..=31) => (u64::from_be_bytes(mantissa) >> (63 - exponent)) as u32,
        _ => 0,
    }
}
