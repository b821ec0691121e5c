//! What a run directory holds already: progress of another run is not thrown away, and its result not unasked.

use crate::checkpoint::CheckpointStore;
use crate::predictions;
use crate::tensorboard;
use crate::{CheckpointRecord, PlannedStage, Precision, RunRecord, RunState, RunStatus, StageStore};
use lopper_core::{Error, Result};
use lopper_weights::files;
use std::collections::BTreeMap;
use std::path::Path;

/// What a run that begins says of itself.
pub(crate) struct Begins<'a> {
    pub(crate) method: &'a str,
    pub(crate) seed: u64,
    pub(crate) precision: Precision,
    pub(crate) device: &'a str,
    /// Whether it may take the place of another one.
    pub(crate) replace: bool,
}

/// Refuses a run directory whose checkpoints belong to no stage of `plan`: going on would begin at update 0 and remove them.
/// Likewise one that holds the finished run of another configuration, unless that is to be replaced: then its record, model,
/// mask, predictions and event files go, so that the directory is never half the one run and half the other. Its stages stay in the store.
///
/// # Errors
/// [`Error::File`] naming the directory, what it holds, who wrote that, and what to do; what cannot be removed.
pub(crate) fn make_way(
    out: &Path,
    plan: &[PlannedStage],
    versions: &BTreeMap<String, String>,
    store: &StageStore,
    run: &Begins<'_>,
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
    let Some(what) = finished(out, &keys, run) else { return Ok(()) };
    if !run.replace {
        let why =
            format!("holds the finished run {what}; give another --out, or --replace to have this run in its place");
        return Err(Error::file(out, why));
    }
    tracing::warn!("{}: replaces the finished run {what}; `lopper gc` no longer keeps its stages", out.display());
    // The record goes last: until then an attempt that was cut short is made again.
    lopper_weights::remove_saved_model(&out.join(RunRecord::MODEL))?;
    files::remove_file(&out.join(RunRecord::LONE_MASK))?;
    predictions::remove(out)?;
    tensorboard::remove(out)?;
    files::remove_file(&out.join(RunRecord::FILE))
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

/// The finished run in the directory, in words, unless it is this one: the same method, and stages of the same plan keys, in
/// order. What changes no stage, such as how it is judged, saved and checkpointed, changes no run. Two methods may consist of the
/// same stages, and yet are two rows of a table.
fn finished(out: &Path, keys: &[&str], run: &Begins<'_>) -> Option<String> {
    let bytes = std::fs::read(out.join(RunRecord::FILE)).ok()?;
    let is_this =
        |method: &str, stages: &mut dyn Iterator<Item = &str>| method == run.method && stages.eq(keys.iter().copied());
    match RunRecord::from_bytes(&bytes) {
        Ok(record) if is_this(&record.method, &mut record.stages.iter().map(|stage| stage.plan.as_str())) => None,
        Ok(record) => {
            let RunRecord { method, task, sparsity, .. } = &record;
            Some(format!(
                "of another configuration, {method} on {task} at sparsity {sparsity:.4}{}",
                differences(&record, run)
            ))
        }
        // A damaged record is written anew by the run whose it is, which the status tells as well.
        Err(e) => match RunStatus::read(out) {
            Ok(status)
                if status.state == RunState::Done
                    && is_this(&status.method, &mut status.stages.iter().map(|stage| stage.key.as_str())) =>
            {
                None
            }
            _ => Some(format!("of a configuration that cannot be told, as its record {e}")),
        },
    }
}

/// What the record of another run tells that it differs in, where method, task and sparsity may be the same.
fn differences(record: &RunRecord, run: &Begins<'_>) -> String {
    let precision = |precision: Precision| format!("{precision:?}").to_lowercase();
    let pairs = [
        ("seed", record.seed.to_string(), run.seed.to_string()),
        ("precision", precision(record.precision), precision(run.precision)),
        ("device", record.device.clone(), run.device.to_owned()),
    ];
    let differ = pairs.into_iter().filter(|(_, there, here)| there != here);
    differ.map(|(what, there, here)| format!(", with {what} {there} instead of {here}")).collect()
}
