//! The state of a stage under way: all that a bit-exact continuation needs.

use crate::{Validation, weights::Values};
use lopper_core::{Error, MaskOrigin, MaskSet, Result, StrategyState};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Version of the checkpoint layout.
const FORMAT: u32 = 1;

/// What is not a tensor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progressed {
    format: u32,
    /// Identity of the stage.
    pub(crate) key: String,
    /// Finished updates. Data position and random state follow from it: both are derived from (seed, update).
    pub(crate) update: u64,
    pub(crate) skipped: u64,
    pub(crate) skipped_in_a_row: u64,
    pub(crate) validations: Vec<Validation>,
    pub(crate) seconds: f64,
    pub(crate) snapshots: Vec<u64>,
    strategy_text: BTreeMap<String, String>,
}

/// A stage under way, in memory.
pub(crate) struct Checkpoint {
    pub(crate) progress: Progressed,
    pub(crate) weights: Values,
    pub(crate) optimizer: Values,
    pub(crate) strategy: StrategyState,
    pub(crate) mask: MaskSet,
    pub(crate) snapshots: Vec<(u64, Values)>,
    /// The stage's lines of `metrics.jsonl`.
    pub(crate) events: Vec<u8>,
}

impl Progressed {
    pub(crate) fn start(key: &str) -> Self {
        Self {
            format: FORMAT,
            key: key.to_owned(),
            update: 0,
            skipped: 0,
            skipped_in_a_row: 0,
            validations: Vec::new(),
            seconds: 0.0,
            snapshots: Vec::new(),
            strategy_text: BTreeMap::new(),
        }
    }
}

/// Where a run keeps its checkpoints: two directories in turn and a file that names the newer one.
pub(crate) struct CheckpointStore {
    root: PathBuf,
}

impl CheckpointStore {
    pub(crate) fn new(out: &Path) -> Self {
        Self { root: out.join("checkpoints") }
    }

    fn latest_path(&self) -> PathBuf {
        self.root.join("latest")
    }

    /// Writes everything into a directory of its own, then points `latest` at it. The checkpoint before stays.
    pub(crate) fn save(&self, checkpoint: &Checkpoint) -> Result<()> {
        let Checkpoint { progress, weights, optimizer, strategy, mask, snapshots, events } = checkpoint;
        files::create_dir(&self.root)?;
        let staging = files::staging_dir(&self.root)?;
        let at = staging.path();
        crate::save_values(&at.join("weights.safetensors"), weights)?;
        crate::save_values(&at.join("optimizer.safetensors"), optimizer)?;
        crate::save_values(&at.join("strategy.safetensors"), &strategy.tensors)?;
        files::write_atomic(&at.join("mask.safetensors"), &mask.to_file_bytes(&MaskOrigin::new())?)?;
        files::write_atomic(&at.join("events.jsonl"), events)?;
        for (update, values) in snapshots {
            crate::save_values(&at.join(format!("snapshot-{update}.safetensors")), values)?;
        }
        let progress = Progressed {
            snapshots: snapshots.iter().map(|(update, _)| *update).collect(),
            strategy_text: strategy.text.clone(),
            ..progress.clone()
        };
        let json = serde_json::to_vec_pretty(&progress).map_err(|e| Error::Other(format!("a checkpoint: {e}")))?;
        files::write_atomic(&at.join("progress.json"), &json)?;

        let name = format!("{}-{:012}", &progress.key[..12], progress.update);
        let directory = self.root.join(&name);
        if directory.exists() {
            std::fs::remove_dir_all(&directory).map_err(|e| Error::file(&directory, e))?;
        }
        files::publish_dir(staging, &directory)?;
        let before = self.latest_name();
        files::write_atomic(&self.latest_path(), name.as_bytes())?;
        self.sweep(&[Some(name), before]);
        Ok(())
    }

    /// The newest checkpoint of the stage `key`, if there is one.
    pub(crate) fn load(&self, key: &str) -> Result<Option<Checkpoint>> {
        let Some(name) = self.latest_name() else { return Ok(None) };
        let at = self.root.join(name.trim());
        let path = at.join("progress.json");
        let bytes = crate::identity::read(&path)?;
        let progress: Progressed = serde_json::from_slice(&bytes).map_err(|e| Error::file(&path, e))?;
        if progress.format != FORMAT {
            return Err(Error::file(
                path,
                format!("checkpoint format {}; this Lopper reads {FORMAT}", progress.format),
            ));
        }
        if progress.key != key {
            return Ok(None);
        }
        let strategy = StrategyState {
            tensors: crate::load_values(&at.join("strategy.safetensors"))?,
            text: progress.strategy_text.clone(),
        };
        let snapshots = progress
            .snapshots
            .iter()
            .map(|update| Ok((*update, crate::load_values(&at.join(format!("snapshot-{update}.safetensors")))?)))
            .collect::<Result<_>>()?;
        Ok(Some(Checkpoint {
            weights: crate::load_values(&at.join("weights.safetensors"))?,
            optimizer: crate::load_values(&at.join("optimizer.safetensors"))?,
            mask: crate::store::read_mask(&at.join("mask.safetensors"))?,
            events: crate::identity::read(&at.join("events.jsonl"))?,
            strategy,
            snapshots,
            progress,
        }))
    }

    /// Removes all checkpoints, once the stage is in the store.
    pub(crate) fn clear(&self) -> Result<()> {
        match std::fs::remove_dir_all(&self.root) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::file(&self.root, e)),
            _ => Ok(()),
        }
    }

    fn latest_name(&self) -> Option<String> {
        std::fs::read_to_string(self.latest_path()).ok()
    }

    /// Removes everything but the named checkpoints. What cannot be removed now is removed next time.
    fn sweep(&self, keep: &[Option<String>]) {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let kept = keep.iter().flatten().any(|k| name.to_str() == Some(k.trim()));
            if entry.path().is_dir() && !kept && std::fs::remove_dir_all(entry.path()).is_err() {
                tracing::warn!(path = %entry.path().display(), "an old checkpoint could not be removed");
            }
        }
    }
}
