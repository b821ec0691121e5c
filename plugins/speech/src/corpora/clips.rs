//! Where a manifest's recordings lie.

use super::{find_audio, is_audio, walk};
use crate::problems::excerpt;
use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// Directories of recordings beside a manifest: of Common Voice, Spontaneous Speech and others.
const BESIDE: [&str; 6] = ["clips", "audios", "audio", "wavs", "wav", "recordings"];

/// Finds recordings by what a manifest calls them.
pub(super) struct Clips {
    /// Where names may lead from.
    directories: Vec<PathBuf>,
    /// The first of them that holds nothing but recordings.
    clips: usize,
    /// The recordings in all directories below those, by the names of their files.
    below: OnceCell<HashMap<String, Vec<PathBuf>>>,
}

impl Clips {
    /// Of a manifest in `directory`, whose recordings lie in `clips` if that is given.
    pub(super) fn new(directory: &Path, clips: Option<&Path>) -> Self {
        let directories = match clips {
            Some(clips) => vec![clips.to_owned()],
            None => {
                let beside = BESIDE.iter().map(|name| directory.join(name));
                let beside = beside.filter(|path| path.ends_with(BESIDE[0]) || path.is_dir());
                std::iter::once(directory.to_owned()).chain(beside).collect()
            }
        };
        Self { directories, clips: usize::from(clips.is_none()), below: OnceCell::new() }
    }

    /// The recording of that name: where it leads, under another ending of audio files, or in any directory below.
    ///
    /// # Errors
    /// There is none, or there are several.
    pub(super) fn find(&self, name: &str) -> Result<PathBuf, String> {
        if name.trim().is_empty() {
            return Err("names no recording".into());
        }
        let given = self.directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
        let found = given.or_else(|| self.directories.iter().find_map(|directory| find_audio(directory, name)));
        if let Some(found) = found {
            return Ok(found);
        }
        let bare = bare(Path::new(name));
        let below = self.below.get_or_init(|| self.all());
        let alike = below.get(&stem(&bare)).map_or(&[][..], Vec::as_slice);
        // A name with directories in it is looked for with them.
        let mut alike = alike.iter().filter(|path| self::bare(path).ends_with(&bare));
        match (alike.next(), alike.next()) {
            (Some(found), None) => Ok(found.clone()),
            (Some(one), Some(other)) => {
                Err(format!("the recording {} may be {} or {}", excerpt(name), one.display(), other.display()))
            }
            _ => {
                let within: Vec<_> = self.directories.iter().map(|d| d.display().to_string()).collect();
                Err(format!("the recording {} is not in {}", excerpt(name), within.join(" or ")))
            }
        }
    }

    /// All recordings below the directories of recordings. What lies elsewhere beside a manifest may be anything.
    fn all(&self) -> HashMap<String, Vec<PathBuf>> {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        // What cannot be read holds nothing that could be found.
        let files = self.directories[self.clips..].iter().flat_map(|root| walk(root).unwrap_or_default());
        files.filter(|path| is_audio(path)).for_each(|path| all.entry(stem(&bare(&path))).or_default().push(path));
        all
    }
}

/// A path without an ending of audio files.
fn bare(path: &Path) -> PathBuf {
    if is_audio(path) { path.with_extension("") } else { path.to_owned() }
}

fn stem(bare: &Path) -> String {
    bare.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
