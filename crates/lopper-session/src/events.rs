//! Metrics as JSON lines, appended while training.

use lopper_core::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::SplitMetrics;

/// One line of `metrics.jsonl`. Lines hold no times, so that a continued run writes the same bytes as one that was
/// never stopped.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// A stage begins.
    Stage { name: &'a str, key: &'a str, updates: u64 },
    /// One update. Not finite values are written as null.
    Update { stage: &'a str, update: u64, loss: f64, learning_rate: f64, gradient_norm: f64, skipped: bool },
    /// The mask changed.
    Mask { stage: &'a str, update: u64, sparsity: f64, revived: u64 },
    /// A validation of mask ⊙ weights.
    Validation { stage: &'a str, update: u64, splits: &'a [SplitMetrics] },
}

/// The file they go to: the lines of every stage of the run in turn, whether this run trained it or not.
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
    /// Where the present stage begins.
    stage_start: u64,
}

impl EventLog {
    /// Begins an empty log at `path`.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| Error::file(path, e))?;
        Ok(Self { path: path.to_owned(), file, stage_start: 0 })
    }

    /// Begins a stage with the lines it has already: none, those of its checkpoint, or all of a stored stage.
    pub(crate) fn begin_stage(&mut self, lines: &[u8]) -> Result<()> {
        self.stage_start = self.file.stream_position().map_err(|e| Error::file(&self.path, e))?;
        self.file.write_all(lines).map_err(|e| Error::file(&self.path, e))
    }

    pub(crate) fn write(&mut self, event: &Event<'_>) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|e| Error::file(&self.path, e))?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|e| Error::file(&self.path, e))
    }

    /// The present stage's lines so far.
    pub(crate) fn stage_lines(&mut self) -> Result<Vec<u8>> {
        let mut lines = Vec::new();
        self.file
            .seek(SeekFrom::Start(self.stage_start))
            .and_then(|_| self.file.read_to_end(&mut lines))
            .map_err(|e| Error::file(&self.path, e))?;
        Ok(lines)
    }
}
