//! The values of a page, by their encoding.
//!
//! Source: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.

use super::delta::Deltas;
use super::footer::{Leaf, Physical};
use super::hybrid::{Hybrid, bits};
use crate::Result;
use crate::cells::Cells;
use crate::error::{damaged, unsupported};

/// A place among the values of a page.
pub(crate) enum Values {
    /// As they are, from this byte on.
    Plain(usize),
    /// Booleans of one bit, from this bit on.
    Bits(u64),
    /// Booleans in runs.
    Runs(Hybrid),
    /// Places in the dictionary.
    Indices(Hybrid),
    /// Integers as differences.
    Deltas(Deltas),
    /// Texts one after the other from this byte on, their lengths before them.
    Lengths(Deltas, usize),
    /// Texts that begin like the one before: how much of it, how long the rest is, where that lies, and the one before.
    Prefixes(Deltas, Deltas, usize, Vec<u8>),
    /// The first bytes of all values, the second bytes of all, …: where they begin, how many values, and the next one.
    Split(usize, usize, usize),
}

/// The dictionary of a column: a page, and where in it each value lies.
pub(crate) struct Dictionary {
    page: Vec<u8>,
    places: Vec<(usize, usize)>,
}

fn cut() -> crate::TableError {
    damaged("a page ends early")
}

/// A text with its length before it, at `at`; goes past it.
fn text(page: &[u8], at: &mut usize) -> Result<(usize, usize)> {
    let length = page.get(*at..).and_then(|left| left.first_chunk::<4>()).ok_or_else(cut)?;
    let start = *at + 4;
    let end = start.checked_add(u32::from_le_bytes(*length) as usize).filter(|end| *end <= page.len());
    *at = end.ok_or_else(cut)?;
    Ok((start, *at))
}

fn slice<'a>(page: &'a [u8], at: &mut usize, length: usize) -> Result<&'a [u8]> {
    let end = at.checked_add(length).ok_or_else(cut)?;
    let found = page.get(*at..end).ok_or_else(cut)?;
    *at = end;
    Ok(found)
}

impl Dictionary {
    pub(crate) fn read(page: Vec<u8>, values: i64, physical: Physical) -> Result<Self> {
        let leaf = Leaf { physical, unsigned: false, defined: 0 };
        let (mut places, mut at) = (Vec::new(), 0);
        for _ in 0..values.max(0) {
            places.push(match leaf.width() {
                Some(width) => {
                    slice(&page, &mut at, width)?;
                    (at - width, at)
                }
                None if physical == Physical::Bytes => text(&page, &mut at)?,
                None => return Err(damaged("a column of booleans has a dictionary")),
            });
        }
        Ok(Self { page, places })
    }
}

impl Values {
    pub(crate) fn new(page: &[u8], at: usize, encoding: i64, leaf: &Leaf) -> Result<Self> {
        let bytes = leaf.physical == Physical::Bytes;
        let integers = matches!(leaf.physical, Physical::Int32 | Physical::Int64);
        Ok(match encoding {
            0 if leaf.physical == Physical::Boolean => Self::Bits(at as u64 * 8),
            0 => Self::Plain(at),
            // A page whose values are all null may have nothing here.
            2 | 8 => match page.get(at) {
                Some(width) => Self::Indices(Hybrid::new(u32::from(*width), at + 1, page.len())?),
                None => Self::Plain(at),
            },
            3 if leaf.physical == Physical::Boolean => {
                // Its length stands before it.
                Self::Runs(Hybrid::new(1, at.saturating_add(4), page.len())?)
            }
            5..=7 if at == page.len() => Self::Plain(at),
            5 if integers => Self::Deltas(Deltas::new(page, at)?),
            6 if bytes => {
                let start = Deltas::new(page, at)?.end(page)?;
                Self::Lengths(Deltas::new(page, at)?, start)
            }
            7 if bytes => {
                let suffixes = Deltas::new(page, at)?.end(page)?;
                let start = Deltas::new(page, suffixes)?.end(page)?;
                Self::Prefixes(Deltas::new(page, at)?, Deltas::new(page, suffixes)?, start, Vec::new())
            }
            9 if leaf.width().is_some() => {
                let width = leaf.width().unwrap_or(1);
                let length = page.len().saturating_sub(at);
                if !length.is_multiple_of(width) {
                    return Err(cut());
                }
                Self::Split(at, length / width, 0)
            }
            other => return Err(unsupported(format!("has a column in the encoding {other}, which is not read"))),
        })
    }

    /// Adds the next value to `cells`.
    pub(crate) fn push(
        &mut self,
        page: &[u8],
        leaf: &Leaf,
        dictionary: Option<&Dictionary>,
        cells: &mut Cells,
    ) -> Result<()> {
        let count = |n: i64| usize::try_from(n).map_err(|_| damaged("a text has a negative length"));
        match self {
            Self::Plain(at) => match leaf.width() {
                Some(width) => push(slice(page, at, width)?, leaf, cells),
                None => {
                    let (start, end) = text(page, at)?;
                    push(&page[start..end], leaf, cells)
                }
            },
            Self::Bits(at) => {
                let bit = bits(page, *at, 1).ok_or_else(cut)?;
                *at += 1;
                cells.push_boolean(bit == 1)
            }
            Self::Runs(runs) => cells.push_boolean(runs.next(page)? == 1),
            Self::Indices(indices) => {
                let index = indices.next(page)? as usize;
                let dictionary = dictionary.ok_or_else(|| damaged("a column's dictionary is missing"))?;
                let (start, end) = *dictionary
                    .places
                    .get(index)
                    .ok_or_else(|| damaged(format!("a column's dictionary has no value {index}")))?;
                push(&dictionary.page[start..end], leaf, cells)
            }
            Self::Deltas(deltas) => {
                let value = deltas.next(page)?;
                cells.push_integer(integer(value, leaf)?)
            }
            Self::Lengths(lengths, at) => {
                let length = count(lengths.next(page)?)?;
                push(slice(page, at, length)?, leaf, cells)
            }
            Self::Prefixes(prefixes, suffixes, at, last) => {
                let (prefix, suffix) = (count(prefixes.next(page)?)?, count(suffixes.next(page)?)?);
                if prefix > last.len() {
                    return Err(damaged("a text begins like more than the one before"));
                }
                last.truncate(prefix);
                last.extend_from_slice(slice(page, at, suffix)?);
                push(last, leaf, cells)
            }
            Self::Split(start, values, next) => {
                let width = leaf.width().unwrap_or(1);
                if next == values {
                    return Err(cut());
                }
                let value: Vec<u8> = (0..width).map(|byte| page[*start + byte * *values + *next]).collect();
                *next += 1;
                push(&value, leaf, cells)
            }
        }
    }
}

/// An integer as it is meant: stored with a sign, it may have none.
fn integer(value: i64, leaf: &Leaf) -> Result<i64> {
    match (leaf.physical, leaf.unsigned) {
        (Physical::Int32, true) => Ok(i64::from(value as u32)),
        (Physical::Int64, true) if value < 0 => Err(unsupported(format!("holds the number {}", value as u64))),
        // Differences may wrap around.
        (Physical::Int32, false) => Ok(i64::from(value as i32)),
        _ => Ok(value),
    }
}

/// Adds a value whose bytes are those of the encoding PLAIN.
fn push(bytes: &[u8], leaf: &Leaf, cells: &mut Cells) -> Result<()> {
    match (leaf.physical, bytes.first_chunk::<4>(), bytes.first_chunk::<8>()) {
        (Physical::Int32, Some(bytes), _) => cells.push_integer(integer(i64::from(i32::from_le_bytes(*bytes)), leaf)?),
        (Physical::Int64, _, Some(bytes)) => cells.push_integer(integer(i64::from_le_bytes(*bytes), leaf)?),
        (Physical::Float, Some(bytes), _) => cells.push_float(f64::from(f32::from_le_bytes(*bytes))),
        (Physical::Double, _, Some(bytes)) => cells.push_float(f64::from_le_bytes(*bytes)),
        (Physical::Bytes | Physical::Fixed(_), ..) => cells.push_bytes(bytes),
        _ => Err(cut()),
    }
}
