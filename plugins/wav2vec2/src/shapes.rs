//! Names and shapes of all tensors of a wav2vec 2.0 model, from its configuration alone.

use crate::config::{FeatureNorm, Wav2Vec2Config};
use lopper_core::{Layout, ParameterName, Result};

/// The linear layers of a block, all of them prunable, in Hugging Face's order, which breaks ties.
const BLOCK_LINEAR: [&str; 6] = [
    "attention.k_proj",
    "attention.v_proj",
    "attention.q_proj",
    "attention.out_proj",
    "feed_forward.intermediate_dense",
    "feed_forward.output_dense",
];

/// What stands in the place of a masked step.
pub(crate) const MASK: &str = "wav2vec2.masked_spec_embed";
const FEATURES: &str = "wav2vec2.feature_extractor.";

/// Every tensor with its shape, in Hugging Face's order and spelling, with the older keys of weight norm, which every
/// version of transformers reads; with the CTC head when it has `outputs`.
pub fn parameter_shapes(config: &Wav2Vec2Config, outputs: Option<usize>) -> Vec<(ParameterName, Vec<u64>)> {
    let [width, inner, groups, kernel] = [
        config.hidden_size(),
        config.intermediate_size(),
        config.num_conv_pos_embedding_groups(),
        config.num_conv_pos_embeddings(),
    ]
    .map(|n| n as u64);
    let mut all: Vec<(ParameterName, Vec<u64>)> = Vec::new();
    let mut push = |name: String, shape: Vec<u64>| all.push((ParameterName::new(name), shape));
    push(MASK.to_owned(), vec![width]);
    // A layer of weight and bias: [out, in] for a linear one, [width] for a normalisation.
    let layer = |push: &mut dyn FnMut(String, Vec<u64>), name: String, weight: Vec<u64>| {
        let bias = vec![weight[0]];
        push(format!("{name}.weight"), weight);
        push(format!("{name}.bias"), bias);
    };
    let mut channels = 1;
    for (i, convolution) in config.convolutions().iter().enumerate() {
        let name = format!("{FEATURES}conv_layers.{i}");
        let outputs = convolution.outputs() as u64;
        push(format!("{name}.conv.weight"), vec![outputs, channels, convolution.kernel() as u64]);
        if config.conv_bias() {
            push(format!("{name}.conv.bias"), vec![outputs]);
        }
        if i == 0 || config.feat_extract_norm() == FeatureNorm::Layer {
            layer(&mut push, format!("{name}.layer_norm"), vec![outputs]);
        }
        channels = outputs;
    }
    layer(&mut push, "wav2vec2.feature_projection.layer_norm".into(), vec![channels]);
    layer(&mut push, "wav2vec2.feature_projection.projection".into(), vec![width, channels]);
    let position = "wav2vec2.encoder.pos_conv_embed.conv";
    push(format!("{position}.bias"), vec![width]);
    push(format!("{position}.weight_g"), vec![1, 1, kernel]);
    push(format!("{position}.weight_v"), vec![width, width / groups, kernel]);
    layer(&mut push, "wav2vec2.encoder.layer_norm".into(), vec![width]);
    for i in 0..config.num_hidden_layers() {
        let block = format!("wav2vec2.encoder.layers.{i}");
        for part in BLOCK_LINEAR {
            let shape = match part {
                "feed_forward.intermediate_dense" => vec![inner, width],
                "feed_forward.output_dense" => vec![width, inner],
                _ => vec![width, width],
            };
            layer(&mut push, format!("{block}.{part}"), shape);
            if part == "attention.out_proj" {
                layer(&mut push, format!("{block}.layer_norm"), vec![width]);
            }
        }
        layer(&mut push, format!("{block}.final_layer_norm"), vec![width]);
    }
    if let Some(outputs) = outputs {
        layer(&mut push, "lm_head".into(), vec![outputs as u64, width]);
    }
    all
}

/// The prunable tensors: query, key, value and output projections and the two feed-forward matrices of every block, as
/// PARP's code prunes them (Lai et al. 2021), with their biases or without. The base size has 84,934,656 such weights
/// and 82,944 biases, the large one and XLSR-53 301,989,888 and 221,184.
///
/// # Errors
/// Never for a valid configuration.
pub fn prunable_layout(config: &Wav2Vec2Config, biases: bool) -> Result<Layout> {
    let ranked = |name: &str| is_prunable(name, biases);
    Ok(Layout::new(parameter_shapes(config, None).into_iter().filter(|(name, _)| ranked(name.as_str())))?)
}

pub(crate) fn is_prunable(name: &str, biases: bool) -> bool {
    let layer = name.strip_suffix(".weight").or_else(|| name.strip_suffix(".bias").filter(|_| biases));
    layer.is_some_and(|layer| {
        layer.starts_with("wav2vec2.encoder.layers.") && BLOCK_LINEAR.iter().any(|part| layer.ends_with(part))
    })
}

/// Whether it belongs to the convolutions that turn samples into features.
pub(crate) fn is_feature_encoder(name: &str) -> bool {
    name.starts_with(FEATURES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn config(more: &str) -> Wav2Vec2Config {
        let json = format!(r#"{{"model_type": "wav2vec2"{more}}}"#);
        Wav2Vec2Config::parse(json.as_bytes(), Path::new("config.json")).unwrap()
    }

    const LARGE: &str =
        r#", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096"#;
    const XLSR: &str = r#", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
        "feat_extract_norm": "layer", "conv_bias": true, "do_stable_layer_norm": true"#;

    #[test]
    fn counts_prunable_entries() {
        let sizes = [("", 12, 84_934_656, 82_944), (LARGE, 24, 301_989_888, 221_184), (XLSR, 24, 301_989_888, 221_184)];
        for (more, blocks, weights, biases) in sizes {
            let config = config(more);
            let (with, without) = (prunable_layout(&config, true).unwrap(), prunable_layout(&config, false).unwrap());
            assert_eq!((with.tensors().len(), with.entries()), (12 * blocks, weights + biases));
            assert_eq!((without.tensors().len(), without.entries()), (6 * blocks, weights));
        }
        let names: Vec<_> =
            prunable_layout(&config(""), true).unwrap().tensors().iter().map(|t| t.name().to_string()).collect();
        assert_eq!(names[0], "wav2vec2.encoder.layers.0.attention.k_proj.weight");
        assert_eq!(names[9], "wav2vec2.encoder.layers.0.feed_forward.intermediate_dense.bias");
        assert_eq!(names[12], "wav2vec2.encoder.layers.1.attention.k_proj.weight");
    }

    #[test]
    fn counts_all_parameters() {
        let count = |more: &str, outputs| {
            let shapes = parameter_shapes(&config(more), outputs);
            shapes.iter().map(|(_, shape)| shape.iter().product::<u64>()).sum::<u64>()
        };
        // What transformers 4.57.1 counts in Wav2Vec2Model of these configurations.
        assert_eq!(count("", None), 94_371_712);
        assert_eq!(count("", Some(32)), 94_371_712 + 32 * 768 + 32);
        assert_eq!(count(LARGE, None), 315_428_992);
        assert_eq!(count(XLSR, None), 315_438_720);
    }
}
