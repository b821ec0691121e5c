//! fairseq's manifests: `train.tsv` has a root directory in its first line and then `path<tab>samples`; line *n* of the
//! `.ltr`, `.phn` or `.wrd` beside it is the transcript of the *n*th path.

use super::{Row, Transcript, directory_of, symbols};
use crate::Unit;
use crate::problems::{Problems, count, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use std::path::Path;

/// Whether a line is a path and a number of samples.
pub(super) fn is_row(line: &str) -> bool {
    parse(line).is_ok()
}

pub(super) fn read(manifest: &Path, unit: Unit, problems: &mut Problems) -> Result<Vec<Row>> {
    let mut lines = Lines::read(manifest, problems)?;
    lines.trim_end(0);
    let root = match lines.first() {
        Some(Some(root)) if !root.contains('\t') => directory_of(manifest).join(root.trim()),
        Some(None) => return Ok(Vec::new()),
        _ => {
            let reason = "is no manifest of fairseq: its first line is the directory that its paths are relative to";
            return Err(Error::file(manifest, reason));
        }
    };
    if !root.is_dir() {
        return Err(lines.place(1).error(format!("the root directory {} does not exist", root.display())));
    }
    let mut labels = labels(manifest, unit, problems)?;
    let files = lines.len() - 1;
    // An empty line is an empty transcript where there is a path for it.
    labels.trim_end(files);
    let transcripts = labels.len();
    if files != transcripts {
        let (files, transcripts) = (count(files as u64, "path"), count(transcripts as u64, "transcript"));
        let reason =
            format!("has {transcripts}, and {} {files}; line by line they belong together", manifest.display());
        return Err(Error::file(labels.file.as_ref(), reason));
    }
    let mut rows = Vec::new();
    for ((number, line), (said, label)) in lines.all().skip(1).zip(labels.all()) {
        let (Some(line), Some(label)) = (line, label) else { continue };
        let place = lines.place(number);
        match parse(line) {
            Ok((path, samples)) => {
                let transcript = match unit {
                    Unit::SpelledWords => Transcript::Text(label.to_owned()),
                    Unit::Letters | Unit::Phones => symbols(label),
                };
                let row = Row::new(vec![root.join(path).into()], transcript, place);
                rows.push(Row { declared: Some(samples), elsewhere: Some(labels.place(said)), ..row });
            }
            Err(reason) => problems.row(&place, reason),
        }
    }
    Ok(rows)
}

fn parse(line: &str) -> Result<(&str, u64), String> {
    // Not gathered: a line may be megabytes of tabs.
    let mut fields = line.split('\t');
    match (fields.next(), fields.next(), fields.next()) {
        (Some(path), Some(samples), None) => match samples.trim().parse() {
            Ok(samples) => Ok((path, samples)),
            Err(_) => Err(format!("{} is not a number of samples", excerpt(samples))),
        },
        _ => Err(format!("{} is not a path, a tab and a number of samples", excerpt(line))),
    }
}

fn labels(manifest: &Path, unit: Unit, problems: &mut Problems) -> Result<Lines> {
    let ending = match unit {
        Unit::Letters => "ltr",
        Unit::Phones => "phn",
        Unit::SpelledWords => "wrd",
    };
    let path = manifest.with_extension(ending);
    if path.is_file() {
        return Lines::read(&path, problems);
    }
    let others = [("ltr", "letters"), ("phn", "phones"), ("wrd", "words-as-letters")];
    let there: Vec<_> = others.into_iter().filter(|(ending, _)| manifest.with_extension(ending).is_file()).collect();
    let instead: Vec<_> = there.iter().map(|(ending, unit)| format!(".{ending} (`unit = \"{unit}\"`)")).collect();
    let hint = if instead.is_empty() { String::new() } else { format!("; there is {}", instead.join(", ")) };
    Err(Error::file(path, format!("does not exist; it holds the transcripts of this unit{hint}")))
}
