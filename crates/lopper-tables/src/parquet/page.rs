//! The pages of one column in one row group, read one at a time.

use super::codec::decompress;
use super::footer::{Chunk, Leaf, Physical};
use super::hybrid::Hybrid;
use super::thrift::{FALSE, Thrift};
use super::values::{Dictionary, Values};
use crate::cells::{Cells, MOST_BYTES};
use crate::column::ColumnKind;
use crate::error::{damaged, unsupported};
use crate::source::Source;
use crate::{Result, TableError};
use std::io::{Read, Seek};

/// Bytes that are read for a header at first, and at most: statistics stand in it.
const HEADER: u64 = 4 << 10;
const LONGEST_HEADER: u64 = 16 << 20;

/// A place among the values of a column.
pub(crate) struct Pages {
    leaf: Leaf,
    codec: i64,
    /// Where the next page begins.
    next: u64,
    /// Values of the pages that are still to be read.
    left: u64,
    dictionary: Option<Dictionary>,
    page: Vec<u8>,
    /// Values left in the page.
    in_page: u64,
    levels: Option<Hybrid>,
    values: Values,
}

#[derive(Default)]
struct Header {
    kind: i64,
    size: i64,
    compressed: i64,
    checksum: Option<i64>,
    values: i64,
    encoding: i64,
    level_encoding: i64,
    levels: i64,
    repetitions: i64,
    raw: bool,
    length: u64,
}

impl Pages {
    pub(crate) fn new(leaf: Leaf, chunk: &Chunk) -> Self {
        Self {
            leaf,
            codec: chunk.codec,
            next: chunk.start,
            left: chunk.values,
            dictionary: None,
            page: Vec::new(),
            in_page: 0,
            levels: None,
            values: Values::Plain(0),
        }
    }

    /// Adds the next cell to `cells`.
    pub(crate) fn cell<R: Read + Seek>(&mut self, source: &mut Source<R>, cells: &mut Cells) -> Result<()> {
        while self.in_page == 0 {
            self.load(source)?;
        }
        self.in_page -= 1;
        if let Some(levels) = &mut self.levels {
            let level = levels.next(&self.page)?;
            if level > u32::from(self.leaf.defined) {
                return Err(damaged(format!("a page has the level {level}, of {}", self.leaf.defined)));
            }
            if level < u32::from(self.leaf.defined) {
                cells.push_null();
                return Ok(());
            }
        }
        self.values.push(&self.page, &self.leaf, self.dictionary.as_ref(), cells)
    }

    /// Passes over so many cells of a column of `kind`. Of a page that holds nothing else only the header is read.
    pub(crate) fn pass<R: Read + Seek>(
        &mut self,
        source: &mut Source<R>,
        mut cells: u64,
        kind: &ColumnKind,
    ) -> Result<()> {
        let mut passed = kind.cells()?;
        while cells > 0 {
            if self.in_page > 0 {
                self.cell(source, &mut passed)?;
                cells -= 1;
                if passed.weight() > MOST_BYTES {
                    passed = kind.cells()?;
                }
                continue;
            }
            let header = self.header(source)?;
            let (values, size) = (u64::try_from(header.values), u64::try_from(header.compressed));
            match (header.kind, values, size) {
                (0 | 3, Ok(values), Ok(size)) if values <= cells.min(self.left) => {
                    self.next = self.next.saturating_add(header.length).saturating_add(size);
                    (cells, self.left) = (cells - values, self.left - values);
                }
                _ => self.load(source)?,
            }
        }
        Ok(())
    }

    /// Reads the next page, whichever kind it has.
    fn load<R: Read + Seek>(&mut self, source: &mut Source<R>) -> Result<()> {
        if self.left == 0 {
            return Err(damaged("a column has fewer values than rows"));
        }
        let header = self.header(source)?;
        let (size, compressed) = (u64::try_from(header.size), u64::try_from(header.compressed));
        let (Ok(size), Ok(compressed)) = (size, compressed) else { return Err(damaged("a page has a negative size")) };
        let bytes = source.bytes(self.next + header.length, compressed)?;
        self.next += header.length + compressed;
        if let Some(checksum) = header.checksum
            && crc32fast::hash(&bytes) != checksum as u32
        {
            return Err(damaged("the checksum of a page is wrong"));
        }
        match header.kind {
            0 => {
                let page = decompress(self.codec, bytes, size)?;
                self.begin(&header, page, None)
            }
            3 => {
                let levels = u64::try_from(header.levels).ok().filter(|levels| *levels <= size.min(compressed));
                let (Some(levels), 0) = (levels, header.repetitions) else {
                    return Err(damaged("a page has levels beyond its end"));
                };
                let mut page = bytes;
                let rest = page.split_off(levels as usize);
                let codec = if header.raw { 0 } else { self.codec };
                page.extend(decompress(codec, rest, size - levels)?);
                self.begin(&header, page, Some(levels as usize))
            }
            2 => {
                if !matches!(header.encoding, 0 | 2) || self.dictionary.is_some() {
                    return Err(damaged("a column has two dictionaries, or one of an unknown encoding"));
                }
                let page = decompress(self.codec, bytes, size)?;
                self.dictionary = Some(Dictionary::read(page, header.values, self.leaf.physical)?);
                Ok(())
            }
            // Indices, and what may come later.
            _ => Ok(()),
        }
    }

    /// Goes to the first value of a page. `levels` is where the levels end that stand before it, in the newer kind of page.
    fn begin(&mut self, header: &Header, page: Vec<u8>, levels: Option<usize>) -> Result<()> {
        let values = u64::try_from(header.values).ok().filter(|values| *values <= self.left);
        let values = values.ok_or_else(|| damaged("a page has more values than its column"))?;
        let width = u16::BITS - self.leaf.defined.leading_zeros();
        let mut at = levels.unwrap_or(0);
        self.levels = match (width, levels) {
            (0, _) => None,
            (_, Some(end)) => Some(Hybrid::new(width, 0, end)?),
            (_, None) if header.level_encoding != 3 => {
                return Err(unsupported("has levels in the encoding BIT_PACKED, which is not read"));
            }
            (_, None) => {
                let length = page.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
                let end = length.and_then(|length| length.checked_add(4)).filter(|end| *end <= page.len());
                at = end.ok_or_else(|| damaged("a page has levels beyond its end"))?;
                Some(Hybrid::new(width, 4, at)?)
            }
        };
        self.values = Values::new(&page, at, header.encoding, &self.leaf)?;
        self.page = page;
        (self.in_page, self.left) = (values, self.left - values);
        Ok(())
    }

    fn header<R: Read + Seek>(&self, source: &mut Source<R>) -> Result<Header> {
        let left = source.size().saturating_sub(self.next);
        let mut length = HEADER.min(left);
        loop {
            let bytes = source.bytes(self.next, length)?;
            match header(&bytes) {
                Err(TableError::Damaged(_)) if length < left.min(LONGEST_HEADER) => {
                    length = (length * 16).min(left).min(LONGEST_HEADER);
                }
                header => return header,
            }
        }
    }
}

fn header(bytes: &[u8]) -> Result<Header> {
    let mut found = Header::default();
    let mut thrift = Thrift::new(bytes, 0);
    thrift.root(|t, number, kind| {
        match number {
            1 => found.kind = t.integer(kind)?,
            2 => found.size = t.integer(kind)?,
            3 => found.compressed = t.integer(kind)?,
            4 => found.checksum = Some(t.integer(kind)?),
            5 => t.fields(kind, |t, number, kind| {
                match number {
                    1 => found.values = t.integer(kind)?,
                    2 => found.encoding = t.integer(kind)?,
                    3 => found.level_encoding = t.integer(kind)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            7 => t.fields(kind, |t, number, kind| {
                match number {
                    1 => found.values = t.integer(kind)?,
                    2 => found.encoding = t.integer(kind)?,
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            8 => t.fields(kind, |t, number, kind| {
                match number {
                    1 => found.values = t.integer(kind)?,
                    4 => found.encoding = t.integer(kind)?,
                    5 => found.levels = t.integer(kind)?,
                    6 => found.repetitions = t.integer(kind)?,
                    7 => {
                        found.raw = kind == FALSE;
                        return Ok(false);
                    }
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    found.length = thrift.at() as u64;
    Ok(found)
}

impl Leaf {
    /// Bytes of a value in the encoding PLAIN, where all have as many.
    pub(crate) fn width(&self) -> Option<usize> {
        match self.physical {
            Physical::Int32 | Physical::Float => Some(4),
            Physical::Int64 | Physical::Double => Some(8),
            Physical::Fixed(length) => Some(length),
            Physical::Boolean | Physical::Bytes | Physical::Other => None,
        }
    }
}
