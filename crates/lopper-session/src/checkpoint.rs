//! The state of a stage under way: all that a bit-exact continuation needs.

mod behind;

use self::behind::Behind;
use crate::events::TrainingLines;
use crate::kept::{self, Kept};
use crate::sealed::{self, Sealed};
use crate::writer::Writer;
use crate::{Counts, weights::NamedTensors};
use lopper_core::{Error, MaskOrigin, MaskSet, MethodState, Result};
use lopper_weights::{SealedTensors, files};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

const RECORD: &str = "checkpoint.json";
const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STRATEGY: &str = "strategy.safetensors";
const MASK: &str = "mask.safetensors";
const START_MASK: &str = "start_mask.safetensors";
const EVENTS: &str = "events.jsonl";

/// How far a stage has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progressed {
    /// Identity of the stage.
    pub key: String,
    /// Finished updates. Data position and random state follow from it: both are derived from (seed, update).
    pub update: u64,
    /// Updates skipped for a loss or gradient that was not finite.
    pub skipped: u64,
    /// Those of them that came last, without one between them that was not skipped.
    pub skipped_in_a_row: u64,
    /// What the updates left out or could not use, counted whenever they met it.
    #[serde(default, skip_serializing_if = "Counts::is_empty")]
    pub counts: Counts,
    /// Wall-clock seconds so far, over all sittings.
    pub seconds: f64,
}

/// What a checkpoint holds beside tensors, and which files belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// How far the stage has come.
    pub progress: Progressed,
    /// What the strategy remembers beside tensors.
    strategy_text: BTreeMap<String, String>,
    /// BLAKE3 of every other file, as its own format counts it, in hexadecimal.
    files: BTreeMap<String, String>,
    /// Whether weights and moments hold what the mask keeps alone, because all that it prunes is zero.
    #[serde(default)]
    sparse: bool,
    /// What it was written for and by. Older records do not say.
    #[serde(default)]
    pub(crate) writer: Writer,
}

impl Sealed for CheckpointRecord {
    const NAME: &'static str = "checkpoint record";
    const FORMAT: u32 = 4;
}

impl CheckpointRecord {
    /// Reads the content of a `checkpoint.json`. Whatever the bytes, memory stays in proportion to their number.
    ///
    /// # Errors
    /// [`Error::Other`] for a record of another version, naming the Lopper that wrote it, and for any change since it was
    /// written.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        sealed::open(bytes)
    }
}

/// A record, and the Lopper that wrote it, if it says so.
pub(crate) type Signed = (CheckpointRecord, Option<String>);

/// A stage under way, to be written. Its tensors share storage with the model, the optimizer and the strategy: until it is
/// written, none of these may change.
pub(crate) struct Checkpoint {
    pub(crate) progress: Progressed,
    pub(crate) weights: NamedTensors,
    pub(crate) optimizer: NamedTensors,
    pub(crate) strategy: MethodState,
    pub(crate) mask: MaskSet,
    /// Whether weights and moments are zero wherever the mask prunes: then only the others are written.
    pub(crate) sparse: bool,
    /// The mask that the stage began with.
    pub(crate) start_mask: MaskSet,
    /// What its updates told so far.
    pub(crate) lines: TrainingLines,
}

/// A stage under way, from the disk. All of it was read against its hashes. Weights and moments are still there and not in
/// memory: they are read to where they belong.
#[derive(Debug)]
pub(crate) struct Resumed {
    pub(crate) progress: Progressed,
    pub(crate) weights: SealedTensors,
    pub(crate) optimizer: SealedTensors,
    pub(crate) strategy: MethodState,
    pub(crate) mask: MaskSet,
    /// See [`Checkpoint::sparse`].
    sparse: bool,
    /// The mask that the stage began with.
    pub(crate) start_mask: MaskSet,
    /// What its updates told so far.
    pub(crate) lines: TrainingLines,
}

impl Resumed {
    /// The mask that says which entries of weights and moments are in the files; `None` for all.
    pub(crate) fn kept_by(&self) -> Option<&MaskSet> {
        self.sparse.then_some(&self.mask)
    }
}

impl Progressed {
    pub(crate) fn start(key: &str) -> Self {
        Self { key: key.to_owned(), update: 0, skipped: 0, skipped_in_a_row: 0, counts: Counts::new(), seconds: 0.0 }
    }
}

/// Where a run keeps its newest checkpoints, one directory each, and a file that names the newest.
pub(crate) struct CheckpointStore {
    root: PathBuf,
    /// How many.
    keep: usize,
    behind: Behind,
}

impl CheckpointStore {
    /// Those of the run in `out`. One is kept, which goes once a newer one is whole.
    pub(crate) fn new(out: &Path) -> Self {
        Self { root: out.join("checkpoints"), keep: 1, behind: Behind::default() }
    }

    /// The same, keeping so many.
    pub(crate) fn keeping(self, keep: usize) -> Self {
        Self { keep, ..self }
    }

    /// Where they lie.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn latest_path(&self) -> PathBuf {
        self.root.join("latest")
    }

    /// Writes a checkpoint and waits for it. `then` is called once it is on disk.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be written, by this call or behind the training before it; the checkpoint before
    /// is then the newest still.
    pub(crate) fn save(&self, checkpoint: &Checkpoint, writer: &Writer, then: impl FnOnce()) -> Result<()> {
        self.settle()?;
        self.write(checkpoint, writer)?;
        self.behind.hold(&checkpoint.progress);
        then();
        Ok(())
    }

    /// As [`save`](Self::save), on a thread of its own: nothing that the checkpoint shares may change before
    /// [`settle`](Self::settle) has returned.
    ///
    /// # Errors
    /// Those of a checkpoint that was written so before. Its own are told by [`settle`](Self::settle).
    pub(crate) fn save_behind(
        &self,
        checkpoint: Checkpoint,
        writer: &Writer,
        then: impl FnOnce() + Send + 'static,
    ) -> Result<()> {
        self.settle()?;
        let progress = checkpoint.progress.clone();
        self.behind.begin(progress, self.writing(checkpoint, writer, then))
    }

    /// What writes a checkpoint, on whichever thread calls it, under the conditions of [`save_behind`](Self::save_behind).
    pub(crate) fn writing(
        &self,
        checkpoint: Checkpoint,
        writer: &Writer,
        then: impl FnOnce() + Send + 'static,
    ) -> impl FnOnce() -> Result<()> + Send + 'static {
        let (store, writer) =
            (Self { root: self.root.clone(), keep: self.keep, behind: Behind::default() }, writer.clone());
        move || {
            let started = Instant::now();
            store.write(&checkpoint, &writer)?;
            then();
            tracing::debug!(update = checkpoint.progress.update, "checkpoint written in {:.3?}", started.elapsed());
            Ok(())
        }
    }

    /// Waits for a checkpoint that is being written, if one is.
    ///
    /// # Errors
    /// Those of writing it.
    pub(crate) fn settle(&self) -> Result<()> {
        self.behind.settle()
    }

    /// Whether this process has read or written a checkpoint that stands where `progress` does.
    pub(crate) fn holds(&self, progress: &Progressed) -> bool {
        self.behind.holds(progress)
    }

    /// Writes everything into a directory of its own, points `latest` at it, and then removes those that are too many.
    fn write(&self, checkpoint: &Checkpoint, writer: &Writer) -> Result<()> {
        let Checkpoint { progress, weights, optimizer, strategy, mask, sparse, start_mask, lines } = checkpoint;
        files::create_dir(&self.root)?;
        let staging = files::staging_dir(&self.root)?;
        let at = staging.path();
        let mut hashes = BTreeMap::new();
        let kept = Kept::by(sparse.then_some(mask));
        let mut tensors = |name: &str, values, kept_of: &dyn Fn(&str) -> _| -> Result<()> {
            hashes.insert(name.to_owned(), kept::save(&at.join(name), kept::named(values), kept_of)?);
            Ok(())
        };
        tensors(WEIGHTS, weights, &|name| kept.of(name))?;
        tensors(OPTIMIZER, optimizer, &|name| kept.of_state(name))?;
        tensors(STRATEGY, &strategy.tensors, &|_| None)?;
        let mut bytes = |name: &str, bytes: &[u8]| -> Result<()> {
            hashes.insert(name.to_owned(), blake3::hash(bytes).to_hex().to_string());
            files::write_atomic(&at.join(name), bytes)
        };
        bytes(MASK, &mask.to_file_bytes(&MaskOrigin::new())?)?;
        bytes(START_MASK, &start_mask.to_file_bytes(&MaskOrigin::new())?)?;
        bytes(EVENTS, lines.as_bytes())?;
        let record = CheckpointRecord {
            progress: progress.clone(),
            strategy_text: strategy.text.clone(),
            files: hashes,
            sparse: *sparse,
            writer: writer.clone(),
        };
        files::write_atomic(&at.join(RECORD), &sealed::seal(&record)?)?;

        let name = format!("{}-{:012}", prefix(&progress.key), progress.update);
        files::replace_dir(staging, &self.root.join(&name))?;
        files::write_atomic(&self.latest_path(), name.as_bytes())?;
        self.remove_too_many()
    }

    /// The newest whole checkpoint of the stage `key`, if there is one. A damaged one is passed over for the one before.
    ///
    /// # Errors
    /// When there are checkpoints of that stage and none is whole: all of them with what is wrong.
    pub(crate) fn load(&self, key: &str) -> Result<Option<Resumed>> {
        let mut damaged = Vec::new();
        for name in self.names()?.into_iter().filter(|name| name.starts_with(prefix(key))) {
            match self.read(&name, key) {
                Ok(Some(checkpoint)) => {
                    for problem in damaged {
                        tracing::warn!("{problem}; another checkpoint is used");
                    }
                    self.behind.hold(&checkpoint.progress);
                    return Ok(Some(checkpoint));
                }
                Ok(None) => {}
                Err(problem) => damaged.push(problem),
            }
        }
        if damaged.is_empty() {
            return Ok(None);
        }
        let advice = format!("no checkpoint of the stage is whole; remove {} to begin it again", self.root.display());
        damaged.push(Error::Other(advice));
        Err(Error::Many(damaged))
    }

    /// The update that the newest checkpoint stands at, and the key of its stage.
    pub(crate) fn newest(&self) -> Option<Progressed> {
        let read = |name: String| self.record(&self.root.join(name)).ok();
        self.names().ok()?.into_iter().find_map(read).map(|record| record.progress)
    }

    /// The newest checkpoint that is not `ours`: its record and the Lopper that wrote it, or why there is none to be had.
    /// `keys` are the training keys of this run, as far as they are known.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read.
    pub(crate) fn foreign(
        &self,
        keys: &[&str],
        ours: impl Fn(&CheckpointRecord) -> bool,
    ) -> Result<Option<Result<Signed>>> {
        for name in self.names()? {
            match self.signed(&self.root.join(&name)) {
                Ok((record, _)) if ours(&record) => {}
                // Damaged, and by its name one of this run: `load` knows what to do with it.
                Err(_) if keys.iter().any(|key| name.starts_with(prefix(key))) => {}
                found => return Ok(Some(found)),
            }
        }
        Ok(None)
    }

    fn record(&self, at: &Path) -> Result<CheckpointRecord> {
        self.signed(at).map(|(record, _)| record)
    }

    /// The record of the checkpoint in `at`.
    fn signed(&self, at: &Path) -> Result<Signed> {
        let path = at.join(RECORD);
        let bytes = crate::identity::read(&path)?;
        let record = CheckpointRecord::from_bytes(&bytes).map_err(|e| Error::file(path, e))?;
        Ok((record, sealed::writer(&bytes)))
    }

    /// The checkpoint `name`, unless it is of another stage.
    fn read(&self, name: &str, key: &str) -> Result<Option<Resumed>> {
        let at = self.root.join(name);
        let record = self.record(&at)?;
        if record.progress.key != key {
            return Ok(None);
        }
        let expected = |name: &str, found: &str| match record.files.get(name) {
            Some(hash) if hash == found => Ok(()),
            _ => Err(Error::file(
                at.join(name),
                "is damaged, or of another checkpoint: its hash is not the recorded one",
            )),
        };
        let tensors = |name: &str| {
            let (values, hash) = lopper_weights::load_tensors_with_hash(&at.join(name))?;
            expected(name, &hash).map(|()| values)
        };
        let open = |name: &str| {
            let file = SealedTensors::open(&at.join(name))?;
            expected(name, file.hash()).map(|()| file)
        };
        let bytes = |name: &str| {
            let bytes = crate::identity::read(&at.join(name))?;
            expected(name, &blake3::hash(&bytes).to_hex()).map(|()| bytes)
        };
        let read_mask = |name: &str| -> Result<MaskSet> {
            Ok(MaskSet::from_file_bytes(&bytes(name)?).map_err(|e| Error::file(at.join(name), e))?.0)
        };
        Ok(Some(Resumed {
            weights: open(WEIGHTS)?,
            optimizer: open(OPTIMIZER)?,
            strategy: MethodState::new(tensors(STRATEGY)?, record.strategy_text.clone()),
            mask: read_mask(MASK)?,
            sparse: record.sparse,
            start_mask: read_mask(START_MASK)?,
            lines: TrainingLines::from_bytes(bytes(EVENTS)?),
            progress: record.progress,
        }))
    }

    /// Removes all checkpoints, once the stage is in the store.
    pub(crate) fn clear(&self) -> Result<()> {
        self.settle()?;
        files::remove_dir(&self.root)
    }

    /// The checkpoints, the one that `latest` names first, the others by the update they stand at, newest first.
    ///
    /// # Errors
    /// [`Error::File`] when they cannot be listed: a run that saw none would begin again.
    fn names(&self) -> Result<Vec<String>> {
        let unreadable = |e| Error::file(&self.root, e);
        let entries = match std::fs::read_dir(&self.root) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(unreadable)?,
        };
        let mut names: Vec<String> = Vec::new();
        for entry in entries {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().into_string().ok().filter(|name| !name.starts_with(files::TEMPORARY_PREFIX));
            names.extend(name.filter(|_| entry.path().is_dir()));
        }
        let latest = std::fs::read(self.latest_path()).unwrap_or_default();
        let update = |name: &String| name.rsplit_once('-').and_then(|(_, update)| update.parse::<u64>().ok());
        names.sort_by_key(|name| (name.as_bytes() == latest.as_slice(), update(name)));
        names.reverse();
        Ok(names)
    }

    /// Removes all but the newest. What cannot be removed now is removed next time.
    fn remove_too_many(&self) -> Result<()> {
        for name in self.names()?.into_iter().skip(self.keep) {
            if let Err(e) = files::remove_dir(&self.root.join(&name)) {
                tracing::warn!("{e}");
            }
        }
        Ok(())
    }
}

/// What the names of a stage's checkpoints begin with.
fn prefix(key: &str) -> &str {
    &key[..key.len().min(12)]
}

#[cfg(test)]
mod tests;
