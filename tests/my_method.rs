//! The example of a method of one's own obeys the laws of the built-in ones, and does what it claims.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[allow(dead_code, reason = "its `main` is not run here")]
#[path = "../examples/my_method.rs"]
mod my_method;

use lopper::{Sparsity, StrategyEntry, registry};

#[test]
fn it_obeys_the_laws_of_strategies() {
    let entry = registry::find::<StrategyEntry>("movement").unwrap();
    lopper_testkit::laws::strategy(|| (entry.open)(&toml::Table::new()).unwrap());
    lopper_testkit::laws::strategy(|| (entry.open)(&"every = 1\nuntil = 1.0".parse().unwrap()).unwrap());
}

#[test]
fn it_keeps_more_accuracy_than_magnitudes_of_a_random_encoder() {
    let _serial = lopper_testkit::serial();
    let directory = tempfile::tempdir().unwrap();
    let sparsity = Sparsity::new(0.95).unwrap();
    let [movement, mpi] =
        ["movement", "mpi"].map(|method| my_method::toy_run::run(method, "", sparsity, directory.path()).unwrap());
    assert_eq!((movement.pruned, movement.entries), (1216, 1280));
    assert!(movement.value() > mpi.value(), "{:?} and {:?}", movement.metric, mpi.metric);
}
