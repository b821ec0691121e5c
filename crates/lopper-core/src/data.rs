//! What datasets hand to models: inputs, features, batches.

use crate::{Error, Result};
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// A raw input, before any model has seen it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Input<'a> {
    /// One text, or a pair.
    Text {
        /// The first or only text.
        first: &'a str,
        /// The second of a pair.
        second: Option<&'a str>,
    },
    /// Mono audio.
    Audio {
        /// Samples in `[-1, 1]`.
        samples: &'a [f32],
        /// Samples a second.
        sample_rate: u32,
    },
}

/// One input as a model reads it, before batching.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Features {
    /// Token ids with special tokens, and the segment of each.
    Tokens {
        /// Vocabulary ids.
        ids: Vec<u32>,
        /// 0 for the first text, 1 for the second; as long as `ids`.
        segments: Vec<u32>,
    },
    /// A waveform at the model's rate.
    Samples(Vec<f32>),
}

impl Features {
    /// Tokens or samples: what batches are bucketed by.
    pub fn len(&self) -> usize {
        match self {
            Self::Tokens { ids, .. } => ids.len(),
            Self::Samples(samples) => samples.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Named input tensors of a batch, such as `input_ids [batch, time]` (int64).
pub type Inputs = BTreeMap<&'static str, Tensor>;

/// What the outputs should be.
#[derive(Debug)]
#[non_exhaustive]
pub enum Targets {
    /// `[batch]`, int64 class ids.
    Classes(Tensor),
    /// `[batch]`, float32.
    Values(Tensor),
    /// Token ids of each row, for CTC.
    Sequences(Vec<Vec<i64>>),
}

/// Several examples at once.
#[derive(Debug)]
#[non_exhaustive]
pub struct Batch {
    /// What the model reads.
    pub inputs: Inputs,
    /// What it should answer; `None` for prediction alone.
    pub targets: Option<Targets>,
    /// Rows.
    pub len: usize,
}

impl Batch {
    /// A batch of `len` rows; `None` for its targets is for prediction alone.
    pub fn new(inputs: Inputs, targets: impl Into<Option<Targets>>, len: usize) -> Self {
        Self { inputs, targets: targets.into(), len }
    }

    /// The same batch on another device.
    ///
    /// # Errors
    /// Errors of libtorch, out of memory among them.
    pub fn to_device(&self, device: Device) -> Result<Self> {
        let inputs = self
            .inputs
            .iter()
            .map(|(name, tensor)| Ok((*name, tensor.f_to_device(device)?)))
            .collect::<Result<_, tch::TchError>>()?;
        let targets = match &self.targets {
            None => None,
            Some(Targets::Classes(t)) => Some(Targets::Classes(t.f_to_device(device)?)),
            Some(Targets::Values(t)) => Some(Targets::Values(t.f_to_device(device)?)),
            Some(Targets::Sequences(rows)) => Some(Targets::Sequences(rows.clone())),
        };
        Ok(Self { inputs, targets, len: self.len })
    }

    /// The named input.
    ///
    /// # Errors
    /// [`Error::Other`] when the batch has none of that name.
    pub fn input(&self, name: &str) -> Result<&Tensor> {
        self.inputs.get(name).ok_or_else(|| {
            let known: Vec<_> = self.inputs.keys().copied().collect();
            Error::Other(format!("the batch has no input `{name}`; it has {}", known.join(", ")))
        })
    }
}
