//! Lopper's side of `cargo xtask bench`: an ordinary run that trains as many updates as each line of its input asks for,
//! answers their times, and stands still until the next line.
//!
//! `bench_worker CONFIG.toml` with `[data] name = "paced"`, which is `glue` with a clock. A number n on a line of standard
//! input lets n updates through; the answer is one line, a JSON array of n times in seconds. Before the first number comes
//! an answer without times: the process is ready. It ends with its input, without evaluating or saving anything.
#![allow(clippy::print_stdout, reason = "its answers go there")]

use lopper::{
    Batch, Dataset, DatasetEntry, DatasetRequest, Error, Experiment, MetricValue, Predictions, Result, Split, Task,
};
use lopper_glue::GlueOptions;
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Counts and times the updates that were asked for. A batch is fetched once an update, so the time of an update runs
/// from one fetch to the next: re-pruning, metrics and everything else of the loop included.
struct Pace {
    asked: usize,
    seconds: Vec<f64>,
    since: Option<Instant>,
}

impl Pace {
    /// Called at the start of every update.
    fn next_update(&mut self) -> std::io::Result<()> {
        if let Some(since) = self.since {
            self.seconds.push(since.elapsed().as_secs_f64());
        }
        if self.seconds.len() == self.asked {
            println!("{}", serde_json::json!(self.seconds));
            std::io::stdout().flush()?;
            self.asked = asked()?;
            self.seconds.clear();
        }
        self.since = Some(Instant::now());
        Ok(())
    }
}

/// The number on the next line. Ends the process with the input.
fn asked() -> std::io::Result<usize> {
    let mut line = String::new();
    if std::io::stdin().lock().read_line(&mut line)? == 0 {
        std::process::exit(0);
    }
    match line.trim().parse() {
        Ok(updates) if updates > 0 => Ok(updates),
        _ => Err(std::io::Error::other(format!("`{}`: expected a number of updates, from 1 up", line.trim()))),
    }
}

/// A GLUE task whose training batches come at the asked pace.
struct Paced {
    inner: Box<dyn Dataset>,
    pace: Mutex<Pace>,
}

impl Dataset for Paced {
    fn len(&self, split: &Split) -> usize {
        self.inner.len(split)
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        self.inner.cost(split, index)
    }

    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        if *split == Split::TRAIN {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.next_update().map_err(|e| Error::Other(format!("the pace of updates: {e}")))?;
        }
        self.inner.batch(split, indices)
    }

    fn task(&self) -> &Task {
        self.inner.task()
    }

    fn evaluation_splits(&self) -> Vec<Split> {
        self.inner.evaluation_splits()
    }

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<MetricValue>> {
        self.inner.evaluate(split, outputs)
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }
}

fn open(request: &DatasetRequest<'_>) -> Result<Box<dyn Dataset>> {
    let pace = Mutex::new(Pace { asked: 0, seconds: Vec::new(), since: None });
    Ok(Box::new(Paced { inner: Box::new(lopper_glue::open(request)?), pace }))
}

inventory::submit! {
    DatasetEntry {
        name: "paced",
        summary: "glue, with updates counted and timed from outside",
        options: GlueOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        task: lopper_glue::task,
        open,
    }
}

fn run() -> Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or_else(|| Error::Other("usage: bench_worker CONFIG.toml".into()))?;
    Experiment::load(&path, &[], None)?.into_session(Default::default())?.run()?;
    Err(Error::Other(format!("{}: more updates were asked for than `train.updates` has", path.display())))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
