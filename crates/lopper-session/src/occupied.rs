//! What a run directory holds already: progress of another run is not thrown away, and its result not without a word.

use crate::checkpoint::CheckpointStore;
use crate::{CheckpointRecord, PlannedStage, RunRecord, StageStore};
use lopper_core::{Error, Result};
use std::collections::BTreeMap;
use std::path::Path;

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
