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
            let (first, other) = *transcribed.entry(name).or_insert((place.number(), text));
            if other != text {
                problems.row(&place, format!("has another transcript of {} than line {first}", excerpt(name)));
                continue;
            }
            match find_audio(directory_of(&path), name) {
                Some(audio) => rows.push(Row::new(vec![audio.into()], Transcript::Text(text.to_owned()), place)),
                None => problems.row(&place, format!("has no recording: {name}.flac is not beside this file")),
            }
        }
    }
    Ok(rows)
}

/// What `librispeech_finetuning` of Libri-light unpacks to.
const FINETUNING: &str = "librispeech_finetuning";

/// The directories of Libri-light's `10min` (its first sixth, `10min/0`), `10min/0` to `10min/5`, and `10h`, below the directory
/// that holds `1h` and `9h`: it is `directory`, what the name says before them (`librispeech_finetuning/10h`), or its
/// `librispeech_finetuning`; `1h` and `9h` are looked for there, too. `None` for any other name, and where the directories are
/// others.
///
/// Source: facebookresearch/libri-light, `data_preparation/README.md`: `1h/{0,…,5}/{clean,other}` and `9h/{clean,other}`; the ten
/// minutes are one of the six, the ten hours `1h` and `9h` together.
pub(crate) fn expand(directory: &Path, name: &str) -> Option<Vec<PathBuf>> {
    if directory.join(name).exists() {
        return None;
    }
    let name = name.trim_end_matches('/');
    let at = ["10min", "10h", "1h", "9h"].into_iter().find_map(|part| {
        let at = name.find(part).filter(|at| *at == 0 || name[..*at].ends_with('/'))?;
        matches!(name[at + part.len()..].bytes().next(), None | Some(b'/')).then_some(at)
    })?;
    let (before, wanted) = name.split_at(at);
    let below = directory.join(before);
    let base = [below.join(FINETUNING), below].into_iter().find(|base| base.join("1h").is_dir())?;
    let hour = base.join("1h");
    match wanted.strip_prefix("10min") {
        Some("") => Some(vec![hour.join("0")]),
        Some(part) => part.strip_prefix('/').filter(|part| !part.is_empty()).map(|part| vec![hour.join(part)]),
        None if wanted == "10h" => Some(vec![hour, base.join("9h")]),
        None => Some(vec![base.join(wanted)]),
    }
}
