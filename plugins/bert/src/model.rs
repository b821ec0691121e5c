//! A BERT encoder with a head, behind the core's `Model`.

use crate::config::BertConfig;
use crate::encoder::Encoder;
use crate::load::{HeadWeights, Weights, classifier_outputs, load, named};
use crate::shapes::{POOLER, is_prunable};
use crate::tokenizer::BertTokenizer;
use lopper_core::{
    Artifact, Batch, Error, Head, Loss, Mode, Model, ModelRequest, Parameter, ParameterName, Parameters, Predictions,
    Preprocessor, Result, Role, Targets, options,
};
use lopper_nn::{Linear, Named, Source, dropout, fresh};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tch::{Kind, Reduction, Tensor};

options! {
    /// Options of the model plugin `bert`.
    pub struct BertOptions {
        /// Head for a task: "fresh" draws one from the run's seed, "checkpoint" takes the checkpoint's.
        head: String = "fresh".to_owned(),
        /// Dropout after embeddings and sub-layers, instead of config.json's.
        hidden_dropout: Option<f64> = None,
        /// Dropout of attention probabilities, instead of config.json's.
        attention_dropout: Option<f64> = None,
        /// Dropout before the head, instead of config.json's.
        classifier_dropout: Option<f64> = None,
        /// Whether the pooler's matrix is ranked with the encoder's, as Chen et al. 2020 do. Its weights are small in some checkpoints, and a global ranking then takes it whole.
        prune_pooler: bool = true,
    }
}

/// BERT for classification or regression of a text or a pair of texts, or without a head.
pub struct BertModel {
    config: BertConfig,
    encoder: Encoder,
    head: Option<(Head, Linear)>,
    parameters: Parameters,
    prunable: Vec<ParameterName>,
    tokenizer: Option<Arc<BertTokenizer>>,
    fresh_pooler: Option<u64>,
}

impl BertModel {
    /// Loads a checkpoint directory: `config.json`, the weights, and the tokenizer's files where it has any.
    ///
    /// # Errors
    /// Everything wrong with the options, `config.json`, the names, shapes and values of the weights, or the
    /// tokenizer; [`Error::Unsupported`] for a head that BERT does not have.
    pub fn open(request: &ModelRequest<'_>) -> Result<Self> {
        let options = BertOptions::parse(request.options, "[model]")?;
        let from_checkpoint = match options.head.as_str() {
            "fresh" => false,
            "checkpoint" => true,
            other => return Err(Error::invalid("[model] head", other, "`fresh` or `checkpoint`")),
        };
        let config = BertConfig::read(&request.path).and_then(|config| {
            config.with_dropout(options.hidden_dropout, options.attention_dropout, options.classifier_dropout)
        });
        let (config, checkpoint) = Error::both(config, lopper_weights::Checkpoint::open(&request.path))?;
        let weights = head_and_weights(request, &config, &named(&checkpoint), from_checkpoint);
        let (tokenizer, (head, weights)) = Error::both(BertTokenizer::read(&request.path, &config), weights)?;
        let tokenizer = tokenizer.map(Arc::new);

        let mut entries = Vec::with_capacity(weights.tensors.len());
        for (name, tensor) in weights.tensors {
            let tensor = tensor.f_to_device(request.device)?.f_set_requires_grad(true)?;
            let role = if name.as_str().starts_with("classifier.") { Role::Head } else { Role::Encoder };
            entries.push(Parameter { name, role, tensor });
        }
        let by_name: HashMap<&str, &Tensor> = entries.iter().map(|p| (p.name.as_str(), &p.tensor)).collect();
        let mut take = |name: &str| {
            let tensor = by_name.get(name).ok_or_else(|| Error::Other(format!("no tensor `{name}` was loaded")))?;
            Ok(tensor.shallow_clone())
        };
        let encoder = Encoder::new(&config, &mut take)?;
        let head = head.map(|head| Ok::<_, Error>((head, Linear::new("classifier", &mut take)?))).transpose()?;
        let ranked = |name: &str| is_prunable(name) && (options.prune_pooler || name != POOLER);
        let prunable = entries.iter().map(|p| &p.name).filter(|name| ranked(name.as_str())).cloned().collect();
        let fresh_pooler = weights.fresh_pooler.then_some(request.seed);
        Ok(Self { config, encoder, head, parameters: Parameters::new(entries)?, prunable, tokenizer, fresh_pooler })
    }

    /// The architecture.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    fn logits(&self, batch: &Batch, mode: Mode) -> Result<(&Head, Tensor)> {
        let Some((head, classifier)) = &self.head else {
            return Err(Error::Unsupported {
                what: "this BERT, an encoder without a head,".into(),
                feature: "predictions; finetune it on a task first".into(),
            });
        };
        let p = if mode == Mode::Train { self.config.classifier_dropout() } else { 0.0 };
        let logits = classifier.forward(&dropout(self.encoder.forward(batch, mode)?, p)?)?;
        Ok((head, logits.f_to_kind(Kind::Float)?))
    }
}

impl Model for BertModel {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prunable(&self) -> &[ParameterName] {
        &self.prunable
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        let (head, logits) = self.logits(batch, mode)?;
        let rows = logits.size()[0];
        let sum = match (head, &batch.targets) {
            (Head::Classification { labels }, Some(Targets::Classes(classes))) => {
                check_targets(classes, rows)?;
                check_classes(classes, labels.len())?;
                logits.f_cross_entropy_loss::<&Tensor>(classes, None, Reduction::Sum, -100, 0.0)?
            }
            (Head::Regression, Some(Targets::Values(values))) => {
                check_targets(values, rows)?;
                logits.f_squeeze_dim(1)?.f_mse_loss(&values.f_to_kind(Kind::Float)?, Reduction::Sum)?
            }
            (_, None) => return Err(Error::Other("the batch has no targets, so it has no loss".into())),
            (head, Some(_)) => {
                let (found, kind) = match head {
                    Head::Regression => ("classes or sequences", "numbers, for regression"),
                    _ => ("numbers or sequences", "classes, for classification"),
                };
                return Err(Error::invalid("targets", found, kind));
            }
        };
        Ok(Loss::new(sum, rows as f64))
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        let _guard = tch::no_grad_guard();
        let (_, logits) = self.logits(batch, Mode::Evaluate)?;
        Ok(Predictions { logits, lengths: None })
    }

    fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|(head, _)| head)
    }

    fn preprocessor(&self) -> Option<Arc<dyn Preprocessor>> {
        self.tokenizer.clone().map(|t| t as Arc<dyn Preprocessor>)
    }

    fn random_prunable(&self, seed: u64) -> Result<Vec<Tensor>> {
        let layout = self.layout()?;
        let deviation = self.config.initializer_range();
        layout.tensors().iter().map(|t| fresh::normal(t.name().as_str(), seed, t.shape(), deviation)).collect()
    }

    fn squared_input_norms(&self, batch: &Batch) -> Result<BTreeMap<ParameterName, Tensor>> {
        lopper_nn::squared_input_norms(&self.parameters, &self.prunable, || self.predict(batch).map(drop))
    }

    fn identity(&self) -> String {
        // The checkpoint's own head is left out: what counts is the one in use.
        let mut config = json!(self.config);
        if let Some(map) = config.as_object_mut() {
            map.remove("head");
        }
        let pooler_is_ranked = self.prunable.iter().any(|name| name.as_str() == POOLER);
        json!({
            "plugin": "bert", "config": config, "head": self.head(), "fresh_pooler_seed": self.fresh_pooler,
            "prune_pooler": pooler_is_ranked,
        })
        .to_string()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        let config = serde_json::to_vec_pretty(&self.config.to_json(self.head()))
            .map_err(|e| Error::Other(format!("config.json cannot be written: {e}")))?;
        let mut all = vec![Artifact { name: "config.json".into(), bytes: config }];
        all.extend(self.tokenizer.iter().flat_map(|t| t.artifacts()).cloned());
        Ok(all)
    }
}

/// The head that is asked for, or else the checkpoint's own, and the weights of the whole.
fn head_and_weights<S: Source>(
    request: &ModelRequest<'_>,
    config: &BertConfig,
    named: &Named<'_, S>,
    from_checkpoint: bool,
) -> Result<(Option<Head>, Weights)> {
    let head = match request.task {
        Some(task) => Some(task.head.clone()),
        None if classifier_outputs(named).is_some() => {
            Some(config.head().cloned().ok_or_else(|| Error::Unsupported {
                what: "the model plugin `bert`".into(),
                feature: format!("the head of {}: multi-label, or several regressions", request.path.display()),
            })?)
        }
        None => None,
    };
    if let Some(head) = &head {
        check_head(head)?;
    }
    // A checkpoint's head keeps its own order of the task's labels; the data is asked to take it.
    let head = match config.head() {
        Some(own) if from_checkpoint && head.as_ref().is_some_and(|head| own.reorders(head)) => Some(own.clone()),
        _ => head,
    };
    let source = match (&head, request.task) {
        (None, _) => HeadWeights::Absent,
        (Some(head), Some(_)) if !from_checkpoint => HeadWeights::Fresh(head.outputs()),
        (Some(head), task) => {
            if task.is_some() {
                check_labels(head, config, classifier_outputs(named))?;
            }
            HeadWeights::Checkpoint(head.outputs())
        }
    };
    let weights = load(named, config, source, &request.path, request.seed)?;
    Ok((head, weights))
}

fn check_head(head: &Head) -> Result<()> {
    match head {
        Head::Classification { labels } if labels.is_empty() => {
            Err(Error::invalid("labels", "an empty list", "at least one class"))
        }
        Head::Classification { .. } | Head::Regression => Ok(()),
        _ => Err(Error::Unsupported { what: "BERT".into(), feature: "sequence heads such as CTC".into() }),
    }
}

/// A checkpoint's classifier only means what the task means when its classes are the task's, in order. `outputs` are
/// those of the checkpoint's classifier, if it has one.
fn check_labels(head: &Head, config: &BertConfig, outputs: Option<u64>) -> Result<()> {
    let wanted = match head {
        Head::Classification { labels } => format!("the task's labels {}", labels.join(", ")),
        _ => "one output, for a number".to_owned(),
    };
    let refuse = |found: String| {
        let expected = format!("a checkpoint whose head has {wanted}, or head = \"fresh\"");
        Err(Error::invalid("[model] head", format!("\"checkpoint\", {found},"), expected))
    };
    match outputs {
        None => return refuse("which holds no classifier.weight".into()),
        Some(outputs) if outputs != head.outputs() as u64 => {
            return refuse(format!("whose head has {outputs} outputs"));
        }
        Some(_) => {}
    }
    let (Head::Classification { labels }, Some(Head::Classification { labels: found })) = (head, config.head()) else {
        return Ok(());
    };
    let generic = config.head().is_some_and(Head::is_unnamed);
    if generic && labels.len() == found.len() {
        let labels = labels.join(", ");
        tracing::warn!(
            labels,
            "the checkpoint's head has no names for its outputs, which are taken for the task's labels in this order"
        );
    }
    let same = labels.len() == found.len() && labels.iter().zip(found).all(|(a, b)| a.eq_ignore_ascii_case(b));
    if generic || same { Ok(()) } else { refuse(format!("whose labels are {}", found.join(", "))) }
}

fn check_targets(targets: &Tensor, rows: i64) -> Result<()> {
    if targets.size() == [rows] {
        return Ok(());
    }
    Err(Error::invalid("targets", format!("of shape {:?}", targets.size()), format!("[{rows}], one a row")))
}

/// libtorch skips class -100 silently and stops a CUDA context for good at other wrong ones.
fn check_classes(classes: &Tensor, outputs: usize) -> Result<()> {
    let (low, high) = (classes.f_min()?.f_int64_value(&[])?, classes.f_max()?.f_int64_value(&[])?);
    if low >= 0 && high < outputs as i64 {
        return Ok(());
    }
    let value = if low < 0 { low } else { high };
    Err(Error::invalid("targets", format!("class {value}"), format!("from 0 to {}", outputs - 1)))
}
