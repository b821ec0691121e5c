//! From a model's source to an open model.

use crate::config::{Setting, Split, insert_option};
use lopper_core::{Error, Model, ModelEntry, ModelRequest, Result, Task, registry};
use lopper_weights::open_regular;
use std::ffi::OsStr;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use tch::Device;
use toml::Table;

/// Bytes of a config.json that are looked at to tell what it is; none has as many.
const LONGEST_CONFIG: u64 = 1 << 20;

/// Where a checkpoint directory is, fetched first when it is the hub's.
///
/// # Errors
/// [`Error::File`] for what does not exist or is a file of no plugin's, and those of the hub.
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

/// A checkpoint of another library can be a file that says all of itself.
fn directory(path: PathBuf) -> Result<PathBuf> {
    if path.is_file() && !registry::all::<ModelEntry>()?.iter().any(|entry| (entry.recognises)(&path)) {
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
        ([], all) => Err(unrecognised(directory, &names(all))),
        (several, _) => Err(Error::file(directory, format!("could be {}; name the model plugin", names(several)))),
    }
}

/// Why a directory is no plugin's.
fn unrecognised(directory: &Path, names: &str) -> Error {
    let config = directory.join("config.json");
    let mut text = Vec::new();
    let read = open_regular(&config).and_then(|(file, _)| file.take(LONGEST_CONFIG).read_to_end(&mut text));
    let what = match read {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if directory.join("adapter_config.json").is_file() {
                let what =
                    "is an adapter of peft, which changes another checkpoint; save what its `merge_and_unload()` gives";
                return Error::file(directory, what);
            }
            "holds no config.json, nor a checkpoint that is known without one".to_owned()
        }
        Err(e) => return Error::file_caused(config, "cannot be read", e),
        Ok(_) => match serde_json::from_slice::<serde_json::Value>(&text) {
            Err(e) => return Error::file_caused(config, "is not JSON", e),
            Ok(config) if let Some(sentence) = config.as_object().and_then(lopper_weights::other_architecture) => {
                return Error::file(directory, sentence);
            }
            Ok(config) => match config.get("model_type").and_then(|kind| kind.as_str()) {
                Some(kind) => format!("is a {kind:?} by its config.json"),
                None => "has a config.json without a \"model_type\"".to_owned(),
            },
        },
    };
    // A run's directory holds its model in one of its own.
    let below = directory.join("model");
    let hint = match below.join("config.json").is_file() {
        true => format!("; did you mean {}?", below.display()),
        false => String::new(),
    };
    Error::file(directory, format!("{what}, and no model plugin recognises it; there are {names}{hint}"))
}

/// Which model a command works on.
#[derive(Debug, clap::Args)]
pub(crate) struct ModelArguments {
    /// Checkpoint directory, or hf:ORGANISATION/NAME[@REVISION]
    pub(crate) model: std::ffi::OsString,

    /// Model plugin [default: recognised by what is in the directory]
    #[arg(long, value_name = "NAME")]
    pub(crate) plugin: Option<String>,

    #[command(flatten)]
    pub(crate) options: OptionArguments,

    /// Where to compute: auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
}

/// What a command gives a model plugin.
#[derive(Debug, clap::Args)]
pub(crate) struct OptionArguments {
    /// An option of the model plugin as in [model], such as prune_pooler=false; may be given several times
    #[arg(long = "model-option", value_name = "KEY=VALUE", requires = "model")]
    model_options: Vec<Setting>,
}

impl OptionArguments {
    /// These, and before them those that a record names, each `KEY=VALUE`, where none of the same key is given.
    pub(crate) fn recorded(&self, record: &[String]) -> Self {
        let is_given = |setting: &Setting| self.model_options.iter().any(|given| given.key() == setting.key());
        let recorded =
            record.iter().filter_map(|text| text.parse::<Setting>().ok()).filter(|setting| !is_given(setting));
        Self { model_options: recorded.chain(self.model_options.iter().cloned()).collect() }
    }
}

/// The name under which errors know these options.
const OPTION: &str = "--model-option";

impl OptionArguments {
    /// Loads a model with them, and with the head that its checkpoint has.
    ///
    /// # Errors
    /// Options that the plugin does not have, and those of the plugin.
    pub(crate) fn open(&self, entry: &'static ModelEntry, path: PathBuf, device: Device) -> Result<Box<dyn Model>> {
        let mut options = Table::new();
        for setting in &self.model_options {
            insert_option(&mut options, setting, entry.options);
        }
        let mut split = Split { own: Table::new(), plugin: options };
        Error::all(split.refuse_unknown(OPTION, &[], entry.options))?;
        open(entry, path, &split.plugin, None, device, 0).map_err(|error| {
            // The plugin knows its options by where a configuration has them.
            let known = |error| match error {
                Error::InvalidValue { key, value, expected } => {
                    let key = key.strip_prefix("[model] ").map_or(key.clone(), |key| format!("{OPTION} {key}"));
                    Error::InvalidValue { key, value, expected }
                }
                error => error,
            };
            match error {
                Error::Many(several) => Error::Many(several.into_iter().map(known).collect()),
                error => known(error),
            }
        })
    }
}

/// A model with the head that its checkpoint has.
pub(crate) struct OpenModel {
    pub(crate) entry: &'static ModelEntry,
    pub(crate) model: Box<dyn Model>,
    pub(crate) device: Device,
}

impl OpenModel {
    /// The model as errors name it.
    pub(crate) fn who(&self) -> String {
        format!("model plugin `{}`", self.entry.name)
    }
}

impl ModelArguments {
    /// Opens it.
    ///
    /// # Errors
    /// An unusable device, a checkpoint that does not exist or cannot be used.
    pub(crate) fn open(&self) -> Result<OpenModel> {
        let device = lopper_torch::resolve_device(&self.device)?;
        self.open_at(self.locate()?, device)
    }

    /// Opens what [`locate`](Self::locate) found.
    ///
    /// # Errors
    /// A checkpoint that cannot be used, and options that the plugin does not have.
    pub(crate) fn open_at(&self, (path, entry): (PathBuf, &'static ModelEntry), device: Device) -> Result<OpenModel> {
        Ok(OpenModel { entry, model: self.options.open(entry, path, device)?, device })
    }

    /// Where it is, and the plugin that reads it; a model of the hub is fetched first.
    ///
    /// # Errors
    /// A checkpoint that does not exist or that no plugin reads.
    pub(crate) fn locate(&self) -> Result<(PathBuf, &'static ModelEntry)> {
        let path = locate(&self.model)?;
        let entry = plugin(self.plugin.as_deref(), &path)?;
        Ok((path, entry))
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use lopper_core::{Artifact, Batch, Features, Input, Inputs, Loss, Mode, ParameterName, Parameters, Predictions};
    use lopper_testkit::{ToyConfig, ToyModel};
    use tch::{Kind, Tensor};

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let config = directory.path().join("config.json");
        std::os::unix::fs::symlink("/dev/zero", &config).unwrap();
        let message = unrecognised(directory.path(), "bert").to_string();
        assert_eq!(message, format!("{}: cannot be read: is no regular file", config.display()));
    }

    /// What goes wrong when it is asked for predictions.
    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Fault {
        Panic,
        /// More is asked for than any machine can address.
        Memory,
    }

    struct Broken(ToyModel, Fault);

    impl Model for Broken {
        fn parameters(&self) -> &Parameters {
            self.0.parameters()
        }
        fn prunable(&self) -> &[ParameterName] {
            self.0.prunable()
        }
        fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
            self.0.loss(batch, mode)
        }
        fn predict(&self, _: &Batch) -> Result<Predictions> {
            match self.1 {
                Fault::Panic => panic!("a prediction went wrong"),
                Fault::Memory => {
                    Ok(Predictions { logits: Tensor::f_zeros([1 << 50], (Kind::Float, Device::Cpu))?, lengths: None })
                }
            }
        }
        fn identity(&self) -> String {
            self.0.identity()
        }
        fn artifacts(&self) -> Result<Vec<Artifact>> {
            self.0.artifacts()
        }
    }

    /// A model that cannot predict, as a plugin's that there is.
    pub(crate) fn broken(fault: Fault) -> OpenModel {
        let toy = ToyModel::new(ToyConfig::default(), 1, 1, Device::Cpu).unwrap();
        let entry = registry::find::<ModelEntry>("bert").unwrap();
        OpenModel { entry, model: Box::new(Broken(toy, fault)), device: Device::Cpu }
    }

    /// Reads everything as nothing.
    pub(crate) struct Nothing;

    impl lopper_core::Preprocessor for Nothing {
        fn features(&self, _: Input<'_>, _: Option<u32>) -> Result<Features> {
            Ok(Features::Samples(vec![0.0]))
        }
        fn collate(&self, _: &[&Features]) -> Result<Inputs> {
            Ok(Inputs::new())
        }
        fn identity(&self) -> String {
            String::new()
        }
    }

    /// The messages of both faults: the panic's names `who`, that of memory what was being done and what to lower.
    #[track_caller]
    pub(crate) fn check_faults(message: impl Fn(Fault) -> Error, who: &str, during: &str, advice: &str) {
        assert_eq!(message(Fault::Panic).to_string(), format!("{who} panicked: a prediction went wrong"));
        let error = message(Fault::Memory);
        assert!(matches!(error, Error::OutOfMemory { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with(&format!("out of memory while {during}: DefaultCPUAllocator: ")), "{error}");
        assert!(error.contains("4503599627370496 bytes") && error.ends_with(advice), "{error}");
    }
}
