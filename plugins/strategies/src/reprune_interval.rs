//! How often PARP and PARP-P re-prune: n of Algorithm 1.

use lopper_core::{Error, Result};

/// n as a share of a stage's updates where none is given: the largest that the paper used, 50 of 12,000 updates (appendix A.3).
const SHARE: f64 = 0.004;

/// Checks the option `every`.
///
/// # Errors
/// [`Error::InvalidValue`] for 0.
pub(crate) fn check(every: Option<u64>) -> Result<()> {
    match every {
        Some(0) => Err(Error::invalid("[prune] every", 0, "a number of updates from 1 up")),
        _ => Ok(()),
    }
}

/// n for a stage of so many updates: what is given, or else [`SHARE`] of them, rounded, at least 1.
pub(crate) fn settled(every: Option<u64>, updates: u64) -> u64 {
    every.unwrap_or_else(|| ((updates as f64 * SHARE).round() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n_is_the_papers_share_unless_it_is_given() {
        for (updates, n) in [(0, 1), (1, 1), (250, 1), (374, 1), (375, 2), (535, 2), (12_000, 48), (20_000, 80)] {
            assert_eq!(settled(None, updates), n, "{updates} updates");
            assert_eq!(settled(Some(7), updates), 7);
        }
        assert!(check(Some(0)).is_err() && check(Some(1)).is_ok() && check(None).is_ok());
    }
}
