//! What model plugins share: layers and attention, batches without their padding, dropout, fresh weights, and reading a
//! checkpoint and its `config.json` with everything that does not fit reported at once.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test panics"))]

mod activation;
mod attention;
mod config;
mod dropout;
pub mod fresh;
mod inputs;
mod layers;
mod named;
mod packing;

pub use activation::Activation;
pub use attention::attend;
pub use config::{MAX_BYTES, Reader};
pub use dropout::dropout;
pub use inputs::squared_input_norms;
pub use layers::{LayerNorm, Linear};
pub use named::{Named, Source, first_non_finite};
pub use packing::Packing;
