//! A checkpoint of any spelling: what it is, and its tensors in the model's order.

use crate::architecture::{Other, other};
use crate::config::Wav2Vec2Config;
use crate::derive::{PROJECTION, derive};
use crate::fairseq::{Setting, Settings};
use crate::foreign::answers_otherwise;
use crate::names::Naming;
use crate::shapes::{MASK, parameter_shapes};
use lopper_core::{Error, ParameterName, Result};
use lopper_nn::{MAX_BYTES, Named, fresh};
use lopper_weights::{Checkpoint, read_regular};
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The projection of features, which every checkpoint has, in each library's spelling; the longest first, so that what
/// fairseq puts around a finetuned encoder is no prefix.
const ANCHORS: [&str; 7] = [
    "w2v_encoder.w2v_model.post_extract_proj.weight",
    "encoder.feature_projection.projection.weight",
    PROJECTION,
    "encoder_frontend.model_dim_proj.weight",
    "feature_projection.projection.weight",
    "w2v_model.post_extract_proj.weight",
    "post_extract_proj.weight",
];
/// Most checkpoints of a directory that an error names.
const MAX_NAMED: usize = 8;

/// Where the weights of a head come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HeadWeights {
    /// There is no head.
    Absent,
    /// Drawn for that many outputs.
    Fresh(usize),
    /// Read, for that many outputs.
    Checkpoint(usize),
}

/// Tensors in a model's order, float32 on the CPU.
pub(crate) type Tensors = Vec<(ParameterName, Tensor)>;

/// A checkpoint whose architecture is known, and whose tensors are still to be read.
pub(crate) struct Found {
    checkpoint: Checkpoint,
    naming: Naming,
    path: PathBuf,
    /// Whether it is a directory of transformers.
    of_transformers: bool,
    /// What the expected shapes come from.
    by: &'static str,
    pub(crate) config: Wav2Vec2Config,
    /// Empty unless it is fairseq's.
    pub(crate) settings: Settings,
}

impl Found {
    /// Opens a directory or a file. A `config.json` in the directory decides the architecture; without one, what the
    /// checkpoint holds.
    ///
    /// # Errors
    /// Everything wrong with `config.json` and with the checkpoint's structure, what cannot be told from it, and a
    /// checkpoint of another model, which is named.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let described = path.join("config.json").is_file();
        let file = weights(path);
        let of_transformers = described && file.as_ref().is_ok_and(|file| !is_torch(file));
        let checkpoint = file.and_then(|file| Checkpoint::open_model(&file, &ANCHORS));
        let (config, checkpoint) = if described {
            Error::both(Wav2Vec2Config::read(path).map(Some), checkpoint)?
        } else {
            (None, checkpoint?)
        };
        let settings = settings_of(&checkpoint);
        if let Some(Other { name, by }) = other(checkpoint.names(), &settings) {
            let reason = format!("is a {name} by {by}; wav2vec 2.0 and XLSR-53 are read");
            return Err(Error::file(checkpoint.source(), reason));
        }
        refuse_adapters(&checkpoint)?;
        let naming = naming_of(&checkpoint);
        let config = match config {
            Some(config) => config,
            None => derive(&Named::new(&checkpoint, |name| naming.canonical(name)), &settings, path)?,
        };
        let by = if described { "config.json" } else { "configuration" };
        Ok(Self { checkpoint, naming, path: path.to_owned(), of_transformers, by, config, settings })
    }

    /// What was opened.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a directory of transformers, with a `config.json` and weights of its usual name.
    pub(crate) fn is_of_transformers(&self) -> bool {
        self.of_transformers
    }

    fn named(&self) -> Named<'_, Checkpoint> {
        Named::new(&self.checkpoint, |name| self.naming.canonical(name))
    }

    /// Outputs of the checkpoint's CTC head, if it has one. What its `architectures` call otherwise is none.
    pub(crate) fn outputs(&self) -> Option<usize> {
        if self.config.class().is_some_and(answers_otherwise) {
            return None;
        }
        usize::try_from(*self.named().shape("lm_head.weight")?.first()?).ok()
    }

    /// The checkpoint's tensors, under their own names, that are no part of a model with or without its CTC head.
    pub(crate) fn foreign(&self, with_head: bool) -> Vec<String> {
        let ours =
            |name: &str| self.naming.canonical(name).is_some_and(|name| with_head || !name.starts_with("lm_head."));
        self.checkpoint.names().filter(|name| !ours(name)).map(str::to_owned).collect()
    }

    /// Tensors of the checkpoint as they are, on the CPU.
    ///
    /// # Errors
    /// When one cannot be read.
    pub(crate) fn as_they_are(&self, names: &[String]) -> Result<Vec<(String, Tensor)>> {
        names.iter().map(|name| Ok((name.clone(), self.checkpoint.stored(name)?))).collect()
    }

    /// Whether it has a learned vector for masked steps, which torchaudio's checkpoints have not.
    pub(crate) fn has_mask(&self) -> bool {
        self.named().contains(MASK)
    }

    /// All tensors of the architecture, float32 on the CPU. A fresh head is drawn from `seed`: weights uniform after
    /// Glorot and Bengio, zero biases, as fairseq does; and so is, if it `masks`, the vector for masked steps where there is
    /// none, uniform from 0 to 1.
    ///
    /// # Errors
    /// Those of [`Named::load`].
    pub(crate) fn load(&self, head: HeadWeights, masks: bool, seed: u64) -> Result<Tensors> {
        let outputs = match head {
            HeadWeights::Absent => None,
            HeadWeights::Fresh(n) | HeadWeights::Checkpoint(n) => Some(n),
        };
        let named = self.named();
        let has_mask = named.contains(MASK);
        let is_head = |name: &str| name.starts_with("lm_head.");
        let is_fresh = |name: &str| name == MASK && !has_mask || is_head(name) && matches!(head, HeadWeights::Fresh(_));
        let draw = |name: &str, shape: &[u64]| match name {
            MASK => fresh::uniform(name, seed, shape, 0.0, 1.0),
            name if name.ends_with(".bias") => fresh::normal(name, seed, shape, 0.0),
            name => fresh::xavier_uniform(name, seed, shape),
        };
        let mut shapes = parameter_shapes(&self.config, outputs);
        shapes.retain(|(name, _)| name.as_str() != MASK || has_mask || masks);
        named.load(shapes, is_fresh, is_head, draw, (&self.path, self.by))
    }
}

fn naming_of(checkpoint: &Checkpoint) -> Naming {
    let names: Vec<&str> = checkpoint.names().collect();
    Naming::of(names.into_iter())
}

/// What a checkpoint says beside its tensors, and what their names say of the architecture.
fn settings_of(checkpoint: &Checkpoint) -> Settings {
    let mut settings = checkpoint.extra().map(Settings::read).unwrap_or_default();
    if let Some(first) = naming_of(checkpoint).norm_first() {
        settings.model.insert("layer_norm_first".into(), Setting::Flag(first));
    }
    settings
}

/// MMS and others learn a few layers a language beside those of the encoder.
fn refuse_adapters(checkpoint: &Checkpoint) -> Result<()> {
    let adapters = ["adapter_layer.", "adapter.layers.", "adapter.proj"];
    let is_adapter = |name: &&str| adapters.iter().any(|part| format!(".{name}").contains(&format!(".{part}")));
    let mut found = checkpoint.names().filter(is_adapter);
    let Some(first) = found.next() else { return Ok(()) };
    let others = found.count();
    let reason = format!("holds adapters (`{first}` and {others} more tensors), which are not supported");
    Err(Error::file(checkpoint.source(), reason))
}

/// What to open of a directory or file: the only checkpoint of fairseq or torchaudio in a directory, which has no usual
/// name, and otherwise `path` itself.
///
/// # Errors
/// [`Error::File`] for several such checkpoints, as fairseq leaves them.
fn weights(path: &Path) -> Result<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().take(10_000).flatten().map(|entry| entry.path());
    let (mut found, usual): (Vec<_>, Vec<_>) = entries.filter(|path| path.is_file()).partition(|path| is_torch(path));
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("model.safetensors") || name.starts_with("pytorch_model.bin")
    };
    if usual.iter().any(named) {
        return Ok(path.to_owned());
    }
    found.sort();
    if found.len() < 2 {
        return Ok(found.pop().unwrap_or_else(|| path.to_owned()));
    }
    let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    let (number, shown) = (names.len(), names[..names.len().min(MAX_NAMED)].join(", "));
    let more = if number > MAX_NAMED { ", …" } else { "" };
    Err(Error::file(path, format!("holds {number} checkpoints ({shown}{more}); give one of them")))
}

/// Whether a file has a name that fairseq and torchaudio give to theirs.
fn is_torch(path: &Path) -> bool {
    path.extension().is_some_and(|kind| kind == "pt" || kind == "pth")
}

/// Whether a directory or file holds a wav2vec 2.0, or what is easily taken for one and named when it is opened, and
/// whether it is one that normalises as XLSR-53 does: layer norms in the feature encoder and before the parts of a
/// block. `None` for anything else.
pub(crate) fn recognise(path: &Path) -> Option<bool> {
    use crate::config::{FeatureNorm, is_wav2vec2};
    let config = match read_regular(&path.join("config.json"), MAX_BYTES as u64) {
        Ok(text) => {
            let source = serde_json::from_slice(&text).ok()?;
            is_wav2vec2(&source).then_some(())?;
            let is = |key: &str, value: serde_json::Value| source.get(key) == Some(&value);
            return Some(is("feat_extract_norm", "layer".into()) && is("do_stable_layer_norm", true.into()));
        }
        // What is said to be ours here may be unusable: then opening it says what is wrong, which nobody else can.
        Err(_) => {
            let Ok(weights) = weights(path) else { return Some(false) };
            let Ok(checkpoint) = Checkpoint::open_model(&weights, &ANCHORS) else {
                return (is_torch(&weights) && weights.is_file()).then_some(false);
            };
            let settings = settings_of(&checkpoint);
            if let Some(other) = other(checkpoint.names(), &settings) {
                return other.hears().then_some(false);
            }
            let naming = naming_of(&checkpoint);
            let named = Named::new(&checkpoint, |name| naming.canonical(name));
            named.contains(PROJECTION).then_some(())?;
            let Ok(config) = derive(&named, &settings, path) else { return Some(false) };
            config
        }
    };
    Some(config.feat_extract_norm() == FeatureNorm::Layer && config.do_stable_layer_norm())
}
