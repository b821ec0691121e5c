//! Parquet files. The crate `parquet` decodes pages; here stands which columns have cells that are read, and where a row is.

use crate::cells::{Cells, MOST_BYTES, MOST_ROWS};
use crate::class_labels;
use crate::column::{Column, ColumnKind, DEEPEST, MOST_COLUMNS};
use crate::error::{damaged, no_row, unsupported};
use crate::source::{Part, Source};
use crate::{Result, TableError};
use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, LogicalType, Type};
use parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use parquet::data_type::{
    AsBytes, BoolType, ByteArrayType, DataType, DoubleType, FixedLenByteArrayType, FloatType, Int32Type, Int64Type,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length, SerializedPageReader};
use parquet::schema::types::ColumnDescriptor;
use std::io::{BufReader, Read, Seek};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Bytes that are read at once where the header of a page is looked for.
const HEADER: usize = 1 << 10;

/// What a file ends with.
const MAGIC: &[u8] = b"PAR1";

/// A file whose footer was read.
pub(crate) struct ParquetTable {
    footer: ParquetMetaData,
    columns: Vec<Column>,
    rows: u64,
}

impl ParquetTable {
    pub(crate) fn open<R: Read + Seek + Send + 'static>(source: &Source<R>) -> Result<Self> {
        // Of a cut file the crate says that its footer is corrupt.
        let end = source.size().saturating_sub(MAGIC.len() as u64);
        if source.bytes(end, source.size() - end)? != MAGIC {
            return Err(damaged("the end of the Parquet file is missing; it may be cut short"));
        }
        let footer = guarded(|| ParquetMetaDataReader::new().parse_and_finish(source).map_err(refused))?;
        let file = footer.file_metadata();
        let leaves = file.schema_descr().columns();
        if leaves.len() > MOST_COLUMNS {
            return Err(unsupported(format!("has {} columns; at most {MOST_COLUMNS} are read", leaves.len())));
        }
        if leaves.iter().any(|leaf| leaf.path().parts().len() > DEEPEST) {
            return Err(unsupported(format!("has columns within columns more than {DEEPEST} deep")));
        }
        let metadata = file.key_value_metadata().into_iter().flatten().find(|entry| entry.key == class_labels::KEY);
        let classes = class_labels::of(metadata.and_then(|entry| entry.value.as_deref()).unwrap_or_default());
        let column = |leaf: &ColumnDescriptor| {
            let name = leaf.path().parts().join(".");
            Column { kind: kind(leaf), classes: classes(&name), name }
        };
        let columns: Vec<_> = leaves.iter().map(|leaf| column(leaf)).collect();
        let rows = u64::try_from(file.num_rows()).map_err(|_| damaged("its number of rows is negative"))?;
        Ok(Self { columns, rows, footer })
    }

    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }
}

/// What the cells of a column are.
fn kind(leaf: &ColumnDescriptor) -> ColumnKind {
    let other = |what: &str| ColumnKind::Other(what.to_owned());
    // By the older and the newer name.
    let (converted, logical) = (leaf.converted_type(), leaf.logical_type_ref());
    let text = matches!(converted, ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON)
        || matches!(logical, Some(LogicalType::String | LogicalType::Enum | LogicalType::Json));
    match leaf.physical_type() {
        _ if leaf.max_rep_level() > 0 => other("lists"),
        _ if converted == ConvertedType::DECIMAL || matches!(logical, Some(LogicalType::Decimal { .. })) => {
            other("decimals")
        }
        _ if matches!(logical, Some(LogicalType::Float16)) => other("numbers of half precision"),
        Type::BOOLEAN => ColumnKind::Boolean,
        Type::INT32 | Type::INT64 => ColumnKind::Integer,
        Type::FLOAT | Type::DOUBLE => ColumnKind::Float,
        Type::BYTE_ARRAY if text => ColumnKind::Text,
        Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY => ColumnKind::Bytes,
        Type::INT96 => other("times of 96 bits"),
    }
}

/// A place among its rows.
pub(crate) struct ParquetReader {
    table: ParquetTable,
    chosen: Vec<usize>,
    /// The row group behind the one at hand.
    group: usize,
    /// Rows of the group at hand that are still to come.
    left: u64,
    open: Vec<OpenColumn>,
    /// Rows that are decoded at a time: as many as keep few bytes.
    step: usize,
    /// Rows before the next one.
    rows: u64,
}

impl ParquetReader {
    pub(crate) fn new(table: ParquetTable, chosen: Vec<usize>) -> Self {
        Self { table, chosen, group: 0, left: 0, open: Vec::new(), step: 1, rows: 0 }
    }

    /// Goes to a row.
    pub(crate) fn seek<R: Read + Seek + Send + 'static>(&mut self, source: &Source<R>, row: u64) -> Result<()> {
        let found = guarded(|| self.go(source, row));
        found.inspect_err(|_| self.close())
    }

    /// The next rows, at most `most`, and how many they are.
    pub(crate) fn next<R: Read + Seek + Send + 'static>(
        &mut self,
        source: &Source<R>,
        most: usize,
    ) -> Result<Option<(usize, Vec<Cells>)>> {
        let found = guarded(|| self.read(source, most));
        found.inspect_err(|_| self.close())
    }

    /// Leaves the group at hand, so that what broke off in it is never gone on with.
    fn close(&mut self) {
        (self.group, self.left, self.rows) = (0, 0, 0);
        self.open.clear();
    }

    fn go<R: Read + Seek + Send + 'static>(&mut self, source: &Source<R>, row: u64) -> Result<()> {
        if row < self.rows || row - self.rows >= self.left {
            (self.group, self.left, self.rows) = (0, 0, 0);
            loop {
                let rows = self.group_rows()?.ok_or_else(|| no_row(row))?;
                if row - self.rows < rows {
                    break;
                }
                (self.group, self.rows) = (self.group + 1, self.rows.saturating_add(rows));
            }
            self.open(source)?;
        }
        let before = row - self.rows;
        for column in &mut self.open {
            column.skip(before)?;
        }
        (self.left, self.rows) = (self.left - before, row);
        Ok(())
    }

    /// The number of rows of the next group; `None` behind the last.
    fn group_rows(&self) -> Result<Option<u64>> {
        let Some(group) = self.table.footer.row_groups().get(self.group) else { return Ok(None) };
        let rows = u64::try_from(group.num_rows());
        rows.map(Some).map_err(|_| damaged(format!("row group {} has a negative number of rows", self.group)))
    }

    /// Goes to the first row of the next group.
    fn open<R: Read + Seek + Send + 'static>(&mut self, source: &Source<R>) -> Result<()> {
        let Some(rows) = self.group_rows()? else { return Err(no_row(self.rows)) };
        let group = self.table.footer.row_group(self.group);
        let shared = Arc::new(source.clone());
        let open = |column: &usize| OpenColumn::new(&shared, group.column(*column), rows);
        self.open = self.chosen.iter().map(open).collect::<Result<_>>()?;
        let bytes =
            self.chosen.iter().map(|column| u64::try_from(group.column(*column).uncompressed_size()).unwrap_or(0));
        let bytes = bytes.fold(0, u64::saturating_add) / rows.max(1);
        self.step = ((MOST_BYTES as u64 / bytes.max(1)) as usize).clamp(1, MOST_ROWS);
        (self.group, self.left) = (self.group + 1, rows);
        Ok(())
    }

    fn read<R: Read + Seek + Send + 'static>(
        &mut self,
        source: &Source<R>,
        most: usize,
    ) -> Result<Option<(usize, Vec<Cells>)>> {
        while self.left == 0 {
            if self.group_rows()?.is_none() {
                let (rows, stated) = (self.rows, self.table.rows);
                return if rows == stated {
                    Ok(None)
                } else {
                    Err(damaged(format!("it holds {rows} rows, and says {stated}")))
                };
            }
            self.open(source)?;
        }
        let kinds = self.chosen.iter().map(|column| self.table.columns[*column].kind.cells());
        let mut columns = kinds.collect::<Result<Vec<_>>>()?;
        let (mut rows, mut weight) = (0, 0);
        while rows < most && weight < MOST_BYTES && self.left > 0 {
            weight = 0;
            // Of the rows that are wanted alone, and of no more.
            let step = self.step.min(most - rows).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            for (open, cells) in self.open.iter_mut().zip(&mut columns) {
                open.cell(step, cells)?;
                weight += cells.weight();
            }
            (rows, self.left, self.rows) = (rows + 1, self.left - 1, self.rows.saturating_add(1));
        }
        Ok(Some((rows, columns)))
    }
}

/// A column of the row group at hand, and some of its rows decoded.
struct OpenColumn {
    values: Values,
    /// The level of a cell that is there.
    defined: i16,
    unsigned: bool,
    /// The levels of the rows that are decoded; none where every cell is there.
    levels: Vec<i16>,
    /// Rows that are decoded, and how many of those were handed out.
    rows: usize,
    row: usize,
    /// Values that were handed out.
    value: usize,
}

/// The values of the cells that are there, by how they are stored.
enum Values {
    Booleans(ColumnReaderImpl<BoolType>, Vec<bool>),
    Int32(ColumnReaderImpl<Int32Type>, Vec<i32>),
    Int64(ColumnReaderImpl<Int64Type>, Vec<i64>),
    Float(ColumnReaderImpl<FloatType>, Vec<f32>),
    Double(ColumnReaderImpl<DoubleType>, Vec<f64>),
    Bytes(ColumnReaderImpl<ByteArrayType>, Vec<<ByteArrayType as DataType>::T>),
    Fixed(ColumnReaderImpl<FixedLenByteArrayType>, Vec<<FixedLenByteArrayType as DataType>::T>),
}

impl OpenColumn {
    fn new<R: Read + Seek + Send + 'static>(
        source: &Arc<Source<R>>,
        chunk: &ColumnChunkMetaData,
        rows: u64,
    ) -> Result<Self> {
        if chunk.file_path().is_some_and(|path| !path.is_empty()) {
            return Err(unsupported("is the index of a table whose columns lie in other files"));
        }
        if u64::try_from(chunk.num_values()) != Ok(rows) {
            return Err(damaged(format!("a column has {} values for {rows} rows", chunk.num_values())));
        }
        let name = match chunk.compression() {
            Compression::BROTLI(_) => Some("Brotli"),
            Compression::LZO => Some("LZO"),
            _ => None,
        };
        if let Some(name) = name {
            return Err(unsupported(format!("is compressed with {name}; write it with Snappy, zstd, gzip or LZ4")));
        }
        // The crate takes these for proven.
        let starts = [Some(chunk.data_page_offset()), chunk.dictionary_page_offset()];
        if chunk.compressed_size() < 0 || starts.into_iter().flatten().any(|start| start < 0) {
            return Err(damaged("a column begins or ends before the file"));
        }
        let (start, length) = chunk.byte_range();
        if start.checked_add(length).is_none_or(|end| end > source.size()) {
            return Err(damaged(format!(
                "a column lies beyond the {} bytes of the file; it may be cut short",
                source.size()
            )));
        }
        let total = usize::try_from(rows).map_err(|_| damaged(format!("a group has {rows} rows")))?;
        let pages = SerializedPageReader::new(source.clone(), chunk, total, None).map_err(refused)?;
        let values = match get_column_reader(chunk.column_descr_ptr(), Box::new(pages)) {
            ColumnReader::BoolColumnReader(reader) => Values::Booleans(reader, Vec::new()),
            ColumnReader::Int32ColumnReader(reader) => Values::Int32(reader, Vec::new()),
            ColumnReader::Int64ColumnReader(reader) => Values::Int64(reader, Vec::new()),
            ColumnReader::FloatColumnReader(reader) => Values::Float(reader, Vec::new()),
            ColumnReader::DoubleColumnReader(reader) => Values::Double(reader, Vec::new()),
            ColumnReader::ByteArrayColumnReader(reader) => Values::Bytes(reader, Vec::new()),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => Values::Fixed(reader, Vec::new()),
            ColumnReader::Int96ColumnReader(_) => {
                return Err(unsupported("holds times of 96 bits, which are not read"));
            }
        };
        let leaf = chunk.column_descr();
        let unsigned = matches!(
            leaf.converted_type(),
            ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64
        ) || matches!(leaf.logical_type_ref(), Some(LogicalType::Integer(integer)) if !integer.is_signed);
        let defined = leaf.max_def_level();
        Ok(Self { values, defined, unsigned, levels: Vec::new(), rows: 0, row: 0, value: 0 })
    }

    /// Adds the next cell to `cells`. Where none is decoded, the next `step` rows are.
    fn cell(&mut self, step: usize, cells: &mut Cells) -> Result<()> {
        if self.row == self.rows {
            self.decode(step)?;
        }
        let there = self.levels.get(self.row).is_none_or(|level| *level == self.defined);
        self.row += 1;
        if !there {
            cells.push_null();
            return Ok(());
        }
        let (value, missing) = (self.value, || damaged("a column has fewer values than rows"));
        self.value += 1;
        match &self.values {
            Values::Booleans(_, values) => cells.push_boolean(*values.get(value).ok_or_else(missing)?),
            Values::Int32(_, values) => {
                let value = *values.get(value).ok_or_else(missing)?;
                cells.push_integer(if self.unsigned { i64::from(value as u32) } else { i64::from(value) })
            }
            Values::Int64(_, values) => match *values.get(value).ok_or_else(missing)? {
                value if self.unsigned && value < 0 => Err(unsupported(format!("holds the integer {}", value as u64))),
                value => cells.push_integer(value),
            },
            Values::Float(_, values) => cells.push_float(f64::from(*values.get(value).ok_or_else(missing)?)),
            Values::Double(_, values) => cells.push_float(*values.get(value).ok_or_else(missing)?),
            Values::Bytes(_, values) => cells.push_bytes(values.get(value).ok_or_else(missing)?.as_bytes()),
            Values::Fixed(_, values) => cells.push_bytes(values.get(value).ok_or_else(missing)?.as_bytes()),
        }
    }

    fn decode(&mut self, rows: usize) -> Result<()> {
        self.levels.clear();
        let levels = (self.defined > 0).then_some(&mut self.levels);
        let found = match &mut self.values {
            Values::Booleans(reader, values) => decode(reader, rows, levels, values),
            Values::Int32(reader, values) => decode(reader, rows, levels, values),
            Values::Int64(reader, values) => decode(reader, rows, levels, values),
            Values::Float(reader, values) => decode(reader, rows, levels, values),
            Values::Double(reader, values) => decode(reader, rows, levels, values),
            Values::Bytes(reader, values) => decode(reader, rows, levels, values),
            Values::Fixed(reader, values) => decode(reader, rows, levels, values),
        }?;
        if found == 0 {
            return Err(damaged("a column has fewer cells than its group has rows"));
        }
        (self.rows, self.row, self.value) = (found, 0, 0);
        Ok(())
    }

    /// Passes over rows: over pages without decoding them where all of a page is passed over.
    fn skip(&mut self, rows: u64) -> Result<()> {
        let decoded = (self.rows - self.row).min(usize::try_from(rows).unwrap_or(usize::MAX));
        let there = |level: &&i16| **level == self.defined;
        let passed = self.levels.get(self.row..self.row + decoded);
        self.value += passed.map_or(decoded, |levels| levels.iter().filter(there).count());
        self.row += decoded;
        let left = usize::try_from(rows).unwrap_or(usize::MAX) - decoded;
        if left == 0 {
            return Ok(());
        }
        let skipped = match &mut self.values {
            Values::Booleans(reader, _) => reader.skip_records(left),
            Values::Int32(reader, _) => reader.skip_records(left),
            Values::Int64(reader, _) => reader.skip_records(left),
            Values::Float(reader, _) => reader.skip_records(left),
            Values::Double(reader, _) => reader.skip_records(left),
            Values::Bytes(reader, _) => reader.skip_records(left),
            Values::Fixed(reader, _) => reader.skip_records(left),
        };
        if skipped.map_err(refused)? < left {
            return Err(damaged("a column has fewer cells than its group has rows"));
        }
        Ok(())
    }
}

/// Decodes the next rows in place of those that `values` and `levels` hold; how many there were.
fn decode<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    rows: usize,
    levels: Option<&mut Vec<i16>>,
    values: &mut Vec<T::T>,
) -> Result<usize> {
    values.clear();
    reader.read_records(rows, levels, None, values).map(|(rows, _, _)| rows).map_err(refused)
}

/// The crate `parquet` takes some of what stands in a page for proven, and panics where a damaged file breaks it.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(damaged("what stands in it contradicts itself")))
}

fn refused(error: ParquetError) -> TableError {
    match error {
        ParquetError::NYI(what) => unsupported(format!("holds what is not read: {what}")),
        ParquetError::General(reason) | ParquetError::EOF(reason) => damaged(reason),
        ParquetError::External(error) => match error.downcast::<TableError>() {
            Ok(error) => *error,
            Err(error) => damaged(error.to_string()),
        },
        other => damaged(other.to_string()),
    }
}

impl<R: Read + Seek + Send> Length for Source<R> {
    fn len(&self) -> u64 {
        self.size()
    }
}

impl<R: Read + Seek + Send> ChunkReader for Source<R> {
    type T = BufReader<Part<R>>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(BufReader::with_capacity(HEADER, self.part(start)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.bytes(start, length as u64);
        bytes.map(Bytes::from).map_err(|error| ParquetError::External(Box::new(error)))
    }
}
