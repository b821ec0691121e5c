//! NIST SPHERE, in which TIMIT, WSJ and Switchboard come: a header of lines `NAME -TYPE VALUE`, padded to the length that its
//! second line says, and then the samples (NIST, SPHERE 2.7, `header.doc`).

use super::{AudioError, Encoding, Layout, Medium, integers, unreadable};
use std::io::{BufReader, Read, Seek, SeekFrom};

/// The longest header that is read, in bytes. LDC's have 1024.
const LONGEST_HEADER: u64 = 1 << 16;

pub(super) fn is(beginning: &[u8]) -> bool {
    beginning.starts_with(b"NIST_1A\n")
}

/// Of a file of `size` bytes.
pub(super) fn layout(file: &mut BufReader<Medium>, size: u64) -> Result<Layout, AudioError> {
    let (header, start) = header(file)?;
    let fields = Fields(&header);
    // TIMIT's headers do not name the coding.
    let coding = fields.text("sample_coding").unwrap_or("pcm");
    let channels = fields.number("channel_count")?.unwrap_or(1);
    let kind = coding.split(',').next().unwrap_or_default();
    let is_compressed = coding.contains(',') || super::at::<4>(file, start)? == Some(*b"ajkg");
    if is_compressed {
        return Err(AudioError::shortened(coding));
    }
    let encoding = match kind {
        "pcm" => {
            let bytes = fields.number("sample_n_bytes")?.unwrap_or(2);
            if !(1..=4).contains(&bytes) {
                return Err(AudioError::Header(format!("its samples have {bytes} bytes, and 1 to 4 are read")));
            }
            integers(8 * bytes as u32, is_big(fields.text("sample_byte_format"))?)?
        }
        "ulaw" | "mu-law" | "mulaw" => Encoding::MuLaw,
        "alaw" | "a-law" => Encoding::ALaw,
        _ => return Err(AudioError::foreign(format!("NIST SPHERE of coding `{}`", coding.escape_debug()))),
    };
    if channels > 1 && fields.text("channels_interleaved").is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        return Err(AudioError::foreign("NIST SPHERE with one channel after the other".into()));
    }
    let rate = fields.number("sample_rate")?.ok_or_else(|| AudioError::Header("it has no `sample_rate`".into()))?;
    let channels = usize::try_from(channels).unwrap_or(usize::MAX);
    let frame = encoding.bytes().saturating_mul(channels.max(1)) as u64;
    // A program that writes into a pipe cannot know the number.
    let frames = fields.number("sample_count")?.filter(|count| *count > 0 || size < start + frame);
    Ok(Layout { encoding, channels, rate: u32::try_from(rate).unwrap_or(u32::MAX), start, frames })
}

/// Whether the highest byte of a sample comes first. All readers take the lowest first where a header does not tell.
fn is_big(order: Option<&str>) -> Result<bool, AudioError> {
    match order {
        None | Some("1" | "01" | "012" | "0123") => Ok(false),
        Some("10" | "210" | "3210") => Ok(true),
        Some(order) => Err(AudioError::Header(format!(
            "its `sample_byte_format` is `{}`, and 01 and 10 are read",
            order.escape_debug()
        ))),
    }
}

/// The lines of a header, and how many bytes it has with its padding.
fn header(file: &mut BufReader<Medium>) -> Result<(String, u64), AudioError> {
    let length: Option<u64> = super::at::<8>(file, 8)?
        .and_then(|line| std::str::from_utf8(&line).ok().and_then(|line| line.trim().parse().ok()));
    let Some(length) = length.filter(|length| (16..=LONGEST_HEADER).contains(length)) else {
        let wanted = format!("its second line is no number of bytes from 16 to {LONGEST_HEADER}");
        return Err(AudioError::Header(wanted));
    };
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(16)).map_err(unreadable)?;
    file.by_ref().take(length - 16).read_to_end(&mut bytes).map_err(unreadable)?;
    let text = String::from_utf8_lossy(&bytes);
    match text.split_once("end_head") {
        Some((fields, _)) => Ok((fields.to_owned(), length)),
        None => Err(AudioError::Header(format!("no `end_head` stands in the {length} bytes of its header"))),
    }
}

/// The fields of a header.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next() == Some(name)).then(|| words.nth(1)).flatten()
        })
    }

    fn number(&self, name: &str) -> Result<Option<u64>, AudioError> {
        let number = |text: &str| {
            let wrong = || AudioError::Header(format!("its `{name}` is `{}`, and no number", text.escape_debug()));
            text.parse().map_err(|_| wrong())
        };
        self.text(name).map(number).transpose()
    }
}
