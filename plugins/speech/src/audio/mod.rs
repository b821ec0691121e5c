//! Recordings: FLAC, WAV, MP3, Ogg Vorbis, Ogg Opus, NIST SPHERE, AIFF, CAF and AU of any rate and number of channels, as mono
//! samples at 16 kHz.

mod foreign;
mod inspect;
mod medium;
mod opus;
mod packets;
mod pcm;
mod resample;
mod source;
mod tags;
#[cfg(test)]
mod tests;
mod window;

pub use inspect::{Check, Inspection, inspect};

pub(crate) use inspect::inspect_bytes;
pub(crate) use medium::Bytes;

use resample::{Resampler, Room};
use source::Source;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// Samples a second of everything that [`load`] gives: the rate of wav2vec 2.0 and XLSR-53.
pub const RATE: u32 = 16_000;
/// The longest recording that is read, in seconds. A header may claim any length; nothing is allocated for more.
pub const LONGEST: u64 = 3600;
/// Rates that are resampled; others are a damaged header.
const RATES: std::ops::RangeInclusive<u32> = 2_000..=384_000;
/// The largest magnitude of a sample: a file's floats may be the integers of 32 bits that they were made from.
const LOUDEST: f32 = 2_147_483_648.0;
/// Most channels that are mixed.
const MOST_CHANNELS: usize = 32;

/// Why a recording cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AudioError {
    /// An error of the file system.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// A cell of a table with neither bytes nor the path of a file.
    #[error("has neither bytes nor a path")]
    Absent,
    /// A file of no bytes.
    #[error("is empty")]
    Empty,
    /// No format that is known.
    #[error(
        "is not audio that can be read ({0}); FLAC, WAV, MP3, Ogg Vorbis, Ogg Opus, NIST SPHERE, AIFF, CAF and AU are"
    )]
    NotAudio(String),
    /// A format that is known and not read.
    #[error("is {format}, which is not read; `{command}` makes a recording of it that is")]
    Foreign {
        /// Its name, with an article where it needs one.
        format: String,
        /// What converts it.
        command: &'static str,
    },
    /// The header of a container of plain samples that cannot be true, or is of a kind that no program writes.
    #[error("has a header that cannot be used: {0}")]
    Header(String),
    /// Integers in larger blocks, of which nothing says where in them they lie. Programs read such a file in different ways.
    #[error(
        "has samples of {bits} bits in blocks of {bytes} bytes, and its header does not say where in them they lie; write them \
         as {bits} bits without gaps, or with WAVE_FORMAT_EXTENSIBLE"
    )]
    Block {
        /// Of a sample.
        bits: u32,
        /// From one sample to the next.
        bytes: usize,
    },
    /// A container without an audio track of a known codec.
    #[error("has no audio track that can be decoded ({0}); FLAC, MP3, Vorbis and Opus can")]
    NoTrack(String),
    /// Fewer samples than the header says.
    #[error("is truncated: its header says {declared} samples, and {found} are there")]
    Truncated {
        /// Samples of a channel that the header says.
        declared: u64,
        /// Samples of a channel that there are.
        found: u64,
    },
    /// An Ogg file that does not end as one does.
    #[error("is truncated: the last page of its Ogg stream is missing")]
    NoLastPage,
    /// An Ogg file of several streams, one after the other.
    #[error(
        "holds several Ogg streams, one after the other; `ffmpeg -i FILE FILE.flac` makes a recording of all of them"
    )]
    Chained,
    /// No samples at all.
    #[error("holds no samples")]
    NoSamples,
    /// More than [`LONGEST`].
    #[error("is longer than {LONGEST} seconds (its header or content says {0}); cut it into utterances")]
    TooLong(u64),
    /// A rate that no recording has.
    #[error("has {0} samples a second; {low} to {high} are accepted", low = RATES.start(), high = RATES.end())]
    Rate(u32),
    /// A number of channels that no recording has.
    #[error("has {0} channels; 1 to {MOST_CHANNELS} are accepted")]
    Channels(usize),
    /// A sample of a floating-point file that is not a number or infinite.
    #[error("sample {0} is not a finite number")]
    NotFinite(u64),
    /// A sample of a floating-point file that no recording has; resampled, it could become infinite.
    #[error("sample {at} is {value}, and full scale is 1; up to {LOUDEST:e} is accepted")]
    TooLoud {
        /// Its place in its channel.
        at: u64,
        /// As it would be printed.
        value: String,
    },
    /// Anything else that the decoder finds wrong.
    #[error("is damaged: {0}")]
    Damaged(String),
}

impl AudioError {
    /// A format that ffmpeg converts.
    fn foreign(format: String) -> Self {
        Self::Foreign { format, command: "ffmpeg -i FILE FILE.flac" }
    }

    /// SPHERE with samples that shorten has compressed.
    fn shortened(coding: &str) -> Self {
        let format = format!("NIST SPHERE compressed by shorten (`{}`)", coding.escape_debug());
        Self::Foreign { format, command: "sph2pipe -f wav FILE FILE.wav" }
    }

    /// Whether it lies in the content behind a header that makes sense, so that the next attempt would meet it again.
    /// The others are refused when a recording is first looked at. Met later, they may pass: a decoder library that is
    /// kept from reading a file's beginning says that it is no audio, and a file that is being replaced is empty.
    pub(crate) fn lasts(&self) -> bool {
        match self {
            Self::Truncated { .. }
            | Self::NoLastPage
            | Self::NoSamples
            | Self::TooLong(_)
            | Self::Chained
            | Self::NotFinite(_)
            | Self::TooLoud { .. }
            | Self::Damaged(_) => true,
            Self::Unreadable(_)
            | Self::Absent
            | Self::Empty
            | Self::NotAudio(_)
            | Self::Foreign { .. }
            | Self::Header(_)
            | Self::Block { .. }
            | Self::NoTrack(_)
            | Self::Rate(_)
            | Self::Channels(_) => false,
        }
    }
}

/// The samples of a recording at [`RATE`], its channels averaged; from -1 to 1, or further in a floating-point
/// file, up to 2³¹. As many as [`inspect`] says, but for lossy formats that do not know their own length.
///
/// What bounds them is [`LONGEST`] and not the size of the file: an hour, which may be silence in 14 kB of FLAC, is 57.6
/// million samples or 220 MiB. While it is read, at most another 64 MiB and four times the file are held.
///
/// # Errors
/// [`AudioError`].
pub fn load(path: &Path) -> Result<Vec<f32>, AudioError> {
    load_bytes(&Bytes::File(path), None)
}

/// As [`load`], wherever the bytes are; of a `range` of frames at the recording's own rate as if they were all of it.
pub(crate) fn load_bytes(bytes: &Bytes<'_>, range: Option<Range<u64>>) -> Result<Vec<f32>, AudioError> {
    guarded(|| {
        let mut source = Source::open(bytes)?;
        let frames = range.as_ref().map(|range| range.end - range.start).or(source.frames);
        let declared = frames.map(|frames| resampled(frames, source.rate));
        let mut resampler = Resampler::new(source.rate, Room::of(declared, source.bytes))?;
        match range {
            Some(range) => source.decode_range(range, |mono| resampler.push(mono))?,
            None => _ = source.decode(|mono| resampler.push(mono))?,
        }
        resampler.finish()
    })
}

/// Samples at [`RATE`] that a recording of `frames` at `rate` has: rounded up, as `torchaudio` does.
pub fn resampled(frames: u64, rate: u32) -> u64 {
    (frames * u64::from(RATE)).div_ceil(u64::from(rate).max(1))
}

/// Refuses what is longer than [`LONGEST`].
fn check_length(frames: u64, rate: u32) -> Result<(), AudioError> {
    match frames / u64::from(rate.max(1)) {
        seconds if seconds >= LONGEST && frames > LONGEST * u64::from(rate) => Err(AudioError::TooLong(seconds)),
        _ => Ok(()),
    }
}

/// Runs what reads a file; a panic of a decoder, as malformed files have caused before, says that the file is damaged.
fn guarded<T>(read: impl FnOnce() -> Result<T, AudioError>) -> Result<T, AudioError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        Err(AudioError::Damaged(format!("the decoder fails with `{}`", text.unwrap_or("no message"))))
    })
}
