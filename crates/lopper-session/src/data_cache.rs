//! What datasets found out about their files, kept in the store.

use lopper_core::{DataCache, Result};
use lopper_weights::files;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Below the store's root. Whatever lies there may be removed at any time.
pub(crate) const DIRECTORY: &str = "data";

/// The cache of a store. What is put there is written by [`write`](Self::write) alone: whoever only plans leaves nothing.
#[derive(Debug)]
pub struct StoreCache {
    directory: PathBuf,
    /// Whether nothing that was found before counts.
    verify: bool,
    /// What is to be written.
    waiting: Mutex<BTreeMap<String, Vec<u8>>>,
}

impl StoreCache {
    /// The cache of the store in the directory `store`. With `verify` everything is found anew, and written.
    pub fn new(store: &Path, verify: bool) -> Self {
        Self { directory: store.join(DIRECTORY), verify, waiting: Mutex::default() }
    }

    /// Writes what was put there, each in the place of what had its name. Of two processes that write the same at once, one's
    /// stands.
    ///
    /// # Errors
    /// [`Error::File`](lopper_core::Error::File) naming what could not be written; what was written before stays.
    pub fn write(&self) -> Result<()> {
        let waiting = std::mem::take(&mut *self.waiting());
        if !waiting.is_empty() {
            files::create_dir(&self.directory)?;
        }
        waiting.iter().try_for_each(|(name, bytes)| files::write_atomic(&self.path(name), &sealed(name, bytes)))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(blake3::hash(name.as_bytes()).to_hex().as_str())
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        // Each change is one insertion, so it is whole even after a panic.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataCache for StoreCache {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        if self.verify {
            return None;
        }
        let kept = fs::read(self.path(name)).ok()?;
        let found = opened(name, kept);
        if found.is_none() {
            tracing::debug!(path = %self.path(name).display(), "is damaged; it is found anew");
        }
        found
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.waiting().insert(name.to_owned(), bytes.to_vec());
    }
}

/// A hash over name and bytes before the bytes.
fn sealed(name: &str, bytes: &[u8]) -> Vec<u8> {
    [hash(name, bytes).as_bytes(), bytes].concat()
}

/// Undoes [`sealed`]; `None` for anything else.
fn opened(name: &str, mut kept: Vec<u8>) -> Option<Vec<u8>> {
    let (found, bytes) = kept.split_first_chunk::<{ blake3::OUT_LEN }>()?;
    if hash(name, bytes) != *found {
        return None;
    }
    kept.drain(..blake3::OUT_LEN);
    Some(kept)
}

fn hash(name: &str, bytes: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(blake3::hash(name.as_bytes()).as_bytes()).update_rayon(bytes).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_and_damage_is_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("store");
        let cache = StoreCache::new(&store, false);
        cache.put("a", b"one");
        cache.put("b", b"");
        assert!(!store.exists() && cache.get("a").is_none(), "nothing is written before the run begins");
        cache.write().unwrap();
        let cache = StoreCache::new(&store, false);
        assert_eq!(
            (cache.get("a").unwrap(), cache.get("b").unwrap(), cache.get("c")),
            (b"one".into(), Vec::new(), None)
        );
        cache.put("a", b"two");
        cache.write().unwrap();
        assert_eq!(cache.get("a").unwrap(), b"two");
        // Whoever verifies sees nothing, and its findings are the next one's.
        let verifies = StoreCache::new(&store, true);
        assert_eq!(verifies.get("a"), None);
        verifies.put("a", b"three");
        verifies.write().unwrap();
        assert_eq!(cache.get("a").unwrap(), b"three");
        let path = cache.path("a");
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            for bytes in [&damaged, &whole[..place]] {
                fs::write(&path, bytes).unwrap();
                assert_eq!(cache.get("a"), None);
            }
        }
        fs::rename(cache.path("b"), &path).unwrap();
        assert_eq!(cache.get("a"), None, "it is another's");
    }
}
