//! From rows of a corpus to what is trained on: labels, a draw, and recordings that can be used.

use crate::Dictionary;
use crate::corpora::Row;
use crate::dataset::Utterance;
use crate::labels::Lexicon;
use crate::problems::{Problems, excerpt};
use crate::recordings::Recordings;
use crate::settings::Settings;
use std::collections::HashSet;

/// A row and its language.
pub(crate) type Read = (Row, Option<usize>);

/// A row and its label.
pub(crate) type Labelled = (Row, Box<[u32]>);

/// The labels of rows; those without one are reported.
pub(crate) fn label(
    rows: Vec<Read>,
    settings: &Settings<'_>,
    dictionary: &Dictionary,
    lexicon: &mut Lexicon,
    problems: &mut Problems,
) -> Vec<Labelled> {
    let mut labelled = Vec::new();
    for (row, _) in rows {
        let symbols = match settings.writing.symbols(&row.transcript, dictionary.delimiter()) {
            Ok(symbols) => symbols,
            Err(reason) => {
                problems.row(&row.place, reason);
                continue;
            }
        };
        let (label, unknown) = lexicon.ids(&symbols, dictionary);
        if unknown.is_empty() || settings.keep_unknown {
            labelled.push((row, label));
            continue;
        }
        let unknown: Vec<_> = unknown.iter().take(10).map(|symbol| excerpt(symbol)).collect();
        problems.row(&row.place, format!("has {}, which the dictionary does not have", unknown.join(", ")));
        let remedy = if settings.writing.unit.spells() { "`remove` drops characters, " } else { "" };
        let known = dictionary.listed();
        problems.hint(format!("the dictionary has only {known}; {remedy}`unknown = \"unk\"` keeps such rows"));
    }
    labelled
}

/// `limit` of the rows in their own order; all of them for 0. A row is drawn by the hash of its position, so the draws
/// of one seed are nested, and equal on every machine.
pub(crate) fn subset(rows: Vec<Labelled>, limit: u64, seed: u64) -> Vec<Labelled> {
    if limit == 0 || limit >= rows.len() as u64 {
        return rows;
    }
    let rank = |index: usize| {
        let mut hash = blake3::Hasher::new();
        hash.update(&seed.to_le_bytes()).update(&(index as u64).to_le_bytes());
        (*hash.finalize().as_bytes(), index)
    };
    let mut ranks: Vec<_> = (0..rows.len()).map(rank).collect();
    ranks.sort_unstable();
    let drawn: HashSet<usize> = ranks.iter().take(limit as usize).map(|(_, index)| *index).collect();
    rows.into_iter().enumerate().filter(|(index, _)| drawn.contains(index)).map(|(_, row)| row).collect()
}

/// The rows whose recordings can be used with their labels.
pub(crate) fn use_rows(
    rows: Vec<Labelled>,
    settings: &Settings<'_>,
    dictionary: &Dictionary,
    recordings: &Recordings,
    problems: &mut Problems,
) -> Vec<Utterance> {
    let mut used = Vec::new();
    for (row, label) in rows {
        let target: Vec<u32> = label.iter().map(|id| dictionary.trained(*id)).collect();
        let usable = recordings.length(&row).and_then(|samples| match settings.unusable(samples, &target) {
            Some(reason) => Err(format!("{} {reason}", row.audio[0].display())),
            None => Ok(samples),
        });
        match usable {
            // Below an hour.
            Ok(samples) => {
                let audio = row.audio.iter().map(|path| recordings.shared(path)).collect();
                let silent = recordings.silent(&row);
                used.push(Utterance { audio, samples: samples as u32, silent, label, place: row.place });
            }
            Err(reason) => problems.row(&row.place, reason),
        }
    }
    used
}
