//! The command line: one file a command.

mod completions;
mod eval;
mod gc;
mod init;
mod man;
mod mask;
mod plan;
mod plugins;
mod predict;
mod prune;
mod recipes;
mod report;
mod rm;
mod run;
mod status;
mod submit;
mod table;
mod transcribe;
mod work;

use clap::{Parser, Subcommand};
use lopper_core::{Error, Result};
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::Setting;
use crate::sweep::Sweep;
use crate::{Experiment, Outline};

/// A run was interrupted and can be continued; also for SIGTERM.
const INTERRUPTED: u8 = 130;
/// A defect of Lopper or of a plugin.
const PANICKED: u8 = 101;

/// Finds sparse subnetworks in pre-trained models.
///
/// Exit codes: 0 done, 1 an error, 2 wrong usage, 130 interrupted (a run continues when it is started again), 101 a defect.
#[derive(Debug, Parser)]
#[command(name = "lopper", version, max_term_width = 100, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,

    /// Print one JSON document instead of text; logs and progress go to standard error either way
    #[arg(long, global = true)]
    json: bool,

    /// Log more: -v what is done, -vv details. The variable RUST_LOG has the last word
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train and prune as a configuration says
    Run(run::Arguments),
    /// Show what runs have done, what they are doing, and what came in their way
    Status(status::Arguments),
    /// Show the stages of a configuration, or the cells of a sweep; trains nothing
    Plan(plan::Arguments),
    /// Take part in a sweep that was started here or on another machine: train cells that nobody else is at work at
    Work(work::Arguments),
    /// Train a sweep on a cluster: check it, and submit its workers as a job array of Slurm or HyperQueue
    Submit(submit::Arguments),
    /// Show the cells of a sweep: metric, sparsity, cost
    Table(table::Arguments),
    /// Draw the figures of a sweep, and write them and everything about it into one page
    Report(report::Arguments),
    /// Prune a checkpoint once, without training
    Prune(prune::Arguments),
    /// Answer texts with a finetuned model
    Predict(predict::Arguments),
    /// Write down what recordings say, with a finetuned speech model
    Transcribe(transcribe::Arguments),
    /// Compute a task's metrics
    Eval(eval::Arguments),
    /// Look at masks, compare, combine, apply and convert them
    #[command(subcommand)]
    Mask(mask::Command),
    /// Free finished stages that no run refers to
    Gc(gc::Arguments),
    /// Remove runs, so that the stages they needed can be freed
    Rm(rm::Arguments),
    /// List what is registered, with options
    Plugins(plugins::Arguments),
    /// List published trainings that a configuration can start from, or print one
    Recipes(recipes::Arguments),
    /// Write a configuration to start from, with every option and what it does
    Init(init::Arguments),
    /// Print a script that completes commands in a shell
    Completions(completions::Arguments),
    /// Print the manual page, or write one for every command
    Man(man::Arguments),
}

/// A configuration and what the command line changes in it.
#[derive(Debug, clap::Args)]
struct ConfigArguments {
    /// TOML configuration; paths in it are relative to the working directory
    config: PathBuf,

    /// Set a key by its dotted path, such as prune.sparsity=0.7; what a key of text is given needs no quotes
    #[arg(long = "set", value_name = "KEY=VALUE", num_args = 1..)]
    settings: Vec<Setting>,

    /// The run's directory, instead of run.out [default: runs/ and the configuration's name]
    #[arg(long)]
    out: Option<PathBuf>,
}

impl ConfigArguments {
    fn load(&self) -> Result<Experiment> {
        Experiment::load(&self.config, &self.settings, self.out.as_deref())
    }

    /// The sweep, where the configuration is one.
    fn sweep(&self) -> Result<Option<Sweep>> {
        Sweep::read(&self.config, &self.settings, self.out.as_deref())
    }

    fn outline(&self) -> Result<Outline> {
        Experiment::outline(&self.config, &self.settings)
    }
}

/// The whole command line: reads the process's arguments, does what they say, and returns the exit code.
///
/// Every plugin that is linked into the program takes part.
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(e) => {
            // Help and versions go to standard output with code 0. A closed pipe leaves nothing to tell.
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    std::panic::set_hook(Box::new(|panic| {
        // Where a panic is turned into an error, that error is printed; this is for whoever looks into it.
        tracing::debug!("{panic}");
    }));
    let result = match catch_unwind(AssertUnwindSafe(|| dispatch(&arguments))) {
        Ok(result) => result,
        Err(payload) => {
            let message = payload.downcast_ref::<String>().map(String::as_str);
            let message = message.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no message");
            eprintln!("error: a defect in Lopper or a plugin: {message}; RUST_LOG=debug tells where");
            return ExitCode::from(PANICKED);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::from(if matches!(e, Error::Interrupted(_)) { INTERRUPTED } else { 1 })
        }
    }
}

fn dispatch(arguments: &Arguments) -> Result<()> {
    start_logging(arguments.verbose)?;
    let json = arguments.json;
    match &arguments.command {
        Command::Run(command) => command.execute(json),
        Command::Status(command) => command.execute(json),
        Command::Gc(command) => command.execute(json),
        Command::Rm(command) => command.execute(json),
        Command::Plan(command) => command.execute(json),
        Command::Work(command) => command.execute(),
        Command::Submit(command) => command.execute(json),
        Command::Table(command) => command.execute(json),
        Command::Report(command) => command.execute(json),
        Command::Prune(command) => command.execute(json),
        Command::Predict(command) => command.execute(json),
        Command::Transcribe(command) => command.execute(json),
        Command::Eval(command) => command.execute(json),
        Command::Mask(command) => command.execute(json),
        Command::Plugins(command) => command.execute(json),
        Command::Recipes(command) => command.execute(json),
        Command::Init(command) => command.execute(json),
        Command::Completions(command) => command.execute(),
        Command::Man(command) => command.execute(),
    }
}

fn start_logging(verbose: u8) -> Result<()> {
    let targets = match std::env::var("RUST_LOG") {
        Ok(text) if !text.is_empty() => text.parse().map_err(|e| {
            Error::invalid("RUST_LOG", &text, format!("a level or targets with levels, such as lopper=debug ({e})"))
        })?,
        _ => {
            let level = match verbose {
                0 => LevelFilter::WARN,
                1 => LevelFilter::INFO,
                2 => LevelFilter::DEBUG,
                _ => LevelFilter::TRACE,
            };
            Targets::new()
                // A plugin's crate has any name; what libraries say in detail is nobody's business.
                .with_default(level.min(LevelFilter::INFO))
                .with_target("lopper", level)
                // What it finds wrong with a recording, Lopper says itself, with the path.
                .with_target("symphonia", LevelFilter::OFF)
        }
    };
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| crate::terminal::Lines)
        .with_ansi(std::io::stderr().is_terminal());
    // Another subscriber may be there already in a program of one's own; it then has the logs.
    let _ = tracing_subscriber::registry().with(layer).with(targets).try_init();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Arguments::command().debug_assert();
    }
}
