//! Nine methods beyond the paper's as plugins, each in one file, and the command line with them: what a third party's binary
//! looks like.
//!
//! `cargo run --example methods -- run examples/quickstart.toml --set prune.method=rigl --set prune.sparsity=0.5`

mod erk;
mod gradual;
mod movement;
mod rigl;
mod set;
mod snip;
mod two_of_four;
mod uniform;
mod wanda;

fn main() -> std::process::ExitCode {
    lopper::run()
}
