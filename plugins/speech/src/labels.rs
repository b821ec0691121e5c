//! From transcripts to the symbols that a model learns.

use crate::Dictionary;
use crate::case::Case;
use crate::problems::excerpt;
use crate::transcript::Transcript;
use lopper_core::{Error, Result, nearest};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What a model writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// The letters of a text, each word ended by `|`; of a fairseq manifest its `.ltr`.
    Letters,
    /// Phones; of a fairseq manifest its `.phn`.
    Phones,
    /// Letters, spelled from the words of a fairseq manifest's `.wrd`; elsewhere the same as letters.
    SpelledWords,
}

impl Unit {
    /// The unit that the option `unit` names.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] with the names there are.
    pub fn parse(name: &str) -> Result<Self> {
        choose(
            "unit",
            name,
            &[("letters", Self::Letters), ("phones", Self::Phones), ("words-as-letters", Self::SpelledWords)],
        )
    }

    /// Whether the symbols spell words.
    pub fn spells(self) -> bool {
        self != Self::Phones
    }
}

/// One of several named values of the option `key`.
pub(crate) fn choose<T: Copy>(key: &str, name: &str, values: &[(&str, T)]) -> Result<T> {
    let found = values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<_> = values.iter().map(|(known, _)| *known).collect();
        let hint = nearest(name, known.iter().copied()).map(|n| format!(" (did you mean `{n}`?)")).unwrap_or_default();
        Error::invalid(format!("[data] {key}"), excerpt(name), format!("give one of {}{hint}", known.join(", ")))
    })
}

/// Longest transcript, in bytes. The longest recording has time steps for a fifth of it; split into symbols, it takes
/// fifty times its size.
pub(crate) const LONGEST: usize = 1 << 20;

/// How a transcript becomes symbols.
#[derive(Debug, Clone)]
pub(crate) struct Writing {
    pub(crate) unit: Unit,
    pub(crate) case: Case,
    /// Characters that are dropped from a text.
    pub(crate) remove: Vec<char>,
}

impl Writing {
    /// The symbols of a transcript, at least one; a word is ended by `delimiter`.
    ///
    /// # Errors
    /// A reason, for a text where phones are needed, and for a transcript of nothing or of more than a megabyte.
    pub(crate) fn symbols(&self, transcript: &Transcript, delimiter: &str) -> Result<Vec<String>, String> {
        let symbols = self.written(transcript, delimiter)?;
        if symbols.is_empty() { Err("has an empty transcript".into()) } else { Ok(symbols) }
    }

    /// As [`symbols`](Self::symbols), and none for a transcript of nothing, in which all that is heard is wrong.
    ///
    /// # Errors
    /// A reason, for a text where phones are needed, and for a transcript of more than a megabyte.
    pub(crate) fn written(&self, transcript: &Transcript, delimiter: &str) -> Result<Vec<String>, String> {
        Ok(match transcript {
            Transcript::Text(text) | Transcript::Spaced(text) if text.len() > LONGEST => {
                return Err(format!("has a transcript of {} bytes; at most {LONGEST} are accepted", text.len()));
            }
            Transcript::Symbols(symbols) => symbols.clone(),
            Transcript::Spaced(text) => text.split_whitespace().map(str::to_owned).collect(),
            Transcript::Text(_) if self.unit == Unit::Phones => {
                return Err("has a text and no phones; give `phones`, or `unit = \"letters\"`".into());
            }
            Transcript::Text(text) => {
                let text = self.case.write(self.kept(text).collect());
                let spelled = |word: &str| -> Vec<String> {
                    word.chars().map(String::from).chain([delimiter.to_owned()]).collect()
                };
                text.split_whitespace().flat_map(spelled).collect()
            }
        })
    }

    /// The characters that transcripts which are texts are spelled with, before they are written in any case.
    pub(crate) fn letters<'a>(&self, transcripts: impl Iterator<Item = &'a Transcript>) -> BTreeSet<char> {
        let (mut letters, mut ascii) = (BTreeSet::new(), [false; 128]);
        for transcript in transcripts {
            let Transcript::Text(text) = transcript else { continue };
            for c in self.kept(text) {
                match ascii.get_mut(c as usize) {
                    Some(seen) => *seen = true,
                    None => _ = letters.insert(c),
                }
            }
        }
        letters.extend((0..128u8).filter(|c| ascii[usize::from(*c)]).map(char::from));
        letters
    }

    /// The characters of a text that are not dropped.
    fn kept<'a>(&'a self, text: &'a str) -> impl Iterator<Item = char> + 'a {
        text.chars().filter(|c| !self.remove.contains(c))
    }
}

/// The ids of symbols: those of the dictionary, and beyond them ids for symbols that it does not have, so that an
/// evaluation can count them as what they are.
#[derive(Debug, Default)]
pub(crate) struct Lexicon {
    strange: Vec<String>,
    ids: HashMap<String, u32>,
}

impl Lexicon {
    /// The ids of `symbols`, and the distinct symbols among them that the dictionary does not have.
    pub(crate) fn ids<'a>(&mut self, symbols: &'a [String], dictionary: &Dictionary) -> (Box<[u32]>, Vec<&'a str>) {
        let mut unknown: Vec<&str> = Vec::new();
        let ids = symbols.iter().map(|symbol| {
            dictionary.id(symbol).unwrap_or_else(|| {
                if !unknown.contains(&symbol.as_str()) {
                    unknown.push(symbol);
                }
                *self.ids.entry(symbol.clone()).or_insert_with(|| {
                    self.strange.push(symbol.clone());
                    (dictionary.len() + self.strange.len() - 1) as u32
                })
            })
        });
        (ids.collect(), unknown)
    }

    /// The symbol of an id, in the dictionary or not.
    pub(crate) fn symbol<'a>(&'a self, id: u32, dictionary: &'a Dictionary) -> Option<&'a str> {
        let strange = || self.strange.get((id as usize).checked_sub(dictionary.len())?).map(String::as_str);
        dictionary.symbol(id).or_else(strange)
    }
}

/// How often each symbol is there.
pub(crate) fn add_counts(counts: &mut BTreeMap<String, u64>, symbols: Vec<String>) {
    for symbol in symbols {
        *counts.entry(symbol).or_default() += 1;
    }
}

/// Time steps that CTC needs for a target: one a symbol, and one for the blank between two that are equal.
pub(crate) fn steps_needed(ids: &[u32]) -> u64 {
    let repeats = ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
    (ids.len() + repeats) as u64
}
