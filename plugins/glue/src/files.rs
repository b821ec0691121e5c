//! Finds the files of a task.

use crate::layouts::{resolve, saved, split as split_of};
use crate::{GlueOptions, GlueTask};
use lopper_core::{Error, Result, Split};
use lopper_tables::layouts::{Directory, EXTENSIONS, is_saved};
use std::path::{Path, PathBuf};

/// A split, and its files in order.
pub type SplitFiles = (Split, Vec<PathBuf>);

/// The files to read of each split, one or several shards: training first when there is one, then those to evaluate.
///
/// # Errors
/// [`Error::InvalidValue`] without a path, [`Error::File`] for a named file that does not exist, for shards of which some are
/// missing, and for a directory without a validation file; it lists what was looked for and what is there.
pub fn find(task: &GlueTask, options: &GlueOptions) -> Result<Vec<SplitFiles>> {
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
    let one = path.is_file() || is_saved(path);
    if let (true, Some(file)) = (one, &options.validation) {
        let expected = format!("`path` is itself a file ({}), and so the validation split", path.display());
        problems.push(Error::invalid("[data] validation", file, expected));
    }
    Error::all(problems)?;
    let found = if one { beside(task, options, path) } else { within(task, options, path) };
    let found = found?;
    match found.iter().any(|(split, _)| *split != Split::TRAIN) {
        true => Ok(found),
        false => Err(nothing(task, &resolve(task, path))),
    }
}

/// One file is the validation split whose file name it begins with, the first one otherwise.
fn beside(task: &GlueTask, options: &GlueOptions, path: &Path) -> Result<Vec<SplitFiles>> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let matching = task.validation.iter().find(|(_, stems)| stems.iter().any(|stem| name.starts_with(stem)));
    let (split, _) = matching.unwrap_or(&task.validation[0]);
    let directory = path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    if let Some(train) = &options.train {
        found.push((Split::TRAIN, named(directory, train, "train")?));
    }
    let files = if path.is_file() { vec![path.to_owned()] } else { saved(path)? };
    found.push((Split::named(*split), files));
    Ok(found)
}

fn within(task: &GlueTask, options: &GlueOptions, path: &Path) -> Result<Vec<SplitFiles>> {
    let directory = resolve(task, path);
    let mut wanted = vec![(Split::TRAIN, &["train"][..], &options.train, "train")];
    let overrides = [(&options.validation, "validation"), (&options.validation_mismatched, "validation_mismatched")];
    for ((split, stems), (file, key)) in task.validation.iter().zip(overrides) {
        wanted.push((Split::named(*split), *stems, file, key));
    }
    // Without a directory only what is named is read.
    let listed = if path.as_os_str().is_empty() { Directory::default() } else { Directory::list(&directory) };
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for (split, stems, file, key) in wanted {
        let files = match file {
            Some(file) => named(&directory, file, key).map(Some),
            None => split_of(&listed, stems),
        };
        match files {
            Ok(files) => found.extend(files.map(|files| (split, files))),
            Err(e) => problems.push(e),
        }
    }
    Error::all(problems)?;
    Ok(found)
}

fn named(directory: &Path, file: &str, key: &str) -> Result<Vec<PathBuf>> {
    let path = directory.join(file);
    if path.is_file() {
        return Ok(vec![path]);
    }
    if is_saved(&path) {
        return saved(&path);
    }
    Err(Error::file(path, format!("is no file; `{key}` names it relative to `path`{}", contents(directory))))
}

fn looked_for(stems: &[&str]) -> Vec<String> {
    stems.iter().flat_map(|stem| EXTENSIONS.map(|extension| format!("{stem}.{extension}"))).collect()
}

fn nothing(task: &GlueTask, directory: &Path) -> Error {
    let stems: Vec<_> = task.validation.iter().flat_map(|(_, stems)| stems.iter().copied()).collect();
    let (names, found) = (looked_for(&stems).join(", "), contents(directory));
    let also = format!("their shards (such as {}-00000-of-00001.parquet), and folders of save_to_disk", stems[0]);
    let reason = format!("holds no validation file of {}: looked for {names}, {also}{found}", task.name);
    Error::file(directory, format!("{reason}; name another with `validation`"))
}

/// The data files of a directory, for a message.
fn contents(directory: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(directory) else { return String::new() };
    let known = |name: &String| EXTENSIONS.iter().any(|e| name.ends_with(&format!(".{e}")));
    let names = entries.flatten().map(|e| (e.file_name().to_string_lossy().into_owned(), e.path().is_dir()));
    let mut names: Vec<_> = names
        .filter(|(name, folder)| *folder || known(name))
        .map(|(name, folder)| if folder { name + "/" } else { name })
        .collect();
    names.sort();
    names.truncate(10);
    if names.is_empty() { String::new() } else { format!("; it holds {}", names.join(", ")) }
}
