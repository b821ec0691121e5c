//! What a plugin that brings texts makes.

use crate::kind::Label;

/// One labelled text or pair of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The first or only text.
    pub first: String,
    /// The second of a pair.
    pub second: Option<String>,
    /// What it should be answered with.
    pub label: Label,
}
