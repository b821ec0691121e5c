//! `lopper completions`: what a shell needs to complete commands and flags.

use crate::output;
use clap::CommandFactory;
use clap_complete::Shell;
use lopper_core::{Error, Result};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The shell; where its completions are kept is the shell's own matter, such as
    /// ~/.local/share/bash-completion/completions/lopper
    shell: Shell,
}

impl Arguments {
    pub(super) fn execute(&self) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::Arguments::command(), "lopper", &mut script);
        let script = String::from_utf8(script).map_err(|e| Error::Other(format!("the completions: {e}")))?;
        output::print(&script)
    }
}
