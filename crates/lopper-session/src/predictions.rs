//! What a run's model said of every example, as plain files beside its record.

use crate::RunRecord;
use lopper_core::{Error, Outcomes, Result, Split};
use lopper_weights::files;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const BEGINNING: &str = "predictions-";
const ENDING: &str = ".csv";

/// Writes the outcomes of each split into the run's directory `out`, in the place of all that were there. Returns where, by split.
///
/// # Errors
/// [`Error::File`] naming what could not be written or removed.
pub(crate) fn write(out: &Path, outcomes: &[(Split, Outcomes)]) -> Result<BTreeMap<String, PathBuf>> {
    let mut written = BTreeMap::new();
    let mut names = BTreeSet::new();
    for (split, outcomes) in outcomes {
        let name = name(split, &mut names);
        let path = out.join(&name);
        files::write_atomic(&path, outcomes.to_csv().as_bytes())?;
        written.insert(split.as_str().to_owned(), path);
    }
    remove_but(out, &names)?;
    Ok(written)
}

/// Removes those of a run that is to be replaced.
///
/// # Errors
/// [`Error::File`] naming what could not be removed.
pub(crate) fn remove(out: &Path) -> Result<()> {
    remove_but(out, &BTreeSet::new())
}

fn remove_but(out: &Path, names: &BTreeSet<String>) -> Result<()> {
    let entries = std::fs::read_dir(out).map_err(|e| Error::file(out, e))?;
    let names_there = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let stale =
        names_there.filter(|name| name.starts_with(BEGINNING) && name.ends_with(ENDING) && !names.contains(name));
    stale.into_iter().try_for_each(|name| files::remove_file(&out.join(name)))
}

/// The file's name, which no other split has: `predictions-validation.csv`. What is no letter, digit, `.`, `-` or `_` becomes `_`.
fn name(split: &Split, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_".contains(c) { c } else { '_' };
    let split: String = split.as_str().chars().map(plain).collect();
    let numbered = (2..).map(|number| format!("{BEGINNING}{split}-{number}{ENDING}"));
    let mut names = [format!("{BEGINNING}{split}{ENDING}")].into_iter().chain(numbered);
    let name = names.find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

impl RunRecord {
    /// What the run's model said of every example of a split.
    ///
    /// # Errors
    /// [`Error::File`] when the file cannot be read or is no such file; [`Error::Other`] where nothing is known of the split.
    pub fn outcomes(&self, split: &Split) -> Result<Outcomes> {
        let path = self.predictions.get(split.as_str()).ok_or_else(|| {
            Error::Other(format!("nothing is known of single examples of {} in {}", split.as_str(), self.task))
        })?;
        let text = String::from_utf8(crate::identity::read(path)?).map_err(|e| Error::file(path, e))?;
        Outcomes::from_csv(&text).map_err(|why| Error::file(path, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_split_has_a_file_of_its_own_and_what_is_old_goes() {
        let directory = tempfile::tempdir().unwrap();
        let splits = ["validation", "de/dev", "de dev", ""].map(Split::named);
        let outcomes = |n: u32| Outcomes::Classes(vec![(n, 1)]);
        let all: Vec<_> = splits.iter().zip(0..).map(|(split, n)| (split.clone(), outcomes(n))).collect();
        let written = write(directory.path(), &all).unwrap();
        let name = |split: &str| written[split].file_name().unwrap().to_str().unwrap();
        assert_eq!(name("validation"), "predictions-validation.csv");
        assert_eq!([name("de/dev"), name("de dev")], ["predictions-de_dev.csv", "predictions-de_dev-2.csv"]);
        assert_eq!(std::fs::read_to_string(&written["de dev"]).unwrap(), "example,predicted_class,true_class\n0,2,1\n");
        std::fs::write(directory.path().join("predictions.csv"), "somebody's own").unwrap();
        write(directory.path(), &all[..1]).unwrap();
        let left = || std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let expected = BTreeSet::from(["predictions-validation.csv", "predictions.csv"].map(Into::into));
        assert_eq!(left().collect::<BTreeSet<_>>(), expected);
        remove(directory.path()).unwrap();
        assert_eq!(left().count(), 1);
    }
}
