//! Apple's Core Audio Format (Core Audio Format Specification 1.0).

use super::{AudioError, Encoding, Layout, Medium, at, floats, integers};
use std::io::BufReader;

/// Chunks that are looked at before the samples.
const MOST_CHUNKS: usize = 1000;

pub(super) fn is(beginning: &[u8]) -> bool {
    beginning.starts_with(b"caff")
}

/// Of a file of `size` bytes. Its chunks have lengths of 64 bits and no padding; -1 leaves the length of the samples open.
pub(super) fn layout(file: &mut BufReader<Medium>, size: u64) -> Result<Layout, AudioError> {
    let (mut place, mut description) = (8u64, None);
    for _ in 0..MOST_CHUNKS {
        let Some([a, b, c, d, length @ ..]) = at::<12>(file, place)? else { break };
        let (start, length) = (place + 12, i64::from_be_bytes(length));
        match &[a, b, c, d] {
            b"desc" => description = at::<32>(file, start)?,
            b"data" => {
                let Some(description) = description else {
                    return Err(AudioError::Header("its samples come before their description".into()));
                };
                let (encoding, channels, rate) = described(description)?;
                // Before the samples stands how often they were edited.
                let frame = (encoding.bytes() * channels.max(1)) as u64;
                let frames = u64::try_from(length).ok().map(|length| length.saturating_sub(4) / frame);
                return Ok(Layout { encoding, channels, rate, start: start + 4, frames });
            }
            _ => {}
        }
        match u64::try_from(length).ok().and_then(|length| start.checked_add(length)) {
            Some(next) if next < size => place = next,
            _ => break,
        }
    }
    Err(AudioError::Header("it has no `data` chunk".into()))
}

fn described(bytes: [u8; 32]) -> Result<(Encoding, usize, u32), AudioError> {
    let word = |place: usize| u32::from_be_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]]);
    let mut rate = [0; 8];
    rate.copy_from_slice(&bytes[..8]);
    let (kind, flags, packet, channels, bits) = (&bytes[8..12], word(12), word(16), word(24), word(28));
    let big = flags & 2 == 0;
    let encoding = match kind {
        b"lpcm" if flags & 1 == 1 => floats(bits, big)?,
        b"lpcm" => integers(bits, big)?,
        b"ulaw" => Encoding::MuLaw,
        b"alaw" => Encoding::ALaw,
        kind => return Err(AudioError::foreign(format!("CAF of codec `{}`", kind.escape_ascii()))),
    };
    let channels = channels as usize;
    if channels > 0 && packet as usize > encoding.bytes().saturating_mul(channels) {
        return Err(AudioError::Block { bits, bytes: packet as usize / channels });
    }
    // What is no rate becomes 0 or too large, and is refused.
    Ok((encoding, channels, f64::from_be_bytes(rate) as u32))
}
