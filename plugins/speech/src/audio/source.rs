//! One file as a stream of mono samples.

use super::medium::{Bytes, Medium};
use super::packets::Packets;
use super::pcm::{self, Pcm};
use super::{AudioError, LOUDEST, check_length};
use std::io::{Read, Seek};
use std::ops::Range;

/// An open file whose header makes sense.
pub(super) struct Source {
    reader: Reader,
    /// Samples a second of the file.
    pub(super) rate: u32,
    /// Samples of a channel, where the header tells.
    pub(super) frames: Option<u64>,
    /// Bytes of the file.
    pub(super) bytes: u64,
}

enum Reader {
    Pcm(Pcm),
    Packets(Box<Packets>),
}

impl Source {
    pub(super) fn open(from: &Bytes<'_>) -> Result<Self, AudioError> {
        let (mut file, bytes) = from.open().map_err(unreadable)?;
        if bytes == 0 {
            return Err(AudioError::Empty);
        }
        let reader = match pcm::is(&beginning(&mut file).map_err(unreadable)?) {
            true => Reader::Pcm(Pcm::open(file, bytes)?),
            false => Reader::Packets(Box::new(Packets::open(file, bytes)?)),
        };
        let (rate, frames) = match &reader {
            Reader::Pcm(pcm) => (pcm.rate(), Some(pcm.frames)),
            Reader::Packets(packets) => (packets.rate, packets.frames),
        };
        Ok(Self { reader, rate, frames, bytes })
    }

    /// Whether [`Self::frames`] are exactly those that there are, or fewer mean a truncated file.
    pub(super) fn is_exact(&self) -> bool {
        match &self.reader {
            Reader::Pcm(_) => true,
            Reader::Packets(packets) => packets.is_exact(),
        }
    }

    /// Whether it comes in Ogg's pages, of which one is marked as the last.
    pub(super) fn is_in_ogg(&self) -> bool {
        matches!(&self.reader, Reader::Packets(packets) if packets.is_in_ogg())
    }

    /// Of Opus: the rate of what was encoded, if libsndfile decodes at it.
    pub(super) fn input_rate(&self) -> Option<u32> {
        match &self.reader {
            Reader::Pcm(_) => None,
            Reader::Packets(packets) => packets.input_rate(),
        }
    }

    /// Whether a tag is believed that was not before, so that its samples are not those that were once made of the same bytes.
    pub(super) fn is_mended(&self) -> bool {
        matches!(&self.reader, Reader::Packets(packets) if packets.is_mended)
    }

    /// # Errors
    /// Nothing decodes its codec.
    pub(super) fn check_decoder(&self) -> Result<(), AudioError> {
        match &self.reader {
            Reader::Pcm(_) => Ok(()),
            Reader::Packets(packets) => packets.check_decoder(),
        }
    }

    /// Samples of a channel that there are, without decoding them.
    pub(super) fn walk(&mut self) -> Result<u64, AudioError> {
        match &mut self.reader {
            // Counted when it was opened.
            Reader::Pcm(pcm) => Ok(pcm.frames),
            Reader::Packets(packets) => packets.walk(),
        }
    }

    /// Decodes the whole file and hands it on piece by piece, channels averaged.
    pub(super) fn decode(&mut self, mut take: impl FnMut(&[f32]) -> Result<(), AudioError>) -> Result<u64, AudioError> {
        self.decode_from(0, |_, mono| take(mono))
    }

    /// As [`decode`](Self::decode), from the frame `from` or one before it on; each piece comes with the number of its first frame.
    fn decode_from(
        &mut self,
        from: u64,
        take: impl FnMut(u64, &[f32]) -> Result<(), AudioError>,
    ) -> Result<u64, AudioError> {
        let mut mixer = Mixer { rate: self.rate, frames: 0, mono: Vec::new(), take };
        match &mut self.reader {
            Reader::Pcm(pcm) => {
                pcm.skip(from)?;
                let (mut interleaved, mut first) = (Vec::new(), from);
                loop {
                    pcm.read(&mut interleaved)?;
                    if interleaved.is_empty() {
                        break;
                    }
                    mixer.mix(first, &interleaved, pcm.channels())?;
                    first = mixer.frames;
                }
            }
            Reader::Packets(packets) => packets.decode(from, |first, all, channels| mixer.mix(first, all, channels))?,
        }
        Ok(mixer.frames)
    }

    /// Decodes the frames of a range, and nothing behind it.
    ///
    /// # Errors
    /// Also when the recording ends before the range does.
    pub(super) fn decode_range(
        &mut self,
        range: Range<u64>,
        mut take: impl FnMut(&[f32]) -> Result<(), AudioError>,
    ) -> Result<(), AudioError> {
        let mut whole = false;
        let decoded = self.decode_from(range.start, |first, mono| {
            let within = |frame: u64| (frame.saturating_sub(first) as usize).min(mono.len());
            take(&mono[within(range.start)..within(range.end)])?;
            whole = first + mono.len() as u64 >= range.end;
            // Any error ends the decoding.
            if whole { Err(AudioError::NoSamples) } else { Ok(()) }
        });
        match decoded {
            _ if whole => Ok(()),
            Ok(found) => Err(AudioError::Truncated { declared: range.end, found }),
            Err(e) => Err(e),
        }
    }
}

/// Averages channels, and refuses samples that no recording has.
struct Mixer<T> {
    rate: u32,
    /// Where those that there were end.
    frames: u64,
    mono: Vec<f32>,
    take: T,
}

impl<T: FnMut(u64, &[f32]) -> Result<(), AudioError>> Mixer<T> {
    /// `first` is the number of the first frame.
    fn mix(&mut self, first: u64, interleaved: &[f32], channels: usize) -> Result<(), AudioError> {
        // NaN lies in no range, so this finds it too.
        if let Some(place) = interleaved.iter().position(|sample| !(-LOUDEST..=LOUDEST).contains(sample)) {
            let (at, sample) = (first + (place / channels) as u64, interleaved[place]);
            return Err(match sample.is_finite() {
                true => AudioError::TooLoud { at, value: format!("{sample:e}") },
                false => AudioError::NotFinite(at),
            });
        }
        self.mono.clear();
        self.mono.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32));
        self.frames = first + self.mono.len() as u64;
        check_length(self.frames, self.rate)?;
        (self.take)(first, &self.mono)
    }
}

fn beginning(file: &mut Medium) -> std::io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    file.by_ref().take(16).read_to_end(&mut beginning)?;
    file.rewind()?;
    Ok(beginning)
}

fn unreadable(e: std::io::Error) -> AudioError {
    AudioError::Unreadable(e.to_string())
}
