//! Checkpoints for reading: one file of tensors or several.

use crate::index::read_index;
use crate::listed::{MAX_PROBLEMS, first_names};
use crate::locate::locate;
use crate::names::is_index;
use crate::pickle::Value;
use crate::source;
use crate::tensor_file::TensorFile;
use crate::tensors;
use crate::wrapped::{pair_of, pruned_names, shared_prefix};
use lopper_core::{Error, Result, nearest};
use safetensors::Dtype;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// The weights of a model on disk, in safetensors files or in files of `torch.save`, which are told apart by content.
/// Opening checks all of it but the values; tensors are read one at a time.
#[derive(Debug)]
pub struct Checkpoint {
    source: PathBuf,
    files: Vec<Box<dyn TensorFile>>,
    places: BTreeMap<String, Place>,
}

/// Where a tensor lies.
#[derive(Debug, Clone)]
struct Place {
    /// Place in `files`.
    file: usize,
    /// Its name there.
    name: Box<str>,
    /// Where the mask lies that it is multiplied with, if torch's pruning left it in two parts.
    mask: Option<(usize, Box<str>)>,
}

impl Place {
    fn new(name: &str, file: usize) -> (String, Self) {
        (name.to_owned(), Self { file, name: name.into(), mask: None })
    }
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

    /// Opens the checkpoint of a model as [`open`](Self::open) does, and takes away what others wrapped around it, each
    /// with one warning: the prefix that all names share (`module.`, `_orig_mod.`, `model.`), and torch's pruning, which
    /// stores NAME as `NAME_orig` and `NAME_mask` while it is on: read is their product, which is what such a model computes
    /// with. `anchors` are spellings of a name that every checkpoint of the architecture has, the longest first.
    ///
    /// # Errors
    /// Those of [`open`](Self::open); [`Error::File`] for a prefix that not all names share.
    pub fn open_model(path: &Path, anchors: &[&str]) -> Result<Self> {
        let mut checkpoint = Self::open(path)?;
        checkpoint.fold_pruning()?;
        let names: Vec<&str> = checkpoint.names().collect();
        let prefix = shared_prefix(&names, anchors).map_err(|reason| Error::file(path, reason))?.map(str::to_owned);
        if let Some(prefix) = prefix {
            tracing::warn!(checkpoint = %path.display(), prefix, "all names begin with a prefix, which is left out");
            let places = std::mem::take(&mut checkpoint.places).into_iter();
            checkpoint.places = places.map(|(name, place)| (name[prefix.len()..].to_owned(), place)).collect();
        }
        Ok(checkpoint)
    }

    /// Puts the product in the place of what torch's pruning keeps in two parts.
    fn fold_pruning(&mut self) -> Result<()> {
        let names: BTreeSet<&str> = self.names().collect();
        let pruned: Vec<String> = pruned_names(&names).into_iter().map(str::to_owned).collect();
        for name in &pruned {
            let [original, mask] = pair_of(name);
            let shapes = (self.shape(&original), self.shape(&mask));
            if shapes.0 != shapes.1 {
                let reason = format!("{original:?} has the shape {:?}, its mask {:?}", shapes.0, shapes.1);
                return Err(Error::file(&self.source, reason));
            }
            if let (Some(place), Some(mask)) = (self.places.remove(&original), self.places.remove(&mask)) {
                self.places.insert(name.clone(), Place { mask: Some((mask.file, mask.name)), ..place });
            }
        }
        if !pruned.is_empty() {
            tracing::warn!(
                checkpoint = %self.source.display(), tensors = pruned.len(),
                "saved while torch's pruning was on (NAME_orig, NAME_mask): their product is read"
            );
        }
        Ok(())
    }

    fn single(source: &Path, path: &Path) -> Result<Self> {
        let file = source::open(path)?;
        let places: BTreeMap<_, _> = file.names().into_iter().map(|name| Place::new(name, 0)).collect();
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
            places.extend(file.names().into_iter().map(|name| Place::new(name, place)));
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
        self.find(name).ok().map(|(.., shape)| shape)
    }

    /// A tensor's type in the file.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.find(name).ok().map(|(_, _, dtype, _)| dtype)
    }

    /// A tensor's type where it is float16 or bfloat16, and float32 for every other floating one; `None` for others.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        match self.dtype(name)? {
            Dtype::F16 => Some(Kind::Half),
            Dtype::BF16 => Some(Kind::BFloat16),
            Dtype::F32 | Dtype::F64 => Some(Kind::Float),
            _ => None,
        }
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
        let stored = self.stored(name)?;
        let kind = if matches!(stored.f_kind()?, Kind::Half | Kind::BFloat16 | Kind::Float | Kind::Double) {
            Kind::Float
        } else {
            Kind::Int64
        };
        Ok(stored.f_to_kind(kind)?)
    }

    /// One tensor on the CPU in the type that it has in the file; booleans as uint8.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor).
    pub fn stored(&self, name: &str) -> Result<Tensor> {
        let (place, file, dtype, shape) = self.find(name)?;
        let stored = tensors::tensor_of(file.path(), name, dtype, shape, &file.bytes(&place.name)?)?;
        let Some((at, mask)) = &place.mask else { return Ok(stored) };
        let file = &self.files[*at];
        let described = file.describe(mask).ok_or_else(|| self.absent(mask))?;
        let mask = tensors::tensor_of(file.path(), mask, described.0, described.1, &file.bytes(mask)?)?;
        Ok(stored.f_mul(&mask.f_to_kind(stored.f_kind()?)?)?)
    }

    /// The values of a floating tensor as float32, row-major.
    ///
    /// # Errors
    /// As [`tensor`](Self::tensor), and [`Error::Unsupported`] for integers.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>> {
        let tensor = self.tensor(name)?;
        if tensor.f_kind()? != Kind::Float {
            let (_, file, dtype, _) = self.find(name)?;
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
            let (place, file, dtype, shape) = self.find(name)?;
            // Lengths go first, so that no two contents are the same bytes.
            for text in [name, &dtype.to_string()] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
            hasher.update(&(shape.len() as u64).to_le_bytes());
            for dimension in shape {
                hasher.update(&dimension.to_le_bytes());
            }
            file.stream(&place.name, &mut |piece| {
                hasher.update(piece);
            })?;
            if let Some((at, mask)) = &place.mask {
                self.files[*at].stream(mask, &mut |piece| {
                    hasher.update(piece);
                })?;
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// A tensor's place, its file, its type and its shape.
    fn find(&self, name: &str) -> Result<(&Place, &dyn TensorFile, Dtype, &[u64])> {
        let place = self.places.get(name).ok_or_else(|| self.absent(name))?;
        let file = &*self.files[place.file];
        let (dtype, shape) = file.describe(&place.name).ok_or_else(|| self.absent(name))?;
        Ok((place, file, dtype, shape))
    }

    fn absent(&self, name: &str) -> Error {
        let hint = nearest(name, self.names()).map(|near| format!("; the most similar is {near:?}"));
        Error::file(&self.source, format!("holds no tensor {name:?}{}", hint.unwrap_or_default()))
    }
}
