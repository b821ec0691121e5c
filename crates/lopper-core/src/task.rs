//! What is to be learned.

use serde::{Deserialize, Serialize};

/// The head that a task needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Head {
    /// One of several classes; the labels in class order.
    Classification {
        /// Label of each class.
        labels: Vec<String>,
    },
    /// One number.
    Regression,
    /// A sequence of symbols through CTC.
    Ctc {
        /// Symbol of each output.
        vocabulary: Vec<String>,
        /// Index of the blank.
        blank: usize,
    },
}

impl Head {
    /// A CTC head of which nothing is known but its number of outputs and its blank: the symbol of output 3 is `<3>`.
    pub fn numbered(outputs: usize, blank: usize) -> Self {
        Self::Ctc { vocabulary: (0..outputs).map(number).collect(), blank }
    }

    /// Whether it is such a head.
    pub fn is_numbered(&self) -> bool {
        let Self::Ctc { vocabulary, .. } = self else { return false };
        vocabulary.iter().enumerate().all(|(output, symbol)| *symbol == number(output))
    }

    /// Whether it is a classification whose classes have no names but `LABEL_0`, `LABEL_1`, …, as `transformers` numbers them.
    pub fn is_unnamed(&self) -> bool {
        let Self::Classification { labels } = self else { return false };
        labels.iter().enumerate().all(|(class, label)| *label == format!("LABEL_{class}"))
    }

    /// Whether both are classifications of the same labels, each once and case aside, in another order.
    pub fn reorders(&self, other: &Self) -> bool {
        let (Self::Classification { labels: a }, Self::Classification { labels: b }) = (self, other) else {
            return false;
        };
        let plain = |labels: &[String]| labels.iter().map(|label| label.to_ascii_lowercase()).collect::<Vec<_>>();
        let (mut a, mut b) = (plain(a), plain(b));
        let moved = a != b;
        a.sort_unstable();
        b.sort_unstable();
        moved && a == b && a.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// Outputs an input (or a time step).
    pub fn outputs(&self) -> usize {
        match self {
            Self::Classification { labels } => labels.len(),
            Self::Regression => 1,
            Self::Ctc { vocabulary, .. } => vocabulary.len(),
        }
    }
}

/// What an output is called that nothing names.
fn number(output: usize) -> String {
    format!("<{output}>")
}

/// What is to be learned, and how it is judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Task {
    /// Such as `rte`.
    pub name: String,
    /// The head it needs.
    pub head: Head,
    /// The metric quoted first, one of those that [`Dataset::evaluate`](crate::Dataset::evaluate) returns.
    pub primary_metric: String,
    /// False for error rates.
    pub higher_is_better: bool,
}

impl Task {
    /// A task that is judged by `primary_metric`, of which more is better.
    pub fn new(name: impl Into<String>, head: Head, primary_metric: impl Into<String>) -> Self {
        Self { name: name.into(), head, primary_metric: primary_metric.into(), higher_is_better: true }
    }

    /// The same, where less is better: its metric is an error rate.
    pub fn lower_is_better(self) -> Self {
        Self { higher_is_better: false, ..self }
    }
}
