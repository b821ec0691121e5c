//! `cargo xtask test`: every check of this checkout, the cheapest first.

use crate::absence;
use crate::checkout::{Checkout, run as run_command};
use crate::libtorch;
use crate::licences::Rules;
use crate::metadata::Metadata;
use crate::minilm;
use crate::results::{self, Tally};
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Runs steps one after another and remembers how long each took.
struct Steps {
    total: usize,
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    fn step<T>(&mut self, name: &'static str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        println!("\n[{}/{}] {name}", self.done.len() + 1, self.total);
        let start = Instant::now();
        let result = work().with_context(|| format!("{name} failed"));
        self.done.push((name, start.elapsed()));
        result
    }

    fn print(&self) {
        println!();
        for (name, time) in &self.done {
            println!("{:>8.1} s  {name}", time.as_secs_f64());
        }
    }
}

/// Runs all checks. The last line printed is how many tests passed and failed.
///
/// # Errors
/// The first step that fails; for tests, after all of them have run.
pub(crate) fn run(checkout: &Checkout) -> Result<()> {
    let mut steps = Steps { total: 7, done: Vec::new() };
    let tally = all(checkout, &mut steps);
    steps.print();
    let tally = tally?;
    if tally.failed > 0 {
        eprintln!("error: tests failed, named above");
    }
    println!("{tally}");
    if tally.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// A minimal Rust toolchain comes without some of cargo's commands.
fn require(checkout: &Checkout, command: &str, component: &str) -> Result<()> {
    let probe = checkout.cargo([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        bail!("there is no `cargo {command}`: `rustup component add {component}`");
    }
    Ok(())
}

fn all(checkout: &Checkout, steps: &mut Steps) -> Result<Tally> {
    steps.step("formatting", || {
        require(checkout, "fmt", "rustfmt")?;
        run_command(&mut checkout.cargo(["fmt", "--all", "--check"])).context("`cargo fmt --all` mends it")
    })?;
    steps.step("licences, sources, invariants of absence", || {
        let rules = Rules::load(&checkout.path("deny.toml"))?;
        let metadata = Metadata::load(checkout, &rules.graph.targets)?;
        println!("{}", rules.check(&metadata)?);
        println!("{}", absence::check(checkout, &metadata)?);
        Ok(())
    })?;
    steps.step("set-up", || {
        println!("{}", libtorch::ensure(checkout, false)?.display());
        println!("{}", minilm::ensure(checkout)?.display());
        Ok(())
    })?;
    steps.step("clippy, all targets", || {
        require(checkout, "clippy", "clippy")?;
        run_command(&mut checkout.cargo(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]))
    })?;
    steps.step("documentation", || {
        let mut cargo = checkout.cargo(["doc", "--workspace", "--no-deps", "--locked"]);
        run_command(cargo.env("RUSTDOCFLAGS", "-D warnings"))
    })?;
    steps.step("building tests and examples", || {
        run_command(&mut checkout.cargo(["test", "--workspace", "--locked", "--no-run"]))
    })?;
    steps.step("tests and documentation tests", || {
        let mut cargo = checkout.cargo(["test", "--workspace", "--locked", "--no-fail-fast"]);
        let outcome = results::run(&mut cargo, &mut std::io::stdout().lock())?;
        if outcome.tally == Tally::default() {
            bail!("no test ran");
        }
        if outcome.tally.failed == 0 && !outcome.success {
            bail!("cargo test failed without a failed test: a crash, or something that does not compile; see above");
        }
        Ok(outcome.tally)
    })
}
