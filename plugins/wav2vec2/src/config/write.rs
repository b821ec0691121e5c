//! `config.json` in Hugging Face's form.

use super::{Convolution, FeatureNorm, Wav2Vec2Config};
use lopper_core::Head;
use serde_json::{Map, Value, json};

impl Wav2Vec2Config {
    /// `config.json` for this architecture with a new `head`, in Hugging Face's form. Keys of the original stay.
    pub fn to_json(&self, head: Option<&Head>) -> Value {
        let mut out = self.source.clone();
        out.remove("architectures");
        if matches!(head, Some(Head::Ctc { .. })) {
            out.insert("ctc_loss_reduction".into(), json!("sum"));
            out.insert("ctc_zero_infinity".into(), json!(true));
        }
        finish(out, head)
    }

    /// `config.json` for the model as it was loaded, with its own `head`: what was read stays as it was, but for the type of
    /// the weights.
    pub fn to_json_as_loaded(&self, head: Option<&Head>) -> Value {
        // A configuration that was made from tensors names no class; and without its head a CTC model is an encoder.
        let headless = head.is_none() && self.class().is_some_and(|class| class.contains("CTC"));
        if self.class().is_none() || headless { self.to_json(head) } else { finish(self.source.clone(), head) }
    }

    /// Every key, for a configuration that was not read from a `config.json`.
    pub(crate) fn keys(&self) -> Map<String, Value> {
        let all = |part: fn(&Convolution) -> i64| self.convolutions.iter().map(part).collect::<Vec<_>>();
        let norm = match self.feat_extract_norm {
            FeatureNorm::Group => "group",
            FeatureNorm::Layer => "layer",
        };
        let (time, feature, dropouts) = (self.mask_time, self.mask_feature, self.dropouts);
        let value = json!({
            "conv_dim": all(|c| c.outputs),
            "conv_kernel": all(|c| c.kernel),
            "conv_stride": all(|c| c.stride),
            "num_feat_extract_layers": self.convolutions.len(),
            "conv_bias": self.conv_bias,
            "feat_extract_norm": norm,
            "feat_extract_activation": self.feat_extract_activation,
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "intermediate_size": self.intermediate_size,
            "hidden_act": self.hidden_act,
            "do_stable_layer_norm": self.do_stable_layer_norm,
            "num_conv_pos_embeddings": self.num_conv_pos_embeddings,
            "num_conv_pos_embedding_groups": self.num_conv_pos_embedding_groups,
            "layer_norm_eps": self.layer_norm_eps,
            "initializer_range": self.initializer_range,
            "hidden_dropout": dropouts.hidden,
            "attention_dropout": dropouts.attention,
            "activation_dropout": dropouts.activation,
            "feat_proj_dropout": dropouts.projection,
            "final_dropout": dropouts.last,
            "layerdrop": dropouts.layer,
            "apply_spec_augment": true,
            "mask_time_prob": time.probability,
            "mask_time_length": time.length,
            "mask_time_min_masks": time.min,
            "mask_feature_prob": feature.probability,
            "mask_feature_length": feature.length,
            "mask_feature_min_masks": feature.min,
            "vocab_size": self.vocab_size,
            "pad_token_id": self.pad_token_id,
        });
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

/// What every saved configuration says, and how many outputs its head has.
fn finish(mut out: Map<String, Value>, head: Option<&Head>) -> Value {
    let architecture = if head.is_some() { "Wav2Vec2ForCTC" } else { "Wav2Vec2Model" };
    out.entry("architectures").or_insert_with(|| json!([architecture]));
    out.insert("model_type".into(), json!("wav2vec2"));
    out.remove("torch_dtype");
    out.insert("dtype".into(), json!("float32"));
    if let Some(Head::Ctc { vocabulary, blank }) = head {
        out.insert("vocab_size".into(), json!(vocabulary.len()));
        // Hugging Face's word for the blank.
        out.insert("pad_token_id".into(), json!(blank));
    }
    Value::Object(out)
}
