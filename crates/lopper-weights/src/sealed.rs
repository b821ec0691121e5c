//! A safetensors file of ours that is checked as a whole and then read a tensor at a time, to where each belongs.

use crate::header::SafetensorsFile;
use crate::tensors::{PIECE, WORD, begin_hash, check_hash, dtype, kept_problem, ones, set_bits, tensor_of};
use lopper_core::{Error, Result};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// A file of [`save_tensors`](crate::save_tensors) that has been read once against its hash and is still open: what is read of it afterwards is
/// what was checked, as files are replaced and never changed. It holds no tensor; each is read where it is wanted.
#[derive(Debug)]
pub struct SealedTensors {
    path: PathBuf,
    file: SafetensorsFile,
    hash: String,
}

impl SealedTensors {
    /// Opens a file and reads all of it, a piece at a time: any change since it was written is found.
    ///
    /// # Errors
    /// As [`load_tensors_verified`](crate::load_tensors_verified).
    pub fn open(path: &Path) -> Result<Self> {
        let file = SafetensorsFile::open(path)?;
        let (mut hasher, hash) = begin_hash(path, &file)?;
        let mut buffer = vec![0; 4 * PIECE as usize];
        for (_, entry) in file.in_file_order() {
            file.for_each_piece(entry, &mut buffer, |bytes| {
                hasher.update_rayon(bytes);
                Ok(())
            })?;
        }
        check_hash(path, &hasher, &hash)?;
        Ok(Self { path: path.to_owned(), file, hash })
    }

    /// The hash that [`save_tensors`](crate::save_tensors) returned.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.file.entries().keys().map(String::as_str)
    }

    /// Why tensor `name` cannot be read into one of that kind and shape; `None` where it can.
    pub fn problem(&self, name: &str, kind: Kind, shape: &[i64]) -> Option<String> {
        let Some(entry) = self.file.entries().get(name) else { return Some(format!("`{name}` is missing")) };
        let same_shape = entry.shape.iter().map(|d| i64::try_from(*d).ok()).eq(shape.iter().map(|d| Some(*d)));
        if dtype(kind) == Some(entry.dtype) && same_shape {
            return None;
        }
        Some(format!("`{name}` is {} {:?}, expected {kind:?} {shape:?}", entry.dtype, entry.shape))
    }

    /// Reads tensor `name` into `tensor`, wherever that lies, a piece at a time: its own storage is all that it takes. An
    /// error of the disk half-way leaves it half read.
    ///
    /// # Errors
    /// [`Error::File`] for what [`problem`](Self::problem) finds, and for a file that can no longer be read; errors of
    /// libtorch.
    pub fn read_into(&self, name: &str, tensor: &mut Tensor) -> Result<()> {
        let kind = tensor.f_kind()?;
        if let Some(problem) = self.problem(name, kind, &tensor.size()) {
            return Err(Error::file(&self.path, problem));
        }
        let entry = &self.file.entries()[name];
        let _no_grad = tch::no_grad_guard();
        if !tensor.is_contiguous() {
            tensor.f_copy_(&tensor_of(&self.path, name, entry.dtype, &entry.shape, &self.file.bytes(entry)?)?)?;
            return Ok(());
        }
        let flat = tensor.f_detach()?.f_view(-1_i64)?;
        let width = kind.elt_size_in_bytes();
        let mut buffer = vec![0; (PIECE as usize).min(tensor.numel()) * width];
        let mut at = 0;
        self.file.for_each_piece(entry, &mut buffer, |bytes| {
            let length = (bytes.len() / width) as i64;
            flat.f_narrow(0, at, length)?.f_copy_(&Tensor::f_from_data_size(bytes, &[length], kind)?)?;
            at += length;
            Ok(())
        })
    }

    /// Why what [`save_kept_tensors`](crate::save_kept_tensors) wrote under `name` cannot be read into a tensor of that kind and
    /// shape with those bits; `None` where it can.
    pub fn kept_problem(&self, name: &str, kind: Kind, shape: &[i64], words: &[u64]) -> Option<String> {
        let entries = shape.iter().product::<i64>() as usize;
        match kept_problem(name, kind, entries, words) {
            Some(problem) => Some(problem.to_string()),
            None => self.problem(name, kind, &[ones(words) as i64]),
        }
    }

    /// Reads what [`save_kept_tensors`](crate::save_kept_tensors) wrote of a tensor with those bits, and sets the entries whose
    /// bit is 0 to +0. It takes 4 bytes for each entry of the tensor, for a moment.
    ///
    /// # Errors
    /// [`Error::File`] for what [`kept_problem`](Self::kept_problem) finds, and for a file that can no longer be read; errors of
    /// libtorch.
    pub fn read_kept_into(&self, name: &str, tensor: &mut Tensor, words: &[u64]) -> Result<()> {
        let kind = tensor.f_kind()?;
        if let Some(problem) = self.kept_problem(name, kind, &tensor.size(), words) {
            return Err(Error::file(&self.path, problem));
        }
        let mut values = vec![0f32; tensor.numel()];
        let mut left =
            words.iter().enumerate().flat_map(|(index, word)| set_bits(*word).map(move |bit| index * WORD + bit));
        let mut buffer = vec![0; 4 * PIECE as usize];
        self.file.for_each_piece(&self.file.entries()[name], &mut buffer, |bytes| {
            for (value, at) in bytes.as_chunks::<4>().0.iter().zip(&mut left) {
                values[at] = f32::from_le_bytes(*value);
            }
            Ok(())
        })?;
        let _no_grad = tch::no_grad_guard();
        tensor.f_copy_(&Tensor::f_from_slice(&values)?.f_reshape(tensor.size())?)?;
        Ok(())
    }
}
