//! Where masks come from: read when a figure needs them, and dropped after it.

use lopper_mask::MaskSet;
use std::path::Path;

/// Opens masks by their path. Any `Fn(&Path) -> Result<MaskSet, String>` is one.
pub trait Masks {
    /// The mask of this path.
    ///
    /// # Errors
    /// What is told beside the figure: the path and what is wrong with it.
    fn open(&self, path: &Path) -> Result<MaskSet, String>;
}

impl<F: Fn(&Path) -> Result<MaskSet, String>> Masks for F {
    fn open(&self, path: &Path) -> Result<MaskSet, String> {
        self(path)
    }
}

/// Lopper's own mask files.
#[derive(Debug, Clone, Copy, Default)]
pub struct MaskFiles;

impl Masks for MaskFiles {
    fn open(&self, path: &Path) -> Result<MaskSet, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let (mask, _) =
            MaskSet::from_file_bytes(&bytes).map_err(|error| format!("{} is no mask: {error}", path.display()))?;
        Ok(mask)
    }
}
