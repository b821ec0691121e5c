//! What a user is told once, however often a checkpoint is opened: a run opens it again for every stage that starts there.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What was said so far.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Warns, unless the very same was said before.
pub(crate) fn once(message: String) {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&message) {
        tracing::warn!("{message}");
        said.insert(message);
    }
}
