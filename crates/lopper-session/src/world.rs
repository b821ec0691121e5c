//! The processes that train one stage together.
//!
//! Each of them has a rank, its own copy of the model and the same inputs. They share out the micro-batches of every update, add
//! up what came of them, and from then on do the same with the same numbers; so their weights stay equal without being sent.
//! What only one of them may decide (the mask) comes from rank 0, and what any of them may wish (to stop, to save) is decided
//! for all at the same update.

use lopper_core::Result;
use tch::Tensor;

/// What one process needs of the others. Every rank makes the same calls in the same order.
///
/// # Errors
/// A call fails, on every rank that waits in it, when another rank is gone: a rank that ends with an error need tell nobody.
pub(crate) trait World {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are, at least 1.
    fn size(&self) -> usize;

    /// Adds up over all ranks, in place: float32 tensors of the same shapes on the device of the model, and numbers. Every
    /// update waits for it once, so it takes as few exchanges as the transport allows.
    ///
    /// Where the order in which ranks are added is free, it is theirs: ((0 + 1) + 2) + …, in which one process would add as many
    /// micro-batches. Of two ranks any order gives the same bits.
    fn all_reduce_sum(&self, tensors: &mut [Tensor], numbers: &mut [f64]) -> Result<()>;

    /// What rank 0 gives, on every rank. What the others give is not looked at.
    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>>;

    /// What every rank gives, in the order of ranks, on every rank.
    fn all_gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// Returns once every rank has called it.
    fn barrier(&self) -> Result<()>;

    /// Whether this process is the one that writes files and asks the method.
    fn writes(&self) -> bool {
        self.rank() == 0
    }
}

/// One process by itself: it has given itself what it would get from others.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alone;

impl World for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _: &mut [Tensor], _: &mut [f64]) -> Result<()> {
        Ok(())
    }

    fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
        Ok(bytes)
    }

    fn all_gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        Ok(vec![bytes])
    }

    fn barrier(&self) -> Result<()> {
        Ok(())
    }
}
