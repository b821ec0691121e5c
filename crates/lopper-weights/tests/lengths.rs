//! A header's length is a number and not the beginning of another format.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

#[test]
fn headers_of_every_length_are_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("weights.safetensors");
    let tensor = Tensor::from_slice(&[1f32, 2.0]);
    let mut lengths = BTreeSet::new();
    for padding in 0..1500 {
        let metadata = BTreeMap::from([("note".to_owned(), "x".repeat(padding))]);
        lopper_weights::save_tensors(&path, [("w", &tensor)], &metadata).unwrap();
        lengths.insert(u16::from_le_bytes(std::fs::read(&path).unwrap()[..2].try_into().unwrap()));
        let read = lopper_weights::load_tensors_verified(&path).unwrap_or_else(|e| panic!("{padding}: {e}"));
        assert!(read["w"].equal(&tensor));
    }
    // 0x80 followed by 2 to 5 is how a pickled file begins.
    assert!([640, 896, 1152, 1408].iter().all(|length| lengths.contains(length)), "{lengths:?}");
}
