//! Where a run writes: the disk that it needs, told before it begins, and paths that its records can hold.

use crate::needs::{DiskUse, SMALL, Sizes, Stays, Task, disk_uses, size};
use crate::{PlannedStage, SessionSettings};
use lopper_core::{Error, Layout, Model, Result};
use lopper_weights::free_space;
use serde::Serialize;
use std::path::Path;

/// Bytes that a run will have on disk at the most, beyond what is there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskNeeds {
    /// In the store, whose stages stay.
    pub store: u64,
    /// In the run's own directory, whose checkpoints go.
    pub out: u64,
    /// In both at the same moment: what a disk needs that holds both.
    pub together: u64,
}

impl DiskNeeds {
    pub(crate) fn of(model: &dyn Model, layout: &Layout, plan: &[PlannedStage], settings: &SessionSettings) -> Self {
        let uses = disk_uses(&Sizes::of(model, layout), &Task::remaining(plan, settings), Stays::of(settings));
        let most = |bytes: fn(&DiskUse) -> u64| uses.iter().map(bytes).max().unwrap_or(0);
        Self {
            store: most(|at| at.store),
            out: most(|at| at.out),
            together: most(|at| at.store.saturating_add(at.out)),
        }
    }
}

/// Refuses a disk that cannot even hold the model that every run ends with: what is known before the data are read and the
/// run is planned.
///
/// # Errors
/// [`Error::File`] naming the directory, what is free and what is needed.
pub fn check_disk_for_model(model: &dyn Model, out: &Path) -> Result<()> {
    let Some(free) = free_space(out)? else { return Ok(()) };
    let sizes = Sizes::of(model, &model.layout()?);
    holds(&sizes, out, free.bytes)
}

fn holds(sizes: &Sizes, out: &Path, free: u64) -> Result<()> {
    let needed = sizes.weights + sizes.mask + SMALL;
    if needed <= free {
        return Ok(());
    }
    let (free, needed) = (size(free), size(needed));
    let advice = "checkpoints come on top. Free some, or set run.out to a larger disk";
    Err(Error::file(out, format!("{free} are free and the run's model alone takes {needed}; {advice}")))
}

/// Refuses a path that is not UTF-8 as a whole, from the root on: records, which are text, hold it.
///
/// # Errors
/// [`Error::File`] naming the path, or the directory in which it lies.
pub fn check_text(path: &Path) -> Result<()> {
    let existing = path.ancestors().find(|above| above.exists()).filter(|above| !above.as_os_str().is_empty());
    // As the references of the store hold it.
    let whole = std::fs::canonicalize(existing.unwrap_or(Path::new("."))).unwrap_or_default();
    match [path, &whole].into_iter().find(|path| path.to_str().is_none()) {
        Some(path) => Err(Error::file(path, "is not UTF-8, and records, which hold it, are text")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_for_the_model_is_refused() {
        let sizes = Sizes { weights: 400 << 20, trainable: 0, prunable: 0, mask: 10 << 20 };
        let needed = 411 << 20;
        holds(&sizes, Path::new("runs/a"), needed).unwrap();
        let message = holds(&sizes, Path::new("runs/a"), needed - 1).unwrap_err().to_string();
        assert!(
            message.starts_with("runs/a: 411.0 MiB are free and the run's model alone takes 411.0 MiB; checkpoints"),
            "{message}"
        );
    }
    #[cfg(unix)]
    #[test]
    fn a_path_is_text_from_the_root_on() {
        use std::os::unix::ffi::OsStrExt;
        let directory = tempfile::tempdir().unwrap();
        let odd = directory.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9"));
        std::fs::create_dir(&odd).unwrap();
        std::os::unix::fs::symlink(&odd, directory.path().join("link")).unwrap();
        check_text(&directory.path().join("a/b")).unwrap();
        check_text(Path::new("a")).unwrap();
        for path in [odd.clone(), odd.join("a"), directory.path().join("link/a")] {
            let message = check_text(&path).unwrap_err().to_string();
            assert!(message.contains("caf\u{fffd}") && message.contains("is not UTF-8"), "{message}");
        }
    }
}
