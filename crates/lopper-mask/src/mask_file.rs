//! Mask files: packed bits in safetensors, with what they belong to and where they came from.

use crate::error::Cause;
use crate::{Error, Layout, MaskSet, Result, TensorLayout};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Where a mask came from: free-form pairs such as `method`, `task`, `stage`, `seed`.
pub type MaskOrigin = BTreeMap<String, String>;

/// The version of the format that is written.
const VERSION: u32 = 1;
/// The one key of a mask file's metadata. One, because the order of several would not be fixed.
pub const MASK_METADATA_KEY: &str = "lopper.mask";
/// Longest header that is read, far above that of any published model: parsed, a header may take many times its size.
const MAX_HEADER: u64 = 2 << 20;

/// Only the version, so that a file of another one can be named whatever else is in it.
#[derive(Deserialize)]
struct Versioned {
    version: u32,
}

#[derive(Serialize, Deserialize)]
struct Description {
    version: u32,
    /// Tensors in the order of the ranking; safetensors would sort them by name.
    tensors: Vec<TensorLayout>,
    kept: u64,
    origin: MaskOrigin,
    /// BLAKE3 of the bits and of this description with an empty checksum, in hexadecimal.
    checksum: String,
}

impl Description {
    fn checksum(&self, bits: &[impl AsRef<[u8]>]) -> Result<String> {
        let blank =
            Self { checksum: String::new(), tensors: self.tensors.clone(), origin: self.origin.clone(), ..*self };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&json(&blank)?);
        for bits in bits {
            hasher.update(bits.as_ref());
        }
        Ok(hasher.finalize().to_hex().to_string())
    }
}

impl MaskSet {
    /// The bytes of a mask file: the same for the same mask and origin.
    ///
    /// Each tensor is stored under its name as `U8 [ceil(entries / 8)]`, the first entry in the lowest bit.
    ///
    /// # Errors
    /// [`Error::Format`] when the parts cannot be put into one file.
    pub fn to_file_bytes(&self, origin: &MaskOrigin) -> Result<Vec<u8>> {
        let bits: Vec<Vec<u8>> = self
            .layout()
            .tensors()
            .iter()
            .zip(self.words())
            .map(|(tensor, words)| {
                let mut bytes = vec![0; words.len() * 8];
                for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
                    *bytes = word.to_le_bytes();
                }
                bytes.truncate(tensor.entries().div_ceil(8) as usize);
                bytes
            })
            .collect();
        let mut description = Description {
            version: VERSION,
            tensors: self.layout().tensors().to_vec(),
            kept: self.kept(),
            origin: origin.clone(),
            checksum: String::new(),
        };
        description.checksum = description.checksum(&bits)?;
        let text = String::from_utf8(json(&description)?).map_err(format)?;
        let views = self
            .layout()
            .tensors()
            .iter()
            .zip(&bits)
            .map(|(tensor, bits)| {
                Ok((tensor.name().as_str(), TensorView::new(Dtype::U8, vec![bits.len()], bits).map_err(format)?))
            })
            .collect::<Result<Vec<_>>>()?;
        serialize(views, Some(HashMap::from([(MASK_METADATA_KEY.to_owned(), text)]))).map_err(format)
    }

    /// Reads a mask file, and where the mask came from. Whatever the bytes, memory stays in proportion to their number.
    ///
    /// # Errors
    /// [`Error::Format`] for anything that is not a whole, unchanged mask file of this version.
    pub fn from_file_bytes(bytes: &[u8]) -> Result<(Self, MaskOrigin)> {
        let size = bytes.first_chunk::<8>().map_or(0, |size| u64::from_le_bytes(*size));
        if size > MAX_HEADER {
            return Err(refuse(format!("its header would be {size} bytes long; {MAX_HEADER} are accepted")));
        }
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(format)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(MASK_METADATA_KEY)).ok_or_else(|| {
            refuse(format!(
                "its metadata has no `{MASK_METADATA_KEY}`; this may be a checkpoint, masks are called mask.safetensors"
            ))
        })?;
        let Versioned { version } = serde_json::from_str(text).map_err(format)?;
        if version != VERSION {
            return Err(refuse(format!("format version {version}; this Lopper reads version {VERSION}")));
        }
        let description: Description = serde_json::from_str(text).map_err(format)?;
        let file = SafeTensors::deserialize(bytes).map_err(format)?;
        if file.len() != description.tensors.len() {
            return Err(refuse(format!("{} tensors where {} are described", file.len(), description.tensors.len())));
        }
        let named = description.tensors.iter().map(|t| (t.name().clone(), t.shape().to_vec()));
        let layout = Layout::new(named)?;
        let mut bits = Vec::with_capacity(layout.tensors().len());
        for tensor in layout.tensors() {
            let view = file.tensor(tensor.name().as_str()).map_err(format)?;
            if view.dtype() != Dtype::U8 || view.data().len() as u64 != tensor.entries().div_ceil(8) {
                return Err(refuse(format!(
                    "`{}` of {} entries is stored as {:?} of {} bytes",
                    tensor.name(),
                    tensor.entries(),
                    view.dtype(),
                    view.data().len()
                )));
            }
            bits.push(view.data());
        }
        if description.checksum(&bits)? != description.checksum {
            return Err(refuse("its checksum does not fit: the file was changed after it was written".into()));
        }
        let words = bits.into_iter().map(words).collect();
        let mask = Self::from_words(Arc::new(layout), words)?;
        if mask.kept() != description.kept {
            return Err(refuse(format!("it keeps {} entries where {} are described", mask.kept(), description.kept)));
        }
        Ok((mask, description.origin))
    }
}

fn words(bytes: &[u8]) -> Vec<u64> {
    let (whole, rest) = bytes.as_chunks::<8>();
    let mut words: Vec<u64> = whole.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    if !rest.is_empty() {
        words.push(rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
    }
    words
}

fn json(description: &Description) -> Result<Vec<u8>> {
    serde_json::to_vec(description).map_err(format)
}

fn format(error: impl Into<Cause>) -> Error {
    let cause = error.into();
    Error::Format { reason: cause.to_string(), source: Some(cause) }
}

fn refuse(reason: String) -> Error {
    Error::Format { reason, source: None }
}
