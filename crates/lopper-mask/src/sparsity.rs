//! The share of prunable entries that are pruned.

use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A share of pruned entries among all prunable entries, in `[0, 1]`. 0 is dense.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Sparsity(f64);

impl Sparsity {
    /// Nothing pruned.
    pub const DENSE: Self = Self(0.0);

    /// Checks that `value` lies in `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::Sparsity`] for a value outside, or NaN.
    pub fn new(value: f64) -> Result<Self> {
        // `contains` is false for NaN. Adding zero turns -0.0 into 0.0, so equal sparsities print and hash alike.
        if (0.0..=1.0).contains(&value) { Ok(Self(value + 0.0)) } else { Err(Error::Sparsity { value }) }
    }

    /// The share as a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// How many of `n` entries are pruned: round(sparsity · n), ties to even like `torch.nn.utils.prune`.
    pub fn pruned_of(self, n: u64) -> u64 {
        // f64 holds every integer up to 2^53 exactly, far above any model's entry count.
        (self.0 * n as f64).round_ties_even() as u64
    }
}

impl fmt::Display for Sparsity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Sparsity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

impl<'de> Deserialize<'de> for Sparsity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}
