//! What a `[[figure]]` table may have wrong with it.

/// One thing that is not accepted in a `[[figure]]` table. All of them are told at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A value that a key does not take.
    #[error("{key} = {value} is not accepted: {expected}")]
    Value {
        /// The key with its figure, such as `figure.iou.measure`.
        key: String,
        /// The refused value, as TOML.
        value: String,
        /// What would be accepted.
        expected: String,
    },
    /// A key that must be there.
    #[error("{key} is missing: {expected}")]
    Missing {
        /// The key with its figure.
        key: String,
        /// What would be accepted.
        expected: String,
    },
    /// A key that this kind of figure does not know.
    #[error("{key} is no key of this figure{}; known are {}", hint(nearest), known.join(", "))]
    UnknownKey {
        /// The key with its figure.
        key: String,
        /// The known key that is most like it.
        nearest: Option<String>,
        /// All keys that the kind knows.
        known: Vec<String>,
    },
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map(|name| format!("; did you mean {name}?")).unwrap_or_default()
}

/// The name most like this one, if one is within a third of its letters.
pub(crate) fn nearest(name: &str, known: &[&str]) -> Option<String> {
    let length = name.chars().count();
    let near = known.iter().filter_map(|candidate| {
        let most = (length.max(candidate.chars().count()) / 3).max(1);
        let distance = strsim::damerau_levenshtein(name, candidate);
        (distance <= most).then_some((distance, *candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate.to_owned())
}
