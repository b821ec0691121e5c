//! Other names of what is there: CPC_audio's lists and languages are called otherwise in Common Voice and in what was written
//! about them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Stands for each language in a path.
pub(crate) const LANGUAGE: &str = "{language}";
/// CPC_audio's validation lists are called `valSeqs_1.0_…`.
const LISTS: [(&str, &str); 2] = [("validationSeqs", "valSeqs"), ("valSeqs", "validationSeqs")];

/// The file at `path`, or where there is none the one of CPC_audio's other name for it.
pub(crate) fn list(path: PathBuf) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let other = LISTS.iter().find_map(|(one, other)| Some(format!("{other}{}", name.strip_prefix(one)?)));
    let other = other.filter(|_| !path.exists()).map(|other| path.with_file_name(other));
    other.filter(|other| other.exists()).unwrap_or(path)
}

/// A path with `language` where it has `{language}`. Where the directory or file of that name is not there, but one of the
/// same language without its region, or with the only region that is there: `sv` for `sv-SE` and `zh-CN` for `zh`, unless
/// that is another of the languages `all`.
pub(crate) fn folder(path: &str, language: &str, all: &[String]) -> PathBuf {
    let with = |name: &str| PathBuf::from(path.replace(LANGUAGE, name));
    // The first part of the path that has the language in it.
    let before = path.find(LANGUAGE).unwrap_or_default();
    let start = path[..before].rfind('/').map_or(0, |slash| slash + 1);
    let end = path[before..].find('/').map_or(path.len(), |slash| before + slash);
    let part = &path[start..end];
    let directory = Path::new(if start == 0 { "." } else { &path[..start] });
    let at = |name: &str| directory.join(part.replace(LANGUAGE, name));
    if at(language).exists() {
        return with(language);
    }
    let mut others: BTreeSet<String> = BTreeSet::new();
    if base(language) != language {
        others.extend(Some(base(language).to_owned()).filter(|base| at(base).exists()));
    } else if let Some((head, tail)) = part.split_once(LANGUAGE) {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let code = |name: String| Some(name.strip_prefix(head)?.strip_suffix(tail)?.to_owned());
        others.extend(names.filter_map(code).filter(|code| code != language && base(code) == language));
    }
    others.retain(|other| !all.contains(other) && at(other).exists());
    match others.first() {
        Some(other) if others.len() == 1 => with(other),
        _ => with(language),
    }
}

/// Whether `found` is the language of that number: called so, or with a region more or less, where that is no other one's
/// name.
pub(crate) fn is_language(found: &str, number: usize, all: &[String]) -> bool {
    let wanted = all[number].as_str();
    let named = || all.iter().any(|other| other == found);
    found == wanted || (base(found) == base(wanted) && (found == base(found) || wanted == base(wanted)) && !named())
}

/// A language without its region: `zh` of `zh-CN`.
fn base(language: &str) -> &str {
    language.split(['-', '_']).next().unwrap_or(language)
}
