//! Finished stages by content: a stage whose identity is known is not trained again, by whichever run or method.

use crate::StageRecord;
use crate::weights::Values;
use lopper_core::{Error, MaskOrigin, MaskSet, Result};
use lopper_weights::files;
use std::path::{Path, PathBuf};

const RECORD: &str = "stage.json";
const WEIGHTS: &str = "weights.safetensors";
const MASK: &str = "mask.safetensors";
const EVENTS: &str = "events.jsonl";

/// A directory of finished stages, one directory each, named by the stage's identity.
#[derive(Debug, Clone)]
pub struct StageStore {
    root: PathBuf,
}

/// A finished stage on disk.
#[derive(Debug, Clone)]
pub struct StoredStage {
    directory: PathBuf,
    record: StageRecord,
}

impl StageStore {
    /// A store under `root`, which is created with the first stage.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The stage of that identity, if it is here with all these snapshots.
    ///
    /// # Errors
    /// [`Error::File`] for a record that cannot be read or is of another version.
    pub fn find(&self, key: &str, snapshots: &[u64]) -> Result<Option<StoredStage>> {
        let directory = self.root.join(key);
        let path = directory.join(RECORD);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(e) => return Err(Error::file(path, e)),
        };
        let record: StageRecord = serde_json::from_slice(&bytes).map_err(|e| {
            Error::file(
                &directory,
                format!("this stored stage cannot be read ({e}); remove the directory to train it again"),
            )
        })?;
        if record.key != key || record.format != crate::RECORD_FORMAT {
            return Err(Error::file(
                path,
                format!(
                    "format {} of stage {}; this Lopper reads format {} of stage {key}",
                    record.format,
                    record.key,
                    crate::RECORD_FORMAT
                ),
            ));
        }
        let stored = StoredStage { directory, record };
        Ok(snapshots.iter().all(|update| stored.snapshot_path(*update).is_file()).then_some(stored))
    }

    /// Puts a finished stage into the store; all of it appears at once.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be written; nothing half-written stays.
    pub fn publish(
        &self,
        record: &StageRecord,
        weights: &Values,
        mask: &MaskSet,
        snapshots: &[(u64, Values)],
        origin: &MaskOrigin,
        events: &[u8],
    ) -> Result<StoredStage> {
        files::create_dir(&self.root)?;
        let staging = files::staging_dir(&self.root)?;
        let stored = StoredStage { directory: staging.path().to_owned(), record: record.clone() };
        crate::save_values(&staging.path().join(WEIGHTS), weights)?;
        for (update, values) in snapshots {
            crate::save_values(&stored.snapshot_path(*update), values)?;
        }
        files::write_atomic(&staging.path().join(MASK), &mask.to_file_bytes(origin)?)?;
        files::write_atomic(&staging.path().join(EVENTS), events)?;
        let json = serde_json::to_vec_pretty(record).map_err(|e| Error::Other(format!("a stage record: {e}")))?;
        files::write_atomic(&staging.path().join(RECORD), &json)?;

        let directory = self.root.join(&record.key);
        // Present already: another run trained the same stage meanwhile, or this one lacked a snapshot.
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(|e| Error::file(&directory, e))?;
        }
        files::publish_dir(staging, &directory)?;
        Ok(StoredStage { directory, record: record.clone() })
    }
}

impl StoredStage {
    /// What was measured.
    pub fn record(&self) -> &StageRecord {
        &self.record
    }

    /// Its mask file.
    pub fn mask_path(&self) -> PathBuf {
        self.directory.join(MASK)
    }

    /// The final mask.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or is damaged.
    pub fn mask(&self) -> Result<MaskSet> {
        read_mask(&self.mask_path())
    }

    /// The stage's lines of `metrics.jsonl`.
    pub(crate) fn events(&self) -> Result<Vec<u8>> {
        crate::identity::read(&self.directory.join(EVENTS))
    }

    /// mask ⊙ weights after the last update, all parameters by name.
    pub(crate) fn weights(&self) -> Result<Values> {
        crate::load_values(&self.directory.join(WEIGHTS))
    }

    /// The weights after `update` updates.
    pub(crate) fn snapshot(&self, update: u64) -> Result<Values> {
        crate::load_values(&self.snapshot_path(update))
    }

    fn snapshot_path(&self, update: u64) -> PathBuf {
        self.directory.join(format!("snapshot-{update}.safetensors"))
    }
}

/// Reads a mask file; errors name the path.
pub(crate) fn read_mask(path: &Path) -> Result<MaskSet> {
    match MaskSet::from_file_bytes(&crate::identity::read(path)?) {
        Ok((mask, _)) => Ok(mask),
        Err(e) => Err(Error::file(path, e)),
    }
}
