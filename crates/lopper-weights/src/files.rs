//! Files and directories that appear completely or not at all.
//!
//! The order is always: temporary file in the same directory, write, fsync, rename, fsync the directory. When a step
//! fails, the temporary is removed and what was there before stays.
//!
//! A process that is killed leaves its temporaries behind. While it lives it holds a lock on each, so that whoever works
//! in the same directory later can tell leftovers from work under way, and [`sweep`] them. Some file systems keep locks to
//! each machine, so temporaries bear the mark of theirs, and other machines wait for a day.

use lopper_core::{Error, Result};
use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tempfile::TempDir;

/// Prefix of every temporary file and directory.
pub const TEMPORARY_PREFIX: &str = ".lopper-tmp-";
/// Behind the prefix: a machine's mark follows, of so many characters.
const MARK: char = '@';
const MARK_LENGTH: usize = 8;
/// What another machine has left alone for so long, nobody is writing any more, however far two clocks are apart.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Behind the name of a directory while it is replaced, where names cannot be exchanged.
const ASIDE: &str = ".lopper-old";

/// A directory under construction. It is removed when dropped, unless it is put in place.
#[derive(Debug)]
pub struct Staging {
    directory: TempDir,
    /// Held while the directory is written, and released by the end of the process whatever that is.
    _lock: File,
}

impl Staging {
    /// Where it lies until it is put in place.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Replaces the content of `path` with `bytes`, or creates it. The mode of an existing file is kept, and a symbolic link stays
/// one: the file that it points to is replaced.
///
/// # Errors
/// [`Error::File`] naming the path; the old content is then untouched.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace(path, |file| file.write_all(bytes))
}

/// As [`write_atomic`], with what `write` writes, whose error leaves the old content too.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
    replace_io(path, write).map_err(|e| Error::file_caused(path, "cannot be written", e))
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
    let mut temporary = loop {
        let temporary = builder(0o666).tempfile_in(directory)?;
        if claim(temporary.as_file(), temporary.path()) {
            break temporary;
        }
    };
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
    create().map_err(|e: io::Error| Error::file_caused(path, "the directory cannot be created", e))
}

/// A temporary directory in `parent`, which must exist, with the mode of any new directory. Leftovers there are swept
/// first.
///
/// # Errors
/// [`Error::File`] naming the parent.
pub fn staging_dir(parent: &Path) -> Result<Staging> {
    sweep(parent);
    let stage = || loop {
        let directory = builder(0o777).tempdir_in(parent)?;
        let lock = match File::open(directory.path()) {
            // A sweep of another process was quicker.
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            lock => lock?,
        };
        if claim(&lock, directory.path()) {
            return Ok(Staging { directory, _lock: lock });
        }
    };
    stage().map_err(|e: io::Error| Error::file_caused(parent, "no directory can be made here", e))
}

/// Gives a finished directory its final name, in one step. The files in it must be on disk already, as those written
/// by this module are; `target` must lie on the same file system and be missing or an empty directory.
///
/// # Errors
/// [`Error::File`] naming `target`; the staged directory is then removed.
pub fn publish_dir(staging: Staging, target: &Path) -> Result<()> {
    let publish = || {
        sync_directory(staging.path())?;
        fs::rename(staging.path(), target)?;
        sync_directory(parent(target))
    };
    let published = publish().map_err(|e| Error::file_caused(target, "the directory cannot be put in place", e));
    if published.is_ok() {
        // The name it had is free again: nothing is left to remove.
        let _ = staging.directory.keep();
    }
    published
}

/// As [`publish_dir`], also in the place of an existing directory, which is removed afterwards.
///
/// # Errors
/// [`Error::File`] naming `target`; what was there before is then still there.
pub fn replace_dir(staging: Staging, target: &Path) -> Result<()> {
    settle(target).map_err(|e| Error::file_caused(target, "an earlier replacement cannot be undone", e))?;
    if !target.is_dir() {
        return publish_dir(staging, target);
    }
    let exchange = || {
        // What is replaced takes a temporary name for a moment, and must not be swept by others meanwhile.
        let lock = File::open(target)?;
        claim(&lock, target);
        sync_directory(staging.path())?;
        exchange_names(staging.path(), target)?;
        sync_directory(parent(target))
    };
    exchange().map_err(|e| Error::file_caused(target, "the directory cannot be replaced", e))
}

/// Removes a directory in one step: whoever looks sees all of it or nothing, whenever this process ends. No directory is
/// none to remove.
///
/// # Errors
/// [`Error::File`] naming the path.
pub fn remove_dir(path: &Path) -> Result<()> {
    remove_dir_io(path).map_err(|e| Error::file_caused(path, "cannot be removed", e))
}

fn remove_dir_io(path: &Path) -> io::Result<()> {
    let mut doomed = std::ffi::OsString::from(own_prefix());
    doomed.push(path.file_name().unwrap_or_default());
    let doomed = parent(path).join(doomed);
    match path.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(found) if !found.is_dir() => return Err(io::Error::other("it is no directory")),
        found => found?,
    };
    // Left by a process that was killed here before.
    match fs::remove_dir_all(&doomed) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    // Until this process ends, whoever sweeps leaves it to this one.
    let lock = File::open(path)?;
    claim(&lock, path);
    fs::rename(path, &doomed)?;
    fs::remove_dir_all(&doomed)
}

/// Gives a file that never changes a second name, in the place of whatever has that name; a copy of it where the file system
/// has no such links or the two lie on different ones.
///
/// # Errors
/// [`Error::File`] naming what could not be read or written.
pub fn link_or_copy(file: &Path, name: &Path) -> Result<()> {
    remove_file(name)?;
    if fs::hard_link(file, name).is_ok() {
        return sync_directory(parent(name)).map_err(|e| Error::file(name, e));
    }
    write_atomic(name, &fs::read(file).map_err(|e| Error::file(file, e))?)
}

/// Removes a file, if it is there.
///
/// # Errors
/// [`Error::File`] naming it.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::file(path, e)),
        _ => Ok(()),
    }
}

/// Removes what killed processes left half-written in a directory. Work under way, of this process or another, stays,
/// and so does everything on a file system that has no locks. What cannot be removed now is removed next time.
pub fn sweep(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // Links are not followed, and pipes, of which opening would wait for somebody, are not opened: nothing here makes
        // any, so they are somebody else's.
        let Ok(kind) = entry.file_type() else { continue };
        let target = name.strip_suffix(ASIDE).filter(|target| !target.is_empty() && kind.is_dir());
        let temporary = name.starts_with(TEMPORARY_PREFIX) && (kind.is_dir() || kind.is_file());
        if target.is_none() && !temporary {
            continue;
        }
        if temporary && is_of_another_machine(name, own_prefix()) && !is_long_ago(&entry) {
            continue;
        }
        // What cannot be locked stays.
        if !File::open(entry.path()).is_ok_and(|left| left.try_lock().is_ok()) {
            continue;
        }
        let _ = match target {
            Some(target) => settle(&directory.join(target)),
            None if kind.is_dir() => fs::remove_dir_all(entry.path()),
            None => fs::remove_file(entry.path()),
        };
    }
}

/// What the temporaries of this machine begin with: the prefix, and a part of what its kernel calls the time since it was started.
/// Elsewhere than on Linux the prefix alone.
fn own_prefix() -> &'static str {
    static OWN: OnceLock<String> = OnceLock::new();
    OWN.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mark: String = boot.chars().take(MARK_LENGTH).collect();
        let is_whole = mark.len() == MARK_LENGTH && mark.bytes().all(|byte| byte.is_ascii_hexdigit());
        let mark = if is_whole { format!("{MARK}{mark}-") } else { String::new() };
        TEMPORARY_PREFIX.to_owned() + &mark
    })
}

/// Whether a temporary bears a mark, and not that of `own`.
fn is_of_another_machine(name: &str, own: &str) -> bool {
    let rest = name.strip_prefix(TEMPORARY_PREFIX).and_then(|rest| rest.strip_prefix(MARK));
    let marked = rest.and_then(|rest| rest.split_once('-')).is_some_and(|(mark, _)| mark.len() == MARK_LENGTH);
    marked && !name.starts_with(own)
}

fn is_long_ago(entry: &fs::DirEntry) -> bool {
    let changed = entry.metadata().and_then(|data| data.modified());
    // One in the future is not long ago.
    changed.is_ok_and(|changed| changed.elapsed().is_ok_and(|ago| ago > LONG))
}

/// Locks a new temporary; false when a sweep of another process was quicker. Where there are no locks, nothing is swept.
fn claim(file: &File, path: &Path) -> bool {
    !matches!(file.try_lock(), Err(TryLockError::WouldBlock)) && path.symlink_metadata().is_ok()
}

fn builder(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(own_prefix());
    if let Some(permissions) = permissions(mode) {
        builder.permissions(permissions);
    }
    builder
}

fn exchange_names(new: &Path, old: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE) {
            // Some file systems cannot exchange.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
            other => return Ok(other?),
        }
    }
    exchange_in_steps(new, old)
}

/// As an exchange, in three renames. A process that is killed between them leaves the old directory under a name that no
/// sweep takes for a leftover, and [`settle`] brings it in order.
fn exchange_in_steps(new: &Path, old: &Path) -> io::Result<()> {
    let aside = aside(old);
    fs::rename(old, &aside)?;
    if let Err(e) = fs::rename(new, old) {
        fs::rename(&aside, old)?;
        return Err(e);
    }
    fs::rename(&aside, new)
}

/// The name that the directory `target` has while it is replaced in steps.
fn aside(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(ASIDE);
    PathBuf::from(name)
}

/// Ends a replacement of `target` that a killed process left half-done: what was set aside comes back when nothing took its
/// place, and else is obsolete. What a living process has set aside is left to it.
fn settle(target: &Path) -> io::Result<()> {
    let aside = aside(target);
    match aside.symlink_metadata() {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        // Nobody's but the user's.
        Ok(found) if !found.is_dir() => return Ok(()),
        found => found?,
    };
    // Whoever replaces it holds it locked. Where there are no locks it is taken for dead: alive, it would fail, and nothing
    // be lost.
    if matches!(File::open(&aside)?.try_lock(), Err(TryLockError::WouldBlock)) {
        return Ok(());
    }
    match target.symlink_metadata() {
        Ok(_) => remove_dir_io(&aside)?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => fs::rename(&aside, target)?,
        Err(e) => return Err(e),
    }
    sync_directory(parent(target))
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
        let error = replace(&path, |out| {
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

        replace_dir(staged(b"3"), &target).unwrap();
        assert_eq!(fs::read(target.join("f")).unwrap(), b"3");
        replace_dir(staged(b"4"), &dir.path().join("x/y/other")).unwrap();
        assert_eq!(entries(&dir.path().join("x/y")), ["final", "other"]);
    }

    #[test]
    fn a_directory_goes_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        remove_dir(&at.join("none")).unwrap();
        for _ in 0..2 {
            fs::create_dir_all(at.join("old/below")).unwrap();
            // As if an earlier removal had been killed half-way.
            fs::create_dir_all(at.join(format!("{}old/below", own_prefix()))).unwrap();
            remove_dir(&at.join("old")).unwrap();
            assert!(entries(at).is_empty());
        }
        fs::write(at.join("file"), b"").unwrap();
        assert!(remove_dir(&at.join("file")).unwrap_err().to_string().contains("file: cannot be removed"));
        assert!(at.join("file").is_file());
    }

    #[test]
    fn leftovers_are_swept_and_work_under_way_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let dead = |name: &str| at.join(format!("{TEMPORARY_PREFIX}{name}"));
        fs::create_dir_all(dead("directory").join("below")).unwrap();
        fs::write(dead("directory").join("below/weights"), b"half").unwrap();
        fs::write(dead("file"), b"half").unwrap();
        fs::write(at.join("mine"), b"whole").unwrap();
        let alive = staging_dir(at).unwrap();
        replace(&at.join("new"), |out| {
            out.write_all(b"first ")?;
            sweep(at);
            out.write_all(b"second")
        })
        .unwrap();
        assert!(alive.path().is_dir());
        assert_eq!(fs::read(at.join("new")).unwrap(), b"first second");
        drop(alive);
        assert_eq!(entries(at), ["mine", "new"]);
    }

    /// Where locks hold on one machine alone, another one's work under way looks as if nobody held it.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_another_machine_may_be_writing_stays_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let theirs = format!("{TEMPORARY_PREFIX}{MARK}00c0ffee-a");
        assert!(is_of_another_machine(&theirs, own_prefix()) && !is_of_another_machine(&theirs, &theirs));
        let ours = format!("{}a", own_prefix());
        assert!(ours.len() == theirs.len() && !is_of_another_machine(&ours, own_prefix()));
        let old = format!("{theirs}-old");
        for name in [&theirs, &ours, &old] {
            fs::write(at.join(name), b"half").unwrap();
        }
        let then = std::time::SystemTime::now() - 2 * LONG;
        File::options().write(true).open(at.join(&old)).unwrap().set_modified(then).unwrap();
        sweep(at);
        assert_eq!(entries(at), [theirs]);
    }

    /// Names like those of leftovers, of what is none.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_like_a_leftover_only_in_its_name_stays() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("at");
        // A directory that has nothing but the ending for a name would be settled as its own parent.
        create_dir(&at.join(ASIDE)).unwrap();
        let pipes = ["pipe".to_owned() + ASIDE, format!("{TEMPORARY_PREFIX}pipe")];
        for pipe in &pipes {
            // Opening it would wait for ever.
            mknodat(CWD, at.join(pipe), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
        std::os::unix::fs::symlink("mine", at.join(format!("link{ASIDE}"))).unwrap();
        create_dir(&at.join("mine")).unwrap();
        write_atomic(&at.join(format!("file{ASIDE}")), b"mine").unwrap();
        let before = entries(&at);
        assert_eq!(before.len(), 6);
        sweep(&at);
        assert_eq!(entries(&at), before);
    }

    /// The states in which a kill leaves a replacement in three renames, and a replacement after it.
    #[test]
    fn a_replacement_in_steps_that_was_killed_is_settled() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path();
        let (target, aside) = (at.join("target"), at.join("target.lopper-old"));
        let holds = |path: &Path| fs::read_to_string(path.join("f")).unwrap();
        let make = |path: &Path, content: &str| {
            create_dir(path).unwrap();
            write_atomic(&path.join("f"), content.as_bytes()).unwrap();
        };
        let replace = |content: &str, leave: &dyn Fn()| {
            let staging = staging_dir(at).unwrap();
            write_atomic(&staging.path().join("f"), content.as_bytes()).unwrap();
            leave();
            replace_dir(staging, &target).unwrap();
            assert_eq!(holds(&target), content);
            assert_eq!(entries(at), ["target"]);
        };
        // No kill.
        make(&target, "old");
        make(&at.join("new"), "new");
        exchange_in_steps(&at.join("new"), &target).unwrap();
        assert_eq!((holds(&target), holds(&at.join("new"))), ("new".to_owned(), "old".to_owned()));
        fs::remove_dir_all(at.join("new")).unwrap();

        // Killed after the first rename: nothing has the name, and what had it comes back.
        fs::rename(&target, &aside).unwrap();
        sweep(at);
        assert_eq!(holds(&target), "new");
        replace("newer", &|| fs::rename(&target, &aside).unwrap());
        // Killed after the second: the old one is obsolete.
        make(&aside, "older");
        sweep(at);
        assert_eq!((holds(&target), entries(at)), ("newer".to_owned(), vec!["target".to_owned()]));
        replace("newest", &|| make(&aside, "older"));
        // Not killed: whoever replaces it holds it.
        fs::rename(&target, &aside).unwrap();
        let alive = File::open(&aside).unwrap();
        alive.lock().unwrap();
        sweep(at);
        settle(&target).unwrap();
        assert_eq!(entries(at), ["target.lopper-old"]);
        drop(alive);
        replace("last", &|| ());
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
