//! In which case letters are written, and what that does to them beside it.

use crate::Dictionary;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Formatter};

/// Letters that a message names in each of its lists.
const SHOWN: usize = 8;

/// In which case letters are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Case {
    Upper,
    Lower,
    Keep,
}

impl Case {
    /// Each by its name.
    pub(crate) const ALL: [(&str, Self); 3] = [("upper", Self::Upper), ("lower", Self::Lower), ("keep", Self::Keep)];

    /// The case of a dictionary's letters, where they are of one; upper case for a dictionary without any.
    pub(crate) fn of(dictionary: &Dictionary) -> Self {
        let usable = (0..).zip(dictionary.symbols()).filter(|(id, _)| !dictionary.is_special(*id));
        let (mut upper, mut lower) = (false, false);
        for c in usable.flat_map(|(_, symbol)| symbol.chars()) {
            (upper, lower) = (upper || c.is_uppercase(), lower || c.is_lowercase());
        }
        match (upper, lower) {
            (true, true) => Self::Keep,
            (false, true) => Self::Lower,
            _ => Self::Upper,
        }
    }

    /// The text in this case.
    pub(crate) fn write(self, text: String) -> String {
        match self {
            Self::Upper => text.to_uppercase(),
            Self::Lower => text.to_lowercase(),
            Self::Keep => text,
        }
    }

    /// What the case does to `letters`, which are Unicode scalar values, beside writing them in it: nothing, where it is
    /// one-to-one over them.
    ///
    /// Letters that fall together are one letter where the opposite case makes them one, too: `a` and `A`, `σ` and `Σ`, and
    /// all three of `ǆ`, `ǅ` and `Ǆ`. They are different letters where it does not: `ı` and `i` become `I` in upper case, and
    /// stay two in lower case; `ς` and `σ` become `Σ` alike, `ſ` and `s` become `S`, and the kelvin sign becomes `k`. A letter may
    /// become several: `ß` in upper case, `İ` in lower case. And where `i` has the capital `İ`, it does not become it.
    pub(crate) fn losses(self, letters: &BTreeSet<char>) -> Losses {
        let upper = |c: char| c.to_uppercase().collect::<String>();
        let lower = |c: char| c.to_lowercase().collect::<String>();
        let (mut merged, mut several, mut apart) = (BTreeMap::<_, Vec<char>>::new(), Vec::new(), Vec::new());
        if self == Self::Keep {
            return Losses { merged: Vec::new(), several, apart };
        }
        for letter in letters {
            let becomes = if self == Self::Upper { upper(*letter) } else { lower(*letter) };
            if becomes.chars().count() > 1 {
                several.push((*letter, becomes));
            } else {
                merged.entry(becomes).or_default().push(*letter);
            }
        }
        let differ = |group: &[char]| {
            let back: BTreeSet<String> =
                group.iter().map(|c| if self == Self::Upper { lower(*c) } else { upper(*c) }).collect();
            // The small letter of a capital may have another one, of several letters: that of ẞ does.
            back.iter().filter(|back| back.chars().count() == 1).count() > 1
        };
        let merged = merged.into_iter().filter(|(_, group)| differ(group)).map(|(one, group)| (group, one)).collect();
        if self == Self::Upper && letters.contains(&'İ') && letters.contains(&'i') {
            apart.push(('i', 'İ'));
        }
        Losses { merged, several, apart }
    }
}

/// Letters that a case changes otherwise than by writing them in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Letters that become one.
    merged: Vec<(Vec<char>, String)>,
    /// Letters that become several.
    several: Vec<(char, String)>,
    /// A small letter that does not become its capital.
    apart: Vec<(char, char)>,
}

impl Losses {
    pub(crate) fn is_empty(&self) -> bool {
        self.merged.is_empty() && self.several.is_empty() && self.apart.is_empty()
    }
}

impl Display for Losses {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let quoted = |letters: &[char]| letters.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ");
        let merged = self.merged.iter().map(|(letters, one)| format!("{} all become `{one}`", quoted(letters)));
        let several = self.several.iter().map(|(letter, becomes)| format!("`{letter}` becomes `{becomes}`"));
        let apart = self.apart.iter().map(|(small, capital)| format!("`{small}` does not become `{capital}`"));
        let all: Vec<String> = merged.chain(apart).chain(several).collect();
        let more = if all.len() > SHOWN { ", …" } else { "" };
        write!(f, "{}{more}", all[..all.len().min(SHOWN)].join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(case: Case, text: &str) -> String {
        case.losses(&text.chars().collect()).to_string()
    }

    #[test]
    fn upper_case_is_one_to_one_where_letters_stay_different() {
        for text in [
            "The quick brown Fox, AND ÀÉÑ àéñ",
            // Lithuanian, with a dot above as a letter of its own.
            "ąčęėįšųūž ĄČĘĖĮŠŲŪŽ i\u{307}\u{301}",
            "αβγδεζηθικλμνξοπρστυφχψω ΆΈ άέ Σ",
            "ǆ ǅ Ǆ ǉ ǈ Ǉ ǌ ǋ Ǌ ǳ ǲ Ǳ",
            "ИЙий ё Ё Її Ґґ",
            "ქართული",
            "字 か ا १ ' - ẞ",
        ] {
            assert_eq!(told(Case::Upper, text), "", "{text}");
        }
        // Capitals alone are what they are.
        assert_eq!(told(Case::Upper, "ILIK İYİ SS ΣΑΣ"), "");
    }

    #[test]
    fn letters_that_a_case_changes_are_named() {
        for (text, expected) in [
            ("ılık iyi", "`i`, `ı` all become `I`"),
            ("ılık İYİ iyi ILIK", "`I`, `i`, `ı` all become `I`, `i` does not become `İ`"),
            ("iyi İYİ", "`i` does not become `İ`"),
            // Azeri has ə and both i's.
            ("əlifba ısti", "`i`, `ı` all become `I`"),
            ("σοφός", "`ς`, `σ` all become `Σ`"),
            ("ΣΟΦΟΣ ς σ", "`Σ`, `ς`, `σ` all become `Σ`"),
            ("Straße", "`ß` becomes `SS`"),
            ("ſo s", "`s`, `ſ` all become `S`"),
            ("ﬁn ŉ", "`ŉ` becomes `ʼN`, `ﬁ` becomes `FI`"),
            ("ΐ", "`ΐ` becomes `Ι\u{308}\u{301}`"),
            ("և", "`և` becomes `ԵՒ`"),
            // Micro sign and Greek mu.
            ("µ μ", "`µ`, `μ` all become `Μ`"),
        ] {
            assert_eq!(told(Case::Upper, text), expected, "{text}");
        }
        assert_eq!(told(Case::Lower, "Kk \u{212a}"), "`K`, `k`, `\u{212a}` all become `k`");
        assert_eq!(told(Case::Lower, "İı Ii"), "`İ` becomes `i\u{307}`");
        assert_eq!(told(Case::Lower, "Straße STRAẞE Σσς ΐ Ǆǅǆ"), "");
        assert_eq!(told(Case::Keep, "ßıi"), "");
    }
}
