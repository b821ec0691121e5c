//! Decoded recordings that are kept for the next epoch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Recordings by split and row, up to a number of bytes.
///
/// What is once in it stays: epochs come in shuffled orders, in which every recording is as likely to be asked for
/// again as any other, so that to throw one out for another would only cost its decoding.
#[derive(Debug)]
pub(crate) struct Cache {
    most: u64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    bytes: u64,
    recordings: HashMap<(usize, usize), Arc<[f32]>>,
}

impl Cache {
    pub(crate) fn new(most: u64) -> Self {
        Self { most, kept: Mutex::default() }
    }

    pub(crate) fn get(&self, key: (usize, usize)) -> Option<Arc<[f32]>> {
        // A map of finished recordings is whole even when a thread has panicked.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).recordings.get(&key).cloned()
    }

    pub(crate) fn put(&self, key: (usize, usize), samples: &Arc<[f32]>) {
        let bytes = size_of_val::<[f32]>(samples) as u64;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.bytes + bytes <= self.most && !kept.recordings.contains_key(&key) {
            kept.bytes += bytes;
            kept.recordings.insert(key, samples.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let cache = Cache::new(20);
        let (two, three): (Arc<[f32]>, Arc<[f32]>) = ([1.0; 2].into(), [2.0; 3].into());
        cache.put((0, 0), &two);
        cache.put((0, 0), &two);
        cache.put((0, 1), &three);
        cache.put((1, 0), &two);
        assert_eq!(cache.get((0, 0)).as_deref(), Some(&[1.0, 1.0][..]));
        assert_eq!(cache.get((0, 1)).as_deref(), Some(&[2.0; 3][..]));
        assert!(cache.get((1, 0)).is_none(), "28 bytes are kept of 20");
    }
}
