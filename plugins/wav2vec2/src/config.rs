//! The architecture of a wav2vec 2.0 encoder, and how it is regularised.

mod parse;
mod write;

pub(crate) mod limits {
    pub(crate) use super::parse::{MAX_CONVOLUTIONS, MAX_KERNEL, MAX_OUTPUTS, MAX_WIDTH};
}
pub(crate) use parse::is_wav2vec2;

use crate::options::{Padding, Wav2Vec2Options};
use lopper_core::{Error, Result};
use lopper_nn::Activation;
use serde::Serialize;
use serde_json::{Map, Value};

/// One convolution of the feature encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Convolution {
    pub(crate) outputs: i64,
    pub(crate) kernel: i64,
    pub(crate) stride: i64,
}

impl Convolution {
    /// Channels that come out.
    pub fn outputs(&self) -> i64 {
        self.outputs
    }

    /// Steps that go into one step that comes out.
    pub fn kernel(&self) -> i64 {
        self.kernel
    }

    /// Steps from one output's first input to the next one's.
    pub fn stride(&self) -> i64 {
        self.stride
    }
}

/// Which normalisation the feature encoder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeatureNorm {
    /// After the first convolution, every channel by its mean and variance over time (base, and large on LibriSpeech).
    Group,
    /// After every convolution, every step by its mean and variance over channels (XLSR, and large on Libri-light).
    Layer,
}

/// Spans to mask along one axis, as fairseq samples them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spans {
    pub(crate) probability: f64,
    pub(crate) length: i64,
    pub(crate) min: i64,
}

impl Spans {
    /// Share of an axis that spans would cover if they did not overlap; fairseq's `mask_prob`, which is the probability
    /// of a start times the length.
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// Entries a span.
    pub fn length(&self) -> i64 {
        self.length
    }

    /// Fewest spans.
    pub fn min(&self) -> i64 {
        self.min
    }
}

/// Probabilities of dropout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Dropouts {
    /// Before the encoder, after attention, and after the feed-forward network.
    pub(crate) hidden: f64,
    /// Of attention probabilities.
    pub(crate) attention: f64,
    /// Within the feed-forward network.
    pub(crate) activation: f64,
    /// Of projected features.
    pub(crate) projection: f64,
    /// Before the head.
    pub(crate) last: f64,
    /// Of a whole block.
    pub(crate) layer: f64,
}

impl Dropouts {
    /// None at all, for evaluation.
    pub(crate) const NONE: Self =
        Self { hidden: 0.0, attention: 0.0, activation: 0.0, projection: 0.0, last: 0.0, layer: 0.0 };
}

/// The architecture of a wav2vec 2.0 encoder and how it is regularised. Always valid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Wav2Vec2Config {
    pub(crate) convolutions: Vec<Convolution>,
    pub(crate) conv_bias: bool,
    pub(crate) feat_extract_norm: FeatureNorm,
    pub(crate) feat_extract_activation: Activation,
    pub(crate) hidden_size: i64,
    pub(crate) num_hidden_layers: usize,
    pub(crate) num_attention_heads: i64,
    pub(crate) intermediate_size: i64,
    pub(crate) hidden_act: Activation,
    pub(crate) do_stable_layer_norm: bool,
    pub(crate) num_conv_pos_embeddings: i64,
    pub(crate) num_conv_pos_embedding_groups: i64,
    pub(crate) layer_norm_eps: f64,
    pub(crate) initializer_range: f64,
    pub(crate) dropouts: Dropouts,
    pub(crate) mask_time: Spans,
    pub(crate) mask_feature: Spans,
    #[serde(skip)]
    pub(crate) vocab_size: Option<i64>,
    #[serde(skip)]
    pub(crate) pad_token_id: i64,
    /// The object as read, so that a saved copy keeps the keys that only other programs know.
    #[serde(skip)]
    pub(crate) source: Map<String, Value>,
}

impl Wav2Vec2Config {
    /// The convolutions of the feature encoder, first to last; at least one.
    pub fn convolutions(&self) -> &[Convolution] {
        &self.convolutions
    }

    /// Whether those convolutions have biases.
    pub fn conv_bias(&self) -> bool {
        self.conv_bias
    }

    /// The normalisation of the feature encoder.
    pub fn feat_extract_norm(&self) -> FeatureNorm {
        self.feat_extract_norm
    }

    /// Width of the transformer.
    pub fn hidden_size(&self) -> i64 {
        self.hidden_size
    }

    /// Blocks.
    pub fn num_hidden_layers(&self) -> usize {
        self.num_hidden_layers
    }

    /// Heads of self-attention; divides the width.
    pub fn num_attention_heads(&self) -> i64 {
        self.num_attention_heads
    }

    /// Width between the two layers of the feed-forward network.
    pub fn intermediate_size(&self) -> i64 {
        self.intermediate_size
    }

    /// Whether blocks normalise before attention and before the feed-forward network, and not after them.
    pub fn do_stable_layer_norm(&self) -> bool {
        self.do_stable_layer_norm
    }

    /// Steps that the positional convolution sees.
    pub fn num_conv_pos_embeddings(&self) -> i64 {
        self.num_conv_pos_embeddings
    }

    /// Groups of the positional convolution; divides the width.
    pub fn num_conv_pos_embedding_groups(&self) -> i64 {
        self.num_conv_pos_embedding_groups
    }

    /// Added to the variance in layer normalisation, outside the feature encoder.
    pub fn layer_norm_eps(&self) -> f64 {
        self.layer_norm_eps
    }

    /// Standard deviation of fresh weights.
    pub fn initializer_range(&self) -> f64 {
        self.initializer_range
    }

    /// How steps are masked in training.
    pub fn mask_time(&self) -> Spans {
        self.mask_time
    }

    /// How channels are masked in training.
    pub fn mask_feature(&self) -> Spans {
        self.mask_feature
    }

    /// Probability of leaving a block out in training.
    pub fn layerdrop(&self) -> f64 {
        self.dropouts.layer
    }

    /// Outputs of the head that the checkpoint has, as far as its configuration says.
    pub fn vocab_size(&self) -> Option<i64> {
        self.vocab_size
    }

    /// The blank of the head that the checkpoint has.
    pub fn pad_token_id(&self) -> i64 {
        self.pad_token_id
    }

    /// The class of transformers that it is of, as the `config.json` that was read says.
    pub(crate) fn class(&self) -> Option<&str> {
        self.source.get("architectures")?.as_array()?.iter().find_map(Value::as_str)
    }

    /// Whether the `config.json` that was read gives that blank, which is otherwise transformers' default.
    pub(crate) fn names_padding(&self) -> bool {
        self.source.get("pad_token_id").is_some_and(|id| !id.is_null())
    }

    /// Steps that come out of the feature encoder for `samples` samples; 0 when they are too few.
    pub fn steps(&self, samples: i64) -> i64 {
        self.convolutions
            .iter()
            .fold(samples, |length, c| if length < c.kernel { 0 } else { (length - c.kernel) / c.stride + 1 })
    }

    /// The fewest samples that give one step: the receptive field of the feature encoder, 400 for every published model.
    pub fn receptive_field(&self) -> i64 {
        let before = |field: i64, c: &Convolution| (field - 1).saturating_mul(c.stride).saturating_add(c.kernel);
        self.convolutions.iter().rev().fold(1, before)
    }

    /// Whether a batch of this padding mode must keep padding out of the feature encoder by hand.
    pub(crate) fn padding_matters(&self, padding: Padding) -> bool {
        // Without padding of its own, a convolution makes valid steps of valid steps alone; so do layer norms.
        padding == Padding::Exact && self.feat_extract_norm == FeatureNorm::Group
    }

    /// The same with dropout and masking replaced where an option is given.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for each that cannot be used.
    pub(crate) fn with(mut self, options: &Wav2Vec2Options) -> Result<Self> {
        let mut problems = Vec::new();
        let mut refuse = |key: &str, value: String, expected: &str| {
            problems.push(Error::invalid(format!("[model] {key}"), value, expected));
        };
        let dropouts = &mut self.dropouts;
        for (key, given, place) in [
            ("hidden_dropout", options.hidden_dropout, &mut dropouts.hidden),
            ("attention_dropout", options.attention_dropout, &mut dropouts.attention),
            ("activation_dropout", options.activation_dropout, &mut dropouts.activation),
            ("feat_proj_dropout", options.feat_proj_dropout, &mut dropouts.projection),
            ("final_dropout", options.final_dropout, &mut dropouts.last),
            ("layerdrop", options.layerdrop, &mut dropouts.layer),
        ] {
            match given {
                None => {}
                Some(p) if (0.0..1.0).contains(&p) => *place = p,
                Some(p) => refuse(key, p.to_string(), "a probability from 0 up to, not including, 1"),
            }
        }
        for (axis, probability, length, spans) in [
            ("time", options.mask_time_prob, options.mask_time_length, &mut self.mask_time),
            ("feature", options.mask_feature_prob, options.mask_feature_length, &mut self.mask_feature),
        ] {
            match probability {
                None => {}
                Some(p) if (0.0..=1.0).contains(&p) => spans.probability = p,
                Some(p) => refuse(&format!("mask_{axis}_prob"), p.to_string(), "a share from 0 to 1"),
            }
            match length {
                None => {}
                Some(length) if (1..=parse::MAX_SPAN).contains(&i64::from(length)) => spans.length = length.into(),
                Some(length) => refuse(
                    &format!("mask_{axis}_length"),
                    length.to_string(),
                    &format!("an integer from 1 to {}", parse::MAX_SPAN),
                ),
            }
        }
        Error::all(problems)?;
        Ok(self)
    }
}
