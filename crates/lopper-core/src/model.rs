//! The trait behind which a network stands.

use crate::registry::entry;
use crate::{Batch, Error, Features, Head, Input, Inputs, Layout, ParameterName, Parameters, Result, Task};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

/// Whether dropout and the like are active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Dropout on, drawing from libtorch's generator, which the session seeds for every update.
    Train,
    /// Deterministic.
    Evaluate,
}

/// The loss of one batch, not yet normalised, so that micro-batches can be added exactly.
#[derive(Debug)]
#[non_exhaustive]
pub struct Loss {
    /// Scalar, float32, differentiable: the sum over the batch.
    pub sum: Tensor,
    /// What the sum is divided by: examples for classification, sentences for CTC.
    pub count: f64,
}

impl Loss {
    /// The scalar `sum` over a batch, to be divided by `count`.
    pub fn new(sum: Tensor, count: f64) -> Self {
        Self { sum, count }
    }
}

/// What a model says about a batch.
#[derive(Debug)]
pub struct Predictions {
    /// `[batch, outputs]` for a head over whole inputs, `[batch, time, outputs]` for a sequence head; float32.
    pub logits: Tensor,
    /// Valid time steps a row, for a sequence head.
    pub lengths: Option<Vec<i64>>,
}

/// A file that belongs into a saved model's directory beside its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// File name without directories, such as `config.json`.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// Turns raw inputs into what one model reads. Datasets are given it, so that no dataset knows a model.
pub trait Preprocessor: Send + Sync {
    /// One raw input as this model's features, truncated to `max_length` tokens or samples, special tokens counted.
    /// `None` truncates to what the model accepts.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a kind of input this model does not read, [`Error::InvalidValue`] for a
    /// `max_length` that it cannot hold.
    fn features(&self, input: Input<'_>, max_length: Option<u32>) -> Result<Features>;

    /// Features of several inputs as one padded batch of CPU tensors.
    ///
    /// # Errors
    /// When a feature is of another kind, or `features` is empty.
    fn collate(&self, features: &[&Features]) -> Result<Inputs>;

    /// The longest input, in tokens or samples, that [`features`](Self::features) may be asked to truncate to; `None` where
    /// any length is taken.
    fn longest(&self) -> Option<u32> {
        None
    }

    /// Everything that the features depend on (vocabulary, casing, maximal length) as a hash or short text.
    fn identity(&self) -> String;
}

/// A network with named weights, some of which can be pruned.
pub trait Model: Send {
    /// All weights, each with its role. Their tensors share storage with the network.
    fn parameters(&self) -> &Parameters;

    /// The tensors offered for ranking, the same for every task so that masks transfer. The order breaks ties.
    fn prunable(&self) -> &[ParameterName];

    /// The model's name for a tensor that a checkpoint or a mask of another library calls `name`; `None` for what the model has
    /// no use for. The name itself unless overridden: what means nothing to the model keeps its name.
    fn own_name(&self, name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    /// The options, with their values, that made [`prunable`](Self::prunable) another list than by default. Masks are saved with
    /// them, so that the model can be opened alike for a mask. Nothing unless overridden.
    fn prunable_options(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::new()
    }

    /// The loss over a batch that carries targets. The batch lies on the model's device.
    ///
    /// # Errors
    /// When the batch lacks an input or targets of the head's kind, and errors of libtorch.
    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss>;

    /// What a reader of the losses so far should know besides: examples that added nothing, and the like, each more than
    /// zero, counted whenever they were met. Nothing unless overridden.
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        BTreeMap::new()
    }

    /// The outputs for a batch, in evaluation mode.
    ///
    /// # Errors
    /// When the batch lacks an input, and errors of libtorch.
    fn predict(&self, batch: &Batch) -> Result<Predictions>;

    /// The head it has, which says what its outputs mean; `None` for an encoder alone.
    fn head(&self) -> Option<&Head> {
        None
    }

    /// What the checkpoint's own head is for, where it is none that this model answers from, such as
    /// "BertForTokenClassification, a head for token classification". `None` where there is no such head.
    fn other_head(&self) -> Option<&str> {
        None
    }

    /// The type that a weight had in the checkpoint: float32 unless it was float16 or bfloat16. That of most weights for one
    /// that was not there.
    fn loaded_kind(&self, _name: &ParameterName) -> Kind {
        Kind::Float
    }

    /// Tensors of the checkpoint that this model neither computes with nor trains, under the names and in the types that
    /// they have there: a saved model keeps them as they are. They are read when this is asked. Nothing unless overridden.
    ///
    /// # Errors
    /// When they can no longer be read.
    fn carried(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(Vec::new())
    }

    /// How raw inputs become batches. `None` when the dataset makes tensors itself.
    fn preprocessor(&self) -> Option<Arc<dyn Preprocessor>> {
        None
    }

    /// The prunable tensors of a freshly initialised network, float32 on the CPU, in the order of
    /// [`prunable`](Self::prunable): what random pruning of the paper's own code ranks.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the model overrides it.
    fn random_prunable(&self, _seed: u64) -> Result<Vec<Tensor>> {
        Err(Error::Unsupported { what: "this model".into(), feature: "random_init_magnitude masks".into() })
    }

    /// Σ x² over all that enters a linear layer, for each of its input features, at a forward pass in evaluation mode: float32
    /// `[in]` by the name of the weight `[out, in]`. It says so for every prunable weight that is one of a linear layer. Padding
    /// does not count. `lopper-nn` records it at its linear layers.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the model overrides it; when the batch lacks an input, and errors of libtorch.
    fn squared_input_norms(&self, _batch: &Batch) -> Result<BTreeMap<ParameterName, Tensor>> {
        Err(Error::Unsupported { what: "this model".into(), feature: "calibration by input norms".into() })
    }

    /// Everything that the outputs depend on besides the weights: architecture, head and options, as text.
    fn identity(&self) -> String;

    /// What a saved model needs beside `model.safetensors`, such as `config.json` and the tokenizer.
    ///
    /// # Errors
    /// When a file cannot be made.
    fn artifacts(&self) -> Result<Vec<Artifact>>;

    /// Prunable entries that are exactly zero now, of either sign: in a model that was pruned before, those that are.
    ///
    /// # Errors
    /// Errors of libtorch.
    fn zeros(&self) -> Result<u64> {
        let tensors = self.prunable().iter().filter_map(|name| self.parameters().get(name));
        tensors
            .map(|parameter| {
                let tensor = parameter.tensor.f_detach()?;
                let other = tensor.f_count_nonzero(None::<i64>)?.f_int64_value(&[])?;
                Ok(tensor.numel() as u64 - other as u64)
            })
            .sum()
    }

    /// Names and shapes of the prunable tensors.
    ///
    /// # Errors
    /// [`Error::Layout`] when a prunable name is not a parameter.
    fn layout(&self) -> Result<Layout> {
        let parameters = self.parameters();
        let mut missing = Vec::new();
        let mut tensors = Vec::new();
        for name in self.prunable() {
            match parameters.get(name) {
                Some(p) => tensors.push((name.clone(), p.tensor.size().iter().map(|d| *d as u64).collect())),
                None => missing.push(format!("prunable `{name}` is not a parameter")),
            }
        }
        if missing.is_empty() {
            Ok(Layout::new(tensors)?)
        } else {
            Err(Error::Layout { context: "model".into(), problems: missing })
        }
    }
}

/// What a model plugin is asked to open.
#[derive(Debug)]
pub struct ModelRequest<'a> {
    /// A local directory, already fetched when the source was a hub.
    pub path: PathBuf,
    /// The plugin's own options.
    pub options: &'a toml::Table,
    /// The task whose head is needed. `None`: the head the checkpoint has, and none if it has none.
    pub task: Option<&'a Task>,
    /// Where the weights go.
    pub device: Device,
    /// Seeds a fresh head.
    pub seed: u64,
}

entry! {
    /// A model; [`new`](ModelEntry::new) takes the fields in their order.
    #[non_exhaustive]
    ModelEntry, "model" {
        /// Whether a checkpoint directory looks like this model's, by its content.
        recognises: fn(&std::path::Path) -> bool,
        /// Loads it.
        open: fn(&ModelRequest<'_>) -> Result<Box<dyn Model>>,
    }
}
