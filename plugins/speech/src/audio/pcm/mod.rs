//! Containers of plain samples: a header that says where they lie and how each is written, and then the samples.
//!
//! They are read here and not by a library because their headers are wrong so often (sizes that a program left open which
//! wrote into a pipe, chunks without their padding), and because a recording must not become noise without a word.

mod aiff;
mod au;
mod caf;
mod chunks;
mod companding;
mod sphere;
mod wav;

use super::medium::Medium;
use super::{AudioError, MOST_CHANNELS, RATES, check_length};
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};

/// Frames (samples of all channels) that are read together.
const FRAMES: usize = 1152;

/// How a sample is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    /// A byte; 128 is silence.
    Unsigned,
    /// An integer of 1 to 4 bytes. Where fewer bits are used they are the upper ones, in every container.
    Signed { bytes: usize, big: bool },
    /// A floating-point number of 4 or 8 bytes.
    Float { bytes: usize, big: bool },
    /// ITU-T G.711.
    MuLaw,
    /// ITU-T G.711.
    ALaw,
}

impl Encoding {
    fn bytes(self) -> usize {
        match self {
            Self::Unsigned | Self::MuLaw | Self::ALaw => 1,
            Self::Signed { bytes, .. } | Self::Float { bytes, .. } => bytes,
        }
    }

    /// Appends samples as numbers from -1 to 1; a floating-point number stays what it is.
    fn decode(self, bytes: &[u8], samples: &mut Vec<f32>) {
        match self {
            Self::Unsigned => samples.extend(bytes.iter().map(|byte| f32::from(*byte) / 128.0 - 1.0)),
            Self::MuLaw => samples.extend(bytes.iter().map(|byte| f32::from(companding::mu_law(*byte)) / 32_768.0)),
            Self::ALaw => samples.extend(bytes.iter().map(|byte| f32::from(companding::a_law(*byte)) / 32_768.0)),
            Self::Signed { bytes: 1, big } => integers_of::<1>(bytes, big, samples),
            Self::Signed { bytes: 2, big } => integers_of::<2>(bytes, big, samples),
            Self::Signed { bytes: 3, big } => integers_of::<3>(bytes, big, samples),
            Self::Signed { big, .. } => integers_of::<4>(bytes, big, samples),
            Self::Float { bytes: 4, big } => samples.extend(bytes.as_chunks().0.iter().map(|sample| match big {
                true => f32::from_be_bytes(*sample),
                false => f32::from_le_bytes(*sample),
            })),
            Self::Float { big, .. } => samples.extend(bytes.as_chunks().0.iter().map(|sample| match big {
                true => f64::from_be_bytes(*sample) as f32,
                false => f64::from_le_bytes(*sample) as f32,
            })),
        }
    }
}

/// Integers of `N` bytes. They are divided as doubles and rounded once, which only those of 32 bits need.
fn integers_of<const N: usize>(bytes: &[u8], big: bool, samples: &mut Vec<f32>) {
    samples.extend(bytes.as_chunks::<N>().0.iter().map(|sample| {
        let mut whole = [0; 4];
        whole[4 - N..].copy_from_slice(sample);
        if big {
            whole[4 - N..].reverse();
        }
        (f64::from(i32::from_le_bytes(whole)) / 2_147_483_648.0) as f32
    }));
}

/// What a header says.
#[derive(Debug, Clone, Copy)]
struct Layout {
    encoding: Encoding,
    channels: usize,
    rate: u32,
    /// Where the samples begin, in bytes.
    start: u64,
    /// Frames; `None` where the header leaves open how many follow.
    frames: Option<u64>,
}

/// Samples of a file, one after the other.
pub(super) struct Pcm {
    file: BufReader<Medium>,
    layout: Layout,
    /// Frames that there are.
    pub(super) frames: u64,
    left: u64,
    bytes: Vec<u8>,
}

/// A header of a kind of container: its beginning, and what reads the rest of it.
type Kind = (fn(&[u8]) -> bool, fn(&mut BufReader<Medium>, u64) -> Result<Layout, AudioError>);

const KINDS: [Kind; 5] = [
    (wav::is, wav::layout),
    (aiff::is, aiff::layout),
    (caf::is, caf::layout),
    (au::is, au::layout),
    (sphere::is, sphere::layout),
];

/// Whether a file that begins like this is read here.
pub(super) fn is(beginning: &[u8]) -> bool {
    KINDS.iter().any(|(is, _)| is(beginning))
}

impl Pcm {
    /// The samples of a file of `size` bytes.
    ///
    /// # Errors
    /// What is wrong with its header; fewer samples than it says.
    pub(super) fn open(file: Medium, size: u64) -> Result<Self, AudioError> {
        let mut file = BufReader::new(file);
        let mut beginning = [0; 16];
        let length = upto(&mut file, 0, &mut beginning)?;
        let kind = KINDS.iter().find(|(is, _)| is(&beginning[..length]));
        let Some((_, layout)) = kind else { return Err(AudioError::NotAudio("it has changed".into())) };
        let layout = layout(&mut file, size)?;
        if !RATES.contains(&layout.rate) {
            return Err(AudioError::Rate(layout.rate));
        }
        if !(1..=MOST_CHANNELS).contains(&layout.channels) {
            return Err(AudioError::Channels(layout.channels));
        }
        let frame = (layout.channels * layout.encoding.bytes()) as u64;
        let found = size.saturating_sub(layout.start) / frame;
        let frames = layout.frames.unwrap_or(found);
        check_length(frames, layout.rate)?;
        match frames {
            0 => Err(AudioError::NoSamples),
            declared if found < declared => Err(AudioError::Truncated { declared, found }),
            _ => {
                file.seek(SeekFrom::Start(layout.start)).map_err(unreadable)?;
                Ok(Self { file, layout, frames, left: frames, bytes: Vec::new() })
            }
        }
    }

    pub(super) fn rate(&self) -> u32 {
        self.layout.rate
    }

    pub(super) fn channels(&self) -> usize {
        self.layout.channels
    }

    /// Passes over so many frames, or all that are left.
    pub(super) fn skip(&mut self, frames: u64) -> Result<(), AudioError> {
        let frames = frames.min(self.left);
        let bytes = frames * (self.layout.channels * self.layout.encoding.bytes()) as u64;
        // Not more than the file has.
        self.file.seek_relative(bytes as i64).map_err(unreadable)?;
        self.left -= frames;
        Ok(())
    }

    /// Replaces `samples` by the next ones, channels interleaved; none at the end.
    pub(super) fn read(&mut self, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        samples.clear();
        let frames = self.left.min(FRAMES as u64);
        self.bytes.resize(frames as usize * self.layout.channels * self.layout.encoding.bytes(), 0);
        // It was long enough when it was opened.
        self.file.read_exact(&mut self.bytes).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => AudioError::Truncated { declared: self.frames, found: self.frames - self.left },
            _ => unreadable(e),
        })?;
        self.left -= frames;
        self.layout.encoding.decode(&self.bytes, samples);
        Ok(())
    }
}

fn unreadable(e: std::io::Error) -> AudioError {
    AudioError::Unreadable(e.to_string())
}

/// `N` bytes at a place; `None` where the file ends before them.
fn at<const N: usize>(file: &mut BufReader<Medium>, place: u64) -> Result<Option<[u8; N]>, AudioError> {
    let mut bytes = [0; N];
    Ok((upto(file, place, &mut bytes)? == N).then_some(bytes))
}

/// Fills `bytes` from a place on, and says how many the file has there.
fn upto(file: &mut BufReader<Medium>, place: u64, bytes: &mut [u8]) -> Result<usize, AudioError> {
    let Ok(place) = i64::try_from(place) else { return Ok(0) };
    // Unlike a plain seek, this keeps what is buffered.
    let now = file.stream_position().map_err(unreadable)?;
    file.seek_relative(place - now as i64).map_err(unreadable)?;
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(e)),
        }
    }
    Ok(filled)
}

/// Integers of `bits` bits, in as few bytes as hold them.
///
/// # Errors
/// No such integers are read.
fn integers(bits: u32, big: bool) -> Result<Encoding, AudioError> {
    match bits {
        1..=32 => Ok(Encoding::Signed { bytes: bits.div_ceil(8) as usize, big }),
        _ => Err(AudioError::Header(format!("its samples are integers of {bits} bits, and 1 to 32 are read"))),
    }
}

/// Floating-point numbers of `bits` bits.
///
/// # Errors
/// No such numbers are read.
fn floats(bits: u32, big: bool) -> Result<Encoding, AudioError> {
    match bits {
        32 | 64 => Ok(Encoding::Float { bytes: bits as usize / 8, big }),
        _ => Err(AudioError::Header(format!(
            "its samples are floating-point numbers of {bits} bits, and 32 and 64 are read"
        ))),
    }
}
