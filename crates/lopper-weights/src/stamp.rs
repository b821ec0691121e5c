//! By what a file is known again without being read.

use lopper_core::DataCache;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that was written less than so long ago may be written again without its times telling: they are as coarse as two
/// seconds on some file systems.
const SETTLED: Duration = Duration::from_secs(3);

/// A file's size, times and place. A file with the same stamp at the same path has, for all that a program can tell without
/// reading it, the same content; whoever sets times back by hand can deceive it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileStamp {
    size: u64,
    /// Last change of the content, in nanoseconds since 1970.
    modified: u128,
    /// Last change of content, name, owner or mode, which nobody can set, in nanoseconds since 1970; 0 where there is no such time.
    changed: u128,
    /// Device and inode; 0 where there are none.
    place: (u64, u64),
}

impl FileStamp {
    /// Of a file, or of what a symbolic link leads to.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        #[cfg(unix)]
        let (changed, place) = {
            use std::os::unix::fs::MetadataExt;
            let (seconds, nanoseconds) = (found.ctime().max(0) as u128, found.ctime_nsec().max(0) as u128);
            (seconds * 1_000_000_000 + nanoseconds, (found.dev(), found.ino()))
        };
        #[cfg(not(unix))]
        let (changed, place) = (0, (0, 0));
        Ok(Self { size: found.len(), modified, changed, place })
    }

    /// Whether it can be relied upon later: a file that was written just now may be written again with the same stamp.
    pub fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let limit = now.saturating_sub(SETTLED).as_nanos();
        self.modified < limit && self.changed < limit
    }
}

/// What `cache` holds under `name`, if it is of the file at `path` as that stands now.
pub fn recall(cache: &dyn DataCache, name: &str, path: &Path) -> Option<Vec<u8>> {
    let mut kept = cache.get(name)?;
    let line = kept.iter().position(|byte| *byte == b'\n')?;
    let stamp: FileStamp = serde_json::from_slice(&kept[..line]).ok()?;
    (FileStamp::of(path).ok()? == stamp).then(|| kept.split_off(line + 1))
}

/// Puts `value` into `cache` under `name`, for [`recall`]: what was found out about the file at `path`, whose stamp was `before`
/// when it was about to be read. A file that has changed since, or that was written just now, is not remembered.
pub fn remember(cache: &dyn DataCache, name: &str, path: &Path, before: FileStamp, value: &[u8]) {
    let stands = FileStamp::of(path).is_ok_and(|now| now == before) && before.is_settled();
    if let (true, Ok(mut kept)) = (stands, serde_json::to_vec(&before)) {
        kept.push(b'\n');
        kept.extend_from_slice(value);
        cache.put(name, &kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_or_content_has_another_stamp() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("a"), b"one").unwrap();
        let stamp = FileStamp::of(&at("a")).unwrap();
        assert!(!stamp.is_settled(), "it was written just now");
        assert_eq!(FileStamp::of(&at("a")).unwrap(), stamp);
        fs::write(at("a"), b"three").unwrap();
        assert_ne!(FileStamp::of(&at("a")).unwrap(), stamp);
        // The same content, size and time in another file.
        fs::write(at("b"), b"three").unwrap();
        let time = fs::metadata(at("a")).unwrap().modified().unwrap();
        fs::File::options().write(true).open(at("b")).unwrap().set_modified(time).unwrap();
        assert_ne!(FileStamp::of(&at("a")).unwrap(), FileStamp::of(&at("b")).unwrap());
        let old = fs::File::options().write(true).open(at("a")).unwrap();
        old.set_modified(SystemTime::now() - Duration::from_secs(3600)).unwrap();
        let set_back = FileStamp::of(&at("a")).unwrap();
        assert_eq!(set_back.is_settled(), cfg!(not(unix)), "its last change was just now");
        assert!(FileStamp::of(&at("none")).is_err());
        let text = serde_json::to_string(&set_back).unwrap();
        assert_eq!(serde_json::from_str::<FileStamp>(&text).unwrap(), set_back);
    }
}
