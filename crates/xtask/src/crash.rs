//! `cargo xtask crash-campaign`: the tests of tests/cli/crash.rs and of tests/cli/sweeps_crash.rs, at full size.

use crate::checkout::{Checkout, run as run_command};
use anyhow::Result;
use std::time::Instant;

/// How much of everything.
#[derive(Debug, PartialEq)]
pub(crate) struct Options {
    /// Kills of each method, of a sweep, and of three workers at one; half as many times each way in which a sweep's disk fails.
    pub(crate) kills: usize,
    /// Races of two processes for one directory.
    pub(crate) races: usize,
    /// Every so manieth call that writes is made to fail; 1 for all of them.
    pub(crate) step: usize,
}

impl Options {
    /// The options that `parse` reads.
    pub(crate) const KNOWN: [&str; 3] = ["--kills=", "--races=", "--step="];

    /// Reads options whose names are known.
    ///
    /// # Errors
    /// A number that is none.
    pub(crate) fn parse(options: &[String]) -> Result<Self, String> {
        let mut parsed = Self { kills: 50, races: 100, step: 1 };
        for (name, value) in options.iter().filter_map(|option| option.split_once('=')) {
            let number = value.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| format!("{name}={value}: a number from 1 up was expected"));
            match name {
                "--kills" => parsed.kills = number?,
                "--races" => parsed.races = number?,
                "--step" => parsed.step = number?,
                // Told as unknown by whoever asked.
                _ => {}
            }
        }
        Ok(parsed)
    }
}

/// Builds and runs the campaign; its counts go to standard error, line by line.
///
/// # Errors
/// When a run does not end as it must, or nothing can be built.
pub(crate) fn run(checkout: &Checkout, options: &Options) -> Result<()> {
    let started = Instant::now();
    // The whole workspace, as `cargo xtask test` has it: fewer packages would have other features, and compile again.
    let mut cargo = checkout.cargo(["test", "--workspace", "--locked", "--test", "cli"]);
    cargo.args(["--", "crash::", "two_runs::", "sweeps_crash::", "--nocapture", "--test-threads=1"]);
    cargo.env("LOPPER_SWEEP_FAULTS", (options.kills / 2).max(1).to_string());
    cargo.env("LOPPER_KILLS", options.kills.to_string()).env("LOPPER_RACES", options.races.to_string());
    run_command(cargo.env("LOPPER_FAULT_STEP", options.step.to_string()))?;
    println!("{:.0} s", started.elapsed().as_secs_f64());
    Ok(())
}
