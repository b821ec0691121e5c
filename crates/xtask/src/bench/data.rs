//! Training files for both sides, in CoLA's layout: source, label, mark and sentence between tabs.

use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};

/// Rows a batch, everywhere.
pub(crate) const ROWS: usize = 32;
/// Batches until the sentences of one length repeat.
const BATCHES: usize = 8;
const SPECIAL_TOKENS: usize = 2;

/// Where CoLA's training file lies: in `glue/CoLA`, or in `glue` itself.
pub(crate) fn cola_file(glue: &Path) -> Option<PathBuf> {
    [glue.join("CoLA/train.tsv"), glue.join("train.tsv")].into_iter().find(|path| path.is_file())
}

/// Writes the first `examples` sentences of CoLA, or all of them, into `folder`, and returns how many there are.
///
/// # Errors
/// Files that cannot be read or written; a file that is empty.
pub(crate) fn write_cola(file: &Path, examples: Option<usize>, folder: &Path) -> Result<usize> {
    let text = fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    let rows: Vec<&str> = text.split('\n').filter(|row| !row.is_empty()).take(examples.unwrap_or(usize::MAX)).collect();
    write(&rows, folder)?;
    Ok(rows.len())
}

/// Writes sentences of exactly `length` tokens into `folder`, special tokens counted: words that `vocab.txt` has whole.
///
/// # Errors
/// A vocabulary without words; files that cannot be read or written.
pub(crate) fn write_even(vocabulary: &Path, length: usize, folder: &Path) -> Result<()> {
    let text = fs::read_to_string(vocabulary).with_context(|| format!("{}: cannot be read", vocabulary.display()))?;
    let words: Vec<&str> = text.lines().filter(|w| w.len() > 3 && w.bytes().all(|b| b.is_ascii_lowercase())).collect();
    if words.is_empty() {
        bail!("{}: holds no words", vocabulary.display());
    }
    let sentence = |row: usize| {
        let word = |column: usize| words[(row * 7919 + column * 104_729) % words.len()];
        let words: Vec<&str> = (0..length - SPECIAL_TOKENS).map(word).collect();
        format!("bench\t{}\t\t{}", row % 2, words.join(" "))
    };
    let rows: Vec<String> = (0..ROWS * BATCHES).map(sentence).collect();
    write(&rows.iter().map(String::as_str).collect::<Vec<_>>(), folder)
}

/// The first row is the validation split too, which a task must have; nothing evaluates it.
fn write(rows: &[&str], folder: &Path) -> Result<()> {
    let Some(first) = rows.first() else { bail!("{}: there are no sentences to write", folder.display()) };
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    for (name, content) in [("train.tsv", rows.join("\n")), ("dev.tsv", (*first).to_owned())] {
        let path = folder.join(name);
        fs::write(&path, content + "\n").with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_have_the_asked_number_of_whole_words() {
        let folder = tempfile::tempdir().unwrap();
        let vocabulary = folder.path().join("vocab.txt");
        fs::write(&vocabulary, "[CLS]\n##ing\nthe\nhouse\nwater\n1999\nÄrger\n").unwrap();
        write_even(&vocabulary, 16, folder.path()).unwrap();
        let text = fs::read_to_string(folder.path().join("train.tsv")).unwrap();
        assert_eq!(text.lines().count(), ROWS * BATCHES);
        for line in text.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            assert_eq!((fields.len(), fields[3].split(' ').count()), (4, 14), "{line}");
            assert!(fields[3].split(' ').all(|word| ["house", "water"].contains(&word)), "{line}");
        }
    }

    #[test]
    fn cola_is_cut_from_the_front() {
        let folder = tempfile::tempdir().unwrap();
        let (glue, out) = (folder.path().join("glue"), folder.path().join("out"));
        assert_eq!(cola_file(&glue), None);
        fs::create_dir_all(glue.join("CoLA")).unwrap();
        fs::write(glue.join("CoLA/train.tsv"), "a\t1\t\tone\nb\t0\t*\ttwo\nc\t1\t\tthree\n").unwrap();
        let file = cola_file(&glue).unwrap();
        assert_eq!(write_cola(&file, Some(2), &out).unwrap(), 2);
        assert_eq!(fs::read_to_string(out.join("train.tsv")).unwrap(), "a\t1\t\tone\nb\t0\t*\ttwo\n");
        assert_eq!(fs::read_to_string(out.join("dev.tsv")).unwrap(), "a\t1\t\tone\n");
        assert_eq!(write_cola(&file, None, &out).unwrap(), 3);
    }
}
