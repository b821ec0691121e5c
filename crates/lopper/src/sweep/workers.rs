//! Several processes of this machine that run one sweep.

use super::Sweep;
use lopper_core::{Error, Result};
use lopper_session::Stop;
use std::ffi::OsString;
use std::process::{Child, Command};
use std::time::Duration;

/// Between two looks at the workers.
const LOOK: Duration = Duration::from_millis(100);

/// What OpenMP, and with it libtorch, takes the number of its threads from.
const THREADS: &str = "OMP_NUM_THREADS";

impl Sweep {
    /// Runs `lopper work` on this sweep's directory in so many processes, each with its share of the machine's threads, and
    /// waits for them. They are asked to stop when this process is.
    ///
    /// # Errors
    /// [`Error::Interrupted`] when asked to stop, and [`Error::Other`] when a process cannot be started.
    pub(super) fn run_workers(&self, number: u64, verify: bool, stop: &Stop) -> Result<()> {
        let program =
            std::env::current_exe().map_err(|e| Error::Other(format!("this program cannot be found: {e}")))?;
        let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
        let threads = std::env::var(THREADS).unwrap_or_else(|_| (cores / number).max(1).to_string());
        let mut workers = Workers(Vec::new());
        for _ in 0..number {
            let mut command = Command::new(&program);
            command.arg("work").arg(&self.out).arg("--no-report").env(THREADS, &threads);
            command.args(verify.then_some(OsString::from("--verify")));
            let worker = command.spawn().map_err(|e| Error::Other(format!("a worker cannot be started: {e}")))?;
            workers.0.push(worker);
        }
        // Whoever is asked to stop has something to save as long as a worker has.
        let saving = stop.begin_unsaved();
        let mut asked = false;
        while workers.are_at_work()? {
            if stop.requested() && !asked {
                workers.ask_to_stop();
                asked = true;
            }
            std::thread::sleep(LOOK);
        }
        drop(saving);
        stop.check("running the sweep")?;
        workers.tell_ends();
        Ok(())
    }
}

/// They are waited for, whatever happens.
struct Workers(Vec<Child>);

impl Workers {
    fn are_at_work(&mut self) -> Result<bool> {
        let mut at_work = false;
        for worker in &mut self.0 {
            let status = worker.try_wait().map_err(|e| Error::Other(format!("a worker cannot be waited for: {e}")))?;
            at_work |= status.is_none();
        }
        Ok(at_work)
    }

    fn ask_to_stop(&self) {
        for worker in &self.0 {
            // One that is gone needs no asking.
            if let Some(process) = rustix::process::Pid::from_raw(worker.id().cast_signed()) {
                let _ = rustix::process::kill_process(process, rustix::process::Signal::TERM);
            }
        }
    }

    /// Warns of those that ended otherwise than they should: what they have left undone, this process does.
    fn tell_ends(&mut self) {
        for worker in &mut self.0 {
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
        self.0.iter_mut().for_each(|worker| drop(worker.wait()));
    }
}
