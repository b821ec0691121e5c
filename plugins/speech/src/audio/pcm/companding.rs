//! ITU-T Recommendation G.711: eight bits for about thirteen, as numbers of sixteen.

/// The number that a byte of µ-law stands for (G.711, table 2; 14 bits, times 4).
pub(super) fn mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let size = (((i16::from(byte & 0x0f) << 3) + 0x84) << ((byte >> 4) & 7)) - 0x84;
    if byte & 0x80 == 0 { size } else { -size }
}

/// The number that a byte of A-law stands for (G.711, table 1; 13 bits, times 8).
pub(super) fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    let step = i16::from(byte & 0x0f) << 4;
    let size = match (byte >> 4) & 7 {
        0 => step + 8,
        segment => (step + 0x108) << (segment - 1),
    };
    if byte & 0x80 == 0 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_the_tables() {
        // As `soundfile` and ffmpeg give them.
        assert_eq!([0x00, 0x7f, 0x80, 0xff].map(mu_law), [-32_124, 0, 32_124, 0]);
        assert_eq!([0x2a, 0x55, 0xd5, 0xaa].map(a_law), [-32_256, -8, 8, 32_256]);
    }
}
