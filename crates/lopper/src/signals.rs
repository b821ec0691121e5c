//! SIGINT and SIGTERM while a run goes on: seen at once, obeyed within two seconds wherever nothing is lost by that.

use lopper_core::{Error, Result};
use lopper_session::Stop;
use signal_hook::consts::TERM_SIGNALS;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

/// How long a run may take to stop by itself, saying where it stands, before whoever waits is told what for.
const PATIENCE: Duration = Duration::from_millis(700);
/// How long until a process that would lose nothing is ended: two seconds from the signal, less what an end takes.
const PROMISE: Duration = Duration::from_millis(1500);
/// How often it is looked whether something would be lost.
const SLICE: Duration = Duration::from_millis(20);

/// A request that the first SIGINT or SIGTERM makes; another one, later than `PATIENCE` after it, ends the process at once, with the
/// code `interrupted`. What comes before that is the same request by two ways: a terminal signals a whole group of processes, a
/// scheduler all of a job, and a parent or a job's script tells its children besides.
///
/// A run sees the request between updates, micro-batches and batches, saves and ends. Other code does not look, be it
/// libtorch at work on one batch or a plugin that reads a corpus. Where that goes on while nothing is unsaved, the process
/// is ended from a thread of its own: all files are written so that they outlive worse.
///
/// # Errors
/// [`Error::Other`] when the system lets no signal be handled.
pub(crate) fn stop_on_signals(interrupted: u8) -> Result<Stop> {
    let code = i32::from(interrupted);
    let requested = Arc::new(AtomicBool::new(false));
    let heard = Arc::new(AtomicBool::new(false));
    let refuse = |what: String, e: std::io::Error| Error::Other(format!("{what} cannot be handled: {e}"));
    let (wakes, woken) = UnixStream::pair().map_err(|e| refuse("signals".into(), e))?;
    for signal in TERM_SIGNALS {
        let wakes = wakes.try_clone().map_err(|e| refuse("signals".into(), e))?;
        signal_hook::flag::register_conditional_shutdown(*signal, code, heard.clone())
            .and_then(|_| signal_hook::flag::register(*signal, requested.clone()))
            .and_then(|_| signal_hook::low_level::pipe::register(*signal, wakes))
            .map_err(|e| refuse(format!("signal {signal}"), e))?;
    }
    let stop = Stop::watching(requested);
    let watched = stop.clone();
    let thread = Builder::new().name("signals".into()).spawn(move || end_in_time(woken, &watched, &heard, code));
    thread.map(|_| stop).map_err(|e| refuse("signals".into(), e))
}

/// Ends the process with success, for what goes on until a signal. No destructors: other threads are at work, and what they write
/// appears whole or not at all.
pub(crate) fn end_well() -> ! {
    signal_hook::low_level::exit(0)
}

/// Waits for the first signal, and ends the process once it has had its time and nothing would be lost. Sets `heard` when a further
/// signal is a second request.
fn end_in_time(mut woken: UnixStream, stop: &Stop, heard: &AtomicBool, code: i32) {
    if woken.read_exact(&mut [0]).is_err() {
        return;
    }
    let signalled = Instant::now();
    std::thread::sleep(PATIENCE);
    heard.store(true, Ordering::Relaxed);
    if stop.unsaved() {
        eprintln!(
            "stopping: what is under way is finished or given up, and the state saved; a second signal ends at once"
        );
    }
    loop {
        std::thread::sleep(SLICE);
        if signalled.elapsed() < PROMISE {
            continue;
        }
        // Gradients that are being computed change nothing that a checkpoint holds.
        if stop.unsaved()
            && let Some(Err(error)) = stop.save_for_run()
        {
            eprintln!("warning: {error}; the run tries again when it is through with its micro-batch");
        }
        if !stop.unsaved() {
            eprintln!("error: interrupted: nothing is lost by it; the same command goes on from what is saved");
            stop.end_for_run();
            // No destructors: other threads are at work, in libtorch and elsewhere.
            signal_hook::low_level::exit(code);
        }
    }
}
