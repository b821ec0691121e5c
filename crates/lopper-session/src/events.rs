//! Metrics as JSON lines, appended while training.

use crate::tensorboard::EventFiles;
use crate::{Counts, SplitMetrics};
use lopper_core::{Error, Measures, Result};
use serde::{Deserialize, Deserializer, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One line of `metrics.jsonl`. Lines hold no times, so that a continued run writes the same bytes as one that was
/// never stopped.
///
/// The lines that a stage has in the store are those of its updates and masks alone, and name no stage: whoever takes the
/// stage from there calls it by a name of its own, and judges it as it likes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event<'a> {
    /// A stage begins.
    Stage { name: Cow<'a, str>, key: Cow<'a, str>, updates: u64 },
    /// One update. Not finite values are written as null.
    Update {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Cow<'a, str>>,
        update: u64,
        #[serde(deserialize_with = "nan_if_null")]
        loss: f64,
        #[serde(deserialize_with = "nan_if_null")]
        learning_rate: f64,
        #[serde(deserialize_with = "nan_if_null")]
        gradient_norm: f64,
        skipped: bool,
        #[serde(default, skip_serializing_if = "Counts::is_empty")]
        counts: Counts,
    },
    /// The mask changed.
    Mask {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Cow<'a, str>>,
        update: u64,
        sparsity: f64,
        revived: u64,
    },
    /// Numbers of the method's own; at update 0 of its first mask.
    Measures {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Cow<'a, str>>,
        update: u64,
        #[serde(deserialize_with = "nan_if_null_in")]
        measures: Measures,
    },
    /// A validation of mask ⊙ weights.
    Validation { stage: Cow<'a, str>, update: u64, splits: Cow<'a, [SplitMetrics]> },
}

impl<'a> Event<'a> {
    /// The same as a line of the stage `name`.
    fn of(mut self, name: &'a str) -> Self {
        if let Self::Update { stage, .. } | Self::Mask { stage, .. } | Self::Measures { stage, .. } = &mut self {
            *stage = Some(name.into());
        }
        self
    }

    fn update(&self) -> u64 {
        match self {
            Self::Stage { .. } => 0,
            Self::Update { update, .. }
            | Self::Mask { update, .. }
            | Self::Measures { update, .. }
            | Self::Validation { update, .. } => *update,
        }
    }

    fn write_to(&self, lines: &mut Vec<u8>) -> Result<()> {
        serde_json::to_writer(&mut *lines, self).map_err(|e| Error::Other(format!("a line of metrics: {e}")))?;
        lines.push(b'\n');
        Ok(())
    }
}

fn nan_if_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

fn nan_if_null_in<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Measures, D::Error> {
    let read = BTreeMap::<String, Option<f64>>::deserialize(deserializer)?;
    Ok(read.into_iter().map(|(name, value)| (name, value.unwrap_or(f64::NAN))).collect())
}

/// The lines of a stage's updates and masks, as they go into checkpoints and into the store.
///
/// Clones share them until one of them grows, so that a state that stands ready to be saved costs no copy.
#[derive(Debug, Clone, Default)]
pub(crate) struct TrainingLines(Arc<Vec<u8>>);

impl TrainingLines {
    /// Lines that were kept.
    pub(crate) fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(Arc::new(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn push(&mut self, event: &Event<'_>) -> Result<()> {
        event.write_to(Arc::make_mut(&mut self.0))
    }

    /// All lines of `metrics.jsonl` that belong to a stage: its first, those of its updates and masks up to `update`, and
    /// after each update what `validated` says of it.
    ///
    /// # Errors
    /// [`Error::Other`] when a line is none.
    pub(crate) fn told(
        &self,
        (name, key, updates): (&str, &str, u64),
        until: u64,
        validated: impl Fn(u64) -> Option<Vec<SplitMetrics>>,
    ) -> Result<Vec<u8>> {
        let mut told = Vec::with_capacity(self.0.len() * 5 / 4);
        Event::Stage { name: name.into(), key: key.into(), updates }.write_to(&mut told)?;
        let validation = |update: u64, told: &mut Vec<u8>| match validated(update) {
            Some(splits) => Event::Validation { stage: name.into(), update, splits: splits.into() }.write_to(told),
            None => Ok(()),
        };
        let mut reached = 0;
        for line in self.0.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let event: Event<'_> =
                serde_json::from_slice(line).map_err(|e| Error::Other(format!("a line of metrics: {e}")))?;
            let update = event.update();
            if update > until {
                break;
            }
            if update > reached {
                validation(reached, &mut told)?;
                reached = update;
            }
            event.of(name).write_to(&mut told)?;
        }
        validation(reached.max(until), &mut told)?;
        Ok(told)
    }
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
    /// What is made of the lines for TensorBoard, where that is wanted.
    event_files: Option<EventFiles>,
}

impl EventLog {
    /// Opens the log at `path`. Lines of an earlier sitting stay until other ones take their place.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).open(path);
        let file = file.map_err(|e| Error::file(path, e))?;
        Ok(Self { path: path.to_owned(), file, stage_start: 0, end: 0, stale: true, event_files: None })
    }

    /// The same, with event files of its lines.
    pub(crate) fn with_event_files(self, event_files: Option<EventFiles>) -> Self {
        Self { event_files, ..self }
    }

    /// Begins a stage behind the lines of those before it.
    pub(crate) fn begin_stage(&mut self) -> Result<()> {
        self.stage_start = self.end;
        self.event_files.as_mut().map_or(Ok(()), EventFiles::begin_stage)
    }

    /// The stage has these lines so far, whatever was told of it before: none, those up to its checkpoint, or all of a stored
    /// stage.
    pub(crate) fn tell_stage(&mut self, lines: &[u8]) -> Result<()> {
        self.end = self.stage_start;
        self.stale = true;
        if self.holds(lines).map_err(|e| Error::file(&self.path, e))? {
            self.end += lines.len() as u64;
        } else {
            self.append(lines)?;
        }
        self.event_files.as_mut().map_or(Ok(()), |files| files.tell(lines))
    }

    /// Appends a line, of the stage `stage` if it is one of an update or a mask.
    pub(crate) fn write(&mut self, stage: &str, event: &Event<'_>) -> Result<()> {
        let mut line = Vec::new();
        event.clone().of(stage).write_to(&mut line)?;
        self.append(&line)?;
        self.event_files.as_mut().map_or(Ok(()), |files| files.append(&line))
    }

    /// Cuts off what an earlier sitting wrote beyond the last line, and waits for the disk.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.append(&[])?;
        self.file.sync_all().map_err(|e| Error::file(&self.path, e))?;
        self.event_files.as_mut().map_or(Ok(()), EventFiles::end_stage)
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
    use lopper_core::{MetricValue, Split};

    fn line(update: u64) -> Event<'static> {
        let (loss, gradient_norm) = (if update == 2 { f64::NAN } else { 0.1 * update as f64 }, 1.0 / 3.0);
        let counts = Counts::new();
        Event::Update { stage: None, update, loss, learning_rate: 1e-3, gradient_norm, skipped: update == 2, counts }
    }

    fn lines() -> TrainingLines {
        let mut lines = TrainingLines::default();
        for update in 1..=3 {
            lines.push(&line(update)).unwrap();
            if update == 2 {
                lines.push(&Event::Mask { stage: None, update, sparsity: 0.5, revived: 7 }).unwrap();
            }
        }
        lines
    }

    fn metrics(value: f64) -> Vec<SplitMetrics> {
        vec![SplitMetrics { split: Split::VALIDATION, metrics: vec![MetricValue { name: "f1".into(), value }] }]
    }

    #[test]
    fn lines_are_told_under_the_name_of_whoever_tells_them() {
        let validated = |update: u64| (update > 1).then(|| metrics(update as f64));
        let told = lines().told(("mine", "k", 3), 3, validated).unwrap();
        let told = String::from_utf8(told).unwrap();
        let events: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let kinds: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["stage", "update", "update", "mask", "validation", "update", "validation"]);
        assert_eq!((&events[0]["name"], &events[0]["updates"]), (&"mine".into(), &3.into()));
        assert!(events[1..].iter().all(|event| event["stage"] == "mine"), "{told}");
        assert_eq!((&events[2]["loss"], &events[5]["loss"]), (&serde_json::Value::Null, &(0.1f64 * 3.0).into()));
        assert_eq!(events[6]["splits"][0]["metrics"][0]["value"], 3.0);
        // As they are written while they happen.
        let directory = tempfile::tempdir().unwrap();
        let mut log = EventLog::open(&directory.path().join("metrics.jsonl")).unwrap();
        log.tell_stage(&lines().told(("mine", "k", 3), 0, |_| None).unwrap()).unwrap();
        for update in 1..=3 {
            log.write("mine", &line(update)).unwrap();
            if update == 2 {
                log.write("mine", &Event::Mask { stage: None, update, sparsity: 0.5, revived: 7 }).unwrap();
            }
            if let Some(splits) = validated(update) {
                log.write("mine", &Event::Validation { stage: "mine".into(), update, splits: splits.into() }).unwrap();
            }
        }
        assert_eq!(std::fs::read_to_string(directory.path().join("metrics.jsonl")).unwrap(), told);
    }

    #[test]
    fn a_stage_is_told_as_far_as_it_has_come() {
        let told = |until| {
            let told = lines().told(("s", "k", 3), until, |_| Some(Vec::new())).unwrap();
            String::from_utf8(told).unwrap().lines().count()
        };
        // The first line, those of the updates and of the mask, and a validation after each update and at the start.
        assert_eq!([0, 1, 2, 3].map(told), [2, 4, 7, 9]);
        assert!(TrainingLines::from_bytes(b"{}\n".to_vec()).told(("s", "k", 3), 3, |_| None).is_err());
    }

    #[test]
    fn a_log_that_is_told_again_what_it_holds_is_not_touched() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.jsonl");
        let mut log = EventLog::open(&path).unwrap();
        let (first, second) = (b"{\"a\": 1}\n", b"{\"bb\": 2}\n");
        log.tell_stage(first).unwrap();
        log.begin_stage().unwrap();
        log.tell_stage(b"half").unwrap();
        log.tell_stage(second).unwrap();
        log.finish().unwrap();
        let whole = [&first[..], second].concat();
        assert_eq!(std::fs::read(&path).unwrap(), whole);

        let mut again = EventLog::open(&path).unwrap();
        again.tell_stage(first).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "the later lines stay until others come");
        again.begin_stage().unwrap();
        again.tell_stage(&second[..5]).unwrap();
        again.write("s", &line(1)).unwrap();
        let changed = std::fs::read(&path).unwrap();
        assert!(changed.starts_with(&whole[..first.len() + 5]) && changed.ends_with(b"\"skipped\":false}\n"));

        let mut shorter = EventLog::open(&path).unwrap();
        shorter.tell_stage(first).unwrap();
        shorter.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
    }
}
