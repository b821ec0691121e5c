//! Which output of a CTC head stands for which symbol.

use crate::problems::{Problems, count, excerpt};
use crate::text::{self, Lines};
use crate::vocabulary::{Beside, Padding, symbols};
use lopper_core::{Error, Result};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// What fairseq puts before the symbols of a file; the first is CTC's blank.
const FAIRSEQ: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
/// The letters of LibriSpeech, most frequent first: fairseq's `dict.ltr.txt`.
const LETTERS: &str = "|ETAONIHSRDLUMWCFGYPBVK'XJQZ";
/// What no transcript is written with, in the files of fairseq and of `transformers`.
const SPECIAL: [&str; 9] = ["<s>", "<pad>", "</s>", "<unk>", "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
/// Most symbols that a head has outputs for.
const MOST: usize = 10_000;
/// Longest JSON that is read, in bytes: parsed, it may take many times its size.
const LONGEST_JSON: u64 = 1 << 20;

/// The symbols of a CTC head, in the order of its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictionary {
    symbols: Vec<String>,
    ids: HashMap<String, u32>,
    blank: usize,
    unknown: Option<u32>,
    /// Ids that no transcript is written with.
    special: Vec<u32>,
    /// What ends a word, where a tokenizer says it.
    delimiter: Option<String>,
}

impl Dictionary {
    /// The 32 outputs of wav2vec 2.0 finetuned on LibriSpeech: `<s>` (the blank), `<pad>`, `</s>`, `<unk>`, then
    /// `|` (between words), `E`, `T`, `A` and on.
    pub fn letters() -> Self {
        let letters = LETTERS.chars().map(String::from).collect();
        Self::fairseq(letters).expect("the built-in letters differ")
    }

    /// fairseq's four special symbols and then `symbols`.
    ///
    /// # Errors
    /// As one text: a symbol that is there twice, and more than 10,000 outputs.
    pub fn fairseq(symbols: Vec<String>) -> Result<Self, String> {
        let all: Vec<String> = FAIRSEQ.iter().map(|s| (*s).to_owned()).chain(symbols).collect();
        Self::new(all, 0, Some("<unk>"), &FAIRSEQ)
    }

    /// The dictionary of a CTC head: the symbol of each output, and which of them is the blank.
    ///
    /// # Errors
    /// As one text: a symbol that is there twice, more than 10,000 outputs, a blank that is none of them.
    pub fn of_head(vocabulary: Vec<String>, blank: usize) -> Result<Self, String> {
        if blank >= vocabulary.len() {
            return Err(format!("has {}, and none is the blank {blank}", count(vocabulary.len() as u64, "output")));
        }
        let unknown = ["<unk>", "[UNK]"].into_iter().find(|name| vocabulary.iter().any(|symbol| symbol == name));
        Self::new(vocabulary, blank, unknown, &SPECIAL)
    }

    /// The dictionary that fairseq makes of a training set: the most frequent symbol first, those of equal count in the
    /// order of their code points.
    ///
    /// # Errors
    /// As [`fairseq`](Self::fairseq), for a symbol that is called like a special one too.
    pub fn from_counts(counts: &BTreeMap<String, u64>) -> Result<Self, String> {
        let mut symbols: Vec<_> = counts.iter().collect();
        // Stable, and a map's keys are in order.
        symbols.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        Self::fairseq(symbols.into_iter().map(|(symbol, _)| symbol.clone()).collect())
    }

    /// Reads fairseq's `dict.*.txt` (a symbol and its count a line) or, from a file whose name ends with `.json`, the
    /// `vocab.json` of `transformers`. There the blank is the padding symbol of a `config.json` beside it, or else of a
    /// `tokenizer_config.json`, and `<pad>` or `[PAD]` where neither names one; what ends a word is that file's
    /// `word_delimiter_token`, where it is a symbol. A `config.json` of a CTC model beside it tells the number of outputs,
    /// which are then named as those of the model are.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Line`], all problems of the file together.
    pub fn read(path: &Path) -> Result<Self> {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json")) {
            let refuse = |reason| Error::file(path, reason);
            let bytes = text::bytes(path, LONGEST_JSON).map_err(refuse)?;
            let beside = Beside::read(path, LONGEST_JSON)?;
            let symbols = beside.symbols(&bytes, path)?;
            let blank = beside.padding.output(&symbols).map_err(refuse)?;
            let mut read = Self::of_head(symbols, blank).map_err(refuse)?;
            read.delimiter = beside.delimiter.filter(|delimiter| read.id(delimiter).is_some());
            return Ok(read);
        }
        let mut problems = Problems::new(false);
        let lines = Lines::read(path, &mut problems)?;
        let (mut symbols, mut seen) = (Vec::new(), HashSet::from(FAIRSEQ));
        for (place, line) in lines.filled() {
            if seen.len() >= MOST {
                problems.push(place.error(format!("is one symbol too many; a head has at most {MOST} outputs")));
                break;
            }
            // fairseq's own mark that a special symbol is meant to be written anew.
            let line = line.strip_suffix(" #fairseq:overwrite").unwrap_or(line);
            match line.rsplit_once(' ') {
                Some((symbol, number)) if !symbol.is_empty() && number.parse::<i64>().is_ok() => {
                    if !seen.insert(symbol) {
                        problems.push(place.error(format!("the symbol {} is there twice", excerpt(symbol))));
                    } else {
                        symbols.push(symbol.to_owned());
                    }
                }
                _ => problems.push(place.error(format!("{} is not a symbol, a space and its count", excerpt(line)))),
            }
        }
        if symbols.is_empty() {
            problems.push(Error::file(path, "holds no symbols; a line such as `E 51860` for each was expected"));
        }
        problems.finish_quietly()?;
        Self::fairseq(symbols).map_err(|reason| Error::file(path, reason))
    }

    /// Reads the text of a `vocab.json` that stands alone: its `<pad>` or `[PAD]` is the blank.
    ///
    /// # Errors
    /// As one text: what is not an object from symbols to the ids 0, 1, 2 and on, or has no padding symbol.
    pub fn vocab_json(bytes: &[u8]) -> Result<Self, String> {
        let symbols = symbols(bytes)?;
        let blank = Padding::default().output(&symbols)?;
        Self::of_head(symbols, blank)
    }

    fn new(symbols: Vec<String>, blank: usize, unknown: Option<&str>, special: &[&str]) -> Result<Self, String> {
        if symbols.len() > MOST {
            return Err(format!("has {} symbols; a head has at most {MOST} outputs", symbols.len()));
        }
        let mut ids = HashMap::new();
        for (id, symbol) in (0..).zip(&symbols) {
            if ids.insert(symbol.clone(), id).is_some() {
                return Err(format!("the symbol {} is there twice", excerpt(symbol)));
            }
        }
        // What is called by its number has no name, unless nothing has one.
        let numbered = |(id, symbol): (usize, &String)| is_number(symbol, id);
        let all_numbered = symbols.iter().enumerate().all(numbered);
        let unnamed = |id: u32| !all_numbered && numbered((id as usize, &symbols[id as usize]));
        let named = |id: &u32| special.contains(&symbols[*id as usize].as_str()) || unnamed(*id);
        let special = (0..symbols.len() as u32).filter(|id| *id as usize == blank || named(id)).collect();
        Ok(Self {
            unknown: unknown.and_then(|symbol| ids.get(symbol).copied()),
            blank,
            special,
            symbols,
            ids,
            delimiter: None,
        })
    }

    /// Outputs, special ones counted.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Never: there is a blank.
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// The symbol of each output.
    pub fn symbols(&self) -> &[String] {
        &self.symbols
    }

    /// The symbol of an output.
    pub fn symbol(&self, id: u32) -> Option<&str> {
        self.symbols.get(id as usize).map(String::as_str)
    }

    /// The output of a symbol that transcripts may hold; `None` for special ones too.
    pub fn id(&self, symbol: &str) -> Option<u32> {
        self.ids.get(symbol).copied().filter(|id| !self.special.contains(id))
    }

    /// The output of CTC's blank.
    pub fn blank(&self) -> usize {
        self.blank
    }

    /// What stands for symbols that the dictionary does not have.
    pub fn unknown(&self) -> Option<u32> {
        self.unknown
    }

    /// What ends a word: what a tokenizer says, or else `|`, or a space in a dictionary that has no `|`.
    pub fn delimiter(&self) -> &str {
        if let Some(delimiter) = &self.delimiter {
            return delimiter;
        }
        if !self.ids.contains_key("|") && self.ids.contains_key(" ") { " " } else { "|" }
    }

    /// Whether `id` is special: no symbol of a transcript.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// The output that a label's id is trained with: the unknown symbol for one outside the dictionary. A dictionary
    /// without one has no such labels.
    pub(crate) fn trained(&self, id: u32) -> u32 {
        if (id as usize) < self.len() { id } else { self.unknown.unwrap_or_default() }
    }

    /// The symbols of transcripts, for a message.
    pub(crate) fn listed(&self) -> String {
        let usable = (0..).zip(&self.symbols).filter(|(id, _)| !self.special.contains(id));
        let all: Vec<_> = usable.map(|(_, symbol)| symbol.as_str()).collect();
        let shown = all.iter().take(60).copied().collect::<Vec<_>>().join(" ");
        let more = all.len().saturating_sub(60) as u64;
        if more == 0 { shown } else { format!("{shown} and {}", count(more, "other")) }
    }
}

/// Whether an output is called by its number, as `<31>` or with more brackets, because nothing names it.
fn is_number(symbol: &str, id: usize) -> bool {
    let bare = symbol.trim_start_matches('<').trim_end_matches('>');
    symbol.starts_with('<') && symbol.ends_with('>') && bare == id.to_string()
}
