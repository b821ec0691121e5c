//! Nine methods as plugins of a third party: each obeys the laws, prunes exactly, and is one short file; the table beside MPI is
//! printed with `--nocapture`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a failed test panics; a table is shown")]

#[allow(dead_code, reason = "its `main` is not run here")]
#[path = "../examples/methods/main.rs"]
mod methods;

#[allow(dead_code, reason = "its `main` is not run here, and its method is another module's")]
#[path = "../examples/methods/toy_run.rs"]
mod toy_run;

use lopper::{Sparsity, StrategyEntry, registry};
use lopper_testkit::laws;
use std::path::Path;

/// Each with its file and options that show it on the toy.
const NINE: [(&str, &str, &str); 9] = [
    ("movement", "movement.rs", ""),
    ("rigl", "rigl.rs", "every = 10"),
    ("set", "set.rs", ""),
    ("gradual", "gradual.rs", ""),
    ("snip", "snip.rs", ""),
    ("wanda", "wanda.rs", ""),
    ("uniform", "uniform.rs", ""),
    ("erk", "erk.rs", ""),
    ("two-of-four", "two_of_four.rs", ""),
];

macro_rules! obeys {
    ($($test:ident: $method:literal $options:literal,)+) => {
        $(#[test]
        fn $test() {
            let entry = registry::find::<StrategyEntry>($method).unwrap();
            laws::strategy(|| (entry.open)(&$options.parse().unwrap()).unwrap());
        })+
    };
}

obeys! {
    movement: "movement" "",
    movement_at_every_update: "movement" "every = 1\nuntil = 1.0",
    rigl: "rigl" "every = 1",
    set: "set" "replace = 0.5",
    gradual: "gradual" "every = 2",
    snip: "snip" "",
    wanda: "wanda" "",
    uniform: "uniform" "",
    erk: "erk" "",
    two_of_four: "two-of-four" "",
}

#[test]
fn each_is_short_prunes_exactly_and_trains_once() {
    let _serial = lopper_testkit::serial();
    tch::set_num_threads(1);
    let directory = tempfile::tempdir().unwrap();
    let sparsity = Sparsity::new(0.5).unwrap();
    let [dense, mpi] = [("dense", 0.0), ("mpi", 0.5)].map(|(method, sparsity)| {
        toy_run::run(method, "", Sparsity::new(sparsity).unwrap(), directory.path()).unwrap()
    });
    println!("{:<12} {:>5} {:>8} {:>9}", "method", "lines", "pruned", "accuracy");
    println!(
        "{:<12} {:>5} {:>8} {:>9.3}\n{:<12} {:>5} {:>8} {:>9.3}",
        "dense",
        "",
        0,
        dense.value(),
        "mpi",
        "",
        mpi.pruned,
        mpi.value()
    );
    for (method, file, options) in NINE {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/methods").join(file);
        let lines = std::fs::read_to_string(source).unwrap().lines().count();
        assert!(lines <= 80, "{method} takes {lines} lines");
        let record = toy_run::run(method, options, sparsity, directory.path()).unwrap();
        assert_eq!((record.pruned, record.entries, record.finetunings), (640, 1280, 1), "{method}");
        // Worse than chance would mean that something is upside down.
        assert!(record.value() > 0.6, "{method}: {:?}", record.metric);
        println!("{method:<12} {lines:>5} {:>8} {:>9.3}", record.pruned, record.value());
    }
}

#[test]
fn a_layout_that_a_method_cannot_prune_is_refused_before_training() {
    let directory = tempfile::tempdir().unwrap();
    let error = toy_run::run("two-of-four", "", Sparsity::new(0.7).unwrap(), directory.path()).unwrap_err().to_string();
    assert!(error.contains("stage two of four at 0.7: sparsity = 0.7 is not accepted: 0.5"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was written");
}
