//! The store as a directory that any number of processes share.

use super::artefact::{ArtefactId, Kind, Listed, Store};
use super::lease::{Claim, Desk};
use super::reference::Reference;
use crate::data_cache;
use crate::sealed::{self, Sealed};
use lopper_core::{Error, Result};
use lopper_weights::files;
use serde::{Deserialize, Serialize};
use std::fs::{self, DirEntry, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const MARKER: &str = "store.json";
const CLAIMS: &str = "claims";
/// Which runs need what, one file a run.
const REFERENCES: &str = "references";
/// Held shared while a run says what it needs, and alone while artefacts are removed.
const LOCK: &str = ".lock";

/// A directory of artefacts: `stages/`, `weights/`, `evaluations/` and `aliases/`, beside `claims/` and `references/`.
#[derive(Debug)]
pub(crate) struct DirectoryStore {
    root: PathBuf,
    desk: Arc<Desk>,
}

/// Says which Lopper a directory is a store of.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {}

impl Sealed for Marker {
    const NAME: &'static str = "store of finished stages";
    const FORMAT: u32 = 2;
}

impl DirectoryStore {
    /// The store in `root`, which is created with the first thing that is put there. `lease` is how long a claim of a
    /// process stands from which nothing is heard.
    ///
    /// # Errors
    /// [`Error::File`] naming a directory that is the store of another version.
    pub(crate) fn open(root: PathBuf, lease: Duration) -> Result<Self> {
        let marker = root.join(MARKER);
        match fs::read(&marker) {
            Ok(bytes) => sealed::open::<Marker>(&bytes).map(drop).map_err(|e| Error::file(&marker, e))?,
            Err(e) if e.kind() == ErrorKind::NotFound || e.kind() == ErrorKind::NotADirectory => refuse_old(&root)?,
            Err(e) => return Err(Error::file(&marker, e)),
        }
        let desk = Arc::new(Desk::new(root.join(CLAIMS), lease));
        Ok(Self { root, desk })
    }

    /// Makes the directory, and says whose it is.
    fn create(&self) -> Result<()> {
        let marker = self.root.join(MARKER);
        if marker.is_file() {
            return Ok(());
        }
        files::create_dir(&self.root)?;
        files::write_atomic(&marker, &sealed::seal(&Marker {})?)
    }

    fn path(&self, id: &ArtefactId) -> PathBuf {
        self.root.join(id.kind.directory()).join(&id.name)
    }

    /// Removes what killed processes left half-written or half-removed, wherever in the store.
    fn sweep(&self) {
        let kinds = Kind::ALL.iter().map(|kind| kind.directory());
        kinds
            .chain([CLAIMS, REFERENCES, data_cache::DIRECTORY, "."])
            .for_each(|directory| files::sweep(&self.root.join(directory)));
    }

    fn lock(&self, how: fn(&File) -> std::io::Result<()>) -> Result<File> {
        let path = self.root.join(LOCK);
        let lock = || {
            let file = File::create(&path)?;
            match how(&file) {
                // Some file systems have no locks.
                Err(e) if e.kind() != ErrorKind::Unsupported => Err(e),
                _ => Ok(file),
            }
        };
        lock().map_err(|e| Error::file(&path, e))
    }
}

/// Refuses the store of a Lopper that kept a stage's directory at the top.
fn refuse_old(root: &Path) -> Result<()> {
    let Ok(entries) = fs::read_dir(root) else { return Ok(()) };
    let old = entries.flatten().any(|entry| is_key(&entry.file_name().to_string_lossy()));
    if old {
        let why = "is the store of an earlier Lopper, whose stages this one does not read: results depend on more than their \
                   keys said. Give another run.store, or remove it";
        return Err(Error::file(root, why));
    }
    Ok(())
}

impl Store for DirectoryStore {
    fn root(&self) -> &Path {
        &self.root
    }

    fn find(&self, id: &ArtefactId) -> Option<PathBuf> {
        Some(self.path(id)).filter(|path| path.is_dir())
    }

    fn add(&self, id: &ArtefactId, write: &mut dyn FnMut(&Path) -> Result<()>) -> Result<(PathBuf, bool)> {
        self.create()?;
        let place = self.path(id);
        if place.is_dir() {
            return Ok((place, false));
        }
        let kind = self.root.join(id.kind.directory());
        files::create_dir(&kind)?;
        let staging = files::staging_dir(&kind)?;
        write(staging.path())?;
        match files::publish_dir(staging, &place) {
            Ok(()) => Ok((place, true)),
            // Another process was quicker: a directory takes no name that another one has.
            Err(_) if place.is_dir() => Ok((place, false)),
            Err(e) => Err(e),
        }
    }

    fn claim(&self, key: &str, run: &Path) -> Result<Claim> {
        self.create()?;
        self.desk.claim(key, run)
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let mut found = Vec::new();
        for kind in Kind::ALL {
            for entry in entries(&self.root.join(kind.directory()))? {
                let Ok(name) = entry.file_name().into_string() else { continue };
                if is_key(name.split('-').next().unwrap_or_default()) && entry.path().is_dir() {
                    found.push(Listed { id: ArtefactId { kind, name }, bytes: size(&entry.path()) });
                }
            }
        }
        found.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(found)
    }

    fn refer(&self, run: &str, needs: Option<&Reference>) -> Result<()> {
        self.create()?;
        let references = self.root.join(REFERENCES);
        files::create_dir(&references)?;
        let _lock = self.lock(File::lock_shared)?;
        self.sweep();
        let path = references.join(format!("{run}.json"));
        match needs {
            Some(needs) => files::write_atomic(&path, &sealed::seal(needs)?),
            None => files::remove_file(&path),
        }
    }

    fn references(&self) -> Result<Vec<Reference>> {
        let mut found = Vec::new();
        for entry in entries(&self.root.join(REFERENCES))? {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            // One that cannot be read may be of a run that is still wanted: better to stop than to guess.
            found.push(sealed::open(&crate::identity::read(&path)?).map_err(|e| Error::file(&path, e))?);
        }
        Ok(found)
    }

    fn remove(&self, doomed: &mut dyn FnMut() -> Result<Vec<Listed>>) -> Result<u64> {
        if !self.root.join(MARKER).is_file() {
            return Ok(0);
        }
        let _lock = self.lock(File::lock)?;
        let mut freed = 0;
        for Listed { id, bytes } in doomed()? {
            let (ArtefactId { name, .. }, place) = (&id, self.path(&id));
            // What somebody is making or reading just now is not free, whatever references say.
            if self.desk.is_claimed(name.split('-').next().unwrap_or_default())? {
                continue;
            }
            // In one step: an artefact half removed must not be found.
            files::remove_dir(&place)?;
            freed += bytes;
        }
        self.sweep();
        Ok(freed)
    }
}

/// Whether a name is a key: BLAKE3 in hexadecimal.
fn is_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The entries of a directory, none for one that is not there; errors name it.
fn entries(directory: &Path) -> Result<Vec<DirEntry>> {
    match directory.symlink_metadata() {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.map_err(|e| Error::file(directory, e))?,
    };
    let read = || fs::read_dir(directory)?.collect::<std::io::Result<Vec<_>>>();
    read().map_err(|e| Error::file(directory, e))
}

fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    fn store(root: &Path) -> DirectoryStore {
        DirectoryStore::open(root.join("store"), Duration::from_secs(60)).unwrap()
    }

    fn id(digit: char) -> ArtefactId {
        ArtefactId::stage(&digit.to_string().repeat(64))
    }

    fn write(content: &'static str) -> impl FnMut(&Path) -> Result<()> {
        move |at| files::write_atomic(&at.join("content"), content.as_bytes())
    }

    #[test]
    fn the_first_whole_artefact_stands() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        assert_eq!(store.find(&id('a')), None);
        let (place, new) = store.add(&id('a'), &mut write("first")).unwrap();
        assert!(new && store.find(&id('a')) == Some(place.clone()));
        let (again, new) = store.add(&id('a'), &mut |_| panic!("nothing is written twice")).unwrap();
        assert!(!new && again == place);
        assert_eq!(fs::read(place.join("content")).unwrap(), b"first");
        // One that fails leaves nothing.
        let failed = store.add(&id('b'), &mut |at| {
            write("half")(at)?;
            Err(Error::Other("no more disk".into()))
        });
        assert_eq!(failed.unwrap_err().to_string(), "no more disk");
        assert_eq!(store.list().unwrap().len(), 1);
        assert_eq!(fs::read_dir(directory.path().join("store/stages")).unwrap().count(), 1);
    }

    #[test]
    fn of_many_that_add_at_once_one_stands_and_all_have_it() {
        let directory = tempfile::tempdir().unwrap();
        let barrier = Barrier::new(8);
        let race = |number: usize| {
            let store = store(directory.path());
            store.add(&id('a'), &mut |at| {
                files::write_atomic(&at.join("content"), number.to_string().as_bytes())?;
                barrier.wait();
                Ok(())
            })
        };
        let added: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8).map(|number| scope.spawn(move || race(number))).collect();
            racers.into_iter().map(|racer| racer.join().unwrap().unwrap()).collect()
        });
        let first = added.iter().position(|(_, new)| *new).unwrap();
        assert_eq!(added.iter().filter(|(_, new)| *new).count(), 1);
        assert_eq!(fs::read_to_string(added[0].0.join("content")).unwrap(), first.to_string());
        assert_eq!(fs::read_dir(directory.path().join("store/stages")).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_store_of_an_earlier_version_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("store");
        fs::create_dir_all(root.join("e".repeat(64))).unwrap();
        let refused = DirectoryStore::open(root.clone(), Duration::from_secs(1)).unwrap_err().to_string();
        assert!(refused.contains("store: is the store of an earlier Lopper"), "{refused}");
        fs::write(root.join(MARKER), b"{\"format\": 9, \"lopper\": \"7.0.0\"}").unwrap();
        let refused = DirectoryStore::open(root, Duration::from_secs(1)).unwrap_err().to_string();
        assert!(refused.contains("format 9, written by Lopper 7.0.0"), "{refused}");
    }

    #[test]
    fn what_is_claimed_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let key = id('a').name;
        for id in [id('a'), ArtefactId::weights(&key, 3)] {
            store.add(&id, &mut write("content")).unwrap();
        }
        let mut all = || store.list();
        let lease = store.claim(&key, directory.path()).unwrap();
        assert_eq!(store.remove(&mut all).unwrap(), 0);
        drop(lease);
        assert_eq!(store.remove(&mut all).unwrap(), 14);
        assert!(store.list().unwrap().is_empty());
    }

    /// Of run "one", whose directory is not to be seen from here.
    fn reference(directory: &Path) -> Reference {
        Reference {
            id: "one".into(),
            run: directory.join("gone"),
            host: "elsewhere".into(),
            stages: ["a".to_owned()].into(),
            weights: Default::default(),
        }
    }

    #[test]
    fn references_stand_until_they_are_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let reference = reference(directory.path());
        store.refer("one", Some(&reference)).unwrap();
        assert_eq!(store.references().unwrap(), std::slice::from_ref(&reference));
        store.refer("two", Some(&Reference { id: "two".into(), ..reference })).unwrap();
        assert_eq!(store.references().unwrap().len(), 2);
        store.refer("one", None).unwrap();
        store.refer("one", None).unwrap();
        assert_eq!(store.references().unwrap().iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["two"]);
        fs::write(store.root.join(REFERENCES).join("two.json"), b"{}").unwrap();
        let error = store.references().unwrap_err().to_string();
        assert!(error.contains("two.json"), "{error}");
    }

    /// A run that has nothing to remove itself clears up after one that was killed at it.
    #[test]
    fn what_killed_processes_left_goes_when_a_run_begins() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let reference = reference(directory.path());
        store.refer("one", Some(&reference)).unwrap();
        let rooms = ["stages", "weights", "evaluations", "aliases", "claims", "references", "data", "."];
        let left: Vec<PathBuf> = rooms
            .iter()
            .flat_map(|room| {
                ["file", "removed/weights"]
                    .map(|name| store.root.join(room).join(files::TEMPORARY_PREFIX.to_owned() + name))
            })
            .collect();
        for path in &left {
            files::create_dir(path.parent().unwrap()).unwrap();
            fs::write(path, b"half").unwrap();
        }
        assert_eq!(store.references().unwrap(), std::slice::from_ref(&reference));
        store.refer("one", Some(&reference)).unwrap();
        assert_eq!(left.iter().filter(|path| path.exists()).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    }

    /// As when a disk answers with an error, or a network's file system is away.
    #[cfg(unix)]
    #[test]
    fn references_that_cannot_be_listed_are_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        store.create().unwrap();
        let references = store.root.join(REFERENCES);
        for unreadable in [
            |path: &Path| fs::write(path, b""),
            |path: &Path| {
                fs::remove_file(path)?;
                std::os::unix::fs::symlink(REFERENCES, path)
            },
        ] {
            unreadable(&references).unwrap();
            let error = store.references().unwrap_err().to_string();
            assert!(error.contains(references.to_str().unwrap()), "{error}");
        }
    }
}
