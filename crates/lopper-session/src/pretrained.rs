//! theta_0 for whoever comes back to it: neither in memory beside the weights in training nor in a file of the run. The model is
//! opened once more.

use crate::weights::Weights;
use lopper_core::{Error, Model, Result};

/// The pre-trained weights with the run's fresh head.
pub(crate) struct Pretrained {
    /// [`Weights::hash`].
    hash: String,
    /// Whether the model holds them now.
    live: bool,
}

impl Pretrained {
    /// Those that the model holds now.
    pub(crate) fn live(weights: &Weights) -> Result<Self> {
        Ok(Self { hash: weights.hash()?, live: true })
    }

    /// Of every name, role, shape and bit.
    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// Called before other weights take their place in the model.
    pub(crate) fn leave(&mut self) {
        self.live = false;
    }

    /// Puts them into the model; `open` opens it once more. For the time of the copy they are in memory twice: between two
    /// stages, when there are no gradients and moments.
    ///
    /// # Errors
    /// Those of opening the model, and [`Error::Other`] when it is another one by now.
    pub(crate) fn restore(
        &mut self,
        weights: &mut Weights,
        open: impl FnOnce() -> Result<Box<dyn Model>>,
    ) -> Result<()> {
        if self.live {
            return Ok(());
        }
        let model = open()?;
        let opened = Weights::of(model.as_ref())?;
        let found = opened.hash()?;
        if found != self.hash {
            return Err(Error::Other(format!(
                "the pre-trained weights were changed while the run was using them: their hash was {} and is {found}; put the \
                 old ones back and give the same command, or begin a run of the new ones",
                self.hash
            )));
        }
        weights.copy_from(&opened)?;
        self.live = true;
        Ok(())
    }
}
