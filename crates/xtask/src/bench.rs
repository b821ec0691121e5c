//! `cargo xtask bench`: Lopper beside its references on this machine, in one dated file.

mod arm;
mod cola;
mod data;
mod hardware;
mod parp;
mod references;
mod report;
mod selection;
mod speech;
mod update;

use crate::checkout::{Checkout, output, run as run_command};
use crate::{demo, libtorch, minilm};
use anyhow::{Context, Result, anyhow, bail};
use hardware::Hardware;
use references::{References, with_threads};
use report::{MINILM, Report};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value, toml};

/// Where data, logs and stores of a benchmark lie while it runs.
const WORK: &str = "runs/bench";
const RESULTS: &str = "benches/results";

/// One part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Part {
    Selection,
    Parp,
    Update,
    Cola,
    Speech,
}

const PARTS: [(&str, Part); 5] = [
    ("selection", Part::Selection),
    ("parp", Part::Parp),
    ("update", Part::Update),
    ("cola", Part::Cola),
    ("speech", Part::Speech),
];

/// What is asked for on the command line.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    parts: Vec<Part>,
    glue: Option<PathBuf>,
    cola_examples: Option<usize>,
    /// All cores unless given.
    threads: Option<usize>,
    short: bool,
    setting: Setting,
    /// A BERT in place of MiniLM.
    model: Option<PathBuf>,
    /// An interpreter in place of our own environment.
    python: Option<PathBuf>,
    /// Where our examples lie built.
    examples: Option<PathBuf>,
}

/// Where and in which precision both sides train.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Setting {
    device: String,
    precision: String,
}

impl Setting {
    fn is_gpu(&self) -> bool {
        self.device != "cpu"
    }
}

impl Options {
    /// The options that `parse` reads.
    pub(crate) const KNOWN: [&str; 10] = [
        "--only=",
        "--glue=",
        "--cola-examples=",
        "--threads=",
        "--short",
        "--device=",
        "--precision=",
        "--model=",
        "--python=",
        "--examples=",
    ];

    /// Reads options whose names are known.
    ///
    /// # Errors
    /// A part that there is not, a number that is none.
    pub(crate) fn parse(options: &[String]) -> Result<Self, String> {
        let mut parsed = Self {
            parts: PARTS.iter().map(|(_, part)| *part).collect(),
            glue: None,
            cola_examples: None,
            threads: None,
            short: false,
            setting: Setting { device: "cpu".to_owned(), precision: "float32".to_owned() },
            model: None,
            python: None,
            examples: None,
        };
        for option in options {
            match option.split_once('=') {
                Some(("--only", names)) => parsed.parts = names.split(',').map(part).collect::<Result<_, _>>()?,
                Some(("--glue", folder)) => parsed.glue = Some(PathBuf::from(folder)),
                Some((name @ "--cola-examples", value)) => parsed.cola_examples = Some(number(name, value)?),
                Some((name @ "--threads", value)) => parsed.threads = Some(number(name, value)?),
                Some(("--device", value)) => parsed.setting.device = device(value)?,
                Some(("--precision", value)) => parsed.setting.precision = precision(value)?,
                Some(("--model", folder)) => parsed.model = Some(PathBuf::from(folder)),
                Some(("--python", file)) => parsed.python = Some(PathBuf::from(file)),
                Some(("--examples", folder)) => parsed.examples = Some(PathBuf::from(folder)),
                _ => parsed.short |= option == "--short",
            }
        }
        Ok(parsed)
    }

    /// The names of the parts that are asked for.
    fn names(&self) -> Vec<&'static str> {
        PARTS.iter().filter(|(_, part)| self.parts.contains(part)).map(|(name, _)| *name).collect()
    }

    /// The same, unless it is all of them.
    fn only(&self) -> Vec<&'static str> {
        let names = self.names();
        if names.len() == PARTS.len() { Vec::new() } else { names }
    }

    /// What the report calls the BERT.
    fn model_name(&self) -> String {
        let given = self.model.as_ref().and_then(|folder| folder.file_name());
        given.map_or_else(|| MINILM.to_owned(), |name| name.to_string_lossy().into_owned())
    }
}

fn part(name: &str) -> Result<Part, String> {
    let found = PARTS.iter().find(|(known, _)| *known == name).map(|(_, part)| *part);
    found.ok_or_else(|| crate::unknown("part", name, &PARTS.map(|(known, _)| known)))
}

fn device(value: &str) -> Result<String, String> {
    let gpu = value.strip_prefix("cuda");
    let known = gpu.is_some_and(|n| n.is_empty() || n.strip_prefix(':').is_some_and(|n| n.parse::<u8>().is_ok()));
    let refused = || format!("--device: `{value}` is neither cpu nor cuda:N");
    (known || value == "cpu").then(|| value.to_owned()).ok_or_else(refused)
}

fn precision(value: &str) -> Result<String, String> {
    const KNOWN: [&str; 2] = ["float32", "bf16"];
    KNOWN.contains(&value).then(|| value.to_owned()).ok_or_else(|| crate::unknown("precision", value, &KNOWN))
}

fn number(name: &str, value: &str) -> Result<usize, String> {
    let parsed = value.parse().ok().filter(|number| *number > 0);
    parsed.ok_or_else(|| format!("{name}: `{value}` is no number from 1 up"))
}

/// What the parts share.
struct Bench<'a> {
    checkout: &'a Checkout,
    options: &'a Options,
    threads: usize,
    work: PathBuf,
    /// The checkpoint that is trained, or why it is not there.
    model: Result<PathBuf, String>,
    /// What Lopper is compared with, or why it is not there.
    references: Result<References, String>,
    report: Report,
}

impl Bench<'_> {
    fn model(&self) -> Result<&Path> {
        self.model.as_deref().map_err(|reason| anyhow!("no BERT: {reason}"))
    }

    /// What both sides compute in, for the report.
    fn precision(&self) -> &'static str {
        match self.options.setting.precision.as_str() {
            "bf16" => "bf16 by autocast",
            _ => "float32",
        }
    }

    fn references(&self) -> Result<&References> {
        self.references.as_ref().map_err(|reason| anyhow!("no references: {reason}"))
    }

    /// What the report's figures of memory mean.
    fn memory(&self) -> &'static str {
        if self.options.setting.is_gpu() {
            "Memory is what the process holds on the GPU at the end, its context and what its allocator keeps in reserve \
             included"
        } else {
            "Memory is the most that was resident; Python's CUDA libraries count in it as far as they are touched"
        }
    }

    /// # Errors
    /// What a part cannot do without and is not there.
    fn available(&self, part: Part) -> Result<()> {
        match part {
            // Without references, selection is still held against the memory.
            Part::Selection => Ok(()),
            Part::Parp => self.model().map(|_| ()),
            Part::Update => self.model().and(self.references()).map(|_| ()),
            Part::Cola => self.model().and(self.references()).and_then(|_| cola::file(self)).map(|_| ()),
            // The references make the checkpoint.
            Part::Speech => self.references().map(|_| ()),
        }
    }

    /// An empty folder for what one arm writes.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.work.join(name.replace(' ', "-"));
        fs::create_dir_all(&folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        Ok(folder)
    }

    /// A command that runs one of our examples: built here in the development profile, which is optimised, unless a folder
    /// with them was given.
    fn example(&self, name: &str) -> Result<Command> {
        let folder = match &self.options.examples {
            Some(folder) => std::path::absolute(folder)?,
            None => {
                run_command(&mut self.checkout.cargo(["build", "--locked", "--workspace", "--example", name]))?;
                demo::target_directory(self.checkout)?.join("debug/examples")
            }
        };
        let mut command = Command::new(folder.join(name));
        command.current_dir(self.checkout.root());
        with_threads(&mut command, self.threads);
        Ok(command)
    }

    /// Lopper finetuning the BERT on the sentences in `data`, as [`finetune`](Self::finetune).
    fn lopper(&self, data: &Path, folder: &Path, changes: Table) -> Result<Command> {
        let config = toml! {
            [model]
            name = "paced-bert"
            [data]
            name = "glue"
            task = "cola"
            max_length = 128
            [train]
            batch_size = 32
            learning_rate = 2e-5
        };
        self.finetune(config, self.model()?, data, folder, changes)
    }

    /// Lopper finetuning `model` on `data` until it is stopped, dense unless told otherwise: `changes` are put over
    /// `config`. What it writes goes to `folder`.
    fn finetune(&self, config: Table, model: &Path, data: &Path, folder: &Path, changes: Table) -> Result<Command> {
        let text = |path: &Path| Value::String(path.to_string_lossy().into_owned());
        let mut whole = toml! {
            [prune]
            method = "dense"
            sparsity = 0.0
            [train]
            updates = 100000
            [checkpoint]
            every = 0
        };
        for (key, value) in [("device", &self.options.setting.device), ("precision", &self.options.setting.precision)] {
            whole.insert(key.to_owned(), Value::String(value.clone()));
        }
        let paths = [
            ("model", "path", text(model)),
            ("data", "path", text(data)),
            ("run", "out", text(folder)),
            ("run", "store", text(&folder.join("store"))),
        ];
        let paths = paths.map(|(section, key, value)| {
            (section.to_owned(), Value::Table([(key.to_owned(), value)].into_iter().collect()))
        });
        for (section, change) in config.into_iter().chain(paths).chain(changes) {
            let change = change.as_table().cloned().context("a configuration of sections")?;
            let place = whole.entry(section).or_insert_with(|| Value::Table(Table::new()));
            place.as_table_mut().context("a section")?.extend(change);
        }
        let path = folder.join("config.toml");
        fs::write(&path, whole.to_string()).with_context(|| format!("{}: cannot be written", path.display()))?;
        let mut command = self.example("bench_worker")?;
        command.arg(path);
        Ok(command)
    }

    fn run(&mut self, part: Part) -> Result<()> {
        match part {
            Part::Selection => selection::run(self),
            Part::Parp => parp::run(self),
            Part::Update => update::run(self),
            Part::Cola => cola::run(self),
            Part::Speech => speech::run(self),
        }
    }
}

/// The commit that is checked out, and whether files differ from it. A copy without its history is told by LOPPER_COMMIT.
fn commit(checkout: &Checkout) -> String {
    let git = |arguments: &[&str]| output(Command::new("git").current_dir(checkout.root()).args(arguments));
    let Ok(head) = git(&["rev-parse", "HEAD"]) else {
        return std::env::var("LOPPER_COMMIT").unwrap_or_else(|_| "unknown".to_owned());
    };
    let clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_ok_and(|changes| changes.is_empty());
    format!("{}{}", head.trim(), if clean { "" } else { ", with changes" })
}

/// Measures what the options ask for and writes the result.
///
/// # Errors
/// A set-up that fails; a part that fails, after the others have run and the result is written. What is merely absent is
/// skipped, and said so.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    if options.examples.is_none() {
        libtorch::ensure(checkout, false)?;
    }
    let model = match &options.model {
        Some(folder) => folder.canonicalize().with_context(|| folder.display().to_string()),
        None => minilm::ensure(checkout),
    };
    let model = model.map_err(|error| format!("{error:#}"));
    let threads = options.threads.unwrap_or_else(hardware::cores);
    let references = match &options.python {
        Some(python) => References::of(python, checkout, threads, &options.setting),
        None => References::ensure(checkout, threads, &options.setting),
    };
    let references = references.map_err(|error| format!("{error:#}"));
    let mut versions = BTreeMap::from([("libtorch of Lopper".to_owned(), libtorch::VERSION.to_owned())]);
    if let Ok(references) = &references {
        versions.extend(references.versions()?);
    }
    let work = checkout.path(WORK);
    if work.exists() {
        // A stored stage would be taken instead of trained.
        fs::remove_dir_all(&work).with_context(|| format!("{}: cannot be removed", work.display()))?;
    }
    let report = Report {
        date: hardware::today()?,
        commit: commit(checkout),
        short: options.short,
        only: options.only(),
        threads,
        device: options.setting.device.clone(),
        model: options.model_name(),
        precision: options.setting.precision.clone(),
        hardware: Hardware::here(options.setting.is_gpu()),
        load_before: hardware::load(),
        load_after: String::new(),
        versions,
        rows: Vec::new(),
        conditions: Vec::new(),
        skipped: Vec::new(),
        missing: options.names(),
        raw: BTreeMap::new(),
    };
    let mut bench = Bench { checkout, options, threads, work, model, references, report };
    let (mut failed, mut table) = (Vec::new(), PathBuf::new());
    for (name, part) in PARTS.into_iter().filter(|(_, part)| options.parts.contains(part)) {
        println!("\n{name}");
        if let Err(reason) = bench.available(part) {
            bench.report.skip(name, &reason);
        } else if let Err(error) = bench.run(part) {
            bench.report.skip(name, &error.context("failed"));
            failed.push(name);
        }
        // After every part, so that a run which is stopped leaves what it has measured.
        bench.report.missing.retain(|missing| *missing != name);
        bench.report.load_after = hardware::load();
        table = bench.report.write(&checkout.path(RESULTS))?;
    }
    println!("\n{}", fs::read_to_string(&table)?);
    println!("{}", table.display());
    match failed.as_slice() {
        [] => Ok(()),
        failed => bail!("{} failed; {} has the rest", failed.join(", "), table.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        Options::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read() {
        let options = parsed("--only=cola,parp --glue=/data/glue --cola-examples=300 --threads=1 --short").unwrap();
        let expected = Options {
            parts: vec![Part::Cola, Part::Parp],
            glue: Some("/data/glue".into()),
            cola_examples: Some(300),
            threads: Some(1),
            short: true,
            setting: Setting { device: "cpu".into(), precision: "float32".into() },
            model: None,
            python: None,
            examples: None,
        };
        assert_eq!(options, expected);
        assert_eq!(parsed("").unwrap().parts.len(), PARTS.len());
        let elsewhere =
            parsed("--device=cuda:1 --precision=bf16 --model=m --python=/usr/bin/python3 --examples=built").unwrap();
        assert_eq!(elsewhere.setting, Setting { device: "cuda:1".into(), precision: "bf16".into() });
        let paths = [elsewhere.model, elsewhere.python, elsewhere.examples].map(Option::unwrap);
        assert_eq!(paths.map(|p| p.display().to_string()), ["m", "/usr/bin/python3", "built"]);
    }

    #[test]
    fn wrong_values_are_refused() {
        assert_eq!(parsed("--only=parb"), Err("unknown part `parb`; did you mean `parp`?".into()));
        assert_eq!(parsed("--precision=fp16"), Err("unknown precision `fp16`; did you mean `bf16`?".into()));
        assert_eq!(parsed("--device=auto"), Err("--device: `auto` is neither cpu nor cuda:N".into()));
        assert_eq!(parsed("--threads=0"), Err("--threads: `0` is no number from 1 up".into()));
    }
}
