//! Parquet and Arrow, as `datasets` and the hub hand speech out: a structure of bytes and path, a column of bytes, or the names of
//! files; and AudioFolder's `metadata.parquet`.

use super::columns::{Columns, Wrong, piece, transcript};
use super::entries::{Entries, Entry, Recording};
use super::{Reading, Row, directory_of};
use crate::clip::{Cell, Clip, Recorded, Whole};
use crate::problems::{At, Place, Problems, excerpt};
use lopper_core::{Error, Result};
use lopper_tables::{Batch, Budget, Column, ColumnKind, Table, TableError, Value};
use std::path::Path;
use std::sync::Arc;

/// What a row takes beside its texts.
const ROW: u64 = 200;

pub(super) fn read(file: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let refuse = |reason: String| Error::file(file, reason);
    let unreadable = |e: TableError| Error::file(file, e.to_string());
    if !file.is_file() {
        return Err(refuse("cannot be read: is no regular file".into()));
    }
    let table = Table::open(file).map_err(unreadable)?;
    let described = table.columns().to_vec();
    let layout = Layout::of(&described, file, reading).map_err(|reasons| {
        let errors = reasons.into_iter().map(refuse).collect();
        Error::all(errors).expect_err("a layout that cannot be told has reasons")
    })?;
    let mut budget = Budget::new(&table);
    let (place, mut entries): (Arc<Path>, _) = (file.into(), Entries::default());
    for batch in table.stream(&layout.streamed()).map_err(unreadable)? {
        let batch = batch.map_err(unreadable)?;
        for row in 0..batch.rows {
            let number = batch.first_row + row as u64;
            let place = Place { file: place.clone(), at: At::Row(number) };
            match layout.entry(&batch, row, number, reading) {
                Ok((entry, bytes)) => {
                    budget.hold(bytes as u64 + ROW);
                    entries.add(entry, place);
                }
                Err(reason) => problems.row(&place, reason),
            }
        }
        budget.check(&batch).map_err(unreadable)?;
    }
    entries.rows(file, reading, problems)
}

/// What is read of each row.
struct Layout<'a> {
    /// The bytes of recordings, and the directory that paths beside them are relative to.
    recorded: Option<(Arc<Recorded>, &'a Path)>,
    /// Names of files, or the paths beside the bytes.
    names: Option<&'a str>,
    columns: Columns<'a>,
}

impl<'a> Layout<'a> {
    fn of(all: &'a [Column], file: &'a Path, reading: &Reading<'a>) -> Result<Self, Vec<String>> {
        let kind = |name: &str| all.iter().find(|column| column.name == name).map(|column| &column.kind);
        // Columns that are structures with bytes in them, as Audio of `datasets` is.
        let structures: Vec<&str> = all
            .iter()
            .filter(|column| column.kind == ColumnKind::Bytes)
            .filter_map(|column| column.name.strip_suffix(".bytes"))
            .collect();
        let structure = match structures.as_slice() {
            [] => None,
            [one] => Some(*one),
            several if several.contains(&"audio") => Some("audio"),
            several => {
                let listed = several.iter().map(|name| excerpt(name)).collect::<Vec<_>>().join(" and ");
                return Err(vec![format!("has recordings in {listed}; rename the one that is meant to `audio`")]);
            }
        };
        let plain: Vec<&str> = all.iter().filter(|c| c.kind == ColumnKind::Bytes).map(|c| c.name.as_str()).collect();
        // A structure is called by its own name where columns are told.
        let own: Vec<&str> = all
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !structures.iter().any(|s| name.strip_prefix(s).is_some_and(|rest| rest.starts_with('.'))))
            .collect();
        let bytes = structure.or(if let [one] = plain.as_slice() { Some(*one) } else { None });
        let mut names = own.clone();
        names.retain(|name| Some(*name) != bytes);
        names.extend(bytes.map(|_| "audio"));
        let columns = Columns::of(&names, "column", reading).map_err(|wrong| match wrong {
            Wrong::Ambiguous(reason) => vec![reason],
            Wrong::Missing(mut reasons) => {
                let numbers =
                    all.iter().find(|c| c.name.starts_with("audio.array") || c.name.starts_with("audio.list"));
                if let Some(numbers) = numbers {
                    let name = excerpt(&numbers.name);
                    reasons.insert(
                        0,
                        format!(
                            "holds the samples of its recordings as numbers in {name}, which are not read; \
                        cast_column(\"audio\", Audio()) of `datasets` makes recordings of them"
                        ),
                    );
                }
                reasons
            }
        })?;
        let wrong: Vec<_> = [columns.text, columns.audio.filter(|_| bytes.is_none())]
            .into_iter()
            .flatten()
            .filter_map(|name| match kind(name) {
                Some(ColumnKind::Text) | None => None,
                Some(ColumnKind::Other(what)) => Some(format!("column `{name}` holds {what}, which is not read")),
                Some(kind) => Some(format!("column `{name}` holds {kind:?}, not texts").to_lowercase()),
            })
            .collect();
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let beside = structure.and_then(|structure| {
            let path = all.iter().find(|c| c.name.strip_prefix(structure) == Some(".path"));
            path.filter(|column| column.kind == ColumnKind::Text).map(|column| column.name.as_str())
        });
        let column = bytes.map(|bytes| if structure.is_some() { format!("{bytes}.bytes") } else { bytes.to_owned() });
        Ok(Self {
            recorded: column.map(|column| {
                let within = Arc::new(Recorded { file: file.to_owned(), column });
                (within, reading.clips.unwrap_or(directory_of(file)))
            }),
            names: if bytes.is_some() { beside } else { columns.audio },
            columns,
        })
    }

    fn wanted(&self) -> [Option<&str>; 6] {
        let Columns { text, language, split, offset, duration, .. } = self.columns;
        [self.names, text, language, split, offset, duration]
    }

    /// The columns that are read with the transcripts.
    fn streamed(&self) -> Vec<&str> {
        let named: Vec<&str> = self.wanted().into_iter().flatten().collect();
        // Something has to be counted.
        let bytes = self.recorded.as_ref().filter(|_| named.is_empty()).map(|(within, _)| within.column.as_str());
        named.into_iter().chain(bytes).collect()
    }

    /// A row, and the bytes of its texts.
    fn entry(&self, batch: &Batch, row: usize, number: u64, reading: &Reading<'_>) -> Result<(Entry, usize), String> {
        let mut cells = batch.columns.iter().map(|cells| cells.get(row));
        let [name, text, language, split, offset, duration] =
            self.wanted().map(|name| name.map(|name| (name, cells.next().unwrap_or(Value::Null))));
        let (name, said) = (optional(name)?, text.map(required).transpose()?.unwrap_or_default());
        let (language, split) = (optional(language)?, optional(split)?);
        let bytes = [name, Some(said), language, split].into_iter().flatten().map(str::len).sum();
        let recording = match (&self.recorded, name) {
            (Some((within, directory)), name) => {
                let beside = name.filter(|name| !name.is_empty()).map(|name| directory.join(name));
                let whole = Whole::Cell(Cell { within: within.clone(), row: number, beside });
                Recording::Known(vec![Clip { whole, piece: None }])
            }
            (None, Some(name)) => Recording::Named(name.to_owned()),
            (None, None) => return Err("has no recording: its name is null".into()),
        };
        Ok((
            Entry {
                recording,
                transcript: transcript(said, reading.unit),
                language: language.map(str::to_owned),
                // Null as in text: no split.
                split: self.columns.split.map(|_| split.unwrap_or_default().to_owned()),
                piece: piece(seconds(offset)?, seconds(duration)?)?,
            },
            bytes,
        ))
    }
}

type Named<'a> = (&'a str, Value<'a>);

fn optional(cell: Option<Named<'_>>) -> Result<Option<&str>, String> {
    match cell {
        None | Some((_, Value::Null)) => Ok(None),
        Some(cell) => required(cell).map(Some),
    }
}

fn required((name, value): Named<'_>) -> Result<&str, String> {
    match value {
        Value::Text(text) => Ok(text),
        Value::Null => Err(format!("has no transcript: `{name}` is null")),
        other => Err(format!("`{name}` is {other:?}, not a text")),
    }
}

fn seconds(cell: Option<Named<'_>>) -> Result<Option<f64>, String> {
    match cell {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::Float(seconds))) => Ok(Some(seconds)),
        Some((_, Value::Integer(seconds))) => Ok(Some(seconds as f64)),
        Some((name, other)) => Err(format!("`{name}` is {other:?}, not a number of seconds")),
    }
}
