//! `lopper mask convert`: to and from masks as torch.nn.utils.prune keeps them in a state dict: for each pruned tensor
//! `NAME_mask`, of its shape, 1 = kept, beside `NAME_orig`. The published lottery-ticket scripts save the `NAME_mask`
//! tensors alone, with `module.` before each name where the model was within DataParallel.

use super::{TORCH_KEY, check_free, create_parent, mask_inside, read, write};
use crate::models::{self, OptionArguments};
use crate::output::{self, count};
use lopper_core::{Error, Layout, MASK_METADATA_KEY, MaskOrigin, MaskSet, ParameterName, Result, pack_bits};
use lopper_weights::{Checkpoint, Dtype};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const MASK: &str = "_mask";
const ORIG: &str = "_orig";
const PARALLEL: &str = "module.";

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
/// none: with --model it is the model's order, otherwise that of the names. With --model, `module.` before names goes too.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct Arguments {
    /// Mask file or directory with a mask.safetensors; or NAME_mask tensors in safetensors or in a file of torch.save
    input: PathBuf,

    /// File for the result; a file of masks that Lopper wrote is replaced
    #[arg(long)]
    out: PathBuf,

    /// Format of the result [default: the other one than the input's]
    #[arg(long)]
    to: Option<Format>,

    /// Checkpoint directory whose prunable tensors the mask must cover; it also gives their order [default: by name]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,

    #[command(flatten)]
    options: OptionArguments,
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
        let from = if is_lopper(&self.input) { Format::Lopper } else { Format::Torch };
        let to = self.to.unwrap_or(if from == Format::Lopper { Format::Torch } else { Format::Lopper });
        let layout = self.model.as_deref().map(|directory| self.layout(directory)).transpose();
        let read = match from {
            _ if from == to => {
                Err(Error::invalid("--to", name(to), format!("{} is of that format already", self.input.display())))
            }
            Format::Lopper => read(&self.input).map(|file| (file.mask, file.origin)),
            Format::Torch => read_torch(&self.input, layout.as_ref().ok().and_then(Option::as_deref)),
        };
        let ((mask, mut origin), layout) = match (read, layout, check_free(&self.out)) {
            (Ok(read), Ok(layout), Ok(())) => (read, layout),
            (read, layout, free) => {
                return Error::all(read.err().into_iter().chain(layout.err()).chain(free.err()).collect());
            }
        };
        let mask = layout.map_or(Ok(mask.clone()), |layout| mask.in_order_of(&layout))?;
        match to {
            Format::Lopper => {
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

    /// The prunable tensors of the model in a directory.
    fn layout(&self, directory: &Path) -> Result<Arc<Layout>> {
        let path = models::locate(directory.as_os_str())?;
        let entry = models::plugin(None, &path)?;
        Ok(Arc::new(self.options.open(entry, path, Device::Cpu)?.layout()?))
    }
}

fn name(format: Format) -> &'static str {
    if format == Format::Lopper { "lopper" } else { "torch" }
}

fn is_lopper(path: &Path) -> bool {
    match path.is_dir() {
        true => mask_inside(path).is_some(),
        false => lopper_weights::read_metadata(path).is_ok_and(|metadata| metadata.contains_key(MASK_METADATA_KEY)),
    }
}

/// The masks of a file of torch; `layout` is the model's, if it is known.
fn read_torch(path: &Path, layout: Option<&Layout>) -> Result<(MaskSet, MaskOrigin)> {
    let file = Checkpoint::open(path)?;
    let (mut named, mut words, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    for tensor in file.names() {
        if let Some(name) = tensor.strip_suffix(ORIG)
            && !file.contains(&format!("{name}{MASK}"))
        {
            problems.push(Error::file(path, format!("holds {tensor:?} and no \"{name}{MASK}\"")));
        }
        let Some(name) = tensor.strip_suffix(MASK) else { continue };
        let shape = file.shape(tensor).unwrap_or_default();
        let orig = format!("{name}{ORIG}");
        if let Some(other) = file.shape(&orig).filter(|other| *other != shape) {
            problems.push(Error::file(path, format!("{tensor:?} has shape {shape:?}, {orig:?} {other:?}")));
        }
        match bits(&file, tensor) {
            Ok(bits) => {
                let name = layout.map_or(name, |layout| without_parallel(name, &file, layout));
                named.push((ParameterName::new(name), shape.to_vec()));
                words.push(bits);
            }
            Err(e) => problems.push(e),
        }
    }
    if named.is_empty() && problems.is_empty() {
        problems.push(Error::file(
            path,
            "holds no tensor called NAME_mask; a Lopper mask, or a state dict of torch.nn.utils.prune was expected",
        ));
    }
    Error::all(problems)?;
    let origin = MaskOrigin::from([("lopper".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
    Ok((MaskSet::from_words(Arc::new(Layout::new(named)?), words)?, origin))
}

/// The name without `module.`, where the model has a tensor of that name alone and the file has no other mask for it.
fn without_parallel<'a>(name: &'a str, file: &Checkpoint, layout: &Layout) -> &'a str {
    let known = |name: &str| layout.tensors().iter().any(|tensor| tensor.name().as_str() == name);
    match name.strip_prefix(PARALLEL) {
        Some(bare) if known(bare) && !known(name) && !file.contains(&format!("{bare}{MASK}")) => bare,
        _ => name,
    }
}

/// The bits of a tensor of zeros and ones.
fn bits(file: &Checkpoint, tensor: &str) -> Result<Vec<u64>> {
    let refuse = |what: String, expected: &str| Error::invalid(tensor, what, expected);
    // Rounded to float32, other numbers could become 0 or 1.
    if file.dtype(tensor) == Some(Dtype::F64) {
        return Err(refuse(
            "float64 values".into(),
            "zeros and ones as float32, float16, bfloat16, integers or booleans",
        ));
    }
    let stored = file.tensor(tensor)?;
    let kept = stored.f_eq(1)?;
    let fine = kept.f_logical_or(&stored.f_eq(0)?)?.f_view([-1])?;
    if fine.f_all()?.f_int64_value(&[])? == 0 {
        let index = fine.f_logical_not()?.f_nonzero()?.f_int64_value(&[0, 0])?;
        let value = stored.f_view([-1])?.f_double_value(&[index])?;
        return Err(Error::invalid(format!("{tensor}[{index}]"), value, "a mask holds 0 (pruned) and 1 (kept) alone"));
    }
    let bytes = Vec::<u8>::try_from(&kept.f_to_kind(Kind::Uint8)?.f_view([-1])?)?;
    Ok(pack_bits(&bytes))
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
