//! A cache that tests can look into.

use lopper_core::DataCache;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps in memory what a dataset finds out about its files. A test that changes what is kept sees whether a dataset that is
/// opened again has read its file or believed the cache.
#[derive(Debug, Default)]
pub struct MemoryCache(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemoryCache {
    /// Entries in it.
    pub fn len(&self) -> usize {
        self.kept().len()
    }

    /// Whether nothing was put there.
    pub fn is_empty(&self) -> bool {
        self.kept().is_empty()
    }

    /// Changes every entry.
    pub fn change(&self, change: impl Fn(&mut Vec<u8>)) {
        self.kept().values_mut().for_each(change);
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DataCache for MemoryCache {
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.kept().get(name).cloned()
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        self.kept().insert(name.to_owned(), bytes.to_vec());
    }
}
