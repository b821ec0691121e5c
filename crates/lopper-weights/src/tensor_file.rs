//! What a file of tensors must be able to do, whatever its format.

use crate::pickle::Value;
use lopper_core::Result;
use safetensors::Dtype;
use std::fmt;
use std::path::Path;

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
