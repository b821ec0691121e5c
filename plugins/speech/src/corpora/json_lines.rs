//! JSON lines: `{"audio": "a.wav", "text": "hello"}`, or `"phones"` in place of `"text"`. Several files in `"audio"` are
//! joined in their order into one recording. `"language"` tells the languages of a joint run apart; other keys are
//! for other readers. Paths are relative to the file.

use super::{Row, Transcript, directory_of, symbols};
use crate::Unit;
use crate::problems::{Problems, excerpt};
use crate::text::Lines;
use lopper_core::Result;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Longest line that is read, in bytes: parsed, it may take many times its size.
const LONGEST: usize = 1 << 20;

pub(super) fn read(file: &Path, unit: Unit, problems: &mut Problems) -> Result<Vec<Row>> {
    let lines = Lines::read(file, problems)?;
    let mut rows = Vec::new();
    for (place, line) in lines.filled() {
        match parse(line, unit, directory_of(file)) {
            Ok((audio, transcript, language)) => {
                rows.push(Row { audio, transcript, language, declared: None, place, elsewhere: None });
            }
            Err(reason) => problems.row(&place, reason),
        }
    }
    Ok(rows)
}

type Parsed = (Vec<PathBuf>, Transcript, Option<String>);

fn parse(line: &str, unit: Unit, directory: &Path) -> Result<Parsed, String> {
    if line.len() > LONGEST {
        return Err(format!("is {} bytes long; at most {LONGEST} are accepted", line.len()));
    }
    let object = match serde_json::from_str(line) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err(format!("{} is not a JSON object", excerpt(line))),
        // It counts lines within this one.
        Err(e) => return Err(format!("is not JSON: {e}").replace(" at line 1 column", " at column")),
    };
    let language = match object.get("language") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(language)) => Ok(Some(language.clone())),
        Some(other) => Err(format!("`language` is {}, not a text", excerpt(&other.to_string()))),
    };
    match (audio(&object, directory), transcript(&object, unit), language) {
        (Ok(audio), Ok(transcript), Ok(language)) => Ok((audio, transcript, language)),
        (audio, transcript, language) => {
            let reasons: Vec<_> = [audio.err(), transcript.err(), language.err()].into_iter().flatten().collect();
            Err(reasons.join("; "))
        }
    }
}

fn audio(object: &Map<String, Value>, directory: &Path) -> Result<Vec<PathBuf>, String> {
    let wrong = |value: &Value| format!("`audio` is {}, not a path or a list of paths", excerpt(&value.to_string()));
    match object.get("audio") {
        Some(Value::String(path)) => Ok(vec![directory.join(path)]),
        Some(Value::Array(paths)) if !paths.is_empty() => {
            paths.iter().map(|path| path.as_str().map(|p| directory.join(p)).ok_or_else(|| wrong(path))).collect()
        }
        Some(other) => Err(wrong(other)),
        None => Err(absent("audio", object)),
    }
}

fn transcript(object: &Map<String, Value>, unit: Unit) -> Result<Transcript, String> {
    if unit != Unit::Phones {
        return match object.get("text") {
            Some(Value::String(text)) => Ok(Transcript::Text(text.clone())),
            Some(other) => Err(format!("`text` is {}, not a text", excerpt(&other.to_string()))),
            None => Err(absent("text", object)),
        };
    }
    let wrong = |value: &Value| {
        format!("`phones` is {}, not phones between spaces or a list of phones", excerpt(&value.to_string()))
    };
    match object.get("phones") {
        Some(Value::String(phones)) => Ok(symbols(phones)),
        Some(Value::Array(phones)) => {
            let phone = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(value));
            Ok(Transcript::Symbols(phones.iter().map(phone).collect::<Result<_, _>>()?))
        }
        Some(other) => Err(wrong(other)),
        None => Err(absent("phones", object)),
    }
}

fn absent(key: &str, object: &Map<String, Value>) -> String {
    let found: Vec<_> = object.keys().take(16).map(|key| excerpt(key)).collect();
    format!("has no key `{key}`; found {}", found.join(", "))
}
