//! How much of a long list an error shows.

use std::collections::BTreeSet;

/// Most problems of one file that are listed.
pub(crate) const MAX_PROBLEMS: usize = 20;

/// The first few names, quoted, as one line; empty for none.
pub(crate) fn first_names<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let shown: Vec<_> = names.iter().take(8).map(|name| format!("{name:?}")).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
