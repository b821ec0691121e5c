//! Keys: hashes of everything that a result depends on, and of nothing else.
//!
//! | key | says | known |
//! |---|---|---|
//! | plan key | what is planned: the stage, theta_0, and by their plan keys the stages that it follows | before anything is trained |
//! | training key | what is trained: the recipe, and the content of the mask and weights that it starts from | when its start is known |
//! | evaluation key | what is judged: training key, update, split, batches, precision | as soon as the training key is |
//!
//! Results lie under training and evaluation keys, so it does not matter how a start was come by; an alias leads from a plan
//! key to its training key. Versions of Lopper and libtorch stand beside results and not in keys: [`FORMAT`] does, and golden
//! tests tell when it must be raised.

use crate::{Precision, SessionSettings};
use lopper_core::{
    Dataset, Error, Head, InitialMask, Layout, MaskScheduleEntry, MaskSet, Model, Result, Split, Stage, registry,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Raised when training or evaluating changes in a way that makes older results differ.
pub const FORMAT: u32 = 2;

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
    model: String,
    model_origin: String,
    /// Hash of the prunable tensors' names, order and shapes.
    layout: String,
    /// The training split.
    data: String,
    dataset_origin: String,
    head: Head,
    seed: u64,
    precision: Precision,
    device: &'static str,
}

impl Surroundings {
    pub(crate) fn new(
        identity: &RunIdentity,
        model: &dyn Model,
        layout: &Layout,
        dataset: &dyn Dataset,
        settings: &SessionSettings,
    ) -> Result<Self> {
        Ok(Self {
            exact: true,
            format: FORMAT,
            model: format!("{} {}", identity.model, model.identity()),
            model_origin: identity.model_origin.clone(),
            layout: hash(&json(&layout.tensors())?),
            data: dataset.identity(&Split::TRAIN),
            dataset_origin: identity.dataset_origin.clone(),
            head: dataset.task().head.clone(),
            seed: settings.seed,
            precision: settings.precision,
            device: lopper_torch::device_kind(settings.device),
        })
    }

    /// What another version of a plugin or another machine changes, each with its name.
    pub(crate) fn versions(&self, identity: &RunIdentity) -> BTreeMap<String, String> {
        [
            ("format of results", &*self.format.to_string()),
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
            model_origin: String::new(),
            dataset_origin: String::new(),
            device: "",
            ..self.clone()
        }
    }

    fn origin<'a>(&self, origin: &'a str) -> &'a str {
        if self.exact { origin } else { "" }
    }

    /// The strategy as keys hold it where its own scores decide something.
    fn strategy<'a>(&self, identity: &'a RunIdentity) -> (&'a str, &'a str, &'a toml::Table) {
        (&identity.strategy, self.origin(&identity.strategy_origin), &identity.strategy_options)
    }

    fn schedule_origin(&self, stage: &Stage) -> Result<Option<&'static str>> {
        let Some(spec) = &stage.schedule else { return Ok(None) };
        let origin = registry::find::<MaskScheduleEntry>(&spec.name)?.origin;
        Ok(Some(self.origin(origin)))
    }
}

/// What a planned stage follows, by plan keys.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before<'a> {
    /// The stage before it.
    pub(crate) previous: Option<&'a str>,
    /// The stage whose rewind point it starts from or ranks.
    pub(crate) rewind_source: Option<&'a str>,
    /// The mask that it loads, by its content.
    pub(crate) loaded: Option<&'a str>,
    /// Hash of theta_0 with its fresh head.
    pub(crate) pretrained: &'a str,
}

/// The plan key of `stage`, in hexadecimal.
///
/// Left out are its name and its snapshots (they change no result) and, unless it depends on them, the stage before
/// and the strategy: that is what lets methods share their stages.
pub(crate) fn plan_key(
    surroundings: &Surroundings,
    stage: &Stage,
    before: &Before<'_>,
    identity: &RunIdentity,
    hands_on: bool,
) -> Result<String> {
    #[derive(Serialize)]
    struct Plan<'a> {
        what: &'static str,
        surroundings: &'a Surroundings,
        stage: serde_json::Value,
        schedule_origin: Option<&'a str>,
        strategy: Option<(&'a str, &'a str, &'a toml::Table)>,
        previous: Option<&'a str>,
        rewind_source: Option<&'a str>,
        loaded: Option<&'a str>,
        pretrained: &'a str,
        hands_on: bool,
    }
    let mut anonymous = stage.clone().named("").snapshots([]);
    if let InitialMask::Load(path) = &mut anonymous.mask {
        path.clear();
    }
    let plan = Plan {
        what: "plan",
        surroundings,
        stage: json(&anonymous)?,
        schedule_origin: surroundings.schedule_origin(stage)?,
        strategy: (stage.depends_on_method() || hands_on).then(|| surroundings.strategy(identity)),
        previous: before.previous.filter(|_| stage.needs_previous()),
        rewind_source: before.rewind_source,
        loaded: before.loaded,
        pretrained: before.pretrained,
        hands_on,
    };
    Ok(hash(&json(&plan)?))
}

/// What a stage starts from, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StartContent {
    /// [`mask_content`].
    pub(crate) mask: String,
    /// [`Weights::hash`](crate::weights::Weights::hash), the head's among them.
    pub(crate) weights: String,
}

/// The training key of `stage`, in hexadecimal: however its start was come by. What a method remembers of the way to its
/// first mask is no part of that content, so where the result depends on the method, the way counts: its plan key, `plan`.
pub(crate) fn training_key(
    surroundings: &Surroundings,
    stage: &Stage,
    plan: &str,
    start: &StartContent,
    identity: &RunIdentity,
    hands_on: bool,
) -> Result<String> {
    #[derive(Serialize)]
    struct Training<'a> {
        what: &'static str,
        surroundings: &'a Surroundings,
        stage: serde_json::Value,
        schedule_origin: Option<&'a str>,
        strategy: Option<(&'a str, &'a str, &'a toml::Table)>,
        plan: Option<&'a str>,
        start: &'a StartContent,
    }
    let own = stage.depends_on_method() || hands_on;
    let training = Training {
        what: "training",
        surroundings,
        // The start is known by its content.
        stage: json(&stage.without_start())?,
        schedule_origin: surroundings.schedule_origin(stage)?,
        strategy: own.then(|| surroundings.strategy(identity)),
        plan: own.then_some(plan),
        start,
    };
    Ok(hash(&json(&training)?))
}

/// The evaluation key of some weights of the stage with the training key `stage`, judged on `split`.
pub(crate) fn evaluation_key(
    stage: &str,
    update: u64,
    split: &Split,
    dataset: &dyn Dataset,
    identity: &RunIdentity,
    settings: &SessionSettings,
) -> Result<String> {
    #[derive(Serialize)]
    struct Evaluation<'a> {
        what: &'static str,
        format: u32,
        stage: &'a str,
        update: u64,
        split: &'a str,
        data: String,
        dataset_origin: &'a str,
        rows: usize,
        budget: Option<u64>,
        precision: Precision,
        device: &'static str,
    }
    let evaluation = Evaluation {
        what: "evaluation",
        format: FORMAT,
        stage,
        update,
        split: split.as_str(),
        data: dataset.identity(split),
        dataset_origin: &identity.dataset_origin,
        rows: settings.evaluation.rows,
        budget: settings.evaluation.budget,
        precision: settings.precision,
        device: lopper_torch::device_kind(settings.device),
    };
    Ok(hash(&json(&evaluation)?))
}

/// A hash over what a mask keeps, whatever file it came from.
pub(crate) fn mask_content(mask: &MaskSet) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(json(&mask.layout().tensors())?.to_string().as_bytes());
    for words in mask.words() {
        hasher.update(&(words.len() as u64).to_le_bytes());
        for word in words {
            hasher.update(&word.to_le_bytes());
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

/// serde_json keeps object keys sorted, so equal values are equal text.
fn hash(value: &serde_json::Value) -> String {
    blake3::hash(value.to_string().as_bytes()).to_hex().to_string()
}

fn json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|e| Error::Other(format!("a stage cannot be written as JSON: {e}")))
}

/// The content of a file that a run wrote or was given.
///
/// # Errors
/// [`Error::File`] for what cannot be read or is no regular file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    lopper_weights::read_regular(path, u64::MAX).map_err(|e| Error::file(path, e))
}
