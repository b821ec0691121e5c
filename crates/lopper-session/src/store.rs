//! Finished stages by content: a stage whose identity is known is not trained again, by whichever run or method.

use crate::StageRecord;
use crate::sealed::{self, Sealed};
use crate::weights::Values;
use lopper_core::{Error, MaskOrigin, MaskSet, MethodState, Result};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, DirEntry, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const RECORD: &str = "stage.json";
const WEIGHTS: &str = "weights.safetensors";
const MASK: &str = "mask.safetensors";
const EVENTS: &str = "events.jsonl";
/// What the method remembered, where the next stage goes on from that: tensors, and the rest as JSON.
const METHOD: &str = "method.safetensors";
const METHOD_TEXT: &str = "method.json";
/// Which runs need which stages, one file a run.
const REFERENCES: &str = "references";
/// Held shared while a run says what it needs, and alone while stages are removed.
const LOCK: &str = ".lock";

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

/// What a stage leaves behind, on its way into the store.
pub(crate) struct Finished<'a> {
    pub(crate) record: StageRecord,
    /// mask ⊙ weights.
    pub(crate) weights: &'a Values,
    pub(crate) mask: &'a MaskSet,
    pub(crate) method: Option<&'a MethodState>,
    pub(crate) origin: &'a MaskOrigin,
    pub(crate) snapshots: &'a [(u64, Values)],
    /// Its lines of `metrics.jsonl`.
    pub(crate) events: &'a [u8],
}

/// A stage that no run refers to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unreferenced {
    /// Its identity; the name of its directory.
    pub key: String,
    /// The stage's name, if its record can be read.
    pub name: Option<String>,
    /// Size of its files.
    pub bytes: u64,
}

/// What one run needs.
#[derive(Debug, Serialize, Deserialize)]
struct Reference {
    /// The run's directory, absolute.
    run: PathBuf,
    stages: Vec<String>,
}

impl Sealed for Reference {
    const NAME: &'static str = "reference to stages";
    const FORMAT: u32 = 1;
}

impl StageStore {
    /// A store under `root`, which is created with the first stage.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The stage of that identity, if it is here with all these snapshots. One that cannot be read, or was written by
    /// another version, counts as absent, with a warning: it will be trained again and replaced.
    pub fn find(&self, key: &str, snapshots: &[u64]) -> Option<StoredStage> {
        let directory = self.root.join(key);
        let path = directory.join(RECORD);
        let bytes = fs::read(&path).ok()?;
        let record = match StageRecord::from_bytes(&bytes) {
            Ok(record) if record.key == key => record,
            Ok(record) => {
                tracing::warn!("{}: is the record of stage {}; the stage is trained again", path.display(), record.key);
                return None;
            }
            Err(e) => {
                tracing::warn!("{}: {e}; the stage is trained again", path.display());
                return None;
            }
        };
        let stored = StoredStage { directory, record };
        let needed = snapshots.iter().map(|update| snapshot_name(*update));
        let here = |name: String| stored.directory.join(name).is_file();
        needed.chain([WEIGHTS, MASK, EVENTS].map(str::to_owned)).all(here).then_some(stored)
    }

    /// Puts a finished stage into the store; all of it appears at once.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be written; nothing half-written stays.
    pub(crate) fn publish(&self, finished: Finished<'_>) -> Result<StoredStage> {
        let Finished { mut record, weights, mask, method, origin, snapshots, events } = finished;
        files::create_dir(&self.root)?;
        let staging = files::staging_dir(&self.root)?;
        let at = staging.path();
        record.files.insert(WEIGHTS.into(), crate::save_values(&at.join(WEIGHTS), weights)?);
        for (update, values) in snapshots {
            let name = snapshot_name(*update);
            let hash = crate::save_values(&at.join(&name), values)?;
            record.files.insert(name, hash);
        }
        if let Some(method) = method {
            record.files.insert(METHOD.into(), crate::save_values(&at.join(METHOD), &method.tensors)?);
            let text = serde_json::to_vec(&method.text).map_err(|e| Error::file(at.join(METHOD_TEXT), e))?;
            record.files.insert(METHOD_TEXT.into(), blake3::hash(&text).to_hex().to_string());
            files::write_atomic(&at.join(METHOD_TEXT), &text)?;
        }
        for (name, bytes) in [(MASK, &mask.to_file_bytes(origin)?[..]), (EVENTS, events)] {
            record.files.insert(name.into(), blake3::hash(bytes).to_hex().to_string());
            files::write_atomic(&at.join(name), bytes)?;
        }
        files::write_atomic(&at.join(RECORD), &sealed::seal(&record)?)?;
        // There may be one already: another run trained the same stage meanwhile, or it was damaged or lacked a snapshot.
        let directory = self.root.join(&record.key);
        files::replace_dir(staging, &directory)?;
        Ok(StoredStage { directory, record })
    }

    /// Notes which stages the run in `run` needs, so that [`remove`](Self::remove) leaves them alone.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be written.
    pub(crate) fn refer(&self, run: &Path, stages: Vec<String>) -> Result<()> {
        let references = self.root.join(REFERENCES);
        files::create_dir(&references)?;
        let _lock = self.lock(File::lock_shared)?;
        files::sweep(&references);
        let run = fs::canonicalize(run).map_err(|e| Error::file(run, e))?;
        let name = blake3::hash(run.as_os_str().as_encoded_bytes()).to_hex();
        let path = references.join(format!("{}.json", &name[..16]));
        files::write_atomic(&path, &sealed::seal(&Reference { run, stages })?)
    }

    /// The stages that no existing run directory refers to.
    ///
    /// # Errors
    /// [`Error::File`] when the store cannot be read.
    pub fn unreferenced(&self) -> Result<Vec<Unreferenced>> {
        let referenced = self.referenced()?;
        let mut found = Vec::new();
        for entry in entries(&self.root)? {
            let entry = entry?;
            let Ok(key) = entry.file_name().into_string() else { continue };
            if !is_key(&key) || referenced.contains(&key) {
                continue;
            }
            let record =
                fs::read(entry.path().join(RECORD)).ok().and_then(|bytes| StageRecord::from_bytes(&bytes).ok());
            found.push(Unreferenced { bytes: size(&entry.path()), name: record.map(|r| r.stage.name), key });
        }
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes those of `keys` that are still unreferenced, and what killed processes left behind. Returns the bytes freed.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be removed; the stages before it are gone then.
    pub fn remove(&self, keys: &[String]) -> Result<u64> {
        let _lock = self.lock(File::lock)?;
        let mut freed = 0;
        for stage in self.unreferenced()?.into_iter().filter(|stage| keys.contains(&stage.key)) {
            // In one step: a stage half removed must not be found.
            files::remove_dir(&self.root.join(&stage.key))?;
            freed += stage.bytes;
        }
        files::sweep(&self.root);
        Ok(freed)
    }

    /// Stages that runs refer to. References of runs whose directory is gone no longer count; of those for which that cannot
    /// be told they do.
    ///
    /// # Errors
    /// [`Error::File`] when not every reference can be read: what is not known to be free must not be removed.
    fn referenced(&self) -> Result<BTreeSet<String>> {
        let mut stages = BTreeSet::new();
        let references = self.root.join(REFERENCES);
        match references.symlink_metadata() {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(stages),
            found => found.map_err(|e| Error::file(&references, e))?,
        };
        for entry in entries(&references)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            // One that cannot be read may be of a run that is still wanted: better to stop than to guess.
            let reference: Reference =
                sealed::open(&crate::identity::read(&path)?).map_err(|e| Error::file(&path, e))?;
            let gone = match fs::metadata(&reference.run) {
                Ok(run) => !run.is_dir(),
                Err(e) => e.kind() == ErrorKind::NotFound,
            };
            if !gone {
                stages.extend(reference.stages);
            }
        }
        Ok(stages)
    }

    fn lock(&self, how: fn(&File) -> std::io::Result<()>) -> Result<File> {
        let path = self.root.join(LOCK);
        let lock = || {
            let file = File::create(&path)?;
            match how(&file) {
                // Some file systems have no locks.
                Err(e) if e.kind() != ErrorKind::Unsupported => Err(e),
                _ => Ok(file),
            }
        };
        lock().map_err(|e| Error::file(&path, e))
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

    /// Reads it against the hashes in its record: mask and metrics, the weights if `weights`, and some snapshots.
    ///
    /// # Errors
    /// [`Error::File`] naming the first file that is damaged or missing.
    pub(crate) fn verify(&self, weights: bool, snapshots: &[u64]) -> Result<()> {
        for name in [MASK, EVENTS] {
            let bytes = crate::identity::read(&self.directory.join(name))?;
            self.expect(name, &blake3::hash(&bytes).to_hex())?;
        }
        let tensors = weights.then(|| WEIGHTS.to_owned()).into_iter();
        for name in tensors.chain(snapshots.iter().map(|update| snapshot_name(*update))) {
            let (_, hash) = lopper_weights::load_tensors_with_hash(&self.directory.join(&name))?;
            self.expect(&name, &hash)?;
        }
        Ok(())
    }

    fn expect(&self, name: &str, hash: &str) -> Result<()> {
        match self.record.files.get(name) {
            Some(recorded) if recorded == hash => Ok(()),
            _ => Err(Error::file(self.directory.join(name), "is damaged: its hash is not the recorded one")),
        }
    }

    /// The stage's lines of `metrics.jsonl`.
    pub(crate) fn events(&self) -> Result<Vec<u8>> {
        crate::identity::read(&self.directory.join(EVENTS))
    }

    /// mask ⊙ weights after the last update, all parameters by name.
    pub(crate) fn weights(&self) -> Result<Values> {
        crate::load_values(&self.directory.join(WEIGHTS))
    }

    /// What its method remembered at its end.
    ///
    /// # Errors
    /// [`Error::File`] when it is damaged or was not kept.
    pub(crate) fn method_state(&self) -> Result<MethodState> {
        let (tensors, hash) = lopper_weights::load_tensors_with_hash(&self.directory.join(METHOD))?;
        self.expect(METHOD, &hash)?;
        let path = self.directory.join(METHOD_TEXT);
        let text = crate::identity::read(&path)?;
        self.expect(METHOD_TEXT, &blake3::hash(&text).to_hex())?;
        Ok(MethodState::new(tensors, serde_json::from_slice(&text).map_err(|e| Error::file(path, e))?))
    }

    /// The weights after `update` updates.
    pub(crate) fn snapshot(&self, update: u64) -> Result<Values> {
        crate::load_values(&self.directory.join(snapshot_name(update)))
    }
}

fn snapshot_name(update: u64) -> String {
    format!("snapshot-{update}.safetensors")
}

/// Whether a name is that of a stage's directory: BLAKE3 in hexadecimal.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The entries of a directory; errors name it.
fn entries(directory: &Path) -> Result<impl Iterator<Item = Result<DirEntry>>> {
    let error = move |e| Error::file(directory, e);
    Ok(fs::read_dir(directory).map_err(error)?.map(move |entry| entry.map_err(error)))
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The mask of a mask file; errors name the path.
pub(crate) fn read_mask(path: &Path) -> Result<MaskSet> {
    lopper_weights::read_mask(path).map(|(mask, _)| mask)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Puts something into the store that looks like a finished stage that took 25 seconds.
    pub(crate) fn pretend(store: &StageStore, key: &str) {
        let run = lopper_testkit::run_spec(lopper_core::Sparsity::DENSE, 100);
        let record = StageRecord {
            key: key.to_owned(),
            stage: lopper_core::Stage::dense(&run),
            sparsity: 0.0,
            pruned: 0,
            entries: 1,
            validations: Vec::new(),
            skipped_updates: 0,
            counts: Default::default(),
            seconds: 25.0,
            files: Default::default(),
        };
        let directory = store.root.join(key);
        files::create_dir(&directory).unwrap();
        fs::write(directory.join(RECORD), sealed::seal(&record).unwrap()).unwrap();
        for name in [WEIGHTS, MASK, EVENTS] {
            fs::write(directory.join(name), b"").unwrap();
        }
    }

    fn stage(store: &StageStore, digit: char) -> String {
        let key = digit.to_string().repeat(64);
        files::create_dir(&store.root.join(&key)).unwrap();
        fs::write(store.root.join(&key).join(WEIGHTS), [0; 100]).unwrap();
        key
    }

    #[test]
    fn only_what_no_run_refers_to_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = StageStore::new(directory.path().join("store"));
        let [a, b, c] = ['a', 'b', 'c'].map(|digit| stage(&store, digit));
        let runs = ["one", "two"].map(|name| directory.path().join(name));
        for run in &runs {
            files::create_dir(run).unwrap();
        }
        store.refer(&runs[0], vec![a.clone()]).unwrap();
        store.refer(&runs[1], vec![a.clone(), b.clone()]).unwrap();
        fs::write(store.root.join("notes"), b"mine").unwrap();
        let keys = |store: &StageStore| store.unreferenced().unwrap().into_iter().map(|s| s.key).collect::<Vec<_>>();
        assert_eq!(keys(&store), [c.as_str()]);
        // Even when asked to, it removes nothing that a run needs.
        assert_eq!(store.remove(&[a.clone(), b.clone(), c.clone()]).unwrap(), 100);
        assert!(keys(&store).is_empty() && store.root.join(&b).is_dir());
        // A process that was killed while it wrote a reference.
        let half = store.root.join(REFERENCES).join(format!("{}half", files::TEMPORARY_PREFIX));
        fs::write(&half, b"{").unwrap();
        fs::remove_dir(&runs[1]).unwrap();
        assert_eq!(keys(&store), [b.as_str()]);
        store.refer(&runs[0], vec![b.clone()]).unwrap();
        assert!(!half.exists());
        assert_eq!(keys(&store), [a.as_str()]);
        assert!(store.root.join("notes").is_file());
    }

    #[test]
    fn a_damaged_reference_removes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = StageStore::new(directory.path().join("store"));
        let key = stage(&store, 'a');
        store.refer(directory.path(), vec![key.clone()]).unwrap();
        let reference = fs::read_dir(store.root.join(REFERENCES)).unwrap().next().unwrap().unwrap().path();
        fs::write(&reference, b"{}").unwrap();
        let error = store.remove(std::slice::from_ref(&key)).unwrap_err().to_string();
        assert!(error.contains(reference.to_str().unwrap()), "{error}");
        assert!(store.root.join(&key).is_dir());
    }

    /// As when a disk answers with an error, or a network's file system is away.
    #[cfg(unix)]
    #[test]
    fn references_that_cannot_be_read_remove_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = StageStore::new(directory.path().join("store"));
        let key = stage(&store, 'a');
        let run = directory.path().join("run");
        files::create_dir(&run).unwrap();
        store.refer(&run, vec![key.clone()]).unwrap();
        // A run's directory of which nobody can tell whether it is there: a link to itself.
        fs::remove_dir(&run).unwrap();
        std::os::unix::fs::symlink("run", &run).unwrap();
        assert!(store.unreferenced().unwrap().is_empty());
        fs::remove_file(&run).unwrap();
        assert_eq!(store.unreferenced().unwrap().len(), 1);

        let references = store.root.join(REFERENCES);
        fs::remove_dir_all(&references).unwrap();
        for unreadable in [
            |path: &Path| fs::write(path, b""),
            |path: &Path| {
                fs::remove_file(path)?;
                std::os::unix::fs::symlink(REFERENCES, path)
            },
        ] {
            unreadable(&references).unwrap();
            for error in [
                store.unreferenced().map(|_| ()).unwrap_err().to_string(),
                store.remove(std::slice::from_ref(&key)).map(|_| ()).unwrap_err().to_string(),
            ] {
                assert!(error.contains(references.to_str().unwrap()), "{error}");
            }
            assert!(store.root.join(&key).is_dir());
        }
        fs::remove_file(&references).unwrap();
        assert_eq!(store.remove(std::slice::from_ref(&key)).unwrap(), 100);
    }
}
