//! A toy model and a toy dataset that train in seconds, and the laws that every plugin must obey.
//!
//! A plugin's own tests call its suite in one line, and a broken law is named in the panic:
//!
//! ```no_run,standalone_crate
//! # use lopper_core::{PruningStrategy, Result, RunSpec, Stage};
//! struct Mine;
//! impl PruningStrategy for Mine {
//!     fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
//!         Ok(vec![Stage::dense(run).named("mine").discovered(run.sparsity)])
//!     }
//! }
//! lopper_testkit::laws::strategy(|| Box::new(Mine));
//! ```

mod cache;
pub mod laws;
mod toy;

pub use cache::MemoryCache;
pub use toy::{ToyConfig, ToyData, ToyDataset, ToyModel, recipe, run_spec, serial};
