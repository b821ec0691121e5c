//! Which parameters weight decay leaves alone, where a recipe spares biases and norms.

use lopper_core::ParameterName;

/// Whether a parameter is a bias or belongs to a norm, by its name, as transformers tells them since version 4.50
/// (`Trainer.get_decay_parameter_names`): names that hold `bias`, `layernorm` or `rmsnorm`, and names with a part that is
/// `norm` or ends with `_norm`, in whatever case. transformers also spares whatever is an `nn.LayerNorm` by its type; in
/// BERT and wav2vec 2.0 the names alone tell the same parameters, and the group norm of wav2vec 2.0 besides.
pub(crate) fn is_bias_or_norm(name: &ParameterName) -> bool {
    let name = name.as_str().to_lowercase();
    let within = ["bias", "layernorm", "rmsnorm"].iter().any(|part| name.contains(part));
    within || name.split('.').any(|part| part == "norm" || part.ends_with("_norm"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn biases_and_norms_are_known_by_name() {
        let spared = |name: &str| is_bias_or_norm(&ParameterName::new(name));
        for name in [
            "bert.embeddings.LayerNorm.weight",
            "bert.embeddings.LayerNorm.bias",
            "bert.encoder.layer.0.attention.output.LayerNorm.weight",
            "bert.encoder.layer.0.attention.self.query.bias",
            "classifier.bias",
            // A group norm.
            "wav2vec2.feature_extractor.conv_layers.0.layer_norm.weight",
            "wav2vec2.feature_projection.layer_norm.weight",
            "wav2vec2.encoder.layers.0.final_layer_norm.weight",
            "wav2vec2.encoder.pos_conv_embed.conv.bias",
            "model.norm.weight",
            "lm_head.bias",
        ] {
            assert!(spared(name), "{name}");
        }
        for name in [
            "bert.embeddings.word_embeddings.weight",
            "bert.pooler.dense.weight",
            "classifier.weight",
            "wav2vec2.masked_spec_embed",
            "wav2vec2.encoder.pos_conv_embed.conv.weight_g",
            "wav2vec2.encoder.pos_conv_embed.conv.weight_v",
            "wav2vec2.feature_extractor.conv_layers.0.conv.weight",
            "model.normalizer.weight",
        ] {
            assert!(!spared(name), "{name}");
        }
    }
}
