//! Several processes of this machine that run one sweep.

use super::Sweep;
use crate::terminal;
use lopper_core::{Error, Result};
use lopper_session::Stop;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(100);

/// What OpenMP, and with it libtorch, takes the number of its threads from.
const THREADS: &str = "OMP_NUM_THREADS";

impl Sweep {
    /// Runs `lopper work` on this sweep's directory in as many processes as it wants, each with its device and its share of the
    /// machine's threads, and waits for them. They are asked to stop when this process is.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when asked to stop, and [`Error::Other`] when a process cannot be started.
    pub(super) fn run_workers(&self, verify: bool, stop: &Stop) -> Result<()> {
        let number = self.workers();
        let program =
            std::env::current_exe().map_err(|e| Error::Other(format!("this program cannot be found: {e}")))?;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let threads = std::env::var(THREADS).unwrap_or_else(|_| (cores / number).max(1).to_string());
        let mut workers = Workers::default();
        for worker in 0..number as usize {
            let mut command = Command::new(&program);
            command.arg("work").arg(&self.out).arg("--no-report").env(THREADS, &threads);
            command.args(verify.then_some("--verify"));
            command.args(self.options.devices.get(worker).map(|device| format!("--device={device}")));
            if terminal::is_live() {
                command.stderr(Stdio::piped());
            }
            let mut child = command.spawn().map_err(|e| Error::Other(format!("a worker cannot be started: {e}")))?;
            workers.lines.extend(child.stderr.take().map(|lines| thread::spawn(move || hand_on(lines))));
            workers.children.push(child);
        }
        // Whoever is asked to stop has something to save as long as a worker has.
        let saving = stop.begin_unsaved();
        let mut asked = false;
        while workers.are_at_work()? {
            if stop.requested() && !asked {
                workers.ask_to_stop();
                asked = true;
            }
            thread::sleep(LOOK);
        }
        drop(saving);
        stop.check("running the sweep")?;
        workers.tell_ends();
        Ok(())
    }
}

/// What a worker says, line by line above what is drawn.
fn hand_on(lines: ChildStderr) {
    // Not necessarily UTF-8: it may name any path.
    let mut lines = BufReader::new(lines).split(b'\n');
    while let Some(Ok(line)) = lines.next() {
        terminal::line(&String::from_utf8_lossy(&line));
    }
}

/// They are waited for, whatever happens.
#[derive(Default)]
struct Workers {
    children: Vec<Child>,
    /// Who hands on what they say.
    lines: Vec<JoinHandle<()>>,
}

impl Workers {
    fn are_at_work(&mut self) -> Result<bool> {
        let mut at_work = false;
        for worker in &mut self.children {
            let status = worker.try_wait().map_err(|e| Error::Other(format!("a worker cannot be waited for: {e}")))?;
            at_work |= status.is_none();
        }
        Ok(at_work)
    }

    fn ask_to_stop(&self) {
        for worker in &self.children {
            // One that is gone needs no asking.
            if let Some(process) = rustix::process::Pid::from_raw(worker.id().cast_signed()) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            }
        }
    }

    /// Warns of those that ended otherwise than they should: what they have left undone, this process does.
    fn tell_ends(&mut self) {
        for worker in &mut self.children {
            match worker.wait() {
                Ok(status) if status.success() => {}
                Ok(status) => {
                    tracing::warn!("worker {} ended with {status}; others take up what it has left", worker.id())
                }
                Err(e) => tracing::warn!("worker {} cannot be waited for: {e}", worker.id()),
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.ask_to_stop();
        self.children.iter_mut().for_each(|worker| drop(worker.wait()));
        self.lines.drain(..).for_each(|lines| drop(lines.join()));
    }
}
