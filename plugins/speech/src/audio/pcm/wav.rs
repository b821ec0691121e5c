//! WAV: RIFF, its big-endian kin RIFX, and RF64 and BW64 for files beyond 4 GiB (EBU Tech 3306, ITU-R BS.2088).

use super::chunks::Chunks;
use super::{AudioError, Encoding, Layout, Medium, floats, integers};
use std::io::BufReader;

/// From here on a length that a file does not have is a program's that wrote into a pipe and could not know it: SoX writes
/// 0x7FFFF000, others 0x7FFFFFFF, 0x80000000 or 0xFFFFFFFF.
const OPEN: u64 = 0x7fff_0000;
/// What a sub-format's identifier ends with (Microsoft's `ksmedia.h`), for all but ambisonic recordings.
const WAVEFORMATEX: [u8; 12] = [0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// The same for ambisonic ones.
const AMBISONIC: [u8; 12] = [0x21, 7, 0xd3, 0x11, 0x86, 0x44, 0xc8, 0xc1, 0xca, 0, 0, 0];

pub(super) fn is(beginning: &[u8]) -> bool {
    let known = [b"RIFF", b"RIFX", b"RF64", b"BW64"];
    beginning.len() >= 12 && &beginning[8..12] == b"WAVE" && known.iter().any(|name| beginning.starts_with(*name))
}

/// Of a file of `size` bytes. The length that RIFF's own chunk claims is not looked at: it says nothing that is needed, and
/// programs leave it 0 or at any other number.
pub(super) fn layout(file: &mut BufReader<Medium>, size: u64) -> Result<Layout, AudioError> {
    let big = super::at::<4>(file, 0)? == Some(*b"RIFX");
    let mut chunks = Chunks::new(file, big);
    let (mut format, mut long) = (None, None);
    loop {
        let Some(chunk) = chunks.next()? else {
            return Err(AudioError::Header("it has no `data` chunk".into()));
        };
        match &chunk.name {
            b"ds64" => {
                let [.., a, b, c, d, e, f, g, h] = chunks.content::<16>(chunk)?;
                long = Some(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
            }
            b"fmt " if chunk.length >= 16 => format = Some(Format::of(chunks.content(chunk)?, chunk.length, big)),
            b"fmt " => return Err(AudioError::Header("its `fmt ` chunk is shorter than 16 bytes".into())),
            b"data" => {
                let Some(format) = format else {
                    return Err(AudioError::Header("its `data` chunk comes before any `fmt ` chunk".into()));
                };
                let there = size.saturating_sub(chunk.start);
                let length = match long {
                    Some(long) if chunk.length == u32::MAX => long,
                    _ => chunk.length.into(),
                };
                let is_open = match length {
                    0 => there > 0 && !chunks.fill(chunk.start, size)?,
                    _ => length >= OPEN && length > there,
                };
                let encoding = format.encoding()?;
                let channels = usize::from(format.channels);
                let frame = (encoding.bytes() * channels.max(1)) as u64;
                let frames = (!is_open).then_some(length / frame);
                return Ok(Layout { encoding, channels, rate: format.rate, start: chunk.start, frames });
            }
            _ => {}
        }
    }
}

/// The `fmt ` chunk: WAVEFORMATEX, or WAVEFORMATEXTENSIBLE.
struct Format {
    /// The codec; of WAVE_FORMAT_EXTENSIBLE that of the sub-format, `None` if it is not numbered.
    codec: Option<u16>,
    channels: u16,
    rate: u32,
    block: u16,
    bits: u16,
    big: bool,
}

impl Format {
    fn of(bytes: [u8; 40], length: u32, big: bool) -> Self {
        let short = |place: usize| {
            let bytes = [bytes[place], bytes[place + 1]];
            if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let rate = [bytes[4], bytes[5], bytes[6], bytes[7]];
        let tail = &bytes[28..];
        let codec = match short(0) {
            0xfffe if length >= 40 && !big && (tail == WAVEFORMATEX || tail == AMBISONIC) => Some(short(24)),
            // No program is known that writes it into RIFX.
            0xfffe => None,
            codec => Some(codec),
        };
        let rate = if big { u32::from_be_bytes(rate) } else { u32::from_le_bytes(rate) };
        Self { codec, channels: short(2), rate, block: short(12), bits: short(14), big }
    }

    fn encoding(&self) -> Result<Encoding, AudioError> {
        let bits = u32::from(self.bits);
        match self.codec {
            Some(1) => {
                let encoding = match bits {
                    1..=8 => Encoding::Unsigned,
                    _ => integers(bits, self.big)?,
                };
                let (bytes, channels) = (encoding.bytes(), usize::from(self.channels));
                // Smaller blocks cannot be true, and none are written by some programs.
                if usize::from(self.block) > bytes * channels && channels > 0 {
                    return Err(AudioError::Block { bits, bytes: usize::from(self.block) / channels });
                }
                Ok(encoding)
            }
            Some(3) => floats(bits, self.big),
            Some(6) => Ok(Encoding::ALaw),
            Some(7) => Ok(Encoding::MuLaw),
            codec => Err(AudioError::foreign(format!("WAV of {}", name(codec)))),
        }
    }
}

/// The codec, as its documentation calls it (RFC 2361).
fn name(codec: Option<u16>) -> String {
    let known = match codec {
        Some(0x02) => "Microsoft ADPCM",
        Some(0x11) => "IMA ADPCM",
        Some(0x31) => "GSM 6.10",
        Some(0x40 | 0x45) => "G.721 or G.726 ADPCM",
        Some(0x50) => "MPEG layer 2",
        Some(0x55) => "MP3",
        Some(0xff | 0x1600 | 0x1602 | 0x1610) => "AAC",
        Some(0x160..=0x163) => "Windows Media Audio",
        Some(0x2000) => "AC-3",
        Some(codec) => return format!("codec {codec:#06x}"),
        None => "an unknown sub-format",
    };
    known.into()
}
