//! Lines of fields between tabs, commas or semicolons; with CSV's quotes, or with quotes that are characters like any other.
//!
//! The two kinds look alike and mean different texts, so [`quotes`] counts what speaks for which.

use std::borrow::Cow;

/// What a quote means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quoting {
    /// A character like any other: a line feed always ends a row, a delimiter a field.
    Raw,
    /// RFC 4180: a field may stand between quotes, with the quotes in it doubled, and hold delimiters and line feeds.
    Csv,
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    text: &'a str,
    delimiter: char,
    quoting: Quoting,
}

/// The rows of a file, each with the number of its first line, from 1; a reason for one that cannot be read. Carriage returns
/// before a line feed are dropped.
pub fn records(bytes: &[u8], delimiter: char, quoting: Quoting) -> Records<'_> {
    Records { left: bytes, line: 1, delimiter, quoting, ended: false }
}

/// What [`records`] returns.
#[derive(Debug, Clone)]
pub struct Records<'a> {
    left: &'a [u8],
    line: u64,
    delimiter: char,
    quoting: Quoting,
    ended: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, Result<Record<'a>, String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let line = self.line;
        let end = match self.quoting {
            Quoting::Raw => Ok(self.left.iter().position(|byte| *byte == b'\n').unwrap_or(self.left.len())),
            Quoting::Csv => end_of_record(self.left, self.delimiter as u8),
        };
        let end = match end {
            Ok(end) => end,
            // Where the next row begins cannot be known.
            Err(reason) => {
                self.ended = true;
                return Some((line, Err(reason)));
            }
        };
        let record = &self.left[..end];
        self.line += 1 + record.iter().filter(|byte| **byte == b'\n').count() as u64;
        match self.left.get(end + 1..) {
            Some(left) => self.left = left,
            None => self.ended = true,
        }
        let record = record.strip_suffix(b"\r").unwrap_or(record);
        let text = std::str::from_utf8(record).map_err(|e| format!("byte {} is not UTF-8", e.valid_up_to() + 1));
        Some((line, text.map(|text| Record { text, delimiter: self.delimiter, quoting: self.quoting })))
    }
}

/// Where the first row ends: at its line feed, or at the end of the bytes.
fn end_of_record(bytes: &[u8], delimiter: u8) -> Result<usize, String> {
    let mut at = 0;
    loop {
        if bytes.get(at) == Some(&b'"') {
            at += 1;
            loop {
                let quote = bytes[at..].iter().position(|byte| *byte == b'"');
                at += quote.ok_or("a quote is opened and not closed")? + 1;
                if bytes.get(at) != Some(&b'"') {
                    break;
                }
                at += 1;
            }
            match &bytes[at..] {
                [] | [b'\n', ..] | [b'\r', b'\n', ..] | [b'\r'] => {}
                [next, ..] if *next == delimiter => {}
                _ => return Err("text follows a closing quote".into()),
            }
        }
        let end = bytes[at..].iter().position(|byte| *byte == b'\n' || *byte == delimiter);
        match end.map(|end| at + end) {
            None => return Ok(bytes.len()),
            Some(end) if bytes[end] == b'\n' => return Ok(end),
            Some(end) => at = end + 1,
        }
    }
}

impl<'a> Record<'a> {
    /// The fields as they stand in the file.
    fn raw_fields(&self) -> impl Iterator<Item = &'a str> {
        let (delimiter, quoting) = (self.delimiter, self.quoting);
        let mut left = Some(self.text);
        std::iter::from_fn(move || {
            let text = left?;
            let after = match quoting {
                // The closing quote is the first that is not doubled; `end_of_record` saw that a delimiter follows it.
                Quoting::Csv if text.starts_with('"') => {
                    let mut at = 1;
                    while let Some(quote) = text[at..].find('"') {
                        at += quote + 1;
                        if !text[at..].starts_with('"') {
                            break;
                        }
                        at += 1;
                    }
                    at
                }
                _ => text.find(delimiter).unwrap_or(text.len()),
            };
            left = text[after..].strip_prefix(delimiter);
            Some(&text[..after])
        })
    }

    /// The number of fields.
    pub fn width(&self) -> usize {
        self.raw_fields().count()
    }

    /// The fields as they are meant.
    pub fn fields(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let quoting = self.quoting;
        self.raw_fields().map(move |field| match quoting {
            Quoting::Csv => unquoted(field),
            Quoting::Raw => Cow::Borrowed(field),
        })
    }

    /// A field as it is meant.
    pub fn field(&self, index: usize) -> Option<Cow<'a, str>> {
        self.fields().nth(index)
    }

    /// Whether nothing but white space stands in it.
    pub fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }
}

fn unquoted(field: &str) -> Cow<'_, str> {
    match field.strip_prefix('"').and_then(|field| field.strip_suffix('"')) {
        Some(inner) if inner.contains('"') => Cow::Owned(inner.replace("\"\"", "\"")),
        Some(inner) => Cow::Borrowed(inner),
        None => Cow::Borrowed(field),
    }
}

/// What a file's quotes look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotes {
    /// Whether a name in the first row stands between quotes.
    pub header: bool,
    /// Fields with quotes that CSV would not write: within the field, or not doubled.
    pub bare: u64,
    /// Fields between quotes that need them in CSV: they hold doubled quotes, a delimiter or a line feed.
    pub needed: u64,
    /// Of these, the fields whose text stands between quotes itself.
    pub nested: u64,
    /// Fields between quotes that hold a comma or a semicolon, for which spreadsheets quote whatever the delimiter is.
    pub commas: u64,
    /// Fields between quotes that need none.
    pub idle: u64,
    /// Whether fields between quotes hold line feeds, and the lines alone make rows of one width as well: either reading is a
    /// table, of other rows.
    pub either: bool,
}

/// Counts the fields with quotes of a file.
pub fn quotes(bytes: &[u8], delimiter: char) -> Quotes {
    let mut found = Quotes::default();
    let (mut whole, mut spans) = (true, false);
    for (number, (_, record)) in records(bytes, delimiter, Quoting::Csv).enumerate() {
        let Ok(record) = record else {
            whole = false;
            break;
        };
        record.raw_fields().for_each(|field| found.count(field, delimiter));
        found.header |= number == 0 && record.raw_fields().any(|field| field.starts_with('"'));
        spans |= record.raw_fields().any(|field| field.contains('\n'));
    }
    if !whole {
        // No CSV: line by line, as the raw kind is read.
        found = Quotes { header: found.header, ..Quotes::default() };
        for (_, record) in records(bytes, delimiter, Quoting::Raw) {
            record.iter().flat_map(Record::raw_fields).for_each(|field| found.count(field, delimiter));
        }
        found.bare = found.bare.max(1);
    } else if spans {
        found.either = has_one_width(bytes, delimiter, Quoting::Raw) == Some(true);
    }
    found
}

/// Whether every row has as many fields as the first; `None` where a row cannot be read.
pub fn has_one_width(bytes: &[u8], delimiter: char, quoting: Quoting) -> Option<bool> {
    let mut widths = records(bytes, delimiter, quoting).map(|(_, record)| record.ok().map(|record| record.width()));
    let first = widths.next()??;
    let mut same = true;
    for width in widths {
        same &= width? == first;
    }
    Some(same)
}

impl Quotes {
    fn count(&mut self, field: &str, delimiter: char) {
        if !field.contains('"') {
            return;
        }
        let inner = field.strip_prefix('"').and_then(|field| field.strip_suffix('"'));
        let Some(inner) = inner.filter(|inner| !inner.replace("\"\"", "").contains('"')) else {
            self.bare += 1;
            return;
        };
        if inner.contains(['"', delimiter, '\n', '\r']) {
            self.needed += 1;
            // A doubled quote at either end.
            self.nested += u64::from(inner.len() > 3 && inner.starts_with("\"\"") && inner.ends_with("\"\""));
        } else if inner.contains([',', ';']) {
            self.commas += 1;
        } else {
            self.idle += 1;
        }
    }
}
