//! The task-agnostic subnetwork that PARP and PARP-P start from (Algorithm 1, line 2).

use lopper_core::{Among, InitialMask, RandomKind, RewindPoint, Sparsity};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::path::PathBuf;

/// Where the initial mask comes from: `mpi`, `rp`, or a mask in a file or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Initial {
    /// Magnitudes of theta_0.
    Mpi,
    /// Random (Figure 6).
    Rp,
    /// A mask found by another method or on another task (section 4.3).
    File(PathBuf),
}

impl Initial {
    /// The start of a stage at `sparsity`. `kind` and `seed` are for random masks.
    pub(crate) fn mask(&self, sparsity: Sparsity, kind: RandomKind, seed: u64) -> InitialMask {
        match self {
            Self::Mpi => InitialMask::Discover { on: RewindPoint::Pretrained, sparsity, among: Among::All },
            Self::Rp => InitialMask::Random { kind, sparsity, seed },
            Self::File(path) => InitialMask::Load(path.clone()),
        }
    }
}

impl Serialize for Initial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Mpi => serializer.serialize_str("mpi"),
            Self::Rp => serializer.serialize_str("rp"),
            Self::File(path) => path.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Initial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "mpi" => Ok(Self::Mpi),
            "rp" => Ok(Self::Rp),
            // A bare word is more likely a typo than a file in the working directory.
            path if path.contains(['/', '\\', '.']) => Ok(Self::File(path.into())),
            word => Err(serde::de::Error::custom(format!(
                "`{word}` is no initial mask: give `mpi`, `rp`, or the path of a mask file such as `./{word}.safetensors`, or of a \
                 finished run such as `./{word}`"
            ))),
        }
    }
}
