//! The names of fairseq2, in which Omnilingual ASR's encoders (`omniASR_W2V_300M` and larger) and fairseq2's own wav2vec 2.0
//! are kept: those of `fairseq2.models.wav2vec2`, read from its sources at version 0.8.

/// What every checkpoint of this layout has, and no other.
const MARK: &str = "encoder_frontend.";
/// What tells that `final_proj` is no CTC head: pre-training projects onto quantised targets, and a decoder writes text.
const NO_CTC: [&str; 4] = ["quantizer.", "final_target_proj.", "llama_decoder.", "decoder."];

/// How a checkpoint of fairseq2 is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fairseq2 {
    /// Whether its `final_proj` is a CTC head.
    head: bool,
    /// Whether the encoder normalises before its parts and once behind them.
    pub(crate) norm_first: bool,
}

impl Fairseq2 {
    /// Tells the layout by the names of a checkpoint's tensors; `None` for another library's.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Option<Self> {
        let (mut there, mut head, mut norm_first) = (false, true, false);
        for name in names {
            there |= name.starts_with(MARK);
            head &= !NO_CTC.iter().any(|part| name.starts_with(part));
            norm_first |= name == "encoder.layer_norm.weight";
        }
        there.then_some(Self { head, norm_first })
    }

    /// This crate's name for a tensor, or `None` for what only pre-training or a decoder uses.
    pub(crate) fn canonical(self, name: &str) -> Option<String> {
        if let Some(part) = name.strip_prefix("final_proj.") {
            return self.head.then(|| format!("lm_head.{part}"));
        }
        if name == "masker.temporal_mask_embed" {
            return Some("wav2vec2.masked_spec_embed".into());
        }
        let whole = [
            ("encoder_frontend.post_extract_layer_norm.", "feature_projection.layer_norm."),
            ("encoder_frontend.model_dim_proj.", "feature_projection.projection."),
            ("encoder_frontend.pos_encoder.conv.", "encoder.pos_conv_embed.conv."),
            // Which of the two there is tells where the encoder normalises.
            ("encoder_frontend.layer_norm.", "encoder.layer_norm."),
            ("encoder.layer_norm.", "encoder.layer_norm."),
        ];
        if let Some((to, rest)) = whole.iter().find_map(|(from, to)| Some((to, name.strip_prefix(from)?))) {
            return Some(format!("wav2vec2.{to}{rest}"));
        }
        let numbered = |prefix: &str, parts: &[(&str, &str)]| {
            let (layer, part) = name.strip_prefix(prefix)?.split_once('.')?;
            let (to, rest) = parts.iter().find_map(|(from, to)| Some((to, part.strip_prefix(from)?)))?;
            Some((layer.to_owned(), format!("{to}{rest}")))
        };
        let convolution = [("conv.", "conv."), ("layer_norm.", "layer_norm."), ("group_norm.", "layer_norm.")];
        if let Some((layer, part)) = numbered("encoder_frontend.feature_extractor.layers.", &convolution) {
            return Some(format!("wav2vec2.feature_extractor.conv_layers.{layer}.{part}"));
        }
        let block = [
            ("self_attn.output_proj.", "attention.out_proj."),
            ("self_attn.", "attention."),
            ("self_attn_layer_norm.", "layer_norm."),
            ("ffn.inner_proj.", "feed_forward.intermediate_dense."),
            ("ffn.output_proj.", "feed_forward.output_dense."),
            ("ffn_layer_norm.", "final_layer_norm."),
        ];
        if let Some((layer, part)) = numbered("encoder.layers.", &block) {
            return Some(format!("wav2vec2.encoder.layers.{layer}.{part}"));
        }
        // What is left of the encoder would be missed, and is reported under its own name.
        let encoders = ["encoder.", MARK, "masker."];
        encoders.iter().any(|part| name.starts_with(part)).then(|| format!("wav2vec2.{name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_fairseq2_are_known() {
        let of = |names: &[&str]| Fairseq2::of(names.iter().copied());
        let frontend = "encoder_frontend.post_extract_layer_norm.weight";
        assert_eq!(of(&["encoder.layer_norm.weight", "final_proj.weight"]), None);
        let post = of(&[frontend, "encoder_frontend.layer_norm.weight", "final_proj.weight"]).unwrap();
        assert_eq!(post, Fairseq2 { head: true, norm_first: false });
        let pre = of(&[frontend, "encoder.layer_norm.weight", "quantizer.entries", "final_proj.weight"]).unwrap();
        assert_eq!(pre, Fairseq2 { head: false, norm_first: true });
        for (name, expected) in [
            ("encoder_frontend.feature_extractor.layers.3.conv.bias", "feature_extractor.conv_layers.3.conv.bias"),
            (
                "encoder_frontend.feature_extractor.layers.0.group_norm.weight",
                "feature_extractor.conv_layers.0.layer_norm.weight",
            ),
            (
                "encoder_frontend.feature_extractor.layers.6.layer_norm.bias",
                "feature_extractor.conv_layers.6.layer_norm.bias",
            ),
            (frontend, "feature_projection.layer_norm.weight"),
            ("encoder_frontend.model_dim_proj.weight", "feature_projection.projection.weight"),
            ("encoder_frontend.pos_encoder.conv.weight_g", "encoder.pos_conv_embed.conv.weight_g"),
            ("encoder_frontend.layer_norm.bias", "encoder.layer_norm.bias"),
            ("encoder.layers.23.self_attn.q_proj.weight", "encoder.layers.23.attention.q_proj.weight"),
            ("encoder.layers.0.self_attn.output_proj.bias", "encoder.layers.0.attention.out_proj.bias"),
            ("encoder.layers.0.self_attn_layer_norm.bias", "encoder.layers.0.layer_norm.bias"),
            ("encoder.layers.0.ffn.inner_proj.weight", "encoder.layers.0.feed_forward.intermediate_dense.weight"),
            ("encoder.layers.0.ffn.output_proj.weight", "encoder.layers.0.feed_forward.output_dense.weight"),
            ("encoder.layers.0.ffn_layer_norm.weight", "encoder.layers.0.final_layer_norm.weight"),
            ("masker.temporal_mask_embed", "masked_spec_embed"),
            ("encoder.layers.0.conv.depthwise_conv.weight", "encoder.layers.0.conv.depthwise_conv.weight"),
        ] {
            assert_eq!(pre.canonical(name).as_deref(), Some(format!("wav2vec2.{expected}").as_str()), "{name}");
        }
        assert_eq!(post.canonical("final_proj.weight").as_deref(), Some("lm_head.weight"));
        for unused in ["final_proj.weight", "final_target_proj.bias", "quantizer.entries", "llama_decoder.layers.0.x"] {
            assert_eq!(pre.canonical(unused), None, "{unused}");
        }
    }
}
