//! Lopper's side of `cargo xtask bench`: an ordinary run that trains as many updates as each line of its input asks for,
//! answers their times, and stands still until the next line.
//!
//! `bench_worker CONFIG.toml` with `[model] name = "paced-bert"` or `"paced-wav2vec2"`, which are `bert` and `wav2vec2` with a
//! clock. A number n on a line of standard input lets n updates through; the answer is one line, a JSON array of n times in
//! seconds. Before the first number comes an answer without times: the process is ready. It ends with its input, without
//! evaluating or saving anything.
#![allow(clippy::print_stdout, reason = "its answers go there")]

use lopper::session::StoreCache;
use lopper::{
    Artifact, Batch, Error, Experiment, Head, Loss, Mode, Model, ModelEntry, ParameterName, Parameters, Predictions,
    Preprocessor, Result,
};
use lopper_bert::{BertModel, BertOptions};
use lopper_wav2vec2::{Wav2Vec2Model, Wav2Vec2Options};
use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tch::Device;

/// Counts and times the updates that were asked for. With one micro-batch an update, the time of an update runs from one
/// loss to the next: re-pruning, metrics and everything else of the loop included. Batches are not a measure: they are
/// fetched ahead.
struct Pace {
    device: Device,
    asked: usize,
    seconds: Vec<f64>,
    since: Option<Instant>,
}

impl Pace {
    /// Called at the start of every update.
    fn next_update(&mut self) -> std::io::Result<()> {
        if let Device::Cuda(index) = self.device {
            // What the last update left for the GPU to do is part of its time.
            tch::Cuda::synchronize(index as i64);
        }
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

/// A model whose training goes at the asked pace.
struct Paced {
    inner: Box<dyn Model>,
    pace: Mutex<Pace>,
}

impl Model for Paced {
    fn parameters(&self) -> &Parameters {
        self.inner.parameters()
    }

    fn prunable(&self) -> &[ParameterName] {
        self.inner.prunable()
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        if mode == Mode::Train {
            let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.next_update().map_err(|e| Error::Other(format!("the pace of updates: {e}")))?;
        }
        self.inner.loss(batch, mode)
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        self.inner.predict(batch)
    }

    fn head(&self) -> Option<&Head> {
        self.inner.head()
    }

    fn preprocessor(&self) -> Option<Arc<dyn Preprocessor>> {
        self.inner.preprocessor()
    }

    fn identity(&self) -> String {
        self.inner.identity()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        self.inner.artifacts()
    }
}

fn paced(inner: impl Model + 'static) -> Box<dyn Model> {
    let device = inner.parameters().iter().next().map_or(Device::Cpu, |parameter| parameter.tensor.device());
    let pace = Mutex::new(Pace { device, asked: 0, seconds: Vec::new(), since: None });
    Box::new(Paced { inner: Box::new(inner), pace })
}

inventory::submit! {
    ModelEntry::new(
        "paced-bert",
        "bert, with updates counted and timed from outside",
        BertOptions::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        |_| false,
        |request| BertModel::open(request).map(paced),
    )
}

inventory::submit! {
    ModelEntry::new(
        "paced-wav2vec2",
        "wav2vec2, with updates counted and timed from outside",
        Wav2Vec2Options::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        |_| false,
        |request| Wav2Vec2Model::open(request).map(paced),
    )
}

fn run() -> Result<()> {
    let path = std::env::args_os().nth(1).map(PathBuf::from);
    let path = path.ok_or_else(|| Error::Other("usage: bench_worker CONFIG.toml".into()))?;
    let experiment = Experiment::load(&path, &[], None)?;
    let cache = StoreCache::new(experiment.store(), false);
    experiment.into_session(Default::default(), &cache)?.run()?;
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
