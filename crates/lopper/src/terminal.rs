//! Standard error: lines, and below them what is drawn again and again where it is a terminal.

use indicatif::MultiProgress;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is drawn at the moment.
static LIVE: Mutex<Option<MultiProgress>> = Mutex::new(None);

fn live() -> MutexGuard<'static, Option<MultiProgress>> {
    // It is set and taken as a whole.
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether something is drawn below the lines.
pub(crate) fn is_live() -> bool {
    live().is_some()
}

/// A line on standard error, above what is drawn.
pub(crate) fn line(text: &str) {
    // A closed standard error must not end a run.
    let _ = writeln!(Lines, "{text}");
}

/// Standard error as a writer of whole lines, each above what is drawn.
#[derive(Debug)]
pub(crate) struct Lines;

impl Write for Lines {
    fn write(&mut self, lines: &[u8]) -> std::io::Result<usize> {
        // Let go of at once: what is drawn may be drawn meanwhile.
        let live = live().clone();
        let write = || std::io::stderr().write_all(lines);
        live.map_or_else(write, |live| live.suspend(write)).map(|()| lines.len())
    }

    fn write_fmt(&mut self, lines: std::fmt::Arguments<'_>) -> std::io::Result<()> {
        self.write_all(lines.to_string().as_bytes())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// While it lives, its bars are drawn below the lines.
#[derive(Debug)]
pub(crate) struct Live(MultiProgress);

impl Live {
    /// `None` where standard error is no terminal, and where something is drawn already.
    pub(crate) fn begin() -> Option<Self> {
        let mut live = live();
        if live.is_some() || !std::io::stderr().is_terminal() {
            return None;
        }
        let bars = MultiProgress::new();
        *live = Some(bars.clone());
        Some(Self(bars))
    }

    /// What is drawn.
    pub(crate) fn bars(&self) -> &MultiProgress {
        &self.0
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let bars = live().take();
        // Cleared when nobody writes lines through it any more. A terminal that is gone needs no clearing.
        drop(bars.map(|bars| bars.clear()));
    }
}
