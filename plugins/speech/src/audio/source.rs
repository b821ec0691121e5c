//! One file as a stream of packets.

use super::{AudioError, LOUDEST, MOST_CHANNELS, RATES, check_length};
use lopper_weights::open_regular;
use std::io::ErrorKind;
use std::path::Path;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

/// An open file whose header makes sense.
pub(super) struct Source {
    format: Box<dyn FormatReader>,
    track: u32,
    parameters: AudioCodecParameters,
    /// Whether the header tells which samples an encoder has added.
    has_delay: bool,
    /// Samples a second of the file.
    pub(super) rate: u32,
    /// Samples of a channel, where the header tells.
    pub(super) frames: Option<u64>,
    /// Bytes of the file.
    pub(super) bytes: u64,
    /// Where the packets that there are end, in samples of a channel.
    end: u64,
}

impl Source {
    pub(super) fn open(path: &Path) -> Result<Self, AudioError> {
        let (file, bytes) = open_regular(path).map_err(|e| AudioError::Unreadable(e.to_string()))?;
        if bytes == 0 {
            return Err(AudioError::Empty);
        }
        let stream = MediaSourceStream::new(Box::new(file), Default::default());
        // By content alone: an ending may lie.
        let probe = symphonia::default::get_probe();
        let format = probe
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| AudioError::NotAudio(e.to_string()))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| AudioError::NoTrack("it has none".into()))?;
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters = parameters.ok_or_else(|| AudioError::NoTrack("of an unknown codec".into()))?.clone();
        let rate = parameters.sample_rate.unwrap_or_default();
        if !RATES.contains(&rate) {
            return Err(AudioError::Rate(rate));
        }
        // A decoder that knows better corrects it.
        let channels = parameters.channels.as_ref().map_or(1, |channels| channels.count());
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return Err(AudioError::Channels(channels));
        }
        let (track, frames, has_delay) = (track.id, track.num_frames, track.delay.is_some());
        check_length(frames.unwrap_or_default(), rate)?;
        Ok(Self { format, track, parameters, has_delay, rate, frames, bytes, end: 0 })
    }

    /// Whether the header tells the number of samples exactly, so that fewer mean a truncated file.
    pub(super) fn is_exact(&self) -> bool {
        self.parameters.codec == CODEC_ID_FLAC || self.is_pcm() || (self.is_mp3() && self.has_delay)
    }

    fn is_mp3(&self) -> bool {
        self.parameters.codec == CODEC_ID_MP3
    }

    pub(super) fn is_vorbis(&self) -> bool {
        self.parameters.codec == CODEC_ID_VORBIS
    }

    fn is_pcm(&self) -> bool {
        ![CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_VORBIS].contains(&self.parameters.codec)
    }

    /// Samples of a channel in the packets that there are, without decoding them.
    pub(super) fn walk(&mut self) -> Result<u64, AudioError> {
        let mut frames = 0;
        while let Some(packet) = self.next_packet()? {
            frames += packet.dur.get();
            check_length(frames, self.rate)?;
        }
        self.check_end(frames)?;
        // Packets of MP3 have what the encoder has added, and the header has not.
        Ok(if self.is_exact() { self.frames.map_or(frames, |declared| frames.min(declared)) } else { frames })
    }

    /// Decodes the whole file and hands it on piece by piece, channels averaged.
    pub(super) fn decode(&mut self, mut take: impl FnMut(&[f32]) -> Result<(), AudioError>) -> Result<u64, AudioError> {
        let mut decoder = self.decoder()?;
        let (mut interleaved, mut mono): (Vec<f32>, Vec<f32>) = (Vec::new(), Vec::new());
        let (mut frames, mut dropped) = (0, 0);
        while let Some(packet) = self.next_packet()? {
            let buffer = match decoder.decode(&packet) {
                Ok(buffer) => buffer,
                // The first frames of an MP3 that was cut out of a longer one lean on bytes that are not there.
                Err(Fault::DecodeError(_)) if self.is_mp3() => {
                    dropped += packet.dur.get();
                    continue;
                }
                Err(fault) => return Err(AudioError::Damaged(fault.to_string())),
            };
            let (channels, rate) = (buffer.spec().channels().count(), buffer.spec().rate());
            if rate != self.rate {
                let change = format!("its rate changes from {} to {rate}", self.rate);
                return Err(AudioError::Damaged(change));
            }
            if !(1..=MOST_CHANNELS).contains(&channels) {
                return Err(AudioError::Channels(channels));
            }
            buffer.copy_to_vec_interleaved(&mut interleaved);
            // NaN lies in no range, so this finds it too.
            if let Some(place) = interleaved.iter().position(|sample| !(-LOUDEST..=LOUDEST).contains(sample)) {
                let (at, sample) = (frames + (place / channels) as u64, interleaved[place]);
                return Err(match sample.is_finite() {
                    true => AudioError::TooLoud { at, value: format!("{sample:e}") },
                    false => AudioError::NotFinite(at),
                });
            }
            mono.clear();
            mono.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32));
            frames += mono.len() as u64;
            check_length(frames, self.rate)?;
            take(&mono)?;
        }
        if frames == 0 && dropped > 0 {
            return Err(AudioError::Damaged("none of it can be decoded".into()));
        }
        self.check_end(frames + dropped)?;
        Ok(frames)
    }

    pub(super) fn decoder(&self) -> Result<Box<dyn AudioDecoder>, AudioError> {
        // The length of an MP3 without such a header is an estimate, by which its end would be cut off.
        let options = AudioDecoderOptions::default().gapless(self.has_delay || !self.is_mp3());
        symphonia::default::get_codecs()
            .make_audio_decoder(&self.parameters, &options)
            .map_err(|e| AudioError::NoTrack(e.to_string()))
    }

    /// The next packet of the track; `None` at the end.
    fn next_packet(&mut self) -> Result<Option<symphonia::core::packet::Packet>, AudioError> {
        loop {
            match self.format.next_packet() {
                Ok(None) => return Ok(None),
                Ok(Some(packet)) if packet.track_id == self.track => {
                    let start = u64::try_from(packet.pts.get()).unwrap_or(0);
                    self.end = self.end.max(start.saturating_add(packet.dur.get()));
                    return Ok(Some(packet));
                }
                Ok(Some(_)) => {}
                // What is missing is counted at the end.
                Err(Fault::IoError(e)) if e.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                Err(Fault::IoError(e)) => return Err(AudioError::Unreadable(e.to_string())),
                Err(Fault::ResetRequired) => {
                    return Err(AudioError::Damaged("another stream follows within the file; cut it apart".into()));
                }
                Err(fault) => return Err(AudioError::Damaged(fault.to_string())),
            }
        }
    }

    fn check_end(&self, found: u64) -> Result<(), AudioError> {
        match self.frames {
            // What cannot be read in the middle is passed over.
            Some(declared) if self.is_exact() && found < declared && self.end >= declared => {
                Err(AudioError::Damaged(format!("{} of its {declared} samples cannot be read", declared - found)))
            }
            Some(declared) if self.is_exact() && found < declared => Err(AudioError::Truncated { declared, found }),
            _ if found == 0 => Err(AudioError::NoSamples),
            _ => Ok(()),
        }
    }
}
