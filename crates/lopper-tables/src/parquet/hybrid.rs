//! Parquet's mixture of runs and packed bits, for levels, indices into a dictionary and booleans.

use crate::Result;
use crate::error::damaged;

/// Numbers of `width` bits in bytes, read one after the other.
pub(crate) struct Hybrid {
    width: u32,
    at: usize,
    end: usize,
    /// A run: how many are left, and of what.
    run: (u64, u32),
    /// Packed numbers: how many are left, and the bit at which the next one begins.
    packed: (u64, u64),
}

fn cut() -> crate::TableError {
    damaged("a page ends early")
}

impl Hybrid {
    /// Over the bytes from `at` to `end` of a page.
    pub(crate) fn new(width: u32, at: usize, end: usize) -> Result<Self> {
        if width > 32 {
            return Err(damaged(format!("a page has numbers of {width} bits")));
        }
        Ok(Self { width, at, end, run: (0, 0), packed: (0, 0) })
    }

    /// The next number; `page` are the bytes it was made for.
    pub(crate) fn next(&mut self, page: &[u8]) -> Result<u32> {
        let page = page.get(..self.end).ok_or_else(cut)?;
        loop {
            if self.run.0 > 0 {
                self.run.0 -= 1;
                return Ok(self.run.1);
            }
            if self.packed.0 > 0 {
                let value = bits(page, self.packed.1, self.width).ok_or_else(cut)?;
                self.packed = (self.packed.0 - 1, self.packed.1 + u64::from(self.width));
                return Ok(value as u32);
            }
            let head = unsigned(page, &mut self.at)?;
            if head & 1 == 1 {
                let groups = head >> 1;
                let length = groups.checked_mul(u64::from(self.width)).and_then(|n| usize::try_from(n).ok());
                // The last group may be cut where its numbers end.
                self.packed = (groups.checked_mul(8).ok_or_else(cut)?, self.at as u64 * 8);
                self.at = length.and_then(|length| self.at.checked_add(length)).ok_or_else(cut)?;
            } else {
                let bytes = self.width.div_ceil(8) as usize;
                let value = page.get(self.at..).and_then(|left| left.get(..bytes)).ok_or_else(cut)?;
                let value = value.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
                self.at += bytes;
                self.run = (head >> 1, value);
            }
            if self.run.0 == 0 && self.packed.0 == 0 {
                return Err(damaged("a page holds an empty run"));
            }
        }
    }
}

/// A number of `width` bits, at most 64, from the bit `at` on, the lowest first.
pub(crate) fn bits(bytes: &[u8], at: u64, width: u32) -> Option<u64> {
    let (mut value, mut got) = (0u64, 0);
    while got < width {
        let place = at + u64::from(got);
        let byte = u64::from(*bytes.get(usize::try_from(place / 8).ok()?)?);
        let offset = (place % 8) as u32;
        let some = (8 - offset).min(width - got);
        value |= ((byte >> offset) & ((1 << some) - 1)) << got;
        got += some;
    }
    Some(value)
}

/// A number in sevens of bits.
pub(crate) fn unsigned(bytes: &[u8], at: &mut usize) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at).ok_or_else(cut)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(damaged("a number in a page is too long"))
}
