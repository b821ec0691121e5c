//! A compressed file as a stream of packets: FLAC, MP3, and what comes in Ogg.

use super::medium::Medium;
use super::window::Window;
use super::{AudioError, MOST_CHANNELS, RATES, check_length, foreign, opus, tags};
use std::io::ErrorKind;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_FLAC, CODEC_ID_MP3, CODEC_ID_OPUS, CODEC_ID_VORBIS};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error as Fault;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

/// An open file whose header makes sense.
pub(super) struct Packets {
    format: Box<dyn FormatReader>,
    track: u32,
    parameters: AudioCodecParameters,
    /// Of Opus.
    head: Option<opus::Head>,
    /// Whether the header tells which samples an encoder has added.
    has_delay: bool,
    /// Samples a second of the file.
    pub(super) rate: u32,
    /// Samples of a channel, where the header tells.
    pub(super) frames: Option<u64>,
    /// Where the packets that there are end, in samples of a channel.
    end: u64,
    /// Whether what its encoder has added is left out although the checksum of its tag is wrong.
    pub(super) is_mended: bool,
}

/// What makes samples of packets.
enum Decoder {
    Library(Box<dyn AudioDecoder>),
    Opus(Box<opus::Decoder>),
}

impl Packets {
    /// Of a file of `size` bytes, by its content alone: an ending may lie.
    pub(super) fn open(mut file: Medium, size: u64) -> Result<Self, AudioError> {
        let window = |file: &mut Medium| {
            let start = tags::beginning(file)?;
            let beginning = tags::bytes_at(file, start, foreign::LOOK)?;
            // What the libraries make of tags behind MP3 and Ogg is right.
            let end = if beginning.starts_with(b"fLaC") { tags::end(file, size)? } else { size };
            let blank = tags::wrong_checksum(file, start)?;
            std::io::Seek::rewind(file).map(|()| (beginning, end, blank))
        };
        let (beginning, end, blank) = window(&mut file).map_err(|e| AudioError::Unreadable(e.to_string()))?;
        foreign::refuse(&beginning)?;
        // Of a stream that begins with the page that it should begin with. Others are for the library to find.
        if let Some(header) = beginning.get(28..).filter(|header| header.starts_with(b"OpusHead")) {
            opus::Head::of(header)?;
        }
        let guess = |otherwise: AudioError| foreign::guess(&beginning).unwrap_or(otherwise);
        let is_mended = blank.is_some();
        let stream = MediaSourceStream::new(Box::new(Window { file, end, blank, place: 0 }), Default::default());
        let probe = symphonia::default::get_probe();
        let format = probe
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|e| guess(AudioError::NotAudio(e.to_string())))?;
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
        let head = match (&parameters.extra_data, parameters.codec) {
            (Some(packet), CODEC_ID_OPUS) => Some(opus::Head::of(packet)?),
            _ => None,
        };
        let (track, has_delay) = (track.id, track.delay.is_some());
        // The library counts what the encoder has added at the beginning of Opus, and of nothing else.
        let frames =
            track_frames(format.as_ref(), track).map(|frames| frames - head.map_or(0, |head| head.delay.min(frames)));
        check_length(frames.unwrap_or_default(), rate)?;
        Ok(Self { format, track, parameters, head, has_delay, rate, frames, end: 0, is_mended })
    }

    /// Whether the header tells the number of samples exactly, so that fewer mean a truncated file.
    pub(super) fn is_exact(&self) -> bool {
        self.parameters.codec == CODEC_ID_FLAC || (self.is_mp3() && self.has_delay)
    }

    fn is_mp3(&self) -> bool {
        self.parameters.codec == CODEC_ID_MP3
    }

    /// Whether it comes in pages of which one is marked as the last.
    pub(super) fn is_in_ogg(&self) -> bool {
        [CODEC_ID_VORBIS, CODEC_ID_OPUS].contains(&self.parameters.codec)
    }

    /// Of Opus: the rate of what was encoded, if libsndfile decodes at it.
    pub(super) fn input_rate(&self) -> Option<u32> {
        self.head.and_then(|head| head.input_rate)
    }

    /// Samples of a channel in the packets that there are, without decoding them.
    pub(super) fn walk(&mut self) -> Result<u64, AudioError> {
        let delay = self.head.map_or(0, |head| head.delay);
        let mut frames = 0;
        while let Some(packet) = self.next()? {
            frames += packet.dur.get();
            check_length(frames, self.rate)?;
        }
        frames -= delay.min(frames);
        self.check_end(frames)?;
        // Packets of MP3 have what the encoder has added, and the header has not.
        Ok(if self.is_exact() { self.frames.map_or(frames, |declared| frames.min(declared)) } else { frames })
    }

    /// Decodes all packets that end behind the frame `from`, or more, and hands them on piece by piece: the number of the first
    /// frame, channels interleaved, and how many they are. Only packets of FLAC stand for themselves; of the others each changes
    /// what comes after it.
    pub(super) fn decode(
        &mut self,
        from: u64,
        mut take: impl FnMut(u64, &[f32], usize) -> Result<(), AudioError>,
    ) -> Result<(), AudioError> {
        let mut decoder = self.decoder()?;
        let mut interleaved: Vec<f32> = Vec::new();
        let (mut frames, mut dropped) = (0, 0);
        let alone = self.parameters.codec == CODEC_ID_FLAC;
        while let Some(packet) = self.next()? {
            if alone && frames + packet.dur.get() <= from {
                frames += packet.dur.get();
                continue;
            }
            let channels = match &mut decoder {
                Decoder::Opus(decoder) => {
                    decoder.decode(&packet.data, packet.trim_end.get(), &mut interleaved)?;
                    self.head.map_or(1, |head| head.channels)
                }
                Decoder::Library(decoder) => {
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
                    channels
                }
            };
            let first = frames;
            frames += (interleaved.len() / channels) as u64;
            take(first, &interleaved, channels)?;
        }
        if frames == 0 && dropped > 0 {
            return Err(AudioError::Damaged("none of it can be decoded".into()));
        }
        self.check_end(frames + dropped)
    }

    /// Whether there is a decoder for it.
    pub(super) fn check_decoder(&self) -> Result<(), AudioError> {
        self.decoder().map(|_| ())
    }

    fn decoder(&self) -> Result<Decoder, AudioError> {
        if let Some(head) = self.head {
            return Ok(Decoder::Opus(Box::new(head.decoder()?)));
        }
        // The length of an MP3 without such a header is an estimate, by which its end would be cut off.
        let options = AudioDecoderOptions::default().gapless(self.has_delay || !self.is_mp3());
        let decoder = symphonia::default::get_codecs().make_audio_decoder(&self.parameters, &options);
        decoder.map(Decoder::Library).map_err(|e| AudioError::NoTrack(e.to_string()))
    }

    /// The next packet of the track; `None` at the end.
    fn next(&mut self) -> Result<Option<Packet>, AudioError> {
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
                Err(Fault::ResetRequired) => return Err(AudioError::Chained),
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

fn track_frames(format: &dyn FormatReader, id: u32) -> Option<u64> {
    format.tracks().iter().find(|track| track.id == id).and_then(|track| track.num_frames)
}
