//! Event files for TensorBoard, made of the lines of `metrics.jsonl` and of nothing else but the time of day.
//!
//! Every stage has a directory, and so is a run to TensorBoard: stages of several runs lie in one chart, each against its
//! own updates. In the end a directory holds one file with every point once.
//!
//! A TensorBoard that looks on reads on in the files it knows, and neither sees that one became shorter nor that another one
//! took its name (2.21.0, both of its readers). So a file only ever grows. Where it does not begin as the lines do, because a run was
//! killed beyond its checkpoint, a new file with all of them takes its place. It begins with a [`Record::Start`], at which
//! readers forget what the older one said. That one goes only when the stage is done, because the reader in Python (`--load_fast=false`)
//! stays for good with a file that vanishes while it is read.

mod record;

use self::record::{Record, wall_time_at};
use crate::Counts;
use lopper_core::{Error, Result};
use lopper_weights::files;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// In the run's directory, of all event files.
const DIRECTORY: &str = "tensorboard";
/// Of a file's name. TensorBoard takes files whose names hold `tfevents`, and reads those of a directory in the order of names.
const PREFIX: &str = "events.out.tfevents.";
/// Behind the number in a file's name, where others write their host's name: no other file is touched.
const SUFFIX: &str = ".lopper";
/// Most bytes of a stage's name in the name of its directory.
const LONGEST_NAME: usize = 80;

/// The event files of a run.
#[derive(Debug)]
pub(crate) struct EventFiles {
    /// The directories of all stages, in the order of the plan.
    stages: Vec<PathBuf>,
    /// Stages that have begun.
    begun: usize,
    /// The file of the present stage.
    present: Option<(PathBuf, File)>,
}

impl EventFiles {
    /// Those in the directory of a run with these stages, in order. What is there of other stages goes.
    ///
    /// # Errors
    /// [`Error::File`] naming what cannot be removed.
    pub(crate) fn open<'a>(out: &Path, stages: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let named = |(index, name): (usize, &str)| out.join(DIRECTORY).join(directory_name(index + 1, name));
        let stages: Vec<_> = stages.into_iter().enumerate().map(named).collect();
        remove_others(out, &stages)?;
        Ok(Self { stages, begun: 0, present: None })
    }

    /// The next stage begins.
    pub(crate) fn begin_stage(&mut self) -> Result<()> {
        self.end_stage()?;
        self.begun += 1;
        Ok(())
    }

    /// The stage has these lines so far. A file that holds other points, or more, is replaced; one that holds these or the first of
    /// them stays.
    pub(crate) fn tell(&mut self, lines: &[u8]) -> Result<()> {
        let unknown = || Error::Other("an event was told before its stage began; this is a bug".into());
        let directory = self.begun.checked_sub(1).and_then(|stage| self.stages.get(stage)).ok_or_else(unknown)?;
        files::create_dir(directory)?;
        files::sweep(directory);
        let newest = own_files(directory)?.pop();
        let there = match &newest {
            Some((_, path)) => fs::read(path).map_err(|e| Error::file(path, e))?,
            None => Vec::new(),
        };
        let whole = whole(lines, &there)?;
        let (path, rest) = match (newest, whole.strip_prefix(&there[..])) {
            (Some((_, path)), Some(rest)) => (path, rest),
            (newest, _) => {
                // The clock of another machine, or of this one before it was set, may have been ahead.
                let number = newest.map_or(0, |(number, _)| number + 1).max(seconds() as u64);
                let path = directory.join(format!("{PREFIX}{number:010}{SUFFIX}"));
                files::write_atomic(&path, &whole)?;
                (path, &[][..])
            }
        };
        let opened = OpenOptions::new().append(true).open(&path);
        let opened = opened.and_then(|mut file| file.write_all(rest).map(|()| file));
        let file = opened.map_err(|e| cannot_be_written(&path, &e))?;
        self.present = Some((path, file));
        Ok(())
    }

    /// These lines follow those that were told.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<()> {
        let Some((path, file)) = &mut self.present else { return self.tell(lines) };
        let (mut bytes, now) = (Vec::new(), seconds());
        for record in records(lines)? {
            record.write_to(now, &mut bytes);
        }
        // At once: whoever looks on sees nothing half.
        file.write_all(&bytes).map_err(|e| cannot_be_written(path, &e))
    }

    /// No line follows: what older files say is in the present one.
    pub(crate) fn end_stage(&mut self) -> Result<()> {
        let Some((path, file)) = self.present.take() else { return Ok(()) };
        file.sync_all().map_err(|e| cannot_be_written(&path, &e))?;
        let older = own_files(path.parent().unwrap_or(&path))?.into_iter().filter(|(_, other)| *other != path);
        older.into_iter().try_for_each(|(_, older)| files::remove_file(&older))
    }
}

/// Removes the event files of a run that makes way for another one.
///
/// # Errors
/// [`Error::File`] naming what cannot be removed.
pub(crate) fn remove(out: &Path) -> Result<()> {
    remove_others(out, &[])
}

/// Removes the event files of all directories but these, and those directories that hold nothing else.
fn remove_others(out: &Path, stages: &[PathBuf]) -> Result<()> {
    let root = out.join(DIRECTORY);
    for directory in entries(&root)?.into_iter().filter(|path| path.is_dir() && !stages.contains(path)) {
        let own = own_files(&directory)?;
        own.iter().try_for_each(|(_, path)| files::remove_file(path))?;
        if !own.is_empty() {
            // Somebody may have put something beside them.
            let _ = fs::remove_dir(&directory);
        }
    }
    if stages.is_empty() {
        let _ = fs::remove_dir(&root);
    }
    Ok(())
}

/// The event files in a directory that are Lopper's, with their numbers, the newest last.
fn own_files(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let number = |path: &Path| {
        let name = path.file_name()?.to_str()?;
        name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse::<u64>().ok()
    };
    let numbered = entries(directory)?.into_iter().filter_map(|path| Some((number(&path)?, path)));
    let mut own: Vec<_> = numbered.collect();
    own.sort();
    Ok(own)
}

/// The paths in a directory; none where there is no directory.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let read = || fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>();
    match read() {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|e| Error::file(directory, e)),
    }
}

/// The name of a stage's directory: a number, which keeps their order and tells two of one name apart, and the letters and
/// digits of its name.
fn directory_name(number: usize, name: &str) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || ".+_".contains(c) { c } else { '-' };
    let name: String = name.chars().map(safe).take(LONGEST_NAME).collect();
    format!("{number:02}-{name}")
}

/// A file of these lines. As far as it comes out like `there`, it has the times of that.
fn whole(lines: &[u8], there: &[u8]) -> Result<Vec<u8>> {
    let now = seconds();
    let (mut whole, mut alike) = (Vec::new(), true);
    for record in [Record::Version, Record::Start].into_iter().chain(records(lines)?) {
        let at = whole.len();
        let time = wall_time_at(there, at).filter(|_| alike);
        record.write_to(time.unwrap_or(now), &mut whole);
        alike &= there.get(at..whole.len()) == Some(&whole[at..]);
        if !alike && time.is_some() {
            whole.truncate(at);
            record.write_to(now, &mut whole);
        }
    }
    Ok(whole)
}

/// A line as it is read: what is not finite stands there as null.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    Stage {},
    Update {
        update: u64,
        loss: Option<f64>,
        learning_rate: Option<f64>,
        gradient_norm: Option<f64>,
        skipped: bool,
        #[serde(default)]
        counts: Counts,
    },
    Mask {
        update: u64,
        sparsity: Option<f64>,
        revived: u64,
    },
    Measures {
        update: u64,
        measures: BTreeMap<String, Option<f64>>,
    },
    Validation {
        update: u64,
        splits: Vec<Judged>,
    },
}

#[derive(Deserialize)]
struct Judged {
    split: String,
    metrics: Vec<Metric>,
}

#[derive(Deserialize)]
struct Metric {
    name: String,
    value: Option<f64>,
}

/// What the lines of a stage have to show.
fn records(lines: &[u8]) -> Result<Vec<Record>> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let records = lines.map(|line| {
        let line = serde_json::from_slice(line).map_err(|e| Error::Other(format!("a line of metrics: {e}")))?;
        Ok(scalars(line))
    });
    records.filter_map(Result::transpose).collect()
}

/// The numbers of a line. A tag begins with the group of charts that TensorBoard puts it into.
fn scalars(line: Line) -> Option<Record> {
    let value = |group: &str, name: &str, value: Option<f64>| {
        (format!("{group}/{name}"), value.map_or(f32::NAN, |value| value as f32))
    };
    let (step, values) = match line {
        Line::Stage {} => return None,
        Line::Update { update, loss, learning_rate, gradient_norm, skipped, counts } => {
            let own = [
                ("loss", loss),
                ("learning_rate", learning_rate),
                ("gradient_norm", gradient_norm),
                ("skipped", Some(u8::from(skipped).into())),
            ];
            let own = own.map(|(name, number)| value("training", name, number));
            let counts = counts.iter().map(|(name, count)| value("counts", name, Some(*count as f64)));
            (update, own.into_iter().chain(counts).collect())
        }
        Line::Mask { update, sparsity, revived } => {
            let values = [("sparsity", sparsity), ("revived", Some(revived as f64))];
            (update, values.map(|(name, number)| value("mask", name, number)).into())
        }
        Line::Measures { update, measures } => {
            (update, measures.iter().map(|(name, number)| value("measures", name, *number)).collect())
        }
        Line::Validation { update, splits } => {
            let of = |Judged { split, metrics }: Judged| {
                let metrics = metrics.into_iter();
                metrics.map(move |metric| value("evaluation", &format!("{split}/{}", metric.name), metric.value))
            };
            (update, splits.into_iter().flat_map(of).collect::<Vec<_>>())
        }
    };
    (!values.is_empty()).then_some(Record::Scalars { step, values })
}

/// Seconds since 1970.
fn seconds() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

fn cannot_be_written(path: &Path, error: &io::Error) -> Error {
    Error::file(path, format!("cannot be written: {error}"))
}

#[cfg(test)]
mod tests;
