//! The architecture of a checkpoint that has no `config.json`: what its tensors are and, in fairseq's, what the
//! configuration inside says. Nothing is concluded from a width, since base, large and XLSR-53 differ in what no width shows.

use crate::config::limits::{MAX_CONVOLUTIONS, MAX_KERNEL, MAX_OUTPUTS, MAX_WIDTH};
use crate::config::{Convolution, Dropouts, FeatureNorm, Spans, Wav2Vec2Config};
use crate::fairseq::{Settings, triples};
use lopper_core::{Error, Result};
use lopper_nn::{Activation, Named, Source};
use serde_json::Map;
use std::path::Path;

/// Kernels of every published model, and their strides.
const USUAL: ([i64; 7], [i64; 7]) = ([10, 3, 3, 3, 3, 2, 2], [5, 2, 2, 2, 2, 2, 2]);
/// Widths of the published models, and their heads of attention: base, large and XLSR-53, XLS-R with 1 and 2 billion weights.
/// The number of heads shows in no tensor, and a wrong one gives wrong logits without a word.
const HEADS: [(i64, i64); 4] = [(768, 12), (1024, 16), (1280, 16), (1920, 16)];

/// The tensor without which a checkpoint is no wav2vec 2.0; its rows are the model's width.
pub(crate) const PROJECTION: &str = "wav2vec2.feature_projection.projection.weight";

/// The configuration that `named` tensors and `settings` give; `path` names the checkpoint in errors.
///
/// # Errors
/// [`Error::File`] for everything that cannot be told from them.
pub(crate) fn derive<S: Source>(named: &Named<'_, S>, settings: &Settings, path: &Path) -> Result<Wav2Vec2Config> {
    let mut d = Derivation { named, settings, path, problems: Vec::new() };
    let config = d.config();
    Error::all(d.problems)?;
    let mut config = config;
    config.source = config.keys();
    Ok(config)
}

struct Derivation<'a, S> {
    named: &'a Named<'a, S>,
    settings: &'a Settings,
    path: &'a Path,
    problems: Vec<Error>,
}

impl<S: Source> Derivation<'_, S> {
    fn config(&mut self) -> Wav2Vec2Config {
        let layered = self.named.contains("wav2vec2.feature_extractor.conv_layers.1.layer_norm.weight");
        let feat_extract_norm = if layered { FeatureNorm::Layer } else { FeatureNorm::Group };
        let [hidden_size, _] = self.shape(PROJECTION, MAX_WIDTH);
        let [intermediate_size, _] =
            self.shape("wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.weight", 1 << 20);
        let [_, group, kernel] = self.shape("wav2vec2.encoder.pos_conv_embed.conv.weight_v", MAX_WIDTH);
        let vocab_size = self.named.contains("lm_head.weight").then(|| self.shape("lm_head.weight", MAX_OUTPUTS));
        let settings = self.settings;
        let number =
            |key: &str, default: f64| settings.number(key).filter(|p| (0.0..1.0).contains(p)).unwrap_or(default);
        // Every published model with layer norms in its feature encoder is one that normalises first.
        let stable = settings.flag("layer_norm_first").unwrap_or(layered);
        Wav2Vec2Config {
            convolutions: self.convolutions(),
            conv_bias: self.named.contains("wav2vec2.feature_extractor.conv_layers.0.conv.bias"),
            feat_extract_norm,
            feat_extract_activation: Activation::Gelu,
            hidden_size,
            num_hidden_layers: self.count("wav2vec2.encoder.layers.", ".attention.q_proj.weight"),
            num_attention_heads: self.heads(hidden_size),
            intermediate_size,
            hidden_act: self.activation(),
            do_stable_layer_norm: stable,
            num_conv_pos_embeddings: kernel,
            num_conv_pos_embedding_groups: if hidden_size % group == 0 { hidden_size / group } else { 1 },
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            dropouts: Dropouts {
                hidden: number("dropout", 0.1),
                attention: number("attention_dropout", 0.1),
                activation: number("activation_dropout", 0.1),
                projection: number("dropout_input", 0.0),
                last: number("final_dropout", 0.1),
                layer: number(if settings.finetuned() { "layerdrop" } else { "encoder_layerdrop" }, 0.1),
            },
            mask_time: self.spans("mask", 0.05, 2),
            mask_feature: self.spans("mask_channel", 0.0, 0),
            vocab_size: vocab_size.map(|[outputs, _]| outputs),
            pad_token_id: 0,
            source: Map::new(),
        }
    }

    fn refuse(&mut self, reason: impl std::fmt::Display) {
        self.problems.push(Error::file(self.path, format!("{reason}; a config.json beside the weights would say it")));
    }

    /// The dimensions of a tensor, each from 1 to `max`. Ones where it is not there: what is missing is reported with
    /// all other names and shapes when the weights are loaded, unless nothing at all is known.
    fn shape<const N: usize>(&mut self, name: &str, max: i64) -> [i64; N] {
        let Some(found) = self.named.shape(name) else {
            self.problems.push(Error::file(self.path, format!("holds no `{name}`, so it is no wav2vec 2.0 model")));
            return [1; N];
        };
        let dimensions: Option<Vec<i64>> =
            found.iter().map(|d| i64::try_from(*d).ok().filter(|d| (1..=max).contains(d))).collect();
        dimensions.and_then(|d| d.try_into().ok()).unwrap_or_else(|| {
            let expected = format!("{N} dimensions from 1 to {max}");
            self.problems.push(Error::file(self.path, format!("`{name}` has shape {found:?}, not {expected}")));
            [1; N]
        })
    }

    /// How many of `{prefix}0{suffix}`, `{prefix}1{suffix}`, … there are.
    fn count(&self, prefix: &str, suffix: &str) -> usize {
        (0..1 << 10).take_while(|i| self.named.contains(&format!("{prefix}{i}{suffix}"))).count()
    }

    fn convolutions(&mut self) -> Vec<Convolution> {
        let prefix = "wav2vec2.feature_extractor.conv_layers.";
        let count = self.count(prefix, ".conv.weight").clamp(1, MAX_CONVOLUTIONS);
        let shapes: Vec<[i64; 3]> =
            (0..count).map(|i| self.shape(&format!("{prefix}{i}.conv.weight"), MAX_WIDTH)).collect();
        let kernels: Vec<i64> = shapes.iter().map(|[_, _, kernel]| *kernel).collect();
        let text = self.settings.text("conv_feature_layers");
        let strides: Vec<i64> = match text.map(|text| (text, triples(text))) {
            Some((_, Some(triples)))
                if triples.len() == count && triples.iter().zip(&shapes).all(|(t, s)| t[0] == s[0] && t[1] == s[2]) =>
            {
                triples.iter().map(|[_, _, stride]| *stride).collect()
            }
            Some((text, _)) => {
                let text: String = text.chars().take(200).collect();
                self.refuse(format!("its conv_feature_layers `{text}` do not fit its convolutions of {shapes:?}"));
                vec![1; count]
            }
            None if kernels == USUAL.0 => USUAL.1.to_vec(),
            None => {
                self.refuse(format!(
                    "nothing tells the strides of its convolutions, whose kernels {kernels:?} are not the usual {:?}",
                    USUAL.0
                ));
                vec![1; count]
            }
        };
        let wrong = |value: i64| !(1..=MAX_KERNEL).contains(&value);
        if kernels.iter().chain(&strides).any(|value| wrong(*value)) {
            self.refuse(format!("kernels {kernels:?} and strides {strides:?} are not all from 1 to {MAX_KERNEL}"));
        }
        let parts = shapes.iter().zip(strides);
        parts.map(|([outputs, _, kernel], stride)| Convolution { outputs: *outputs, kernel: *kernel, stride }).collect()
    }

    fn heads(&mut self, hidden_size: i64) -> i64 {
        let published = HEADS.iter().find(|(width, _)| *width == hidden_size).map(|(_, heads)| *heads);
        self.refuse(match (self.settings.integer("encoder_attention_heads"), published) {
            (Some(heads), _) if heads >= 1 && hidden_size % heads == 0 => return heads,
            (None, Some(heads)) => return heads,
            (Some(heads), _) => {
                format!("its {heads} encoder_attention_heads do not divide its width of {hidden_size}")
            }
            (None, None) => {
                let width = format!("its width of {hidden_size} is that of no published model");
                format!("nothing tells its number of attention heads, and {width}")
            }
        });
        1
    }

    fn activation(&mut self) -> Activation {
        match self.settings.text("activation_fn") {
            None | Some("gelu") => Activation::Gelu,
            Some("gelu_fast" | "gelu_accurate") => Activation::GeluNew,
            Some("relu") => Activation::Relu,
            Some(other) => {
                let reason = format!("its activation_fn `{other}` is not supported; gelu, gelu_accurate and relu are");
                self.problems.push(Error::file(self.path, reason));
                Activation::Gelu
            }
        }
    }

    /// The masks of finetuning. Those of pre-training, which cover more, are not meant for it.
    fn spans(&self, key: &str, probability: f64, min: i64) -> Spans {
        let default = Spans { probability, length: 10, min };
        if !self.settings.finetuned() {
            return default;
        }
        let share = self.settings.number(&format!("{key}_prob")).filter(|p| (0.0..=1.0).contains(p));
        let length =
            self.settings.number(&format!("{key}_length")).map(|n| n as i64).filter(|n| (1..=1 << 16).contains(n));
        let applied = self.settings.own_flag("apply_mask").unwrap_or(true);
        Spans {
            probability: if applied { share.unwrap_or(probability) } else { 0.0 },
            length: length.unwrap_or(10),
            min,
        }
    }
}
