//! `lopper table`: the cells of a sweep, one row each.

use crate::output;
use crate::sweep::Sweep;
use lopper_core::Result;
use lopper_report::{Cell, State};
use lopper_weights::files;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A sweep's directory
    directory: PathBuf,

    /// Write everything that is known of each cell as CSV, too
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let sweep = Sweep::of_directory(&self.directory)?;
        let experiment = sweep.results(&sweep.outline()?.1)?;
        if let Some(path) = &self.csv {
            files::write_atomic(path, lopper_report::records_csv(&experiment.cells).as_bytes())?;
        }
        output::report(json, &experiment.cells, || text(&experiment.cells))
    }
}

fn text(cells: &[Cell]) -> String {
    let mut table = output::Table::new(["<cell", "<metric", "value", "sparsity", "finetunings", "<"]);
    for cell in cells {
        let metric = cell.result.as_ref().and_then(|result| result.metric(None));
        let state = match &cell.state {
            State::Done => String::new(),
            State::Failed(why) => format!("failed: {}", why.lines().next().unwrap_or_default()),
            other => other.word().to_owned(),
        };
        table.row([
            cell.name.clone(),
            metric.map_or_else(String::new, |metric| metric.name.clone()),
            metric.map_or_else(String::new, |metric| format!("{:.4}", metric.value)),
            cell.result.as_ref().map_or_else(String::new, |result| format!("{:.6}", result.sparsity)),
            cell.result.as_ref().map_or_else(String::new, |result| result.finetunings.to_string()),
            state,
        ]);
    }
    table.render()
}
