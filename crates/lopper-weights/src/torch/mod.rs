//! Files of `torch.save`: a pickle that describes tensors, and the storages that hold their entries.

mod legacy;
mod state;
mod view;
mod zip;

use crate::listed::MAX_PROBLEMS;
use crate::pickle::{Input, Node, Pickle, TensorNode, Value};
use crate::tensor_file::TensorFile;
use lopper_core::{Error, Result};
use safetensors::Dtype;
use state::StateDict;
pub(crate) use state::nested::every_tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use view::View;

/// Bytes that are read at a time.
const PIECE: u64 = 1 << 20;
/// How often all of a file may be read when its tensors share storages.
const SHARED: u64 = 64;
/// What tensors that share storages may come to in any file, in bytes.
const LEAST_SHARED: u64 = 16 << 20;

/// Where a storage's entries lie.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    start: u64,
    length: u64,
    /// CRC-32 of the bytes, where the file states one.
    crc: Option<u32>,
}

/// A checked file of `torch.save`, still open: what is read later is what was checked.
#[derive(Debug)]
pub(crate) struct TorchFile {
    path: PathBuf,
    file: Mutex<File>,
    pickle: Pickle,
    state: StateDict,
    storages: BTreeMap<Box<str>, Place>,
    /// Starts of the storages whose sums were found right.
    verified: Mutex<BTreeSet<u64>>,
}

/// Finds the tensors of a pickled object.
pub(crate) type Which = fn(&Pickle) -> Result<StateDict, String>;

/// The state dict: under the key that training scripts put it, or else at the top level.
pub(crate) fn state_dict(pickle: &Pickle) -> Result<StateDict, String> {
    StateDict::find(pickle)
}

/// Whether a file that starts so is meant for [`TorchFile`].
pub(crate) fn is_torch(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || is_pickle(start) || is_tar(start)
}

/// A pickle of protocol 2 or newer. What follows is a frame, the magic number, or whatever else is pickled.
fn is_pickle(start: &[u8]) -> bool {
    start.len() > 2 && start[0] == 0x80 && (2..=5).contains(&start[1]) && start.get(8) != Some(&b'{')
}

fn is_tar(start: &[u8]) -> bool {
    start.get(257..262) == Some(b"ustar")
}

impl TorchFile {
    /// Reads what the file says of its tensors, and checks it against the file's length. `which` finds them in what is pickled.
    pub(crate) fn read(path: &Path, mut file: File, length: u64, start: &[u8], which: Which) -> Result<Self> {
        let refuse = |reason: String| Error::file(path, reason);
        let (pickle, storages) = if is_tar(start) {
            return Err(refuse(
                "is of the tar format of torch before 0.1.10, which is not read; a torch that loads it can save it again"
                    .into(),
            ));
        } else if is_pickle(start) {
            file.seek(SeekFrom::Start(0)).map_err(|e| refuse(format!("cannot be read: {e}")))?;
            legacy::read(&mut file, length).map_err(refuse)?
        } else {
            archived(&mut file, length).map_err(refuse)?
        };
        let state = which(&pickle).map_err(refuse)?;
        let read =
            Self { path: path.to_owned(), file: Mutex::new(file), pickle, state, storages, verified: Mutex::default() };
        let problems = read.problems(length);
        if problems.is_empty() { Ok(read) } else { Err(refuse(format!("is damaged: {}", problems.join("; ")))) }
    }

    fn problems(&self, length: u64) -> Vec<String> {
        let (mut problems, mut total) = (Vec::new(), 0u64);
        for (name, tensor) in &self.state.tensors {
            if problems.len() == MAX_PROBLEMS {
                break;
            }
            let Node::Tensor(node) = self.pickle.node(*tensor) else { continue };
            match self.place(node).and_then(|(_, view)| self.dtype_of(node).map(|_| view)) {
                Ok(view) => total = total.saturating_add(view.size),
                Err(reason) => problems.push(format!("{name:?} {reason}")),
            }
        }
        let most = length.saturating_mul(SHARED).saturating_add(LEAST_SHARED);
        if total > most {
            problems.push(format!("its tensors share storages and come to {total} bytes; {most} are accepted"));
        }
        problems
    }

    /// Where a tensor's storage lies, and which part of it the tensor is.
    fn place<'a>(&self, tensor: &'a TensorNode) -> Result<(Place, View<'a>), String> {
        let Node::Storage(storage) = self.pickle.node(tensor.storage) else {
            return Err("has no storage".into());
        };
        let key = &storage.key;
        let place = *self.storages.get(key).ok_or_else(|| format!("lies in the storage {key:?}, which is absent"))?;
        if place.length != storage.bytes {
            return Err(format!(
                "lies in the storage {key:?}, which has {} bytes where {} were promised",
                place.length, storage.bytes
            ));
        }
        Ok((place, View::new(tensor, place.length)?))
    }

    fn dtype_of(&self, tensor: &TensorNode) -> Result<Dtype, String> {
        tensor.dtype.ok_or_else(|| "is of a type that is not read: complex128, quantised, or none".to_owned())
    }

    fn find(&self, name: &str) -> Option<&TensorNode> {
        let at = self.state.tensors.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        match self.pickle.node(self.state.tensors[at].1) {
            Node::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// Feeds `length` bytes from `first` of a storage to `take`, a piece at a time. A storage with a sum is read whole
    /// the first time, and its sum is checked.
    fn read_storage(&self, place: Place, first: u64, length: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let verified = |start: &u64| self.verified.lock().unwrap_or_else(PoisonError::into_inner).contains(start);
        match place.crc {
            Some(crc) if !verified(&place.start) => {
                let whole = first == 0 && length == place.length;
                let mut hasher = crc32fast::Hasher::new();
                self.stream_at(place.start, place.length, &mut |piece| {
                    hasher.update(piece);
                    if whole {
                        take(piece);
                    }
                })?;
                if hasher.finalize() != crc {
                    return Err(Error::file(
                        &self.path,
                        "is damaged: the bytes of a tensor do not have the sum that the file states (or it was written without \
                         sums: torch.serialization.set_crc32_options(False))",
                    ));
                }
                self.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(place.start);
                if whole { Ok(()) } else { self.stream_at(place.start + first, length, take) }
            }
            _ => self.stream_at(place.start + first, length, take),
        }
    }

    fn stream_at(&self, start: u64, length: u64, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let mut buffer = vec![0; length.min(PIECE) as usize];
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let mut read = || {
            file.seek(SeekFrom::Start(start))?;
            let mut left = length as usize;
            while left > 0 {
                let piece = left.min(buffer.len());
                file.read_exact(&mut buffer[..piece])?;
                take(&buffer[..piece]);
                left -= piece;
            }
            Ok(())
        };
        read().map_err(|e: std::io::Error| Error::file_caused(&self.path, "cannot be read any more", e))
    }
}

impl TensorFile for TorchFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<&str> {
        self.state.tensors.iter().map(|(name, _)| &**name).collect()
    }

    fn describe(&self, name: &str) -> Option<(Dtype, &[u64])> {
        let tensor = self.find(name)?;
        Some((tensor.dtype?, &tensor.shape))
    }

    fn stream(&self, name: &str, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let refuse = |reason: String| Error::file(&self.path, format!("{name:?} {reason}"));
        let tensor = self.find(name).ok_or_else(|| refuse("is not there".into()))?;
        let (place, view) = self.place(tensor).map_err(refuse)?;
        if view.is_contiguous() {
            return self.read_storage(place, view.first, view.size, take);
        }
        let mut span = Vec::with_capacity(view.span as usize);
        self.read_storage(place, view.first, view.span, &mut |piece| span.extend_from_slice(piece))?;
        take(&view.gather(&span));
        Ok(())
    }

    fn extra(&self) -> Option<Value<'_>> {
        (!self.state.whole).then(|| self.pickle.root())
    }
}

/// The pickled object and the storages of a zip archive.
fn archived(file: &mut File, length: u64) -> Result<(Pickle, BTreeMap<Box<str>, Place>), String> {
    let entries = zip::entries(file, length)?;
    let mut pickles = entries.keys().filter_map(|name| name.strip_suffix("/data.pkl")).filter(|top| !top.contains('/'));
    let top = match (pickles.next(), pickles.next()) {
        (Some(top), None) => top.to_owned(),
        (None, _) => return Err("is a zip archive without data.pkl, and so none of `torch.save`".into()),
        _ => return Err("is a zip archive with several data.pkl".into()),
    };
    if let Some(order) = entries.get(&*format!("{top}/byteorder")) {
        let order = content(file, order, 16)?;
        if order != b"little" {
            let order = String::from_utf8_lossy(&order).into_owned();
            return Err(format!("has the byte order {order:?}; little is read"));
        }
    }
    let object = entries.get(&*format!("{top}/data.pkl")).ok_or("lacks its data.pkl")?;
    let pickle = unpickle(file, object)?;
    let within = format!("{top}/data/");
    let place = |(name, entry): (Box<str>, zip::Entry)| {
        let place = Place { start: entry.start, length: entry.length, crc: Some(entry.crc) };
        Some((name.strip_prefix(&within)?.into(), place))
    };
    Ok((pickle, entries.into_iter().filter_map(place).collect()))
}

fn unpickle(file: &mut File, entry: &zip::Entry) -> Result<Pickle, String> {
    let unreadable = |e: std::io::Error| format!("its data.pkl cannot be read: {e}");
    file.seek(SeekFrom::Start(entry.start)).map_err(unreadable)?;
    let mut hasher = crc32fast::Hasher::new();
    let mut content = BufReader::new(&mut *file).take(entry.length);
    let mut buffer = [0; 1 << 12];
    loop {
        match content.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    if hasher.finalize() != entry.crc {
        return Err(
            "is damaged: its data.pkl does not have the sum that the file states (or it was written without sums: \
                    torch.serialization.set_crc32_options(False))"
                .into(),
        );
    }
    file.seek(SeekFrom::Start(entry.start)).map_err(unreadable)?;
    let mut input = Input::new(BufReader::new(file), entry.length);
    let pickle = Pickle::read(&mut input)?;
    input.finish()?;
    Ok(pickle)
}

/// A small entry's content.
fn content(file: &mut File, entry: &zip::Entry, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(entry.start))
        .and_then(|_| file.take(entry.length.min(most)).read_to_end(&mut bytes))
        .map_err(|e| format!("its zip archive cannot be read: {e}"))?;
    Ok(bytes)
}
