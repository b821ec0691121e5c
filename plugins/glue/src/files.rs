//! Finds the files of a task.

use crate::{GlueOptions, GlueTask};
use lopper_core::{Error, Result, Split};
use std::path::{Path, PathBuf};

const EXTENSIONS: [&str; 2] = ["tsv", "jsonl"];

/// The files to read, one a split: training first when there is one, then those to evaluate.
///
/// # Errors
/// [`Error::InvalidValue`] without a path, [`Error::File`] for a named file that does not exist, and for a directory
/// without a validation file; it lists what was looked for and what is there.
pub fn find(task: &GlueTask, options: &GlueOptions) -> Result<Vec<(Split, PathBuf)>> {
    if options.path.as_os_str().is_empty() && options.validation.is_none() {
        let expected = format!("give the directory of the {} files, or one validation file", task.name);
        return Err(Error::invalid("[data] path", "\"\"", expected));
    }
    let mut problems = Vec::new();
    if let (Some(file), [_]) = (&options.validation_mismatched, task.validation) {
        let expected = format!("{} has one validation split; only mnli has a mismatched one", task.name);
        problems.push(Error::invalid("[data] validation_mismatched", file, expected));
    }
    let path = options.path.as_path();
    if !options.path.as_os_str().is_empty() && !path.exists() {
        let wanted = looked_for(task.validation[0].1).join(", ");
        problems.push(Error::file(path, format!("does not exist; give a directory with {wanted}, or one file")));
    }
    if let (true, Some(file)) = (path.is_file(), &options.validation) {
        let expected = format!("`path` is itself a file ({}), and so the validation split", path.display());
        problems.push(Error::invalid("[data] validation", file, expected));
    }
    Error::all(problems)?;
    let found = if path.is_file() { beside(task, options, path) } else { within(task, options, path) };
    let found = found?;
    match found.iter().any(|(split, _)| *split != Split::TRAIN) {
        true => Ok(found),
        false => Err(nothing(task, &directory(task, path))),
    }
}

/// One file is the validation split whose file name it begins with, the first one otherwise.
fn beside(task: &GlueTask, options: &GlueOptions, path: &Path) -> Result<Vec<(Split, PathBuf)>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let matching = task.validation.iter().find(|(_, stems)| stems.iter().any(|stem| name.starts_with(stem)));
    let (split, _) = matching.unwrap_or(&task.validation[0]);
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    if let Some(train) = &options.train {
        found.push((Split::TRAIN, named(directory, train, "train")?));
    }
    found.push((Split::named(*split), path.to_owned()));
    Ok(found)
}

fn within(task: &GlueTask, options: &GlueOptions, path: &Path) -> Result<Vec<(Split, PathBuf)>> {
    let directory = directory(task, path);
    let mut wanted = vec![(Split::TRAIN, &["train"][..], &options.train, "train")];
    let overrides = [(&options.validation, "validation"), (&options.validation_mismatched, "validation_mismatched")];
    for ((split, stems), (file, key)) in task.validation.iter().zip(overrides) {
        wanted.push((Split::named(*split), *stems, file, key));
    }
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (split, stems, file, key) in wanted {
        match file {
            Some(file) => match named(&directory, file, key) {
                Ok(path) => found.push((split, path)),
                Err(e) => problems.push(e),
            },
            // Without a directory only what is named is read.
            None if path.as_os_str().is_empty() => {}
            None => {
                let candidates = looked_for(stems).into_iter().map(|name| directory.join(name));
                found.extend(candidates.into_iter().find(|p| p.is_file()).map(|path| (split, path)));
            }
        }
    }
    Error::all(problems)?;
    Ok(found)
}

fn directory(task: &GlueTask, path: &Path) -> PathBuf {
    let below = path.join(task.folder);
    if below.is_dir() { below } else { path.to_owned() }
}

fn named(directory: &Path, file: &str, key: &str) -> Result<PathBuf> {
    let path = directory.join(file);
    if path.is_file() {
        return Ok(path);
    }
    Err(Error::file(path, format!("is no file; `{key}` names it relative to `path`{}", contents(directory))))
}

fn looked_for(stems: &[&str]) -> Vec<String> {
    stems.iter().flat_map(|stem| EXTENSIONS.map(|extension| format!("{stem}.{extension}"))).collect()
}

fn nothing(task: &GlueTask, directory: &Path) -> Error {
    let names: Vec<_> = task.validation.iter().flat_map(|(_, stems)| looked_for(stems)).collect();
    let found = contents(directory);
    let reason = format!("holds no validation file of {}: looked for {}{found}", task.name, names.join(", "));
    Error::file(directory, format!("{reason}; name another with `validation`"))
}

/// The data files of a directory, for a message.
fn contents(directory: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(directory) else { return String::new() };
    let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|n| EXTENSIONS.iter().any(|e| n.ends_with(&format!(".{e}")))).collect();
    names.sort();
    names.truncate(10);
    if names.is_empty() { String::new() } else { format!("; it holds {}", names.join(", ")) }
}
