//! What may be done about symbols that the dictionary does not have.

use crate::Dictionary;
use crate::case::Case;
use crate::labels::Writing;
use crate::settings::Settings;
use crate::transcript::Transcript;

/// Looks at one row after the other that has such symbols.
pub(crate) struct Advice<'a> {
    dictionary: &'a Dictionary,
    writing: &'a Writing,
    /// Other cases, in each of which all rows so far can be written, by their names.
    cases: Vec<(&'static str, Case)>,
    needed: bool,
}

impl<'a> Advice<'a> {
    pub(crate) fn new(settings: &'a Settings<'_>, dictionary: &'a Dictionary) -> Self {
        let writing = &settings.writing;
        let cases = Case::ALL.into_iter().filter(|(_, case)| *case != writing.case).collect();
        Self { dictionary, writing, cases, needed: false }
    }

    /// Takes a row into account.
    pub(crate) fn consider(&mut self, transcript: &Transcript) {
        self.needed = true;
        self.cases.retain(|(_, case)| {
            let writing = Writing { case: *case, ..self.writing.clone() };
            let symbols = writing.symbols(transcript, self.dictionary.delimiter());
            symbols.is_ok_and(|symbols| symbols.iter().all(|symbol| self.dictionary.id(symbol).is_some()))
        });
    }

    /// The advice, where any row was considered.
    pub(crate) fn hint(&self) -> Option<String> {
        let case = self.cases.first().map(|(name, _)| format!("`case = \"{name}\"` writes all of them with it"));
        // Of words, whatever they are spelled with, each has an end.
        let ends_words = self.dictionary.id(self.dictionary.delimiter()).is_some();
        let unit = match (self.writing.unit.spells(), ends_words) {
            (true, false) => Some("it has nothing to end words with: if it is one of phones, give `unit = \"phones\"`"),
            (false, true) => Some("it has what ends words: if it is one of letters, give `unit = \"letters\"`"),
            _ => None,
        };
        let remove = self.writing.unit.spells().then_some("`remove` drops characters");
        let keep = "`unknown = \"unk\"` keeps such rows";
        let known = format!("the dictionary has only {}", self.dictionary.listed());
        let remedies = case.into_iter().chain([unit, remove, Some(keep)].into_iter().flatten().map(str::to_owned));
        self.needed.then(|| format!("{known}; {}", remedies.collect::<Vec<_>>().join(", ")))
    }
}
