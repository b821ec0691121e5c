//! Free space on disk, and whether it can be written to.

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
    let existing = existing(path);
    look(existing).map_err(|e| Error::file_caused(existing, "the free space here cannot be told", e))
}

/// Whether this process may create something where `path` lies or would be created, as far as the system tells without a
/// try; nothing is written.
///
/// # Errors
/// [`Error::File`] naming the nearest directory that exists when it is read-only, or closed to this process.
pub fn check_writable(path: &Path) -> Result<()> {
    let existing = existing(path);
    may_create(existing).map_err(|e| Error::file(existing, format!("cannot be written: {}", e.kind())))
}

/// The nearest of a path and the directories above it that exists.
fn existing(path: &Path) -> &Path {
    let existing = path.ancestors().find(|above| above.exists()).filter(|above| !above.as_os_str().is_empty());
    existing.unwrap_or(Path::new("."))
}

#[cfg(target_os = "linux")]
fn may_create(directory: &Path) -> std::io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

#[cfg(not(target_os = "linux"))]
fn may_create(_directory: &Path) -> std::io::Result<()> {
    Ok(())
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

    /// Whoever runs this: an administrator may write everywhere.
    #[test]
    fn what_is_said_to_be_closed_cannot_be_written() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        check_writable(&closed.join("a/b")).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o555)).unwrap();
        let (said, tried) = (check_writable(&closed.join("a/b")), std::fs::create_dir(closed.join("a")));
        assert_eq!(said.is_err(), tried.is_err());
        assert!(said.err().is_none_or(|e| e.to_string().ends_with("closed: cannot be written: permission denied")));
    }

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
