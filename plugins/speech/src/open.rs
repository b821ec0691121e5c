//! From options to a dataset.

use crate::corpora::{self, PhoneFile, Row};
use crate::dataset::{Parts, SpeechDataset, Utterances};
use crate::labels::{Lexicon, add_counts};
use crate::problems::Problems;
use crate::recordings::Recordings;
use crate::rows::{Read, label, subset, use_rows};
use crate::settings::{Settings, Source};
use crate::splits::{self, Part};
use crate::{Dictionary, SpeechOptions};
use lopper_core::{DatasetRequest, Error, Head, Input, Preprocessor, Result, Split, Task};
use std::collections::{BTreeMap, HashSet};

/// The task that `options` describe, as the core knows it. Transcripts are read where the dictionary is made of them,
/// recordings never.
///
/// # Errors
/// Bad options, a dictionary that cannot be read, and, where it is made of the training set, whatever keeps that from
/// being read.
pub fn task(options: &toml::Table) -> Result<Task> {
    let options = SpeechOptions::parse(options, "[data]")?;
    let (settings, found) = Error::both(Settings::new(&options), splits::find(&options))?;
    let dictionary = match &settings.dictionary {
        Source::Given(dictionary) => dictionary.clone(),
        Source::Training => {
            let train = found.iter().find(|parts| parts.split == Split::TRAIN);
            // Rows that cannot be used are reported when the data are opened.
            let mut problems = Problems::new(true);
            let rows = train.map_or_else(Vec::new, |parts| read(parts, &settings, &mut problems));
            problems.finish_quietly()?;
            made_of(&rows, &settings)?
        }
    };
    Ok(described(&settings, &dictionary))
}

fn described(settings: &Settings<'_>, dictionary: &Dictionary) -> Task {
    Task {
        name: "speech".into(),
        head: Head::Ctc { vocabulary: dictionary.symbols().to_vec(), blank: dictionary.blank() },
        primary_metric: if settings.writing.unit.spells() { "wer" } else { "per" }.into(),
        higher_is_better: false,
    }
}

/// Reads the corpora that `request` names: their transcripts, and of their recordings what `check` says.
///
/// # Errors
/// Bad options; everything that is wrong with files and rows, of all splits together, each with its file and line;
/// [`Error::Unsupported`] for a model that does not read audio.
pub fn open(request: &DatasetRequest<'_>) -> Result<SpeechDataset> {
    let options = SpeechOptions::parse(request.options, "[data]")?;
    let (settings, found) = Error::both(Settings::new(&options), splits::find(&options))?;
    let mut splits = Vec::new();
    for parts in &found {
        let mut problems = Problems::new(options.skip_bad);
        let rows = read(parts, &settings, &mut problems);
        splits.push((parts, rows, problems));
    }
    let training = splits.iter().find(|(parts, ..)| parts.split == Split::TRAIN).map(|(_, rows, _)| rows.as_slice());
    let dictionary = match &settings.dictionary {
        Source::Given(dictionary) => Ok(dictionary.clone()),
        Source::Training => made_of(training.unwrap_or_default(), &settings),
    };
    let dictionary = match dictionary {
        Ok(dictionary) => dictionary,
        Err(e) => {
            let read =
                splits.into_iter().map(|(parts, rows, problems)| problems.finish(&parts.split, rows.len()).err());
            return Err(Error::Many(read.flatten().chain([e]).flat_map(Error::into_single).collect()));
        }
    };
    let mut lexicon = Lexicon::default();
    let languages = languages(training.unwrap_or_default(), &settings, &dictionary);
    let mut labelled = Vec::new();
    for (parts, rows, mut problems) in splits {
        let rows = label(rows, &settings, &dictionary, &mut lexicon, &mut problems);
        let limit = if parts.split == Split::TRAIN { options.limit_train } else { options.limit_validation };
        labelled.push((parts, subset(rows, limit, options.limit_seed), problems));
    }
    let paths = labelled.iter().flat_map(|(_, rows, _)| rows).flat_map(|(row, ..)| &row.audio);
    let recordings = Recordings::inspect(paths, settings.check);
    let (mut splits, mut errors) = (Vec::new(), Vec::new());
    for (parts, rows, mut problems) in labelled {
        let rows = use_rows(rows, &settings, &dictionary, &recordings, &mut problems);
        let skipped = problems.skipped();
        if rows.is_empty() && problems.is_clean() {
            let from = parts.parts.first().map(|part| part.path.as_path()).unwrap_or(&options.path);
            problems.push(Error::file(from, format!("holds no recordings for the {} split", parts.split.as_str())));
        }
        errors.extend(problems.finish(&parts.split, rows.len()).err());
        let language = parts.parts.first().and_then(|part| part.language).filter(|_| parts.split != Split::TRAIN);
        splits.push(Utterances { split: parts.split.clone(), language, rows, skipped });
    }
    Error::all(errors)?;
    recordings.warn_of_silence();
    let preprocessor = request.preprocessor.clone().ok_or_else(|| Error::Unsupported {
        what: "this model, which has no preprocessor,".into(),
        feature: "speech; use a model that reads audio".into(),
    })?;
    // A model that reads no audio says so now.
    preprocessor.features(Input::Audio { samples: &[0.0; 16_000], sample_rate: crate::audio::RATE }, None)?;
    let identity = identity(&settings, &dictionary, &lexicon, &languages, &splits, &recordings, preprocessor.as_ref());
    Ok(SpeechDataset::new(Parts {
        task: described(&settings, &dictionary),
        unit: settings.writing.unit,
        dictionary,
        lexicon,
        languages,
        splits,
        preprocessor,
        cache_bytes: options.cache_mb.saturating_mul(1 << 20),
        identity,
        skip_bad: options.skip_bad,
    }))
}

/// The rows of all parts of a split; what is wrong with them goes to `problems`.
fn read(parts: &splits::Parts, settings: &Settings<'_>, problems: &mut Problems) -> Vec<Read> {
    let mut rows = Vec::new();
    for part in &parts.parts {
        problems.read_shared(part.mixed);
        match read_part(part, settings, problems) {
            Ok(read) => rows.extend(read.into_iter().map(|row| (row, part.language))),
            Err(e) => e.into_single().into_iter().for_each(|e| problems.push(e)),
        }
    }
    problems.read_shared(false);
    rows
}

fn read_part(part: &Part, settings: &Settings<'_>, problems: &mut Problems) -> Result<Vec<Row>> {
    let phones = settings.phones(part).map(|path| PhoneFile::read(&path)).transpose()?;
    let clips = settings.clips(part);
    let reading = settings.reading(phones.as_ref(), clips.as_deref());
    let mut rows = corpora::read(&part.path, &reading, problems)?;
    let languages = &settings.options.languages;
    let Some(language) = part.language.filter(|_| part.mixed) else { return Ok(rows) };
    rows.retain(|row| match &row.language {
        Some(found) => *found == languages[language],
        None => {
            // Each split of a language reads the file; one report is enough.
            if language == 0 {
                let reason = format!("has no language; `languages` are {}", languages.join(", "));
                problems.row(&row.place, reason);
            }
            false
        }
    });
    Ok(rows)
}

/// The dictionary of a training set.
fn made_of(rows: &[Read], settings: &Settings<'_>) -> Result<Dictionary> {
    let (mut counts, mut unusable) = (BTreeMap::new(), None);
    for (row, _) in rows {
        match settings.writing.symbols(&row.transcript, "|") {
            Ok(symbols) => add_counts(&mut counts, symbols),
            Err(reason) => unusable = unusable.or_else(|| Some(row.place.error(reason))),
        }
    }
    let given = settings.options.dictionary.as_ref().map_or_else(|| "\"\"".to_owned(), ToString::to_string);
    if let (true, Some(e)) = (counts.is_empty(), unusable) {
        return Err(e);
    }
    if counts.is_empty() {
        let expected = "there are no training transcripts to make it of; give `train`, or a dict.*.txt or vocab.json";
        return Err(Error::invalid("[data] dictionary", given, expected));
    }
    Dictionary::from_counts(&counts)
        .map_err(|reason| Error::invalid("[data] dictionary", given, format!("the training set {reason}")))
}

/// The outputs that occur in the training data of each language, where there are several.
fn languages(rows: &[Read], settings: &Settings<'_>, dictionary: &Dictionary) -> Vec<HashSet<u32>> {
    let number = settings.options.languages.len();
    if number < 2 || rows.is_empty() {
        return Vec::new();
    }
    let mut languages = vec![HashSet::new(); number];
    for (row, language) in rows {
        let symbols = settings.writing.symbols(&row.transcript, dictionary.delimiter()).unwrap_or_default();
        if let Some(language) = language {
            languages[*language].extend(symbols.iter().filter_map(|symbol| dictionary.id(symbol)));
        }
    }
    languages
}

/// Every field is preceded by its length, so that no two datasets feed the hash the same bytes.
fn identity(
    settings: &Settings<'_>,
    dictionary: &Dictionary,
    lexicon: &Lexicon,
    languages: &[HashSet<u32>],
    splits: &[Utterances],
    recordings: &Recordings,
    preprocessor: &dyn Preprocessor,
) -> String {
    let mut hash = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    let ids = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
    field(b"lopper-speech 1");
    field(preprocessor.identity().as_bytes());
    field(format!("{:?}", settings.writing.unit.spells()).as_bytes());
    field(&(dictionary.blank() as u64).to_le_bytes());
    field(&(dictionary.len() as u64).to_le_bytes());
    dictionary.symbols().iter().chain(lexicon.strange()).for_each(|symbol| field(symbol.as_bytes()));
    for language in languages {
        let mut outputs: Vec<u32> = language.iter().copied().collect();
        outputs.sort_unstable();
        field(&ids(&outputs));
    }
    for utterances in splits {
        field(utterances.split.as_str().as_bytes());
        field(&(utterances.rows.len() as u64).to_le_bytes());
        for row in &utterances.rows {
            field(&ids(&row.label));
            row.audio.iter().for_each(|path| field(&recordings.hash(path)));
        }
    }
    hash.finalize().to_hex().to_string()
}
