//! `lopper rm`: removes runs, and drops what they needed of their stores.

use crate::output::{self, agreed, quantity};
use lopper_core::{Error, Result};
use lopper_session::{RemovableRun, removable};
use serde::Serialize;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Directories of runs; also of runs whose directory is gone
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// The store in which to look for runs whose directory is gone
    #[arg(long, default_value = "runs/store")]
    store: PathBuf,
    /// Remove without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    runs: &'a [PathBuf],
    removed: bool,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let (mut runs, mut problems) = (Vec::new(), Vec::new());
        for run in &self.runs {
            match removable(run, &self.store) {
                Ok(run) => runs.push(run),
                Err(e) => problems.push(e),
            }
        }
        Error::all(problems)?;
        if !json && !self.yes {
            output::print(&list(&runs))?;
        }
        let remove = self.yes || (!json && agreed("remove them?")?);
        if remove {
            runs.into_iter().try_for_each(RemovableRun::remove)?;
        }
        output::report(json, &Answer { runs: &self.runs, removed: remove }, || match remove {
            true => format!(
                "{} removed; `lopper gc` frees the stages that no other run needs",
                quantity(self.runs.len() as u64, "run")
            ),
            false => "nothing was removed; --yes removes without asking".to_owned(),
        })
    }
}

fn list(runs: &[RemovableRun]) -> String {
    let lines: String = runs.iter().map(|run| format!("  {run}\n")).collect();
    format!("with everything in them:\n\n{lines}")
}
