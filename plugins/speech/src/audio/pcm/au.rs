//! AU, the format of Sun and NeXT: six numbers of four bytes, a comment, the samples.

use super::{AudioError, Encoding, Layout, Medium, at, floats, integers};
use std::io::BufReader;

pub(super) fn is(beginning: &[u8]) -> bool {
    beginning.starts_with(b".snd")
}

/// A length of all ones says that it was not known.
pub(super) fn layout(file: &mut BufReader<Medium>, _size: u64) -> Result<Layout, AudioError> {
    let Some(bytes) = at::<24>(file, 0)? else {
        return Err(AudioError::Header("it ends before its header does".into()));
    };
    let word = |place: usize| u32::from_be_bytes([bytes[place], bytes[place + 1], bytes[place + 2], bytes[place + 3]]);
    let (start, length, kind, rate, channels) = (word(4), word(8), word(12), word(16), word(20));
    let encoding = match kind {
        1 => Encoding::MuLaw,
        2..=5 => integers(8 * (kind - 1), true)?,
        6 | 7 => floats(32 * (kind - 5), true)?,
        27 => Encoding::ALaw,
        _ => return Err(AudioError::foreign(format!("AU of encoding {kind}"))),
    };
    let channels = channels as usize;
    let frame = encoding.bytes().saturating_mul(channels.max(1)) as u64;
    let frames = (length != u32::MAX).then_some(u64::from(length) / frame);
    Ok(Layout { encoding, channels, rate, start: start.max(24).into(), frames })
}
