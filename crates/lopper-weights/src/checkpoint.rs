//! Checkpoints for reading: one safetensors file or several.

use crate::header::{CONVERT, Entry, MAX_PROBLEMS, SafetensorsFile, first_names};
use crate::index::read_index;
use crate::tensors;
use lopper_core::{Error, Result, nearest};
use safetensors::Dtype;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The weights of a model on disk. Opening checks all of it but the values; tensors are read one at a time.
#[derive(Debug)]
pub struct Checkpoint {
    source: PathBuf,
    files: Vec<SafetensorsFile>,
    /// Name → place in `files`.
    places: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens a directory with `model.safetensors` or with `model.safetensors.index.json` and its files, or such a file
    /// itself. With both in a directory, `model.safetensors` counts.
    ///
    /// # Errors
    /// [`Error::File`] naming the file, when nothing of the kind is there or anything about it is inconsistent.
    pub fn open(path: &Path) -> Result<Self> {
        let file = locate(path)?;
        if file.to_string_lossy().ends_with(".index.json") {
            Self::sharded(path, &file)
        } else {
            Self::single(path, &file)
        }
    }

    fn single(source: &Path, path: &Path) -> Result<Self> {
        let file = SafetensorsFile::open(path)?;
        if file.entries().is_empty() {
            return Err(Error::file(path, "holds no tensor"));
        }
        let places = file.entries().keys().map(|name| (name.clone(), 0)).collect();
        Ok(Self { source: source.to_owned(), files: vec![file], places })
    }

    fn sharded(source: &Path, index: &Path) -> Result<Self> {
        let map = read_index(index)?;
        let directory = crate::files::parent(index);
        let mut wanted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (name, shard) in &map {
            wanted.entry(shard).or_default().push(name);
        }
        let (mut files, mut places, mut problems) = (Vec::new(), BTreeMap::new(), Vec::new());
        for (shard, names) in wanted {
            if problems.len() >= MAX_PROBLEMS {
                break;
            }
            let file = match SafetensorsFile::open(&directory.join(shard)) {
                Ok(file) => file,
                Err(e) => {
                    problems.push(e);
                    continue;
                }
            };
            let absent = first_names(names.iter().copied().filter(|name| !file.entries().contains_key(*name)));
            if !absent.is_empty() {
                problems.push(Error::file(file.path(), format!("lacks what {INDEX} says it holds: {absent}")));
            }
            let elsewhere = |name: &&str| map.get(*name).is_none_or(|place| place != shard);
            let extra = first_names(file.entries().keys().map(String::as_str).filter(elsewhere));
            if !extra.is_empty() {
                problems.push(Error::file(file.path(), format!("holds what {INDEX} does not place there: {extra}")));
            }
            let place = files.len();
            places.extend(file.entries().keys().map(|name| (name.clone(), place)));
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
        self.entry(name).map(|(_, entry)| entry.shape.as_slice())
    }

    /// A tensor's type in the file.
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        self.entry(name).map(|(_, entry)| entry.dtype)
    }

    /// One tensor on the CPU: float32 for every floating type of 16 to 64 bits, int64 for integers and booleans.
    /// F16 and BF16 convert exactly, F64 rounds to nearest.
    ///
    /// # Errors
    /// [`Error::File`] for an unknown name or a file that can no longer be read, [`Error::Unsupported`] for other types.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (file, entry) = self.find(name)?;
        let stored = tensors::read(file, name, entry)?;
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
            let (file, entry) = self.find(name)?;
            return Err(Error::Unsupported {
                what: format!("{}: {name:?} of type {}", file.path().display(), entry.dtype),
                feature: "reading as float32".into(),
            });
        }
        let mut values = vec![0.0; tensor.numel()];
        tensor.f_copy_data(&mut values, tensor.numel())?;
        Ok(values)
    }

    /// A BLAKE3 hash, in hexadecimal, of every tensor's name, type, shape and bytes, in the order of names. It does not
    /// depend on how the tensors are spread over files.
    ///
    /// # Errors
    /// [`Error::File`] for a file that can no longer be read.
    pub fn content_hash(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new_derive_key("Lopper checkpoint content, version 1");
        for name in self.names() {
            let (file, entry) = self.find(name)?;
            // Lengths go first, so that no two contents are the same bytes.
            for text in [name, &entry.dtype.to_string()] {
                hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
            }
            hasher.update(&(entry.shape.len() as u64).to_le_bytes());
            for dimension in &entry.shape {
                hasher.update(&dimension.to_le_bytes());
            }
            file.stream(entry, |piece| {
                hasher.update(piece);
            })?;
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    fn entry(&self, name: &str) -> Option<(&SafetensorsFile, &Entry)> {
        let file = &self.files[*self.places.get(name)?];
        Some((file, file.entries().get(name)?))
    }

    fn find(&self, name: &str) -> Result<(&SafetensorsFile, &Entry)> {
        match self.entry(name) {
            Some(found) => Ok(found),
            None => {
                let hint = nearest(name, self.names()).map(|near| format!("; the most similar is {near:?}"));
                Err(Error::file(&self.source, format!("holds no tensor {name:?}{}", hint.unwrap_or_default())))
            }
        }
    }
}

/// The file to read for what the user named.
fn locate(path: &Path) -> Result<PathBuf> {
    let metadata = std::fs::metadata(path).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => missing(path),
        _ => Error::file(path, format!("cannot be read: {e}")),
    })?;
    if !metadata.is_dir() {
        return Ok(path.to_owned());
    }
    for name in [SINGLE, INDEX] {
        // A link that leads nowhere is reported when it is opened.
        if path.join(name).symlink_metadata().is_ok() {
            return Ok(path.join(name));
        }
    }
    let entries = list(path);
    let pickled =
        |name: &&String| [".bin", ".pt", ".pth", ".bin.index.json"].iter().any(|suffix| name.ends_with(suffix));
    let looked = format!("holds no weights: neither {SINGLE} nor {INDEX}");
    Err(Error::file(
        path,
        if let Some(name) = entries.iter().find(pickled) {
            format!("{looked}, only {name:?}: {CONVERT}")
        } else if let Some(name) = entries.iter().find(|name| name.ends_with(".safetensors")) {
            format!("{looked}; to read {name:?} give its own path")
        } else if entries.is_empty() {
            format!("{looked}; the directory is empty")
        } else {
            format!("{looked}; it holds {}", first_names(entries.iter().map(String::as_str)))
        },
    ))
}

/// An error for a path that is not there, with what is there of a similar name.
pub(crate) fn missing(path: &Path) -> Error {
    let Some(there) = path
        .ancestors()
        .skip(1)
        .map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
        .find(|p| p.is_dir())
    else {
        return Error::file(path, "does not exist");
    };
    let depth = if there == Path::new(".") { 0 } else { there.components().count() };
    let sought =
        path.components().nth(depth).map(|part| part.as_os_str().to_string_lossy().into_owned()).unwrap_or_default();
    let near = nearest(&sought, list(there).iter().map(String::as_str));
    let hint = near.map(|name| format!("; did you mean {}?", there.join(name).display())).unwrap_or_default();
    Error::file(path, format!("does not exist: {} has no entry {sought:?}{hint}", there.display()))
}

fn list(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(10_000);
    let mut names: Vec<_> = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
