//! Collects what is wrong, so that one problem hides no other.

use lopper_core::{Error, Result};
use std::fmt::Display;

/// The value, or `None` with its error among the problems.
pub(crate) fn keep<T>(problems: &mut Vec<Error>, result: Result<T>) -> Option<T> {
    result.map_err(|e| problems.push(e)).ok()
}

/// Refuses a value that is not `ok`.
pub(crate) fn check(
    problems: &mut Vec<Error>,
    ok: bool,
    key: &str,
    value: impl Display,
    expected: impl FnOnce() -> String,
) {
    if !ok {
        problems.push(Error::invalid(key, value, expected()));
    }
}
