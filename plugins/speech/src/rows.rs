//! From rows of a corpus to what is trained on: labels, a draw, and recordings that can be used.

use crate::Dictionary;
use crate::advice::Advice;
use crate::corpora::Row;
use crate::labels::Lexicon;
use crate::problems::{LISTED, Problems, excerpt};
use crate::recordings::Recordings;
use crate::settings::Settings;
use crate::utterances::Utterance;
use std::collections::BTreeMap;

/// A row and its language.
pub(crate) type Read = (Row, Option<usize>);

/// A row and its label.
pub(crate) type Labelled = (Row, Box<[u32]>);

/// A row and why it has no label.
pub(crate) type Unlabelled = (Row, String);

/// What rows are for. CTC is trained on what it can align with its recording; judged is whatever was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Training,
    Judging,
}

/// The rows with labels, and those without one. Rows to judge by may be empty and have symbols that the dictionary does not
/// have, each of which is an error of whoever listens; they are told. Where most symbols are such, it is another
/// dictionary's text or another case, and those rows have no labels.
pub(crate) fn label(
    rows: Vec<Read>,
    purpose: Purpose,
    settings: &Settings<'_>,
    dictionary: &Dictionary,
    lexicon: &mut Lexicon,
    problems: &mut Problems,
) -> (Vec<Labelled>, Vec<Unlabelled>) {
    // A row with a label may have a reason against it.
    let (mut labelled, mut unlabelled) = (Vec::new(), Vec::new());
    let mut advice = Advice::new(settings, dictionary);
    // Symbols, and those that the dictionary does not have, without ends of words.
    let (mut all, mut outside) = (0, 0);
    for (row, _) in rows {
        let delimiter = dictionary.delimiter();
        let symbols = match purpose {
            Purpose::Training => settings.writing.symbols(&row.transcript, delimiter),
            Purpose::Judging => settings.writing.written(&row.transcript, delimiter),
        };
        let symbols = match symbols {
            Ok(symbols) => symbols,
            Err(reason) => {
                unlabelled.push((row, reason));
                continue;
            }
        };
        let (label, unknown) = lexicon.ids(&symbols, dictionary);
        all += symbols.iter().filter(|symbol| *symbol != delimiter).count();
        outside += label.iter().filter(|id| **id as usize >= dictionary.len()).count();
        if unknown.is_empty() || settings.keep_unknown {
            labelled.push(((row, label), None));
            continue;
        }
        advice.consider(&row.transcript);
        let unknown: Vec<_> = unknown.iter().take(10).map(|symbol| excerpt(symbol)).collect();
        let reason = format!("has {}, which the dictionary does not have", unknown.join(", "));
        match purpose {
            Purpose::Training => unlabelled.push((row, reason)),
            Purpose::Judging => labelled.push(((row, label), Some(reason))),
        }
    }
    let mut strange = labelled.iter().filter_map(|((row, _), reason)| Some((row, reason.as_ref()?)));
    let first = strange.next().filter(|_| 2 * outside <= all);
    if let Some((row, reason)) = first {
        if let Some(hint) = advice.hint() {
            let (rows, first) = (1 + strange.count(), row.said().error(reason.as_str()));
            tracing::warn!(rows, %first, "symbols that the dictionary does not have count as errors; {hint}");
        }
        return (labelled.into_iter().map(|(labelled, _)| labelled).collect(), unlabelled);
    }
    let mut usable = Vec::with_capacity(labelled.len());
    for ((row, label), reason) in labelled {
        match reason {
            Some(reason) => unlabelled.push((row, reason)),
            None => usable.push((row, label)),
        }
    }
    advice.hint().into_iter().for_each(|hint| problems.hint(hint));
    (usable, unlabelled)
}

/// Reports rows without a label; of as many as are listed, what is wrong with their recordings, too.
pub(crate) fn refuse(rows: Vec<Unlabelled>, recordings: &mut Recordings<'_>, problems: &mut Problems) {
    let listed = rows.len().min(LISTED);
    recordings.look(rows[..listed].iter().flat_map(|(row, _)| &row.audio));
    for (number, (row, reason)) in rows.iter().enumerate() {
        let heard = if number < listed { recordings.length(row).err() } else { None };
        let reasons: Vec<&str> = [reason].into_iter().chain(&heard).map(String::as_str).collect();
        problems.row(row.said(), reasons.join("; "));
    }
}

/// `limit` of the rows whose recordings can be used for their purpose with their labels, in their own order; all of them for 0. Where bad
/// rows are left out, the next ones that are drawn take their places. What is not drawn is not looked at.
pub(crate) fn use_rows(
    rows: Vec<Labelled>,
    (limit, purpose): (u64, Purpose),
    settings: &Settings<'_>,
    dictionary: &Dictionary,
    recordings: &mut Recordings<'_>,
    problems: &mut Problems,
) -> Vec<Utterance> {
    let wanted = if limit == 0 { rows.len() } else { rows.len().min(limit as usize) };
    let mut drawn = draw(rows, wanted, settings.options.limit_seed).into_iter();
    let (mut used, mut refused) = (BTreeMap::new(), BTreeMap::new());
    loop {
        let next: Vec<_> = drawn.by_ref().take(wanted - used.len()).collect();
        recordings.look(next.iter().flat_map(|(_, (row, _))| &row.audio));
        for (number, (row, label)) in next {
            match usable(&row, &label, purpose, settings, dictionary, recordings) {
                Ok(samples) => _ = used.insert(number, utterance(row, label, samples, recordings)),
                Err(reason) => _ = refused.insert(number, (row, reason)),
            }
        }
        if !settings.options.skip_bad || used.len() == wanted || drawn.len() == 0 {
            break;
        }
    }
    refused.values().for_each(|(row, reason)| problems.row(&row.place, reason));
    used.into_values().collect()
}

/// The rows with their numbers, in the order in which they are drawn: in their own where all of them are wanted. A row is
/// drawn by the hash of its number, so the draws of one seed are nested, and equal on every machine.
fn draw(rows: Vec<Labelled>, wanted: usize, seed: u64) -> Vec<(usize, Labelled)> {
    let all = rows.len();
    let mut drawn: Vec<_> = rows.into_iter().enumerate().collect();
    if wanted < all {
        drawn.sort_by_cached_key(|(number, _)| {
            let mut hash = blake3::Hasher::new();
            hash.update(&seed.to_le_bytes()).update(&(*number as u64).to_le_bytes());
            *hash.finalize().as_bytes()
        });
    }
    drawn
}

/// The samples at 16 kHz of a row's recording.
///
/// # Errors
/// Why it cannot be used with the row's label.
fn usable(
    row: &Row,
    label: &[u32],
    purpose: Purpose,
    settings: &Settings<'_>,
    dictionary: &Dictionary,
    recordings: &Recordings<'_>,
) -> Result<u64, String> {
    let target: Vec<u32> = label.iter().map(|id| dictionary.trained(*id)).collect();
    let samples = recordings.length(row)?;
    if purpose == Purpose::Judging {
        return Ok(samples);
    }
    match settings.unusable(samples, &target) {
        Some(reason) => Err(format!("{} {reason}", row.audio[0])),
        None => Ok(samples),
    }
}

fn utterance(row: Row, label: Box<[u32]>, samples: u64, recordings: &Recordings<'_>) -> Utterance {
    let audio = row.audio.iter().map(|clip| recordings.sound(clip)).collect();
    // Below an hour.
    Utterance { audio, samples: samples as u32, silent: recordings.silent(&row), label, place: row.place }
}
