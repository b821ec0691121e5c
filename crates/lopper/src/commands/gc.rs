//! `lopper gc`: frees what no run refers to.

use crate::output::{self, Table, quantity, size};
use lopper_core::{Error, Result};
use lopper_session::{LEASE, Reference, StageStore, Unreferenced};
use serde::Serialize;
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
    /// Runs whose stages are kept although their directories are not to be seen from here.
    unseen: &'a [Unseen],
}

#[derive(Serialize)]
struct Unseen {
    run: PathBuf,
    host: String,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        if !self.store.is_dir() {
            return Err(Error::file(&self.store, "is no directory; the store of a run was expected (its run.store)"));
        }
        let store = StageStore::open(&self.store, LEASE)?;
        let stages = store.unreferenced()?;
        let unseen = unseen(store.references()?);
        let bytes = stages.iter().map(|stage| stage.bytes).sum();
        if !json && !unseen.is_empty() {
            output::print(&kept(&unseen))?;
        }
        if !json && !self.yes && !stages.is_empty() {
            output::print(&list(&stages, bytes))?;
        }
        let question = || format!("remove them and free {}?", size(bytes));
        let remove = self.yes || (!json && !stages.is_empty() && output::agreed(&question())?);
        if remove {
            let keys: Vec<String> = stages.iter().map(|stage| stage.key.clone()).collect();
            store.remove(&keys)?;
        }
        let answer = Answer { store: &self.store, stages: &stages, bytes, removed: remove, unseen: &unseen };
        output::report(json, &answer, || match (stages.len(), remove) {
            (0, _) => format!("every stage in {} belongs to a run", self.store.display()),
            (some, true) => format!("{} removed, {} freed", quantity(some as u64, "stage"), size(bytes)),
            (_, false) => "nothing was removed; --yes removes without asking".to_owned(),
        })
    }
}

/// Runs whose directories may have been moved or removed, or lie on another machine.
fn unseen(references: Vec<Reference>) -> Vec<Unseen> {
    let unseen = references.into_iter().filter(|reference| !reference.run.is_dir());
    unseen.map(|Reference { run, host, .. }| Unseen { run, host }).collect()
}

fn kept(unseen: &[Unseen]) -> String {
    let runs: String =
        unseen.iter().map(|run| format!("  {} (last run on {})\n", run.run.display(), run.host)).collect();
    format!(
        "kept, although their directories are not to be seen from here:\n\n{runs}\n`lopper rm RUN` drops what a run needs, once it \
         is gone for good\n"
    )
}

fn list(stages: &[Unreferenced], bytes: u64) -> String {
    let mut table = Table::new(["<stage", "<key", "size"]);
    for stage in stages {
        let name = stage.name.as_deref().unwrap_or("(cannot be read)");
        table.row([name.to_owned(), stage.key[..12].to_owned(), size(stage.bytes)]);
    }
    table.row(["all".to_owned(), String::new(), size(bytes)]);
    format!("no run refers to:\n\n{}", table.render())
}
