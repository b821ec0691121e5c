//! From the names of Hugging Face, fairseq, fairseq2 and torchaudio to one spelling.

use crate::fairseq2::Fairseq2;

/// The vector for masked steps, as the first versions of transformers called it.
const OLD_MASK: &str = "mask_time_emb_vector";

/// How the tensors of one checkpoint are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Naming {
    fairseq2: Option<Fairseq2>,
    /// Whether the encoder stands under `wav2vec2.`, so that what stands elsewhere is a head's.
    whole: bool,
    /// Whether the vector for masked steps is there under its usual name.
    mask: bool,
}

impl Naming {
    /// Tells it by all names of a checkpoint.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Self {
        Self {
            fairseq2: Fairseq2::of(names.clone()),
            whole: names.clone().any(|name| name.starts_with("wav2vec2.")),
            mask: names.clone().any(|name| name.ends_with("masked_spec_embed")),
        }
    }

    /// Whether the encoder normalises before its parts, as far as names tell.
    pub(crate) fn norm_first(&self) -> Option<bool> {
        self.fairseq2.map(|layout| layout.norm_first)
    }

    /// This crate's name for a checkpoint's tensor; `None` for what only pre-training or another head uses.
    pub(crate) fn canonical(&self, name: &str) -> Option<String> {
        if let Some(layout) = self.fairseq2 {
            return layout.canonical(name);
        }
        if self.whole && !name.starts_with("wav2vec2.") && !name.starts_with("lm_head.") {
            return None;
        }
        if name.strip_suffix(OLD_MASK).is_some_and(|prefix| matches!(prefix, "" | "wav2vec2.")) {
            return (!self.mask).then(|| crate::shapes::MASK.to_owned());
        }
        canonical(name)
    }
}

/// This crate's name for a checkpoint's tensor, which is Hugging Face's with the `wav2vec2.` prefix and the older keys of
/// weight norm, or `None` for what only pre-training or another head uses. Names that mean nothing here stay as they are.
pub(crate) fn canonical(name: &str) -> Option<String> {
    // torchaudio's pipelines and fairseq's finetuned models wrap the encoder.
    let wrapped = ["w2v_encoder.w2v_model.", "w2v_model.", "wav2vec2.", "model."];
    let bare = wrapped.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name);
    let first = bare.split('.').next().unwrap_or_default();
    let pretraining =
        ["quantizer", "input_quantizer", "project_q", "project_hid", "project_inp", "final_proj", "target_glu"];
    let other_heads = ["projector", "classifier", "layer_weights"];
    if pretraining.contains(&first) || other_heads.contains(&first) {
        return None;
    }
    for (head, canonical) in [("w2v_encoder.proj.", "lm_head."), ("lm_head.", "lm_head."), ("aux.", "lm_head.")] {
        if let Some(part) = name.strip_prefix(head).or_else(|| bare.strip_prefix(head)) {
            return Some(format!("{canonical}{part}"));
        }
    }
    let part = encoder(bare).unwrap_or_else(|| bare.to_owned());
    let part = match part.strip_prefix("encoder.pos_conv_embed.conv.parametrizations.weight.") {
        Some("original0") => "encoder.pos_conv_embed.conv.weight_g".to_owned(),
        Some("original1") => "encoder.pos_conv_embed.conv.weight_v".to_owned(),
        _ => part,
    };
    Some(format!("wav2vec2.{part}"))
}

/// Hugging Face's name within the encoder for fairseq's and torchaudio's.
fn encoder(name: &str) -> Option<String> {
    let whole = [
        ("mask_emb", "masked_spec_embed"),
        ("post_extract_proj.", "feature_projection.projection."),
        ("layer_norm.", "feature_projection.layer_norm."),
        ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
        ("encoder.feature_projection.", "feature_projection."),
        ("encoder.transformer.", "encoder."),
    ];
    if let Some((to, rest)) = whole.iter().find_map(|(from, to)| Some((to, name.strip_prefix(from)?))) {
        return Some(format!("{to}{rest}"));
    }
    if let Some(layer) = name.strip_prefix("feature_extractor.conv_layers.") {
        let (layer, part) = layer.split_once('.')?;
        let parts = [("0.", "conv."), ("2.1.", "layer_norm."), ("2.", "layer_norm.")];
        let (to, rest) = parts.iter().find_map(|(from, to)| Some((to, part.strip_prefix(from)?)))?;
        return Some(format!("feature_extractor.conv_layers.{layer}.{to}{rest}"));
    }
    let (layer, part) = name.strip_prefix("encoder.layers.")?.split_once('.')?;
    let parts = [
        ("self_attn.", "attention."),
        ("self_attn_layer_norm.", "layer_norm."),
        ("fc1.", "feed_forward.intermediate_dense."),
        ("fc2.", "feed_forward.output_dense."),
    ];
    let (to, rest) = parts.iter().find_map(|(from, to)| Some((to, part.strip_prefix(from)?)))?;
    Some(format!("encoder.layers.{layer}.{to}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tensor_has_one_name() {
        let cases: [(&str, &[&str]); 12] = [
            (
                "wav2vec2.feature_extractor.conv_layers.3.conv.weight",
                &[
                    "w2v_encoder.w2v_model.feature_extractor.conv_layers.3.0.weight",
                    "model.feature_extractor.conv_layers.3.conv.weight",
                ],
            ),
            (
                "wav2vec2.feature_extractor.conv_layers.0.layer_norm.bias",
                &["feature_extractor.conv_layers.0.2.bias", "feature_extractor.conv_layers.0.2.1.bias"],
            ),
            (
                "wav2vec2.feature_projection.layer_norm.weight",
                &["layer_norm.weight", "encoder.feature_projection.layer_norm.weight"],
            ),
            (
                "wav2vec2.feature_projection.projection.bias",
                &["post_extract_proj.bias", "feature_projection.projection.bias"],
            ),
            (
                "wav2vec2.encoder.pos_conv_embed.conv.weight_g",
                &[
                    "encoder.pos_conv.0.weight_g",
                    "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original0",
                    "encoder.transformer.pos_conv_embed.conv.parametrizations.weight.original0",
                ],
            ),
            (
                "wav2vec2.encoder.pos_conv_embed.conv.weight_v",
                &[
                    "encoder.transformer.pos_conv_embed.conv.weight_v",
                    "encoder.pos_conv_embed.conv.parametrizations.weight.original1",
                ],
            ),
            ("wav2vec2.encoder.pos_conv_embed.conv.bias", &["w2v_encoder.w2v_model.encoder.pos_conv.0.bias"]),
            (
                "wav2vec2.encoder.layer_norm.weight",
                &["encoder.layer_norm.weight", "encoder.transformer.layer_norm.weight"],
            ),
            (
                "wav2vec2.encoder.layers.11.attention.q_proj.weight",
                &["encoder.layers.11.self_attn.q_proj.weight", "encoder.transformer.layers.11.attention.q_proj.weight"],
            ),
            (
                "wav2vec2.encoder.layers.0.layer_norm.bias",
                &["encoder.layers.0.self_attn_layer_norm.bias", "encoder.layers.0.layer_norm.bias"],
            ),
            (
                "wav2vec2.encoder.layers.0.feed_forward.output_dense.weight",
                &["encoder.layers.0.fc2.weight", "encoder.transformer.layers.0.feed_forward.output_dense.weight"],
            ),
            ("lm_head.bias", &["w2v_encoder.proj.bias", "aux.bias", "model.aux.bias"]),
        ];
        for (expected, spellings) in cases {
            for name in spellings.iter().chain(&[expected]) {
                assert_eq!(canonical(name).as_deref(), Some(expected), "{name}");
            }
        }
        assert_eq!(canonical("mask_emb").unwrap(), "wav2vec2.masked_spec_embed");
        for unused in ["quantizer.vars", "w2v_model.final_proj.weight", "project_hid.bias", "wav2vec2.project_q.weight"]
        {
            assert_eq!(canonical(unused), None, "{unused}");
        }
        assert_eq!(canonical("decoder.x").unwrap(), "wav2vec2.decoder.x");
    }

    #[test]
    fn what_stands_beside_an_encoder_is_a_heads() {
        let of = |names: &'static [&str]| Naming::of(names.iter().copied());
        let xvector = of(&["wav2vec2.masked_spec_embed", "feature_extractor.weight", "tdnn.0.kernel.weight"]);
        for name in
            ["feature_extractor.weight", "tdnn.0.kernel.weight", "objective.weight", "wav2vec2.mask_time_emb_vector"]
        {
            assert_eq!(xvector.canonical(name), None, "{name}");
        }
        assert_eq!(xvector.canonical("lm_head.bias").as_deref(), Some("lm_head.bias"));
        for name in ["wav2vec2.mask_time_emb_vector", "mask_time_emb_vector"] {
            assert_eq!(of(&["lm_head.bias"]).canonical(name).as_deref(), Some("wav2vec2.masked_spec_embed"), "{name}");
        }
        assert_eq!(
            of(&["encoder.x"]).canonical("feature_extractor.y").as_deref(),
            Some("wav2vec2.feature_extractor.y")
        );
    }
}
