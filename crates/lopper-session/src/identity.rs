//! A stage's identity: the hash of everything its result depends on.

use crate::{Precision, SessionSettings};
use lopper_core::{InitialMask, Result, Stage, registry};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Raised when training changes in a way that makes older results differ.
const FORMAT: u32 = 1;

/// Who takes part in a run, as the command line or a program knows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunIdentity {
    /// Name of the model plugin.
    pub model: String,
    /// Name of the strategy plugin.
    pub strategy: String,
    /// The strategy's options.
    pub strategy_options: toml::Table,
    /// Crate and version of the model plugin.
    pub model_origin: String,
    /// Crate and version of the dataset plugin.
    pub dataset_origin: String,
    /// Crate and version of the strategy plugin.
    pub strategy_origin: String,
}

/// What all stages of a run have in common.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Surroundings {
    /// Whether everything counts, or nothing that [`versions`](Self::versions) tells.
    #[serde(skip)]
    exact: bool,
    format: u32,
    lopper: &'static str,
    libtorch: String,
    model: String,
    model_origin: String,
    /// Hash of theta_0 with its fresh head: checkpoint content, and not where it lay.
    pretrained: String,
    dataset: String,
    dataset_origin: String,
    task: lopper_core::Task,
    seed: u64,
    precision: Precision,
    device: &'static str,
}

impl Surroundings {
    pub(crate) fn new(
        identity: &RunIdentity,
        model: &dyn lopper_core::Model,
        dataset: &dyn lopper_core::Dataset,
        pretrained: String,
        settings: &SessionSettings,
    ) -> Self {
        Self {
            exact: true,
            format: FORMAT,
            lopper: env!("CARGO_PKG_VERSION"),
            libtorch: lopper_torch::libtorch_version(),
            model: format!("{} {}", identity.model, model.identity()),
            model_origin: identity.model_origin.clone(),
            pretrained,
            dataset: dataset.identity(),
            dataset_origin: identity.dataset_origin.clone(),
            task: dataset.task().clone(),
            seed: settings.seed,
            precision: settings.precision,
            device: lopper_torch::device_kind(settings.device),
        }
    }

    /// What an upgrade or another machine changes, each with its name: versions, and the kind of device.
    pub(crate) fn versions(&self, identity: &RunIdentity) -> BTreeMap<String, String> {
        [
            ("Lopper", self.lopper),
            ("libtorch", &self.libtorch),
            ("device", self.device),
            ("model plugin", &self.model_origin),
            ("dataset plugin", &self.dataset_origin),
            ("strategy plugin", &identity.strategy_origin),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
    }

    /// The same without what [`versions`](Self::versions) tells. Keys made with it name no result; they tell whether two
    /// stages differ in that alone.
    pub(crate) fn without_versions(&self) -> Self {
        Self {
            exact: false,
            format: 0,
            lopper: "",
            libtorch: String::new(),
            model_origin: String::new(),
            dataset_origin: String::new(),
            device: "",
            ..self.clone()
        }
    }
}

/// The hash of the mask file that `stage` starts from, in hexadecimal; `None` where it starts from none.
///
/// # Errors
/// [`Error::File`](lopper_core::Error::File) for a file that cannot be read.
pub(crate) fn mask_hash(stage: &Stage) -> Result<Option<String>> {
    let InitialMask::Load(path) = &stage.mask else { return Ok(None) };
    Ok(Some(blake3::hash(&read(path)?).to_hex().to_string()))
}

/// The identity of `stage`, in hexadecimal. `mask_file` is its [`mask_hash`]; `hands_on` tells whether the next stage goes on
/// from its method's state, which is then part of its result.
///
/// Left out are its name and its snapshots (they change no result) and, unless it depends on them, the stage before
/// and the strategy: that is what lets methods share their stages.
pub(crate) fn stage_key(
    surroundings: &Surroundings,
    stage: &Stage,
    mask_file: Option<&str>,
    previous: Option<&str>,
    rewind_source: Option<&str>,
    identity: &RunIdentity,
    hands_on: bool,
) -> Result<String> {
    #[derive(Serialize)]
    struct Identity<'a> {
        surroundings: &'a Surroundings,
        stage: serde_json::Value,
        mask_file: Option<&'a str>,
        schedule_origin: Option<&'a str>,
        strategy: Option<(&'a str, &'a str, &'a toml::Table)>,
        previous: Option<&'a str>,
        rewind_source: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        hands_on: bool,
    }
    let origin = |origin| if surroundings.exact { origin } else { "" };
    let strategy = (stage.depends_on_method() || hands_on).then_some((
        identity.strategy.as_str(),
        origin(identity.strategy_origin.as_str()),
        &identity.strategy_options,
    ));
    let mut anonymous = stage.clone().named("").snapshots([]);
    if let InitialMask::Load(path) = &mut anonymous.mask {
        path.clear();
    }
    let schedule_origin = match &stage.schedule {
        Some(spec) => Some(origin(registry::find::<lopper_core::MaskScheduleEntry>(&spec.name)?.origin)),
        None => None,
    };
    let identity = Identity {
        surroundings,
        stage: json(&anonymous)?,
        mask_file,
        schedule_origin,
        strategy,
        previous: previous.filter(|_| stage.needs_previous()),
        rewind_source,
        hands_on,
    };
    // serde_json keeps object keys sorted, so equal identities are equal text.
    Ok(blake3::hash(json(&identity)?.to_string().as_bytes()).to_hex().to_string())
}

fn json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value)
        .map_err(|e| lopper_core::Error::Other(format!("a stage cannot be written as JSON: {e}")))
}

/// The content of a file that a run wrote or was given.
///
/// # Errors
/// [`Error::File`](lopper_core::Error::File) for what cannot be read or is no regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    lopper_weights::read_regular(path, u64::MAX).map_err(|e| lopper_core::Error::file(path, e))
}
