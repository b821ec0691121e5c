//! From a model's source to an open model.

use lopper_core::registry::{self, ModelEntry};
use lopper_core::{Error, Model, ModelRequest, Result, Task};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tch::Device;
use toml::Table;

/// Where a checkpoint directory is, fetched first when it is the hub's.
///
/// # Errors
/// [`Error::File`] for what does not exist or is a file, and those of the hub.
pub(crate) fn locate(source: &OsStr) -> Result<PathBuf> {
    let path = match source.to_str() {
        Some(text) => lopper_weights::resolve(text)?,
        // A name of the hub is UTF-8, so this is a path.
        None => PathBuf::from(source),
    };
    directory(path)
}

/// As [`locate`] without fetching: `None` for a model of the hub that has to be fetched first.
///
/// # Errors
/// Those of [`locate`] that need no network.
pub(crate) fn present(source: &str) -> Result<Option<PathBuf>> {
    lopper_weights::resolve_present(source)?.map(directory).transpose()
}

fn directory(path: PathBuf) -> Result<PathBuf> {
    if path.is_file() {
        return Err(Error::file(path, "is a file; give the checkpoint's directory, which also holds its config.json"));
    }
    Ok(path)
}

/// The plugin of that name, or without a name the one that recognises the directory.
///
/// # Errors
/// [`Error::UnknownPlugin`]; [`Error::File`] when none or several recognise it.
pub(crate) fn plugin(name: Option<&str>, directory: &Path) -> Result<&'static ModelEntry> {
    if let Some(name) = name {
        return registry::find::<ModelEntry>(name);
    }
    let all = registry::all::<ModelEntry>()?;
    let names = |entries: &[&ModelEntry]| entries.iter().map(|e| e.name).collect::<Vec<_>>().join(", ");
    let recognising: Vec<_> = all.iter().copied().filter(|entry| (entry.recognises)(directory)).collect();
    match (recognising.as_slice(), all.as_slice()) {
        ([one], _) => Ok(one),
        // The only plugin there is says best what is wrong.
        ([], [only]) => Ok(only),
        ([], _) => {
            Err(Error::file(directory, format!("is recognised by no model plugin; name one of {}", names(&all))))
        }
        (several, _) => Err(Error::file(directory, format!("could be {}; name the model plugin", names(several)))),
    }
}

/// Which model a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// Checkpoint directory, or hf:ORGANISATION/NAME[@REVISION]
    pub(crate) model: std::ffi::OsString,

    /// Model plugin [default: recognised by what is in the directory]
    #[arg(long, value_name = "NAME")]
    pub(crate) plugin: Option<String>,

    /// Where to compute: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
}

/// A model with the head that its checkpoint has.
pub(crate) struct OpenModel {
    pub(crate) entry: &'static ModelEntry,
    pub(crate) model: Box<dyn Model>,
    pub(crate) device: Device,
}

impl ModelArguments {
    /// Opens it.
    ///
    /// # Errors
    /// An unusable device, a checkpoint that does not exist or cannot be used.
    pub(crate) fn open(&self) -> Result<OpenModel> {
        let device = lopper_torch::resolve_device(&self.device)?;
        let path = locate(&self.model)?;
        let entry = plugin(self.plugin.as_deref(), &path)?;
        let model = open(entry, path, &Table::new(), None, device, 0)?;
        Ok(OpenModel { entry, model, device })
    }

    /// As it was written.
    pub(crate) fn source(&self) -> String {
        self.model.to_string_lossy().into_owned()
    }
}

/// Loads a model; a plugin's panic becomes an error.
///
/// # Errors
/// Those of the plugin.
pub(crate) fn open(
    entry: &'static ModelEntry,
    path: PathBuf,
    options: &Table,
    task: Option<&Task>,
    device: Device,
    seed: u64,
) -> Result<Box<dyn Model>> {
    let request = ModelRequest { path, options, task, device, seed };
    lopper_torch::guarded(&format!("model plugin `{}`", entry.name), || (entry.open)(&request))
}
