//! Rows of a manifest, of which some may belong to other splits, before their recordings are looked for.

use super::clips::Clips;
use super::{Reading, Row, directory_of};
use crate::clip::{Clip, Piece};
use crate::problems::{Place, Problems, excerpt};
use crate::transcript::Transcript;
use lopper_core::{Error, Result};
use std::collections::BTreeSet;
use std::path::Path;

/// What a row says.
pub(super) struct Entry {
    pub(super) recording: Recording,
    pub(super) transcript: Transcript,
    pub(super) language: Option<String>,
    pub(super) split: Option<String>,
    /// Of the one recording that it names.
    pub(super) piece: Option<Piece>,
}

/// The recording of a row.
pub(super) enum Recording {
    /// As a list calls it.
    Named(String),
    /// Known.
    Known(Vec<Clip>),
}

/// The rows of a manifest.
#[derive(Default)]
pub(super) struct Entries {
    entries: Vec<(Entry, Place)>,
    splits: BTreeSet<String>,
}

impl Entries {
    pub(super) fn add(&mut self, entry: Entry, place: Place) {
        if let Some(split) = entry.split.as_ref().filter(|split| !self.splits.contains(*split)) {
            self.splits.insert(split.clone());
        }
        self.entries.push((entry, place));
    }

    /// The rows of the split that is read, with their recordings; those that are not found are reported.
    ///
    /// # Errors
    /// [`Error::File`] where no row is of that split.
    pub(super) fn rows(self, file: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
        let wanted = wanted(&self.splits, reading.option).map_err(|reason| Error::file(file, reason))?;
        let clips = Clips::new(directory_of(file), reading.clips);
        let mut rows = Vec::new();
        for (entry, place) in self.entries {
            if !entry.split.as_deref().is_none_or(&wanted) {
                continue;
            }
            let audio = match entry.recording {
                Recording::Known(clips) => Ok(clips),
                Recording::Named(name) => clips.find(&name).map(|path| vec![path.into()]),
            };
            match audio {
                Ok(mut audio) => {
                    audio.iter_mut().for_each(|clip| clip.piece = entry.piece);
                    rows.push(Row { language: entry.language, ..Row::new(audio, entry.transcript, place) });
                }
                Err(reason) => problems.row(&place, reason),
            }
        }
        Ok(rows)
    }
}

/// Tells which splits are read: all of them where the file has one; where it has several, those that are called like the option
/// that names the file. Rows of no split are there in Spontaneous Speech: nobody has transcribed them yet.
///
/// # Errors
/// The splits that there are, where none of several is called so.
fn wanted(splits: &BTreeSet<String>, option: &str) -> Result<impl Fn(&str) -> bool, String> {
    let names: &'static [&'static str] = match option {
        "train" => &["train", "training"],
        "test" => &["test", "eval"],
        _ => &["dev", "valid", "validation", "val"],
    };
    let all = splits.len() <= 1;
    if !all && !splits.iter().any(|split| names.contains(&split.as_str())) {
        let found = splits.iter().take(16).map(|split| excerpt(split)).collect::<Vec<_>>().join(", ");
        return Err(format!("has a column `split` with {found}, and none of them is {}", names.join(" or ")));
    }
    Ok(move |split: &str| all || names.contains(&split))
}
