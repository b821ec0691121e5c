//! Processes that train updates when they are asked to, so that what is compared takes turns on one noisy machine.

use super::hardware::gpu_memory;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// One side of a comparison: `benches/lopper/worker.rs`, or a script that uses `benches/reference/pace.py`.
pub(crate) struct Arm {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    seconds: Vec<f64>,
}

impl Arm {
    /// Starts the process and waits until it is ready for its first update. What it says goes to a log in `folder`.
    ///
    /// # Errors
    /// A process that cannot be started or ends before it is ready; the message quotes the end of its log.
    pub(crate) fn start(name: &'static str, command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{}.log", name.replace(' ', "-")));
        let file = File::create(&log).with_context(|| format!("{}: cannot be made", log.display()))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .with_context(|| format!("{name}: `{}` cannot be started", crate::checkout::line(command)))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("{name}: the process has no pipes");
        };
        let mut arm = Self { name, child, input, output: BufReader::new(output), log, seconds: Vec::new() };
        arm.answer(0)?;
        Ok(arm)
    }

    /// Trains `updates` more updates.
    ///
    /// # Errors
    /// When the process ends or answers something else than as many times.
    pub(crate) fn advance(&mut self, updates: usize) -> Result<()> {
        // A process that has ended is reported by the answer that does not come.
        let _ = writeln!(self.input, "{updates}").and_then(|()| self.input.flush());
        let seconds = self.answer(updates)?;
        self.seconds.extend(seconds);
        Ok(())
    }

    fn answer(&mut self, updates: usize) -> Result<Vec<f64>> {
        let mut line = String::new();
        self.output.read_line(&mut line).with_context(|| format!("{}: its answer cannot be read", self.name))?;
        match serde_json::from_str::<Vec<f64>>(&line) {
            Ok(seconds) if seconds.len() == updates => Ok(seconds),
            _ => bail!("{}: answered `{}` for {updates} updates; {}", self.name, line.trim(), self.end_of_log()),
        }
    }

    fn end_of_log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        format!("its log {} ends with:\n{}", self.log.display(), lines[lines.len().saturating_sub(8)..].join("\n"))
    }

    /// What the comparison calls it.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Seconds of every update so far.
    pub(crate) fn seconds(&self) -> &[f64] {
        &self.seconds
    }

    /// The most bytes that were resident at once since the process began: the kernel's `VmHWM`. With a GPU, what it holds
    /// there, as a rule the most it ever did: allocators keep what they have. `None` where the driver does not tell.
    ///
    /// # Errors
    /// When the process is gone.
    fn peak_memory(&self, on_gpu: bool) -> Result<Option<u64>> {
        if on_gpu {
            return Ok(gpu_memory(self.child.id()));
        }
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("{path}: cannot be read"))?;
        peak(&status).with_context(|| format!("{path}: no VmHWM")).map(Some)
    }
}

/// [`Arm::peak_memory`] of every arm.
///
/// # Errors
/// When a process is gone.
pub(crate) fn peaks(arms: &[Arm], on_gpu: bool) -> Result<Vec<Option<u64>>> {
    arms.iter().map(|arm| arm.peak_memory(on_gpu)).collect()
}

impl Drop for Arm {
    fn drop(&mut self) {
        // It has nothing to save; where it has ended by itself, both fail.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peak(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Trains `updates` updates on every arm, `turn` of them at a time. Who begins a round changes from round to round.
///
/// # Errors
/// As [`Arm::advance`].
pub(crate) fn interleave(arms: &mut [Arm], updates: usize, turn: usize) -> Result<()> {
    let mut done = 0;
    let mut first = 0;
    while done < updates {
        let now = turn.min(updates - done);
        let count = arms.len();
        for place in 0..count {
            arms[(first + place) % count].advance(now)?;
        }
        let tenths = |done: usize| done * 10 / updates;
        if tenths(done + now) > tenths(done) {
            println!("  {} of {updates} updates", done + now);
        }
        done += now;
        first += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers as the workers do; every update takes the number of the line it was asked on.
    const WORKER: &str = "echo '[]'; i=0; while read n; do i=$((i+1)); echo \"$(yes $i | head -n $n | paste -sd, | sed 's/.*/[&]/')\"; done";

    fn shell(script: &str, folder: &Path) -> Result<Arm> {
        Arm::start("a worker", Command::new("sh").args(["-c", script]), folder)
    }

    #[test]
    fn arms_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let mut arms = [shell(WORKER, folder.path()).unwrap(), shell(WORKER, folder.path()).unwrap()];
        interleave(&mut arms, 5, 2).unwrap();
        for arm in &arms {
            assert_eq!(arm.seconds(), [1.0, 1.0, 2.0, 2.0, 3.0]);
            assert!(arm.peak_memory(false).unwrap() > Some(0));
        }
    }

    #[test]
    fn a_process_that_fails_is_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let error = shell("echo no such model >&2; exit 1", folder.path()).err().unwrap().to_string();
        assert!(error.contains("a worker") && error.contains("no such model"), "{error}");
        let mut arm = shell("echo '[]'; read n; echo gone >&2", folder.path()).unwrap();
        let error = arm.advance(3).unwrap_err().to_string();
        assert!(error.contains("for 3 updates") && error.contains("gone"), "{error}");
    }

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(peak("Name:\tx\nVmHWM:\t  123456 kB\nVmRSS:\t 99 kB\n"), Some(123_456 * 1024));
        assert_eq!(peak("Name:\tx\n"), None);
    }
}
