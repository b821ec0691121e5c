//! From options to a dataset.

use crate::corpora::{self, Reading, Row};
use crate::dataset::{self, SpeechDataset};
use crate::labels::{Lexicon, add_counts};
use crate::names;
use crate::phone_symbols::{self, Numbers};
use crate::problems::Problems;
use crate::recordings::Recordings;
use crate::rows::{Purpose, Read, label, refuse, use_rows};
use crate::settings::{Settings, Source};
use crate::splits::{self, Part, Parts};
use crate::transcript::Transcript;
use crate::utterances::Utterances;
use crate::{Dictionary, SpeechOptions};
use lopper_core::{DatasetRequest, Error, Head, Input, Result, Split, Task, parse_leniently};
use std::collections::{BTreeMap, HashSet};

/// The task that `options` describe, as the core knows it. Transcripts are read where the dictionary is made of them,
/// recordings never.
///
/// # Errors
/// Bad options, a dictionary that cannot be read, and, where it is made of the training set, whatever keeps that from
/// being read.
pub fn task(options: &toml::Table) -> Result<Task> {
    let options = parsed(options)?;
    let (mut settings, found) = settled(&options)?;
    let dictionary = match &settings.dictionary {
        Source::Given(dictionary) => dictionary.clone(),
        // What else is wrong with the rows is reported when the data are opened, unless this fails already.
        Source::Training => match training_dictionary(&found, &mut settings)? {
            Some(dictionary) => dictionary,
            None => transcripts(&found, &mut settings)?.1,
        },
    };
    Ok(described(&settings, &dictionary))
}

/// The options as they are written. What is of a wrong type hides no other's wrong value.
fn parsed(table: &toml::Table) -> Result<SpeechOptions> {
    let options = SpeechOptions::parse(table, "[data]");
    let values = if options.is_ok() { Ok(()) } else { check_values(table) };
    Error::both(options, values).map(|(options, ())| options)
}

/// Checks the values of those options that are of the right type. Files are not looked for: where they lie may depend on
/// the others.
fn check_values(table: &toml::Table) -> Result<()> {
    let typed = parse_leniently(table, SpeechOptions::parse, "[data]", &mut Vec::new());
    let wrong = Settings::new(&typed).err().map(Error::into_single);
    let is_value = |error: &Error| matches!(error, Error::InvalidValue { .. });
    Error::all(wrong.into_iter().flatten().filter(is_value).collect())
}

/// What the options mean, and the splits that there are.
fn settled(options: &SpeechOptions) -> Result<(Settings<'_>, Vec<Parts>)> {
    let (settings, found) = Error::both(Settings::new(options), splits::find(options))?;
    let trains = found.iter().any(|parts| parts.split == Split::TRAIN);
    if matches!(settings.dictionary, Source::Training) && !trains {
        let expected = "there are no training transcripts to make it of; give `train`, or a dict.*.txt or vocab.json";
        return Err(Error::invalid("[data] dictionary", given(options), expected));
    }
    Ok((settings, found))
}

/// The option `dictionary`, for a message.
fn given(options: &SpeechOptions) -> String {
    options.dictionary.as_ref().map_or_else(|| "(not given)".to_owned(), ToString::to_string)
}

fn described(settings: &Settings<'_>, dictionary: &Dictionary) -> Task {
    Task::new(
        "speech",
        Head::Ctc { vocabulary: dictionary.symbols().to_vec(), blank: dictionary.blank() },
        if settings.writing.unit.spells() { "wer" } else { "per" },
    )
    .lower_is_better()
}

/// Reads the corpora that `request` names: their transcripts, and of their recordings what `check` says.
///
/// # Errors
/// Bad options; everything that is wrong with files and rows, of all splits together, each with its file and line;
/// [`Error::Unsupported`] for a model that does not read audio.
pub fn open(request: &DatasetRequest<'_>) -> Result<SpeechDataset> {
    let options = parsed(request.options)?;
    let (mut settings, mut found) = settled(&options)?;
    // The training split also tells the symbols of a dictionary that is not given, and of each language.
    let told = matches!(settings.dictionary, Source::Given(_)) && options.languages.is_empty();
    found.retain(|parts| parts.split != Split::TRAIN || request.training || !told);
    let (read, dictionary) = transcripts(&found, &mut settings)?;
    settings.tell_case(read.iter().flat_map(ReadSplit::transcripts));
    splits::tell(&found);
    phone_symbols::tell(&read.iter().flat_map(|split| split.numbers.clone()).collect::<Vec<_>>(), &options);
    let training = read.iter().find(|split| split.parts.split == Split::TRAIN);
    let languages = languages(training.map_or(&[], |split| split.rows.as_slice()), &settings, &dictionary);
    let corpus: Vec<_> = found.iter().flat_map(|parts| parts.parts.iter().map(|part| &part.path)).collect();
    let mut recordings = Recordings::new(settings.check, request.cache, &format!("{corpus:?}"));
    let mut lexicon = Lexicon::default();
    let (mut splits, mut errors) = (Vec::new(), Vec::new());
    for ReadSplit { parts, rows, mut problems, .. } in read {
        let purpose = if parts.split == Split::TRAIN { Purpose::Training } else { Purpose::Judging };
        let (rows, unlabelled) = label(rows, purpose, &settings, &dictionary, &mut lexicon, &mut problems);
        refuse(unlabelled, &mut recordings, &mut problems);
        let limit = if parts.split == Split::TRAIN { options.limit_train } else { options.limit_validation };
        let rows = use_rows(rows, (limit, purpose), &settings, &dictionary, &mut recordings, &mut problems);
        let skipped = problems.skipped();
        errors.extend(finish(parts, problems, rows.len()).err());
        let language = parts.parts.first().and_then(|part| part.language).filter(|_| parts.split != Split::TRAIN);
        splits.push(Utterances { split: parts.split.clone(), language, rows, skipped });
    }
    recordings.remember();
    Error::all(errors)?;
    splits.iter().for_each(Utterances::warn_of_silence);
    let preprocessor = request.preprocessor.clone().ok_or_else(|| Error::Unsupported {
        what: "this model, which has no preprocessor,".into(),
        feature: "speech; use a model that reads audio".into(),
    })?;
    // A model that reads no audio says so now.
    preprocessor.features(Input::Audio { samples: &[0.0; 16_000], sample_rate: crate::audio::RATE }, None)?;
    let common = Common { settings: &settings, dictionary: &dictionary, lexicon: &lexicon, languages: &languages };
    let reading = preprocessor.identity();
    let identities = splits.iter().map(|split| common.identity(split, &recordings, &reading)).collect();
    Ok(SpeechDataset::new(dataset::Parts {
        task: described(&settings, &dictionary),
        unit: settings.writing.unit,
        dictionary,
        lexicon,
        languages,
        splits,
        shortest: options.frame_window as usize,
        preprocessor,
        cache_bytes: options.cache_mb.saturating_mul(1 << 20),
        identities,
        skip_bad: options.skip_bad,
    }))
}

/// A split whose transcripts have been read.
struct ReadSplit<'a> {
    parts: &'a Parts,
    rows: Vec<Read>,
    problems: Problems,
    /// What became of phones that are numbers.
    numbers: Vec<Numbers>,
}

impl<'a> ReadSplit<'a> {
    fn new(parts: &'a Parts, settings: &Settings<'_>) -> Self {
        let mut split =
            Self { parts, rows: Vec::new(), problems: Problems::new(settings.options.skip_bad), numbers: Vec::new() };
        split.read(settings);
        split
    }

    fn transcripts(&self) -> impl Iterator<Item = &Transcript> {
        self.rows.iter().map(|(row, _)| &row.transcript)
    }

    /// The rows of all its parts; what is wrong with them goes to its problems.
    fn read(&mut self, settings: &Settings<'_>) {
        for part in &self.parts.parts {
            self.problems.read_shared(part.mixed);
            match read_part(part, settings, &mut self.problems) {
                Ok((rows, numbers)) => {
                    self.rows.extend(rows.into_iter().map(|row| (row, part.language)));
                    self.numbers.extend(numbers);
                }
                Err(e) => e.into_single().into_iter().for_each(|e| self.problems.push(e)),
            }
        }
        self.problems.read_shared(false);
    }
}

/// The dictionary of the training set, of which nothing else is read; `None` where there is none to be made.
///
/// # Errors
/// Phones of several languages that are each their own numbers.
fn training_dictionary(found: &[Parts], settings: &mut Settings<'_>) -> Result<Option<Dictionary>> {
    let Some(parts) = found.iter().find(|parts| parts.split == Split::TRAIN) else { return Ok(None) };
    let mut train = ReadSplit::new(parts, settings);
    phone_symbols::check(&train.numbers, settings.options)?;
    settings.decide_case(train.transcripts());
    Ok(made_of(&mut train, settings))
}

/// The transcripts of all splits, and the dictionary that is given or made of them.
///
/// # Errors
/// Phones of several languages that are each their own numbers; everything that is wrong with all splits, when that leaves
/// nothing to make the dictionary of.
fn transcripts<'a>(found: &'a [Parts], settings: &mut Settings<'_>) -> Result<(Vec<ReadSplit<'a>>, Dictionary)> {
    let mut splits: Vec<_> = found.iter().map(|parts| ReadSplit::new(parts, settings)).collect();
    let numbers: Vec<_> = splits.iter().flat_map(|split| split.numbers.clone()).collect();
    phone_symbols::check(&numbers, settings.options)?;
    if let Some(train) = splits.iter().find(|split| split.parts.split == Split::TRAIN) {
        settings.decide_case(train.transcripts());
    }
    let dictionary = match &settings.dictionary {
        Source::Given(dictionary) => Some(dictionary.clone()),
        Source::Training => {
            let train = splits.iter_mut().find(|split| split.parts.split == Split::TRAIN);
            train.and_then(|train| made_of(train, settings))
        }
    };
    match dictionary {
        Some(dictionary) => Ok((splits, dictionary)),
        None => {
            let errors =
                splits.into_iter().filter_map(|split| finish(split.parts, split.problems, split.rows.len()).err());
            Err(Error::all(errors.collect()).expect_err("a training set without a dictionary says why"))
        }
    }
}

/// Reports on a split of which `used` rows are left.
fn finish(parts: &Parts, mut problems: Problems, used: usize) -> Result<()> {
    if let (0, true, Some(part)) = (used, problems.is_clean(), parts.parts.first()) {
        let reason = format!("holds no recordings for the {} split", parts.split.as_str());
        problems.push(Error::file(&part.path, reason));
    }
    problems.finish(&parts.split, used)
}

/// The rows of a part, in its language, and what became of numbers among them.
fn read_part(part: &Part, settings: &Settings<'_>, problems: &mut Problems) -> Result<(Vec<Row>, Option<Numbers>)> {
    let files = if part.path.exists() { Some(vec![part.path.clone()]) } else { splits::shards(&part.path)? };
    let files = files.ok_or_else(|| splits::absent(&part.path, part.key, "a file or directory"))?;
    let clips = settings.clips(part);
    let reading = Reading { option: part.key, ..settings.reading(settings.phones(part), clips.as_deref()) };
    let mut rows = Vec::new();
    for file in &files {
        rows.extend(corpora::read(file, &reading, problems)?);
    }
    let languages = &settings.options.languages;
    if let Some(language) = part.language.filter(|_| part.mixed) {
        rows.retain(|row| match &row.language {
            Some(found) => names::is_language(found, language, languages),
            None => {
                // Each split of a language reads the file; one report is enough.
                if language == 0 {
                    let reason = format!("has no language; `languages` are {}", languages.join(", "));
                    problems.row(&row.place, reason);
                }
                false
            }
        });
    }
    let numbers = match settings.has_phones() {
        true => phone_symbols::name(part, settings.options, &settings.symbols, &mut rows, problems)?,
        false => None,
    };
    Ok((rows, numbers))
}

/// The dictionary of a training set. Where there is none, its problems say why.
fn made_of(train: &mut ReadSplit<'_>, settings: &Settings<'_>) -> Option<Dictionary> {
    let mut counts = BTreeMap::new();
    let symbols = |row: &Row| settings.writing.symbols(&row.transcript, "|");
    train.rows.iter().filter_map(|(row, _)| symbols(row).ok()).for_each(|symbols| add_counts(&mut counts, symbols));
    if counts.is_empty() {
        // Not one of them can be used.
        for (row, _) in train.rows.drain(..) {
            symbols(&row).err().into_iter().for_each(|reason| train.problems.row(row.said(), reason));
        }
        return None;
    }
    let refuse =
        |reason| Error::invalid("[data] dictionary", given(settings.options), format!("the training set {reason}"));
    Dictionary::from_counts(&counts).map_err(|reason| train.problems.push(refuse(reason))).ok()
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

/// What the splits of a corpus share.
struct Common<'a> {
    settings: &'a Settings<'a>,
    dictionary: &'a Dictionary,
    lexicon: &'a Lexicon,
    languages: &'a [HashSet<u32>],
}

impl Common<'_> {
    /// Every field is preceded by its length, so that no two splits feed the hash the same bytes. `reading` is the
    /// preprocessor's identity.
    fn identity(&self, split: &Utterances, recordings: &Recordings<'_>, reading: &str) -> String {
        let Self { settings, dictionary, lexicon, languages } = self;
        let mut hash = blake3::Hasher::new();
        let mut field = |bytes: &[u8]| {
            hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        let ids = |ids: &[u32]| ids.iter().flat_map(|id| id.to_le_bytes()).collect::<Vec<u8>>();
        field(b"lopper-speech 2");
        field(reading.as_bytes());
        field(format!("{:?}", settings.writing.unit.spells()).as_bytes());
        field(&(dictionary.blank() as u64).to_le_bytes());
        field(&(dictionary.len() as u64).to_le_bytes());
        dictionary.symbols().iter().for_each(|symbol| field(symbol.as_bytes()));
        // What a language's metrics are restricted to; nothing is trained by it.
        let outputs = split.language.filter(|_| split.split != Split::TRAIN).and_then(|number| languages.get(number));
        let mut outputs: Vec<u32> = outputs.into_iter().flatten().copied().collect();
        outputs.sort_unstable();
        field(&ids(&outputs));
        field(split.split.as_str().as_bytes());
        field(&(split.rows.len() as u64).to_le_bytes());
        for row in &split.rows {
            field(&(row.label.len() as u64).to_le_bytes());
            // As text: symbols outside of the dictionary are numbered as all splits meet them.
            let symbols = row.label.iter().map(|id| lexicon.symbol(*id, dictionary).unwrap_or_default());
            symbols.for_each(|symbol| field(symbol.as_bytes()));
            row.audio.iter().for_each(|sound| field(&recordings.hash(sound)));
        }
        hash.finalize().to_hex().to_string()
    }
}
