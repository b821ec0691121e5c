//! Checkpoints for reading: one file of tensors or several.

use crate::index::read_index;
use crate::listed::{MAX_PROBLEMS, first_names};
use crate::locate::locate;
use crate::names::is_index;
use crate::pickle::Value;
use crate::source;
use crate::tensor_file::TensorFile;
use crate::tensors;
use lopper_core::{Error, Result, nearest};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// The weights of a model on disk, in safetensors files or in files of `torch.save`, which are told apart by content.
/// Opening checks all of it but the values; tensors are read one at a time.
#[derive(Debug)]
pub struct Checkpoint {
    source: PathBuf,
    files: Vec<Box<dyn TensorFile>>,
    /// Name → place in `files`.
    places: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens a directory with `model.safetensors` or `pytorch_model.bin`, or with the index of several such files
    /// (`model.safetensors.index.json`, `pytorch_model.bin.index.json`); or a file of either kind by its own path, such as
    /// a `.pt` of fairseq. In a directory safetensors go first, and one file goes before several.
    ///
    /// In a file of `torch.save` the state dict is looked for under `model`, `state_dict`, `model_state_dict` and `module`,
    /// then at the top level. Nothing that such a file names is ever run.
    ///
    /// # Errors
    /// [`Error::File`] naming the file, when nothing of the kind is there or anything about it is inconsistent.
    pub fn open(path: &Path) -> Result<Self> {
        let file = locate(path)?;
        if is_index(&file.to_string_lossy()) { Self::sharded(path, &file) } else { Self::single(path, &file) }
    }

    fn single(source: &Path, path: &Path) -> Result<Self> {
        let file = source::open(path)?;
        let places: BTreeMap<_, _> = file.names().into_iter().map(|name| (name.to_owned(), 0)).collect();
        if places.is_empty() {
            return Err(Error::file(path, "holds no tensor"));
        }
        Ok(Self { source: source.to_owned(), files: vec![file], places })
    }

    fn sharded(source: &Path, index: &Path) -> Result<Self> {
        let map = read_index(index)?;
        let directory = crate::files::parent(index);
        let own = index.file_name().unwrap_or_default().to_string_lossy();
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, shard) in &map {
            wanted.entry(shard).or_default().push(name);
        }
        let (mut files, mut places, mut problems) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (shard, names) in wanted {
            if problems.len() >= MAX_PROBLEMS {
                break;
            }
            let file = match source::open(&directory.join(shard)) {
                Ok(file) => file,
                Err(e) => {
                    problems.push(e);
                    continue;
                }
            };
            let absent = first_names(names.iter().copied().filter(|name| file.describe(name).is_none()));
            if !absent.is_empty() {
                problems.push(Error::file(file.path(), format!("lacks what {own} says it holds: {absent}")));
            }
            let elsewhere = |name: &&str| map.get(*name).is_none_or(|place| place != shard);
            let extra = first_names(file.names().into_iter().filter(elsewhere));
            if !extra.is_empty() {
                problems.push(Error::file(file.path(), format!("holds what {own} does not place there: {extra}")));
            }
            let place = files.len();
            places.extend(file.names().into_iter().map(|name| (name.to_owned(), place)));
            files.push(file);
        }
        Error::all(problems)?;
        Ok(Self { source: source.to_owned(), files, places })
    }

    /// The directory or file that was opened.
    pub fn source(&self) -> &Path {
        &self.source
    }

    /// All tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// Whether a tensor of that name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// A tensor's dimensions, outermost first; empty for a scalar.
    pub fn shape(&self, name: &str) -> Option<&[u64]> {
        self.file(name)?.describe(name).map(|(_, shape)| shape)
    }

    /// A tensor's type in the file.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.file(name)?.describe(name).map(|(dtype, _)| dtype)
    }

    /// What a file of `torch.save` holds around its state dict, such as the `args` or `cfg` of fairseq: the whole pickled
    /// object. `None` where the state dict is all there is, and for safetensors and for several files.
    pub fn extra(&self) -> Option<Value<'_>> {
        match self.files.as_slice() {
            [only] => only.extra(),
            _ => None,
        }
    }

    /// One tensor on the CPU: float32 for every floating type of 16 to 64 bits, int64 for integers and booleans.
    /// F16 and BF16 convert exactly, F64 rounds to nearest.
    ///
    /// # Errors
    /// [`Error::File`] for an unknown name or a file that can no longer be read, [`Error::Unsupported`] for other types.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (file, dtype, shape) = self.find(name)?;
        let stored = tensors::tensor_of(file.path(), name, dtype, shape, &file.bytes(name)?)?;
        let kind = if matches!(stored.f_kind()?, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double) {
            Kind::Float
        } else {
            Kind::Int64
        };
        Ok(stored.f_to_kind(kind)?)
    }

    /// The values of a floating tensor as float32, row-major.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor), and [`Error::Unsupported`] for integers.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        if tensor.f_kind()? != Kind::Float {
            let (file, dtype, _) = self.find(name)?;
            return Err(Error::Unsupported {
                what: format!("{}: {name:?} of type {dtype}", file.path().display()),
                feature: "reading as float32".into(),
            });
        }
        let mut values = vec![0.0; tensor.numel()];
        tensor.f_copy_data(&mut values, tensor.numel())?;
        Ok(values)
    }

    /// A BLAKE3 hash, in hexadecimal, of every tensor's name, type, shape and bytes, in the order of names. It does not
    /// depend on how the tensors are spread over files, nor on the format of these.
    ///
    /// # Errors
    /// [`Error::File`] for a file that can no longer be read.
    pub fn content_hash(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new_derive_key("Lopper checkpoint content, version 1");
        for name in self.names() {
            let (file, dtype, shape) = self.find(name)?;
            // Lengths go first, so that no two contents are the same bytes.
            for text in [name, &dtype.to_string()] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
            hasher.update(&(shape.len() as u64).to_le_bytes());
            for dimension in shape {
                hasher.update(&dimension.to_le_bytes());
            }
            file.stream(name, &mut |piece| {
                hasher.update(piece);
            })?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn file(&self, name: &str) -> Option<&dyn TensorFile> {
        Some(&*self.files[*self.places.get(name)?])
    }

    /// The file of a tensor, the tensor's type and its shape.
    fn find(&self, name: &str) -> Result<(&dyn TensorFile, Dtype, &[u64])> {
        let found = self.file(name).and_then(|file| file.describe(name).map(|(dtype, shape)| (file, dtype, shape)));
        match found {
            Some(found) => Ok(found),
            None => {
                let hint = nearest(name, self.names()).map(|near| format!("; the most similar is {near:?}"));
                Err(Error::file(&self.source, format!("holds no tensor {name:?}{}", hint.unwrap_or_default())))
            }
        }
    }
}
