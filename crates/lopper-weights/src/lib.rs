//! Reads and writes checkpoints: Hugging Face directories, safetensors files, files of `torch.save` (without running
//! anything of them), and models fetched from the hub.
//!
//! Every file is checked whole before a tensor of it is used, and every write either happens completely or leaves what
//! was there before.

mod architectures;
mod checkpoint;
pub mod files;
mod header;
mod hub;
mod index;
mod listed;
mod locate;
mod masks;
mod names;
mod output_names;
mod pickle;
mod regular;
mod save;
mod sealed;
mod source;
mod space;
mod stamp;
mod tensor_file;
mod tensors;
mod torch;
mod wrapped;

pub use architectures::{check_config, other_architecture};
pub use checkpoint::Checkpoint;
pub use hub::{HubSettings, resolve, resolve_present};
pub use masks::{GivenMask, ModelMask, record_model_options, saved_model_options};
pub use output_names::OutputNames;
pub use pickle::{Pickle, Value};
pub use regular::{open_regular, read_mask, read_regular};
pub use safetensors::Dtype;
pub use save::{MARKER, Overwrite, SaveDtype, remove_saved_model, save_model, save_model_with};
pub use sealed::SealedTensors;
pub use space::{FreeSpace, check_writable, free_space};
pub use stamp::{FileStamp, recall, remember};
pub use tensors::{
    load_tensors, load_tensors_verified, load_tensors_with_hash, read_metadata, save_kept_tensors, save_tensors,
};

#[cfg(target_endian = "big")]
compile_error!("weights are little-endian in files and are copied as they are");
