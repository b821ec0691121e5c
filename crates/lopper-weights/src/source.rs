//! A file of tensors, of whichever format.

use crate::header::{SafetensorsFile, look_alike, open_regular, start_of};
use crate::locate::is_pickled;
use crate::pickle::Value;
use crate::torch::{TorchFile, is_torch};
use lopper_core::{Error, Result};
use safetensors::Dtype;
use std::fmt;
use std::path::Path;

/// Enough of a file to tell its format; a tar says what it is behind its first 257 bytes.
const START: u64 = 512;

/// Named tensors in one open file, described when it was opened and checked against its length.
pub(crate) trait TensorFile: fmt::Debug + Send + Sync {
    /// The file.
    fn path(&self) -> &Path;

    /// All names, sorted.
    fn names(&self) -> Vec<&str>;

    /// A tensor's type and dimensions.
    fn describe(&self, name: &str) -> Option<(Dtype, &[u64])>;

    /// Feeds a tensor's entries to `take`, little-endian and row-major, a piece at a time.
    fn stream(&self, name: &str, take: &mut dyn FnMut(&[u8])) -> Result<()>;

    /// A tensor's entries. Their number was checked against the file's length, which so bounds the allocation.
    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let size =
            self.describe(name).map_or(0, |(dtype, shape)| shape.iter().product::<u64>() * dtype.bitsize() as u64 / 8);
        let mut bytes = Vec::with_capacity(size as usize);
        self.stream(name, &mut |piece| bytes.extend_from_slice(piece))?;
        Ok(bytes)
    }

    /// What is in the file around the tensors.
    fn extra(&self) -> Option<Value<'_>> {
        None
    }
}

/// Opens a file by its content.
pub(crate) fn open(path: &Path) -> Result<Box<dyn TensorFile>> {
    let (mut file, length) = open_regular(path)?;
    let start = start_of(path, &mut file, START)?;
    if is_torch(&start) {
        return Ok(Box::new(TorchFile::read(path, file, length, &start)?));
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
