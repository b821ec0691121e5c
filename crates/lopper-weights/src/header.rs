//! The safetensors format: eight bytes with the header's length, the header in JSON, the tensors' bytes without gaps.

use crate::listed::MAX_PROBLEMS;
use crate::regular;
use crate::tensor_file::TensorFile;
use lopper_core::{Error, Result};
use safetensors::Dtype;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Longest header that is read, the same limit as the safetensors library's.
pub(crate) const MAX_HEADER: u64 = 100_000_000;
/// Most tensors in one file; the largest published models have about 100 000.
const MAX_TENSORS: usize = 500_000;
/// With the limit above, this bounds the memory that a header can ask for by a few times its own size.
const MAX_DIMENSIONS: usize = 16;
pub(crate) const METADATA: &str = "__metadata__";

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<u64>,
    /// Its place in the data, in bytes after the header.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// A checked safetensors file, still open: what is read later is what was checked.
#[derive(Debug)]
pub(crate) struct SafetensorsFile {
    path: PathBuf,
    file: Mutex<File>,
    /// Without the eight bytes of length.
    header: Vec<u8>,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl SafetensorsFile {
    /// Opens a file and checks everything that its header says against its length.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let (file, length) = open_regular(path)?;
        Self::read(path, file, length)
    }

    /// As [`open`](Self::open), for an open file of that length.
    pub(crate) fn read(path: &Path, mut file: File, length: u64) -> Result<Self> {
        let refuse = |reason: String| Error::file(path, reason);
        if length == 0 {
            return Err(refuse("is empty; a safetensors file was expected".into()));
        }
        let start = start_of(path, &mut file, 16)?;
        // The length of a header may happen to begin like another format; a brace where the header begins decides.
        if start.get(8) != Some(&b'{')
            && let Some(what) = look_alike(&start)
        {
            return Err(refuse(what));
        }
        let Some(size) = start.first_chunk::<8>().map(|bytes| u64::from_le_bytes(*bytes)) else {
            return Err(refuse(format!("is no safetensors file: {length} bytes are too few for a header")));
        };
        if start.get(8).is_some_and(|byte| *byte != b'{') {
            return Err(refuse("is no safetensors file: its header does not start with `{`".into()));
        }
        if size > MAX_HEADER {
            return Err(refuse(format!(
                "is no safetensors file: its header would be {size} bytes long; {MAX_HEADER} are accepted"
            )));
        }
        if size > length - 8 {
            return Err(refuse(format!(
                "is truncated, or no safetensors file: its header would be {size} bytes long, {} follow",
                length - 8
            )));
        }
        let mut header = vec![0; size as usize];
        file.seek(SeekFrom::Start(8))
            .and_then(|_| file.read_exact(&mut header))
            .map_err(|e| refuse(format!("its header cannot be read: {e}")))?;
        let parsed: Header = serde_json::from_slice(&header)
            .map_err(|e| refuse(format!("its header is not that of a safetensors file: {e}")))?;
        let problems = problems(&parsed.entries, length - 8 - size);
        if problems.is_empty() {
            let Header { entries, metadata } = parsed;
            Ok(Self { path: path.to_owned(), file: Mutex::new(file), header, entries, metadata })
        } else {
            Err(refuse(format!("is damaged: {}", problems.join("; "))))
        }
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(crate) fn entries(&self) -> &BTreeMap<String, Entry> {
        &self.entries
    }

    pub(crate) fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names in the order of their data, which covers the rest of the file.
    pub(crate) fn in_file_order(&self) -> Vec<(&str, &Entry)> {
        by_place(&self.entries)
    }

    /// The bytes of one tensor. They are known to be in the file, so the allocation is bounded by its length.
    pub(crate) fn bytes(&self, entry: &Entry) -> Result<Vec<u8>> {
        let mut bytes = vec![0; (entry.end - entry.start) as usize];
        self.read_at(entry.start, &mut bytes)?;
        Ok(bytes)
    }

    /// The bytes of one tensor in turn, as many at a time as `buffer` holds.
    pub(crate) fn for_each_piece(
        &self,
        entry: &Entry,
        buffer: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        let mut at = entry.start;
        while at < entry.end {
            let piece = buffer.len().min((entry.end - at) as usize);
            self.read_at(at, &mut buffer[..piece])?;
            take(&buffer[..piece])?;
            at += piece as u64;
        }
        Ok(())
    }

    fn read_at(&self, start: u64, into: &mut [u8]) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(8 + self.header.len() as u64 + start))
            .and_then(|_| file.read_exact(into))
            .map_err(|e| Error::file_caused(&self.path, "cannot be read any more", e))
    }
}

impl TensorFile for SafetensorsFile {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> Vec<&str> {
        self.entries.keys().map(String::as_str).collect()
    }

    fn describe(&self, name: &str) -> Option<(Dtype, &[u64])> {
        self.entries.get(name).map(|entry| (entry.dtype, entry.shape.as_slice()))
    }

    fn stream(&self, name: &str, take: &mut dyn FnMut(&[u8])) -> Result<()> {
        let entry =
            self.entries.get(name).ok_or_else(|| Error::file(&self.path, format!("holds no tensor {name:?}")))?;
        let mut buffer = vec![0; (entry.end - entry.start).min(1 << 20) as usize];
        self.for_each_piece(entry, &mut buffer, |bytes| {
            take(bytes);
            Ok(())
        })
    }
}

/// Opens a regular file: a pipe or a device would block or never end.
pub(crate) fn open_regular(path: &Path) -> Result<(File, u64)> {
    regular::open_regular(path).map_err(|e| match e.kind() {
        ErrorKind::InvalidInput | ErrorKind::IsADirectory => Error::file(path, "is no regular file"),
        _ => Error::file_caused(path, "cannot be read", e),
    })
}

/// The first bytes of a file, so many if there are as many.
pub(crate) fn start_of(path: &Path, file: &mut File, most: u64) -> Result<Vec<u8>> {
    let mut start = Vec::with_capacity(most as usize);
    file.seek(SeekFrom::Start(0))
        .and_then(|_| file.take(most).read_to_end(&mut start))
        .map_err(|e| Error::file_caused(path, "cannot be read", e))?;
    Ok(start)
}

/// What a file is that starts so and holds no tensors.
pub(crate) fn look_alike(start: &[u8]) -> Option<String> {
    if start.starts_with(b"PK\x03\x04") || (start.len() > 1 && start[0] == 0x80 && (2..=5).contains(&start[1])) {
        Some("is a pickled PyTorch file; a safetensors file was expected".into())
    } else if start.starts_with(b"version https://") {
        Some("is a Git LFS pointer and not the file itself: run `git lfs pull` where it came from".into())
    } else if start.starts_with(b"<") && start.get(1).is_some_and(|byte| *byte == b'!' || byte.is_ascii_alphabetic()) {
        Some("is a web page and not a safetensors file: download it again".into())
    } else {
        None
    }
}

fn by_place(entries: &BTreeMap<String, Entry>) -> Vec<(&str, &Entry)> {
    let mut ordered: Vec<_> = entries.iter().map(|(name, entry)| (name.as_str(), entry)).collect();
    ordered.sort_by_key(|(_, entry)| (entry.start, entry.end));
    ordered
}

fn problems(entries: &BTreeMap<String, Entry>, data: u64) -> Vec<String> {
    let mut problems = Vec::new();
    let mut note = |problem: String| {
        if problems.len() < MAX_PROBLEMS {
            problems.push(problem);
        }
    };
    let mut covered = 0u64;
    for (name, entry) in by_place(entries) {
        let Entry { dtype, shape, start, end } = entry;
        // Zeros count as ones in the overflow check: libtorch multiplies the other dimensions for the strides.
        let countable = shape.iter().try_fold(dtype.bitsize() as u64, |product, d| product.checked_mul((*d).max(1)));
        let bits = countable.map(|bits| if shape.contains(&0) { 0 } else { bits });
        match bits {
            None => note(format!("{name:?} of shape {shape:?} has more entries than can be counted")),
            Some(bits) if bits % 8 != 0 => {
                note(format!("{name:?} of shape {shape:?} and type {dtype} ends within a byte"))
            }
            Some(bits) if end.checked_sub(*start) != Some(bits / 8) => {
                note(format!(
                    "{name:?} of shape {shape:?} and type {dtype} needs {} bytes, its place is {start}..{end}",
                    bits / 8
                ));
            }
            Some(_) => {}
        }
        if *start < covered {
            note(format!("{name:?} at {start}..{end} overlaps another tensor"));
        } else if *start > covered {
            note(format!("the bytes {covered}..{start} belong to no tensor"));
        }
        covered = covered.max(*end);
    }
    if covered > data {
        note(format!("the file is truncated: its tensors need {covered} bytes, {data} are there"));
    } else if covered < data {
        note(format!("{} bytes after the last tensor belong to none", data - covered));
    }
    problems
}

struct Header {
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;
        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let (mut entries, mut metadata) = (BTreeMap::new(), None);
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        if metadata.replace(map.next_value::<UniqueMap<String>>()?.0).is_some() {
                            return Err(A::Error::custom(format!("{METADATA} stands in it twice")));
                        }
                        continue;
                    }
                    let RawEntry { dtype, shape, data_offsets: (start, end) } = map.next_value()?;
                    let entry = Entry { dtype, shape: shape.0, start, end };
                    insert_unique(&mut entries, name, entry)?;
                }
                Ok(Header { entries, metadata: metadata.unwrap_or_default() })
            }
        }
        deserializer.deserialize_map(HeaderVisitor)
    }
}

#[derive(serde::Deserialize)]
struct RawEntry {
    dtype: Dtype,
    shape: Dimensions,
    data_offsets: (u64, u64),
}

/// At most [`MAX_DIMENSIONS`] numbers, so that a short header cannot ask for much memory.
struct Dimensions(Vec<u64>);

impl<'de> Deserialize<'de> for Dimensions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DimensionsVisitor;
        impl<'de> Visitor<'de> for DimensionsVisitor {
            type Value = Dimensions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {MAX_DIMENSIONS} dimensions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Dimensions, A::Error> {
                let mut dimensions = Vec::new();
                while let Some(dimension) = sequence.next_element()? {
                    if dimensions.len() == MAX_DIMENSIONS {
                        return Err(A::Error::invalid_length(MAX_DIMENSIONS + 1, &self));
                    }
                    dimensions.push(dimension);
                }
                dimensions.shrink_to_fit();
                Ok(Dimensions(dimensions))
            }
        }
        deserializer.deserialize_seq(DimensionsVisitor)
    }
}

/// A JSON object in which no key occurs twice. Plain maps of serde keep the last of them without a word.
pub(crate) struct UniqueMap<V>(pub(crate) BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UniqueVisitor<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for UniqueVisitor<V> {
            type Value = UniqueMap<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueMap<V>, A::Error> {
                let mut unique = BTreeMap::new();
                while let Some((key, value)) = map.next_entry()? {
                    insert_unique(&mut unique, key, value)?;
                }
                Ok(UniqueMap(unique))
            }
        }
        deserializer.deserialize_map(UniqueVisitor(PhantomData))
    }
}

fn insert_unique<V, E: serde::de::Error>(map: &mut BTreeMap<String, V>, key: String, value: V) -> Result<(), E> {
    if map.len() == MAX_TENSORS {
        return Err(E::custom(format!("more than {MAX_TENSORS} names")));
    }
    match map.entry(key) {
        std::collections::btree_map::Entry::Vacant(place) => {
            place.insert(value);
            Ok(())
        }
        std::collections::btree_map::Entry::Occupied(place) => {
            Err(E::custom(format!("{:?} stands in it twice", place.key())))
        }
    }
}
