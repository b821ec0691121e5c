//! Reads and writes checkpoints: Hugging Face directories, safetensors files, and models fetched from the hub.
//!
//! Every file is checked whole before a tensor of it is used, and every write either happens completely or leaves what
//! was there before.

mod checkpoint;
pub mod files;
mod header;
mod hub;
mod index;
mod save;
mod space;
mod tensors;

pub use checkpoint::Checkpoint;
pub use hub::{HubSettings, resolve, resolve_present};
pub use safetensors::Dtype;
pub use save::{MARKER, Overwrite, save_model, save_model_with};
pub use space::{FreeSpace, free_space};
pub use tensors::{load_tensors, load_tensors_verified, load_tensors_with_hash, read_metadata, save_tensors};

#[cfg(target_endian = "big")]
compile_error!("safetensors are little-endian and are copied as they are");
