//! Parquet's footer: columns, row groups and metadata.
//!
//! Source: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>.

use super::thrift::Thrift;
use crate::Result;
use crate::class_labels;
use crate::column::{Column, ColumnKind, DEEPEST, MOST_COLUMNS};
use crate::error::{damaged, unsupported};
use crate::source::Source;
use std::io::{Read, Seek};

/// How the values of a column are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Physical {
    Boolean,
    Int32,
    Int64,
    Float,
    Double,
    Bytes,
    Fixed(usize),
    Other,
}

/// A column as it is stored.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    pub(crate) physical: Physical,
    pub(crate) unsigned: bool,
    /// The level of a value that is there.
    pub(crate) defined: u16,
}

/// What a footer says.
pub(crate) struct Footer {
    pub(crate) columns: Vec<Column>,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) rows: u64,
    bytes: Vec<u8>,
    /// Where in `bytes` each row group begins.
    groups: Vec<usize>,
}

/// A part of a column: where its pages lie.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chunk {
    pub(crate) codec: i64,
    pub(crate) values: u64,
    pub(crate) start: u64,
    pub(crate) length: u64,
}

#[derive(Default)]
struct Element {
    kind: Option<i64>,
    length: i64,
    repetition: i64,
    name: String,
    children: i64,
    converted: Option<i64>,
    logical: Option<i16>,
}

impl Footer {
    pub(crate) fn read<R: Read + Seek>(source: &mut Source<R>) -> Result<Self> {
        let size = source.size();
        let end = source.bytes(size.saturating_sub(8), 8.min(size))?;
        let Some((length, b"PAR1")) = end.split_at_checked(4) else {
            return Err(damaged("the end of the Parquet file is missing; it may be cut short"));
        };
        let length = u64::from(u32::from_le_bytes([length[0], length[1], length[2], length[3]]));
        let start = size.checked_sub(8 + length).filter(|start| *start >= 4);
        let start = start.ok_or_else(|| damaged(format!("its footer of {length} bytes is longer than the file")))?;
        Self::parse(source.bytes(start, length)?)
    }

    fn parse(bytes: Vec<u8>) -> Result<Self> {
        let (mut elements, mut rows, mut groups, mut metadata) = (Vec::new(), 0, Vec::new(), String::new());
        Thrift::new(&bytes, 0).root(|t, number, kind| {
            match number {
                2 => {
                    let (length, kind) = t.list(kind)?;
                    if length > MOST_COLUMNS {
                        return Err(unsupported(format!("has {length} columns; at most {MOST_COLUMNS} are read")));
                    }
                    for _ in 0..length {
                        elements.push(element(t, kind)?);
                    }
                }
                3 => rows = u64::try_from(t.integer(kind)?).map_err(|_| damaged("its number of rows is negative"))?,
                4 => {
                    let (length, kind) = t.list(kind)?;
                    for _ in 0..length {
                        groups.push(t.at());
                        t.skip_element(kind)?;
                    }
                }
                5 => {
                    let (length, kind) = t.list(kind)?;
                    for _ in 0..length {
                        let (mut key, mut value) = ("", "");
                        t.fields(kind, |t, number, kind| {
                            match number {
                                1 => key = t.text(kind)?,
                                2 => value = t.text(kind)?,
                                _ => return Ok(false),
                            }
                            Ok(true)
                        })?;
                        if key == class_labels::KEY {
                            metadata = value.to_owned();
                        }
                    }
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let (mut columns, mut leaves) = (Vec::new(), Vec::new());
        let classes = class_labels::of(&metadata);
        let mut left = elements.into_iter();
        let root = left.next().ok_or_else(|| damaged("it describes no columns"))?;
        for _ in 0..root.children {
            walk(&mut left, &Place::default(), &mut |column, leaf| {
                columns.push(Column { classes: classes(&column.name), ..column });
                leaves.push(leaf);
            })?;
        }
        Ok(Self { columns, leaves, rows, bytes, groups })
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// The number of rows of a group, and where the columns `chosen` lie, in their order.
    pub(crate) fn group(&self, group: usize, chosen: &[usize]) -> Result<(u64, Vec<Chunk>)> {
        let (mut rows, mut chunks) = (None, vec![None; chosen.len()]);
        Thrift::new(&self.bytes, self.groups[group]).root(|t, number, kind| {
            match number {
                1 => {
                    let (length, kind) = t.list(kind)?;
                    if length != self.leaves.len() {
                        let columns = self.leaves.len();
                        return Err(damaged(format!("row group {group} has {length} columns, not {columns}")));
                    }
                    for position in 0..length {
                        if chosen.contains(&position) {
                            let found = chunk(t, kind)?;
                            let places = chosen.iter().zip(&mut chunks).filter(|(column, _)| **column == position);
                            places.for_each(|(_, place)| *place = Some(found.clone()));
                        } else {
                            t.skip_element(kind)?;
                        }
                    }
                }
                3 => rows = u64::try_from(t.integer(kind)?).ok(),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let chunks = chunks.into_iter().collect::<Option<Vec<_>>>();
        match (rows, chunks) {
            (Some(rows), Some(chunks)) => Ok((rows, chunks)),
            _ => Err(damaged(format!("row group {group} does not say where its columns lie"))),
        }
    }
}

fn element(t: &mut Thrift<'_>, kind: u8) -> Result<Element> {
    let mut element = Element::default();
    t.fields(kind, |t, number, kind| {
        match number {
            1 => element.kind = Some(t.integer(kind)?),
            2 => element.length = t.integer(kind)?,
            3 => element.repetition = t.integer(kind)?,
            4 => element.name = t.text(kind)?.to_owned(),
            5 => element.children = t.integer(kind)?,
            6 => element.converted = Some(t.integer(kind)?),
            // A union: which of its fields is there tells the type. Whether an integer is signed stands in the older
            // field 6 too.
            10 => t.fields(kind, |_, number, _| {
                element.logical = Some(number);
                Ok(false)
            })?,
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(element)
}

fn chunk(t: &mut Thrift<'_>, kind: u8) -> Result<Chunk> {
    let mut chunk = Chunk::default();
    let (mut data, mut dictionary, mut elsewhere, mut described) = (0, None, false, false);
    t.fields(kind, |t, number, kind| {
        match number {
            1 => elsewhere = !t.text(kind)?.is_empty(),
            3 => {
                described = true;
                t.fields(kind, |t, number, kind| {
                    match number {
                        4 => chunk.codec = t.integer(kind)?,
                        5 => chunk.values = t.integer(kind)? as u64,
                        7 => chunk.length = t.integer(kind)? as u64,
                        9 => data = t.integer(kind)? as u64,
                        11 => dictionary = Some(t.integer(kind)? as u64),
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if elsewhere || !described {
        return Err(unsupported("is the index of a table whose columns lie in other files, or are encrypted"));
    }
    // Some writers state 0 where there is no dictionary.
    chunk.start = dictionary.filter(|at| *at > 0).map_or(data, |at| at.min(data));
    Ok(chunk)
}

#[derive(Default)]
struct Place {
    name: String,
    depth: usize,
    defined: u16,
    repeated: bool,
}

fn walk(left: &mut impl Iterator<Item = Element>, above: &Place, found: &mut impl FnMut(Column, Leaf)) -> Result<()> {
    let element = left.next().ok_or_else(|| damaged("it describes fewer columns than it says"))?;
    if above.depth == DEEPEST {
        return Err(unsupported(format!("has columns within columns more than {DEEPEST} deep")));
    }
    let name = if above.name.is_empty() { element.name.clone() } else { format!("{}.{}", above.name, element.name) };
    let place = Place {
        name,
        depth: above.depth + 1,
        defined: above.defined + u16::from(element.repetition != 0),
        repeated: above.repeated || element.repetition == 2,
    };
    if element.children > 0 {
        for _ in 0..element.children {
            walk(left, &place, found)?;
        }
        return Ok(());
    }
    let (physical, kind) = kind(&element);
    let kind = if place.repeated { ColumnKind::Other("lists".into()) } else { kind };
    let unsigned = matches!(element.converted, Some(11..=14));
    found(Column { name: place.name, kind, classes: None }, Leaf { physical, unsigned, defined: place.defined });
    Ok(())
}

fn kind(element: &Element) -> (Physical, ColumnKind) {
    let other = |what: &str| ColumnKind::Other(what.to_owned());
    // UTF8, ENUM and JSON; by the older and the newer name.
    let text = matches!(element.converted, Some(0 | 4 | 19)) || matches!(element.logical, Some(1 | 4 | 12));
    let decimal = element.converted == Some(5) || element.logical == Some(5);
    match element.kind {
        _ if decimal => (Physical::Other, other("decimals")),
        Some(0) => (Physical::Boolean, ColumnKind::Boolean),
        Some(1) => (Physical::Int32, ColumnKind::Integer),
        Some(2) => (Physical::Int64, ColumnKind::Integer),
        Some(4) => (Physical::Float, ColumnKind::Float),
        Some(5) => (Physical::Double, ColumnKind::Float),
        Some(6) if text => (Physical::Bytes, ColumnKind::Text),
        Some(6) => (Physical::Bytes, ColumnKind::Bytes),
        Some(7) => match usize::try_from(element.length) {
            Ok(length @ 1..) => (Physical::Fixed(length), ColumnKind::Bytes),
            _ => (Physical::Other, other("cells without a length")),
        },
        Some(3) => (Physical::Other, other("times of 96 bits")),
        _ => (Physical::Other, other("cells of an unknown type")),
    }
}
