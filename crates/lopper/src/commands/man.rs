//! `lopper man`: manual pages.

use crate::output;
use clap::CommandFactory;
use clap_mangen::Man;
use lopper_core::{Error, Result};
use lopper_weights::files;
use std::path::PathBuf;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Write a page for every command into this directory, such as ~/.local/share/man/man1, instead of printing
    /// lopper's own
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn execute(&self) -> Result<()> {
        let command = super::Arguments::command().disable_help_subcommand(true);
        match &self.out {
            None => output::print(&page(command)?),
            Some(directory) => {
                files::create_dir(directory)?;
                clap_mangen::generate_to(command, directory)
                    .map_err(|e| Error::file_caused(directory, "the manual pages cannot be written", e))?;
                output::print(&format!("wrote a page for every command into {}", directory.display()))
            }
        }
    }
}

fn page(command: clap::Command) -> Result<String> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page).map_err(|e| Error::Other(format!("the manual page: {e}")))?;
    String::from_utf8(page).map_err(|e| Error::Other(format!("the manual page: {e}")))
}
