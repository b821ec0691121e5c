//! Manifests of named columns or keys: which of them are the recording, what is said in it, and what else a row may say.

use super::{Reading, symbols};
use crate::Unit;
use crate::clip::Piece;
use crate::problems::excerpt;
use crate::transcript::Transcript;

/// Names of the recording, the first that is there: Lopper's and `datasets`' own, NeMo's, AudioFolder's, Spontaneous Speech's,
/// Common Voice's, then what scripts of other toolkits write.
pub(super) const AUDIO: [&str; 14] = [
    "audio",
    "audio_filepath",
    "audio_filename",
    "audio_file",
    "file_name",
    "audio_file_name",
    "path",
    "file",
    "wav",
    "wav_filename",
    "audio_path",
    "file_path",
    "filepath",
    "filename",
];
/// Names of what is said. They may differ in spelling and punctuation, so none is preferred.
pub(super) const TEXTS: [&str; 9] = [
    "text",
    "sentence",
    "transcription",
    "transcript",
    "normalized_text",
    "raw_text",
    "raw_transcription",
    "normalized_transcription",
    "wrd",
];
const LANGUAGES: [&str; 2] = ["language", "locale"];
/// Of NeMo, whose `offset` and `duration` say which piece of a file is meant. Elsewhere a duration may count anything.
const NEMO: [&str; 2] = ["audio_filepath", "audio_filename"];

/// Which column is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Columns<'a> {
    /// There, unless what is missing is reported.
    pub(super) audio: Option<&'a str>,
    /// `None` where the phones of another file take its place.
    pub(super) text: Option<&'a str>,
    pub(super) language: Option<&'a str>,
    pub(super) split: Option<&'a str>,
    pub(super) offset: Option<&'a str>,
    pub(super) duration: Option<&'a str>,
}

/// Why the columns cannot be told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// With every row of the file.
    Ambiguous(String),
    /// With this row, where rows have keys of their own.
    Missing(Vec<String>),
}

impl<'a> Columns<'a> {
    /// Of columns with these names. `what` one of them is called.
    pub(super) fn of(names: &[&'a str], what: &str, reading: &Reading<'_>) -> Result<Self, Wrong> {
        let there = Self::there(names, what, reading);
        let mut missing = Vec::new();
        if there.audio.is_none() {
            missing.push(absent("audio", what, names));
        }
        match text(names, what, reading) {
            Ok(_) => {}
            Err(Wrong::Missing(reasons)) => missing.extend(reasons),
            Err(ambiguous) => return Err(ambiguous),
        }
        match missing.is_empty() {
            true => Ok(there),
            false => Err(Wrong::Missing(missing)),
        }
    }

    /// Those that are there, whatever is missing.
    pub(super) fn there(names: &[&'a str], what: &str, reading: &Reading<'_>) -> Self {
        let find = |wanted: &[&str]| wanted.iter().find_map(|wanted| names.iter().copied().find(|name| name == wanted));
        let (audio, offset) = (find(&AUDIO), find(&["offset"]));
        let cuts = offset.is_some() || audio.is_some_and(|audio| NEMO.contains(&audio));
        let duration = find(&["duration"]).filter(|_| cuts);
        let text = text(names, what, reading).unwrap_or_default();
        Self { audio, text, language: find(&LANGUAGES), split: find(&["split"]), offset, duration }
    }
}

/// The column of what is said.
fn text<'a>(names: &[&'a str], what: &str, reading: &Reading<'_>) -> Result<Option<&'a str>, Wrong> {
    let named = |wanted: &str| {
        let found = names.iter().copied().find(|name| *name == wanted);
        found.map(Some).ok_or_else(|| Wrong::Missing(vec![absent(wanted, what, names)]))
    };
    if let Some(wanted) = reading.transcript {
        return named(wanted);
    }
    if reading.phones.is_some() {
        return Ok(None);
    }
    if reading.unit == Unit::Phones {
        return named("phones");
    }
    let there: Vec<&str> = TEXTS.iter().filter_map(|text| names.iter().copied().find(|name| name == text)).collect();
    match there.as_slice() {
        [] => named("text"),
        [one] => Ok(Some(one)),
        several => {
            let listed = several.iter().map(|name| excerpt(name)).collect::<Vec<_>>().join(" and ");
            let reason = format!("has {listed}; say which is the transcript with transcript = \"{}\"", several[0]);
            Err(Wrong::Ambiguous(reason))
        }
    }
}

/// That there is no such column or key.
pub(super) fn absent(wanted: &str, what: &str, names: &[&str]) -> String {
    let found: Vec<_> = names.iter().take(16).map(|key| excerpt(key)).collect();
    format!("has no {what} `{wanted}`; found {}", found.join(", "))
}

/// What is said, from a text between whose white space the symbols stand where `unit` is phones.
pub(super) fn transcript(text: &str, unit: Unit) -> Transcript {
    if unit == Unit::Phones { symbols(text) } else { Transcript::Text(text.to_owned()) }
}

/// The piece that `offset` and `duration` name, in seconds; `None` for all of a recording.
///
/// # Errors
/// For numbers that are no such places.
pub(super) fn piece(offset: Option<f64>, duration: Option<f64>) -> Result<Option<Piece>, String> {
    // NeMo reads to the end where the duration is not positive.
    let duration = duration.filter(|duration| *duration != 0.0);
    let offset = offset.unwrap_or(0.0);
    for (name, value) in [("offset", Some(offset)), ("duration", duration)] {
        if let Some(value) = value.filter(|value| !(0.0..1e6).contains(value)) {
            return Err(format!("`{name}` is {value}, not a number of seconds"));
        }
    }
    Ok((offset > 0.0 || duration.is_some()).then_some(Piece { offset, duration }))
}
