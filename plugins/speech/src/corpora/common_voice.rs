//! CPC_audio's lists of Common Voice's recordings, one name a line, whose phones come from a file of their own.

use super::{Reading, Row, Transcript, directory_of, find_audio, stem};
use crate::problems::{Problems, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use std::path::{Path, PathBuf};

pub(super) fn read(list: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let lines = Lines::read(list, problems)?;
    let directories = match reading.clips {
        Some(clips) => vec![clips.to_owned()],
        None => [directory_of(list).join("clips"), directory_of(list).to_owned()].to_vec(),
    };
    let Some(phones) = reading.phones else {
        let reason =
            "is a list of recordings without transcripts; give their phones with `phones`, or a TSV of Common Voice";
        return Err(Error::file(list, reason));
    };
    let mut rows = Vec::new();
    for (place, line) in lines.filled() {
        let name = line.trim();
        let Some(audio) = directories.iter().find_map(|directory| find_audio(directory, name)) else {
            let within: Vec<_> = directories.iter().map(|d| d.display().to_string()).collect();
            problems.row(&place, format!("the recording {} is not in {}", excerpt(name), within.join(" or ")));
            continue;
        };
        let mut row = Row::new(vec![audio.into()], Transcript::Text(String::new()), place);
        if phones.transcribe(&stem_of_name(name), &mut row, problems) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The name that a list and a file of phones share.
fn stem_of_name(name: &str) -> String {
    let path = PathBuf::from(name);
    if super::is_audio(&path) { stem(&path) } else { path.file_name().unwrap_or_default().to_string_lossy().into() }
}
