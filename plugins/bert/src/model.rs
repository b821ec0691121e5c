//! A BERT encoder with a head, behind the core's `Model`.

use crate::config::BertConfig;
use crate::encoder::Encoder;
use crate::head::{StoredHead, others, stored_head};
use crate::load::{ANCHORS, HeadWeights, Weights, load, named};
use crate::shapes::{POOLER, is_prunable};
use crate::tokenizer::BertTokenizer;
use lopper_core::{
    Artifact, Batch, Error, Head, Loss, Mode, Model, ModelRequest, Parameter, ParameterName, Parameters, Predictions,
    Preprocessor, Result, Role, Targets, options,
};
use lopper_nn::{Linear, Named, dropout, fresh};
use lopper_weights::Checkpoint;
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
    /// Whether the head, or its absence, is the checkpoint's own.
    as_read: bool,
    /// What the checkpoint's head is for, where it is none of ours.
    other_head: Option<String>,
    /// The types in the checkpoint of the weights that are not of the usual one.
    loaded: BTreeMap<ParameterName, Kind>,
    /// The type of most of them.
    usual_kind: Kind,
    /// The checkpoint and the names in it of what a saved copy takes over unread; `None` where there is nothing.
    carried: Option<(Checkpoint, Vec<String>)>,
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
        // Another architecture, or quantised weights: then nothing of the weights fits, which says nothing more.
        BertConfig::check_kind(&request.path)?;
        let config = BertConfig::read(&request.path).and_then(|config| {
            config.with_dropout(options.hidden_dropout, options.attention_dropout, options.classifier_dropout)
        });
        let checkpoint = Checkpoint::open_model(&request.path, &ANCHORS);
        let (config, checkpoint) = Error::both(config, checkpoint)?;
        let weights = head_and_weights(request, &config, &named(&checkpoint), from_checkpoint);
        let (tokenizer, (head, weights, other_head)) =
            Error::both(BertTokenizer::shared(&request.path, &config), weights)?;
        let carried = match request.task {
            None => unread(&named(&checkpoint), &weights),
            Some(_) => Vec::new(),
        };
        let (usual_kind, loaded) = kinds(&named(&checkpoint), &checkpoint, &weights);
        let carried = (!carried.is_empty()).then_some((checkpoint, carried));

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
        let encoder = Encoder::new(&config, weights.pools, &mut take)?;
        let head = head.map(|head| Ok::<_, Error>((head, Linear::new("classifier", &mut take)?))).transpose()?;
        let ranked = |name: &str| is_prunable(name) && (options.prune_pooler || name != POOLER);
        let prunable = entries.iter().map(|p| &p.name).filter(|name| ranked(name.as_str())).cloned().collect();
        let fresh_pooler = weights.fresh_pooler.then_some(request.seed);
        let (parameters, as_read) = (Parameters::new(entries)?, request.task.is_none());
        Ok(Self {
            config,
            encoder,
            head,
            parameters,
            prunable,
            tokenizer,
            fresh_pooler,
            as_read,
            other_head,
            loaded,
            usual_kind,
            carried,
        })
    }

    /// The architecture.
    pub fn config(&self) -> &BertConfig {
        &self.config
    }

    fn logits(&self, batch: &Batch, mode: Mode) -> Result<(&Head, Tensor)> {
        let Some((head, classifier)) = &self.head else {
            let what = match &self.other_head {
                Some(other) => format!("this BERT, whose head is that of {other},"),
                None => "this BERT, an encoder without a head,".into(),
            };
            return Err(Error::Unsupported { what, feature: "predictions; finetune it on a task first".into() });
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

    fn own_name(&self, name: &str) -> Option<String> {
        crate::load::canonical(name)
    }

    fn prunable_options(&self) -> BTreeMap<&'static str, String> {
        let is_ranked = self.prunable.iter().any(|name| name.as_str() == POOLER);
        if is_ranked { BTreeMap::new() } else { BTreeMap::from([("prune_pooler", "false".to_owned())]) }
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

    fn other_head(&self) -> Option<&str> {
        self.other_head.as_deref()
    }

    fn loaded_kind(&self, name: &ParameterName) -> Kind {
        self.loaded.get(name).copied().unwrap_or(self.usual_kind)
    }

    fn carried(&self) -> Result<Vec<(String, Tensor)>> {
        let carried =
            self.carried.iter().flat_map(|(checkpoint, names)| names.iter().map(move |name| (checkpoint, name)));
        carried.map(|(checkpoint, name)| Ok((name.clone(), checkpoint.stored(name)?))).collect()
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
        let config = match (self.as_read, self.head()) {
            (true, head) => self.config.as_read(head.is_none() && self.carried.is_none()),
            (false, head) => self.config.to_json(head),
        };
        let config = serde_json::to_vec_pretty(&config)
            .map_err(|e| Error::Other(format!("config.json cannot be written: {e}")))?;
        let mut all = vec![Artifact { name: "config.json".into(), bytes: config }];
        all.extend(self.tokenizer.iter().flat_map(|t| t.artifacts()).cloned());
        Ok(all)
    }
}

/// The head that is asked for, or else the checkpoint's own, the weights of the whole, and what the checkpoint's head is
/// where it is kept and none of ours.
fn head_and_weights(
    request: &ModelRequest<'_>,
    config: &BertConfig,
    named: &Named<'_, Checkpoint>,
    from_checkpoint: bool,
) -> Result<(Option<Head>, Weights, Option<String>)> {
    let stored = stored_head(named, config);
    let (head, source, other) = match (request.task, stored) {
        (None, StoredHead::Absent) => (None, HeadWeights::Absent, None),
        (None, StoredHead::Other(what)) => (None, HeadWeights::Absent, Some(what)),
        (None, StoredHead::Ours(head)) => {
            check_head(&head)?;
            (Some(head.clone()), HeadWeights::Checkpoint(head.outputs()), None)
        }
        (Some(task), stored) => {
            check_head(&task.head)?;
            // A checkpoint's head keeps its own order of the task's labels; the data is asked to take it.
            let own = config.head().filter(|own| from_checkpoint && own.reorders(&task.head));
            let head = own.unwrap_or(&task.head).clone();
            let outputs = head.outputs();
            let source = if from_checkpoint {
                check_stored(&head, &stored, config, named)?;
                HeadWeights::Checkpoint(outputs)
            } else {
                tell_left_out(&stored, named, request);
                HeadWeights::Fresh(outputs)
            };
            (Some(head), source, None)
        }
    };
    let weights = load(named, config, source, &request.path, request.seed)?;
    Ok((head, weights, other))
}

/// One line on what a fresh head takes the place of.
fn tell_left_out(stored: &StoredHead, named: &Named<'_, Checkpoint>, request: &ModelRequest<'_>) {
    let tensors = others(named).count();
    let head = match stored {
        StoredHead::Absent => return,
        StoredHead::Ours(_) => "its classifier",
        StoredHead::Other(what) => what,
    };
    tracing::warn!(
        checkpoint = %request.path.display(), head, tensors,
        "the checkpoint's head is left out: a fresh one is drawn for the task"
    );
}

/// The type of most weights in the checkpoint, and those of the others.
fn kinds(
    named: &Named<'_, Checkpoint>,
    checkpoint: &Checkpoint,
    weights: &Weights,
) -> (Kind, BTreeMap<ParameterName, Kind>) {
    let kind = |name: &ParameterName| checkpoint.kind(named.original(name.as_str())?);
    let all = || weights.tensors.iter().filter_map(|(name, tensor)| Some((name, kind(name)?, tensor.numel())));
    let entries =
        |wanted: Kind| all().filter(|(_, kind, _)| *kind == wanted).map(|(.., entries)| entries).sum::<usize>();
    let usual =
        [Kind::BFloat16, Kind::Half, Kind::Float].into_iter().max_by_key(|kind| entries(*kind)).unwrap_or(Kind::Float);
    let others = all().filter(|(_, kind, _)| *kind != usual).map(|(name, kind, _)| (name.clone(), kind));
    (usual, others.collect())
}

/// The checkpoint's names of the tensors that the model does not have.
fn unread(named: &Named<'_, Checkpoint>, weights: &Weights) -> Vec<String> {
    let ours = |name: &str| weights.tensors.iter().any(|(own, _)| own.as_str() == name);
    others(named).filter(|name| !ours(name)).filter_map(|name| Some(named.original(name)?.to_owned())).collect()
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

/// A checkpoint's classifier only means what the task means when its classes are the task's, in order.
fn check_stored(head: &Head, stored: &StoredHead, config: &BertConfig, named: &Named<'_, Checkpoint>) -> Result<()> {
    let wanted = match head {
        Head::Classification { labels } => format!("the task's labels {}", labels.join(", ")),
        _ => "one output, for a number".to_owned(),
    };
    let refuse = |found: String| {
        let expected = format!("a checkpoint whose head has {wanted}, or head = \"fresh\"");
        Err(Error::invalid("[model] head", format!("\"checkpoint\", {found},"), expected))
    };
    if let StoredHead::Other(what) = stored {
        return refuse(format!("whose head is that of {what}"));
    }
    match named.shape("classifier.weight").and_then(|shape| shape.first().copied()) {
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
