//! Options with those that were not given.

use lopper_core::OptionDoc;
use toml::Table;

/// The given options and the defaults of all others.
pub(super) fn with_defaults(given: &Table, docs: &[OptionDoc]) -> Table {
    let default = |doc: &OptionDoc| Some((doc.name.to_owned(), (doc.default)()?));
    joined(docs.iter().filter_map(default).collect(), given.clone())
}

/// A table with what another one has, which wins.
pub(super) fn joined(mut table: Table, more: Table) -> Table {
    table.extend(more);
    table
}
