//! What can go wrong with masks. Every variant names the thing, its value and what would be accepted.

/// An error of another library.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The result of every fallible operation on masks.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Differences of two layouts that are listed.
const LISTED: usize = 10;

/// A failure that a user can act on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A sparsity outside `[0, 1]`, or not a number.
    #[error("sparsity {value} is not accepted: give a number from 0 (dense) to 1 (everything pruned)")]
    Sparsity {
        /// The refused value.
        value: f64,
    },

    /// A weight or score that cannot be ranked.
    #[error("{tensor}[{index}] is {value}: magnitudes can only be ranked when every weight is finite")]
    NonFinite {
        /// Name of the tensor.
        tensor: String,
        /// Flat index into the tensor, row-major.
        index: u64,
        /// The value found.
        value: f32,
    },

    /// A mask with another number of pruned entries than was asked for.
    #[error("a mask prunes {pruned} entries; sparsity {target} is exactly {wanted}")]
    Count {
        /// The sparsity asked for.
        target: f64,
        /// Entries that it prunes.
        pruned: u64,
        /// Entries that it should prune.
        wanted: u64,
    },

    /// Two masks, or a mask and weights, that do not describe the same tensors.
    #[error("{context}: {}", list(problems))]
    Layout {
        /// Which two things were compared.
        context: String,
        /// One line a difference.
        problems: Vec<String>,
    },

    /// Bytes or bits that are not a mask of this version.
    #[error("not a Lopper mask: {reason}")]
    Format {
        /// What was found, and what was expected.
        reason: String,
        /// What caused it, whose words the reason holds, where that was an error of its own.
        source: Option<Cause>,
    },

    /// Something asked for that cannot be had.
    #[error("{key} = {value} is not accepted: {expected}")]
    InvalidValue {
        /// Such as `sparsity`, `allocation`, `pattern`.
        key: String,
        /// The refused value.
        value: String,
        /// What would be accepted.
        expected: String,
    },

    /// Weights that were written to while they were ranked.
    #[error("weights changed while they were ranked")]
    Changed,
}

impl Error {
    /// An [`Error::InvalidValue`] from anything printable.
    pub fn invalid(key: impl Into<String>, value: impl std::fmt::Display, expected: impl Into<String>) -> Self {
        Self::InvalidValue { key: key.into(), value: value.to_string(), expected: expected.into() }
    }

    /// An [`Error::Layout`] of what is compared and every difference, of which ten are listed.
    pub fn layout(context: impl Into<String>, problems: Vec<String>) -> Self {
        Self::Layout { context: context.into(), problems: most(problems) }
    }
}

/// The first differences and the number of the others: two models differ in hundreds of tensors for one reason.
fn most(mut problems: Vec<String>) -> Vec<String> {
    let all = problems.len();
    if all <= LISTED {
        return problems;
    }
    problems.truncate(LISTED);
    vec![format!("{all} problems:\n  - {}\n  - and {} more like them", problems.join("\n  - "), all - LISTED)]
}

/// One problem as it is; of several their number, and a line for each.
fn list(problems: &[String]) -> String {
    match problems {
        [one] => one.clone(),
        many => format!("{} problems:\n  - {}", many.len(), many.join("\n  - ")),
    }
}
