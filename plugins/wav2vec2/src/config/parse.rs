//! Hugging Face's `config.json` of a wav2vec 2.0 checkpoint.

use super::{Convolution, Dropouts, FeatureNorm, Spans, Wav2Vec2Config};
use lopper_core::{Error, Result};
use lopper_nn::{Activation, MAX_BYTES, Reader};
use lopper_weights::{check_config, read_regular};
use serde_json::{Map, Value};
use std::path::Path;

/// Most entries a masked span may have.
pub(crate) const MAX_SPAN: i64 = 1 << 16;
/// Widest layer.
pub(crate) const MAX_WIDTH: i64 = 1 << 16;
/// Longest kernel, and longest stride, of the feature encoder.
pub(crate) const MAX_KERNEL: i64 = 1 << 10;
/// Most convolutions of the feature encoder.
pub(crate) const MAX_CONVOLUTIONS: usize = 32;
/// Most outputs of a head.
pub(crate) const MAX_OUTPUTS: i64 = 10_000;

impl Wav2Vec2Config {
    /// Reads the text of a `config.json`. Keys it does not know are kept and ignored; absent ones have the defaults of
    /// Hugging Face's `Wav2Vec2Config`, which are those of the base size. `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::File`] when it is no JSON object, [`Error::Unsupported`] for another model type, and every value that
    /// cannot be used, together.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let source = Reader::object(text, path)?;
        check_config(&source, path)?;
        if !is_wav2vec2(&source) {
            let found = source.get("model_type").or_else(|| source.get("architectures"));
            return Err(Error::Unsupported {
                what: "the model plugin `wav2vec2`".into(),
                feature: format!(
                    "{}: its model_type is {}, `wav2vec2` would be accepted",
                    path.display(),
                    found.map_or("absent".into(), Value::to_string)
                ),
            });
        }
        let mut r = Reader::new(&source, path);
        let mut config = read(&mut r);
        r.finish()?;
        config.source = source;
        Ok(config)
    }

    /// Reads `config.json` in `directory`.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse), and [`Error::File`] when it cannot be read.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("config.json");
        let text = read_regular(&path, MAX_BYTES as u64).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(&path, "does not exist; a checkpoint directory holds one"),
            _ => Error::file_caused(&path, "cannot be read", e),
        })?;
        Self::parse(&text, &path)
    }
}

/// Whether a `config.json` is wav2vec 2.0's: by `model_type`, or by `architectures` when it has none.
pub(crate) fn is_wav2vec2(source: &Map<String, Value>) -> bool {
    match source.get("model_type") {
        Some(kind) => kind == "wav2vec2",
        None => source.get("architectures").and_then(Value::as_array).is_some_and(|names| {
            names.iter().filter_map(Value::as_str).any(|n| n == "Wav2Vec2Model" || n.starts_with("Wav2Vec2For"))
        }),
    }
}

fn read(r: &mut Reader<'_>) -> Wav2Vec2Config {
    let activation = |v: &Value| Activation::from_name(v.as_str()?);
    let spec_augment = flag(r, "apply_spec_augment", true);
    let config = Wav2Vec2Config {
        convolutions: convolutions(r),
        conv_bias: flag(r, "conv_bias", false),
        feat_extract_norm: r.field("feat_extract_norm", FeatureNorm::Group, "`group` or `layer`", |v| {
            match v.as_str()? {
                "group" => Some(FeatureNorm::Group),
                "layer" => Some(FeatureNorm::Layer),
                _ => None,
            }
        }),
        feat_extract_activation: r.field("feat_extract_activation", Activation::Gelu, Activation::NAMES, activation),
        // The upper bounds lie far above any published encoder and keep every product of sizes within i64.
        hidden_size: r.size("hidden_size", 768, MAX_WIDTH),
        num_hidden_layers: r.size("num_hidden_layers", 12, 1 << 10) as usize,
        num_attention_heads: r.size("num_attention_heads", 12, MAX_WIDTH),
        intermediate_size: r.size("intermediate_size", 3072, 1 << 20),
        hidden_act: r.field("hidden_act", Activation::Gelu, Activation::NAMES, activation),
        do_stable_layer_norm: flag(r, "do_stable_layer_norm", false),
        num_conv_pos_embeddings: r.size("num_conv_pos_embeddings", 128, 1 << 12),
        num_conv_pos_embedding_groups: r.size("num_conv_pos_embedding_groups", 16, MAX_WIDTH),
        layer_norm_eps: r.field("layer_norm_eps", 1e-5, "a number above 0, up to 1", |v| {
            v.as_f64().filter(|x| *x > 0.0 && *x <= 1.0)
        }),
        initializer_range: r.field("initializer_range", 0.02, "a number from 0 to 10", |v| {
            v.as_f64().filter(|x| (0.0..=10.0).contains(x))
        }),
        dropouts: Dropouts {
            hidden: r.probability("hidden_dropout", 0.1),
            attention: r.probability("attention_dropout", 0.1),
            activation: r.probability("activation_dropout", 0.1),
            projection: r.probability("feat_proj_dropout", 0.0),
            last: r.probability("final_dropout", 0.1),
            layer: r.probability("layerdrop", 0.1),
        },
        mask_time: spans(r, "time", 0.05, 2, spec_augment),
        mask_feature: spans(r, "feature", 0.0, 0, spec_augment),
        vocab_size: r.field("vocab_size", Some(32), &format!("null, or an integer from 1 to {MAX_OUTPUTS}"), |v| {
            if v.is_null() { Some(None) } else { v.as_i64().filter(|n| (1..=MAX_OUTPUTS).contains(n)).map(Some) }
        }),
        pad_token_id: r.field("pad_token_id", 0, "null, or an integer from 0 up", |v| {
            if v.is_null() { Some(0) } else { v.as_i64().filter(|id| *id >= 0) }
        }),
        source: Map::new(),
    };
    let divisors = [
        ("num_attention_heads", config.num_attention_heads),
        ("num_conv_pos_embedding_groups", config.num_conv_pos_embedding_groups),
    ];
    for (key, value) in divisors.into_iter().filter(|(_, value)| config.hidden_size % value != 0) {
        r.refuse(key, value, &format!("a divisor of hidden_size, which is {}", config.hidden_size));
    }
    r.field("add_adapter", (), "false: adapters behind the encoder are not supported", |v| {
        (v.is_null() || v == false).then_some(())
    });
    r.field("adapter_attn_dim", (), "null: adapters within the blocks are not supported", |v| {
        v.is_null().then_some(())
    });
    config
}

fn flag(r: &mut Reader<'_>, key: &str, default: bool) -> bool {
    r.field(key, default, "true or false", Value::as_bool)
}

fn spans(r: &mut Reader<'_>, axis: &str, probability: f64, min: i64, active: bool) -> Spans {
    let probability = r.field(&format!("mask_{axis}_prob"), probability, "a share from 0 to 1", |v| {
        v.as_f64().filter(|p| (0.0..=1.0).contains(p))
    });
    let length = r.size(&format!("mask_{axis}_length"), 10, MAX_SPAN);
    let min = r.field(&format!("mask_{axis}_min_masks"), min, "an integer from 0 to 1000", |v| {
        v.as_i64().filter(|n| (0..=1000).contains(n))
    });
    Spans { probability: if active { probability } else { 0.0 }, length, min }
}

fn convolutions(r: &mut Reader<'_>) -> Vec<Convolution> {
    let expected = |max| format!("a list of 1 to {MAX_CONVOLUTIONS} integers from 1 to {max}");
    let mut list = |key: &str, default: &[i64], max: i64| {
        r.field(key, default.to_vec(), &expected(max), |v| {
            let list = v.as_array().filter(|list| (1..=MAX_CONVOLUTIONS).contains(&list.len()))?;
            list.iter().map(|n| n.as_i64().filter(|n| (1..=max).contains(n))).collect()
        })
    };
    let outputs = list("conv_dim", &[512; 7], MAX_WIDTH);
    let kernels = list("conv_kernel", &[10, 3, 3, 3, 3, 2, 2], MAX_KERNEL);
    let strides = list("conv_stride", &[5, 2, 2, 2, 2, 2, 2], MAX_KERNEL);
    for (key, list) in [("conv_kernel", &kernels), ("conv_stride", &strides)] {
        if list.len() != outputs.len() {
            let expected = format!("{} integers, one for each of conv_dim", outputs.len());
            r.refuse(key, format!("{list:?}"), &expected);
        }
    }
    let parts = outputs.into_iter().zip(kernels).zip(strides);
    parts.map(|((outputs, kernel), stride)| Convolution { outputs, kernel, stride }).collect()
}
