//! Where masks and predictions come from: read when a figure needs them, and dropped after it.

use lopper_mask::MaskSet;
use lopper_metrics::Outcomes;
use std::path::Path;

/// Opens what cells have left, by its path. Any `Fn(&Path) -> Result<MaskSet, String>` is one that reads predictions from disk.
pub trait Artefacts {
    /// The mask of this path.
    ///
    /// # Errors
    /// What is told beside the figure: the path and what is wrong with it.
    fn mask(&self, path: &Path) -> Result<MaskSet, String>;

    /// What a model said of every example of a split: Lopper's own `predictions-SPLIT.csv`, unless overridden.
    ///
    /// # Errors
    /// What is told beside the figure: the path and what is wrong with it.
    fn predictions(&self, path: &Path) -> Result<Outcomes, String> {
        let text =
            std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        Outcomes::from_csv(&text).map_err(|error| format!("{} is no file of predictions: {error}", path.display()))
    }
}

impl<F: Fn(&Path) -> Result<MaskSet, String>> Artefacts for F {
    fn mask(&self, path: &Path) -> Result<MaskSet, String> {
        self(path)
    }
}

/// Lopper's own files.
#[derive(Debug, Clone, Copy, Default)]
pub struct ArtefactFiles;

impl Artefacts for ArtefactFiles {
    fn mask(&self, path: &Path) -> Result<MaskSet, String> {
        let bytes = std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
        let (mask, _) =
            MaskSet::from_file_bytes(&bytes).map_err(|error| format!("{} is no mask: {error}", path.display()))?;
        Ok(mask)
    }
}
