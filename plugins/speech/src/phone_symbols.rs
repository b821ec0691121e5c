//! Phones that are numbers, as CPC_audio writes them for Common Voice, and the files that say which phones they are.
//!
//! The numbers are each language's own: 0 is `t` in Spanish, `ʁ` in French and `e` in Italian. Beside the phones of each
//! language lies a JSON object from IPA symbols to its numbers: `phonesMatches_reduced.json` for `…_phones_reduced.txt`,
//! `phonesMatches.json` for `…_phones.txt`. PARP's authors also wrote all languages by one such object,
//! `global_IPA.json`, into files that are called `reduced_global_IPA.txt`.

use crate::SpeechOptions;
use crate::corpora::Row;
use crate::labels;
use crate::names::LANGUAGE;
use crate::problems::{Place, Problems, count, excerpt};
use crate::splits::{self, Part};
use crate::text;
use crate::transcript::Transcript;
use lopper_core::{Error, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the option says when numbers are to stay numbers.
pub(crate) const NUMBERS: &str = "numbers";
/// Longest file of symbols, in bytes: parsed, it may take many times its size.
const LONGEST: u64 = 1 << 20;
/// Longest symbol, in bytes: a row may have half a million numbers. The longest of seven of CPC_audio's files has 5.
const LONGEST_SYMBOL: usize = 40;
/// What CPC_audio calls its files, for the phones of all sentences and for those without rare phones.
const ALL: &str = "phonesMatches.json";
const REDUCED: &str = "phonesMatches_reduced.json";
/// What PARP's authors call the numbers that all languages share.
const GLOBAL: &str = "global_IPA";
/// How the names of a language's own files begin.
const OWN: &str = "phonesMatches";

/// The symbols of one language's numbers.
pub(crate) struct PhoneSymbols {
    file: Arc<Path>,
    /// Several only where the file gives them one number.
    symbols: HashMap<u32, Vec<String>>,
}

impl PhoneSymbols {
    /// Reads a JSON object from symbols to numbers. A symbol may be the empty string, as one is in Spanish: a phone like any
    /// other.
    ///
    /// # Errors
    /// [`Error::File`] for what cannot be read or is no such object.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let wanted = "a JSON object from phones to their numbers, such as {\"a\": 0, \"t\": 1}, was expected";
        let bytes = text::bytes(path, LONGEST).map_err(|reason| Error::file(path, reason))?;
        let object =
            serde_json::from_slice::<Map<String, Value>>(&bytes).map_err(|e| Error::file_caused(path, wanted, e))?;
        let mut symbols: HashMap<u32, Vec<String>> = HashMap::new();
        for (symbol, number) in object {
            let Some(number) = number.as_u64().and_then(|number| u32::try_from(number).ok()) else {
                let (symbol, number) = (excerpt(&symbol), excerpt(&number.to_string()));
                return Err(Error::file(path, format!("{symbol} has {number}; {wanted}")));
            };
            if symbol.len() > LONGEST_SYMBOL {
                let reason = format!("is {} bytes long; a phone has at most {LONGEST_SYMBOL}", symbol.len());
                return Err(Error::file(path, format!("{} {reason}", excerpt(&symbol))));
            }
            symbols.entry(number).or_default().push(symbol);
        }
        if symbols.is_empty() {
            return Err(Error::file(path, format!("holds no phones; {wanted}")));
        }
        Ok(Self { file: path.into(), symbols })
    }

    /// Puts the symbols of numbers in their places. A number without a symbol, or with several, is reported once with the
    /// first row that has it, and no rows are left: the file is another's.
    fn name(&self, rows: &mut Vec<Row>, problems: &mut Problems) {
        let mut wrong: BTreeMap<u32, (u64, Place)> = BTreeMap::new();
        rows.retain_mut(|row| {
            if too_long(&row.transcript) {
                return true;
            }
            let Some(numbers) = numbers(&row.transcript) else {
                let stranger = parts(&row.transcript).find(|part| number(part).is_none()).unwrap_or_default();
                let others = "and other rows have numbers, as CPC_audio writes phones";
                problems.row(row.said(), format!("has {}, {others}", excerpt(stranger)));
                return false;
            };
            let mut named = Vec::with_capacity(numbers.len());
            for number in numbers {
                match self.symbols.get(&number).map(Vec::as_slice) {
                    Some([symbol]) => named.push(symbol.as_str()),
                    _ => wrong.entry(number).or_insert_with(|| (0, row.said().clone())).0 += 1,
                }
            }
            // Between spaces takes far less memory than one by one.
            let plain = |symbol: &&str| !symbol.is_empty() && !symbol.contains(char::is_whitespace);
            row.transcript = if named.iter().all(plain) {
                Transcript::Spaced(named.join(" "))
            } else {
                Transcript::Symbols(named.into_iter().map(str::to_owned).collect())
            };
            true
        });
        for (number, (times, place)) in &wrong {
            let (times, file) = (count(*times, "time"), self.file.display());
            let reason = match self.symbols.get(number) {
                Some(several) => {
                    let several: Vec<_> = several.iter().map(|symbol| excerpt(symbol)).collect();
                    format!("{file} gives it to {}", several.join(" and to "))
                }
                None => format!("{file} gives it to no phone and may belong to other phones"),
            };
            problems.push(place.error(format!("has the number {number} ({times} in all), and {reason}")));
        }
        if !wrong.is_empty() {
            rows.clear();
        }
    }
}

/// The symbols that the option `phone_symbols` names, by the paths of their files; none where it names none.
///
/// # Errors
/// All problems with the files and the option together.
pub(crate) fn named(options: &SpeechOptions) -> Result<BTreeMap<PathBuf, PhoneSymbols>> {
    let (mut files, mut problems) = (BTreeMap::new(), Vec::new());
    let Some(path) = options.phone_symbols.as_deref().filter(|path| *path != NUMBERS) else { return Ok(files) };
    let paths = splits::all_beside(options, path);
    let own = Path::new(path).file_name().is_some_and(|name| name.to_string_lossy().starts_with(OWN));
    if own && options.languages.len() > 1 && paths.len() == 1 {
        let expected = "each language has its own numbers; give each its own file, such as ";
        let expected = format!("{expected}\"{}/{REDUCED}\"", LANGUAGE);
        return Err(Error::invalid("[data] phone_symbols", excerpt(path), expected));
    }
    for path in paths {
        let read = if path.exists() {
            PhoneSymbols::read(&path)
        } else {
            Err(splits::absent(&path, "phone_symbols", "a JSON object from phones to numbers"))
        };
        match read {
            Ok(read) => _ = files.insert(path, read),
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems).map(|()| files)
}

/// What became of one part's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numbers {
    language: Option<usize>,
    /// The file that has them.
    phones: Arc<Path>,
    /// The file that names them, and whether the option named it.
    by: Option<(Arc<Path>, bool)>,
    /// The file that was looked for.
    wanted: PathBuf,
}

/// Names the phones of a part's rows where they are numbers: by the file among `named` that the option names, or else by
/// the one that CPC_audio puts beside them. `None` where they are no numbers.
pub(crate) fn name(
    part: &Part,
    options: &SpeechOptions,
    named: &BTreeMap<PathBuf, PhoneSymbols>,
    rows: &mut Vec<Row>,
    problems: &mut Problems,
) -> Result<Option<Numbers>> {
    // Those are refused as they are.
    let readable = || rows.iter().filter(|row| !too_long(&row.transcript));
    let numbered = readable().filter(|row| numbers(&row.transcript).is_some_and(|all| !all.is_empty())).count();
    let filled = readable().filter(|row| parts(&row.transcript).next().is_some()).count();
    // X-SAMPA has phones that are digits, among others.
    let Some(first) = rows.first().filter(|_| numbered > 0 && 2 * numbered >= filled) else { return Ok(None) };
    let phones = first.said().file.clone();
    let (language, option) = (part.language, options.phone_symbols.as_deref());
    let told = |wanted: PathBuf, by| Numbers { language, phones: phones.clone(), by, wanted };
    if let Some(path) = option.filter(|path| *path != NUMBERS) {
        let path = splits::beside(options, path, language);
        if let Some(symbols) = named.get(&path) {
            symbols.name(rows, problems);
            let by = Some((symbols.file.clone(), true));
            return Ok(Some(told(path, by)));
        }
    }
    let candidates = beside(part, options, &phones);
    let found = candidates.iter().find(|path| path.is_file()).filter(|_| option.is_none());
    let Some(path) = found else {
        return Ok(Some(told(candidates.into_iter().next().unwrap_or_default(), None)));
    };
    let symbols = PhoneSymbols::read(path)?;
    symbols.name(rows, problems);
    Ok(Some(told(path.clone(), Some((symbols.file.clone(), false)))))
}

/// Where the symbols of the numbers in `phones` lie: beside them, beside the list, or in the language's directory.
fn beside(part: &Part, options: &SpeechOptions, phones: &Path) -> Vec<PathBuf> {
    let name = phones.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let directory = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
    let (here, list) = (directory(phones), directory(&part.path));
    if name.contains(GLOBAL) {
        let file = format!("{GLOBAL}.json");
        return [here.clone(), directory(&here), splits::beside(options, "", None)].map(|d| d.join(&file)).to_vec();
    }
    let stem = Path::new(&name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let file = if stem.ends_with("_phones") { ALL } else { REDUCED };
    let own = part.language.map(|_| splits::beside(options, LANGUAGE, part.language));
    [here, list].into_iter().chain(own).map(|directory| directory.join(file)).collect()
}

/// Refuses a joint run of languages whose phones are each their own numbers.
///
/// # Errors
/// One [`Error::InvalidValue`] for all of them.
pub(crate) fn check(all: &[Numbers], options: &SpeechOptions) -> Result<()> {
    if options.languages.len() < 2 {
        return Ok(());
    }
    let mut found: BTreeMap<&Path, BTreeSet<Option<usize>>> = BTreeMap::new();
    for numbers in all {
        if let Some((file, false)) = &numbers.by {
            found.entry(file).or_default().insert(numbers.language);
        }
    }
    let shared = |file: &Path| {
        let several = found.get(file).is_some_and(|languages| languages.len() > 1);
        several && file.file_name().is_some_and(|name| name.to_string_lossy().starts_with(OWN))
    };
    let refused: Vec<_> =
        all.iter().filter(|numbers| numbers.by.as_ref().is_none_or(|(file, given)| !given && shared(file))).collect();
    let Some(first) = refused.first() else { return Ok(()) };
    let languages: BTreeSet<_> = refused.iter().filter_map(|numbers| numbers.language).collect();
    let languages: Vec<_> = languages.into_iter().map(|language| options.languages[language].as_str()).collect();
    let value = options.phone_symbols.as_ref().map_or_else(|| "(not given)".to_owned(), |value| excerpt(value));
    let file = first.wanted.file_name().unwrap_or_default().to_string_lossy();
    let there = match first.by {
        Some(_) => format!("{} is there for all of them", first.wanted.display()),
        None => format!("{} is not there", first.wanted.display()),
    };
    let such = if file.starts_with(GLOBAL) { file.into_owned() } else { format!("{}/{file}", LANGUAGE) };
    let expected = format!(
        "the phones of {} are numbers ({}), which mean other phones in each language; give the file that names them, such as \
         \"{such}\" ({there})",
        languages.join(", "),
        first.phones.display(),
    );
    Err(Error::invalid("[data] phone_symbols", value, expected))
}

/// Says once for each file which symbols its numbers became, or that they stay numbers.
pub(crate) fn tell(all: &[Numbers], options: &SpeechOptions) {
    let mut told = BTreeSet::new();
    for Numbers { phones, by, wanted, .. } in all.iter().filter(|numbers| told.insert(numbers.phones.clone())) {
        match by {
            Some((by, _)) => {
                let (phones, symbols) = (phones.display(), by.display());
                tracing::info!(%phones, %symbols, "numbers of phones are read as the phones that they stand for");
            }
            None if options.phone_symbols.is_some() => {}
            None => {
                let (phones, looked_for) = (phones.display(), wanted.display());
                tracing::warn!(
                    %phones, %looked_for,
                    "phones are numbers, which mean other phones in other languages; `phone_symbols` names the file that says which"
                );
            }
        }
    }
}

/// The numbers of a transcript that holds nothing else.
fn numbers(transcript: &Transcript) -> Option<Vec<u32>> {
    if matches!(transcript, Transcript::Text(_)) {
        return None;
    }
    parts(transcript).map(number).collect()
}

/// Whether a transcript is longer than any that is read.
fn too_long(transcript: &Transcript) -> bool {
    matches!(transcript, Transcript::Spaced(text) if text.len() > labels::LONGEST)
}

fn number(symbol: &str) -> Option<u32> {
    symbol.parse().ok().filter(|_| symbol.bytes().all(|byte| byte.is_ascii_digit()))
}

fn parts(transcript: &Transcript) -> Box<dyn Iterator<Item = &str> + '_> {
    match transcript {
        Transcript::Text(_) => Box::new(std::iter::empty()),
        Transcript::Spaced(text) => Box::new(text.split_whitespace()),
        Transcript::Symbols(symbols) => Box::new(symbols.iter().map(String::as_str)),
    }
}
