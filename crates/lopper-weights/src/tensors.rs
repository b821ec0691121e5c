//! Named tensors to and from one safetensors file, with a hash over all of it.

use crate::header::{Entry, METADATA, SafetensorsFile};
use crate::{Dtype, files};
use lopper_core::{Error, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// The metadata key of the hash: BLAKE3 over header and data, with 64 zeros in the hash's own place.
const HASH: &str = "lopper.blake3";
const NO_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Entries that are copied to the host at a time.
pub(crate) const PIECE: i64 = 1 << 20;
/// Entries whose bits share a word.
pub(crate) const WORD: usize = 64;

/// Writes named tensors and metadata as one safetensors file, all or nothing: the same input gives the same bytes.
/// Tensors may lie on any device and may be non-contiguous; floating types of 16 to 64 bits and integers of 8 to 64 bits are
/// accepted and kept.
/// At most one tensor's copy and a buffer are held beside the tensors themselves. Returns the hash, in hexadecimal.
///
/// # Errors
/// [`Error::Many`] of every name that occurs twice and every tensor of another type; [`Error::File`] naming the path.
pub fn save_tensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor)>,
    metadata: &BTreeMap<String, String>,
) -> Result<String> {
    save_kept_tensors(path, tensors.into_iter().map(|(name, tensor)| (name, tensor, None)), metadata)
}

/// As [`save_tensors`], of float32 tensors that come with bits the entries whose bit is 1 alone: one dimension, in row-major
/// order. Bits are packed as a mask's, 64 entries a word, the first in the lowest bit. They are gathered a piece at a time.
/// [`SealedTensors::read_kept_into`](crate::SealedTensors::read_kept_into) undoes it.
///
/// # Errors
/// As [`save_tensors`], and for every tensor whose bits are not as many as its entries or that is no float32.
pub fn save_kept_tensors<'a>(
    path: &Path,
    tensors: impl IntoIterator<Item = (&'a str, &'a Tensor, Option<&'a [u64]>)>,
    metadata: &BTreeMap<String, String>,
) -> Result<String> {
    let mut metadata = metadata.clone();
    metadata.insert(HASH.into(), NO_HASH.into());
    let items = tensors
        .into_iter()
        .map(|(name, tensor, kept)| Item { name, tensor, kept, prepare: None, kind: None })
        .collect();
    let mut hash = String::new();
    write(path, items, &metadata, Some(&mut hash))?;
    Ok(hash)
}

/// Changes float32 values on their way to a file.
pub(crate) type Prepare<'a> = Box<dyn Fn(&mut [f32]) -> Result<()> + 'a>;

/// A tensor to write.
pub(crate) struct Item<'a> {
    pub(crate) name: &'a str,
    pub(crate) tensor: &'a Tensor,
    /// Bits of the entries that are written; `None` for all.
    pub(crate) kept: Option<&'a [u64]>,
    pub(crate) prepare: Option<Prepare<'a>>,
    /// The type that it is written in; `None` for its own.
    pub(crate) kind: Option<Kind>,
}

impl Item<'_> {
    /// As it stands in the file.
    fn shape(&self) -> Vec<i64> {
        self.kept.map_or_else(|| self.tensor.size(), |words| vec![ones(words) as i64])
    }

    /// The type in the file.
    fn kind(&self) -> Result<Kind, tch::TchError> {
        self.kind.map_or_else(|| self.tensor.f_kind(), Ok)
    }

    fn entries(&self) -> usize {
        self.kept.map_or_else(|| self.tensor.numel(), ones)
    }
}

/// Bits that are 1.
pub(crate) fn ones(words: &[u64]) -> usize {
    words.iter().map(|word| word.count_ones() as usize).sum()
}

#[derive(Serialize)]
struct Place {
    dtype: Dtype,
    shape: Vec<i64>,
    data_offsets: (u64, u64),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Metadata(&'a BTreeMap<String, String>),
    Tensor(Place),
}

pub(crate) fn write(
    path: &Path,
    mut items: Vec<Item<'_>>,
    metadata: &BTreeMap<String, String>,
    hash: Option<&mut String>,
) -> Result<()> {
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    for item in &items {
        if item.name == METADATA || !seen.insert(item.name) {
            problems.push(Error::invalid(
                "tensor name",
                format!("{:?}", item.name),
                "every name once, and none `__metadata__`",
            ));
        } else if !item.tensor.defined() {
            problems.push(Error::invalid(item.name, "an undefined tensor", "a tensor with values"));
        } else if dtype(item.tensor.f_kind()?).is_none() {
            let kind = item.tensor.f_kind()?;
            problems.push(Error::invalid(
                item.name,
                format!("{kind:?} values"),
                "floating types of 16 to 64 bits, or integers of 8 to 64",
            ));
        } else if let Some(words) = item.kept {
            problems.extend(kept_problem(item.name, item.tensor.f_kind()?, item.tensor.numel(), words));
        }
    }
    Error::all(problems)?;

    // Wider types first, as the format's own library does: every tensor starts at a multiple of its entry's size.
    let width = |item: &Item<'_>| item.kind().map_or(0, |kind| kind.elt_size_in_bytes());
    items.sort_by(|a, b| width(b).cmp(&width(a)).then_with(|| a.name.cmp(b.name)));
    let mut lines = BTreeMap::new();
    if !metadata.is_empty() {
        lines.insert(METADATA, Line::Metadata(metadata));
    }
    let mut end = 0;
    for item in &items {
        let start = end;
        end += (item.entries() * width(item)) as u64;
        let dtype = dtype(item.kind()?).expect("checked above");
        lines.insert(item.name, Line::Tensor(Place { dtype, shape: item.shape(), data_offsets: (start, end) }));
    }
    let mut header = serde_json::to_vec(&lines).map_err(|e| Error::file(path, e))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let hash = hash.zip(hash_place(&header, NO_HASH));

    files::replace(path, |file| {
        let mut hasher = blake3::Hasher::new();
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        hasher.update(&header);
        for item in &items {
            for_each_piece(item, |bytes| {
                if hash.is_some() {
                    hasher.update_rayon(bytes);
                }
                file.write_all(bytes)
            })?;
        }
        if let Some((hash, at)) = hash {
            *hash = hasher.finalize().to_hex().to_string();
            file.seek(SeekFrom::Start(8 + at as u64))?;
            file.write_all(hash.as_bytes())?;
        }
        Ok(())
    })
}

/// Why those bits cannot choose among the entries of a tensor; `None` where they can.
pub(crate) fn kept_problem(name: &str, kind: Kind, entries: usize, words: &[u64]) -> Option<Error> {
    let beyond = entries.is_multiple_of(WORD) || words.last().is_none_or(|last| last >> (entries % WORD) == 0);
    if kind == Kind::Float && words.len() == entries.div_ceil(WORD) && beyond {
        return None;
    }
    let found = format!("{kind:?} values, {entries} of them, and {} words of bits", words.len());
    Some(Error::invalid(name, found, "float32 values and a bit for each, 64 in a word"))
}

fn for_each_piece(item: &Item<'_>, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let _no_grad = tch::no_grad_guard();
    let tensor = item
        .tensor
        .f_detach()
        .and_then(|t| t.f_contiguous())
        .and_then(|t| t.f_view(-1_i64))
        .map_err(io::Error::other)?;
    if let Some(prepare) = &item.prepare {
        let mut values = vec![0f32; tensor.numel()];
        tensor
            .f_to_device(Device::Cpu)
            .and_then(|t| t.f_copy_data(&mut values, t.numel()))
            .map_err(io::Error::other)?;
        prepare(&mut values).map_err(io::Error::other)?;
        if let Some(kind) = item.kind.filter(|kind| *kind != Kind::Float) {
            for piece in values.chunks(PIECE as usize) {
                let piece = Tensor::f_from_slice(piece).map_err(io::Error::other)?;
                take(&converted(item.name, &piece, kind)?)?;
            }
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(values.len().min(PIECE as usize) * 4);
        for piece in values.chunks(PIECE as usize) {
            bytes.clear();
            bytes.extend(piece.iter().flat_map(|value| value.to_le_bytes()));
            take(&bytes)?;
        }
        return Ok(());
    }
    let (entries, width) = (tensor.numel() as i64, tensor.f_kind().map_err(io::Error::other)?.elt_size_in_bytes());
    let mut bytes = vec![0; entries.min(PIECE) as usize * width];
    let mut start = 0;
    while start < entries {
        let length = PIECE.min(entries - start);
        if let Some(kind) = item.kind {
            let piece = tensor.f_narrow(0, start, length).map_err(io::Error::other)?;
            take(&converted(item.name, &piece, kind)?)?;
            start += length;
            continue;
        }
        let bytes = &mut bytes[..length as usize * width];
        tensor
            .f_narrow(0, start, length)
            .and_then(|t| t.f_copy_data_u8(bytes, length as usize))
            .map_err(io::Error::other)?;
        match item.kept {
            // Pieces begin at the first entry of a word.
            Some(words) => take(gather(&words[start as usize / WORD..], bytes, width))?,
            None => take(bytes)?,
        }
        start += length;
    }
    Ok(())
}

/// A piece's values in another type, nearest to what they were.
fn converted(name: &str, piece: &Tensor, kind: Kind) -> io::Result<Vec<u8>> {
    let convert = || {
        let piece = piece.f_to_device(Device::Cpu)?.f_to_kind(kind)?;
        let finite = bool::try_from(piece.f_isfinite()?.f_all()?)?;
        let mut bytes = vec![0; piece.numel() * kind.elt_size_in_bytes()];
        piece.f_copy_data_u8(&mut bytes, piece.numel())?;
        Ok::<_, tch::TchError>((finite, bytes))
    };
    let (finite, bytes) = convert().map_err(io::Error::other)?;
    if finite {
        return Ok(bytes);
    }
    Err(io::Error::other(format!("{name} has a value that {kind:?} does not hold; save it as float32")))
}

/// The places of the bits of a word that are 1, from the lowest.
pub(crate) fn set_bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
        word &= word - 1;
        Some(bit)
    })
}

/// Moves the entries whose bit is 1 to the front; `words` begins with the bits of the first entry.
fn gather<'a>(words: &[u64], bytes: &'a mut [u8], width: usize) -> &'a [u8] {
    let mut end = 0;
    for (word, first) in words.iter().zip((0..bytes.len() / width).step_by(WORD)) {
        for bit in set_bits(*word) {
            let from = (first + bit) * width;
            bytes.copy_within(from..from + width, end);
            end += width;
        }
    }
    &bytes[..end]
}

/// All tensors of a safetensors file, on the CPU, in the types they are stored in.
///
/// # Errors
/// [`Error::File`] naming the file when it is missing or inconsistent, [`Error::Unsupported`] for a type that libtorch
/// does not compute with.
pub fn load_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let file = SafetensorsFile::open(path)?;
    let read = |(name, entry): (&String, &Entry)| {
        let tensor = tensor_of(path, name, entry.dtype, &entry.shape, &file.bytes(entry)?)?;
        Ok((name.clone(), tensor))
    };
    file.entries().iter().map(read).collect()
}

/// As [`load_tensors`], for a file of [`save_tensors`]: any change since it was written is found.
///
/// # Errors
/// As [`load_tensors`], and [`Error::File`] when the file has no hash or another one than its content.
pub fn load_tensors_verified(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    Ok(load_tensors_with_hash(path)?.0)
}

/// As [`load_tensors_verified`], with the hash that [`save_tensors`] returned.
///
/// # Errors
/// As [`load_tensors_verified`].
pub fn load_tensors_with_hash(path: &Path) -> Result<(BTreeMap<String, Tensor>, String)> {
    let file = SafetensorsFile::open(path)?;
    let (mut hasher, stored) = begin_hash(path, &file)?;
    let mut tensors = BTreeMap::new();
    for (name, entry) in file.in_file_order() {
        let bytes = file.bytes(entry)?;
        hasher.update_rayon(&bytes);
        tensors.insert(name.to_owned(), tensor_of(path, name, entry.dtype, &entry.shape, &bytes)?);
    }
    check_hash(path, &hasher, &stored)?;
    Ok((tensors, stored))
}

/// The hasher of a file of [`save_tensors`] that has seen its header, and the hash that the header claims.
pub(crate) fn begin_hash(path: &Path, file: &SafetensorsFile) -> Result<(blake3::Hasher, String)> {
    let stored = file.metadata().get(HASH).ok_or_else(|| {
        Error::file(
            path,
            format!("has no hash ({HASH:?} in its metadata): it was not written as part of a run of Lopper"),
        )
    })?;
    let place = hash_place(file.header(), stored)
        .ok_or_else(|| Error::file(path, format!("is damaged: {stored:?} is not a hash as Lopper writes it")))?;
    let mut header = file.header().to_vec();
    header[place..place + NO_HASH.len()].copy_from_slice(NO_HASH.as_bytes());
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header);
    Ok((hasher, stored.clone()))
}

pub(crate) fn check_hash(path: &Path, hasher: &blake3::Hasher, stored: &str) -> Result<()> {
    let found = hasher.finalize().to_hex();
    if found.as_str() == stored {
        return Ok(());
    }
    Err(Error::file(path, format!("is damaged: its content has the hash {found}, {stored} was written")))
}

/// The metadata of a safetensors file, without the hash of [`save_tensors`].
///
/// # Errors
/// [`Error::File`] naming the file when it is missing or inconsistent.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut metadata = SafetensorsFile::open(path)?.metadata().clone();
    metadata.remove(HASH);
    Ok(metadata)
}

/// Where in the header the hash's 64 digits stand.
fn hash_place(header: &[u8], hash: &str) -> Option<usize> {
    if hash.len() != NO_HASH.len() {
        return None;
    }
    let line = format!("\"{HASH}\":\"{hash}\"");
    let at = header.windows(line.len()).position(|window| window == line.as_bytes())?;
    Some(at + line.len() - 1 - NO_HASH.len())
}

/// A tensor on the CPU from its entries, little-endian and row-major; `path` and `name` are for errors.
pub(crate) fn tensor_of(path: &Path, name: &str, dtype: Dtype, shape: &[u64], bytes: &[u8]) -> Result<Tensor> {
    let unsupported = || Error::Unsupported {
        what: "libtorch".into(),
        feature: format!("{name:?} of type {dtype} and shape {shape:?} in {}", path.display()),
    };
    let shape: Vec<i64> =
        shape.iter().map(|d| i64::try_from(*d)).collect::<Result<_, _>>().map_err(|_| unsupported())?;
    let kind = match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::I16 => Kind::Int16,
        Dtype::I8 => Kind::Int8,
        Dtype::U8 | Dtype::BOOL => Kind::Uint8,
        _ => return Err(unsupported()),
    };
    let tensor = Tensor::f_from_data_size(bytes, &shape, kind)?;
    // A byte other than 0 and 1 is no valid C++ bool.
    Ok(if dtype == Dtype::BOOL { tensor.f_ne(0)? } else { tensor })
}

pub(crate) fn dtype(kind: Kind) -> Option<Dtype> {
    match kind {
        Kind::Float => Some(Dtype::F32),
        Kind::Double => Some(Dtype::F64),
        Kind::Int64 => Some(Dtype::I64),
        Kind::Uint8 => Some(Dtype::U8),
        Kind::Half => Some(Dtype::F16),
        Kind::BFloat16 => Some(Dtype::BF16),
        Kind::Int => Some(Dtype::I32),
        Kind::Int16 => Some(Dtype::I16),
        Kind::Int8 => Some(Dtype::I8),
        _ => None,
    }
}
