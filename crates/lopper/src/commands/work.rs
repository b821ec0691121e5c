//! `lopper work`: takes part in a sweep that was started.

use crate::signals::stop_on_signals;
use crate::sweep::Sweep;
use lopper_core::Result;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A sweep's directory, in which `lopper run` has begun
    directory: PathBuf,

    /// Read every file of the data again, also those that have not changed since a run looked at them
    #[arg(long)]
    verify: bool,
}

impl Arguments {
    pub(super) fn execute(&self) -> Result<()> {
        let stop = stop_on_signals(super::INTERRUPTED)?;
        Sweep::of_directory(&self.directory)?.take_part(&stop, self.verify, |told| eprintln!("{}", told.line()))
    }
}
