//! Checkpoints of `torch.save`: what torch wrote is read exactly, what an attacker writes is refused by name.
//!
//! The files in `fixtures` are made by `make_pickled.py` beside them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod archive;
mod attacks;
mod damage;
mod program;
mod reading;

use lopper_weights::Checkpoint;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn open(name: &str) -> Checkpoint {
    Checkpoint::open(&fixture(name)).unwrap_or_else(|e| panic!("{e}"))
}

/// A directory with one file of these bytes.
struct Case {
    dir: TempDir,
    path: PathBuf,
}

impl Case {
    fn new(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pytorch_model.bin");
        std::fs::write(&path, bytes).unwrap();
        Self { dir, path }
    }

    /// Opens it through its directory.
    fn open(&self) -> lopper_core::Result<Checkpoint> {
        Checkpoint::open(self.dir.path())
    }
}

/// The error for a file of these bytes; it names the file.
fn refused(bytes: &[u8]) -> String {
    let case = Case::new(bytes);
    let error = case.open().expect_err("refused").to_string();
    assert!(error.contains(case.path.to_str().unwrap()), "names the file: {error}");
    error
}

#[track_caller]
fn assert_refused(bytes: &[u8], expected: &[&str]) {
    let error = refused(bytes);
    for part in expected {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}
