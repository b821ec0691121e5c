//! The state of a stage under way: all that a bit-exact continuation needs.

use crate::occupied::Writer;
use crate::sealed::{self, Sealed};
use crate::{Validation, weights::Values};
use lopper_core::{Error, MaskOrigin, MaskSet, Result, StrategyState};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const RECORD: &str = "checkpoint.json";
const WEIGHTS: &str = "weights.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STRATEGY: &str = "strategy.safetensors";
const MASK: &str = "mask.safetensors";
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
    /// Validations so far.
    pub validations: Vec<Validation>,
    /// Wall-clock seconds so far, over all sittings.
    pub seconds: f64,
}

/// What a checkpoint holds beside tensors, and which files belong to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// How far the stage has come.
    pub progress: Progressed,
    /// Rewind points taken so far, in updates.
    snapshots: Vec<u64>,
    /// What the strategy remembers beside tensors.
    strategy_text: BTreeMap<String, String>,
    /// BLAKE3 of every other file, as its own format counts it, in hexadecimal.
    files: BTreeMap<String, String>,
    /// What it was written for and by. Older records do not say.
    #[serde(default)]
    pub(crate) writer: Writer,
}

impl Sealed for CheckpointRecord {
    const NAME: &'static str = "checkpoint record";
    const FORMAT: u32 = 2;
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
        Self { key: key.to_owned(), update: 0, skipped: 0, skipped_in_a_row: 0, validations: Vec::new(), seconds: 0.0 }
    }
}

/// Where a run keeps its checkpoints: the two newest, one directory each, and a file that names the newest.
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
    pub(crate) fn save(&self, checkpoint: &Checkpoint, writer: &Writer) -> Result<()> {
        let Checkpoint { progress, weights, optimizer, strategy, mask, snapshots, events } = checkpoint;
        files::create_dir(&self.root)?;
        let staging = files::staging_dir(&self.root)?;
        let at = staging.path();
        let mut hashes = BTreeMap::new();
        let mut tensors = |name: &str, values: &Values| -> Result<()> {
            hashes.insert(name.to_owned(), crate::save_values(&at.join(name), values)?);
            Ok(())
        };
        tensors(WEIGHTS, weights)?;
        tensors(OPTIMIZER, optimizer)?;
        tensors(STRATEGY, &strategy.tensors)?;
        for (update, values) in snapshots {
            tensors(&snapshot_name(*update), values)?;
        }
        let mut bytes = |name: &str, bytes: &[u8]| -> Result<()> {
            hashes.insert(name.to_owned(), blake3::hash(bytes).to_hex().to_string());
            files::write_atomic(&at.join(name), bytes)
        };
        bytes(MASK, &mask.to_file_bytes(&MaskOrigin::new())?)?;
        bytes(EVENTS, events)?;
        let record = CheckpointRecord {
            progress: progress.clone(),
            snapshots: snapshots.iter().map(|(update, _)| *update).collect(),
            strategy_text: strategy.text.clone(),
            files: hashes,
            writer: writer.clone(),
        };
        files::write_atomic(&at.join(RECORD), &sealed::seal(&record)?)?;

        let name = format!("{}-{:012}", prefix(&progress.key), progress.update);
        let before = self.names()?.into_iter().find(|other| *other != name);
        files::replace_dir(staging, &self.root.join(&name))?;
        files::write_atomic(&self.latest_path(), name.as_bytes())?;
        self.keep_only(&[Some(name), before])
    }

    /// The newest whole checkpoint of the stage `key`, if there is one. A damaged one is passed over for the one before.
    ///
    /// # Errors
    /// When there are checkpoints of that stage and none is whole: all of them with what is wrong.
    pub(crate) fn load(&self, key: &str) -> Result<Option<Checkpoint>> {
        let mut damaged = Vec::new();
        for name in self.names()?.into_iter().filter(|name| name.starts_with(prefix(key))) {
            match self.read(&name, key) {
                Ok(Some(checkpoint)) => {
                    for problem in damaged {
                        tracing::warn!("{problem}; another checkpoint is used");
                    }
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

    /// The newest checkpoint of a stage that none of `keys` names: its directory, and its record or why there is none to be
    /// had. One of a stage that `finished` knows holds nothing that is not elsewhere, and does not count.
    ///
    /// # Errors
    /// [`Error::File`] when the directory cannot be read.
    pub(crate) fn foreign(
        &self,
        keys: &[&str],
        finished: impl Fn(&str) -> bool,
    ) -> Result<Option<(PathBuf, Result<CheckpointRecord>)>> {
        for name in self.names()? {
            let at = self.root.join(&name);
            match self.record(&at) {
                Ok(record) if keys.contains(&record.progress.key.as_str()) || finished(&record.progress.key) => {}
                // Damaged, and by its name one of this run: `load` knows what to do with it.
                Err(_) if keys.iter().any(|key| name.starts_with(prefix(key))) => {}
                record => return Ok(Some((at, record))),
            }
        }
        Ok(None)
    }

    fn record(&self, at: &Path) -> Result<CheckpointRecord> {
        let path = at.join(RECORD);
        CheckpointRecord::from_bytes(&crate::identity::read(&path)?).map_err(|e| Error::file(path, e))
    }

    /// The checkpoint `name`, unless it is of another stage.
    fn read(&self, name: &str, key: &str) -> Result<Option<Checkpoint>> {
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
        let bytes = |name: &str| {
            let bytes = crate::identity::read(&at.join(name))?;
            expected(name, &blake3::hash(&bytes).to_hex()).map(|()| bytes)
        };
        let mask = MaskSet::from_file_bytes(&bytes(MASK)?).map_err(|e| Error::file(at.join(MASK), e))?.0;
        Ok(Some(Checkpoint {
            weights: tensors(WEIGHTS)?,
            optimizer: tensors(OPTIMIZER)?,
            strategy: StrategyState { tensors: tensors(STRATEGY)?, text: record.strategy_text.clone() },
            mask,
            snapshots: record
                .snapshots
                .iter()
                .map(|update| Ok((*update, tensors(&snapshot_name(*update))?)))
                .collect::<Result<_>>()?,
            events: bytes(EVENTS)?,
            progress: record.progress,
        }))
    }

    /// Removes all checkpoints, once the stage is in the store.
    pub(crate) fn clear(&self) -> Result<()> {
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

    /// Removes everything but the named checkpoints. What cannot be removed now is removed next time.
    fn keep_only(&self, keep: &[Option<String>]) -> Result<()> {
        for name in self.names()? {
            if !keep.iter().flatten().any(|k| *k == name)
                && let Err(e) = files::remove_dir(&self.root.join(&name))
            {
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

fn snapshot_name(update: u64) -> String {
    format!("snapshot-{update}.safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::{Layout, ParameterName, Sparsity};
    use std::sync::Arc;
    use tch::{Kind, Tensor};

    const KEY: &str = "0123456789abcdef";

    fn values(seed: i64, entries: i64) -> Values {
        let tensor = Tensor::arange(entries, (Kind::Float, tch::Device::Cpu)) * (seed as f64) + 0.25;
        [("a.weight".to_owned(), tensor), ("a.bias".to_owned(), Tensor::from_slice(&[seed as f32; 3]))].into()
    }

    fn checkpoint(update: u64) -> Checkpoint {
        let shapes = [(ParameterName::new("a.weight"), vec![40_000u64])];
        let layout = Arc::new(Layout::new(shapes).unwrap());
        let seed = update as i64 + 1;
        Checkpoint {
            progress: Progressed { update, seconds: 0.1 + 0.2, ..Progressed::start(KEY) },
            weights: values(seed, 40_000),
            optimizer: values(seed + 100, 40_000),
            strategy: StrategyState {
                tensors: values(seed + 200, 300),
                text: [("round".to_owned(), update.to_string())].into(),
            },
            mask: MaskSet::random(layout, Sparsity::new(0.7).unwrap(), update),
            snapshots: vec![(1, values(seed + 300, 2000))],
            events: format!("{{\"update\":{update}}}\n").repeat(500).into_bytes(),
        }
    }

    fn same(a: &Checkpoint, b: &Checkpoint) -> bool {
        let same_values = |a: &Values, b: &Values| a.len() == b.len() && a.iter().all(|(name, t)| b[name].equal(t));
        a.progress == b.progress
            && same_values(&a.weights, &b.weights)
            && same_values(&a.optimizer, &b.optimizer)
            && same_values(&a.strategy.tensors, &b.strategy.tensors)
            && a.strategy.text == b.strategy.text
            && a.mask == b.mask
            && a.snapshots.iter().zip(&b.snapshots).all(|(a, b)| a.0 == b.0 && same_values(&a.1, &b.1))
            && a.events == b.events
    }

    fn files_below(directory: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { found.extend(files_below(&entry)) } else { found.push(entry) }
        }
        found.sort();
        found
    }

    #[test]
    fn the_two_newest_are_kept_and_the_newest_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(directory.path());
        assert!(store.load(KEY).unwrap().is_none());
        for update in [3, 6, 9, 9] {
            store.save(&checkpoint(update), &Writer::default()).unwrap();
            assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(update)));
        }
        assert_eq!(store.names().unwrap(), ["0123456789ab-000000000009", "0123456789ab-000000000006"]);
        assert!(store.load("another stage").unwrap().is_none());
        assert_eq!(store.newest().unwrap().update, 9);
        store.clear().unwrap();
        assert!(!store.root.exists());
    }

    /// Every file of the newest checkpoint, with a bit flipped in and a cut at every 4 KiB and near both ends.
    #[test]
    fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let store = CheckpointStore::new(directory.path());
        store.save(&checkpoint(3), &Writer::default()).unwrap();
        store.save(&checkpoint(6), &Writer::default()).unwrap();
        let before = checkpoint(3);
        let newest = store.root.join(&store.names().unwrap()[0]);
        let [mut flips, mut cuts, mut bytes] = [0; 3];
        for path in files_below(&newest) {
            let whole = std::fs::read(&path).unwrap();
            let mut places: Vec<usize> = (0..whole.len()).step_by(4096).collect();
            places.extend([1, 7, 8, 9, whole.len() / 2, whole.len() - 2, whole.len() - 1]);
            for place in places.into_iter().filter(|place| *place < whole.len()) {
                let mut flipped = whole.clone();
                flipped[place] ^= 1 << (place % 8);
                for (damaged, count) in [(&flipped[..], &mut flips), (&whole[..place], &mut cuts)] {
                    std::fs::write(&path, damaged).unwrap();
                    let loaded = store.load(KEY).unwrap().unwrap();
                    assert!(same(&loaded, &before), "{} damaged at {place}", path.display());
                    *count += 1;
                }
            }
            bytes += whole.len();
            std::fs::remove_file(&path).unwrap();
            assert!(same(&store.load(KEY).unwrap().unwrap(), &before), "without {}", path.display());
            std::fs::write(&path, whole).unwrap();
        }
        println!(
            "{flips} flipped bits and {cuts} cuts in {bytes} bytes of a checkpoint: each was found, none cost more than it"
        );
        assert_eq!(flips, cuts);
        assert!(flips > 125 && flips > bytes / 4096 && bytes > 300_000, "{flips} of {bytes}");
        assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(6)));
        // The file that names the newest is no single point of failure.
        for name in ["", "elsewhere", "\u{fffd}"] {
            std::fs::write(store.latest_path(), name).unwrap();
            assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(6)));
        }
    }

    #[test]
    fn with_no_whole_checkpoint_left_all_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(directory.path());
        store.save(&checkpoint(3), &Writer::default()).unwrap();
        store.save(&checkpoint(6), &Writer::default()).unwrap();
        let [newer, older] = [0, 1].map(|place| store.root.join(&store.names().unwrap()[place]));
        std::fs::write(newer.join(WEIGHTS), b"").unwrap();
        std::fs::write(older.join(EVENTS), b"{}\n").unwrap();
        let error = store.load(KEY).map(|_| ()).unwrap_err().to_string();
        for part in [WEIGHTS, EVENTS, "is damaged", "remove", "000000000003", "000000000006"] {
            assert!(error.contains(part), "{part} is not in {error}");
        }
    }

    #[test]
    fn files_of_two_checkpoints_do_not_mix() {
        let directory = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(directory.path());
        store.save(&checkpoint(3), &Writer::default()).unwrap();
        store.save(&checkpoint(6), &Writer::default()).unwrap();
        let [newer, older] = [0, 1].map(|place| store.root.join(&store.names().unwrap()[place]));
        for name in [WEIGHTS, OPTIMIZER, STRATEGY, MASK, EVENTS, RECORD] {
            let whole = std::fs::read(newer.join(name)).unwrap();
            std::fs::copy(older.join(name), newer.join(name)).unwrap();
            assert_eq!(store.load(KEY).unwrap().unwrap().progress.update, 3, "{name}");
            std::fs::write(newer.join(name), whole).unwrap();
        }
    }

    #[test]
    fn a_checkpoint_of_no_stage_of_the_run_is_foreign() {
        let directory = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(directory.path());
        let foreign = |keys: &[&str]| {
            let found = store.foreign(keys, |key| key == "in the store").unwrap();
            found.map(|(_, record)| record.map(|record| record.progress.update).map_err(|e| e.to_string()))
        };
        assert_eq!(foreign(&[]), None);
        store.save(&checkpoint(3), &Writer::default()).unwrap();
        assert_eq!(foreign(&["a later stage", KEY]), None);
        assert_eq!(foreign(&["another stage"]), Some(Ok(3)));
        let mut finished = checkpoint(6);
        finished.progress.key = "in the store".into();
        store.save(&finished, &Writer::default()).unwrap();
        assert_eq!(foreign(&[KEY]), None);
        assert_eq!(foreign(&["another stage"]), Some(Ok(3)), "an older one counts, too");

        // Damaged, it is of the run that its name tells.
        let own = store.names().unwrap().into_iter().find(|name| name.starts_with(prefix(KEY))).unwrap();
        std::fs::write(store.root.join(own).join(RECORD), b"{\"format\": 1, \"lopper\": \"0.0.7\"}").unwrap();
        assert_eq!(foreign(&[KEY]), None);
        assert!(foreign(&["another stage"]).unwrap().unwrap_err().contains("written by Lopper 0.0.7"));

        // What cannot be listed is not nothing.
        std::fs::remove_dir_all(&store.root).unwrap();
        std::fs::write(&store.root, b"").unwrap();
        assert!(store.load(KEY).is_err() && store.foreign(&[KEY], |_| false).is_err());
    }

    #[test]
    fn a_record_that_does_not_say_who_wrote_it_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let store = CheckpointStore::new(directory.path());
        store.save(&checkpoint(3), &Writer::default()).unwrap();
        let record = store.record(&store.root.join(&store.names().unwrap()[0])).unwrap();
        let mut text = serde_json::to_value(&record).unwrap();
        assert!(text.as_object_mut().unwrap().remove("writer").is_some());
        assert_eq!(serde_json::from_value::<CheckpointRecord>(text).unwrap(), record);
    }
}
