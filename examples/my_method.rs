//! A pruning method of one's own on a toy, beside MPI: hard movement pruning, which is [one file](methods/movement.rs) and
//! registers itself. A binary that links it and calls `lopper::run()` accepts `method = "movement"` in its configurations.
//!
//! `cargo run --example my_method`

#[path = "methods/movement.rs"]
mod movement;
#[path = "methods/toy_run.rs"]
pub(crate) mod toy_run;

use lopper::{Error, Result, Sparsity};

#[allow(clippy::print_stdout, reason = "a program that shows a table")]
fn main() -> Result<()> {
    // A toy is too small for several threads to help.
    tch::set_num_threads(1);
    let directory = tempfile::tempdir().map_err(|e| Error::file(std::env::temp_dir(), e))?;
    println!("{:<10} {:>16} {:>10}", "method", "pruned", "accuracy");
    for (method, sparsity) in [("dense", 0.0), ("mpi", 0.8), ("movement", 0.8), ("mpi", 0.95), ("movement", 0.95)] {
        let record = toy_run::run(method, "", Sparsity::new(sparsity)?, directory.path())?;
        let pruned = format!("{} of {}", record.pruned, record.entries);
        println!("{:<10} {pruned:>16} {:>10.3}", record.method, record.value());
    }
    Ok(())
}
