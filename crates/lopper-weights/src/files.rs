//! Files and directories that appear completely or not at all.
//!
//! The order is always: temporary file in the same directory, write, fsync, rename, fsync the directory. When a step
//! fails, the temporary is removed and what was there before stays.

use lopper_core::{Error, Result};
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Prefix of every temporary file and directory, so that leftovers of a killed process can be told and swept.
pub const TEMPORARY_PREFIX: &str = ".lopper-tmp-";

/// Replaces the content of `path` with `bytes`, or creates it. See [`write_atomic_with`].
///
/// # Errors
/// [`Error::File`] naming the path.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| file.write_all(bytes))
}

/// Replaces the content of `path` with what `write` writes, or creates it. The mode of an existing file is kept, and a
/// symbolic link stays one: the file that it points to is replaced.
///
/// # Errors
/// [`Error::File`] naming the path, also for an error that `write` returns; the old content is then untouched.
pub fn write_atomic_with(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    replace(path, |file| {
        let mut buffered = BufWriter::with_capacity(1 << 20, file);
        write(&mut buffered)?;
        buffered.flush()
    })
}

pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    replace_io(path, write).map_err(|e| Error::file(path, format!("cannot be written: {e}")))
}

fn replace_io(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = match fs::metadata(&target) {
        Ok(old) if old.is_file() => Some(old.permissions()),
        Ok(_) => return Err(io::Error::other("it exists and is no regular file")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(e),
    };
    let directory = parent(&target);
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    if let Some(permissions) = permissions(0o666) {
        builder.permissions(permissions);
    }
    let mut temporary = builder.tempfile_in(directory)?;
    if let Some(old) = old {
        temporary.as_file().set_permissions(old)?;
    }
    write(temporary.as_file_mut())?;
    temporary.as_file().sync_all()?;
    temporary.persist(&target).map_err(|e| e.error)?;
    sync_directory(directory)
}

/// Creates a directory and those above it. An existing one is left as it is.
///
/// # Errors
/// [`Error::File`] naming the path.
pub fn create_dir(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let create = || {
        let topmost = path.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned);
        fs::create_dir_all(path)?;
        for created in path.ancestors().take_while(|above| Some(*above) != topmost.as_deref()) {
            sync_directory(parent(created))?;
        }
        Ok(())
    };
    create().map_err(|e: io::Error| Error::file(path, format!("the directory cannot be created: {e}")))
}

/// A temporary directory in `parent`, which must exist, with the mode of any new directory. It is removed when
/// dropped, unless it goes through [`publish_dir`].
///
/// # Errors
/// [`Error::File`] naming the parent.
pub fn staging_dir(parent: &Path) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY_PREFIX);
    if let Some(permissions) = permissions(0o777) {
        builder.permissions(permissions);
    }
    builder.tempdir_in(parent).map_err(|e| Error::file(parent, format!("no directory can be made here: {e}")))
}

/// Gives a finished directory its final name, in one step. The files in it must be on disk already, as those written
/// by this module are; `target` must lie on the same file system and be missing or an empty directory.
///
/// # Errors
/// [`Error::File`] naming `target`; the staged directory is then removed.
pub fn publish_dir(staging: TempDir, target: &Path) -> Result<()> {
    let publish = || {
        sync_directory(staging.path())?;
        fs::rename(staging.path(), target)?;
        sync_directory(parent(target))
    };
    let published = publish().map_err(|e| Error::file(target, format!("the directory cannot be put in place: {e}")));
    if published.is_ok() {
        // The name it had is free again: nothing is left to remove.
        let _ = staging.keep();
    }
    published
}

/// Puts a finished directory in the place of an existing one and returns the old one, now in a temporary place.
pub(crate) fn exchange_dir(staging: TempDir, target: &Path) -> Result<TempDir> {
    let exchange = || {
        sync_directory(staging.path())?;
        exchange_names(staging.path(), target)?;
        sync_directory(parent(target))
    };
    match exchange() {
        Ok(()) => Ok(staging),
        Err(e) => Err(Error::file(target, format!("the directory cannot be replaced: {e}"))),
    }
}

fn exchange_names(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            // Some file systems cannot exchange; what follows does it in three steps.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return Ok(other?),
        }
    }
    let mut aside = new.as_os_str().to_owned();
    aside.push("-old");
    let aside = PathBuf::from(aside);
    fs::rename(old, &aside)?;
    if let Err(e) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(e);
    }
    fs::rename(&aside, new)
}

/// Makes renames and removals in a directory survive a power cut.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    match File::open(path)?.sync_all() {
        // Some network file systems cannot sync a directory.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// What a new file or directory may have before the process's umask takes its share.
fn permissions(mode: u32) -> Option<Permissions> {
    #[cfg(unix)]
    return Some(std::os::unix::fs::PermissionsExt::from_mode(mode));
    #[cfg(not(unix))]
    return {
        let _ = mode;
        None
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(directory: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_replaces_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"one").unwrap();
        write_atomic(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(entries(dir.path()), ["a"]);
    }

    #[test]
    fn a_failed_write_keeps_the_old_content_and_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_atomic(&path, b"one").unwrap();
        let error = write_atomic_with(&path, |out| {
            out.write_all(b"half of it")?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        })
        .unwrap_err()
        .to_string();
        assert!(error.contains(path.to_str().unwrap()) && error.contains("no storage space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(entries(dir.path()), ["a"]);
    }

    #[test]
    fn missing_directories_and_directories_in_the_way_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("nowhere/a");
        assert!(write_atomic(&missing, b"").unwrap_err().to_string().contains("nowhere/a"));
        let error = write_atomic(dir.path(), b"").unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
        write_atomic(&dir.path().join("file"), b"").unwrap();
        let error = create_dir(&dir.path().join("file/below")).unwrap_err().to_string();
        assert!(error.contains("file/below"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn mode_and_links_are_kept() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        write_atomic(&path, b"one").unwrap();
        let by_std = dir.path().join("by_std");
        fs::write(&by_std, b"").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), mode(&by_std), "a new file has the mode of any new file");

        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        write_atomic(&link, b"two").unwrap();
        assert_eq!((mode(&path), fs::read(&path).unwrap()), (0o640, b"two".to_vec()));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_unicode_works() {
        use std::os::unix::ffi::OsStrExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\xfe"));
        write_atomic(&path, b"one").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
    }

    #[test]
    fn directories_are_published_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(&dir.path().join("x/y")).unwrap();
        create_dir(&dir.path().join("x/y")).unwrap();
        let target = dir.path().join("x/y/final");
        let staged = |content: &[u8]| {
            let staging = staging_dir(&dir.path().join("x/y")).unwrap();
            write_atomic(&staging.path().join("f"), content).unwrap();
            staging
        };
        publish_dir(staged(b"1"), &target).unwrap();
        let error = publish_dir(staged(b"2"), &target).unwrap_err().to_string();
        assert!(error.contains("final"), "{error}");
        assert_eq!(fs::read(target.join("f")).unwrap(), b"1");

        let old = exchange_dir(staged(b"3"), &target).unwrap();
        assert_eq!(fs::read(target.join("f")).unwrap(), b"3");
        assert_eq!(fs::read(old.path().join("f")).unwrap(), b"1");
        drop(old);
        assert_eq!(entries(&dir.path().join("x/y")), ["final"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_published_directory_has_the_mode_of_any_new_directory() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("by_std")).unwrap();
        publish_dir(staging_dir(dir.path()).unwrap(), &dir.path().join("new")).unwrap();
        let mode = |name| fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode("new"), mode("by_std"));
    }
}
