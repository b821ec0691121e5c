//! What is wrong with a corpus, gathered until all of it is known.

use lopper_core::{Error, Result, Split};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

/// Problems listed of one split; the rest is counted.
pub(crate) const LISTED: usize = 20;
/// Rows, or kinds of rows, that a warning quotes.
pub(crate) const QUOTED: usize = 3;

/// Where a row stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) file: Arc<Path>,
    pub(crate) at: At,
}

/// Where in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum At {
    /// It as a whole.
    File,
    /// A line of text, counted from 1.
    Line(u64),
    /// A row of a table without lines, counted from 0.
    Row(u64),
}

impl Place {
    pub(crate) fn line(file: &Arc<Path>, line: u64) -> Self {
        Self { file: file.clone(), at: At::Line(line) }
    }

    /// The number of its line; 0 where it is none.
    pub(crate) fn number(&self) -> u64 {
        if let At::Line(line) = self.at { line } else { 0 }
    }

    pub(crate) fn error(&self, reason: impl Into<String>) -> Error {
        let reason = reason.into();
        match self.at {
            At::File => Error::file(self.file.as_ref(), reason),
            At::Line(line) => Error::Line { path: self.file.to_path_buf(), line, reason },
            At::Row(row) => Error::file(self.file.as_ref(), format!("row {row}, counted from 0: {reason}")),
        }
    }
}

/// A row that is left out, and why.
type LeftOut = (Place, Box<str>);

/// The problems of one split. Those of single rows make the rows be left out, where that was asked for.
#[derive(Debug)]
pub(crate) struct Problems {
    skip_bad: bool,
    listed: Vec<Error>,
    /// Of the rows: those listed, and those beyond the list.
    rows: u64,
    unlisted: u64,
    left_out: Vec<LeftOut>,
    hint: Option<String>,
    /// Rows of files that languages share, which are read for each of them: what is wrong there counts once.
    shared: HashSet<(Arc<Path>, At)>,
    reads_shared: bool,
}

impl Problems {
    pub(crate) fn new(skip_bad: bool) -> Self {
        Self {
            skip_bad,
            listed: Vec::new(),
            rows: 0,
            unlisted: 0,
            left_out: Vec::new(),
            hint: None,
            shared: HashSet::new(),
            reads_shared: false,
        }
    }

    /// From now on problems are of a file that is read once for each language, or no longer.
    pub(crate) fn read_shared(&mut self, shared: bool) {
        self.reads_shared = shared;
    }

    /// What no leaving out of rows mends.
    pub(crate) fn push(&mut self, error: Error) {
        let told = |listed: &Error| listed.to_string() == error.to_string();
        if !(self.reads_shared && self.listed.iter().any(told)) {
            self.list(error);
        }
    }

    /// What is wrong with one row, which is then not used.
    pub(crate) fn row(&mut self, place: &Place, reason: impl Into<String>) {
        if self.reads_shared && !self.shared.insert((place.file.clone(), place.at)) {
            return;
        }
        if self.skip_bad {
            self.left_out.push((place.clone(), reason.into().into_boxed_str()));
        } else {
            self.rows += 1;
            self.list(place.error(reason));
        }
    }

    /// What may be done about rows that cannot be used; said once.
    pub(crate) fn hint(&mut self, hint: String) {
        self.hint = Some(hint);
    }

    /// Rows left out.
    pub(crate) fn skipped(&self) -> u64 {
        self.left_out.len() as u64
    }

    /// Whether nothing is known to be wrong, and nothing was left out.
    pub(crate) fn is_clean(&self) -> bool {
        self.listed.is_empty() && self.left_out.is_empty()
    }

    fn list(&mut self, error: Error) {
        if self.listed.len() < LISTED {
            self.listed.push(error);
        } else {
            self.unlisted += 1;
        }
    }

    /// Warns of the rows left out of `split`, of which `used` are left.
    ///
    /// # Errors
    /// All problems together.
    pub(crate) fn finish(mut self, split: &Split, used: usize) -> Result<()> {
        let name = split.as_str();
        if self.unlisted > 0 {
            self.listed.push(Error::Other(format!("and {} more problems of the {name} split", self.unlisted)));
        }
        if self.rows > 0 {
            let rows = format!("{} of the {name} split cannot be used", count(self.rows, "row"));
            let more = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let remedy = "`skip_bad = true` in [data] leaves such rows out";
            self.listed.push(Error::Other(format!("{rows}; {remedy}{more}")));
        }
        self.left_out.iter().for_each(|row| tracing::debug!(split = name, "left out: {}", told(row)));
        if used == 0 && !self.left_out.is_empty() {
            let kinds = self.kinds();
            self.listed.push(Error::Other(format!("no row of the {name} split can be used: {kinds}")));
        }
        Error::all(self.listed)?;
        if !self.left_out.is_empty() {
            let first = self.left_out.iter().take(QUOTED).map(told).collect::<Vec<_>>().join("; ");
            let skipped = self.left_out.len();
            tracing::warn!(split = name, skipped, used, first, "rows that cannot be used are left out");
        }
        Ok(())
    }

    /// Why rows are left out: the most frequent kinds of reasons, each as its first row has it.
    fn kinds(&self) -> String {
        let mut kinds: HashMap<String, (usize, usize)> = HashMap::new();
        for (row, (_, reason)) in self.left_out.iter().enumerate() {
            kinds.entry(kind(reason)).or_insert((0, row)).0 += 1;
        }
        let mut kinds: Vec<_> = kinds.into_values().collect();
        kinds.sort_unstable_by_key(|(rows, first)| (Reverse(*rows), *first));
        let quote = |(rows, first): &(usize, usize)| {
            let first = told(&self.left_out[*first]);
            if *rows == 1 { first } else { format!("{rows} rows such as {first}") }
        };
        let (quoted, others) = kinds.split_at(QUOTED.min(kinds.len()));
        let others = others.iter().map(|(rows, _)| *rows as u64).sum();
        let more = (others > 0).then(|| format!("{} with other reasons", count(others, "row")));
        quoted.iter().map(quote).chain(more).collect::<Vec<_>>().join("; ")
    }

    /// As [`finish`](Self::finish), for a file that is no split: nothing is left out of it.
    ///
    /// # Errors
    /// All problems together.
    pub(crate) fn finish_quietly(mut self) -> Result<()> {
        if self.unlisted > 0 {
            self.listed.push(Error::Other(format!("and {} more problems", self.unlisted)));
        }
        Error::all(self.listed)
    }
}

fn told((place, reason): &LeftOut) -> String {
    place.error(&**reason).to_string()
}

/// What reasons of one kind share: their words without what is quoted, paths and numbers.
fn kind(reason: &str) -> String {
    let words = reason.split('`').step_by(2).flat_map(str::split_whitespace);
    let plain = |word: &&str| word.trim_end_matches([',', ';', ':', '.']).chars().all(char::is_alphabetic);
    words.filter(plain).collect::<Vec<_>>().join(" ")
}

/// `1 row`, `2 rows`.
pub(crate) fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A value in backticks, shortened to what fits into a message.
pub(crate) fn excerpt(text: &str) -> String {
    match text.char_indices().nth(60) {
        None => format!("`{}`", text.escape_debug()),
        Some((end, _)) => format!("`{}…`", text[..end].escape_debug()),
    }
}
