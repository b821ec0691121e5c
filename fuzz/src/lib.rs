//! Fuzz targets by name. Their bodies lie in `tests/corpus`, whose test runs them over the committed inputs.

#[path = "../../tests/corpus/parsers.rs"]
mod parsers;

/// Runs the target called `name` on one input.
///
/// # Panics
/// When the input breaks one of the target's promises, or there is no such target.
pub fn run(name: &str, input: &[u8]) {
    let (_, target) = parsers::TARGETS.iter().find(|(known, _)| *known == name).expect("a known target");
    target(input);
}
