//! The name by which a store knows a run: it moves with the run's directory.

use crate::machine::Machine;
use crate::store::StageStore;
use lopper_core::{Error, Result};
use lopper_weights::files;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::SystemTime;

/// Its file in the run's directory.
pub(crate) const FILE: &str = "run-id";

/// The name in the run directory `out`, if it has one.
pub(crate) fn read(out: &Path) -> Result<Option<String>> {
    let path = out.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned()).filter(|id| is_id(id))),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file(path, e)),
    }
}

/// The name of the run in `out`, which is given one if it has none. A copy of a directory whose first is still where it was
/// is another run, and gets a name of its own: one must not drop what the other needs.
pub(crate) fn of(out: &Path, store: &StageStore) -> Result<String> {
    let place = fs::canonicalize(out).map_err(|e| Error::file(out, e))?;
    if let Some(id) = read(out)? {
        let others = store.references()?.into_iter().filter(|reference| reference.id == id && reference.run != place);
        let copied =
            others.map(|reference| read(&reference.run)).any(|there| matches!(there, Ok(Some(found)) if found == id));
        if !copied {
            return Ok(id);
        }
    }
    let id = made(&place);
    files::write_atomic(&out.join(FILE), format!("{id}\n").as_bytes())?;
    Ok(id)
}

/// A name that no other run has: no two processes of a machine share number, time and directory.
fn made(place: &Path) -> String {
    let machine = Machine::this();
    let mut hash = blake3::Hasher::new();
    hash.update(machine.id().unwrap_or(machine.name()).as_bytes());
    hash.update(&std::process::id().to_le_bytes());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    hash.update(&now.as_nanos().to_le_bytes());
    hash.update(place.as_os_str().as_encoded_bytes());
    hash.finalize().to_hex()[..32].to_owned()
}

fn is_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
