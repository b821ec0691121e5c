//! Which file of what the user named holds the weights.

use crate::listed::first_names;
use crate::names::{PREFERRED, WEIGHTS, may_be_weights};
use lopper_core::{Error, Result, nearest};
use std::path::{Path, PathBuf};

/// The file to read for what the user named.
pub(crate) fn locate(path: &Path) -> Result<PathBuf> {
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => missing(path),
        _ => Error::file_caused(path, "cannot be read", e),
    })?;
    if !metadata.is_dir() {
        return Ok(path.to_owned());
    }
    // A link that leads nowhere is reported when it is opened.
    if let Some(name) = WEIGHTS.iter().find(|name| path.join(name).symlink_metadata().is_ok()) {
        return Ok(path.join(name));
    }
    let entries = list(path);
    let others: Vec<&str> = entries.iter().map(String::as_str).filter(|name| may_be_weights(name)).collect();
    let described = entries.iter().any(|name| name == "config.json");
    let preferred = PREFERRED.into_iter().find(|name| others.contains(name));
    let only = || (described && others.len() == 1).then(|| others[0]);
    if let Some(name) = preferred.or_else(only) {
        tracing::info!(file = %path.join(name).display(), "no weights have a usual name; this file is read");
        return Ok(path.join(name));
    }
    let looked = format!("holds no weights: none of {}", WEIGHTS.join(", "));
    Err(Error::file(
        path,
        if let Some(adapter) = entries.iter().find(|name| name.starts_with("adapter_model.")) {
            format!(
                "{looked}; {adapter:?} is an adapter of peft, which changes another checkpoint: save what its \
                 `merge_and_unload()` gives"
            )
        } else if described && others.len() > 1 {
            format!("{looked}; leave one of {} beside config.json", first_names(others.iter().copied()))
        } else if let Some(name) = others.first() {
            format!("{looked}; to read {name:?} give its own path")
        } else if entries.is_empty() {
            format!("{looked}; the directory is empty")
        } else {
            format!("{looked}; it holds {}", first_names(entries.iter().map(String::as_str)))
        },
    ))
}

/// An error for a path that is not there, with what is there of a similar name.
pub(crate) fn missing(path: &Path) -> Error {
    let Some(there) = path
        .ancestors()
        .skip(1)
        .map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
        .find(|p| p.is_dir())
    else {
        return Error::file(path, "does not exist");
    };
    let depth = if there == Path::new(".") { 0 } else { there.components().count() };
    let sought =
        path.components().nth(depth).map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let near = nearest(&sought, list(there).iter().map(String::as_str));
    let hint = near.map(|name| format!("; did you mean {}?", there.join(name).display())).unwrap_or_default();
    Error::file(path, format!("does not exist: {} has no entry {sought:?}{hint}", there.display()))
}

fn list(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(10_000);
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
