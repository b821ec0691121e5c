//! What `torch.save` wrote before 1.6, and fairseq long after: four pickles, the names of the storages, the storages.

use super::Place;
use crate::pickle::{Input, Node, Pickle};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};

const MAGIC_NUMBER: &str = "0x1950a86a20f9469cfc6c";
const PROTOCOL: i64 = 1001;

/// The pickled object of a file that is `length` bytes long, and where its storages lie.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn read(file: &mut File, length: u64) -> Result<(Pickle, BTreeMap<Box<str>, Place>), String> {
    let mut input = Input::new(BufReader::new(&mut *file), length);
    let magic = Pickle::read(&mut input)?;
    if !matches!(magic.root().node(), Node::Big(number) if &**number == MAGIC_NUMBER) {
        return Err("is a pickle, but not of `torch.save`".into());
    }
    let protocol = Pickle::read(&mut input)?;
    if protocol.root().as_i64() != Some(PROTOCOL) {
        return Err(format!("is of torch's protocol {:?}; {PROTOCOL} is read", protocol.root()));
    }
    let system = Pickle::read(&mut input)?;
    if system.root().get("little_endian").and_then(|little| little.as_bool()) != Some(true) {
        return Err("is not little-endian, or does not tell; only little-endian files are read".into());
    }
    let object = Pickle::read(&mut input)?;
    let keys = Pickle::read(&mut input)?;
    let widths = widths(&object)?;

    let mut at = input.position();
    drop(input);
    let mut places = BTreeMap::new();
    for key in keys.root().items() {
        let key = key.as_str().ok_or("its list of storages holds something other than text")?;
        let &(width, expected) = widths.get(key).ok_or_else(|| format!("nothing uses its storage {key:?}"))?;
        let count = count(file, at)?;
        let bytes = count.checked_mul(width).filter(|bytes| *bytes == expected).ok_or_else(|| {
            format!("its storage {key:?} has {count} entries of {width} bytes where {expected} bytes were promised")
        })?;
        let start = at + 8;
        at = start.checked_add(bytes).filter(|end| *end <= length).ok_or_else(|| {
            format!("its storage {key:?} of {bytes} bytes from {start} does not end before {length}: it is truncated")
        })?;
        if places.insert(key.into(), Place { start, length: bytes, crc: None }).is_some() {
            return Err(format!("has the storage {key:?} twice"));
        }
    }
    if let Some(absent) = widths.keys().find(|key| !places.contains_key(**key)) {
        return Err(format!("lacks the storage {absent:?}"));
    }
    match length - at {
        0 => Ok((object, places)),
        more => Err(format!("{more} bytes after its last storage belong to none")),
    }
}

/// The number of entries that stands before a storage.
fn count(file: &mut File, at: u64) -> Result<u64, String> {
    let mut bytes = [0; 8];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|e| format!("a storage cannot be read: {e}"))?;
    Ok(u64::from_le_bytes(bytes))
}

/// Bytes of an entry, and of all of them, for each storage that the object uses.
fn widths(object: &Pickle) -> Result<BTreeMap<&str, (u64, u64)>, String> {
    let mut widths = BTreeMap::new();
    for node in &object.nodes {
        let Node::Storage(storage) = node else { continue };
        let size = (storage.width, storage.bytes);
        if widths.insert(&*storage.key, size).is_some_and(|other| other != size) {
            return Err(format!("has two storages {:?}", storage.key));
        }
    }
    Ok(widths)
}
