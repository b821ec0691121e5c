//! Models as Hugging Face directories, with the zeros in place and the mask beside them.

use crate::files::{create_dir, parent, remove_file, replace_dir, staging_dir, sync_directory, write_atomic};
use crate::names::{MASK, is_plain_name};
use crate::tensors::{Item, Prepare, write};
use lopper_core::{Artifact, Error, MaskOrigin, MaskSet, Model, ParameterName, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{fs, io};
use tch::Kind;

/// The file that tells a directory saved by Lopper from any other.
pub const MARKER: &str = "lopper.json";
const WEIGHTS: &str = "model.safetensors";
const FORMAT: u32 = 1;
/// Longest [`MARKER`] that is read, far above any that is written.
const LONGEST_MARKER: u64 = 1 << 20;

/// What may be in the way of a saved model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overwrite {
    /// A directory that Lopper saved before. Files in it that Lopper did not write stay.
    #[default]
    Saved,
    /// Any directory. Files in it that a saved model has no use for stay.
    Anything,
}

/// The type of floating weights in a saved model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SaveDtype {
    /// Each tensor's own in the checkpoint; of what was not there, that of most others.
    #[serde(rename = "as loaded")]
    AsLoaded,
    /// 32 bits, as they were computed with.
    #[default]
    #[serde(rename = "float32")]
    Float32,
    /// 16 bits after IEEE 754.
    #[serde(rename = "float16")]
    Float16,
    /// 16 bits with the exponent of float32.
    #[serde(rename = "bfloat16")]
    Bfloat16,
}

impl SaveDtype {
    /// Each with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("as loaded", Self::AsLoaded),
        ("float32", Self::Float32),
        ("float16", Self::Float16),
        ("bfloat16", Self::Bfloat16),
    ];

    fn of(self, model: &dyn Model, name: &ParameterName) -> Kind {
        match self {
            Self::AsLoaded => model.loaded_kind(name),
            Self::Float32 => Kind::Float,
            Self::Float16 => Kind::Half,
            Self::Bfloat16 => Kind::BFloat16,
        }
    }

    /// The type of most of a model's weights in a saved copy: `float32`, `float16` or `bfloat16`.
    pub fn usual_name(self, model: &dyn Model) -> &'static str {
        match self.usual(model) {
            Kind::Half => "float16",
            Kind::BFloat16 => "bfloat16",
            _ => "float32",
        }
    }

    fn usual(self, model: &dyn Model) -> Kind {
        let entries = |kind: Kind| {
            let those = model.parameters().iter().filter(|parameter| self.of(model, &parameter.name) == kind);
            those.map(|parameter| parameter.tensor.numel()).sum::<usize>()
        };
        [Kind::Float, Kind::Half, Kind::BFloat16].into_iter().max_by_key(|kind| entries(*kind)).unwrap_or(Kind::Float)
    }
}

impl std::str::FromStr for SaveDtype {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(|(name, _)| format!("`{name}`")).join(", ");
        let found = Self::ALL.into_iter().find(|(name, _)| *name == text);
        found.map(|(_, dtype)| dtype).ok_or_else(|| format!("give one of {}", names()))
    }
}

/// The content of [`MARKER`].
#[derive(Serialize, Deserialize)]
struct Marker {
    format: u32,
    lopper_version: String,
    /// All files that were written, so that they can be replaced together.
    files: BTreeSet<String>,
    origin: MaskOrigin,
}

/// Where the mask of a model came from that Lopper saved; `None` for any other directory.
pub(crate) fn origin_of(dir: &Path) -> Option<MaskOrigin> {
    let bytes = crate::read_regular(&dir.join(MARKER), LONGEST_MARKER).ok()?;
    serde_json::from_slice::<Marker>(&bytes).ok().map(|marker| marker.origin)
}

/// [`save_model_with`], replacing only what Lopper saved, in float32.
///
/// # Errors
/// As [`save_model_with`].
pub fn save_model(dir: &Path, model: &dyn Model, mask: Option<&MaskSet>, origin: &MaskOrigin) -> Result<()> {
    save_model_with(dir, model, mask, origin, Overwrite::default(), SaveDtype::Float32)
}

/// Saves mask ⊙ weights as a Hugging Face directory: `model.safetensors`, which also has the tensors that the model carries
/// along, the model's artifacts, `mask.safetensors` if there is a mask, and [`MARKER`]. The model's own tensors are only read. The whole directory appears at once, also in
/// the place of an older one; a failure leaves that one as it was. Zeros are zeros in every type.
///
/// # Errors
/// [`Error::Layout`] when the mask is not one for this model; [`Error::File`] when `dir` is not free or cannot be
/// written, or holds a value that the type does not; the model's errors.
pub fn save_model_with(
    dir: &Path,
    model: &dyn Model,
    mask: Option<&MaskSet>,
    origin: &MaskOrigin,
    overwrite: Overwrite,
    dtype: SaveDtype,
) -> Result<()> {
    let replaced = occupant(dir, overwrite)?;
    if let Some(mask) = mask {
        model.layout()?.check_same(mask.layout(), "this model, and the mask to save it with")?;
    }
    let mut artifacts = model.artifacts()?;
    describe(&mut artifacts, dtype.usual_name(model));
    let mut files: BTreeSet<String> = [WEIGHTS, MARKER].map(str::to_owned).into();
    files.extend(mask.map(|_| MASK.to_owned()));
    let refused = artifacts
        .iter()
        .filter(|artifact| !is_plain_name(&artifact.name) || !files.insert(artifact.name.clone()))
        .map(|artifact| {
            Error::invalid(
                "artifact",
                format!("{:?}", artifact.name),
                "a plain file name, every one once, that is not taken",
            )
        })
        .collect();
    Error::all(refused)?;

    // A link to a directory stays a link: what it points to is replaced.
    let place = if replaced.is_some() { dir.canonicalize() } else { std::path::absolute(dir) };
    let place = place.map_err(|e| Error::file(dir, e))?;
    create_dir(parent(&place))?;
    let staging = staging_dir(parent(&place))?;
    let at = staging.path();
    for artifact in &artifacts {
        write_atomic(&at.join(&artifact.name), &artifact.bytes)?;
    }
    if let Some(mask) = mask {
        write_atomic(&at.join(MASK), &mask.to_file_bytes(origin)?)?;
    }
    let lopper_version = env!("CARGO_PKG_VERSION").to_owned();
    let marker = Marker { format: FORMAT, lopper_version, files, origin: origin.clone() };
    let json = serde_json::to_vec_pretty(&marker).map_err(|e| Error::file(dir, e))?;
    write_atomic(&at.join(MARKER), &json)?;
    write_weights(&at.join(WEIGHTS), model, mask, dtype)?;

    if let Some(obsolete) = replaced {
        keep_foreign(&place, staging.path(), &obsolete)
            .map_err(|e| Error::file_caused(dir, "its other files cannot be taken over", e))?;
    }
    replace_dir(staging, &place)
}

/// Removes what Lopper saved in `dir`, and the directory if it holds nothing else. Any other directory stays as it is.
///
/// # Errors
/// [`Error::File`] when something cannot be removed.
pub fn remove_saved_model(dir: &Path) -> Result<()> {
    let Some(files) = marked(dir) else { return Ok(()) };
    // What says that they are Lopper's goes last, so that an attempt that fails can be made again.
    let others = files.iter().filter(|name| *name != MARKER);
    others.map(String::as_str).chain([MARKER]).try_for_each(|name| remove_file(&dir.join(name)))?;
    match fs::remove_dir(dir) {
        // A link to a directory stays one.
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory) => Ok(()),
        Err(e) => Err(Error::file_caused(dir, "cannot be removed", e)),
        Ok(()) => Ok(()),
    }
}

/// The names of the files that Lopper saved in `dir`; `None` where it saved nothing.
fn marked(dir: &Path) -> Option<BTreeSet<String>> {
    let marker = fs::read(dir.join(MARKER)).ok().and_then(|bytes| serde_json::from_slice::<Marker>(&bytes).ok())?;
    Some(marker.files.into_iter().filter(|name| is_plain_name(name)).collect())
}

/// The names that a saved model replaces in `dir`; `None` when nothing is there.
fn occupant(dir: &Path, overwrite: Overwrite) -> Result<Option<BTreeSet<String>>> {
    let metadata = match dir.metadata() {
        Ok(metadata) => metadata,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::file_caused(dir, "cannot be read", e)),
    };
    if !metadata.is_dir() {
        return Err(Error::file(dir, "is no directory, so no model can be saved there"));
    }
    if let Some(files) = marked(dir) {
        return Ok(Some(files));
    }
    let empty = fs::read_dir(dir).map_err(|e| Error::file_caused(dir, "cannot be read", e))?.next().is_none();
    if empty || overwrite == Overwrite::Anything {
        return Ok(Some(BTreeSet::new()));
    }
    Err(Error::file(
        dir,
        format!(
            "is not empty and was not saved by Lopper (it has no {MARKER}): choose another directory, or remove this one"
        ),
    ))
}

/// Brings what Lopper did not write from the old directory into the new one. Links, not moves: until the new directory
/// takes its place, the old one is whole.
fn keep_foreign(old: &Path, new: &Path, obsolete: &BTreeSet<String>) -> io::Result<()> {
    for entry in fs::read_dir(old)? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(|name| obsolete.contains(name));
        let at = new.join(entry.file_name());
        if !ours && at.symlink_metadata().is_err() {
            link(&entry.path(), &at)?;
        }
    }
    Ok(())
}

/// A second name for a file, or a directory of second names.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    let metadata = from.symlink_metadata()?;
    if metadata.is_dir() {
        fs::create_dir(to)?;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            link(&entry.path(), &to.join(entry.file_name()))?;
        }
        fs::set_permissions(to, metadata.permissions())?;
        return sync_directory(to);
    }
    match fs::hard_link(from, to) {
        // Some file systems have no hard links.
        Err(_) if metadata.is_file() => {
            fs::copy(from, to)?;
            fs::File::open(to)?.sync_all()
        }
        other => other,
    }
}

/// Puts the type of most weights into a `config.json` that states one.
fn describe(artifacts: &mut [Artifact], name: &str) {
    for artifact in artifacts.iter_mut().filter(|artifact| artifact.name == "config.json") {
        let Ok(mut config) = serde_json::from_slice::<serde_json::Map<_, _>>(&artifact.bytes) else { continue };
        if config.get("dtype").is_some_and(|stated| *stated != name) {
            config.insert("dtype".into(), name.into());
            if let Ok(bytes) = serde_json::to_vec_pretty(&config) {
                artifact.bytes = bytes;
            }
        }
    }
}

fn write_weights(path: &Path, model: &dyn Model, mask: Option<&MaskSet>, dtype: SaveDtype) -> Result<()> {
    let places: BTreeMap<&str, usize> = mask.map_or_else(BTreeMap::new, |mask| {
        mask.layout().tensors().iter().enumerate().map(|(index, tensor)| (tensor.name().as_str(), index)).collect()
    });
    let carried = model.carried()?;
    let mut items = Vec::new();
    for parameter in model.parameters().iter() {
        let name = parameter.name.as_str();
        let masked = mask.zip(places.get(name).copied());
        if masked.is_some() && parameter.tensor.f_kind()? != Kind::Float {
            return Err(Error::invalid(
                name,
                format!("{:?} values", parameter.tensor.f_kind()?),
                "float32 where a mask applies",
            ));
        }
        let prepare =
            masked.map(|(mask, index)| -> Prepare<'_> { Box::new(move |values| Ok(mask.apply(index, values)?)) });
        let kind = match parameter.tensor.f_kind()? {
            Kind::Float => Some(dtype.of(model, &parameter.name)).filter(|kind| *kind != Kind::Float),
            _ => None,
        };
        items.push(Item { name, tensor: &parameter.tensor, kept: None, prepare, kind });
    }
    items.extend(carried.iter().map(|(name, tensor)| Item { name, tensor, kept: None, prepare: None, kind: None }));
    write(path, items, &BTreeMap::from([("format".to_owned(), "pt".to_owned())]), None)
}
