//! `cargo xtask`: what a fresh checkout needs before, and beside, plain `cargo`.
//!
//! Depends on nothing of ours and on no libtorch, because it is what puts libtorch there.
#![allow(clippy::print_stdout, reason = "a command-line tool")]

mod absence;
mod bench;
mod checkout;
mod circles;
mod crash;
mod demo;
mod fuzz;
mod gpu_check;
mod libtorch;
mod licences;
mod metadata;
mod minilm;
mod python;
mod results;
mod test;

use anyhow::{Result, bail};
use checkout::Checkout;
use std::path::PathBuf;
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask VERB

  setup [--cuda]   put libtorch 2.11.0 at .libtorch/torch; with --cuda the full set of CUDA wheels (5 GB) in place of
                   the CPU ones (1.2 GB). LIBTORCH=DIR or LIBTORCH_USE_PYTORCH=1 links an installation of yours
                   instead, if its version is right
  demo             set up, fetch a small BERT into .models/minilm, build, prune it with four methods, print a table
  test             set up and run every check, the cheapest first; the last line is `N passed, N failed`
  gpu-check [--lopper=PATH] [--device=cuda:0]
                   hold every path that a GPU takes against the CPU; builds unless it is given a binary
  bench [--only=selection,parp,update,cola,speech] [--glue=DIR] [--cola-examples=N] [--threads=N] [--short]
        [--device=cuda:0] [--precision=bf16] [--model=DIR] [--python=PATH] [--examples=DIR]
                   measure Lopper beside torch and transformers, which go into .bench-venv (5 GB), and write a dated
                   file into benches/results; cola needs GLUE's files; --short shows in minutes that everything works;
                   --model is a BERT in place of MiniLM, --python an interpreter that has torch, transformers and
                   accelerate, in place of .bench-venv, --examples a folder with our examples, in place of building them
  crash-campaign [--kills=50] [--races=100] [--step=1]
                   kill runs of every method at random moments, let every call that writes fail in four ways (or every
                   STEP-th), let two processes race for a directory; each run must end as one that nothing happened to
  fuzz [TARGET…] [--executions=10000000]
                   fuzz the parsers of users' files, an hour each at the most; needs a nightly compiler and cargo-fuzz
  help             this text

Each verb does the set-up it needs. What is there already is not fetched again.
";

const VERBS: [&str; 8] = ["setup", "demo", "test", "gpu-check", "bench", "crash-campaign", "fuzz", "help"];
/// Executions of each fuzz target unless another number is given.
const EXECUTIONS: u64 = 10_000_000;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
enum Verb {
    Setup { cuda: bool },
    Demo,
    Test,
    GpuCheck { lopper: Option<PathBuf>, device: String },
    Bench(bench::Options),
    Crash(crash::Options),
    Fuzz { targets: Vec<String>, executions: u64 },
    Help,
}

/// The known word that `word` was probably meant to be.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let (distance, best) = known.iter().map(|k| (strsim::damerau_levenshtein(word, k), *k)).min()?;
    (distance <= 3 && distance < best.len()).then_some(best)
}

fn unknown(kind: &str, word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(best) => format!("unknown {kind} `{word}`; did you mean `{best}`?"),
        None if known.is_empty() => format!("unknown {kind} `{word}`; there are none here"),
        None => format!("unknown {kind} `{word}`; there are: {}", known.join(", ")),
    }
}

fn parse(arguments: &[String]) -> Result<Verb, String> {
    let Some((verb, options)) = arguments.split_first() else { return Ok(Verb::Help) };
    let (verb, allowed): (_, &[&str]) = match verb.as_str() {
        "setup" => (Verb::Setup { cuda: options.iter().any(|o| o == "--cuda") }, &["--cuda"]),
        "demo" => (Verb::Demo, &[]),
        "test" => (Verb::Test, &[]),
        "gpu-check" => {
            let value = |name: &str| options.iter().find_map(|o| o.strip_prefix(name)?.strip_prefix('='));
            let device = value("--device").unwrap_or("cuda:0").to_owned();
            (Verb::GpuCheck { lopper: value("--lopper").map(PathBuf::from), device }, &["--lopper=", "--device="])
        }
        "bench" => (Verb::Bench(bench::Options::parse(options)?), &bench::Options::KNOWN),
        "crash-campaign" => (Verb::Crash(crash::Options::parse(options)?), &crash::Options::KNOWN),
        "fuzz" => {
            let given = options.iter().rev().find_map(|o| o.strip_prefix("--executions="));
            let executions = given.map_or(Ok(EXECUTIONS), str::parse);
            let executions = executions.map_err(|e| format!("--executions={}: {e}", given.unwrap_or_default()))?;
            let targets = options.iter().filter(|o| !o.starts_with('-')).cloned().collect();
            (Verb::Fuzz { targets, executions }, &["--executions="])
        }
        "help" | "--help" | "-h" => return Ok(Verb::Help),
        other => return Err(unknown("verb", other, &VERBS)),
    };
    if options.iter().any(|o| o == "--help" || o == "-h") {
        return Ok(Verb::Help);
    }
    // An option that takes a value is listed with its `=`.
    let known = |option: &str| allowed.iter().any(|a| option == *a || (a.ends_with('=') && option.starts_with(a)));
    let is_target = |option: &str| matches!(verb, Verb::Fuzz { .. }) && !option.starts_with('-');
    match options.iter().find(|o| !known(o) && !is_target(o)) {
        Some(option) => Err(unknown("option", option, allowed)),
        None => Ok(verb),
    }
}

fn run(verb: &Verb) -> Result<()> {
    if *verb == Verb::Help {
        print!("{HELP}");
        return Ok(());
    }
    if !cfg!(target_os = "linux") {
        bail!(
            "this set-up knows Linux alone; elsewhere, set LIBTORCH to libtorch {} and use plain cargo",
            libtorch::VERSION
        );
    }
    let checkout = Checkout::find()?;
    match verb {
        Verb::Setup { cuda } => {
            let place = libtorch::ensure(&checkout, *cuda)?;
            println!("libtorch {}: {}", libtorch::VERSION, place.display());
            Ok(())
        }
        Verb::Demo => demo::run(&checkout),
        Verb::Test => test::run(&checkout),
        Verb::GpuCheck { lopper: Some(lopper), device } => gpu_check::run(&checkout, lopper, device),
        Verb::GpuCheck { lopper: None, device } => {
            libtorch::ensure(&checkout, false)?;
            minilm::ensure(&checkout)?;
            gpu_check::run(&checkout, &demo::build(&checkout)?, device)
        }
        Verb::Bench(options) => bench::run(&checkout, options),
        Verb::Crash(options) => {
            libtorch::ensure(&checkout, false)?;
            crash::run(&checkout, options)
        }
        Verb::Fuzz { targets, executions } => fuzz::run(&checkout, targets, *executions),
        Verb::Help => Ok(()),
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let verb = match parse(&arguments) {
        Ok(verb) => verb,
        Err(message) => {
            eprintln!("error: {message}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match run(&verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Verb, String> {
        parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    #[test]
    fn verbs_and_options() {
        assert_eq!(parsed("setup"), Ok(Verb::Setup { cuda: false }));
        assert_eq!(parsed("setup --cuda"), Ok(Verb::Setup { cuda: true }));
        assert_eq!(parsed("test"), Ok(Verb::Test));
        let fuzz = |targets: &[&str], executions| Verb::Fuzz {
            targets: targets.iter().map(|t| (*t).to_owned()).collect(),
            executions,
        };
        assert_eq!(parsed("fuzz"), Ok(fuzz(&[], 10_000_000)));
        assert_eq!(parsed("fuzz config --executions=5 glue"), Ok(fuzz(&["config", "glue"], 5)));
        assert!(parsed("fuzz --executions=many").is_err() && parsed("fuzz --runs=5").is_err());
        assert_eq!(parsed("demo --help"), Ok(Verb::Help));
        assert_eq!(parsed(""), Ok(Verb::Help));
    }

    #[test]
    fn a_slip_is_answered_with_the_nearest_word() {
        assert_eq!(parsed("tets"), Err("unknown verb `tets`; did you mean `test`?".into()));
        assert_eq!(parsed("setup --cdua"), Err("unknown option `--cdua`; did you mean `--cuda`?".into()));
        assert_eq!(
            parsed("benchmarks"),
            Err(
                "unknown verb `benchmarks`; there are: setup, demo, test, gpu-check, bench, crash-campaign, fuzz, help"
                    .into()
            )
        );
        assert_eq!(parsed("demo --cuda"), Err("unknown option `--cuda`; there are none here".into()));
    }
}
