//! A progress bar on the terminal; nothing where there is none.

use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one stage. Drawn on standard error, and only when that is a terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(stage: &str, updates: u64, done: u64) -> Self {
        let bar = ProgressBar::new(updates).with_prefix(stage.to_owned()).with_position(done);
        if let Ok(style) = ProgressStyle::with_template("{prefix} [{bar:30}] {pos}/{len} {msg} {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.reset_eta();
        Self(bar)
    }

    pub(crate) fn update(&self, update: u64, loss: f64) {
        self.0.set_position(update);
        self.0.set_message(format!("loss {loss:.4}"));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
