//! What a worker's environment needs: written into the script, so that it is the same whoever submits it, and from where.

use super::quoted;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

/// Where models of the hub lie, and what is logged. Tokens are no part of a script: a model is fetched before it is submitted.
const KEPT: [&str; 6] = ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_HUB_OFFLINE", "XDG_CACHE_HOME", "RUST_LOG"];

/// Where the loader looks for libraries.
const LIBRARIES: &str = "LD_LIBRARY_PATH";

/// Lines of shell that set it up.
pub(super) fn lines() -> String {
    let variables = KEPT.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?)));
    let mut lines: String = variables.map(|(name, value)| format!("export {name}={}\n", quoted(&value))).collect();
    let given = std::env::var_os(LIBRARIES).unwrap_or_default();
    let kept: Vec<PathBuf> = libraries(&given, &loaded());
    let joined = std::env::join_paths(&kept).ok().and_then(|joined| joined.into_string().ok());
    match joined.filter(|joined| !joined.is_empty()) {
        Some(joined) => lines += &format!("export {LIBRARIES}={}\n", quoted(&joined)),
        None => lines += &format!("unset {LIBRARIES}\n"),
    }
    lines
}

/// The directories that this process has loaded libraries from.
fn loaded() -> BTreeSet<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    paths.filter_map(|path| path.parent().map(Path::to_owned)).collect()
}

/// Of the directories where the loader looks, those that may be a worker's: from which this program has loaded something, and
/// those that are not the scheduler's. A scheduler that was unpacked and not installed needs its own to be among them, and
/// what it brings along is not what libtorch was built for.
fn libraries(given: &OsStr, loaded: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
    let is_ours = |directory: &Path| directory.canonicalize().is_ok_and(|directory| loaded.contains(&directory));
    std::env::split_paths(given)
        .filter(|directory| directory.is_absolute() && (is_ours(directory) || !is_of_slurm(directory)))
        .collect()
}

/// Whether Slurm's library lies in a directory, or in one below it that has Slurm's name.
fn is_of_slurm(directory: &Path) -> bool {
    let entries = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    let named = |entry: &fs::DirEntry, start: &str| entry.file_name().to_string_lossy().starts_with(start);
    let holds = |directory: &Path| entries(directory).any(|entry| named(&entry, "libslurm"));
    holds(directory) || entries(directory).any(|entry| named(&entry, "slurm") && holds(&entry.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedulers_libraries_are_left_out_and_ours_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for (name, file) in [("slurm", "libslurm.so.38"), ("lib/slurm-wlm", "libslurmfull.so"), ("cuda", "libcudnn.so")]
        {
            fs::create_dir_all(at(name)).unwrap();
            fs::write(at(name).join(file), b"").unwrap();
        }
        let given = std::env::join_paths([at("slurm"), at("lib"), at("cuda"), PathBuf::from(".")]).unwrap();
        assert_eq!(libraries(&given, &BTreeSet::new()), [at("cuda")]);
        let ours = [at("lib").canonicalize().unwrap()].into_iter().collect();
        assert_eq!(libraries(&given, &ours), [at("lib"), at("cuda")]);
        assert!(loaded().iter().any(|directory| directory.join("libtorch_cpu.so").is_file()));
    }
}
