//! `lopper submit`: a sweep's workers as jobs of a cluster's scheduler.

mod environment;
mod hyperqueue;
mod slurm;

use super::ConfigArguments;
use crate::output::{self, quantity};
use crate::signals::stop_on_signals;
use crate::sweep::{Beginning, Sweep};
use lopper_core::{Error, Result};
use lopper_weights::files;
use serde::Serialize;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,

    /// The scheduler [default: the one whose command is found, sbatch or hq]
    #[arg(long, value_enum)]
    engine: Option<Engine>,

    /// Workers, each a task of one job array [default: sweep.workers]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    workers: Option<u64>,

    /// Print the script; write and submit nothing
    #[arg(long)]
    dry_run: bool,

    /// Read every file of the data again, also those that have not changed since a run looked at them
    #[arg(long)]
    verify: bool,

    /// Take the place of finished cells of another configuration, which is refused otherwise
    #[arg(long)]
    replace: bool,

    /// Options of the scheduler that every task is submitted with, such as --partition=gpu --time=12:00:00
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

/// A scheduler that jobs are submitted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Engine {
    /// Slurm, by sbatch
    Slurm,
    /// HyperQueue, by hq
    Hyperqueue,
}

impl Engine {
    const ALL: [Self; 2] = [Self::Slurm, Self::Hyperqueue];

    /// The command that submits.
    fn command(self) -> &'static str {
        match self {
            Self::Slurm => "sbatch",
            Self::Hyperqueue => "hq",
        }
    }

    /// In a sweep's directory: what is submitted.
    fn file(self) -> &'static str {
        match self {
            Self::Slurm => "submit.slurm",
            // Of another name it would be searched for no directives.
            Self::Hyperqueue => "submit.hq.sh",
        }
    }
}

/// What every task of an array is to do.
struct Job<'a> {
    /// What the scheduler calls it.
    name: String,
    /// This executable.
    program: PathBuf,
    /// The working directory, to which paths in configurations are relative.
    place: PathBuf,
    /// The sweep's directory, as it was given.
    directory: &'a Path,
    /// Where what the tasks say goes; absolute.
    logs: PathBuf,
    workers: u64,
    /// Whether a worker needs a GPU.
    gpu: bool,
    verify: bool,
    /// Those of the scheduler, as the user gave them.
    options: &'a [String],
    /// Lines of shell that make its environment.
    environment: String,
}

/// What was submitted.
#[derive(Serialize)]
struct Submitted {
    engine: Engine,
    /// The job array's number.
    job: String,
    workers: u64,
    cells: usize,
    directory: PathBuf,
    script: PathBuf,
    logs: PathBuf,
}

/// What would be.
#[derive(Serialize)]
struct Planned {
    engine: Engine,
    script: PathBuf,
    text: String,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let stop = stop_on_signals(super::INTERRUPTED)?;
        let Some(sweep) = self.config.sweep()? else {
            let why = "has no [sweep], and one run is one job: add [sweep], of which one cell is enough, or submit `lopper run` by \
                       your scheduler's own means, as docs/clusters.md shows";
            return Err(Error::file(&self.config.config, why));
        };
        let (engine, program) = self.find_engine()?;
        self.check_options(engine)?;
        let beginning = Beginning { stop: &stop, verify: self.verify, replace: self.replace, elsewhere: true };
        let (outlines, _) = sweep.begin(&beginning)?;
        let devices = outlines.iter().filter_map(|outlined| outlined.general["device"].as_str());
        let job = self.job(&sweep, devices)?;
        let script = match engine {
            Engine::Slurm => slurm::script(&job),
            Engine::Hyperqueue => hyperqueue::script(&job),
        };
        let path = sweep.out().join(engine.file());
        let Some(program) = program.filter(|_| !self.dry_run) else {
            let planned = Planned { engine, script: path, text: script };
            return output::report(json, &planned, || planned.text.clone());
        };
        // A task may begin before its submission has ended.
        sweep.start()?;
        files::create_dir(&job.logs)?;
        files::write_atomic(&path, script.as_bytes())?;
        let number = match engine {
            Engine::Slurm => slurm::submit(&program, &path)?,
            Engine::Hyperqueue => hyperqueue::submit(&program, &path)?,
        };
        let submitted = Submitted {
            engine,
            job: number,
            workers: job.workers,
            cells: sweep.cells().len(),
            directory: sweep.out().to_owned(),
            script: path,
            logs: sweep.out().join("logs"),
        };
        output::report(json, &submitted, || submitted.text())
    }

    /// The scheduler and its command, which is not needed to print a script.
    fn find_engine(&self) -> Result<(Engine, Option<PathBuf>)> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let engines = self.engine.map_or(Engine::ALL.to_vec(), |engine| vec![engine]);
        let found = engines.iter().find_map(|engine| Some((*engine, find_program(engine.command(), &path)?)));
        match (found, self.engine) {
            (Some((engine, program)), _) => Ok((engine, Some(program))),
            (None, Some(engine)) if self.dry_run => Ok((engine, None)),
            (None, given) => {
                let tried: Vec<_> = engines.iter().map(|engine| format!("`{}`", engine.command())).collect();
                let why = format!(
                    "no scheduler was found: {} {} in no directory of PATH, {}",
                    tried.join(" and "),
                    if tried.len() == 1 { "is" } else { "are" },
                    path.display()
                );
                let instead = match given {
                    Some(_) => "with --dry-run the script is printed without it",
                    None => "with --dry-run and --engine a script is printed without one",
                };
                Err(Error::Other(format!("{why}; {instead}. `lopper run` needs none")))
            }
        }
    }

    /// Refuses options that cannot stand in a script, and one that says what --workers says.
    fn check_options(&self, engine: Engine) -> Result<()> {
        let mut problems = Vec::new();
        let mut refuse = |option: &str, expected: &str| {
            problems.push(Error::invalid(format!("option of {}", engine.command()), option, expected));
        };
        if let Some(first) = self.options.first().filter(|first| !first.starts_with('-')) {
            refuse(first, "an option, which begins with a dash, before any value");
        }
        for option in &self.options {
            let is_array = option == "--array" || option.starts_with("--array=");
            if is_array || (engine == Engine::Slurm && option.starts_with("-a")) {
                refuse(option, "how many tasks there are, --workers says");
            }
            if option.contains(['\n', '"', '\\']) {
                refuse(option, "no quotes, backslashes and line breaks, which a script's directives cannot hold");
            }
        }
        Error::all(problems)
    }

    fn job<'a>(&'a self, sweep: &'a Sweep, devices: impl Iterator<Item = &'a str>) -> Result<Job<'a>> {
        let (mut gpu, mut auto) = (false, false);
        for device in devices {
            match lopper_torch::gpu_named(device)? {
                Some(0) => gpu = true,
                Some(_) => return Err(Error::invalid("device", device, "cuda: every worker has one GPU, its first")),
                None => auto |= device == "auto",
            }
        }
        let cells = sweep.cells().len() as u64;
        let wanted = self.workers.unwrap_or(sweep.workers());
        if wanted > cells {
            eprintln!("{} for {}: more would have nothing to do", quantity(cells, "worker"), quantity(cells, "cell"));
        }
        if auto && !gpu {
            eprintln!(
                "device = \"auto\": no GPU is asked for, and a worker takes one where its job has it; `device = \"cuda\"` asks for one \
                 each"
            );
        }
        let place = std::env::current_dir().map_err(|e| Error::Other(format!("the working directory: {e}")))?;
        let directory = sweep.out();
        let absolute = std::path::absolute(directory).map_err(|e| Error::file(directory, e))?;
        let program =
            std::env::current_exe().map_err(|e| Error::Other(format!("this program cannot be found: {e}")))?;
        let unfit = |path: &&PathBuf| path.to_str().is_none_or(|text| text.contains(['\n', '"', '\\']));
        if let Some(path) = [&program, &place, &absolute].into_iter().find(unfit) {
            return Err(Error::file(
                path,
                "no scheduler's script can name a path with quotes, backslashes or line breaks",
            ));
        }
        let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
        Ok(Job {
            name: name.chars().map(is_plain).collect(),
            program,
            place,
            directory,
            logs: absolute.join("logs"),
            workers: wanted.min(cells),
            gpu,
            verify: self.verify,
            options: &self.options,
            environment: environment::lines(),
        })
    }
}

impl Job<'_> {
    /// The command that a task runs.
    fn command(&self) -> String {
        let words = [&self.program.to_string_lossy(), "work", &self.directory.to_string_lossy()].map(quoted);
        let verify = if self.verify { " --verify" } else { "" };
        format!("{}{verify}", words.join(" "))
    }

    /// What stands above a script's directives.
    fn title(&self) -> String {
        format!(
            "#!/bin/bash
# Written by Lopper {}. Every task is a worker of the sweep in {}: it trains cells that
# no other is at work at, until none is left. Submitted once more, it goes on with what is not done.",
            env!("CARGO_PKG_VERSION"),
            self.directory.display()
        )
    }

    /// The user's options as lines of directives that begin like this, below a line that says whose they are; nothing without any.
    fn given(&self, directive: &str) -> String {
        match self.option_lines(directive) {
            none if none.is_empty() => none,
            lines => format!("\n# Given to `lopper submit` after --.{lines}"),
        }
    }

    /// The user's options, each with its values in one line of directives that begin like this.
    fn option_lines(&self, directive: &str) -> String {
        let mut lines = String::new();
        for option in self.options {
            let start = if option.starts_with('-') { format!("\n{directive}") } else { String::new() };
            lines += &format!("{start} {}", in_directive(option));
        }
        lines
    }
}

impl Submitted {
    fn text(&self) -> String {
        let Self { engine, job, workers, cells, directory, script, logs } = self;
        let (directory, script, logs) = (directory.display(), script.display(), logs.display());
        let (watch, cancel) = match engine {
            Engine::Slurm => (format!("squeue --job {job}"), format!("scancel {job}")),
            Engine::Hyperqueue => (format!("hq job info {job}"), format!("hq job cancel {job}")),
        };
        let command = engine.command();
        format!(
            "job {job}: {} for {} in {directory}, submitted by {command}\n\n\
             follow  lopper table {directory}; lopper status {directory}; {watch}\n\
             stop    {cancel}; the same `lopper submit` goes on\n\
             script  {script}\n\
             logs    {logs}\n\
             report  {directory}/report.html, which the last worker writes",
            quantity(*workers, "worker"),
            quantity(*cells as u64, "cell"),
        )
    }
}

/// Threads of a worker, where whoever submits says how many.
fn threads() -> Option<u32> {
    std::env::var("OMP_NUM_THREADS").ok()?.parse().ok()
}

/// An executable file of that name in the directories of `path`.
fn find_program(name: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    let is_executable =
        |file: &PathBuf| fs::metadata(file).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0);
    std::env::split_paths(path).map(|directory| directory.join(name)).find(is_executable)
}

/// What a scheduler's command prints when it submits.
///
/// # Errors
/// [`Error::Other`] with the command and what it said.
fn submit_by(command: &mut Command, hint: impl Fn(&str) -> Option<&'static str>) -> Result<String> {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line = words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ");
    let output = command.output().map_err(|e| Error::Other(format!("`{line}` cannot be started: {e}")))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || answer.is_empty() {
        let hint = hint(&said).map(|hint| format!("; {hint}")).unwrap_or_default();
        let said = if said.is_empty() { "nothing".to_owned() } else { said };
        let what = "nothing was submitted";
        return Err(Error::Other(format!("{what}: `{line}` ended with {} and said: {said}{hint}", output.status)));
    }
    if !said.is_empty() {
        eprintln!("{said}");
    }
    Ok(answer)
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A word for a directive, which holds neither quotes nor backslashes.
fn in_directive(word: &str) -> String {
    if word.chars().all(|c| is_plain(c) || "%{}".contains(c)) {
        return word.to_owned();
    }
    // Schedulers read quotes behind what stands before them.
    match word.split_once('=') {
        Some((name, value)) => format!("{name}=\"{value}\""),
        None => format!("\"{word}\""),
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:=,+@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn job(options: &[String]) -> Job<'_> {
        Job {
            name: "sweep".into(),
            program: "/opt/it's/lopper".into(),
            place: "/home/a b".into(),
            directory: Path::new("runs/50%"),
            logs: "/home/a b/runs/50%/logs".into(),
            workers: 3,
            gpu: true,
            verify: false,
            options,
            environment: "unset LD_LIBRARY_PATH\n".into(),
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        assert_eq!(quoted("runs/a-b_0.5"), "runs/a-b_0.5");
        assert_eq!((quoted(""), quoted("$HOME"), quoted("it's")), ("''".into(), "'$HOME'".into(), "'it'\\''s'".into()));
        assert_eq!(in_directive("--gres=gpu:1"), "--gres=gpu:1");
        assert_eq!(in_directive("--comment=a #b"), "--comment=\"a #b\"");
        assert_eq!(job(&[]).command(), "'/opt/it'\\''s/lopper' work 'runs/50%'");
    }

    #[test]
    fn every_option_has_a_line_with_its_values() {
        let options = ["-p", "gpu", "--time=1:00:00", "--exclusive"].map(str::to_owned);
        assert_eq!(
            job(&options).option_lines("#SBATCH"),
            "\n#SBATCH -p gpu\n#SBATCH --time=1:00:00\n#SBATCH --exclusive"
        );
    }
}
