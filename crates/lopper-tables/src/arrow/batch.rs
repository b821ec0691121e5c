//! A record batch, read some rows at a time.

use super::flatbuffer::{Flat, Vector};
use super::schema::{Buffer, Leaf, Storage};
use crate::Result;
use crate::cells::{Cells, MOST_BYTES, Value};
use crate::column::ColumnKind;
use crate::error::{damaged, unsupported};
use crate::source::Source;
use std::collections::HashMap;
use std::io::{Read, Seek};

/// A batch, and the next of its rows.
pub(crate) struct OpenBatch {
    rows: u64,
    row: u64,
    columns: Vec<OpenColumn>,
}

struct OpenColumn {
    kind: ColumnKind,
    /// A bit a row each; empty where nothing is null.
    validity: Vec<Vec<u8>>,
    cells: Stored,
}

/// Cells as the file stores them.
enum Stored {
    Null,
    Bits(Vec<u8>),
    Integers(Vec<u8>, u8, bool),
    Floats(Vec<u8>, u8),
    /// Offsets of so many bytes, and where the file has the bytes that they lead to.
    Offsets(Vec<u8>, u8, (u64, u64)),
    /// Views, and the buffers that they lead to.
    Views(Vec<u8>, Vec<(u64, u64)>),
    /// Places in a dictionary.
    Indices(Vec<u8>, u8, bool, i64),
}

impl Leaf {
    /// The column of its dictionary's values, in a batch of these alone.
    pub(super) fn of_values(&self) -> Self {
        let (validity, first) = match self.storage {
            Storage::Null => (Vec::new(), Buffer::default()),
            _ => (vec![Buffer::default()], Buffer { counted: 1, views_before: 0 }),
        };
        Self { nodes: vec![0], validity, first, storage: self.storage, dictionary: None }
    }
}

/// What a batch says about its buffers.
struct Layout<'a> {
    rows: u64,
    body: (u64, u64),
    nodes: Option<Vector<'a>>,
    buffers: Option<Vector<'a>>,
    variadic: Option<Vector<'a>>,
}

impl Layout<'_> {
    /// The place in the file of the buffer of that number, and of the `further`th after it.
    fn buffer(&self, number: Buffer, further: usize) -> Result<(u64, u64)> {
        let mut index = number.counted + further;
        for column in 0..number.views_before {
            index = index.saturating_add(self.views(column)?);
        }
        let buffers = self.buffers.filter(|buffers| index < buffers.length);
        let (offset, length) = buffers.ok_or_else(|| damaged("a batch has too few buffers"))?.pair(index)?;
        let (offset, length) = (u64::try_from(offset).ok(), u64::try_from(length).ok());
        let inside = offset
            .zip(length)
            .filter(|(offset, length)| offset.checked_add(*length).is_some_and(|end| end <= self.body.1));
        let (offset, length) = inside.ok_or_else(|| damaged("a buffer lies beyond its batch"))?;
        Ok((self.body.0 + offset, length))
    }

    /// The number of buffers that the views of a column lead to.
    fn views(&self, column: usize) -> Result<usize> {
        let counts = self.variadic.filter(|counts| column < counts.length);
        let count = counts.ok_or_else(|| damaged("a batch does not say how many buffers its views have"))?;
        usize::try_from(count.long(column)?).map_err(|_| damaged("a batch has a negative number of buffers"))
    }

    /// A buffer with `width` bits a row at least, and so many rows more.
    fn read<R: Read + Seek>(&self, source: &Source<R>, number: Buffer, bits: u64, more: u64) -> Result<Vec<u8>> {
        let (start, length) = self.buffer(number, 0)?;
        let needed = self.rows.checked_add(more).and_then(|rows| rows.checked_mul(bits)).map(|bits| bits.div_ceil(8));
        match needed {
            _ if self.rows == 0 => Ok(Vec::new()),
            Some(needed) if needed <= length => source.bytes(start, needed),
            _ => Err(damaged(format!("a buffer of {length} bytes is too short for {} rows", self.rows))),
        }
    }
}

impl OpenBatch {
    pub(super) fn open<R: Read + Seek>(
        source: &Source<R>,
        table: Flat<'_>,
        body: (u64, u64),
        columns: Vec<(Leaf, ColumnKind)>,
    ) -> Result<Self> {
        if table.table(3)?.is_some() {
            return Err(unsupported(
                "has compressed buffers, which are not read; write it without compression, or as Parquet",
            ));
        }
        let rows = u64::try_from(table.long(0, 0)?).map_err(|_| damaged("a batch has a negative number of rows"))?;
        let layout = Layout {
            rows,
            body,
            nodes: table.vector(1, 16)?,
            buffers: table.vector(2, 16)?,
            variadic: table.vector(4, 8)?,
        };
        let columns = columns.into_iter().map(|(leaf, kind)| OpenColumn::open(source, &layout, &leaf, kind));
        Ok(Self { rows, row: 0, columns: columns.collect::<Result<_>>()? })
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Goes to one of its rows; false where it has none of that number.
    pub(super) fn go(&mut self, row: u64) -> bool {
        self.row = row.min(self.rows);
        row < self.rows
    }

    /// The next rows, at most `most`, and how many they are; `None` after the last.
    pub(super) fn next<R: Read + Seek>(
        &mut self,
        source: &Source<R>,
        dictionaries: &HashMap<i64, Cells>,
        most: usize,
    ) -> Result<Option<(usize, Vec<Cells>)>> {
        let (start, mut end, mut weight) = (self.row, self.row, 0);
        while end < self.rows && end - start < most as u64 && weight < MOST_BYTES as u64 {
            for column in &self.columns {
                weight = weight.saturating_add(column.weight(end as usize, dictionaries)?);
            }
            end += 1;
        }
        if start == end {
            return Ok(None);
        }
        self.row = end;
        let (start, end) = (start as usize, end as usize);
        let columns = self.columns.iter().map(|column| column.cells(source, start, end, dictionaries));
        Ok(Some((end - start, columns.collect::<Result<_>>()?)))
    }
}

/// The number at `index` among numbers of `width` bytes; 0 beyond the last, which `Layout::read` rules out.
fn number(bytes: &[u8], index: usize, width: u8, signed: bool) -> i64 {
    let width = usize::from(width);
    let Some(bytes) = bytes.get(index * width..(index + 1) * width) else { return 0 };
    let mut long = [if signed && bytes.last().is_some_and(|byte| *byte > 127) { 255 } else { 0 }; 8];
    long[..width].copy_from_slice(bytes);
    i64::from_le_bytes(long)
}

impl OpenColumn {
    fn open<R: Read + Seek>(source: &Source<R>, layout: &Layout<'_>, leaf: &Leaf, kind: ColumnKind) -> Result<Self> {
        let mut validity = Vec::new();
        for node in &leaf.nodes {
            let nodes = layout.nodes.filter(|nodes| *node < nodes.length);
            let (rows, _) = nodes.ok_or_else(|| damaged("a batch has too few columns"))?.pair(*node)?;
            if u64::try_from(rows) != Ok(layout.rows) {
                return Err(damaged(format!("a column has {rows} rows in a batch of {}", layout.rows)));
            }
        }
        for buffer in &leaf.validity {
            // Where nothing is null the bits may be left out.
            if layout.buffer(*buffer, 0)?.1 > 0 {
                validity.push(layout.read(source, *buffer, 1, 0)?);
            }
        }
        let first = leaf.first;
        let after = Buffer { counted: first.counted + 1, ..first };
        let storage = match leaf.dictionary {
            Some((id, Storage::Integer(width, signed))) => {
                let indices = layout.read(source, first, 8 * u64::from(width), 0)?;
                return Ok(Self { kind, validity, cells: Stored::Indices(indices, width, signed, id) });
            }
            Some(_) => Storage::Other,
            None => leaf.storage,
        };
        let cells = match storage {
            Storage::Null => Stored::Null,
            Storage::Boolean => Stored::Bits(layout.read(source, first, 1, 0)?),
            Storage::Integer(width, signed) => {
                Stored::Integers(layout.read(source, first, 8 * u64::from(width), 0)?, width, signed)
            }
            Storage::Float(width) => Stored::Floats(layout.read(source, first, 8 * u64::from(width), 0)?, width),
            Storage::Offsets(width) => {
                let offsets = layout.read(source, first, 8 * u64::from(width), 1)?;
                Stored::Offsets(offsets, width, layout.buffer(after, 0)?)
            }
            Storage::Views => {
                let views = layout.read(source, first, 128, 0)?;
                let count = layout.views(first.views_before)?;
                // Every buffer has its place in the header, so no more are asked for than it has bytes.
                let buffers = (0..count).map(|buffer| layout.buffer(after, buffer)).collect::<Result<_>>()?;
                Stored::Views(views, buffers)
            }
            Storage::Other => return Err(damaged("a column's places in a dictionary are no integers")),
        };
        Ok(Self { kind, validity, cells })
    }

    fn is_null(&self, row: usize) -> bool {
        let null = |bits: &Vec<u8>| bits.get(row / 8).is_none_or(|byte| byte >> (row % 8) & 1 == 0);
        matches!(self.cells, Stored::Null) || self.validity.iter().any(null)
    }

    /// Bytes of texts or bytes in a cell.
    fn weight(&self, row: usize, dictionaries: &HashMap<i64, Cells>) -> Result<u64> {
        match &self.cells {
            Stored::Offsets(offsets, width, _) => span(offsets, *width, row, row + 1).map(|(_, length)| length),
            Stored::Views(views, _) => Ok(number(views, 4 * row, 4, false) as u64),
            Stored::Indices(..) if self.is_null(row) => Ok(0),
            Stored::Indices(..) => Ok(match self.in_dictionary(row, dictionaries)? {
                Value::Text(text) => text.len() as u64,
                Value::Bytes(bytes) => bytes.len() as u64,
                _ => 0,
            }),
            _ => Ok(0),
        }
    }

    fn in_dictionary<'a>(&self, row: usize, dictionaries: &'a HashMap<i64, Cells>) -> Result<Value<'a>> {
        let Stored::Indices(indices, width, signed, id) = &self.cells else { return Ok(Value::Null) };
        let index = number(indices, row, *width, *signed);
        let place = dictionaries.get(id).zip(usize::try_from(index).ok()).filter(|(cells, index)| *index < cells.len());
        place
            .map(|(cells, index)| cells.get(index))
            .ok_or_else(|| damaged(format!("a dictionary has no value {index}")))
    }

    fn cells<R: Read + Seek>(
        &self,
        source: &Source<R>,
        start: usize,
        end: usize,
        dictionaries: &HashMap<i64, Cells>,
    ) -> Result<Cells> {
        let mut cells = self.kind.cells()?;
        // All bytes of these rows lie together.
        let (bytes, first) = match &self.cells {
            Stored::Offsets(offsets, width, (place, size)) => {
                let (offset, length) = span(offsets, *width, start, end)?;
                if offset.checked_add(length).is_none_or(|end| end > *size) {
                    return Err(damaged("a text lies beyond its buffer"));
                }
                (source.bytes(place + offset, length)?, offset)
            }
            _ => (Vec::new(), 0),
        };
        for row in start..end {
            if self.is_null(row) {
                cells.push_null();
                continue;
            }
            match &self.cells {
                Stored::Null => cells.push_null(),
                Stored::Bits(bits) => cells.push_boolean(bits[row / 8] >> (row % 8) & 1 == 1)?,
                Stored::Integers(integers, width, signed) => {
                    let value = number(integers, row, *width, *signed);
                    if !signed && value < 0 {
                        return Err(unsupported(format!("holds the number {}", value as u64)));
                    }
                    cells.push_integer(value)?;
                }
                Stored::Floats(floats, 4) => {
                    let bits = number(floats, row, 4, false) as u32;
                    cells.push_float(f64::from(f32::from_bits(bits)))?;
                }
                Stored::Floats(floats, _) => cells.push_float(f64::from_bits(number(floats, row, 8, false) as u64))?,
                Stored::Offsets(offsets, width, _) => {
                    let (offset, length) = span(offsets, *width, row, row + 1)?;
                    let at = offset.checked_sub(first).and_then(|at| usize::try_from(at).ok());
                    let text = at.and_then(|at| bytes.get(at..)).and_then(|left| left.get(..length as usize));
                    cells.push_bytes(text.ok_or_else(|| damaged("texts lie out of order"))?)?;
                }
                Stored::Views(views, buffers) => {
                    let length = number(views, 4 * row, 4, false) as u64;
                    if length <= 12 {
                        cells.push_bytes(&views[16 * row + 4..][..length as usize])?;
                        continue;
                    }
                    let place = buffers.get(number(views, 4 * row + 2, 4, false) as usize);
                    let offset = number(views, 4 * row + 3, 4, false) as u64;
                    let (start, _) = place
                        .filter(|(_, size)| offset + length <= *size)
                        .ok_or_else(|| damaged("a text lies beyond its buffer"))?;
                    cells.push_bytes(&source.bytes(start + offset, length)?)?;
                }
                Stored::Indices(..) => cells.push(self.in_dictionary(row, dictionaries)?)?,
            }
        }
        Ok(cells)
    }
}

/// Where the bytes of the rows from `start` to before `end` begin, and how many they are.
fn span(offsets: &[u8], width: u8, start: usize, end: usize) -> Result<(u64, u64)> {
    let (start, end) = (number(offsets, start, width, true), number(offsets, end, width, true));
    let place = u64::try_from(start).ok().zip(end.checked_sub(start).and_then(|length| u64::try_from(length).ok()));
    place.ok_or_else(|| damaged("texts lie out of order"))
}
