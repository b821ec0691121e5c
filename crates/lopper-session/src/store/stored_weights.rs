//! Weights of a stage on disk: of pruned tensors the kept values alone, with the mask that says where they belong.

use super::artefact::{ArtefactId, Store};
use crate::kept::{self, Kept};
use crate::provenance::Provenance;
use crate::sealed::{self, Sealed};
use crate::weights::Weights;
use lopper_core::{Error, MaskOrigin, MaskSet, Result, Role};
use lopper_weights::{SealedTensors, files};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

const RECORD: &str = "weights.json";
const WEIGHTS: &str = "weights.safetensors";
const MASK: &str = "mask.safetensors";

/// What is known of stored weights without reading them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct WeightsRecord {
    /// The training key of the stage.
    stage: String,
    /// The update after which they stood so.
    update: u64,
    /// BLAKE3 of every name, role, shape and bit of the whole weights, as [`Weights::hash`] counts it.
    pub(crate) content: String,
    /// BLAKE3 of the file of values.
    values: String,
    /// BLAKE3 of the mask's file, where pruned entries are left out.
    mask: Option<String>,
    made_by: Provenance,
}

impl Sealed for WeightsRecord {
    const NAME: &'static str = "record of weights";
    const FORMAT: u32 = 1;
}

/// Puts the model's weights into the store as those of stage `stage` after `update` updates. Where all that `mask` prunes is
/// zero, it is left out. Returns what stands there now, which is another's if somebody was quicker.
pub(crate) fn add(
    store: &dyn Store,
    (stage, update): (&str, u64),
    weights: &Weights,
    mask: &MaskSet,
    made_by: &Provenance,
) -> Result<WeightsRecord> {
    let sparse = mask.pruned() > 0 && weights.check_pruned_are_zero(mask).is_ok();
    let content = weights.hash()?;
    let (at, _) = store.add(&ArtefactId::weights(stage, update), &mut |at| {
        let kept = Kept::by(sparse.then_some(mask));
        let values = weights.tensors().map(|(name, tensor)| (name.as_str(), tensor));
        let values = kept::save(&at.join(WEIGHTS), values, |name| kept.of(name))?;
        let mask = sparse.then(|| mask.to_file_bytes(&MaskOrigin::new())).transpose()?;
        if let Some(bytes) = &mask {
            files::write_atomic(&at.join(MASK), bytes)?;
        }
        let record = WeightsRecord {
            stage: stage.to_owned(),
            update,
            content: content.clone(),
            values,
            mask: mask.map(|bytes| blake3::hash(&bytes).to_hex().to_string()),
            made_by: made_by.clone(),
        };
        files::write_atomic(&at.join(RECORD), &sealed::seal(&record)?)
    })?;
    read_record(&at)
}

/// The record of weights in the directory `at`.
pub(crate) fn read_record(at: &Path) -> Result<WeightsRecord> {
    let path = at.join(RECORD);
    sealed::open(&crate::identity::read(&path)?).map_err(|e| Error::file(path, e))
}

/// Weights in the store, checked against their hashes and not in memory.
pub(crate) struct StoredWeights {
    path: PathBuf,
    file: SealedTensors,
    mask: Option<MaskSet>,
}

impl StoredWeights {
    /// Opens the weights in the directory `at`, and reads them once.
    ///
    /// # Errors
    /// [`Error::File`] naming what is damaged.
    pub(crate) fn open(at: &Path) -> Result<Self> {
        let record = read_record(at)?;
        let damaged = |name: &str| Error::file(at.join(name), "is damaged: its hash is not the recorded one");
        let file = SealedTensors::open(&at.join(WEIGHTS))?;
        if file.hash() != record.values {
            return Err(damaged(WEIGHTS));
        }
        let mask = match &record.mask {
            None => None,
            Some(hash) => {
                let bytes = crate::identity::read(&at.join(MASK))?;
                if blake3::hash(&bytes).to_hex().as_str() != hash {
                    return Err(damaged(MASK));
                }
                Some(MaskSet::from_file_bytes(&bytes).map_err(|e| Error::file(at.join(MASK), e))?.0)
            }
        };
        Ok(Self { path: at.to_owned(), file, mask })
    }

    /// Writes them into the model, without a copy of them; `only` restricts it to parameters of one role.
    pub(crate) fn put_into(&self, weights: &mut Weights, only: Option<Role>) -> Result<()> {
        weights.read(&self.file, self.mask.as_ref(), only).map_err(|e| Error::file(&self.path, e))
    }
}
