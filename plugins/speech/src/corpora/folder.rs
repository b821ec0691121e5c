//! A plain folder: anywhere below it, audio files with a text file of the same name beside each.

use super::{Reading, Row, Transcript, is_audio, symbols, walk};
use crate::Unit;
use crate::problems::{Place, Problems};
use crate::text::bytes;
use lopper_core::{Error, Result};
use std::path::Path;

pub(super) fn read(directory: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let recordings: Vec<_> = walk(directory)?.into_iter().filter(|path| is_audio(path)).collect();
    if recordings.is_empty() {
        let endings = super::AUDIO.join(", .");
        return Err(Error::file(
            directory,
            format!("holds no audio: looked for .{endings} in all directories below it"),
        ));
    }
    let mut rows = Vec::new();
    for audio in recordings {
        let file = audio.with_extension("txt");
        let place = Place { file: audio.as_path().into(), line: 0 };
        // The phones of a file of phones take the place of the text.
        let text = match bytes(&file, u64::MAX) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|e| {
                format!("its text {} is not UTF-8 at byte {}", file.display(), e.utf8_error().valid_up_to() + 1)
            }),
            Err(_) if reading.phones.is_some() => Ok(String::new()),
            Err(reason) => Err(format!("its text {} {reason}", file.display())),
        };
        match text {
            Ok(text) => {
                let transcript = if reading.unit == Unit::Phones { symbols(&text) } else { Transcript::Text(text) };
                rows.push(Row {
                    audio: vec![audio],
                    transcript,
                    language: None,
                    declared: None,
                    place,
                    elsewhere: None,
                });
            }
            Err(reason) => problems.row(&place, reason),
        }
    }
    Ok(rows)
}
