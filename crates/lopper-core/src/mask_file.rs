//! Mask files
use crate::{MaskSet, Result};
use std::collections::BTreeMap;

/// Where a mask came from: free-form pairs such as `method`, `sparsity`, `model`, `task`, `stage`, `lopper_version`.
pub type MaskOrigin = BTreeMap<String, String>;

impl MaskSet {
    /// The bytes of a mask file.
    ///
    /// # Errors
    /// never for a valid set
    pub fn to_file_bytes(&self, _origin: &MaskOrigin) -> Result<Vec<u8>> {
        todo!()
    }
    /// Reads a mask file
    ///
    /// # Errors
    /// MaskFormat
    pub fn from_file_bytes(_bytes: &[u8]) -> Result<(Self, MaskOrigin)> {
        todo!()
    }
}
