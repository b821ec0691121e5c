//! The command line with the built-in plugins.

use std::process::ExitCode;

fn main() -> ExitCode {
    lopper::run()
}
