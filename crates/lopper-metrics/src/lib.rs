//! Metrics of classification and regression, equal to scikit-learn's and scipy's, and error rates of sequences, equal to
//! `jiwer`'s.
//!
//! Functions over classes and numbers take `(predicted, true)` pairs, so that two lists of unlike length cannot be passed.
//! Where a metric is undefined it is 0, never NaN, because results are printed and stored as JSON: that is what
//! scikit-learn does for F1 and Matthews; scipy answers NaN for the correlation of a constant, and an error for fewer than
//! two pairs.
//!
//! [`Outcomes`] are what was said of every example of a split; every metric can be computed from them, also with examples that
//! count several times or not at all.

mod classes;
mod edit;
mod outcomes;
mod outcomes_csv;
mod outcomes_packed;
mod values;

pub use classes::{accuracy, f1, matthews};
pub use edit::{Edits, character_edits, edits, error_rate, mean_error_rate, word_edits};
pub use outcomes::{Counted, Errors, Outcomes};
pub use values::{pearson, spearman};

use serde::{Deserialize, Serialize};

/// A metric over class ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassMetric {
    /// [`accuracy`].
    Accuracy,
    /// [`f1`].
    F1,
    /// [`matthews`].
    Matthews,
}

impl ClassMetric {
    /// The name in results, such as `accuracy`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::F1 => "f1",
            Self::Matthews => "matthews",
        }
    }

    /// The metric of `(predicted, true)` class ids.
    pub fn of(self, pairs: &[(u32, u32)]) -> f64 {
        match self {
            Self::Accuracy => accuracy(pairs),
            Self::F1 => f1(pairs),
            Self::Matthews => matthews(pairs),
        }
    }
}

/// A metric over numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueMetric {
    /// [`pearson`].
    Pearson,
    /// [`spearman`].
    Spearman,
}

impl ValueMetric {
    /// The name in results, such as `pearson`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
        }
    }

    /// The metric of `(predicted, true)` numbers.
    pub fn of(self, pairs: &[(f64, f64)]) -> f64 {
        match self {
            Self::Pearson => pearson(pairs),
            Self::Spearman => spearman(pairs),
        }
    }
}
