//! Classes or numbers, and the metrics of each.

use lopper_core::{Error, Head, Outcomes, Result, Task};
use lopper_metrics::{ClassMetric, ValueMetric};

/// What a text should be answered with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Label {
    /// A class id.
    Class(u32),
    /// A number.
    Value(f32),
}

/// What a text task asks for. The first metric is the primary one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One of several classes.
    Classification {
        /// Label of each class.
        labels: &'static [&'static str],
        /// What it is judged by.
        metrics: &'static [ClassMetric],
    },
    /// One number.
    Regression {
        /// What it is judged by.
        metrics: &'static [ValueMetric],
    },
}

impl Kind {
    /// The task of this kind under `name`, as the core knows it.
    pub fn task(&self, name: &str) -> Task {
        let (head, primary) = match self {
            Self::Classification { labels, metrics } => (
                Head::Classification { labels: labels.iter().map(|l| (*l).to_owned()).collect() },
                metrics.first().map(|m| m.name()),
            ),
            Self::Regression { metrics } => (Head::Regression, metrics.first().map(|m| m.name())),
        };
        let primary_metric = primary.unwrap_or_default().to_owned();
        Task::new(name, head, primary_metric)
    }

    /// Whether a label is one of this kind: a class below the number of labels, a finite number.
    pub fn accepts(&self, label: Label) -> bool {
        match (self, label) {
            (Self::Classification { labels, .. }, Label::Class(class)) => (class as usize) < labels.len(),
            (Self::Regression { .. }, Label::Value(value)) => value.is_finite(),
            _ => false,
        }
    }

    /// Outputs of the head for one input.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Classification { labels, .. } => labels.len(),
            Self::Regression { .. } => 1,
        }
    }

    /// What logits `[example][output]`, finite, in the order of `labels`, say of each example.
    pub(crate) fn outcomes(&self, logits: &[Vec<f32>], labels: &[Label]) -> Result<Outcomes> {
        let rows = logits.iter().zip(labels);
        match self {
            Self::Classification { .. } => {
                let pairs = rows.map(|(row, label)| match label {
                    Label::Class(class) => Ok((argmax(row), *class)),
                    Label::Value(_) => Err(mixed()),
                });
                pairs.collect::<Result<_>>().map(Outcomes::Classes)
            }
            Self::Regression { .. } => {
                let pairs = rows.map(|(row, label)| match (row.as_slice(), label) {
                    ([value], Label::Value(truth)) => Ok((*value, *truth)),
                    _ => Err(mixed()),
                });
                pairs.collect::<Result<_>>().map(Outcomes::Values)
            }
        }
    }

    /// The names of its metrics.
    pub(crate) fn metrics(&self) -> Vec<&'static str> {
        match self {
            Self::Classification { metrics, .. } => metrics.iter().map(|metric| metric.name()).collect(),
            Self::Regression { metrics } => metrics.iter().map(|metric| metric.name()).collect(),
        }
    }
}

/// The first of the largest, as numpy takes it.
fn argmax(row: &[f32]) -> u32 {
    let mut best = 0;
    for (class, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = class;
        }
    }
    best as u32
}

fn mixed() -> Error {
    Error::Other("class labels and numbers cannot be mixed in one task".into())
}
