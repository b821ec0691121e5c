//! Common Voice: its TSV files (`client_id`, `path`, `sentence`, …, without quotes), and CPC_audio's lists of recordings,
//! one name a line, whose phones come from a file of their own.

use super::{Reading, Row, Transcript, directory_of, extension, find_audio, stem};
use crate::problems::{Place, Problems, count, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use std::path::{Path, PathBuf};

pub(super) fn read(list: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let lines = Lines::read(list, problems)?;
    let directories = match reading.clips {
        Some(clips) => vec![clips.to_owned()],
        None => [directory_of(list).join("clips"), directory_of(list).to_owned()].to_vec(),
    };
    let is_table = matches!(extension(list).as_str(), "tsv");
    let found = if is_table { table(&lines, problems)? } else { names(&lines, reading, list)? };
    let mut rows = Vec::new();
    for Entry { place, name, text, language } in found {
        let Some(audio) = directories.iter().find_map(|directory| find_audio(directory, name)) else {
            let within: Vec<_> = directories.iter().map(|d| d.display().to_string()).collect();
            problems.row(&place, format!("the recording {} is not in {}", excerpt(name), within.join(" or ")));
            continue;
        };
        let mut transcript = Transcript::Text(text.to_owned());
        let transcribed = reading
            .phones
            .is_none_or(|phones| phones.transcribe(&stem_of_name(name), &mut transcript, &place, problems));
        if transcribed {
            let language = language.map(str::to_owned);
            rows.push(Row { audio: vec![audio], transcript, language, declared: None, place });
        }
    }
    Ok(rows)
}

struct Entry<'a> {
    place: Place,
    name: &'a str,
    text: &'a str,
    language: Option<&'a str>,
}

fn table<'a>(lines: &'a Lines, problems: &mut Problems) -> Result<Vec<Entry<'a>>> {
    let header = lines.lines.first().and_then(Option::as_deref).unwrap_or_default();
    let names: Vec<_> = header.split('\t').collect();
    let column = |wanted: &str| names.iter().position(|name| *name == wanted);
    let (Some(path), Some(sentence)) = (column("path"), column("sentence")) else {
        let found: Vec<_> = names.iter().take(16).map(|name| excerpt(name)).collect();
        let reason = format!("the header has no columns `path` and `sentence`; found {}", found.join(", "));
        return Err(lines.place(1).error(reason));
    };
    let mut entries = Vec::new();
    for (place, line) in lines.filled().skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        if fields.len() != names.len() {
            let (found, wanted) = (count(fields.len() as u64, "tab-separated field"), names.len());
            problems.row(&place, format!("has {found}, not {wanted}"));
            continue;
        }
        let language = column("locale").map(|column| fields[column]).filter(|language| !language.is_empty());
        entries.push(Entry { place, name: fields[path], text: fields[sentence], language });
    }
    Ok(entries)
}

fn names<'a>(lines: &'a Lines, reading: &Reading<'_>, list: &Path) -> Result<Vec<Entry<'a>>> {
    if reading.phones.is_none() {
        let reason =
            "is a list of recordings without transcripts; give their phones with `phones`, or a TSV of Common Voice";
        return Err(Error::file(list, reason));
    }
    let entry = |(place, line): (Place, &'a str)| Entry { place, name: line.trim(), text: "", language: None };
    Ok(lines.filled().map(entry).collect())
}

/// The name that a list, a TSV and a file of phones share.
fn stem_of_name(name: &str) -> String {
    let path = PathBuf::from(name);
    if super::is_audio(&path) { stem(&path) } else { path.file_name().unwrap_or_default().to_string_lossy().into() }
}
