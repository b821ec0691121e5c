//! Opus in Ogg (RFC 7845), decoded at 48 kHz as libopus does.

use super::{AudioError, MOST_CHANNELS};
use opus_pure::{ChannelLayout, MAX_PACKET_SAMPLES, OpusMSDecoder};

/// Samples a second of every Opus stream, whatever it was made from.
pub(super) const RATE: u32 = 48_000;
/// Rates of the input at which libsndfile decodes; it decodes others at 48 kHz.
const SNDFILE: [u32; 4] = [8000, 12_000, 16_000, 24_000];

/// The identification header (RFC 7845, section 5.1).
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) channels: usize,
    /// Samples at the beginning that the encoder has added.
    pub(super) delay: u64,
    /// The rate of what was encoded, if it is one of those at which libsndfile decodes.
    pub(super) input_rate: Option<u32>,
    /// In 256ths of a decibel.
    gain: i16,
    family: u8,
}

impl Head {
    /// Of the first packet of a stream.
    ///
    /// # Errors
    /// It is none; its channels are laid out in another way than Vorbis' (family 1), or are more than are mixed.
    pub(super) fn of(packet: &[u8]) -> Result<Self, AudioError> {
        let [_, _, _, _, _, _, _, _, _, channels, d0, d1, r0, r1, r2, r3, g0, g1, family, rest @ ..] = packet else {
            return Err(AudioError::Header("its Opus header is shorter than 19 bytes".into()));
        };
        let input_rate = u32::from_le_bytes([*r0, *r1, *r2, *r3]);
        let head = Self {
            channels: usize::from(*channels),
            delay: u16::from_le_bytes([*d0, *d1]).into(),
            input_rate: SNDFILE.contains(&input_rate).then_some(input_rate),
            gain: i16::from_le_bytes([*g0, *g1]),
            family: *family,
        };
        if !(1..=MOST_CHANNELS).contains(&head.channels) {
            return Err(AudioError::Channels(head.channels));
        }
        let layout = ChannelLayout::surround(head.channels, head.family).ok();
        let is_usual = |layout: &ChannelLayout| {
            let streams = [layout.nb_streams, layout.nb_coupled_streams].map(|number| number as u8);
            head.family == 0 || rest.strip_prefix(&streams).is_some_and(|rest| rest.starts_with(&layout.mapping))
        };
        if !layout.is_some_and(|layout| is_usual(&layout)) {
            let (channels, family) = (head.channels, head.family);
            return Err(AudioError::foreign(format!("Opus of {channels} channels in mapping family {family}")));
        }
        Ok(head)
    }

    /// # Errors
    /// The library's; none for a head that was accepted.
    pub(super) fn decoder(self) -> Result<Decoder, AudioError> {
        let mut decoder = OpusMSDecoder::new(RATE as i32, self.channels, self.family).map_err(damaged)?;
        // Every player applies it (RFC 7845, section 5.1).
        decoder.streams_mut().iter_mut().for_each(|stream| stream.gain_q8 = self.gain.into());
        Ok(Decoder { decoder, head: self, skip: self.delay, room: vec![0.0; MAX_PACKET_SAMPLES * self.channels] })
    }
}

/// Decodes the packets of a stream, one after the other.
pub(super) struct Decoder {
    decoder: OpusMSDecoder,
    head: Head,
    /// Samples of a channel that are still to be left out.
    skip: u64,
    room: Vec<f32>,
}

impl Decoder {
    /// Replaces `samples` by those of a packet, channels interleaved; `added` are left out at its end, and what the encoder has
    /// added at the beginning of the stream.
    pub(super) fn decode(&mut self, packet: &[u8], added: u64, samples: &mut Vec<f32>) -> Result<(), AudioError> {
        samples.clear();
        if packet.is_empty() {
            // No packet of Opus is (RFC 6716, section 3.4). The decoder would make up for one that was lost on its way, of which the
            // stream's positions know nothing.
            return Ok(());
        }
        let frames = self.decoder.decode(packet, MAX_PACKET_SAMPLES, &mut self.room).map_err(damaged)?;
        let skipped = self.skip.min(frames as u64);
        self.skip -= skipped;
        let end = (frames as u64).saturating_sub(added).max(skipped);
        let channels = self.head.channels;
        samples.extend_from_slice(&self.room[skipped as usize * channels..end as usize * channels]);
        Ok(())
    }
}

fn damaged(e: opus_pure::Error) -> AudioError {
    AudioError::Damaged(e.to_string())
}
