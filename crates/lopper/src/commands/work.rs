//! `lopper work`: takes part in a sweep that was started.

use crate::signals::stop_on_signals;
use crate::sweep::{Sweep, Told, Training};
use lopper_core::Result;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A sweep's directory, in which `lopper run` or `lopper submit` has begun
    directory: PathBuf,

    /// Read every file of the data again, also those that have not changed since a run looked at them
    #[arg(long)]
    verify: bool,

    /// Where to train, of the kind that the sweep's cells are trained on: cpu, cuda or cuda:N [default: what they say]
    #[arg(long)]
    device: Option<String>,

    /// Leave the report to another process, also when all cells are done
    #[arg(long)]
    no_report: bool,
}

impl Arguments {
    pub(super) fn execute(&self) -> Result<()> {
        let stop = stop_on_signals(super::INTERRUPTED)?;
        let sweep = Sweep::of_directory(&self.directory)?;
        let training = Training { stop: &stop, verify: self.verify, device: self.device.as_deref() };
        let told = |told: Told<'_>| eprintln!("{}", told.line());
        let Some(record) = sweep.take_part(training, !self.no_report, told)? else { return Ok(()) };
        eprintln!("{}", record.text());
        record.result()
    }
}
