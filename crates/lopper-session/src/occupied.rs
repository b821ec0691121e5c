//! What a run directory holds already: progress of another run is not thrown away, and its result not without a word.

use crate::checkpoint::CheckpointStore;
use crate::{CheckpointRecord, PlannedStage, RunRecord, StageStore};
use lopper_core::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// What a checkpoint was written for and by, for whoever finds it in the way.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Writer {
    /// The stage's name.
    stage: String,
    /// Updates that the stage consists of.
    updates: u64,
    /// The stage's plan key.
    #[serde(default)]
    plan: String,
    /// The stage's plan key, but for `versions`.
    versionless: String,
    /// Versions and the kind of device, each with its name.
    versions: BTreeMap<String, String>,
}

impl Writer {
    pub(crate) fn of(planned: &PlannedStage, versions: &BTreeMap<String, String>) -> Self {
        Self {
            stage: planned.stage.name.clone(),
            updates: planned.stage.updates,
            plan: planned.key.clone(),
            versionless: planned.versionless.clone(),
            versions: versions.clone(),
        }
    }

    /// How these versions differ from `now`, if the stage is one of `plan` but for them.
    fn differences(&self, plan: &[PlannedStage], now: &BTreeMap<String, String>) -> Option<String> {
        plan.iter().find(|planned| planned.versionless == self.versionless)?;
        let changed = self.versions.iter().filter_map(|(name, then)| {
            let now = now.get(name).filter(|now| *now != then)?;
            Some(format!("{name} was {then} and is {now}"))
        });
        let changed: Vec<String> = changed.collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }
}

/// Refuses a run directory whose checkpoints belong to no stage of `plan`: going on would begin at update 0 and remove them.
/// A finished run of another configuration is only warned of: its stages are in the store.
///
/// # Errors
/// [`Error::File`] naming the directory, what it holds, who wrote that, and what to do.
pub(crate) fn check(
    out: &Path,
    plan: &[PlannedStage],
    versions: &BTreeMap<String, String>,
    store: &StageStore,
) -> Result<()> {
    let keys: Vec<&str> = plan.iter().map(|planned| planned.key.as_str()).collect();
    let ours = |record: &CheckpointRecord| {
        let key = record.progress.key.as_str();
        let planned = || plan.iter().any(|planned| planned.training_key.as_deref() == Some(key));
        keys.contains(&record.writer.plan.as_str()) || planned() || store.find(key).is_some()
    };
    let training: Vec<&str> = plan.iter().filter_map(|planned| planned.training_key.as_deref()).collect();
    let checkpoints = CheckpointStore::new(out);
    if let Some(found) = checkpoints.foreign(&training, ours)? {
        let holds = match found {
            Ok((record, lopper)) => progress(&record, lopper, plan, versions),
            Err(e) => format!("a checkpoint of another run, which cannot be read ({e})"),
        };
        return Err(Error::file(
            out,
            format!(
                "holds {holds}; beginning here would throw it away. Give another --out, or remove {} to start over",
                checkpoints.root().display()
            ),
        ));
    }
    warn_of_result(&out.join(RunRecord::FILE), out, &keys);
    Ok(())
}

/// How far the other run has come, whose it is, and why this one cannot take it up. `lopper` is the version that wrote
/// the record.
fn progress(
    record: &CheckpointRecord,
    lopper: Option<String>,
    plan: &[PlannedStage],
    versions: &BTreeMap<String, String>,
) -> String {
    let writer = &record.writer;
    let update = record.progress.update;
    let (done, stage) = if writer.stage.is_empty() {
        (format!("{update} updates"), record.progress.key.clone())
    } else {
        (format!("{update} of {} updates", writer.updates), format!("`{}`", writer.stage))
    };
    let lopper = lopper.map(|version| format!(", written by Lopper {version}")).unwrap_or_default();
    let why = match writer.differences(plan, versions) {
        Some(changed) => format!("of this configuration, but {changed}, and results depend on that"),
        None => "of another configuration".to_owned(),
    };
    format!("{done} of stage {stage}{lopper}, {why}")
}

/// Says so when the run that ended in this directory was another one.
fn warn_of_result(path: &Path, out: &Path, keys: &[&str]) {
    let Ok(bytes) = std::fs::read(path) else { return };
    let what = match RunRecord::from_bytes(&bytes) {
        Ok(record) if record.stages.iter().map(|stage| stage.plan.as_str()).eq(keys.iter().copied()) => return,
        Ok(record) => format!("of {} on {} at sparsity {:.4}", record.method, record.task, record.sparsity),
        Err(e) => format!("whose record {e}"),
    };
    tracing::warn!(
        "{}: holds the finished run of another configuration, {what}; this run's model and record take its place, and \
         `lopper gc` no longer keeps its stages",
        out.display()
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::{Sparsity, Stage};

    #[test]
    fn an_upgrade_and_another_device_are_told_from_another_configuration() {
        let planned = |versionless: &str| PlannedStage {
            stage: Stage::dense(&lopper_testkit::run_spec(Sparsity::DENSE, 9)),
            key: "key".into(),
            training_key: None,
            snapshots: Vec::new(),
            done: false,
            hands_on: false,
            versionless: versionless.into(),
            loaded: None,
        };
        let versions = |lopper: &str, device: &str| -> BTreeMap<String, String> {
            let pairs = [("Lopper", lopper), ("libtorch", "2.11.0"), ("device", device)];
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        };
        let writer = Writer::of(&planned("a"), &versions("0.0.9", "cuda"));
        let plan = [planned("b"), planned("a")];
        let differences = |now| writer.differences(&plan, &now);
        let both = "Lopper was 0.0.9 and is 0.1.0, device was cuda and is cpu";
        assert_eq!(differences(versions("0.1.0", "cpu")).as_deref(), Some(both));
        assert_eq!(differences(versions("0.0.9", "cpu")).as_deref(), Some("device was cuda and is cpu"));
        // Something is different and it is none of these, or the stage itself is.
        assert_eq!(differences(versions("0.0.9", "cuda")), None);
        assert_eq!(writer.differences(&plan[..1], &versions("0.1.0", "cpu")), None);
        assert_eq!(Writer::default().differences(&plan, &versions("0.1.0", "cpu")), None);
    }
}
