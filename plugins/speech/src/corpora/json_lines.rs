//! JSON lines, or a JSON array: `{"audio": "a.wav", "text": "hello"}`, or `"phones"` in place of `"text"`. Several files in
//! `"audio"` are joined in their order into one recording, and it may be `datasets`' `{"path": …}`. NeMo's `"audio_filepath"`,
//! with `"offset"` and `"duration"`, and other names are read, too. `"language"` tells the languages of a joint run apart; other
//! keys are for other readers. Paths are relative to the file.

use super::clips::Clips;
use super::columns::{Columns, Wrong, absent, piece, transcript};
use super::entries::{Entries, Entry, Recording};
use super::{Reading, Row, Transcript, directory_of};
use crate::Unit;
use crate::clip::Clip;
use crate::problems::{Place, Problems, excerpt};
use crate::text::Lines;
use lopper_core::Result;
use lopper_tables::json::elements;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Longest object that is read, in bytes: parsed, it may take many times its size.
const LONGEST: usize = 1 << 20;

pub(super) fn read(file: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let lines = Lines::read(file, problems)?;
    let directory = directory_of(file);
    let manifest = Manifest { reading, directory, clips: Clips::new(directory, reading.clips) };
    let mut entries = Entries::default();
    let mut take = |place: Place, text: Result<&str, String>| {
        match text.map_err(Refused::Row).and_then(|text| manifest.parse(text)) {
            Ok(entry) => entries.add(entry, place),
            Err(Refused::Row(reason)) => problems.row(&place, reason),
            Err(Refused::File(reason)) => return Err(place.error(reason)),
        }
        Ok(())
    };
    match elements(lines.bytes()) {
        Some(mut elements) => elements.try_for_each(|(number, text)| take(lines.place(number), text))?,
        None => lines.filled().try_for_each(|(place, line)| take(place, Ok(line)))?,
    }
    entries.rows(file, reading, problems)
}

struct Manifest<'a> {
    reading: &'a Reading<'a>,
    directory: &'a Path,
    clips: Clips,
}

/// Why a row, or the file, is not read.
enum Refused {
    Row(String),
    File(String),
}

impl Manifest<'_> {
    fn parse(&self, line: &str) -> Result<Entry, Refused> {
        let object = object(line).map_err(Refused::Row)?;
        let names: Vec<&str> =
            object.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str()).collect();
        let columns = Columns::of(&names, "key", self.reading);
        let (columns, missing) = match columns {
            Ok(columns) => (columns, Vec::new()),
            Err(Wrong::Ambiguous(reason)) => return Err(Refused::File(reason)),
            // What is there may be wrong, too.
            Err(Wrong::Missing(missing)) => (Columns::there(&names, "key", self.reading), missing),
        };
        let value = |name: Option<&str>| name.and_then(|name| Some((name.to_owned(), object.get(name)?)));
        let audio = value(columns.audio).map_or(Ok(Vec::new()), |(name, value)| self.audio(&name, value));
        let text = value(columns.text).map_or(Ok(Transcript::Text(String::new())), |(n, v)| self.transcript(&n, v));
        let texts = [columns.language, columns.split].map(|name| match value(name) {
            None => Ok(None),
            Some((_, Value::String(text))) => Ok(Some(text.clone())),
            Some((name, other)) => Err(format!("`{name}` is {}, not a text", excerpt(&other.to_string()))),
        });
        let seconds = [columns.offset, columns.duration].map(|name| match value(name) {
            None => Ok(None),
            Some((name, value)) => {
                let number = value.as_f64().map(Some);
                number.ok_or_else(|| format!("`{name}` is {}, not a number of seconds", excerpt(&value.to_string())))
            }
        });
        let ([language, split], [offset, duration]) = (texts, seconds);
        let part = offset.and_then(|offset| piece(offset, duration?));
        let several = audio.as_ref().is_ok_and(|audio| audio.len() > 1) && part.as_ref().is_ok_and(Option::is_some);
        match (missing.is_empty(), audio, text, language, split, part) {
            (true, ..) if several => Err(Refused::Row("names a piece of several recordings; it may be of one".into())),
            (true, Ok(audio), Ok(transcript), Ok(language), Ok(split), Ok(piece)) => {
                Ok(Entry { recording: Recording::Known(audio), transcript, language, split, piece })
            }
            (_, audio, text, language, split, part) => {
                let others = [text.err(), language.err(), split.err(), part.err()].into_iter().flatten();
                let wrong = audio.err().into_iter().chain(missing).chain(others);
                Err(Refused::Row(wrong.collect::<Vec<_>>().join("; ")))
            }
        }
    }

    fn audio(&self, key: &str, value: &Value) -> Result<Vec<Clip>, String> {
        let wrong = || format!("`{key}` is {}, not a path or a list of paths", excerpt(&value.to_string()));
        match value {
            Value::String(path) => Ok(vec![self.path(path).into()]),
            Value::Array(paths) if !paths.is_empty() => {
                let wrong =
                    |v: &Value| format!("`{key}` is {}, not a path or a list of paths", excerpt(&v.to_string()));
                let path = |value: &Value| value.as_str().map(|p| self.path(p).into()).ok_or_else(|| wrong(value));
                paths.iter().map(path).collect()
            }
            // As `datasets` writes its Audio into JSON.
            Value::Object(audio) => match (audio.get("path"), audio.get("bytes").unwrap_or(&Value::Null)) {
                (Some(Value::String(path)), Value::Null) => Ok(vec![self.path(path).into()]),
                _ => {
                    let keys: Vec<&str> = audio.keys().map(String::as_str).collect();
                    let reason = absent("path", "key", &keys);
                    Err(format!("`{key}` {reason}; recordings are read from files that JSON names, or from Parquet"))
                }
            },
            _ => Err(wrong()),
        }
    }

    /// A path that leads nowhere is looked for as other manifests' are, and reported as it is.
    fn path(&self, path: &str) -> PathBuf {
        let given = self.directory.join(path);
        if given.is_file() { given } else { self.clips.find(path).unwrap_or(given) }
    }

    fn transcript(&self, key: &str, value: &Value) -> Result<Transcript, String> {
        let unit = self.reading.unit;
        match value {
            Value::String(text) => Ok(transcript(text, unit)),
            other if unit != Unit::Phones => Err(format!("`{key}` is {}, not a text", excerpt(&other.to_string()))),
            Value::Array(phones) if phones.iter().all(Value::is_string) => {
                let phones = phones.iter().filter_map(Value::as_str).map(str::to_owned);
                Ok(Transcript::Symbols(phones.collect()))
            }
            other => {
                let found =
                    if let Value::Array(phones) = other { phones.iter().find(|p| !p.is_string()) } else { None };
                let found = excerpt(&found.unwrap_or(other).to_string());
                Err(format!("`{key}` is {found}, not phones between spaces or a list of phones"))
            }
        }
    }
}

fn object(line: &str) -> Result<Map<String, Value>, String> {
    if line.len() > LONGEST {
        return Err(format!("is {} bytes long; at most {LONGEST} are accepted", line.len()));
    }
    match serde_json::from_str(line) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(format!("{} is not a JSON object", excerpt(line))),
        // It counts lines within this one.
        Err(e) => Err(format!("is not JSON: {e}").replace(" at line 1 column", " at column")),
    }
}
