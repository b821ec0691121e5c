//! Arrow's schema: columns, and how many buffers each one has in a batch.
//!
//! Source: <https://github.com/apache/arrow/blob/main/format/Schema.fbs>.

use super::flatbuffer::Flat;
use crate::Result;
use crate::class_labels;
use crate::column::{Column, ColumnKind, DEEPEST, MOST_COLUMNS};
use crate::error::{damaged, unsupported};

/// Bytes of a column's name, at most.
const LONGEST_NAME: usize = 1000;

/// How the cells of a column are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Null,
    Boolean,
    /// Bytes, and whether there is a sign.
    Integer(u8, bool),
    /// Bytes.
    Float(u8),
    /// Bytes of an offset.
    Offsets(u8),
    Views,
    Other,
}

/// A column as a batch stores it.
#[derive(Debug, Clone)]
pub(crate) struct Leaf {
    /// The nodes that tell which cells are null: of its structures, then its own.
    pub(crate) nodes: Vec<usize>,
    /// The buffers with the bits of those nodes.
    pub(crate) validity: Vec<Buffer>,
    /// Its first buffer after that.
    pub(crate) first: Buffer,
    /// Of the cells; of a dictionary's values where `dictionary` says which.
    pub(crate) storage: Storage,
    /// The dictionary of its values, and how the places in it are stored.
    pub(crate) dictionary: Option<(i64, Storage)>,
}

/// A buffer's number: counted, and as many more as the columns of views before it have buffers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Buffer {
    pub(crate) counted: usize,
    pub(crate) views_before: usize,
}

/// What a schema says.
#[derive(Default)]
pub(crate) struct Schema {
    pub(crate) columns: Vec<Column>,
    pub(crate) leaves: Vec<Leaf>,
    nodes: usize,
    next: Buffer,
    fields: usize,
}

#[derive(Clone, Default)]
struct Above {
    name: String,
    depth: usize,
    nodes: Vec<usize>,
    validity: Vec<Buffer>,
    /// Within something whose rows are not the table's: what it is.
    within: Option<&'static str>,
}

impl Schema {
    pub(crate) fn read(table: Flat<'_>) -> Result<Self> {
        if table.short(0, 0)? != 0 {
            return Err(unsupported("has big-endian numbers, which are not read"));
        }
        let mut metadata = String::new();
        if let Some(entries) = table.vector(2, 4)? {
            for index in 0..entries.length.min(MOST_COLUMNS) {
                let entry = entries.table(index)?;
                if entry.text(0)? == Some(class_labels::KEY) {
                    metadata = entry.text(1)?.unwrap_or_default().to_owned();
                    break;
                }
            }
        }
        let mut schema = Self::default();
        if let Some(fields) = table.vector(1, 4)? {
            for index in 0..fields.length {
                schema.field(fields.table(index)?, &Above::default())?;
            }
        }
        let classes = class_labels::of(&metadata);
        schema.columns.iter_mut().for_each(|column| column.classes = classes(&column.name));
        Ok(schema)
    }

    fn buffers(&mut self, count: usize) {
        self.next.counted += count;
    }

    fn field(&mut self, field: Flat<'_>, above: &Above) -> Result<()> {
        self.fields += 1;
        if above.depth == DEEPEST || self.fields > MOST_COLUMNS {
            return Err(unsupported(format!("has more than {MOST_COLUMNS} columns, or columns {DEEPEST} deep")));
        }
        let kind = field.byte(2, 0)?;
        let own = field.text(0)?.unwrap_or_default();
        // Many columns may share the bytes of one name.
        if own.len() > LONGEST_NAME {
            return Err(unsupported(format!(
                "has a column's name of {} bytes; at most {LONGEST_NAME} are read",
                own.len()
            )));
        }
        let name = if above.name.is_empty() { own.to_owned() } else { format!("{}.{own}", above.name) };
        let mut nodes = above.nodes.clone();
        nodes.push(self.nodes);
        self.nodes += 1;
        let mut validity = above.validity.clone();
        let dictionary = field.table(4)?;
        if dictionary.is_some() || !matches!(kind, 1 | 14 | 22) {
            validity.push(self.next);
            self.buffers(1);
        }
        let first = self.next;
        let integer = |table: Option<Flat<'_>>| -> Result<Storage> {
            let Some(table) = table else { return Ok(Storage::Integer(4, true)) };
            let (bits, signed) = (table.int(0, 0)?, table.byte(1, 0)? != 0);
            match bits {
                8 | 16 | 32 | 64 => Ok(Storage::Integer((bits / 8) as u8, signed)),
                _ => Err(damaged(format!("a column has integers of {bits} bits"))),
            }
        };
        let (storage, column, children) = match kind {
            1 => (Storage::Null, ColumnKind::Text, None),
            2 => (integer(field.table(3)?)?, ColumnKind::Integer, None),
            3 => match field.table(3)?.map_or(Ok(0), |table| table.short(0, 0))? {
                1 => (Storage::Float(4), ColumnKind::Float, None),
                2 => (Storage::Float(8), ColumnKind::Float, None),
                _ => (Storage::Other, ColumnKind::Other("numbers of half precision".into()), None),
            },
            4 => (Storage::Offsets(4), ColumnKind::Bytes, None),
            5 => (Storage::Offsets(4), ColumnKind::Text, None),
            6 => (Storage::Boolean, ColumnKind::Boolean, None),
            19 => (Storage::Offsets(8), ColumnKind::Bytes, None),
            20 => (Storage::Offsets(8), ColumnKind::Text, None),
            23 => (Storage::Views, ColumnKind::Bytes, None),
            24 => (Storage::Views, ColumnKind::Text, None),
            12 | 21 => (Storage::Other, ColumnKind::Other("lists".into()), Some((1, "lists"))),
            25 | 26 => (Storage::Other, ColumnKind::Other("lists".into()), Some((2, "lists"))),
            16 => (Storage::Other, ColumnKind::Other("lists".into()), Some((0, "lists"))),
            17 => (Storage::Other, ColumnKind::Other("maps".into()), Some((1, "maps"))),
            22 => (Storage::Other, ColumnKind::Other("runs".into()), Some((0, "runs"))),
            // The types of a union's cells, and their places where it is dense.
            14 => {
                let dense = field.table(3)?.map_or(Ok(0), |table| table.short(0, 0))? == 1;
                (Storage::Other, ColumnKind::Other("unions".into()), Some((1 + usize::from(dense), "unions")))
            }
            13 => (Storage::Other, ColumnKind::Other("structures".into()), Some((0, ""))),
            7..=11 | 15 | 18 => (Storage::Other, ColumnKind::Other("times, decimals or fixed bytes".into()), None),
            _ => return Err(unsupported(format!("column `{name}` is of type {kind}, which is not read"))),
        };
        let column = match above.within {
            Some(what) => ColumnKind::Other(what.to_owned()),
            None => column,
        };
        if let Some(encoding) = dictionary {
            let indices = integer(encoding.table(1)?)?;
            let column = if children.is_some() { ColumnKind::Other("a dictionary of columns".into()) } else { column };
            self.buffers(1);
            let dictionary = Some((encoding.long(0, 0)?, indices));
            self.columns.push(Column { name, kind: column, classes: None });
            self.leaves.push(Leaf { nodes, validity, first, storage, dictionary });
            return Ok(());
        }
        if let Some((buffers, what)) = children {
            self.buffers(buffers);
            let within = above.within.or((!what.is_empty()).then_some(what));
            let place = Above { name: name.clone(), depth: above.depth + 1, nodes, validity, within };
            let children = field.vector(5, 4)?;
            let length = children.map_or(0, |children| children.length);
            for index in 0..length {
                if let Some(children) = children {
                    self.field(children.table(index)?, &place)?;
                }
            }
            return Ok(());
        }
        match storage {
            Storage::Null => {}
            Storage::Offsets(_) => self.buffers(2),
            Storage::Views => {
                self.buffers(1);
                self.next.views_before += 1;
            }
            _ => self.buffers(1),
        }
        self.columns.push(Column { name, kind: column, classes: None });
        self.leaves.push(Leaf { nodes, validity, first, storage, dictionary: None });
        Ok(())
    }
}
