//! `lopper mask`: looks at masks, compares and combines them, applies them, converts them. One file a subcommand.

mod apply;
mod combine;
mod convert;
mod diff;
mod given;
mod info;
mod iou;

use lopper_core::{Error, MASK_METADATA_KEY, MaskOrigin, MaskSet, Result};
use std::path::{Path, PathBuf};

/// The command's arguments. A mask is a mask file of Lopper, NAME_mask tensors of torch.nn.utils.prune in safetensors or in a
/// file of torch.save, or a directory that holds one.
#[derive(Debug, clap::Subcommand)]
pub(super) enum Command {
    /// Exact counts, over all and for each tensor, and where the mask came from
    Info {
        /// Mask file, or a directory with a mask.safetensors
        mask: PathBuf,
    },
    /// Intersection over union of what masks keep (1: equal), overlap and agreement; for more than two, of every pair
    Iou {
        /// Mask files, or directories with a mask.safetensors
        #[arg(required = true, num_args = 2..)]
        masks: Vec<PathBuf>,

        #[command(flatten)]
        of: given::ForModel,
    },
    /// Entries that only one of two masks keeps, for each tensor
    Diff {
        /// Mask file, or a directory with a mask.safetensors
        a: PathBuf,
        /// Another
        b: PathBuf,

        #[command(flatten)]
        of: given::ForModel,
    },
    /// Save a model with the mask's zeros in place and the mask beside it
    Apply(apply::Arguments),
    /// The mask of what at least one of the masks keeps
    Union(combine::Arguments),
    /// The mask of what all of the masks keep
    Intersect(combine::Arguments),
    /// Between a Lopper mask and the NAME_mask tensors of torch.nn.utils.prune and of lottery-ticket scripts
    Convert(convert::Arguments),
}

impl Command {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        match self {
            Self::Info { mask } => info::info(mask, json),
            Self::Iou { masks, of } => iou::iou(masks, of, json),
            Self::Diff { a, b, of } => diff::diff(a, b, of, json),
            Self::Apply(arguments) => arguments.execute(json),
            Self::Union(arguments) => arguments.execute(combine::Operation::Union, json),
            Self::Intersect(arguments) => arguments.execute(combine::Operation::Intersection, json),
            Self::Convert(arguments) => arguments.execute(json),
        }
    }
}

/// In the metadata of a file of torch's masks that Lopper wrote.
const TORCH_KEY: &str = "lopper.torch_masks";

/// Fails when something is in the way of a file of masks that Lopper did not write.
fn check_free(path: &Path) -> Result<()> {
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    let ours = |key: &String| key == MASK_METADATA_KEY || key == TORCH_KEY;
    match path.is_file() && lopper_weights::read_metadata(path).is_ok_and(|metadata| metadata.keys().any(ours)) {
        true => Ok(()),
        false => Err(Error::file(
            path,
            "exists and is no file of masks that Lopper wrote: choose another --out, or remove it",
        )),
    }
}

/// Writes a mask file, and the directories above it.
fn write(path: &Path, mask: &MaskSet, origin: &MaskOrigin) -> Result<()> {
    let bytes = mask.to_file_bytes(origin)?;
    create_parent(path)?;
    lopper_weights::files::write_atomic(path, &bytes)
}

fn create_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => lopper_weights::files::create_dir(parent),
        _ => Ok(()),
    }
}
