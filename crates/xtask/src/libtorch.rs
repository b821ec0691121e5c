//! Puts libtorch at `.libtorch/torch`: a link to wheels fetched by pip, or to an installation of the user's.

use crate::checkout::{Checkout, Partial};
use crate::python;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The one version that tch 0.24 is generated for.
pub(crate) const VERSION: &str = "2.11.0";

/// The PyPI wheel of torch is a complete libtorch. These two are what its CPU half links against beside itself.
const CPU_WHEELS: [&str; 3] = ["torch==2.11.0", "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-cupti==13.0.85"];

/// The first `name = '…'` or bare version of the texts in which an installation states its version.
fn parse_version_py(text: &str) -> Option<String> {
    let value = text.lines().find_map(|l| l.strip_prefix("__version__")?.trim_start().strip_prefix('='))?;
    Some(value.trim().trim_matches(['\'', '"']).to_owned())
}

fn parse_version_header(text: &str) -> Option<String> {
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name)).then(|| words.next())?
        })
    };
    let parts = ["TORCH_VERSION_MAJOR", "TORCH_VERSION_MINOR", "TORCH_VERSION_PATCH"].map(number);
    Some(format!("{}.{}.{}", parts[0]?, parts[1]?, parts[2]?))
}

/// The release without the build it is for: `2.11.0` of `2.11.0+cu130`.
fn release(version: &str) -> &str {
    version.trim().split('+').next().unwrap_or_default()
}

/// What a directory holds.
#[derive(Debug, PartialEq)]
enum Installation {
    /// Libtorch of the right version.
    Good,
    /// Libtorch of this other version.
    Other(String),
    /// No complete libtorch: this is missing.
    Incomplete(&'static str),
    /// No directory.
    Absent,
}

impl Installation {
    fn at(directory: &Path) -> Self {
        if !directory.is_dir() {
            return Self::Absent;
        }
        if !directory.join("lib/libtorch_cpu.so").is_file() {
            return Self::Incomplete("lib/libtorch_cpu.so");
        }
        // Newest libtorch first; `csrc/api` held the numbers before 2.9.
        let headers = ["headeronly/version.h", "csrc/api/include/torch/version.h"];
        let mut texts =
            headers.map(|h| fs::read_to_string(directory.join("include/torch").join(h))).into_iter().flatten();
        let Some(header) = texts.find_map(|text| parse_version_header(&text)) else {
            return Self::Incomplete("include/torch/headeronly/version.h");
        };
        // Headers carry no pre-release; what Python or the archive says is more exact, where it is there.
        let stated = fs::read_to_string(directory.join("version.py"))
            .ok()
            .and_then(|text| parse_version_py(&text))
            .or_else(|| fs::read_to_string(directory.join("build-version")).ok().map(|text| text.trim().to_owned()));
        match [Some(header), stated].into_iter().flatten().find(|v| release(v) != VERSION) {
            Some(other) => Self::Other(other),
            None => Self::Good,
        }
    }

    /// # Errors
    /// Unless it is good; `origin` says where the directory came from and `remedy` what to do.
    fn require(self, directory: &Path, origin: &str, remedy: &str) -> Result<()> {
        match self {
            Self::Good => Ok(()),
            Self::Other(found) => {
                bail!("{origin} {}: libtorch {found}, and Lopper needs {VERSION}; {remedy}", directory.display())
            }
            Self::Incomplete(missing) => {
                bail!("{origin} {}: not a complete libtorch, {missing} is missing; {remedy}", directory.display())
            }
            Self::Absent => bail!("{origin} {}: there is no such directory; {remedy}", directory.display()),
        }
    }
}

/// Whether the CUDA half of a libtorch can be loaded: the wheels keep its libraries beside torch, the archives within.
fn has_cuda(torch: &Path) -> bool {
    let Ok(torch) = torch.canonicalize() else { return false };
    let named = |directory: PathBuf, prefix: &str| {
        fs::read_dir(directory)
            .is_ok_and(|entries| entries.flatten().any(|e| e.file_name().to_string_lossy().starts_with(prefix)))
    };
    let beside = torch.parent().map(|p| p.join("nvidia/cudnn/lib"));
    torch.join("lib/libtorch_cuda.so").is_file()
        && (beside.is_some_and(|b| named(b, "libcudnn")) || named(torch.join("lib"), "libcudnn"))
}

/// Makes `link` point at `target` in one step, whatever link stood there.
///
/// # Errors
/// When a real directory stands there: it is not ours to remove.
fn point(link: &Path, target: &Path) -> Result<()> {
    if link.symlink_metadata().is_ok_and(|m| !m.is_symlink()) {
        bail!("{}: is a directory, not a link, so it is left alone; move it away and start again", link.display());
    }
    let fresh = link.with_file_name(".link");
    if fresh.symlink_metadata().is_ok() {
        fs::remove_file(&fresh).with_context(|| format!("{}: cannot be removed", fresh.display()))?;
    }
    std::os::unix::fs::symlink(target, &fresh).with_context(|| format!("{}: cannot be made", fresh.display()))?;
    fs::rename(&fresh, link).with_context(|| format!("{}: cannot be replaced", link.display()))
}

/// Links the installation that the user named.
fn adopt(checkout: &Checkout, directory: &Path, origin: &str, cuda: bool) -> Result<()> {
    let remedy = format!("give one of {VERSION}, or unset the variable to have it fetched");
    Installation::at(directory).require(directory, origin, &remedy)?;
    if cuda && !has_cuda(directory) {
        bail!("{origin} {}: has no CUDA libraries, and --cuda asks for them; {remedy}", directory.display());
    }
    let directory = directory.canonicalize().with_context(|| format!("{}: cannot be resolved", directory.display()))?;
    let link = checkout.libtorch();
    if link.canonicalize().is_ok_and(|current| current == directory) {
        return Ok(());
    }
    let _lock = checkout.lock(&checkout.path(".libtorch"))?;
    point(&link, &directory)
}

/// Fetches wheels, unless something good is there already.
fn fetch(checkout: &Checkout, cuda: bool) -> Result<()> {
    let link = checkout.libtorch();
    let ready = |torch: &Path| Installation::at(torch) == Installation::Good && (!cuda || has_cuda(torch));
    if ready(&link) {
        return Ok(());
    }
    let folder = checkout.path(".libtorch");
    let _lock = checkout.lock(&folder)?;
    if ready(&link) {
        return Ok(()); // by the set-up we waited for
    }
    if link.symlink_metadata().is_ok_and(|m| m.is_dir()) {
        let remedy = "move it away and start again";
        Installation::at(&link).require(&link, "the directory", remedy)?;
        bail!("the directory {}: has no CUDA libraries, and --cuda asks for them; {remedy}", link.display());
    }
    let set = if cuda { "cuda" } else { "cpu" };
    let wheels = folder.join(set);
    if !ready(&wheels.join("torch")) {
        let partial = Partial::new(&folder)?;
        match cuda {
            true => python::install(&partial, &[], &CPU_WHEELS[..1])?,
            false => python::install(&partial, &["--no-deps"], &CPU_WHEELS)?,
        }
        let torch = partial.content().join("torch");
        Installation::at(&torch).require(&torch, "pip's", "try again")?;
        if cuda && !has_cuda(&torch) {
            bail!("pip installed torch without its CUDA libraries; is this an architecture that has them?");
        }
        partial.put(&wheels)?;
    }
    point(&link, &Path::new(set).join("torch"))
}

/// torch-sys compiles C++.
fn require_cxx() -> Result<()> {
    let variable = std::env::var("CXX").ok().filter(|v| !v.trim().is_empty());
    let compiler = variable.as_deref().and_then(|v| v.split_whitespace().next()).unwrap_or("c++");
    let probe = Command::new(compiler).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        let origin = if variable.is_some() { " (from CXX)" } else { "" };
        bail!("no C++ compiler: `{compiler}`{origin} does not run; `sudo apt-get install g++`");
    }
    Ok(())
}

/// Sees to it that [`Checkout::libtorch`] is libtorch 2.11.0, and returns where it really lies.
///
/// # Errors
/// A missing compiler, Python or pip, an installation of another version, a failed download; each with what to do.
pub(crate) fn ensure(checkout: &Checkout, cuda: bool) -> Result<PathBuf> {
    require_cxx()?;
    // torch-sys looks at the variables in this order.
    if std::env::var_os("LIBTORCH_USE_PYTORCH").is_some() {
        let found = python::evaluate("import os, torch; print(os.path.dirname(torch.__file__))").context(
            "LIBTORCH_USE_PYTORCH is set, but python3 cannot import torch; unset it to have libtorch fetched",
        )?;
        adopt(checkout, Path::new(found.trim_end()), "LIBTORCH_USE_PYTORCH, python3's", cuda)?;
    } else if let Some(directory) = checkout.user_libtorch() {
        adopt(checkout, &directory, "LIBTORCH", cuda)?;
    } else {
        fetch(checkout, cuda)?;
    }
    let link = checkout.libtorch();
    link.canonicalize().with_context(|| format!("{}: cannot be resolved", link.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "#pragma once\n#define TORCH_VERSION_MAJOR 2\n #define TORCH_VERSION_MINOR 11\n\
                          #define TORCH_VERSION_PATCH 0\n#define TORCH_VERSION_ABI_TAG 0\n";

    fn installation(header: &str, extra: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in
            [("lib/libtorch_cpu.so", ""), ("include/torch/headeronly/version.h", header)].iter().chain(extra)
        {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn versions_are_read_from_python_and_from_headers() {
        let text =
            "from typing import Optional\n__all__ = ['__version__']\n__version__ = '2.11.0+cu130'\ndebug = False\n";
        assert_eq!(parse_version_py(text).as_deref(), Some("2.11.0+cu130"));
        assert_eq!(parse_version_py("debug = False"), None);
        assert_eq!(parse_version_header(HEADER).as_deref(), Some("2.11.0"));
        assert_eq!(parse_version_header("#define TORCH_VERSION_MAJOR 2"), None);
        assert_eq!(release("2.11.0+cpu\n"), "2.11.0");
        assert_eq!(release("2.11.0a0"), "2.11.0a0");
    }

    #[test]
    fn only_the_right_version_is_good() {
        let at = |header: &str, extra: &[(&str, &str)]| Installation::at(installation(header, extra).path());
        assert_eq!(at(HEADER, &[]), Installation::Good);
        assert_eq!(at(HEADER, &[("build-version", "2.11.0+cpu\n")]), Installation::Good);
        assert_eq!(at(&HEADER.replace("11", "13"), &[]), Installation::Other("2.13.0".into()));
        let nightly = "2.11.0a0+git123";
        assert_eq!(at(HEADER, &[("build-version", nightly)]), Installation::Other(nightly.into()));
        let python = [("version.py", "__version__ = '2.10.1+cpu'\n")];
        assert_eq!(at(HEADER, &python), Installation::Other("2.10.1+cpu".into()));
        assert_eq!(at("", &[]), Installation::Incomplete("include/torch/headeronly/version.h"));
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(Installation::at(empty.path()), Installation::Incomplete("lib/libtorch_cpu.so"));
        assert_eq!(Installation::at(&empty.path().join("none")), Installation::Absent);
    }

    #[test]
    fn a_refusal_names_both_versions() {
        let message = Installation::Other("2.10.0".into()).require(Path::new("/opt/torch"), "LIBTORCH", "do this");
        assert_eq!(
            message.unwrap_err().to_string(),
            "LIBTORCH /opt/torch: libtorch 2.10.0, and Lopper needs 2.11.0; do this"
        );
    }

    #[test]
    fn links_are_replaced_and_directories_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("torch");
        for target in ["a", "b"] {
            fs::create_dir(folder.path().join(target)).unwrap();
            point(&link, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        let message = point(&folder.path().join("a"), Path::new("b")).unwrap_err().to_string();
        assert!(message.contains("is a directory"), "{message}");
    }

    #[test]
    fn cuda_libraries_are_found_beside_a_wheel_and_within_an_archive() {
        let bare = installation(HEADER, &[("lib/libtorch_cuda.so", "")]);
        assert!(!has_cuda(bare.path()));
        let archive = installation(HEADER, &[("lib/libtorch_cuda.so", ""), ("lib/libcudnn.so.9", "")]);
        assert!(has_cuda(archive.path()));
        let wheels = installation("", &[("torch/lib/libtorch_cuda.so", ""), ("nvidia/cudnn/lib/libcudnn.so.9", "")]);
        assert!(has_cuda(&wheels.path().join("torch")));
    }
}
