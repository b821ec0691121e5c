//! `lopper plan`: what a run would do.

use super::ConfigArguments;
use crate::output::{self, Table, count, quantity};
use lopper_core::Result;
use serde::Serialize;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,

    /// Print the configuration with every default instead; it is itself a configuration with the same plan
    #[arg(long)]
    resolved: bool,
}

#[derive(Serialize)]
struct Plan {
    method: &'static str,
    task: String,
    sparsity: f64,
    finetunings: usize,
    /// Finetunings that are not in the store.
    to_train: usize,
    updates: u64,
    updates_per_epoch: u64,
    stages: Vec<Stage>,
}

#[derive(Serialize)]
struct Stage {
    name: String,
    key: String,
    updates: u64,
    done: bool,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let mut experiment = self.config.load()?;
        if self.resolved {
            experiment.locate_model()?;
            return output::report(json, &experiment.to_table(), || experiment.to_toml());
        }
        let (method, task, sparsity) =
            (experiment.method(), experiment.task().name.clone(), experiment.sparsity().get());
        let session = experiment.into_session(Default::default())?;
        let stages = session.plan();
        let finetunings = || stages.iter().filter(|planned| planned.stage.is_finetuning());
        let plan = Plan {
            method,
            task,
            sparsity,
            finetunings: finetunings().count(),
            to_train: finetunings().filter(|planned| !planned.done).count(),
            updates: stages.iter().map(|planned| planned.stage.updates).sum(),
            updates_per_epoch: session.spec().updates_per_epoch,
            stages: stages
                .iter()
                .map(|planned| Stage {
                    name: planned.stage.name.clone(),
                    key: planned.key.clone(),
                    updates: planned.stage.updates,
                    done: planned.done,
                })
                .collect(),
        };
        output::report(json, &plan, || text(&plan))
    }
}

fn text(plan: &Plan) -> String {
    let mut table = Table::new(["<stage", "updates", "<key", "<"]);
    for stage in &plan.stages {
        let state = if stage.done { "in the store" } else { "to do" };
        table.row([stage.name.clone(), count(stage.updates), stage.key[..12].to_owned(), state.to_owned()]);
    }
    format!(
        "{} on {} at sparsity {}\n\n{}\n{} ({} to train), {}, {} an epoch",
        plan.method,
        plan.task,
        plan.sparsity,
        table.render(),
        quantity(plan.finetunings as u64, "finetuning"),
        plan.to_train,
        quantity(plan.updates, "update"),
        count(plan.updates_per_epoch),
    )
}
