//! The directory of a task, in the layouts in which tasks lie about.

use crate::GlueTask;
use crate::tasks::plain;
use lopper_core::{Error, Result};
use lopper_tables::layouts::{self, Directory, Misplaced, folders, only_folder, snapshot};
use std::path::{Path, PathBuf};

/// Folders with nothing in them but one folder are passed through, so many at most: the cache of `datasets` has a version and
/// a hash between a task and its files.
const DEEPEST: usize = 4;
/// The directory with the files of a task: `path` itself, or one within it that is named like the task.
pub(crate) fn resolve(task: &GlueTask, path: &Path) -> PathBuf {
    let mut at = snapshot(path).unwrap_or_else(|| path.to_owned());
    if let Some(below) = task_folder(task, &at) {
        at = below;
    }
    for _ in 0..DEEPEST {
        let Some(only) = only_folder(&at) else { break };
        at = only;
        if let Some(below) = task_folder(task, &at) {
            at = below;
        }
    }
    at
}

fn task_folder(task: &GlueTask, path: &Path) -> Option<PathBuf> {
    let own = path.join(task.folder);
    if own.is_dir() {
        return Some(own);
    }
    let mut folders = folders(path);
    folders.sort();
    let named = |folder: &PathBuf| folder.file_name().is_some_and(|n| plain(&n.to_string_lossy()) == plain(task.name));
    folders.into_iter().find(named)
}

/// The files of a split that `save_to_disk` wrote, in their order.
///
/// # Errors
/// [`Error::File`] for a list that cannot be read or names a file that is not there.
pub(crate) fn saved(path: &Path) -> Result<Vec<PathBuf>> {
    layouts::saved(path).map_err(misplaced)
}

/// The files of the split that one of `stems` names, in their order; `None` where there are none.
///
/// # Errors
/// [`Error::File`] for shards of which some are missing or that belong to several versions, and those of a folder that
/// `save_to_disk` wrote.
pub(crate) fn split(directory: &Directory, stems: &[&str]) -> Result<Option<Vec<PathBuf>>> {
    directory.split(stems).map_err(misplaced)
}

fn misplaced(problems: Vec<Misplaced>) -> Error {
    let errors = problems.into_iter().map(|problem| Error::file(problem.path, problem.reason)).collect();
    Error::all(errors).expect_err("what is misplaced is an error")
}
