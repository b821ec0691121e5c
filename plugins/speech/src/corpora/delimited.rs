//! Manifests of named columns between tabs, commas or semicolons: Common Voice's and Spontaneous Speech's TSV, AudioFolder's
//! `metadata.csv`, and what pandas and spreadsheets write.

use super::columns::{AUDIO, Columns, Wrong, piece, transcript};
use super::entries::{Entries, Entry, Recording};
use super::{Reading, Row};
use crate::problems::{Problems, count, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use lopper_tables::delimited::{Quoting, Record, quotes, records};
use std::borrow::Cow;
use std::path::Path;

/// Columns, at most.
const MOST_COLUMNS: usize = 10_000;

/// The delimiter of a file that begins with the names of columns, of which one is a recording's.
pub(super) fn delimiter(bytes: &[u8]) -> Option<char> {
    ['\t', ',', ';'].into_iter().find(|delimiter| {
        let header = records(bytes, *delimiter, Quoting::Csv).next().and_then(|(_, header)| header.ok());
        header.is_some_and(|header| header.width() > 1 && header.fields().any(|name| AUDIO.contains(&name.trim())))
    })
}

pub(super) fn read(file: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let lines = Lines::read(file, problems)?;
    let bytes = lines.bytes();
    let (delimiter, quoting) = match delimiter(bytes) {
        Some('\t') => ('\t', told_quoting(bytes, reading.quoting).map_err(|reason| Error::file(file, reason))?),
        Some(delimiter) => (delimiter, Quoting::Csv),
        None => ('\t', Quoting::Raw),
    };
    let mut records = records(bytes, delimiter, quoting);
    let header = records.next().map_or(Err("is empty".to_owned()), |(_, header)| header);
    let header = header.map_err(|reason| lines.place(1).error(reason))?;
    if header.width() > MOST_COLUMNS {
        return Err(lines
            .place(1)
            .error(format!("has {} columns; at most {MOST_COLUMNS} are accepted", header.width())));
    }
    let names: Vec<Cow<'_, str>> = header.fields().map(|name| Cow::Owned(name.trim().to_owned())).collect();
    let names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    let columns = Columns::of(&names, "column", reading).map_err(|wrong| match wrong {
        Wrong::Ambiguous(reason) => lines.place(1).error(format!("the header {reason}")),
        Wrong::Missing(reasons) => Error::Many(
            reasons.into_iter().map(|reason| lines.place(1).error(format!("the header {reason}"))).collect(),
        ),
    })?;
    let places = Places::of(&columns, &names);
    let mut entries = Entries::default();
    for (number, record) in records {
        let place = lines.place(number);
        let entry = match record {
            Ok(record) if record.is_blank() => continue,
            Ok(record) => {
                let width = record.width();
                match width == names.len() {
                    true => places.entry(&record, reading),
                    false => {
                        let fields = if delimiter == '\t' { "tab-separated field" } else { "field" };
                        Err(format!("has {}, not {}", count(width as u64, fields), names.len()))
                    }
                }
            }
            // A line of raw text that is not UTF-8 has been reported.
            Err(_) if quoting == Quoting::Raw => continue,
            Err(reason) => Err(reason),
        };
        match entry {
            Ok(entry) => entries.add(entry, place),
            Err(reason) => problems.row(&place, reason),
        }
    }
    entries.rows(file, reading, problems)
}

/// The columns' places among the fields.
struct Places {
    audio: usize,
    text: Option<usize>,
    language: Option<usize>,
    split: Option<usize>,
    offset: Option<usize>,
    duration: Option<usize>,
}

impl Places {
    fn of(columns: &Columns<'_>, names: &[&str]) -> Self {
        let place = |column: Option<&str>| names.iter().position(|name| Some(*name) == column);
        Self {
            audio: place(columns.audio).unwrap_or_default(),
            text: place(columns.text),
            language: place(columns.language),
            split: place(columns.split),
            offset: place(columns.offset),
            duration: place(columns.duration),
        }
    }

    fn entry(&self, record: &Record<'_>, reading: &Reading<'_>) -> Result<Entry, String> {
        let field = |place: usize| record.field(place).unwrap_or_default();
        let filled = |place: Option<usize>| place.map(field).filter(|text| !text.is_empty());
        let seconds = |place: Option<usize>, name: &str| {
            let number = filled(place).map(|text| text.trim().parse().map_err(|_| text));
            number.transpose().map_err(|text| format!("`{name}` is {}, not a number of seconds", excerpt(&text)))
        };
        let text = self.text.map(field).unwrap_or_default();
        Ok(Entry {
            recording: Recording::Named(field(self.audio).into_owned()),
            transcript: transcript(&text, reading.unit),
            language: filled(self.language).map(Cow::into_owned),
            split: self.split.map(|split| field(split).trim().to_owned()),
            piece: piece(seconds(self.offset, "offset")?, seconds(self.duration, "duration")?)?,
        })
    }
}

/// What quotes mean between tabs. Common Voice writes none of CSV's; pandas writes them where it must.
fn told_quoting(bytes: &[u8], given: Option<Quoting>) -> Result<Quoting, String> {
    if let Some(given) = given {
        return Ok(given);
    }
    let found = quotes(bytes, '\t');
    match (found.header, found.bare, found.needed) {
        (true, ..) => Ok(Quoting::Csv),
        // What CSV would not write; or, as CSV, quotes for nothing.
        (false, 1.., _) | (false, _, 0) => Ok(Quoting::Raw),
        _ if found.idle == 0 && !found.either => Ok(Quoting::Csv),
        _ => Err(format!(
            "has quotes that may be part of its texts, as in Common Voice's own files, or CSV's, as pandas writes them: {} fields \
             with quotes that only CSV would write, {} that it would not need; say which with quoting = \"raw\" or quoting = \"csv\"",
            found.needed, found.idle
        )),
    }
}
