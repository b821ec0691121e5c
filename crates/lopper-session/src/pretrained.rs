//! theta_0 for whoever comes back to it: not in memory beside the weights in training, but in a file of the run.

use crate::weights::Weights;
use lopper_core::{Error, Result};
use lopper_weights::SealedTensors;
use std::path::PathBuf;

/// The pre-trained weights with the run's fresh head.
pub(crate) struct Pretrained {
    /// [`Weights::hash`].
    hash: String,
    /// Where they are put aside, once the model holds others.
    aside: PathBuf,
    /// Hash of that file, when it is there.
    file: Option<String>,
    /// Whether the model holds them now.
    live: bool,
}

impl Pretrained {
    /// Those that the model holds now; `aside` is where they may be put.
    pub(crate) fn live(weights: &Weights, aside: PathBuf) -> Result<Self> {
        Ok(Self { hash: weights.hash()?, aside, file: None, live: true })
    }

    /// Of every name, role, shape and bit.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Called before other weights take their place in the model. They are put aside if they are `wanted` again.
    pub(crate) fn leave(&mut self, weights: &Weights, wanted: bool) -> Result<()> {
        if self.live && wanted && self.file.is_none() {
            self.file = Some(weights.write_to(&self.aside)?);
        }
        self.live = false;
        Ok(())
    }

    /// Puts them into the model.
    pub(crate) fn restore(&mut self, weights: &mut Weights) -> Result<()> {
        if self.live {
            return Ok(());
        }
        let Some(hash) = &self.file else {
            let why = "the pre-trained weights are needed once more and were not put aside; the same command goes on from here";
            return Err(Error::Other(why.into()));
        };
        let file = SealedTensors::open(&self.aside)?;
        if file.hash() != hash {
            return Err(Error::file(&self.aside, "was changed while the run was using it; run the command again"));
        }
        weights.read(&file, None)?;
        self.live = true;
        Ok(())
    }

    /// Removes what was put aside, by this process or by one that was killed.
    pub(crate) fn clear(&mut self) -> Result<()> {
        self.file = None;
        match std::fs::remove_file(&self.aside) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&self.aside, e)),
            _ => Ok(()),
        }
    }
}
