//! Opens a file of tensors, of whichever format.

use crate::header::{SafetensorsFile, look_alike, open_regular, start_of};
use crate::names::is_pickled;
use crate::tensor_file::TensorFile;
use crate::torch::{TorchFile, Which, every_tensor, is_torch, state_dict};
use lopper_core::{Error, Result};
use std::path::Path;

/// Enough of a file to tell its format; a tar says what it is behind its first 257 bytes.
const START: u64 = 512;

/// Opens a file by its content.
pub(crate) fn open(path: &Path) -> Result<Box<dyn TensorFile>> {
    open_with(path, state_dict)
}

/// As [`open`], with the tensors of all dictionaries of a file of `torch.save`, which may hold one another.
pub(crate) fn open_nested(path: &Path) -> Result<Box<dyn TensorFile>> {
    open_with(path, every_tensor)
}

fn open_with(path: &Path, which: Which) -> Result<Box<dyn TensorFile>> {
    let (mut file, length) = open_regular(path)?;
    let start = start_of(path, &mut file, START)?;
    if is_torch(&start) {
        return Ok(Box::new(TorchFile::read(path, file, length, &start, which)?));
    }
    // Content decides, but where there is none of either kind the name tells what was expected.
    if is_pickled(&path.to_string_lossy()) && start.get(8) != Some(&b'{') {
        let what = look_alike(&start).unwrap_or_else(|| match length {
            0 => "is empty; a checkpoint of `torch.save` was expected".into(),
            _ => "is no checkpoint: it starts neither like a file of `torch.save` nor like safetensors".into(),
        });
        return Err(Error::file(path, what));
    }
    Ok(Box::new(SafetensorsFile::read(path, file, length)?))
}
