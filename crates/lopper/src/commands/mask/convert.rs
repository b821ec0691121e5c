//! `lopper mask convert`: to and from masks as torch.nn.utils.prune keeps them in a state dict: for each pruned tensor
//! `NAME_mask`, of its shape, 1 = kept, beside `NAME_orig`. The published lottery-ticket scripts save the `NAME_mask`
//! tensors alone, with `module.` before each name where the model was within DataParallel.

use super::given::ForModel;
use super::{TORCH_KEY, check_free, create_parent, write};
use crate::output::{self, count};
use lopper_core::{Error, MaskOrigin, MaskSet, Result};
use lopper_weights::{GivenMask, record_model_options};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const MASK: &str = "_mask";

/// How masks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    /// A mask file of Lopper: bits, checksum, origin
    Lopper,
    /// Safetensors with a float32 NAME_mask of zeros and ones each; torch reads it by safetensors.torch.load_file(PATH)
    Torch,
}

/// The command's arguments.
///
/// A Lopper mask fixes the order of its tensors, because ties go by it when the mask is made again. Torch's files have
/// none: with --model it is the model's order, otherwise that of the names. With --model, names of every spelling that the
/// model's checkpoints come in become the model's, and what wrappers put before them goes.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Mask file of Lopper; NAME_mask tensors, or tensors of zeros and ones alone, in safetensors or in a file of torch.save;
    /// or a directory that holds one
    input: PathBuf,

    /// File for the result; a file of masks that Lopper wrote is replaced
    #[arg(long)]
    out: PathBuf,

    /// Format of the result [default: the other one than the input's]
    #[arg(long)]
    to: Option<Format>,

    /// In the input 1 means pruned and 0 kept. No file tells that by itself
    #[arg(long)]
    inverted: bool,

    #[command(flatten)]
    of: ForModel,
}

#[derive(Serialize)]
struct Converted {
    input: PathBuf,
    out: PathBuf,
    to: Format,
    tensors: usize,
    entries: u64,
    kept: u64,
    pruned: u64,
    sparsity: f64,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let (given, ()) = Error::both(GivenMask::read(&self.input), check_free(&self.out))?;
        let from = if given.own { Format::Lopper } else { Format::Torch };
        let to = self.to.unwrap_or(if given.own { Format::Torch } else { Format::Lopper });
        if from == to && self.of.model.is_none() && !self.inverted {
            let expected = format!("{} is of that format already", self.input.display());
            return Err(Error::invalid("--to", name(to), expected));
        }
        let mut given = given;
        if self.inverted {
            given.mask = given.mask.inverted();
        }
        let model = self.of.open(&[&given])?;
        let mask = model.as_deref().map_or_else(|| Ok(given.mask.clone()), |model| given.told_for_model(model))?;
        let mut origin = given.origin;
        if let Some(model) = &model {
            record_model_options(&mut origin, model.as_ref());
        }
        match to {
            Format::Lopper => {
                origin.entry("lopper".to_owned()).or_insert_with(|| env!("CARGO_PKG_VERSION").to_owned());
                origin.insert("converted_from".into(), self.input.display().to_string());
                write(&self.out, &mask, &origin)?;
            }
            Format::Torch => write_torch(&self.out, &mask, &origin)?,
        }
        let converted = Converted {
            input: self.input.clone(),
            out: self.out.clone(),
            to,
            tensors: mask.layout().tensors().len(),
            entries: mask.layout().entries(),
            kept: mask.kept(),
            pruned: mask.pruned(),
            sparsity: mask.sparsity().get(),
        };
        output::report(json, &converted, || {
            let c = &converted;
            let (kept, entries, tensors) =
                (count(c.kept), count(c.entries), output::quantity(c.tensors as u64, "tensor"));
            format!(
                "{tensors}: keeps {kept} of {entries} entries, sparsity {:.6}\n{}   {}",
                c.sparsity,
                name(to),
                c.out.display()
            )
        })
    }
}

fn name(format: Format) -> &'static str {
    if format == Format::Lopper { "lopper" } else { "torch" }
}

fn write_torch(path: &Path, mask: &MaskSet, origin: &MaskOrigin) -> Result<()> {
    let tensors = mask.layout().tensors().iter().enumerate().map(|(index, tensor)| {
        let shape: Vec<i64> = tensor.shape().iter().map(|d| *d as i64).collect();
        let values = Tensor::f_from_slice(&mask.to_bytes(index))?.f_to_kind(Kind::Float)?.f_view(shape.as_slice())?;
        Ok((format!("{}{MASK}", tensor.name()), values))
    });
    let tensors = tensors.collect::<Result<Vec<_>>>()?;
    let origin = serde_json::to_string(origin).map_err(|e| Error::Other(format!("the mask's origin as JSON: {e}")))?;
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned()), (TORCH_KEY.to_owned(), origin)]);
    create_parent(path)?;
    lopper_weights::save_tensors(path, tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)), &metadata)?;
    Ok(())
}
