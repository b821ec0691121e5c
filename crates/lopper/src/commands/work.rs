//! `lopper work`: takes part in a sweep that was started.

use crate::signals::stop_on_signals;
use crate::sweep::{Sweep, Told};
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

    /// Leave the report to another process, also when all cells are done
    #[arg(long)]
    no_report: bool,
}

impl Arguments {
    pub(super) fn execute(&self) -> Result<()> {
        let stop = stop_on_signals(super::INTERRUPTED)?;
        let sweep = Sweep::of_directory(&self.directory)?;
        let told = |told: Told<'_>| eprintln!("{}", told.line());
        let Some(record) = sweep.take_part(&stop, self.verify, !self.no_report, told)? else { return Ok(()) };
        eprintln!("{}", record.text());
        record.result()
    }
}
