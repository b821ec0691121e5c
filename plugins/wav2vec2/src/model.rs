//! A wav2vec 2.0 encoder with a CTC head, behind the core's `Model`.

use crate::audio::Wav2Vec2Preprocessor;
use crate::config::Wav2Vec2Config;
use crate::ctc::ctc_loss;
use crate::encoder::Encoder;
use crate::foreign::{purpose, tell_left_out};
use crate::head;
use crate::load::{Found, HeadWeights, Tensors};
use crate::options::Wav2Vec2Options;
use crate::shapes::{MASK, is_feature_encoder, is_prunable};
use crate::tokenizer;
use lopper_core::{
    Artifact, Batch, Error, Head, Loss, Mode, Model, ModelRequest, Parameter, ParameterName, Parameters, Predictions,
    Preprocessor, Result, Role, Targets,
};
use lopper_nn::{Linear, dropout, fresh};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tch::{Device, Kind, Tensor};

/// wav2vec 2.0 (Baevski et al. 2020) for CTC, or without a head.
pub struct Wav2Vec2Model {
    config: Wav2Vec2Config,
    encoder: Encoder,
    head: Option<CtcHead>,
    parameters: Parameters,
    prunable: Vec<ParameterName>,
    preprocessor: Arc<Wav2Vec2Preprocessor>,
    /// The learned vector for masked steps, if it is trained.
    mask: Option<Tensor>,
    /// What an identity holds besides.
    settings: serde_json::Value,
    /// Whether the head is the checkpoint's own, or was there none.
    as_loaded: bool,
    /// What the checkpoint's head is for, where it is no CTC head and none was made.
    other_head: Option<String>,
    /// Tensors of the checkpoint that are no part of the network and stay beside it.
    others: Vec<(String, Tensor)>,
    /// The tokenizer's files that belong to that head.
    tokenizer: Vec<Artifact>,
    too_long: AtomicU64,
}

struct CtcHead {
    head: Head,
    blank: usize,
    layer: Linear,
}

impl Wav2Vec2Model {
    /// Loads a checkpoint: a directory with Hugging Face's `config.json` and weights of any spelling, or a checkpoint of
    /// fairseq or torchaudio, alone or in a directory, whose architecture is told from its content.
    ///
    /// # Errors
    /// Everything wrong with the options, the configuration, the names, shapes and values of the weights, or the files
    /// beside them; [`Error::Unsupported`] for a head that is no CTC head.
    pub fn open(request: &ModelRequest<'_>) -> Result<Self> {
        let options = Wav2Vec2Options::parse(request.options, "[model]")?;
        let chosen = options.choices();
        let from_checkpoint = chosen.as_ref().is_ok_and(|(from_checkpoint, _)| *from_checkpoint);
        let read = Found::open(&request.path).and_then(|found| {
            let config = found.config.clone().with(&options);
            // Without masked steps nothing would ever train the vector for them, nor without a task.
            let masks = config.as_ref().is_ok_and(|config| config.mask_time().probability() > 0.0);
            let weights = head_and_weights(request, &found, from_checkpoint, masks && request.task.is_some());
            let preprocessor = Wav2Vec2Preprocessor::read(&found, options.normalize);
            Ok((Error::both(preprocessor, Error::both(config, weights))?, (found, masks)))
        });
        let ((_, padding), ((preprocessor, (config, loaded)), (found, masks))) = Error::both(chosen, read)?;
        let Loaded { head, tensors, others, as_loaded, tokenizer } = loaded;
        let other_head = found.config.class().filter(|_| head.is_none()).and_then(purpose);

        let mut entries = Vec::with_capacity(tensors.len());
        for (name, tensor) in tensors {
            let role = match name.as_str() {
                name if name.starts_with("lm_head.") => Role::Head,
                name if options.freeze_feature_encoder && is_feature_encoder(name) => Role::Frozen,
                // Without masked steps nothing would ever train it.
                MASK if !masks => Role::Frozen,
                _ => Role::Encoder,
            };
            let tensor = tensor.f_to_device(request.device)?.f_set_requires_grad(role != Role::Frozen)?;
            entries.push(Parameter { name, role, tensor });
        }
        let by_name: HashMap<&str, &Tensor> = entries.iter().map(|p| (p.name.as_str(), &p.tensor)).collect();
        let mut take = |name: &str| {
            let tensor = by_name.get(name).ok_or_else(|| Error::Other(format!("no tensor `{name}` was loaded")))?;
            Ok(tensor.shallow_clone())
        };
        let mask = if by_name.contains_key(MASK) { Some(take(MASK)?) } else { None };
        let apart = config.padding_matters(padding);
        let encoder = Encoder::new(&config, apart, mask.as_ref().map(Tensor::shallow_clone), &mut take)?;
        let head = match head {
            Some(Head::Ctc { vocabulary, blank }) => {
                let layer = Linear::new("lm_head", &mut take)?;
                Some(CtcHead { head: Head::Ctc { vocabulary, blank }, blank, layer })
            }
            _ => None,
        };
        let mask = mask.filter(|_| masks);
        let ranked = |name: &ParameterName| is_prunable(name.as_str(), options.prune_biases);
        let prunable = entries.iter().map(|p| &p.name).filter(|name| ranked(name)).cloned().collect();
        let settings = json!({
            "padding": options.padding,
            "freeze_feature_encoder": options.freeze_feature_encoder,
            "prune_biases": options.prune_biases,
            "normalize": preprocessor.normalize(),
            "fresh_mask_seed": (masks && !found.has_mask()).then_some(request.seed),
        });
        Ok(Self {
            config,
            encoder,
            head,
            parameters: Parameters::new(entries)?,
            prunable,
            preprocessor: Arc::new(preprocessor),
            mask,
            settings,
            as_loaded,
            other_head,
            others,
            tokenizer,
            too_long: AtomicU64::new(0),
        })
    }

    /// The architecture, and how it is regularised.
    pub fn config(&self) -> &Wav2Vec2Config {
        &self.config
    }

    /// Sentences so far whose targets did not fit into their steps: they are counted in the loss and add nothing to it.
    pub fn unaligned_sentences(&self) -> u64 {
        self.too_long.load(Ordering::Relaxed)
    }

    /// `[batch, steps, outputs]` float32, zero behind the end of a row, and the valid steps of each row.
    fn logits(&self, batch: &Batch, mode: Mode) -> Result<(&CtcHead, Tensor, Vec<i64>)> {
        let Some(head) = &self.head else {
            return Err(Error::Unsupported {
                what: "this wav2vec 2.0, an encoder without a head,".into(),
                feature: "predictions; finetune it on a task first".into(),
            });
        };
        let (samples, lengths) = self.inputs(batch)?;
        let steps: Vec<i64> = lengths.iter().map(|length| self.config.steps(*length)).collect();
        let longest = self.config.steps(samples.size()[1]);
        let (x, packing) = self.encoder.forward(samples, &lengths, &steps, longest, mode)?;
        let p = if mode == Mode::Train { self.config.dropouts.last } else { 0.0 };
        let logits = packing.unpack(&head.layer.forward(&dropout(x, p)?)?)?;
        Ok((head, logits.f_to_kind(Kind::Float)?, steps))
    }

    /// `input_values` and the valid samples of each row; all of them without `lengths`.
    fn inputs<'a>(&self, batch: &'a Batch) -> Result<(&'a Tensor, Vec<i64>)> {
        let samples = batch.input("input_values")?;
        let &[rows, longest] = samples.size().as_slice() else {
            return Err(Error::invalid("input_values", format!("of shape {:?}", samples.size()), "[batch, samples]"));
        };
        if rows == 0 || samples.kind() != Kind::Float {
            let found = format!("{:?} of shape [{rows}, {longest}]", samples.kind());
            return Err(Error::invalid("input_values", found, "float32, and at least one row"));
        }
        let lengths = match batch.inputs.get("lengths") {
            None => vec![longest; rows as usize],
            Some(lengths) if lengths.size() == [rows] && lengths.kind() == Kind::Int64 => {
                Vec::<i64>::try_from(lengths.f_to_device(Device::Cpu)?)?
            }
            Some(lengths) => {
                let found = format!("{:?} of shape {:?}", lengths.kind(), lengths.size());
                return Err(Error::invalid("lengths", found, format!("int64 of shape [{rows}], one a row")));
            }
        };
        let shortest = self.config.receptive_field();
        let wrong = lengths.iter().enumerate().filter(|(_, length)| !(shortest..=longest).contains(*length)).take(8);
        let expected = format!("from {shortest}, which give one step, to {longest}");
        Error::all(wrong.map(|(row, n)| Error::invalid(format!("samples of row {row}"), n, &expected)).collect())?;
        Ok((samples, lengths))
    }
}

impl Model for Wav2Vec2Model {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prunable(&self) -> &[ParameterName] {
        &self.prunable
    }

    fn own_name(&self, name: &str) -> Option<String> {
        crate::names::canonical(name)
    }

    fn prunable_options(&self) -> BTreeMap<&'static str, String> {
        let biases = self.prunable.iter().any(|name| name.as_str().ends_with(".bias"));
        if biases { BTreeMap::new() } else { BTreeMap::from([("prune_biases", "false".to_owned())]) }
    }

    /// The sum over sentences of their CTC losses, and the number of sentences, those that cannot be aligned included, as
    /// fairseq counts them.
    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        let targets = match &batch.targets {
            Some(Targets::Sequences(rows)) => rows,
            None => return Err(Error::Other("the batch has no targets, so it has no loss".into())),
            Some(_) => return Err(Error::invalid("targets", "classes or numbers", "sequences of symbols, for CTC")),
        };
        let (head, logits, steps) = self.logits(batch, mode)?;
        let loss = ctc_loss(&logits, targets, &steps, head.blank)?;
        if loss.too_long > 0 {
            let total = self.too_long.fetch_add(loss.too_long as u64, Ordering::Relaxed) + loss.too_long as u64;
            tracing::warn!(sentences = loss.too_long, total, "targets do not fit into the audio and are left out");
        }
        let mut sum = loss.sum;
        if let Some(mask) = self.mask.as_ref().filter(|_| mode == Mode::Evaluate && sum.requires_grad()) {
            // Nothing is masked here, and still every trainable parameter has a gradient: zero.
            sum = sum.f_add(&mask.f_sum(Kind::Float)?.f_mul_scalar(0.0)?)?;
        }
        Ok(Loss::new(sum, targets.len() as f64))
    }

    /// `unaligned_sentences`.
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let unaligned = Some(self.unaligned_sentences()).filter(|sentences| *sentences > 0);
        unaligned.map(|sentences| ("unaligned_sentences", sentences)).into_iter().collect()
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        let _guard = tch::no_grad_guard();
        let (_, logits, steps) = self.logits(batch, Mode::Evaluate)?;
        Ok(Predictions { logits, lengths: Some(steps) })
    }

    fn head(&self) -> Option<&Head> {
        self.head.as_ref().map(|head| &head.head)
    }

    fn other_head(&self) -> Option<&str> {
        self.other_head.as_deref()
    }

    fn carried(&self) -> Result<Vec<(String, Tensor)>> {
        Ok(self.others.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect())
    }

    fn preprocessor(&self) -> Option<Arc<dyn Preprocessor>> {
        Some(self.preprocessor.clone())
    }

    fn random_prunable(&self, seed: u64) -> Result<Vec<Tensor>> {
        let layout = self.layout()?;
        let draw = |name: &str, shape: &[u64]| {
            let deviation = if name.ends_with(".bias") { 0.0 } else { self.config.initializer_range() };
            fresh::normal(name, seed, shape, deviation)
        };
        layout.tensors().iter().map(|t| draw(t.name().as_str(), t.shape())).collect()
    }

    fn squared_input_norms(&self, batch: &Batch) -> Result<BTreeMap<ParameterName, Tensor>> {
        lopper_nn::squared_input_norms(&self.parameters, &self.prunable, || self.predict(batch).map(drop))
    }

    fn identity(&self) -> String {
        let (config, head) = (&self.config, self.head());
        json!({"plugin": "wav2vec2", "config": config, "head": head, "settings": self.settings}).to_string()
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        let head = self.head();
        let mut config = if self.as_loaded { self.config.to_json_as_loaded(head) } else { self.config.to_json(head) };
        // Transformers has a vector for masked steps only where something is masked.
        let masks =
            |key: &str, default: f64| config.get(key).and_then(serde_json::Value::as_f64).unwrap_or(default) > 0.0;
        if !self.as_loaded && self.mask.is_some() && !masks("mask_time_prob", 0.05) && !masks("mask_feature_prob", 0.0)
        {
            config["mask_time_prob"] = json!(self.config.mask_time().probability());
        }
        let mut all = vec![head::json_file("config.json", &config)?];
        all.extend(self.preprocessor.artifacts()?);
        all.extend(self.tokenizer.iter().cloned());
        Ok(all)
    }
}

/// What a checkpoint gave.
struct Loaded {
    head: Option<Head>,
    tensors: Tensors,
    /// Tensors that are no part of the model, as they are.
    others: Vec<(String, Tensor)>,
    as_loaded: bool,
    tokenizer: Vec<Artifact>,
}

/// The head that is asked for, or else the checkpoint's own, and the weights of the whole; `draws_mask` is whether a vector
/// for masked steps is made where there is none.
fn head_and_weights(
    request: &ModelRequest<'_>,
    found: &Found,
    from_checkpoint: bool,
    draws_mask: bool,
) -> Result<Loaded> {
    // What tells symbols may lie beside a checkpoint that is a file.
    let beside = if request.path.is_dir() { Some(request.path.as_path()) } else { request.path.parent() };
    let stored = || {
        let outputs = found.outputs().filter(|outputs| *outputs > 0);
        let head = outputs.zip(beside).map(|(outputs, beside)| head::stored(beside, &found.config, outputs));
        head.transpose()
    };
    let head = match request.task {
        Some(task) => Some(task.head.clone()),
        None => stored()?,
    };
    head.as_ref().map_or(Ok(()), head::check)?;
    let as_loaded = request.task.is_none() || from_checkpoint;
    let source = match &head {
        None => HeadWeights::Absent,
        Some(head) if !as_loaded => HeadWeights::Fresh(head.outputs()),
        Some(head) => {
            if request.task.is_some() {
                check_symbols(head, stored()?)?;
            }
            HeadWeights::Checkpoint(head.outputs())
        }
    };
    let foreign = found.foreign(matches!(source, HeadWeights::Checkpoint(_)));
    // In a directory of transformers a head of another class stays where it was, unless this model gets one of its own.
    let keeps = request.task.is_none() && found.is_of_transformers();
    if !keeps {
        tell_left_out(&request.path, found.config.class(), &foreign);
    }
    let others = if keeps { found.as_they_are(&foreign)? } else { Vec::new() };
    let files = || -> Result<Vec<Artifact>> {
        let named = beside.filter(|beside| request.path.is_dir() || beside.join(head::VOCABULARY).is_file());
        named.filter(|_| request.path.is_dir() || head.is_some()).map_or(Ok(Vec::new()), tokenizer::kept)
    };
    let mut tokenizer = if as_loaded { files()? } else { Vec::new() };
    if let Some(head) = head.as_ref().filter(|head| tokenizer.is_empty() && !head.is_numbered()) {
        tokenizer = tokenizer::new(head)?;
    }
    Ok(Loaded { tensors: found.load(source, draws_mask, request.seed)?, head, others, as_loaded, tokenizer })
}

/// A checkpoint's head only means what the task means when its symbols are the task's, in order.
fn check_symbols(head: &Head, stored: Option<Head>) -> Result<()> {
    let refuse = |found: String| {
        let expected =
            format!("a checkpoint whose head has the task's {} symbols, or head = \"fresh\"", head.outputs());
        Err(Error::invalid("[model] head", format!("\"checkpoint\", {found},"), expected))
    };
    match stored {
        None => refuse("which has no CTC head".into()),
        Some(stored) if stored.outputs() != head.outputs() => refuse(format!("whose head has {}", stored.outputs())),
        Some(stored) if stored != *head => {
            let (Head::Ctc { vocabulary: a, .. }, Head::Ctc { vocabulary: b, .. }) = (head, &stored) else {
                return refuse("of another kind".into());
            };
            match a.iter().zip(b).position(|(a, b)| a != b) {
                Some(id) => refuse(format!("whose output {id} is `{}` where the task has `{}`", b[id], a[id])),
                None => refuse("with another blank".into()),
            }
        }
        Some(_) => Ok(()),
    }
}
