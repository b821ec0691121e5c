//! Names and shapes of all tensors of a BERT, from its configuration alone.

use crate::config::BertConfig;
use lopper_core::{Layout, ParameterName, Result};

/// The linear layers of a block whose weights are prunable, in the order that breaks ties.
const BLOCK_LINEAR: [&str; 6] = [
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
];

/// Every tensor with its shape, in Hugging Face's order and spelling with the `bert.` prefix; with the classifier when
/// the head has `outputs`.
pub fn parameter_shapes(config: &BertConfig, outputs: Option<usize>) -> Vec<(ParameterName, Vec<u64>)> {
    let [width, inner] = [config.hidden_size(), config.intermediate_size()].map(|n| n as u64);
    let mut all: Vec<(ParameterName, Vec<u64>)> = Vec::new();
    let mut push = |name: String, shape: Vec<u64>| all.push((ParameterName::new(name), shape));
    for (table, rows) in [
        ("word_embeddings", config.vocab_size()),
        ("position_embeddings", config.max_position_embeddings()),
        ("token_type_embeddings", config.type_vocab_size()),
    ] {
        push(format!("bert.embeddings.{table}.weight"), vec![rows as u64, width]);
    }
    // A layer of weight and bias: [out, in] for a linear one, [width] for a normalisation.
    let mut layer = |name: String, weight: Vec<u64>| {
        let bias = vec![weight[0]];
        push(format!("{name}.weight"), weight);
        push(format!("{name}.bias"), bias);
    };
    layer("bert.embeddings.LayerNorm".into(), vec![width]);
    for i in 0..config.num_hidden_layers() {
        for part in BLOCK_LINEAR {
            let shape = match part {
                "intermediate.dense" => vec![inner, width],
                "output.dense" => vec![width, inner],
                _ => vec![width, width],
            };
            layer(format!("bert.encoder.layer.{i}.{part}"), shape);
            if let Some(block) = part.strip_suffix("output.dense") {
                layer(format!("bert.encoder.layer.{i}.{block}output.LayerNorm"), vec![width]);
            }
        }
    }
    layer("bert.pooler.dense".into(), vec![width, width]);
    if let Some(outputs) = outputs {
        layer("classifier".into(), vec![outputs as u64, width]);
    }
    all
}

/// The prunable tensors: the six weight matrices of every block and the pooler's, without biases, as Chen et al. 2020
/// (The Lottery Ticket Hypothesis for Pre-trained BERT Networks) prune. BERT-base has 85,524,480 such entries.
///
/// # Errors
/// Never for a valid configuration.
pub fn prunable_layout(config: &BertConfig) -> Result<Layout> {
    Ok(Layout::new(parameter_shapes(config, None).into_iter().filter(|(name, _)| is_prunable(name.as_str())))?)
}

/// The pooler's matrix, which may be left out of the ranking.
pub(crate) const POOLER: &str = "bert.pooler.dense.weight";

pub(crate) fn is_prunable(name: &str) -> bool {
    let Some(layer) = name.strip_suffix(".weight") else { return false };
    name == POOLER || layer.starts_with("bert.encoder.layer.") && BLOCK_LINEAR.iter().any(|part| layer.ends_with(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn layout(json: &str) -> Layout {
        prunable_layout(&BertConfig::parse(json.as_bytes(), Path::new("config.json")).unwrap()).unwrap()
    }

    #[test]
    fn counts_prunable_entries() {
        let base = layout(r#"{"model_type": "bert"}"#);
        assert_eq!((base.tensors().len(), base.entries()), (73, 85_524_480));
        let mini = layout(
            r#"{"model_type": "bert", "hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}"#,
        );
        assert_eq!((mini.tensors().len(), mini.entries()), (37, 10_764_288));
        let large = layout(
            r#"{"model_type": "bert", "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}"#,
        );
        assert_eq!(large.entries(), 24 * 12 * 1024 * 1024 + 1024 * 1024);
        let names: Vec<_> = mini.tensors()[..7].iter().map(|t| t.name().as_str().to_owned()).collect();
        assert_eq!(names[0], "bert.encoder.layer.0.attention.self.query.weight");
        assert_eq!(names[5], "bert.encoder.layer.0.output.dense.weight");
        assert_eq!(names[6], "bert.encoder.layer.1.attention.self.query.weight");
        assert_eq!(mini.tensors()[36].name().as_str(), "bert.pooler.dense.weight");
    }

    #[test]
    fn counts_all_parameters() {
        let config = BertConfig::parse(br#"{"model_type": "bert"}"#, Path::new("config.json")).unwrap();
        let count =
            |outputs| parameter_shapes(&config, outputs).iter().map(|(_, s)| s.iter().product::<u64>()).sum::<u64>();
        assert_eq!(count(None), 109_482_240, "bert-base-uncased with its pooler");
        assert_eq!(count(Some(2)), 109_482_240 + 2 * 768 + 2);
    }
}
