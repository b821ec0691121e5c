//! `lopper status`: what a run has done, what it is doing, and what came in its way.

use crate::output::{self, Table, count, duration};
use lopper_core::{Error, Result};
use lopper_session::{RunState, RunStatus, StageStatus};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A run's directory, or a directory of runs
    #[arg(default_value = "runs")]
    directory: PathBuf,
}

/// One run's answer.
#[derive(Serialize)]
struct Run {
    path: String,
    #[serde(flatten)]
    status: RunStatus,
    /// Seconds that the rest takes at the present pace; null when there is no pace yet.
    seconds_left: Option<f64>,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let runs = runs(&self.directory)?;
        match runs.as_slice() {
            [run] => output::report(json, run, || text(run)),
            _ => output::report(json, &runs, || list(&runs)),
        }
    }
}

/// The run in `directory`, or else all those in the directories below it.
fn runs(directory: &Path) -> Result<Vec<Run>> {
    match read(directory) {
        Ok(run) => return Ok(vec![run]),
        Err(e) if directory.join("status.json").exists() || !directory.is_dir() => return Err(e),
        Err(_) => {}
    }
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(at) = directories.pop() {
        let entries = std::fs::read_dir(&at).map_err(|e| Error::file(&at, e))?;
        for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
            if path.join("status.json").is_file() {
                found.push(read(&path)?);
            } else if !path.is_symlink() && !path.join("stage.json").is_file() {
                directories.push(path);
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    if found.is_empty() {
        return Err(Error::file(directory, "holds no run of Lopper, nor does a directory below it"));
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Run> {
    let status = RunStatus::read(path)?;
    Ok(Run { path: path.display().to_string(), seconds_left: status.seconds_left(), status })
}

fn done(stage: &StageStatus) -> bool {
    stage.done >= stage.updates
}

/// The metric that a finished run came to, and its sparsity; empty where its status does not tell.
fn outcome(status: &RunStatus) -> (String, String) {
    let metric = status.metric.as_ref().map(|metric| format!("{} {:.4}", metric.name, metric.value));
    (metric.unwrap_or_default(), status.sparsity.map(|sparsity| format!("{sparsity:.6}")).unwrap_or_default())
}

/// How a run stands, and what to do about it.
fn state(run: &Run) -> String {
    let status = &run.status;
    match status.state {
        RunState::Running => match run.seconds_left {
            Some(seconds) => format!("running, about {} left", duration(seconds)),
            None => "running".to_owned(),
        },
        RunState::Interrupted => "interrupted; the same `lopper run` goes on from there".to_owned(),
        RunState::Killed => "killed; the same `lopper run` goes on from the last checkpoint".to_owned(),
        RunState::Failed => format!("failed: {}", status.error.as_deref().unwrap_or("no reason is on record")),
        RunState::Done => "done".to_owned(),
    }
}

fn text(run: &Run) -> String {
    let status = &run.status;
    let mut table = Table::new(["<stage", "updates", "done", "time", "<"]);
    let next = status.stages.iter().position(|stage| !done(stage));
    for (index, stage) in status.stages.iter().enumerate() {
        let what = match (done(stage), Some(index) == next) {
            (true, _) if stage.seconds == 0.0 => "from the store",
            (true, _) => "done",
            (false, true) if status.state == RunState::Running => "under way",
            (false, true) if stage.done > 0 => "saved",
            _ => "",
        };
        let time = if stage.seconds > 0.0 { duration(stage.seconds) } else { String::new() };
        table.row([stage.name.clone(), count(stage.updates), count(stage.done), time, what.to_owned()]);
    }
    let outcome = match outcome(status) {
        (metric, sparsity) if metric.is_empty() && sparsity.is_empty() => String::new(),
        (metric, sparsity) if metric.is_empty() => format!(", sparsity {sparsity}"),
        (metric, sparsity) => format!(", {metric} at sparsity {sparsity}"),
    };
    format!("{} on {} in {}: {}{outcome}\n\n{}", status.method, status.task, run.path, state(run), table.render())
}

fn list(runs: &[Run]) -> String {
    let mut table = Table::new(["<run", "<method", "<task", "stages", "<metric", "sparsity", "<"]);
    for run in runs {
        let status = &run.status;
        let stages = status.stages.iter().filter(|stage| done(stage)).count();
        let stages = format!("{stages}/{}", status.stages.len());
        let (metric, sparsity) = outcome(status);
        let (method, task) = (status.method.clone(), status.task.clone());
        table.row([run.path.clone(), method, task, stages, metric, sparsity, state(run)]);
    }
    table.render()
}
