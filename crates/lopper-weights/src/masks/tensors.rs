//! The masks among the tensors of a file.

use super::values::{self, Kept};
use crate::files::parent;
use crate::index::read_index;
use crate::names::is_index;
use crate::source::open_nested;
use crate::tensor_file::TensorFile;
use lopper_core::{Error, Layout, MaskSet, ParameterName, Result, pack_bits};
use safetensors::Dtype;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// What torch.nn.utils.prune adds to a parameter's name for its mask, and for its values before.
const MASK: &str = "_mask";
const ORIGINAL: &str = "_orig";
/// Learned vectors for masked inputs, whose name alone sounds like a mask's: fairseq's, and transformers'.
const NO_MASKS: [&str; 2] = ["mask_emb", "masked_spec_embed"];
/// Most problems that are listed.
const MOST: usize = 20;

/// A tensor that is a mask, and its parameter's name.
struct Found<'a> {
    file: &'a dyn TensorFile,
    tensor: &'a str,
    parameter: String,
}

/// The masks of a file, under the names of their parameters.
///
/// # Errors
/// [`Error::File`] for a file that holds none; everything that is wrong with those that it holds.
pub(super) fn read(path: &Path) -> Result<MaskSet> {
    let files = open(path)?;
    let all = || files.iter().flat_map(|file| file.names().into_iter().map(|name| (&**file, name)));
    let names: BTreeSet<&str> = all().map(|(_, name)| name).collect();
    let marked = |(file, tensor)| Some(Found { file, tensor, parameter: parameter_of(tensor)? });
    let mut found: Vec<Found<'_>> = all().filter_map(marked).collect();
    let mut problems = Vec::new();
    if found.is_empty() {
        found = bare(path, all())?;
    } else {
        problems.extend(halves(path, &names, &found));
    }
    found.sort_by(|a, b| a.parameter.cmp(&b.parameter));
    let (mut named, mut words) = (Vec::new(), Vec::new());
    for Found { file, tensor, parameter } in &found {
        if problems.len() >= MOST {
            break;
        }
        let shape = file.describe(tensor).map_or(&[][..], |(_, shape)| shape);
        match kept(*file, tensor) {
            Ok(kept) => {
                named.push((ParameterName::new(parameter), shape.to_vec()));
                words.push(pack_bits(&kept));
            }
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems)?;
    let layout = Layout::new(named).map_err(|e| Error::file(path, e))?;
    MaskSet::from_words(Arc::new(layout), words).map_err(|e| Error::file(path, e))
}

/// The file, or those that an index names.
fn open(path: &Path) -> Result<Vec<Box<dyn TensorFile>>> {
    if !is_index(&path.to_string_lossy()) {
        let file = open_nested(path)?;
        if file.names().is_empty() {
            return Err(Error::file(path, "is empty: it holds no tensor, and so no mask"));
        }
        return Ok(vec![file]);
    }
    let shards: BTreeSet<String> = read_index(path)?.into_values().collect();
    shards.iter().map(|shard| open_nested(&parent(path).join(shard))).collect()
}

/// The parameter whose mask a tensor is by its name: `NAME_mask` of torch.nn.utils.prune; of torch.ao.pruning `NAME.mask` in
/// the state of a sparsifier, where NAME is that of a weight or a bias, and `MODULE.parametrizations.NAME.0.mask`.
fn parameter_of(tensor: &str) -> Option<String> {
    if let Some(parametrized) = tensor.strip_suffix(".mask") {
        let Some((module, rest)) = parametrized.rsplit_once("parametrizations.") else {
            let is_parameter = [".weight", ".bias"].iter().any(|kind| parametrized.ends_with(kind));
            return is_parameter.then(|| parametrized.to_owned());
        };
        let (parameter, number) = rest.rsplit_once('.')?;
        return number.parse::<u8>().is_ok().then(|| format!("{module}{parameter}"));
    }
    let parameter = tensor.strip_suffix(MASK)?;
    (!parameter.is_empty() && !parameter.ends_with('.')).then(|| parameter.to_owned())
}

/// Pairs that are not whole, or of two shapes.
fn halves(path: &Path, names: &BTreeSet<&str>, found: &[Found<'_>]) -> Vec<Error> {
    let mut problems = Vec::new();
    for tensor in names {
        let Some(parameter) = tensor.strip_suffix(ORIGINAL) else { continue };
        if !names.contains(format!("{parameter}{MASK}").as_str()) {
            problems.push(Error::file(path, format!("holds {tensor:?} and no \"{parameter}{MASK}\"")));
        }
    }
    for Found { file, tensor, parameter } in found {
        let shape = |name: &str| file.describe(name).map(|(_, shape)| shape.to_vec());
        for beside in [format!("{parameter}{ORIGINAL}"), parameter.clone()] {
            if let (Some(mine), Some(other)) = (shape(tensor), shape(&beside))
                && mine != other
            {
                problems.push(Error::file(path, format!("{tensor:?} has shape {mine:?}, {beside:?} {other:?}")));
            }
        }
    }
    problems
}

/// All tensors of a file in which no name tells which are masks, where all of them hold zeros and ones alone.
fn bare<'a>(path: &Path, all: impl Iterator<Item = (&'a dyn TensorFile, &'a str)>) -> Result<Vec<Found<'a>>> {
    let is_vector = |name: &str| NO_MASKS.iter().any(|vector| name.rsplit('.').next() == Some(*vector));
    let found: Vec<Found<'_>> = all
        .filter(|(_, name)| !is_vector(name))
        .map(|(file, tensor)| Found { file, tensor, parameter: tensor.to_owned() })
        .collect();
    let expected =
        "a Lopper mask, NAME_mask tensors of torch.nn.utils.prune, or tensors of zeros and ones alone were expected";
    if found.is_empty() {
        return Err(Error::file(path, format!("holds no mask; {expected}")));
    }
    // Numbers that are no floats are meant as masks: then what is wrong with them is told of each.
    let floats = |found: &&Found<'_>| {
        let dtype = found.file.describe(found.tensor).map(|(dtype, _)| dtype);
        matches!(dtype, Some(Dtype::F16 | Dtype::BF16 | Dtype::F32 | Dtype::F64))
    };
    for Found { file, tensor, .. } in found.iter().filter(floats) {
        if let Err(Error::InvalidValue { key, value, .. }) = kept(*file, tensor) {
            let reason = format!("is no mask: no tensor is called NAME_mask, and {key} = {value}; {expected}");
            return Err(Error::file(path, reason));
        }
    }
    Ok(found)
}

/// One byte an entry, 1 = kept.
fn kept(file: &dyn TensorFile, tensor: &str) -> Result<Vec<u8>> {
    let Some((dtype, _)) = file.describe(tensor) else { return Ok(Vec::new()) };
    let refuse = |index: usize, value: f64, expected: &str| {
        Err(Error::invalid(
            format!("{tensor}[{index}]"),
            value,
            format!("a mask holds 0 (pruned) and 1 (kept) alone{expected}"),
        ))
    };
    match values::kept(dtype, &file.bytes(tensor)?) {
        Kept::Bytes(bytes) => Ok(bytes),
        Kept::Other { index, value } if matches!(dtype, Dtype::U8 | Dtype::I8) => {
            refuse(index, value, "; are bits packed into bytes? numpy.unpackbits takes them apart")
        }
        Kept::Other { index, value } => refuse(index, value, ""),
        Kept::Type => Err(Error::invalid(
            tensor,
            format!("{dtype} values"),
            "zeros and ones as floats of 16 to 64 bits, integers or booleans",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_masks_name_their_parameters() {
        for (tensor, parameter) in [
            ("encoder.fc1.weight_mask", Some("encoder.fc1.weight")),
            ("fc1.bias_mask", Some("fc1.bias")),
            ("fc1.parametrizations.weight.0.mask", Some("fc1.weight")),
            ("parametrizations.weight.0.mask", Some("weight")),
            ("state.fc1.weight.mask", Some("state.fc1.weight")),
            ("mask_emb", None),
            ("fc1.weight_orig", None),
            ("attention.mask", None),
            ("fc1.parametrizations.weight.original", None),
            ("_mask", None),
            ("a._mask", None),
        ] {
            assert_eq!(parameter_of(tensor).as_deref(), parameter, "{tensor}");
        }
    }
}
