//! `cargo xtask fuzz`: every fuzz target for a number of executions, and a table of what came of it.

use crate::checkout::Checkout;
use crate::{libtorch, unknown};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

/// Seconds that a campaign takes at the most.
const LONGEST: u64 = 3600;

/// What one campaign came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    executions: u64,
    seconds: u64,
    crashes: usize,
}

/// Runs `targets`, all of them when none is named, one after another, for so many `executions` or an hour each. Inputs that
/// reach new code are kept in `fuzz/target/found`, those that break a promise in `fuzz/artifacts`, and what libFuzzer says in
/// `fuzz/target/TARGET.log`.
///
/// # Errors
/// An unknown target, a missing tool, a build that fails; and, after all targets have run, any crash.
pub(crate) fn run(checkout: &Checkout, targets: &[String], executions: u64) -> Result<()> {
    let known = names(&checkout.path("fuzz/fuzz_targets"))?;
    let listed: Vec<&str> = known.iter().map(String::as_str).collect();
    if let Some(target) = targets.iter().find(|target| !known.contains(target)) {
        bail!("{}", unknown("fuzz target", target, &listed));
    }
    require(checkout)?;
    libtorch::ensure(checkout, false)?;
    println!("{:<20} {:>12} {:>8} {:>8}", "target", "executions", "seconds", "crashes");
    let mut crashes = 0;
    for target in if targets.is_empty() { &known } else { targets } {
        let Outcome { executions, seconds, crashes: found } = campaign(checkout, target, executions)?;
        println!("{target:<20} {executions:>12} {seconds:>8} {found:>8}");
        crashes += found;
    }
    if crashes > 0 {
        bail!("{crashes} inputs break a promise; they lie in fuzz/artifacts");
    }
    Ok(())
}

fn require(checkout: &Checkout) -> Result<()> {
    let mut probe = checkout.program("cargo", ["+nightly", "fuzz", "--version"]);
    if probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return Ok(());
    }
    bail!("there is no `cargo +nightly fuzz`: `rustup toolchain install nightly && cargo install cargo-fuzz --locked`")
}

/// Names of Rust sources in a folder, without their ending, sorted.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut names: Vec<_> = paths.iter().filter_map(|p| Some(p.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    Ok(names)
}

fn campaign(checkout: &Checkout, target: &str, executions: u64) -> Result<Outcome> {
    let found = checkout.path("fuzz/target/found").join(target);
    let artifacts = checkout.path("fuzz/artifacts").join(target);
    for folder in [&found, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    }
    let before = count(&artifacts)?;
    let log = checkout.path(format!("fuzz/target/{target}.log"));
    let file = File::create(&log).with_context(|| format!("{}: cannot be made", log.display()))?;
    // libtorch and the address sanitizer do not go together.
    let mut cargo = checkout.program("cargo", ["+nightly", "fuzz", "run", "--sanitizer=none", target]);
    cargo.arg(&found).arg(checkout.path("fuzz/corpus").join(target)).arg("--").args([
        format!("-runs={executions}"),
        format!("-max_total_time={LONGEST}"),
        format!("-dict={}", checkout.path("fuzz/dictionaries").join(format!("{target}.dict")).display()),
        "-max_len=4096".into(),
        // Seconds of the clock, not of the processor: beside other work an input may have to wait.
        "-timeout=60".into(),
        "-print_final_stats=1".into(),
    ]);
    let libtorch = checkout.user_libtorch().unwrap_or_else(|| checkout.libtorch());
    cargo.env("LD_LIBRARY_PATH", libtorch.join("lib")).env("OMP_NUM_THREADS", "1");
    let status = cargo.stdout(Stdio::null()).stderr(file).status().context("cargo cannot be started")?;
    let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
    let crashes = count(&artifacts)? - before;
    let (executions, seconds) = figures(&text)
        .with_context(|| format!("{target} did not run ({status}); its output lies in {}", log.display()))?;
    Ok(Outcome { executions, seconds, crashes })
}

fn count(folder: &Path) -> Result<usize> {
    Ok(fs::read_dir(folder).with_context(|| format!("{}: cannot be read", folder.display()))?.count())
}

/// Executions and seconds from libFuzzer's last words; a campaign that a crash ends has no `Done` line.
fn figures(log: &str) -> Option<(u64, u64)> {
    let number = |text: &str| text.split_whitespace().next()?.parse().ok();
    if let Some(line) = log.lines().rev().find_map(|line| line.strip_prefix("Done ")) {
        return Some((number(line)?, number(line.split_once(" in ")?.1)?));
    }
    let stat = |name: &str| log.lines().rev().find_map(|line| number(line.strip_prefix(name)?));
    let executions: u64 = stat("stat::number_of_executed_units:")?;
    let rate: u64 = stat("stat::average_exec_per_sec:")?;
    Some((executions, executions.checked_div(rate).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_last_lines() {
        let log = "#2 INITED\nDone 10000000 runs in 312 second(s)\nstat::number_of_executed_units: 10000000\n";
        assert_eq!(figures(log), Some((10_000_000, 312)));
        let crashed = "stat::number_of_executed_units: 600\nstat::average_exec_per_sec:     200\n";
        assert_eq!(figures(crashed), Some((600, 3)));
        assert_eq!(figures("error: could not compile\n"), None);
    }
}
