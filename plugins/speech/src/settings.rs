//! Options as what they mean.

use crate::audio::{Check, RATE};
use crate::case::{Case, Losses};
use crate::corpora::{Format, PhoneFile, Reading};
use crate::labels::{Unit, Writing, choose, steps_needed};
use crate::options::DictionarySource;
use crate::phone_symbols::{self, PhoneSymbols};
use crate::problems::excerpt;
use crate::splits::{self, Part};
use crate::transcript::Transcript;
use crate::{Dictionary, SpeechOptions};
use lopper_core::{Error, Result};
use lopper_tables::delimited::Quoting;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where the dictionary comes from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    Given(Dictionary),
    Training,
}

/// Checked options.
pub(crate) struct Settings<'a> {
    pub(crate) options: &'a SpeechOptions,
    pub(crate) format: Option<Format>,
    pub(crate) dictionary: Source,
    pub(crate) writing: Writing,
    /// Whether the letters of the training set decide the case.
    decides_case: bool,
    /// Whether symbols outside the dictionary are learned as its unknown symbol.
    pub(crate) keep_unknown: bool,
    pub(crate) check: Check,
    /// By their paths.
    phones: BTreeMap<PathBuf, PhoneFile>,
    /// What numbers of phones are, by the paths that the option names.
    pub(crate) symbols: BTreeMap<PathBuf, PhoneSymbols>,
}

impl<'a> Settings<'a> {
    /// # Errors
    /// Everything that is wrong with the options' values and with the files of dictionary and phones, together.
    pub(crate) fn new(options: &'a SpeechOptions) -> Result<Self> {
        let checks = [("content", Check::Content), ("decode", Check::Decode), ("headers", Check::Headers)];
        let unknowns = [("refuse", false), ("unk", true)];
        let format = Format::parse(&options.format);
        let unit = Unit::parse(&options.unit);
        let dictionary = unit.as_ref().map_or(Ok(Source::Training), |unit| source(options, *unit));
        let check = choose("check", &options.check, &checks);
        let keep_unknown = choose("unknown", &options.unknown, &unknowns);
        let given = if let Ok(Source::Given(dictionary)) = &dictionary { Some(dictionary) } else { None };
        let named = Case::ALL.map(|(name, case)| (name, Some(case)));
        let case = choose("case", &options.case, &[&[("auto", None)][..], &named].concat());
        let case = case.map(|case| case.or_else(|| given.map(Case::of)));
        let phones = Error::both(phones(options), phone_symbols::named(options));
        let mut problems = limits(options);
        problems.extend(clips(options));
        if options.phone_symbols.is_some() && options.phones.is_none() && unit.as_ref().is_ok_and(|unit| unit.spells())
        {
            let given = options.phone_symbols.as_deref().map(excerpt).unwrap_or_default();
            problems.push(Error::invalid("[data] phone_symbols", given, "`unit = \"phones\"` with it"));
        }
        problems.extend(quoting(options).err());
        if keep_unknown.as_ref().is_ok_and(|keep| *keep) && given.is_some_and(|given| given.unknown().is_none()) {
            let expected = "the dictionary has no symbol for what it does not know; use refuse";
            problems.push(Error::invalid("[data] unknown", "unk", expected));
        }
        let parsed = Error::both(Error::both(format, unit), Error::both(dictionary, Error::both(case, phones)));
        match Error::both(parsed, Error::both(check, keep_unknown)) {
            Err(e) => problems.push(e),
            Ok((((format, unit), (dictionary, (case, (phones, symbols)))), (check, keep_unknown)))
                if problems.is_empty() =>
            {
                let remove = options.remove.iter().flat_map(|remove| remove.chars()).collect();
                let (writing, decides_case) =
                    (Writing { unit, case: case.unwrap_or(Case::Upper), remove }, case.is_none());
                return Ok(Self {
                    options,
                    format,
                    dictionary,
                    writing,
                    decides_case,
                    keep_unknown,
                    check,
                    phones,
                    symbols,
                });
            }
            Ok(_) => {}
        }
        Err(Error::all(problems).expect_err("settings without problems are returned"))
    }

    /// Decides the case by the transcripts of the training set, where nothing else does: upper case, as LibriSpeech has it,
    /// where that is one-to-one over their letters ([`Case::losses`]), and otherwise that of each letter.
    pub(crate) fn decide_case<'t>(&mut self, training: impl Iterator<Item = &'t Transcript>) {
        if self.decides_case && self.writing.unit.spells() {
            let upper = Case::Upper.losses(&self.writing.letters(training));
            self.writing.case = if upper.is_empty() { Case::Upper } else { Case::Keep };
        }
    }

    /// Says which letters of the transcripts the case makes others of, or would have.
    pub(crate) fn tell_case<'t>(&self, transcripts: impl Iterator<Item = &'t Transcript>) {
        if !self.writing.unit.spells() {
            return;
        }
        let (case, letters) = (self.writing.case, self.writing.letters(transcripts));
        let lost = |case: Case| Some(case.losses(&letters)).filter(|losses: &Losses| !losses.is_empty());
        if let Some(letters) = lost(case) {
            let case = if case == Case::Upper { "upper" } else { "lower" };
            tracing::warn!(
                "in {case} case letters become others: {letters}; `case = \"keep\"` leaves them what they are"
            );
        } else if let (true, Case::Keep, Some(letters)) = (self.decides_case, case, lost(Case::Upper)) {
            let lower =
                if lost(Case::Lower).is_none() { "; in lower case (`case = \"lower\"`) none would" } else { "" };
            tracing::warn!(
                "letters are left in their case, because in upper case some would become others: {letters}{lower}"
            );
        }
    }

    /// Whether transcripts are phones, as which numbers have to be named.
    pub(crate) fn has_phones(&self) -> bool {
        !self.writing.unit.spells() || self.options.phones.is_some()
    }

    /// What reading a part depends on; `phones` and `clips` are those of its language.
    pub(crate) fn reading<'b>(&'b self, phones: Option<&'b PhoneFile>, clips: Option<&'b Path>) -> Reading<'b> {
        Reading {
            format: self.format,
            unit: self.writing.unit,
            phones,
            clips,
            transcript: self.options.transcript.as_deref(),
            quoting: quoting(self.options).unwrap_or_default(),
            option: "train",
        }
    }

    /// The file of phones for a part.
    pub(crate) fn phones(&self, part: &Part) -> Option<&PhoneFile> {
        let path = self.options.phones.as_ref()?;
        self.phones.get(&splits::beside(self.options, path, part.language))
    }

    /// The directory of recordings for a part.
    pub(crate) fn clips(&self, part: &Part) -> Option<PathBuf> {
        self.options.clips.as_ref().map(|path| splits::beside(self.options, path, part.language))
    }

    /// Why CTC cannot be trained on a recording of so many samples at 16 kHz with its target.
    pub(crate) fn unusable(&self, samples: u64, target: &[u32]) -> Option<String> {
        let options = self.options;
        let seconds = samples as f64 / f64::from(RATE);
        if seconds < options.min_seconds {
            return Some(format!("is {seconds:.3} seconds long, less than `min_seconds` = {}", options.min_seconds));
        }
        if options.max_seconds > 0.0 && seconds > options.max_seconds {
            return Some(format!("is {seconds:.3} seconds long, more than `max_seconds` = {}", options.max_seconds));
        }
        if options.frame_stride == 0 {
            return None;
        }
        let window = u64::from(options.frame_window);
        let steps = samples.checked_sub(window).map_or(0, |rest| rest / u64::from(options.frame_stride) + 1);
        let needed = steps_needed(target);
        (needed > steps).then(|| {
            let symbols = target.len();
            format!("is {seconds:.3} seconds long, {steps} time steps; CTC needs {needed} for its {symbols} symbols")
        })
    }
}

fn source(options: &SpeechOptions, unit: Unit) -> Result<Source> {
    let name = match &options.dictionary {
        None => "",
        Some(DictionarySource::Named(name)) => name,
        Some(DictionarySource::Given { vocabulary, blank }) => {
            let dictionary = Dictionary::of_head(vocabulary.clone(), *blank);
            let refuse = |reason| Error::invalid("[data] dictionary", "vocabulary", reason);
            return dictionary.map(Source::Given).map_err(refuse);
        }
    };
    match name {
        "" if unit.spells() && options.languages.is_empty() => Ok(Source::Given(Dictionary::letters())),
        "letters" => Ok(Source::Given(Dictionary::letters())),
        "" | "train" => Ok(Source::Training),
        path => {
            let path = splits::beside(options, path, None);
            if !path.is_file() {
                let reason =
                    "is no file; `dictionary` is `letters`, `train`, or a dict.*.txt or vocab.json, relative to `path`";
                return Err(Error::file(path, reason));
            }
            Dictionary::read(&path).map(Source::Given)
        }
    }
}

/// The files of phones that there should be.
fn phones(options: &SpeechOptions) -> Result<BTreeMap<PathBuf, PhoneFile>> {
    let (mut files, mut problems) = (BTreeMap::new(), Vec::new());
    for path in options.phones.iter().flat_map(|path| splits::all_beside(options, path)) {
        let file = if path.exists() { PhoneFile::read(&path) } else { Err(splits::absent(&path, "phones", "a file")) };
        match file {
            Ok(file) => _ = files.insert(path, file),
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems).map(|()| files)
}

/// The directories of recordings that should be there and are not.
fn clips(options: &SpeechOptions) -> Vec<Error> {
    let paths = options.clips.iter().flat_map(|path| splits::all_beside(options, path));
    let missing = paths.filter(|path| !path.is_dir());
    missing
        .map(|path| match path.exists() {
            true => Error::file(path, "is a file; `clips` is a directory"),
            false => splits::absent(&path, "clips", "a directory"),
        })
        .collect()
}

fn quoting(options: &SpeechOptions) -> Result<Option<Quoting>> {
    let values = [("auto", None), ("raw", Some(Quoting::Raw)), ("csv", Some(Quoting::Csv))];
    choose("quoting", &options.quoting, &values)
}

fn limits(options: &SpeechOptions) -> Vec<Error> {
    let mut problems = Vec::new();
    for (key, seconds) in [("min_seconds", options.min_seconds), ("max_seconds", options.max_seconds)] {
        if !seconds.is_finite() || seconds < 0.0 {
            problems.push(Error::invalid(format!("[data] {key}"), seconds, "a number of seconds from 0 up"));
        }
    }
    if options.max_seconds > 0.0 && options.max_seconds < options.min_seconds {
        let expected = format!("at least `min_seconds`, which is {}", options.min_seconds);
        problems.push(Error::invalid("[data] max_seconds", options.max_seconds, expected));
    }
    if options.frame_window == 0 {
        problems.push(Error::invalid("[data] frame_window", 0, "at least one sample"));
    }
    problems
}
