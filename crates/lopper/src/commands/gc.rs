//! `lopper gc`: frees what no run refers to.

use crate::output::{self, Table, quantity, size};
use lopper_core::{Error, Result};
use lopper_session::{StageStore, Unreferenced};
use serde::Serialize;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The store of finished stages, `run.store` in configurations
    #[arg(default_value = "runs/store")]
    store: PathBuf,
    /// Remove without asking
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Answer<'a> {
    store: &'a Path,
    stages: &'a [Unreferenced],
    bytes: u64,
    removed: bool,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        if !self.store.is_dir() {
            return Err(Error::file(&self.store, "is no directory; the store of a run was expected (its run.store)"));
        }
        let store = StageStore::new(&self.store);
        let stages = store.unreferenced()?;
        let bytes = stages.iter().map(|stage| stage.bytes).sum();
        if !json && !self.yes && !stages.is_empty() {
            output::print(&list(&stages, bytes))?;
        }
        let remove = self.yes || (!json && !stages.is_empty() && agreed(bytes)?);
        if remove {
            let keys: Vec<String> = stages.iter().map(|stage| stage.key.clone()).collect();
            store.remove(&keys)?;
        }
        let answer = Answer { store: &self.store, stages: &stages, bytes, removed: remove };
        output::report(json, &answer, || match (stages.len(), remove) {
            (0, _) => format!("every stage in {} belongs to a run", self.store.display()),
            (some, true) => format!("{} removed, {} freed", quantity(some as u64, "stage"), size(bytes)),
            (_, false) => "nothing was removed; --yes removes without asking".to_owned(),
        })
    }
}

/// Asks on a terminal; anywhere else nobody can agree.
fn agreed(bytes: u64) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    eprint!("remove them and free {}? [y/N] ", size(bytes));
    let mut answer = String::new();
    std::io::stderr()
        .flush()
        .and_then(|()| std::io::stdin().read_line(&mut answer))
        .map_err(|e| Error::Other(format!("standard input: {e}")))?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn list(stages: &[Unreferenced], bytes: u64) -> String {
    let mut table = Table::new(["<stage", "<key", "size"]);
    for stage in stages {
        let name = stage.name.as_deref().unwrap_or("(cannot be read)");
        table.row([name.to_owned(), stage.key[..12].to_owned(), size(stage.bytes)]);
    }
    table.row(["all".to_owned(), String::new(), size(bytes)]);
    format!("no run directory refers to:\n\n{}", table.render())
}
