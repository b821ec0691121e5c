//! Free space on disk.

use lopper_core::{Error, Result};
use std::path::Path;

/// Free space of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FreeSpace {
    /// Which file system: two directories with the same number share their space.
    pub file_system: u64,
    /// Bytes that this process may still write there.
    pub bytes: u64,
}

/// Free space where `path` lies or would be created. `None` where the system does not tell, or has no such thing.
///
/// # Errors
/// [`Error::File`] naming the nearest directory that exists when it cannot be looked at.
pub fn free_space(path: &Path) -> Result<Option<FreeSpace>> {
    let existing = path.ancestors().find(|above| above.exists()).filter(|above| !above.as_os_str().is_empty());
    let existing = existing.unwrap_or(Path::new("."));
    look(existing).map_err(|e| Error::file(existing, format!("the free space here cannot be told: {e}")))
}

#[cfg(target_os = "linux")]
fn look(directory: &Path) -> std::io::Result<Option<FreeSpace>> {
    use std::os::unix::fs::MetadataExt;
    let file_system = std::fs::metadata(directory)?.dev();
    let found = rustix::fs::statvfs(directory)?;
    // Some network and union file systems answer zeros.
    Ok((found.f_blocks > 0).then(|| FreeSpace { file_system, bytes: found.f_bavail.saturating_mul(found.f_frsize) }))
}

#[cfg(not(target_os = "linux"))]
fn look(_directory: &Path) -> std::io::Result<Option<FreeSpace>> {
    Ok(None)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_is_not_there_yet_has_the_space_of_the_one_above() {
        let directory = tempfile::tempdir().unwrap();
        let here = free_space(directory.path()).unwrap().unwrap();
        let below = free_space(&directory.path().join("not/yet")).unwrap().unwrap();
        assert_eq!(here.file_system, below.file_system);
        assert!(here.bytes > 0);
        assert!(free_space(Path::new("not-here-yet")).unwrap().is_some());
        // The kernel's own files take no space.
        assert_eq!(free_space(Path::new("/proc")).unwrap(), None);
    }
}
