//! Something small to prune.

mod dataset;
mod model;

pub use dataset::{ToyData, ToyDataset};
pub use model::{ToyConfig, ToyModel};

use lopper_core::{Batching, Optimizer, RateSchedule, Recipe, RunSpec, Sparsity};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A recipe that trains a [`ToyModel`] well within a few hundred updates: AdamW at 5e-3, 16 examples a batch, linear decay.
pub fn recipe() -> Recipe {
    let optimizer = Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 };
    Recipe::new(optimizer, 5e-3, Batching::Examples(16))
        .rate_schedule(RateSchedule::Linear { warmup: 0.1 })
        .clip_norm(Some(1.0))
}

/// A run of [`recipe`] with seed 1.
pub fn run_spec(sparsity: Sparsity, updates: u64) -> RunSpec {
    RunSpec { sparsity, updates, updates_per_epoch: updates.max(1), recipe: recipe(), seed: 1 }
}

/// Waits until no other test holds it. libtorch has one generator for the whole process, so tests that seed it and
/// compare bits (whatever trains with dropout) must not run at the same time as others that draw from it.
pub fn serial() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    // A test that failed while holding it says so itself.
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}
