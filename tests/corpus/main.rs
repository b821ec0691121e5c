//! Every committed fuzz input, past crashes among them, through the functions that the fuzz targets call.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod hostile;
mod parsers;

use std::panic::catch_unwind;
use std::path::Path;

#[test]
fn every_input_keeps_the_promises() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut broken = Vec::new();
    for (name, target) in parsers::TARGETS {
        let inputs = std::fs::read_dir(corpus.join(name)).unwrap_or_else(|e| panic!("the corpus of {name}: {e}"));
        let paths: Vec<_> = inputs.map(|input| input.unwrap().path()).collect();
        assert!(!paths.is_empty(), "{name} has no inputs");
        for path in paths {
            let bytes = std::fs::read(&path).unwrap();
            if catch_unwind(|| target(&bytes)).is_err() {
                broken.push(path);
            }
        }
    }
    assert!(broken.is_empty(), "broken by {broken:#?}");
}
