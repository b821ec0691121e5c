//! LibriSpeech, and the limited supervision of Libri-light, which is laid out like it: anywhere below a directory,
//! `SPEAKER-CHAPTER.trans.txt` has a line `SPEAKER-CHAPTER-NUMBER TEXT` for each `….flac` beside it.

use super::{Row, Transcript, directory_of, find_audio, walk};
use crate::problems::{Problems, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(super) fn is_transcript(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".trans.txt"))
}

pub(super) fn read(directory: &Path, problems: &mut Problems) -> Result<Vec<Row>> {
    let transcripts: Vec<PathBuf> = walk(directory)?.into_iter().filter(|path| is_transcript(path)).collect();
    if transcripts.is_empty() {
        return Err(Error::file(directory, "holds no transcripts: looked for *.trans.txt in all directories below it"));
    }
    let mut rows = Vec::new();
    for path in transcripts {
        let lines = match Lines::read(&path, problems) {
            Ok(lines) => lines,
            Err(e) => {
                problems.push(e);
                continue;
            }
        };
        let mut transcribed = HashMap::new();
        for (place, line) in lines.filled() {
            let (name, text) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let (first, other) = *transcribed.entry(name).or_insert((place.line, text));
            if other != text {
                problems.row(&place, format!("has another transcript of {} than line {first}", excerpt(name)));
                continue;
            }
            match find_audio(directory_of(&path), name) {
                Some(audio) => rows.push(Row {
                    audio: vec![audio],
                    transcript: Transcript::Text(text.to_owned()),
                    language: None,
                    declared: None,
                    place,
                    elsewhere: None,
                }),
                None => problems.row(&place, format!("has no recording: {name}.flac is not beside this file")),
            }
        }
    }
    Ok(rows)
}

/// The directories of Libri-light's `10min` (its first sixth, `10min/0`), `10min/0` to `10min/5`, and `10h` below the
/// directory that holds `1h` and `9h`; `None` for any other name, and where the directories are others.
pub(crate) fn expand(directory: &Path, name: &str) -> Option<Vec<PathBuf>> {
    let hour = directory.join("1h");
    if directory.join(name).exists() || !hour.is_dir() {
        return None;
    }
    match name.strip_prefix("10min") {
        Some("") => Some(vec![hour.join("0")]),
        Some(part) => part.strip_prefix('/').filter(|part| !part.is_empty()).map(|part| vec![hour.join(part)]),
        None => (name == "10h").then(|| vec![hour, directory.join("9h")]),
    }
}
