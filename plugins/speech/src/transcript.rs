//! What a corpus says of a recording, before it becomes symbols.

/// What is said in a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transcript {
    /// A text, to be spelled.
    Text(String),
    /// Symbols between white space.
    Spaced(String),
    /// Symbols one by one, which may have white space in them.
    Symbols(Vec<String>),
}
