//! Metrics as JSON lines, appended while training.

use lopper_core::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::{Counts, SplitMetrics};

/// One line of `metrics.jsonl`. Lines hold no times, so that a continued run writes the same bytes as one that was
/// never stopped.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// A stage begins.
    Stage { name: &'a str, key: &'a str, updates: u64 },
    /// One update. Not finite values are written as null.
    Update {
        stage: &'a str,
        update: u64,
        loss: f64,
        learning_rate: f64,
        gradient_norm: f64,
        skipped: bool,
        #[serde(skip_serializing_if = "Counts::is_empty")]
        counts: &'a Counts,
    },
    /// The mask changed.
    Mask { stage: &'a str, update: u64, sparsity: f64, revived: u64 },
    /// Numbers of the method's own.
    Measures { stage: &'a str, update: u64, measures: &'a lopper_core::Measures },
    /// A validation of mask ⊙ weights.
    Validation { stage: &'a str, update: u64, splits: &'a [SplitMetrics] },
}

/// The file they go to: the lines of every stage of the run in turn, whether this run trained it or not.
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
    /// Where the present stage begins.
    stage_start: u64,
    /// Where the next line goes.
    end: u64,
    /// Whether the file may hold lines of an earlier sitting after `end`.
    stale: bool,
}

impl EventLog {
    /// Opens the log at `path`. Lines of an earlier sitting stay until other ones take their place.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(|e| Error::file(path, e))?;
        Ok(Self { path: path.to_owned(), file, stage_start: 0, end: 0, stale: true })
    }

    /// Begins a stage with the lines it has already: none, those of its checkpoint, or all of a stored stage.
    pub(crate) fn begin_stage(&mut self, lines: &[u8]) -> Result<()> {
        self.stage_start = self.end;
        if self.stale && self.holds(lines).map_err(|e| Error::file(&self.path, e))? {
            self.end += lines.len() as u64;
            return Ok(());
        }
        self.append(lines)
    }

    pub(crate) fn write(&mut self, event: &Event<'_>) -> Result<()> {
        let mut line = serde_json::to_vec(event).map_err(|e| Error::file(&self.path, e))?;
        line.push(b'\n');
        self.append(&line)
    }

    /// The present stage's lines so far.
    pub(crate) fn stage_lines(&mut self) -> Result<Vec<u8>> {
        let mut lines = vec![0; (self.end - self.stage_start) as usize];
        self.file
            .seek(SeekFrom::Start(self.stage_start))
            .and_then(|_| self.file.read_exact(&mut lines))
            .map_err(|e| Error::file(&self.path, e))?;
        Ok(lines)
    }

    /// Cuts off what an earlier sitting wrote beyond the last line, and waits for the disk.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.append(&[])?;
        self.file.sync_all().map_err(|e| Error::file(&self.path, e))
    }

    /// Whether these bytes are what the file holds next.
    fn holds(&mut self, lines: &[u8]) -> io::Result<bool> {
        let mut there = Vec::new();
        self.file.seek(SeekFrom::Start(self.end))?;
        (&self.file).take(lines.len() as u64).read_to_end(&mut there)?;
        Ok(there == lines)
    }

    fn append(&mut self, lines: &[u8]) -> Result<()> {
        let mut append = || {
            if self.stale {
                self.file.set_len(self.end)?;
            }
            self.file.seek(SeekFrom::Start(self.end))?;
            self.file.write_all(lines)
        };
        append().map_err(|e: io::Error| Error::file(&self.path, format!("cannot be written: {e}")))?;
        self.stale = false;
        self.end += lines.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(name: &str) -> Event<'_> {
        Event::Stage { name, key: "k", updates: 1 }
    }

    #[test]
    fn a_log_that_is_told_again_what_it_holds_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        log.begin_stage(&[]).unwrap();
        log.write(&stage("a")).unwrap();
        let first = log.stage_lines().unwrap();
        log.begin_stage(&[]).unwrap();
        log.write(&stage("b")).unwrap();
        let second = log.stage_lines().unwrap();
        log.finish().unwrap();
        let whole = [&first[..], &second].concat();
        assert_eq!(std::fs::read(&path).unwrap(), whole);

        let mut again = EventLog::open(&path).unwrap();
        again.begin_stage(&first).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "the later lines stay until others come");
        again.begin_stage(&second[..5]).unwrap();
        again.write(&stage("c")).unwrap();
        let changed = [&first[..], &second[..5], &again.stage_lines().unwrap()[5..]].concat();
        assert_eq!(std::fs::read(&path).unwrap(), changed);

        let mut shorter = EventLog::open(&path).unwrap();
        shorter.begin_stage(&first).unwrap();
        shorter.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }
}
