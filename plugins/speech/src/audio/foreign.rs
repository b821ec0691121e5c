//! Formats that are not read, by their first bytes, so that each is refused by its name.

use super::AudioError;

/// What a file begins with, from which byte on, and what it is then.
const FORMATS: [(usize, &[u8], &str); 26] = [
    (4, b"ftypM4A ", "M4A"),
    (4, b"ftypM4B ", "M4B"),
    (4, b"ftypqt  ", "a QuickTime movie"),
    (4, b"ftyp3g", "3GP"),
    (4, b"ftyp", "MP4"),
    (4, b"moov", "a QuickTime movie"),
    (0, b"\x1a\x45\xdf\xa3", "WebM or Matroska"),
    (0, b"riff\x2e\x91\xcf\x11", "Wave64"),
    (8, b"AVI ", "AVI"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media Audio or another ASF file"),
    (0, b"#!AMR-WB", "AMR-WB"),
    (0, b"#!AMR", "AMR"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"wvpk", "WavPack"),
    (0, b"TTA1", "True Audio"),
    (0, b"ajkg", "shorten"),
    (0, b"MPCK", "Musepack"),
    (0, b"MP+", "Musepack"),
    (0, b"DSD ", "DSF"),
    (0, b"FRM8", "DSDIFF"),
    (0, b"Creative Voice File", "VOC"),
    (8, b"8SVX", "8SVX"),
    (8, b"16SV", "16SV"),
    (0, b"FLV\x01", "Flash Video"),
    (0, b"\0\0\x01\xba", "an MPEG programme stream"),
    (28, b"Speex   ", "Ogg Speex"),
];

/// Bytes of a file that [`refuse`] looks at: as many as a frame of AAC may have, and the header of the next.
pub(super) const LOOK: u64 = 8191 + 8;

/// Refuses a file that begins like this, if it is of a format that is known and not read.
///
/// # Errors
/// [`AudioError::Foreign`] with the format's name and the command that converts it; [`AudioError::NotAudio`] for what takes the
/// place of a recording that was not fetched.
pub(super) fn refuse(beginning: &[u8]) -> Result<(), AudioError> {
    for (place, magic, name) in FORMATS {
        if beginning.get(place..).is_some_and(|rest| rest.starts_with(magic)) {
            return Err(AudioError::foreign(name.into()));
        }
    }
    if beginning.starts_with(b"version https://git-lfs") {
        return Err(AudioError::NotAudio("it is a pointer of Git LFS; `git lfs pull` fetches the recording".into()));
    }
    let second = adts_frame(beginning).and_then(|length| beginning.get(length..)).and_then(adts_frame);
    if second.is_some() { Err(AudioError::foreign("AAC (ADTS)".into())) } else { Ok(()) }
}

/// What a file that nothing could be made of may be, as far as its first bytes tell: signs too weak to refuse one before.
pub(super) fn guess(beginning: &[u8]) -> Option<AudioError> {
    let name = match *beginning {
        [0xff, second, ..] if second & 0xe6 == 0xe4 => "MPEG audio layer 2",
        [0xff, second, ..] if second & 0xe6 == 0xe6 => "MPEG audio layer 1",
        [0x0b, 0x77, ..] => "AC-3",
        _ => return None,
    };
    Some(AudioError::foreign(name.into()))
}

/// The length of the frame of AAC that these bytes begin with (ISO/IEC 13818-7, section 6.2). As in MP3 the sync word comes
/// first, and then a layer, which is none here.
fn adts_frame(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [0xff, second, _, a, b, c, ..] if second & 0xf6 == 0xf0 => {
            let length = usize::from(a & 3) << 11 | usize::from(b) << 3 | usize::from(c) >> 5;
            (length >= 7).then_some(length)
        }
        _ => None,
    }
}
