//! What `cargo test` says, summed over all of its test binaries.

use anyhow::{Context, Result};
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// Counts of tests.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Adds a line `test result: ok. 3 passed; 0 failed; …`; other lines add nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else { return };
        for count in counts.1.split("; ") {
            match count.split_once(' ').map(|(n, what)| (n.parse::<u64>(), what)) {
                Some((Ok(n), "passed")) => self.passed += n,
                Some((Ok(n), "failed")) => self.failed += n,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

/// How a test command ended.
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Whether the command itself reported success; it does not where something failed to compile.
    pub(crate) success: bool,
}

/// Runs a test command, passing its output on to `terminal`, and sums its results.
pub(crate) fn run(command: &mut Command, terminal: &mut impl Write) -> Result<Outcome> {
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no standard output")?;
    let mut tally = Tally::default();
    // By bytes: what a test prints need not be UTF-8.
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cargo test's output ended early")?;
        terminal.write_all(&line)?;
        terminal.write_all(b"\n")?;
        tally.add(&String::from_utf8_lossy(&line));
    }
    let status = child.wait().context("cargo test cannot be waited for")?;
    Ok(Outcome { tally, success: status.success() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_summed_over_binaries() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test sums ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.50s",
            "  test result: ok. 99 passed; 0 failed",
            "test result: nonsense",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 13, failed: 2 });
        assert_eq!(tally.to_string(), "13 passed, 2 failed");
    }

    #[test]
    fn a_command_is_read_to_its_end() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored";
        let mut printed = Vec::new();
        let script = format!("echo '{line}'; echo '{line}'; exit 3");
        let outcome = run(Command::new("sh").args(["-c", &script]), &mut printed).unwrap();
        assert_eq!(printed, format!("{line}\n{line}\n").as_bytes());
        assert_eq!(outcome.tally, Tally { passed: 4, failed: 0 });
        assert!(!outcome.success, "a command that fails to compile something fails");
    }
}
