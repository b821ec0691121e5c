//! What can be known of a recording before it is used.

use super::medium::Bytes;
use super::{AudioError, Source, guarded, resampled};
use serde::{Deserialize, Serialize};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Bytes at either end of a file that stand for all of it where it is not read.
const ENDS: u64 = 1 << 16;

/// How closely a recording is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its header, and its samples up to the first that is not zero. A lossy format that does not tell its length in the
    /// header is read to the end.
    Headers,
    /// All of it is read: hashed, and its packets counted.
    Content,
    /// All of it is decoded too.
    Decode,
}

/// What is known of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inspection {
    /// Samples a second of the file.
    pub rate: u32,
    /// Samples of each of its channels, at its own rate.
    pub frames: u64,
    /// Of Opus: the rate of what was encoded, if it is one at which libsndfile decodes. A list of files that was made with it
    /// counts samples at this rate.
    #[serde(default)]
    pub input_rate: Option<u32>,
    /// Samples at 16 kHz.
    pub samples: u32,
    /// Of the whole file; under [`Check::Headers`] of its size, beginning and end.
    pub hash: [u8; 32],
    /// Whether it holds nothing but zeros.
    pub silent: bool,
}

impl Inspection {
    /// Whether it has as many samples of each channel as a list of files says.
    pub fn has(&self, declared: u64) -> bool {
        let at_input = |rate: u32| {
            let ticks = u64::from(self.rate / rate);
            self.frames / ticks == declared || self.frames.div_ceil(ticks) == declared
        };
        self.frames == declared || self.input_rate.is_some_and(at_input)
    }
}

/// Looks at a recording.
///
/// # Errors
/// [`AudioError`]. A truncated file is found by its header and its size or its packets; other damage only when it is
/// decoded.
pub fn inspect(path: &Path, check: Check) -> Result<Inspection, AudioError> {
    inspect_bytes(&Bytes::File(path), check)
}

/// As [`inspect`], wherever the bytes are.
pub(crate) fn inspect_bytes(bytes: &Bytes<'_>, check: Check) -> Result<Inspection, AudioError> {
    guarded(|| {
        let mut source = Source::open(bytes)?;
        // A codec that nothing decodes is found now, and not in the middle of a training.
        source.check_decoder()?;
        let rate = source.rate;
        let (frames, silent) = match (check, source.frames) {
            (Check::Decode, _) => {
                let mut silent = true;
                let frames = source.decode(|mono| {
                    silent = silent && is_zero(mono);
                    Ok(())
                })?;
                (frames, silent)
            }
            (Check::Headers, Some(frames)) if source.is_exact() && frames > 0 => (frames, is_silent(&mut source)),
            // Packets come once.
            _ => (source.walk()?, Source::open(bytes).is_ok_and(|mut again| is_silent(&mut again))),
        };
        if source.is_in_ogg() && !has_last_page(bytes)? {
            return Err(AudioError::NoLastPage);
        }
        let hash = if check == Check::Headers { hash_ends(bytes) } else { hash_all(bytes) };
        // Its content is not what it was for runs of which a store may still know.
        let mended = |hash: [u8; 32]| blake3::Hasher::new().update(b"mended").update(&hash).finalize().into();
        let hash = if source.is_mended() { hash.map(mended) } else { hash };
        Ok(Inspection {
            rate,
            frames,
            input_rate: source.input_rate(),
            // Below an hour.
            samples: resampled(frames, rate) as u32,
            hash: hash.map_err(unreadable)?,
            silent,
        })
    })
}

/// Whether a file holds nothing but zeros. It is decoded up to the first sample that is not, in most files within the
/// first packet. One that cannot be decoded is not called silent.
fn is_silent(source: &mut Source) -> bool {
    // Any error ends the decoding.
    let silence = |mono: &[f32]| if is_zero(mono) { Ok(()) } else { Err(AudioError::NoSamples) };
    guarded(|| source.decode(silence)).is_ok()
}

fn is_zero(samples: &[f32]) -> bool {
    samples.iter().all(|sample| *sample == 0.0)
}

fn unreadable(e: std::io::Error) -> AudioError {
    AudioError::Unreadable(e.to_string())
}

fn hash_all(bytes: &Bytes<'_>) -> std::io::Result<[u8; 32]> {
    let mut hash = blake3::Hasher::new();
    hash.update(b"all").update_reader(bytes.open()?.0)?;
    Ok(*hash.finalize().as_bytes())
}

fn hash_ends(bytes: &Bytes<'_>) -> std::io::Result<[u8; 32]> {
    let (mut file, size) = bytes.open()?;
    let mut hash = blake3::Hasher::new();
    hash.update(b"ends").update(&size.to_le_bytes());
    hash.update_reader((&mut file).take(ENDS))?;
    file.seek(SeekFrom::Start(size.saturating_sub(ENDS)))?;
    hash.update_reader(file.take(ENDS))?;
    Ok(*hash.finalize().as_bytes())
}

/// Whether an Ogg file ends with a whole page that is marked as the last (RFC 3533, section 6: bit 2 of the sixth byte;
/// the lengths of its segments from byte 27 on, their number before them).
fn has_last_page(bytes: &Bytes<'_>) -> Result<bool, AudioError> {
    let (mut file, size) = bytes.open().map_err(unreadable)?;
    // A page is at most 65,307 bytes long.
    file.seek(SeekFrom::Start(size.saturating_sub(2 * ENDS))).map_err(unreadable)?;
    let mut end = Vec::new();
    file.take(2 * ENDS).read_to_end(&mut end).map_err(unreadable)?;
    let Some(place) = end.windows(4).rposition(|bytes| bytes == b"OggS") else { return Ok(false) };
    let page = &end[place..];
    let Some(segments) = page.get(26).and_then(|number| page.get(27..27 + usize::from(*number))) else {
        return Ok(false);
    };
    let length = 27 + segments.len() + segments.iter().map(|length| usize::from(*length)).sum::<usize>();
    Ok(page[5] & 4 != 0 && page.len() >= length)
}
