//! `lopper plan`: what a run would do.

use super::ConfigArguments;
use crate::Outline;
use crate::output::{self, Table, count, quantity, size};
use crate::sweep::SweepPlan;
use lopper_core::{Error, Result, Sparsity};
use lopper_session::{DiskNeeds, StoreCache, warn_of_long_intervals};
use serde::Serialize;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,

    /// Print the configuration with every default instead; it is itself a configuration with the same plan
    #[arg(long)]
    resolved: bool,

    /// Plan from the configuration alone: neither model nor data need be there, and what is done already is not told
    #[arg(long, conflicts_with = "resolved")]
    outline: bool,
}

#[derive(Serialize)]
struct Plan {
    method: &'static str,
    task: Option<String>,
    /// Absent from an outline that leaves it to a mask.
    sparsity: Option<f64>,
    finetunings: usize,
    /// Finetunings that are not in the store; absent from an outline.
    #[serde(skip_serializing_if = "Option::is_none")]
    to_train: Option<usize>,
    updates: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    updates_per_epoch: Option<u64>,
    stages: Vec<Stage>,
    /// Absent from an outline.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<Disk>,
}

/// Where the run writes, and how much at the most.
#[derive(Serialize)]
struct Disk {
    store_dir: PathBuf,
    out_dir: PathBuf,
    #[serde(flatten)]
    bytes: DiskNeeds,
}

#[derive(Serialize)]
struct Stage {
    name: String,
    updates: u64,
    #[serde(flatten)]
    stored: Option<Stored>,
}

/// What only the whole session knows of a stage.
#[derive(Serialize)]
struct Stored {
    key: String,
    done: bool,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        if let Some(sweep) = self.config.sweep()? {
            if self.resolved {
                let expected = "a single run's; a sweep leaves each cell's in cells/NAME/config.toml";
                return Err(Error::invalid("--resolved", self.config.config.display(), expected));
            }
            let (outlines, graph) = sweep.outline()?;
            sweep.warn(&outlines, &graph);
            let plan = SweepPlan::of(&sweep, &outlines, &graph);
            return output::report(json, &plan, || plan.text());
        }
        if self.outline {
            let outline = self.config.outline()?;
            warn_of_long_intervals(&outline.stages);
            let plan = Plan::outlined(outline);
            return output::report(json, &plan, || text(&plan));
        }
        let mut experiment = self.config.load()?;
        if self.resolved {
            experiment.locate_model()?;
            return output::report(json, &experiment.to_table(), || experiment.to_toml());
        }
        let (method, task) = (experiment.method(), experiment.task().name.clone());
        let (store_dir, out_dir) = (experiment.store().to_owned(), experiment.out().to_owned());
        let session = experiment.into_session(Default::default(), &StoreCache::new(&store_dir, false))?;
        let stages = session.plan();
        warn_of_long_intervals(session.stages());
        let finetunings = || stages.iter().filter(|planned| planned.stage.is_finetuning());
        let plan = Plan {
            method,
            task: Some(task),
            sparsity: Some(session.spec().sparsity.get()),
            finetunings: finetunings().count(),
            to_train: Some(finetunings().filter(|planned| !planned.done).count()),
            updates: stages.iter().map(|planned| planned.stage.updates).sum(),
            updates_per_epoch: Some(session.spec().updates_per_epoch),
            stages: stages
                .iter()
                .map(|planned| Stage {
                    name: planned.stage.name.clone(),
                    updates: planned.stage.updates,
                    stored: Some(Stored { key: planned.key.clone(), done: planned.done }),
                })
                .collect(),
            disk: Some(Disk { store_dir, out_dir, bytes: session.disk_needs() }),
        };
        output::report(json, &plan, || text(&plan))
    }
}

impl Plan {
    fn outlined(outline: Outline) -> Self {
        let Outline { method, task, sparsity, stages } = outline;
        Self {
            method,
            task,
            sparsity: sparsity.map(Sparsity::get),
            finetunings: stages.iter().filter(|stage| stage.is_finetuning()).count(),
            to_train: None,
            updates: stages.iter().map(|stage| stage.updates).sum(),
            updates_per_epoch: None,
            disk: None,
            stages: stages
                .into_iter()
                .map(|stage| Stage { name: stage.name, updates: stage.updates, stored: None })
                .collect(),
        }
    }
}

fn text(plan: &Plan) -> String {
    let mut table = Table::new(["<stage", "updates", "<key", "<"]);
    for stage in &plan.stages {
        let (key, state) = match &stage.stored {
            Some(Stored { key, done: true }) => (&key[..12], "in the store"),
            Some(Stored { key, done: false }) => (&key[..12], "to do"),
            None => ("-", ""),
        };
        table.row([stage.name.clone(), count(stage.updates), key.to_owned(), state.to_owned()]);
    }
    let on = plan.task.as_ref().map(|task| format!(" on {task}")).unwrap_or_default();
    let to_train = plan.to_train.map(|finetunings| format!(" ({finetunings} to train)")).unwrap_or_default();
    let epoch = plan.updates_per_epoch.map(|updates| format!(", {} an epoch", count(updates))).unwrap_or_default();
    let disk = plan.disk.as_ref().map(|disk| {
        let Disk { store_dir, out_dir, bytes } = disk;
        let (store, out, together) = (size(bytes.store), size(bytes.out), size(bytes.together));
        let (store_dir, out_dir) = (store_dir.display(), out_dir.display());
        format!("\ndisk, at the most: {store} in {store_dir}, {out} in {out_dir}, {together} in both at a time")
    });
    format!(
        "{}{on} at {}\n\n{}\n{}{to_train}, {}{epoch}{}",
        plan.method,
        plan.sparsity.map_or("the sparsity of its mask".to_owned(), |sparsity| format!("sparsity {sparsity}")),
        table.render(),
        quantity(plan.finetunings as u64, "finetuning"),
        quantity(plan.updates, "update"),
        disk.unwrap_or_default(),
    )
}
