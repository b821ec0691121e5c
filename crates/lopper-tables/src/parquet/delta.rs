//! Parquet's DELTA_BINARY_PACKED: integers as differences, packed in small blocks.

use super::hybrid::{bits, unsigned};
use crate::Result;
use crate::error::damaged;

/// Integers read one after the other.
pub(crate) struct Deltas {
    at: usize,
    block: u64,
    miniblocks: u64,
    left: u64,
    last: i64,
    /// Whether the first, which stands in the header, is still to be read.
    first: bool,
    smallest: i64,
    /// The widths of the miniblocks that follow in this block.
    widths: Vec<u8>,
    /// In the miniblock at hand: how many are left, the bit of the next one, and its width.
    mini: (u64, u64, u32),
}

fn signed(page: &[u8], at: &mut usize) -> Result<i64> {
    let value = unsigned(page, at)?;
    Ok((value >> 1) as i64 ^ -((value & 1) as i64))
}

impl Deltas {
    pub(crate) fn new(page: &[u8], mut at: usize) -> Result<Self> {
        let (block, miniblocks) = (unsigned(page, &mut at)?, unsigned(page, &mut at)?);
        let (left, last) = (unsigned(page, &mut at)?, signed(page, &mut at)?);
        let whole = miniblocks > 0 && block % miniblocks == 0 && (block / miniblocks).is_multiple_of(8);
        if !whole || block == 0 || block > 1 << 16 {
            return Err(damaged(format!("a page has blocks of {block} numbers in {miniblocks} parts")));
        }
        let (widths, mini) = (Vec::new(), (0, 0, 0));
        Ok(Self { at, block, miniblocks, left, last, first: true, smallest: 0, widths, mini })
    }

    pub(crate) fn next(&mut self, page: &[u8]) -> Result<i64> {
        self.left = self.left.checked_sub(1).ok_or_else(|| damaged("a page holds fewer numbers than it says"))?;
        if std::mem::take(&mut self.first) {
            return Ok(self.last);
        }
        if self.mini.0 == 0 {
            self.miniblock(page)?;
        }
        let (left, at, width) = self.mini;
        let delta = bits(page, at, width).ok_or_else(|| damaged("a page ends early"))?;
        self.mini = (left - 1, at + u64::from(width), width);
        self.last = self.last.wrapping_add(self.smallest).wrapping_add(delta as i64);
        Ok(self.last)
    }

    fn miniblock(&mut self, page: &[u8]) -> Result<()> {
        if self.widths.is_empty() {
            self.smallest = signed(page, &mut self.at)?;
            let widths = page.get(self.at..).and_then(|left| left.get(..self.miniblocks as usize));
            let widths = widths.ok_or_else(|| damaged("a page ends early"))?;
            self.at += widths.len();
            self.widths = widths.iter().rev().copied().collect();
        }
        let width = u32::from(self.widths.pop().unwrap_or_default());
        if width > 64 {
            return Err(damaged(format!("a page has numbers of {width} bits")));
        }
        let count = self.block / self.miniblocks;
        self.mini = (count, self.at as u64 * 8, width);
        self.at += (count * u64::from(width) / 8) as usize;
        Ok(())
    }

    /// Where the bytes after the last integer begin, whatever was read before.
    pub(crate) fn end(mut self, page: &[u8]) -> Result<usize> {
        if std::mem::take(&mut self.first) {
            self.left = self.left.saturating_sub(1);
        }
        self.left = self.left.saturating_sub(self.mini.0);
        while self.left > 0 {
            self.miniblock(page)?;
            self.left = self.left.saturating_sub(self.mini.0);
        }
        Ok(self.at)
    }
}
