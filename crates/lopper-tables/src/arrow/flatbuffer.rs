//! FlatBuffers, as far as Arrow's messages need them. Every place is checked before it is read.
//!
//! Source: <https://flatbuffers.dev/internals/>.

use crate::Result;
use crate::error::damaged;

/// A table in a buffer: where it begins, and its list of fields.
#[derive(Clone, Copy)]
pub(crate) struct Flat<'a> {
    bytes: &'a [u8],
    at: usize,
    fields: usize,
    /// Bytes of the list of fields.
    length: usize,
}

/// A vector in a buffer.
#[derive(Clone, Copy)]
pub(crate) struct Vector<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Number of elements.
    pub(crate) length: usize,
}

fn outside() -> crate::TableError {
    damaged("a header of Arrow names a place outside of it")
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    bytes.get(at..).and_then(|left| left.first_chunk::<N>()).copied().ok_or_else(outside)
}

/// The place that an offset at `at` leads to.
fn follow(bytes: &[u8], at: usize) -> Result<usize> {
    let offset = u32::from_le_bytes(part(bytes, at)?) as usize;
    at.checked_add(offset).filter(|to| *to < bytes.len()).ok_or_else(outside)
}

impl<'a> Flat<'a> {
    /// The table that a buffer begins with.
    pub(crate) fn root(bytes: &'a [u8]) -> Result<Self> {
        Self::at(bytes, follow(bytes, 0)?)
    }

    fn at(bytes: &'a [u8], at: usize) -> Result<Self> {
        let back = i64::from(i32::from_le_bytes(part(bytes, at)?));
        let fields = usize::try_from(at as i64 - back).map_err(|_| outside())?;
        let length = usize::from(u16::from_le_bytes(part(bytes, fields)?));
        Ok(Self { bytes, at, fields, length })
    }

    /// Where a field lies; `None` where it is absent.
    fn field(&self, number: usize) -> Result<Option<usize>> {
        let entry = 4 + 2 * number;
        if entry + 2 > self.length {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(part(self.bytes, self.fields + entry)?));
        Ok((offset > 0).then_some(self.at + offset))
    }

    pub(crate) fn byte(&self, number: usize, absent: u8) -> Result<u8> {
        self.field(number)?.map_or(Ok(absent), |at| part::<1>(self.bytes, at).map(|[byte]| byte))
    }

    pub(crate) fn short(&self, number: usize, absent: i16) -> Result<i16> {
        self.field(number)?.map_or(Ok(absent), |at| Ok(i16::from_le_bytes(part(self.bytes, at)?)))
    }

    pub(crate) fn int(&self, number: usize, absent: i32) -> Result<i32> {
        self.field(number)?.map_or(Ok(absent), |at| Ok(i32::from_le_bytes(part(self.bytes, at)?)))
    }

    pub(crate) fn long(&self, number: usize, absent: i64) -> Result<i64> {
        self.field(number)?.map_or(Ok(absent), |at| Ok(i64::from_le_bytes(part(self.bytes, at)?)))
    }

    pub(crate) fn table(&self, number: usize) -> Result<Option<Flat<'a>>> {
        let at = self.field(number)?.map(|at| follow(self.bytes, at)).transpose()?;
        at.map(|at| Self::at(self.bytes, at)).transpose()
    }

    pub(crate) fn text(&self, number: usize) -> Result<Option<&'a str>> {
        let Some(vector) = self.vector(number, 1)? else { return Ok(None) };
        let bytes = &self.bytes[vector.at..vector.at + vector.length];
        std::str::from_utf8(bytes).map(Some).map_err(|_| damaged("a name in a header of Arrow is not UTF-8"))
    }

    /// A vector of elements of `width` bytes each; those of tables have 4.
    pub(crate) fn vector(&self, number: usize, width: usize) -> Result<Option<Vector<'a>>> {
        let Some(at) = self.field(number)?.map(|at| follow(self.bytes, at)).transpose()? else { return Ok(None) };
        let length = u32::from_le_bytes(part(self.bytes, at)?) as usize;
        let end = length.checked_mul(width).and_then(|size| size.checked_add(at + 4));
        end.filter(|end| *end <= self.bytes.len()).ok_or_else(outside)?;
        Ok(Some(Vector { bytes: self.bytes, at: at + 4, length }))
    }
}

impl<'a> Vector<'a> {
    /// A table of a vector of tables.
    pub(crate) fn table(&self, index: usize) -> Result<Flat<'a>> {
        Flat::at(self.bytes, follow(self.bytes, self.at + 4 * index)?)
    }

    /// A pair of long integers of a vector of such.
    pub(crate) fn pair(&self, index: usize) -> Result<(i64, i64)> {
        let at = self.at + 16 * index;
        Ok((i64::from_le_bytes(part(self.bytes, at)?), i64::from_le_bytes(part(self.bytes, at + 8)?)))
    }

    /// A long integer of a vector of such.
    pub(crate) fn long(&self, index: usize) -> Result<i64> {
        Ok(i64::from_le_bytes(part(self.bytes, self.at + 8 * index)?))
    }
}
