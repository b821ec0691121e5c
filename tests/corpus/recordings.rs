//! Recordings whose headers are right up to what is fuzzed, so that an input reaches the readers behind them.

use super::recording;

/// The beginnings of the containers of plain samples.
const BEGINNINGS: [&[u8]; 8] = [
    b"RIFF\0\0\0\0WAVE",
    b"RIFX\0\0\0\0WAVE",
    b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0",
    b"FORM\0\0\0\0AIFF",
    b"FORM\0\0\0\0AIFC",
    b"caff\0\x01\0\0",
    b".snd",
    b"NIST_1A\n    256\n",
];

/// WAV, AIFF, CAF, AU or SPHERE, as the first byte says, with the rest of the input behind its first bytes.
pub(crate) fn plain_samples(bytes: &[u8]) {
    if let Some((kind, rest)) = bytes.split_first() {
        recording(&[BEGINNINGS[usize::from(*kind) % BEGINNINGS.len()], rest].concat());
    }
}

/// The beginning of an MP3 with the tag of its encoder, over which the input is written.
pub(crate) fn mp3_tag(bytes: &[u8]) {
    let mut file = include_bytes!("../../plugins/speech/tests/fixtures/recordings/lame-8k.mp3").to_vec();
    let length = bytes.len().min(file.len());
    file[..length].copy_from_slice(&bytes[..length]);
    recording(&file);
}

/// Opus in Ogg: how long its header is, the granule position of its last page, the header behind `OpusHead`, the packets, each
/// with its length before it.
pub(crate) fn opus(bytes: &[u8]) {
    let [length, a, b, rest @ ..] = bytes else { return };
    let (head, mut rest) = rest.split_at(usize::from(*length).min(rest.len()));
    let head = [b"OpusHead", head].concat();
    let mut file = page(2, 0, 0, &[&head]);
    file.extend(page(0, 0, 1, &[b"OpusTags\0\0\0\0\0\0\0\0"]));
    let mut packets = Vec::new();
    while let Some((length, more)) = rest.split_first().filter(|_| packets.len() < 200) {
        let (packet, more) = more.split_at(usize::from(*length).min(more.len()));
        packets.push(packet);
        rest = more;
    }
    file.extend(page(4, u16::from_le_bytes([*a, *b]).into(), 2, &packets));
    recording(&file);
}

/// A page with whole packets of at most 509 bytes (RFC 3533, section 6).
fn page(flags: u8, granule: u64, number: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut lengths = Vec::new();
    for packet in packets {
        if packet.len() >= 255 {
            lengths.push(255);
        }
        lengths.push((packet.len() % 255) as u8);
    }
    lengths.truncate(255);
    let mut page =
        [b"OggS\0", &[flags][..], &granule.to_le_bytes(), &[7, 0, 0, 0], &number.to_le_bytes(), &[0; 4]].concat();
    page.push(lengths.len() as u8);
    page.extend(lengths);
    page.extend(packets.concat());
    let mut checksum = 0u32;
    for byte in &page {
        checksum ^= u32::from(*byte) << 24;
        for _ in 0..8 {
            checksum = checksum << 1 ^ if checksum >> 31 == 1 { 0x04c1_1db7 } else { 0 };
        }
    }
    page[22..26].copy_from_slice(&checksum.to_le_bytes());
    page
}
