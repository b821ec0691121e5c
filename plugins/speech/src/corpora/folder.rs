//! A plain folder: anywhere below it, audio files with a text file of the same name beside each; or `datasets`' AudioFolder, in
//! which `metadata.csv`, `metadata.jsonl` or `metadata.parquet` name the recordings relative to themselves.

use super::{Reading, Row, Transcript, is_audio, symbols, walk};
use crate::Unit;
use crate::problems::{At, Place, Problems};
use crate::text::bytes;
use lopper_core::{Error, Result};
use std::path::{Path, PathBuf};

/// Names of AudioFolder's lists.
const METADATA: [&str; 3] = ["metadata.csv", "metadata.jsonl", "metadata.parquet"];

/// Whether a file is one of AudioFolder's lists.
pub(super) fn is_metadata(path: &Path) -> bool {
    path.file_name().is_some_and(|name| METADATA.iter().any(|metadata| name == *metadata))
}

/// AudioFolder's list of a folder that has none itself: that of the folder above, which names recordings in it.
pub(super) fn metadata_above(directory: &Path) -> Option<PathBuf> {
    let above = directory.parent()?;
    METADATA.iter().map(|name| above.join(name)).find(|path| path.is_file())
}

/// The rows of all of AudioFolder's lists below a folder, or of the one above it.
///
/// # Errors
/// [`Error::File`] where there are lists of several kinds, as `datasets` has it.
pub(super) fn read_metadata(directory: &Path, reading: &Reading<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let lists: Vec<_> = walk(directory)?.into_iter().filter(|path| is_metadata(path)).collect();
    if let [first, .., last] = lists.as_slice()
        && first.extension() != last.extension()
    {
        let reason = format!("is of another kind than {}; keep one of them", first.display());
        return Err(Error::file(last, reason));
    }
    let mut rows = Vec::new();
    for list in &lists {
        rows.extend(super::read(list, reading, problems)?);
    }
    if let (true, Some(above)) = (lists.is_empty(), metadata_above(directory)) {
        rows = super::read(&above, reading, problems)?;
        rows.retain(|row| row.audio.iter().all(|clip| clip.whole.path().starts_with(directory)));
        if rows.is_empty() {
            return Err(Error::file(above, format!("names no recording in {}", directory.display())));
        }
    }
    Ok(rows)
}

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
        let place = Place { file: audio.as_path().into(), at: At::File };
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
                rows.push(Row::new(vec![audio.into()], transcript, place));
            }
            Err(reason) => problems.row(&place, reason),
        }
    }
    Ok(rows)
}
