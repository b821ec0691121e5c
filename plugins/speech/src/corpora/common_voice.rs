//! Common Voice: its TSV files (`client_id`, `path`, `sentence`, …, without quotes), and CPC_audio's lists of recordings,
//! one name a line, whose phones come from a file of their own.

use super::{Reading, Row, Transcript, directory_of, extension, find_audio, stem};
use crate::problems::{Problems, count, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use std::path::{Path, PathBuf};

pub(super) fn read(list: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let lines = Lines::read(list, problems)?;
    let directories = match reading.clips {
        Some(clips) => vec![clips.to_owned()],
        None => [directory_of(list).join("clips"), directory_of(list).to_owned()].to_vec(),
    };
    let columns = match extension(list).as_str() {
        "tsv" => Some(Columns::of(&lines)?),
        _ if reading.phones.is_none() => {
            let reason = "is a list of recordings without transcripts; give their phones with `phones`, or a TSV of Common Voice";
            return Err(Error::file(list, reason));
        }
        _ => None,
    };
    let mut rows = Vec::new();
    for (place, line) in lines.filled().skip(usize::from(columns.is_some())) {
        let entry = match &columns {
            Some(columns) => columns.entry(line),
            None => Ok(Entry { name: line.trim(), text: "", language: None }),
        };
        let Entry { name, text, language } = match entry {
            Ok(entry) => entry,
            Err(reason) => {
                problems.row(&place, reason);
                continue;
            }
        };
        let Some(audio) = directories.iter().find_map(|directory| find_audio(directory, name)) else {
            let within: Vec<_> = directories.iter().map(|d| d.display().to_string()).collect();
            problems.row(&place, format!("the recording {} is not in {}", excerpt(name), within.join(" or ")));
            continue;
        };
        let (transcript, language) = (Transcript::Text(text.to_owned()), language.map(str::to_owned));
        let mut row = Row { audio: vec![audio], transcript, language, declared: None, place, elsewhere: None };
        if reading.phones.is_none_or(|phones| phones.transcribe(&stem_of_name(name), &mut row, problems)) {
            rows.push(row);
        }
    }
    Ok(rows)
}

struct Entry<'a> {
    name: &'a str,
    text: &'a str,
    language: Option<&'a str>,
}

/// Which field of a line is what. Fields are counted and skipped, never gathered: a line may be megabytes of tabs.
struct Columns {
    number: usize,
    path: usize,
    sentence: usize,
    locale: Option<usize>,
}

impl Columns {
    fn of(lines: &Lines) -> Result<Self> {
        let names = || lines.first().flatten().unwrap_or_default().split('\t');
        let column = |wanted: &str| names().position(|name| name == wanted);
        let (Some(path), Some(sentence)) = (column("path"), column("sentence")) else {
            let found: Vec<_> = names().take(16).map(excerpt).collect();
            let reason = format!("the header has no columns `path` and `sentence`; found {}", found.join(", "));
            return Err(lines.place(1).error(reason));
        };
        Ok(Self { number: names().count(), path, sentence, locale: column("locale") })
    }

    fn entry<'a>(&self, line: &'a str) -> Result<Entry<'a>, String> {
        let fields = || line.split('\t');
        let number = fields().count();
        if number != self.number {
            return Err(format!("has {}, not {}", count(number as u64, "tab-separated field"), self.number));
        }
        let field = |column: usize| fields().nth(column).unwrap_or_default();
        let language = self.locale.map(field).filter(|language| !language.is_empty());
        Ok(Entry { name: field(self.path), text: field(self.sentence), language })
    }
}

/// The name that a list, a TSV and a file of phones share.
fn stem_of_name(name: &str) -> String {
    let path = PathBuf::from(name);
    if super::is_audio(&path) { stem(&path) } else { path.file_name().unwrap_or_default().to_string_lossy().into() }
}
