//! Phones by the name of a recording, as CPC_audio gives them for Common Voice: lines `NAME p1 p2 …`.

use super::Row;
use crate::problems::{Place, Problems, excerpt};
use crate::text::Lines;
use lopper_core::{Error, Result};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// The phones of many recordings.
pub(crate) struct PhoneFile {
    file: Arc<Path>,
    /// The line's number, and its phones between single spaces.
    phones: HashMap<String, (u64, String)>,
}

impl PhoneFile {
    /// Reads a file of phones.
    ///
    /// # Errors
    /// [`Error::File`] and [`Error::Line`]: a file that cannot be read or holds nothing, a name that is there twice.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let mut problems = Problems::new(false);
        let lines = Lines::read(path, &mut problems)?;
        let mut phones = HashMap::new();
        for (place, line) in lines.filled() {
            let (name, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            if phones.insert(name.to_owned(), (place.number(), rest.trim().to_owned())).is_some() {
                problems.push(place.error(format!("{} is there twice", excerpt(name))));
            }
        }
        if phones.is_empty() {
            problems.push(Error::file(path, "holds no phones; a line `NAME p1 p2 …` for each recording was expected"));
        }
        problems.finish_quietly()?;
        Ok(Self { file: lines.file, phones })
    }

    /// Puts the phones of the recording `name` into its row. False, and the row is reported, when there are none.
    pub(crate) fn transcribe(&self, name: &str, row: &mut Row, problems: &mut Problems) -> bool {
        let Some((line, phones)) = self.phones.get(name) else {
            problems.row(&row.place, format!("{} has no phones in {}", excerpt(name), self.file.display()));
            return false;
        };
        row.transcript = super::symbols(phones);
        row.elsewhere = Some(Place::line(&self.file, *line));
        true
    }
}
