//! Finished stages by content: what is known is not trained again, by whichever run or method.
//!
//! [`Store`] keeps artefacts and knows nothing of what is in them; [`StageStore`] knows what a stage leaves.

mod artefact;
mod directory;
mod lease;
mod reference;
mod stored_weights;

pub use artefact::{ArtefactId, Kind, Listed, Store};
pub use lease::{Claim, Desk, Holder, Lease};
pub use reference::Reference;
pub(crate) use stored_weights::StoredWeights;

use crate::kept;
use crate::provenance::Provenance;
use crate::record::EvaluationRecord;
use crate::sealed::{self, Sealed};
use crate::weights::Weights;
use crate::{SplitMetrics, StageRecord};
use directory::DirectoryStore;
use lopper_core::{Error, MaskOrigin, MaskSet, MethodState, Outcomes, Result};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const RECORD: &str = "stage.json";
const EVALUATION: &str = "evaluation.json";
/// What was said of every example, packed.
const PREDICTIONS: &str = "predictions.bin";
const ALIAS: &str = "alias.json";
const MASK: &str = "mask.safetensors";
const START_MASK: &str = "start_mask.safetensors";
const EVENTS: &str = "events.jsonl";
/// What the method remembered, where the next stage goes on from that: tensors, and the rest as JSON.
const METHOD: &str = "method.safetensors";
const METHOD_TEXT: &str = "method.json";

/// How long a claim stands of which nothing is heard, unless a configuration says otherwise.
pub const LEASE: Duration = Duration::from_secs(60);

/// The finished stages that runs share.
#[derive(Debug, Clone)]
pub struct StageStore {
    store: Arc<dyn Store>,
}

/// A finished stage on disk.
#[derive(Debug, Clone)]
pub struct StoredStage {
    directory: PathBuf,
    record: StageRecord,
}

/// What training a stage leaves behind, on its way into the store.
pub(crate) struct Finished<'a> {
    pub(crate) record: StageRecord,
    /// What it started with.
    pub(crate) start_mask: &'a MaskSet,
    /// What it ended with.
    pub(crate) mask: &'a MaskSet,
    /// What its method remembers, where the next stage goes on from that.
    pub(crate) method: Option<&'a MethodState>,
    pub(crate) origin: &'a MaskOrigin,
    /// The lines of its updates, as [`crate::events`] writes them for the store.
    pub(crate) events: &'a [u8],
}

/// Artefacts of one stage that no run refers to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unreferenced {
    /// The stage's training key.
    pub key: String,
    /// The stage's name, if its record can be read.
    pub name: Option<String>,
    /// Size of all that is kept of it.
    pub bytes: u64,
}

/// Which training key a planned stage turned out to have.
#[derive(Debug, Serialize, Deserialize)]
struct Alias {
    plan: String,
    stage: String,
}

impl Sealed for Alias {
    const NAME: &'static str = "alias of a planned stage";
    const FORMAT: u32 = 1;
}

impl StageStore {
    /// The store in the directory `root`, which is created with the first thing that is put there. `lease` is how long a
    /// claim stands of which nothing is heard; see [`Store::claim`].
    ///
    /// # Errors
    /// [`Error::File`] naming a directory that is the store of another version.
    pub fn open(root: impl Into<PathBuf>, lease: Duration) -> Result<Self> {
        Ok(Self::over(Arc::new(DirectoryStore::open(root.into(), lease)?)))
    }

    /// The stages in a store of another kind.
    pub fn over(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Where it lies.
    pub fn root(&self) -> &Path {
        self.store.root()
    }

    /// The training key that the plan key `plan` stands for, as far as that is known.
    pub fn resolve(&self, plan: &str) -> Option<String> {
        let at = self.store.find(&ArtefactId::alias(plan))?;
        let alias = crate::identity::read(&at.join(ALIAS)).and_then(|bytes| sealed::open::<Alias>(&bytes));
        match alias {
            Ok(alias) if alias.plan == plan => Some(alias.stage),
            Ok(_) => None,
            Err(e) => {
                tracing::warn!("{}: {e}; it is found anew", at.display());
                None
            }
        }
    }

    /// Notes that the plan key `plan` stands for the training key `stage`.
    pub(crate) fn note_alias(&self, plan: &str, stage: &str) -> Result<()> {
        if self.resolve(plan).is_some_and(|known| known == stage) {
            return Ok(());
        }
        let id = ArtefactId::alias(plan);
        // One that is damaged, or leads elsewhere because what it came from was removed and made again on a device that
        // repeats nothing exactly.
        self.discard(&id)?;
        let alias = Alias { plan: plan.to_owned(), stage: stage.to_owned() };
        let write = &mut |at: &Path| files::write_atomic(&at.join(ALIAS), &sealed::seal(&alias)?);
        self.store.add(&id, write).map(drop)
    }

    /// The stage with the training key `key`, if it is here. One that cannot be read counts as absent, with a warning.
    pub fn find(&self, key: &str) -> Option<StoredStage> {
        let directory = self.store.find(&ArtefactId::stage(key))?;
        let path = directory.join(RECORD);
        let record = crate::identity::read(&path).and_then(|bytes| StageRecord::from_bytes(&bytes));
        match record {
            Ok(record) if record.key == key => Some(StoredStage { directory, record }),
            Ok(record) => {
                tracing::warn!("{}: is the record of stage {}; the stage is trained again", path.display(), record.key);
                None
            }
            Err(e) => {
                tracing::warn!("{}: {e}; the stage is trained again", path.display());
                None
            }
        }
    }

    /// The stage that the plan key `plan` stands for, if it is known and here.
    pub fn find_planned(&self, plan: &str) -> Option<StoredStage> {
        self.find(&self.resolve(plan)?)
    }

    /// Puts a trained stage into the store, unless it is there already. Returns the one that stands.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be written; nothing half-written stays.
    pub(crate) fn add(&self, finished: Finished<'_>) -> Result<StoredStage> {
        let Finished { mut record, start_mask, mask, method, origin, events } = finished;
        let id = ArtefactId::stage(&record.key);
        if self.find(&record.key).is_none() {
            // Whoever trains a stage that lies here already has found it damaged.
            self.discard(&id)?;
        }
        let (directory, new) = self.store.add(&id, &mut |at| {
            let last = mask.to_file_bytes(origin)?;
            // A hard mask that nothing changes is written once.
            let first = (start_mask != mask).then(|| start_mask.to_file_bytes(&MaskOrigin::new())).transpose()?;
            let first = first.as_deref().map(|bytes| (START_MASK, bytes));
            for (name, bytes) in [(MASK, &last[..]), (EVENTS, events)].into_iter().chain(first) {
                record.files.insert(name.into(), blake3::hash(bytes).to_hex().to_string());
                files::write_atomic(&at.join(name), bytes)?;
            }
            if let Some(method) = method {
                let hash = kept::save(&at.join(METHOD), kept::named(&method.tensors), |_| None)?;
                record.files.insert(METHOD.into(), hash);
                let text = serde_json::to_vec(&method.text).map_err(|e| Error::file(at.join(METHOD_TEXT), e))?;
                record.files.insert(METHOD_TEXT.into(), blake3::hash(&text).to_hex().to_string());
                files::write_atomic(&at.join(METHOD_TEXT), &text)?;
            }
            files::write_atomic(&at.join(RECORD), &sealed::seal(&record)?)
        })?;
        if new {
            return Ok(StoredStage { directory, record });
        }
        let key = record.key;
        self.find(&key).ok_or_else(|| Error::file(directory, "was put there by another process and cannot be read"))
    }

    /// Whether the weights of a stage after some updates are here.
    pub(crate) fn has_weights(&self, key: &str, update: u64) -> bool {
        self.store.find(&ArtefactId::weights(key, update)).is_some()
    }

    /// Puts the model's weights into the store; see [`stored_weights::add`]. Returns the hash of what stands there.
    pub(crate) fn add_weights(
        &self,
        key: &str,
        update: u64,
        weights: &Weights,
        mask: &MaskSet,
        made_by: &Provenance,
    ) -> Result<String> {
        stored_weights::add(self.store.as_ref(), (key, update), weights, mask, made_by).map(|record| record.content)
    }

    /// The weights of a stage after some updates; `None` when they are not here.
    ///
    /// # Errors
    /// [`Error::File`] naming what is damaged.
    pub(crate) fn weights(&self, key: &str, update: u64) -> Result<Option<StoredWeights>> {
        self.store.find(&ArtefactId::weights(key, update)).map(|at| StoredWeights::open(&at)).transpose()
    }

    /// Metrics that the evaluation key `key` stands for.
    pub(crate) fn evaluation(&self, key: &str) -> Option<SplitMetrics> {
        let at = self.store.find(&ArtefactId::evaluation(key))?;
        let record = crate::identity::read(&at.join(EVALUATION)).and_then(|bytes| EvaluationRecord::from_bytes(&bytes));
        match record {
            Ok(record) if record.key == key => Some(record.metrics),
            Ok(_) => None,
            Err(e) => {
                tracing::warn!("{}: {e}; it is evaluated again", at.display());
                None
            }
        }
    }

    /// What was said of every example in the evaluation with the key `key`; `None` where that was not kept.
    pub(crate) fn outcomes(&self, key: &str) -> Option<Outcomes> {
        let at = self.store.find(&ArtefactId::evaluation(key))?;
        let recorded = EvaluationRecord::from_bytes(&fs::read(at.join(EVALUATION)).ok()?).ok()?.predictions?;
        let whole = |bytes: &Vec<u8>| blake3::hash(bytes).to_hex().as_str() == recorded;
        let path = at.join(PREDICTIONS);
        let outcomes = fs::read(&path).ok().filter(whole).and_then(|bytes| Outcomes::from_packed(&bytes));
        if outcomes.is_none() {
            tracing::warn!(
                "{}: is damaged or gone; its metrics stand, but not what was said of each example",
                path.display()
            );
        }
        outcomes
    }

    /// Keeps an evaluation. Returns the metrics that stand.
    pub(crate) fn add_evaluation(
        &self,
        mut record: EvaluationRecord,
        outcomes: Option<&Outcomes>,
    ) -> Result<SplitMetrics> {
        let packed = outcomes.map(Outcomes::to_packed);
        record.predictions = packed.as_ref().map(|bytes| blake3::hash(bytes).to_hex().to_string());
        let id = ArtefactId::evaluation(&record.key);
        if self.evaluation(&record.key).is_none() {
            self.discard(&id)?;
        }
        self.store.add(&id, &mut |at| {
            packed.iter().try_for_each(|bytes| files::write_atomic(&at.join(PREDICTIONS), bytes))?;
            files::write_atomic(&at.join(EVALUATION), &sealed::seal(&record)?)
        })?;
        Ok(self.evaluation(&record.key).unwrap_or(record.metrics))
    }

    /// Takes the right to work at a stage, or says who has it.
    pub(crate) fn claim(&self, key: &str, run: &Path) -> Result<Claim> {
        self.store.claim(key, run)
    }

    /// Removes an artefact that is of no use: damaged, or left by a process that was killed before its stage was whole.
    pub(crate) fn discard(&self, id: &ArtefactId) -> Result<()> {
        match self.store.find(id) {
            Some(path) => files::remove_dir(&path),
            None => Ok(()),
        }
    }

    /// Notes what a run needs, so that nothing of it is removed.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be written.
    pub(crate) fn refer(&self, reference: &Reference) -> Result<()> {
        self.store.refer(&reference.id, Some(reference))
    }

    /// Drops what a run needed: what no other run needs either is then free.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be removed.
    pub fn forget(&self, run: &str) -> Result<()> {
        self.store.refer(run, None)
    }

    /// What all runs need.
    ///
    /// # Errors
    /// [`Error::File`] when not every reference can be read.
    pub fn references(&self) -> Result<Vec<Reference>> {
        self.store.references()
    }

    /// The stages that no run refers to, with all that is kept of each.
    ///
    /// # Errors
    /// [`Error::File`] when the store cannot be read.
    pub fn unreferenced(&self) -> Result<Vec<Unreferenced>> {
        let mut stages: BTreeMap<String, u64> = BTreeMap::new();
        for (key, Listed { bytes, .. }) in self.free()? {
            *stages.entry(key).or_default() += bytes;
        }
        let found = stages.into_iter().map(|(key, bytes)| {
            let name = self.store.find(&ArtefactId::stage(&key)).and_then(|at| fs::read(at.join(RECORD)).ok());
            let name = name.and_then(|bytes| StageRecord::from_bytes(&bytes).ok()).map(|record| record.stage.name);
            Unreferenced { key, name, bytes }
        });
        Ok(found.collect())
    }

    /// Removes those of `keys` that are still unreferenced, and what killed processes left behind. Returns the bytes freed.
    ///
    /// # Errors
    /// [`Error::File`] naming what could not be removed; the stages before it are gone then.
    pub fn remove(&self, keys: &[String]) -> Result<u64> {
        self.store.remove(&mut || {
            let free = self.free()?.into_iter();
            Ok(free.filter(|(key, _)| keys.contains(key)).map(|(_, listed)| listed).collect())
        })
    }

    /// Removes weights that no run but `run` refers to.
    pub(crate) fn remove_weights(&self, ids: &[ArtefactId], run: &str) -> Result<u64> {
        self.store.remove(&mut || {
            let others = self.references()?.into_iter().filter(|reference| reference.id != run);
            let wanted: BTreeSet<String> = others.flat_map(|reference| reference.weights).collect();
            let listed = self.store.list()?.into_iter();
            Ok(listed.filter(|listed| ids.contains(&listed.id) && !wanted.contains(&listed.id.name)).collect())
        })
    }

    /// Everything that is kept of stages that no run refers to, each artefact with the training key of its stage.
    fn free(&self) -> Result<Vec<(String, Listed)>> {
        let mut referred: BTreeSet<String> = BTreeSet::new();
        for key in self.references()?.into_iter().flat_map(|reference| reference.stages) {
            referred.extend(self.resolve(&key));
            referred.insert(key);
        }
        let mut free = Vec::new();
        for listed in self.store.list()? {
            let id = &listed.id;
            let stage = match id.kind {
                Kind::Stage => Some(id.name.clone()),
                Kind::Weights => id.weights_of().map(|(key, _)| key.to_owned()),
                Kind::Alias => self.resolve(&id.name),
                Kind::Evaluation => {
                    let at = self.store.find(id).unwrap_or_default();
                    let bytes = fs::read(at.join(EVALUATION)).unwrap_or_default();
                    EvaluationRecord::from_bytes(&bytes).ok().map(|record| record.stage)
                }
            };
            // What cannot be read belongs to nobody, and goes by its own name.
            let stage = stage.unwrap_or_else(|| id.name.clone());
            if !referred.contains(&stage) && !referred.contains(&id.name) {
                free.push((stage, listed));
            }
        }
        Ok(free)
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

    /// The file of the mask that it started with.
    pub fn start_mask_path(&self) -> PathBuf {
        self.directory.join(if self.record.files.contains_key(START_MASK) { START_MASK } else { MASK })
    }

    /// The final mask.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or is damaged.
    pub fn mask(&self) -> Result<MaskSet> {
        self.read_mask(MASK)
    }

    /// The mask that it started with.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be read or is damaged.
    pub fn start_mask(&self) -> Result<MaskSet> {
        self.read_mask(if self.record.files.contains_key(START_MASK) { START_MASK } else { MASK })
    }

    /// What its method remembered at its end.
    ///
    /// # Errors
    /// [`Error::File`] when it is damaged or was not kept.
    pub(crate) fn method_state(&self) -> Result<MethodState> {
        let path = self.directory.join(METHOD);
        let (tensors, hash) = lopper_weights::load_tensors_with_hash(&path)?;
        if self.record.files.get(METHOD) != Some(&hash) {
            return Err(Error::file(path, "is damaged: its hash is not the recorded one"));
        }
        let text = self.read(METHOD_TEXT)?;
        let text = serde_json::from_slice(&text).map_err(|e| Error::file(self.directory.join(METHOD_TEXT), e))?;
        Ok(MethodState::new(tensors, text))
    }

    fn read_mask(&self, name: &str) -> Result<MaskSet> {
        let bytes = self.read(name)?;
        MaskSet::from_file_bytes(&bytes).map(|(mask, _)| mask).map_err(|e| Error::file(self.directory.join(name), e))
    }

    /// Reads it against the hashes in its record.
    ///
    /// # Errors
    /// [`Error::File`] naming the first file that is damaged or missing.
    pub(crate) fn verify(&self) -> Result<()> {
        let first = self.record.files.keys().map(String::as_str).find(|name| *name == START_MASK);
        [MASK, EVENTS].into_iter().chain(first).try_for_each(|name| self.read(name).map(drop))
    }

    /// The lines of its updates.
    pub(crate) fn events(&self) -> Result<Vec<u8>> {
        self.read(EVENTS)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let bytes = crate::identity::read(&self.directory.join(name))?;
        match self.record.files.get(name) {
            Some(recorded) if blake3::hash(&bytes).to_hex().as_str() == recorded => Ok(bytes),
            _ => Err(Error::file(self.directory.join(name), "is damaged: its hash is not the recorded one")),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
