//! Thrift's compact protocol, as far as Parquet's headers need it: fields are visited, and what is not asked for is skipped.
//!
//! Source: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.

use crate::Result;
use crate::error::damaged;

/// Structures within structures, at most.
const DEEPEST: u32 = 32;

/// The types of fields that are looked at.
pub(crate) const TRUE: u8 = 1;
pub(crate) const FALSE: u8 = 2;
const BYTE: u8 = 3;
const I16: u8 = 4;
const I32: u8 = 5;
const I64: u8 = 6;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const MAP: u8 = 11;
const STRUCT: u8 = 12;

/// Bytes that are read from the front.
#[derive(Clone)]
pub(crate) struct Thrift<'a> {
    all: &'a [u8],
    at: usize,
}

/// That the bytes end within a value.
fn cut() -> crate::TableError {
    damaged("a header ends early")
}

impl<'a> Thrift<'a> {
    pub(crate) fn new(all: &'a [u8], at: usize) -> Self {
        Self { all, at }
    }

    /// How far it has come.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8> {
        let byte = *self.all.get(self.at).ok_or_else(cut)?;
        self.at += 1;
        Ok(byte)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(length).filter(|end| *end <= self.all.len()).ok_or_else(cut)?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn unsigned(&mut self) -> Result<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("a number in a header is too long"))
    }

    /// A number, of a field of that type.
    pub(crate) fn integer(&mut self, kind: u8) -> Result<i64> {
        match kind {
            BYTE => Ok(i64::from(self.byte()? as i8)),
            I16 | I32 | I64 => {
                let value = self.unsigned()?;
                Ok((value >> 1) as i64 ^ -((value & 1) as i64))
            }
            _ => Err(damaged("a number was expected in a header")),
        }
    }

    /// A text, of a field of that type.
    pub(crate) fn text(&mut self, kind: u8) -> Result<&'a str> {
        if kind != BINARY {
            return Err(damaged("a text was expected in a header"));
        }
        let length = self.unsigned()?;
        let bytes = self.take(usize::try_from(length).map_err(|_| cut())?)?;
        std::str::from_utf8(bytes).map_err(|_| damaged("a name in a header is not UTF-8"))
    }

    /// The length of a list and the type of what is in it. Everything in a list takes a byte at least.
    pub(crate) fn list(&mut self, kind: u8) -> Result<(usize, u8)> {
        if kind != LIST && kind != SET {
            return Err(damaged("a list was expected in a header"));
        }
        let head = self.byte()?;
        let length = match head >> 4 {
            15 => self.unsigned()?,
            short => u64::from(short),
        };
        let left = (self.all.len() - self.at) as u64;
        if length > left {
            return Err(cut());
        }
        Ok((length as usize, head & 15))
    }

    /// Calls `field` with the number and the type of every field of a structure; it returns whether it has read the field,
    /// which is skipped otherwise.
    pub(crate) fn fields(&mut self, kind: u8, mut field: impl FnMut(&mut Self, i16, u8) -> Result<bool>) -> Result<()> {
        if kind != STRUCT {
            return Err(damaged("a structure was expected in a header"));
        }
        let mut number = 0i16;
        loop {
            let head = self.byte()?;
            if head == 0 {
                return Ok(());
            }
            number = match head >> 4 {
                0 => i16::try_from(self.integer(I16)?).map_err(|_| damaged("a field in a header has no number"))?,
                step => number.checked_add(i16::from(step)).ok_or_else(|| damaged("too many fields in a header"))?,
            };
            let kind = head & 15;
            if !field(self, number, kind)? {
                self.skip(kind, 0)?;
            }
        }
    }

    /// The fields of a structure that stands by itself.
    pub(crate) fn root(&mut self, field: impl FnMut(&mut Self, i16, u8) -> Result<bool>) -> Result<()> {
        self.fields(STRUCT, field)
    }

    /// Passes over a value that stands in a list, where a boolean takes a byte.
    pub(crate) fn skip_element(&mut self, kind: u8) -> Result<()> {
        self.element(kind, 0)
    }

    fn element(&mut self, kind: u8, depth: u32) -> Result<()> {
        if matches!(kind, TRUE | FALSE) { self.byte().map(|_| ()) } else { self.skip(kind, depth) }
    }

    fn skip(&mut self, kind: u8, depth: u32) -> Result<()> {
        if depth > DEEPEST {
            return Err(damaged("a header is nested too deeply"));
        }
        match kind {
            TRUE | FALSE => {}
            BYTE | I16 | I32 | I64 => {
                self.integer(kind)?;
            }
            DOUBLE => {
                self.take(8)?;
            }
            BINARY => {
                let length = self.unsigned()?;
                self.take(usize::try_from(length).map_err(|_| cut())?)?;
            }
            LIST | SET => {
                let (length, kind) = self.list(kind)?;
                for _ in 0..length {
                    self.element(kind, depth + 1)?;
                }
            }
            MAP => {
                let length = self.unsigned()?;
                if length > (self.all.len() - self.at) as u64 {
                    return Err(cut());
                }
                let kinds = if length > 0 { self.byte()? } else { 0 };
                for _ in 0..length {
                    self.element(kinds >> 4, depth + 1)?;
                    self.element(kinds & 15, depth + 1)?;
                }
            }
            STRUCT => loop {
                let head = self.byte()?;
                if head == 0 {
                    break;
                }
                if head >> 4 == 0 {
                    self.integer(I16)?;
                }
                self.skip(head & 15, depth + 1)?;
            },
            _ => return Err(damaged("a header holds a field of an unknown type")),
        }
        Ok(())
    }
}
