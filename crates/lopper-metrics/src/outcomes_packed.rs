//! Outcomes in few bytes: as many bits a class as its ids need.

use crate::{Errors, Outcomes};

const CLASSES: u8 = b'c';
const VALUES: u8 = b'v';
const ERRORS: u8 = b'e';

impl Outcomes {
    /// A few bytes an example: two classes of `2^w` take `w / 4` bytes, two numbers eight, a count of errors below 128 one.
    ///
    /// A letter for the kind and the number of examples; then classes as bits from the lowest up, numbers as IEEE 754, counts as
    /// LEB128; all of it little-endian.
    pub fn to_packed(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self {
            Self::Classes(pairs) => {
                bytes.push(CLASSES);
                number(&mut bytes, pairs.len() as u64);
                let largest = pairs.iter().map(|(p, t)| (*p).max(*t)).max().unwrap_or(0);
                let width = (u32::BITS - largest.leading_zeros()).max(1);
                bytes.push(width as u8);
                let (mut waiting, mut filled) = (0u64, 0);
                for class in pairs.iter().flat_map(|(p, t)| [*p, *t]) {
                    waiting |= u64::from(class) << filled;
                    filled += width;
                    while filled >= 8 {
                        bytes.push(waiting as u8);
                        waiting >>= 8;
                        filled -= 8;
                    }
                }
                if filled > 0 {
                    bytes.push(waiting as u8);
                }
            }
            Self::Values(pairs) => {
                bytes.push(VALUES);
                number(&mut bytes, pairs.len() as u64);
                pairs.iter().for_each(|(p, t)| bytes.extend([p.to_le_bytes(), t.to_le_bytes()].concat()));
            }
            Self::Errors(ways) => {
                bytes.push(ERRORS);
                number(&mut bytes, self.len() as u64);
                number(&mut bytes, ways.len() as u64);
                for way in ways {
                    number(&mut bytes, way.rate.len() as u64);
                    bytes.extend(way.rate.as_bytes());
                    for (errors, symbols) in &way.examples {
                        number(&mut bytes, (*errors).into());
                        number(&mut bytes, (*symbols).into());
                    }
                }
            }
        }
        bytes
    }

    /// Reads what [`to_packed`](Self::to_packed) made. `None` for anything else; memory stays in proportion to the bytes.
    pub fn from_packed(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let kind = take(&mut rest, 1)?[0];
        let examples = usize::try_from(read_number(&mut rest)?).ok()?;
        // No kind takes less than two bits an example.
        if examples > rest.len().checked_mul(4)? {
            return None;
        }
        let read = match kind {
            CLASSES => Self::Classes(classes(&mut rest, examples)?),
            VALUES => {
                let flat = take(&mut rest, examples.checked_mul(8)?)?;
                let float = |at: &[u8]| Some(f32::from_le_bytes(at.try_into().ok()?)).filter(|value| value.is_finite());
                let pairs = flat.chunks_exact(8).map(|pair| Some((float(&pair[..4])?, float(&pair[4..])?)));
                Self::Values(pairs.collect::<Option<_>>()?)
            }
            ERRORS => {
                let ways = read_number(&mut rest)?;
                let mut read = Vec::new();
                for _ in 0..ways {
                    let length = usize::try_from(read_number(&mut rest)?).ok()?;
                    let rate = String::from_utf8(take(&mut rest, length)?.to_vec()).ok()?;
                    let mut count = || u32::try_from(read_number(&mut rest)?).ok();
                    let examples = (0..examples).map(|_| Some((count()?, count()?))).collect::<Option<_>>()?;
                    read.push(Errors { rate, examples });
                }
                Self::Errors(read)
            }
            _ => return None,
        };
        rest.is_empty().then_some(read)
    }
}

fn classes(rest: &mut &[u8], examples: usize) -> Option<Vec<(u32, u32)>> {
    let width = u32::from(take(rest, 1)?[0]);
    if !(1..=u32::BITS).contains(&width) {
        return None;
    }
    let bits = examples.checked_mul(2 * width as usize)?;
    let (mut waiting, mut filled) = (0u64, 0);
    let mut packed = take(rest, bits.div_ceil(8))?.iter();
    let mut class = || {
        while filled < width {
            waiting |= u64::from(*packed.next()?) << filled;
            filled += 8;
        }
        let class = waiting & ((1 << width) - 1);
        waiting >>= width;
        filled -= width;
        Some(class as u32)
    };
    (0..examples).map(|_| Some((class()?, class()?))).collect()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

/// LEB128.
fn number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn read_number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(rest, 1)?[0];
        value |= u64::from(byte & 127).checked_shl(shift)?;
        if byte < 128 {
            return Some(value);
        }
    }
    None
}
