//! `lopper mask`: looks at masks, compares and combines them, applies them, converts them. One file a subcommand.

mod apply;
mod combine;
mod convert;
mod diff;
mod info;
mod iou;

use lopper_core::{Error, MASK_METADATA_KEY, MaskOrigin, MaskSet, Result};
use lopper_weights::read_mask;
use std::path::{Path, PathBuf};

/// The command's arguments. A mask is a mask file, or a directory that holds a mask.safetensors.
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
    },
    /// Entries that only one of two masks keeps, for each tensor
    Diff {
        /// Mask file, or a directory with a mask.safetensors
        a: PathBuf,
        /// Another
        b: PathBuf,
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
            Self::Iou { masks } => iou::iou(masks, json),
            Self::Diff { a, b } => diff::diff(a, b, json),
            Self::Apply(arguments) => arguments.execute(json),
            Self::Union(arguments) => arguments.execute(combine::Operation::Union, json),
            Self::Intersect(arguments) => arguments.execute(combine::Operation::Intersection, json),
            Self::Convert(arguments) => arguments.execute(json),
        }
    }
}

/// In the metadata of a file of torch's masks that Lopper wrote.
const TORCH_KEY: &str = "lopper.torch_masks";

struct MaskFile {
    path: PathBuf,
    mask: MaskSet,
    origin: MaskOrigin,
}

fn read(path: &Path) -> Result<MaskFile> {
    let file = match path.is_dir() {
        true => mask_inside(path).ok_or_else(|| {
            Error::file(
                path,
                "holds no mask.safetensors, nor does its model/; a mask file or such a directory was expected",
            )
        })?,
        false => path.to_owned(),
    };
    let (mask, origin) = read_mask(&file)?;
    Ok(MaskFile { path: path.to_owned(), mask, origin })
}

/// The mask file in a model's or a run's directory.
fn mask_inside(directory: &Path) -> Option<PathBuf> {
    let inside = ["mask.safetensors", "model/mask.safetensors"].map(|name| directory.join(name));
    inside.into_iter().find(|file| file.is_file())
}

fn read_all(paths: &[PathBuf]) -> Result<Vec<MaskFile>> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match read(path) {
            Ok(file) => files.push(file),
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems)?;
    if let Some((first, others)) = files.split_first() {
        for other in others {
            let context = format!("{} and {}", first.path.display(), other.path.display());
            let (one, another) = (first.mask.layout(), other.mask.layout());
            one.check_same_tensors(another, &context)?;
            one.check_same(another, &context).map_err(|error| {
                Error::Other(format!("{error}; `lopper mask convert --model` gives masks of torch their model's order"))
            })?;
        }
    }
    Ok(files)
}

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
