//! From the tensors of a checkpoint to those of this architecture.

use crate::config::BertConfig;
use crate::shapes::parameter_shapes;
use lopper_core::{ParameterName, Result};
use lopper_nn::{Named, Source, fresh};
use std::path::Path;
use tch::Tensor;

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

/// A name that every checkpoint of a BERT holds, the longest spelling first.
pub(crate) const ANCHORS: [&str; 2] = ["bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"];

/// The tensors of a model in its order, float32 on the CPU.
pub(crate) struct Weights {
    pub(crate) tensors: Vec<(ParameterName, Tensor)>,
    /// Whether there is a pooler.
    pub(crate) pools: bool,
    /// Whether the checkpoint had no pooler, so that it was drawn.
    pub(crate) fresh_pooler: bool,
}

/// A checkpoint's tensors under this crate's names.
pub(crate) fn named<S: Source>(source: &S) -> Named<'_, S> {
    Named::new(source, canonical)
}

/// Reads all tensors of `config`'s architecture; `path` names the checkpoint in errors. What is not there and a head needs
/// is drawn from `seed`: the head itself, and the pooler below it. Without a head nothing is drawn, and a pooler that is not
/// there is left out. Tensors outside the encoder may be there.
///
/// # Errors
/// Those of [`Named::load`].
pub(crate) fn load<S: Source>(
    named: &Named<'_, S>,
    config: &BertConfig,
    head: HeadWeights,
    path: &Path,
    seed: u64,
) -> Result<Weights> {
    let outputs = match head {
        HeadWeights::Absent => None,
        HeadWeights::Fresh(n) | HeadWeights::Checkpoint(n) => Some(n),
    };
    let stored_pooler = named.names().any(|name| name.starts_with("bert.pooler."));
    let (pools, fresh_pooler) = (stored_pooler || outputs.is_some(), !stored_pooler && outputs.is_some());
    let is_fresh = |name: &str| {
        fresh_pooler && name.starts_with("bert.pooler.")
            || name.starts_with("classifier.") && matches!(head, HeadWeights::Fresh(_))
    };
    let draw = |name: &str, shape: &[u64]| {
        let deviation = if name.ends_with(".bias") { 0.0 } else { config.initializer_range() };
        fresh::normal(name, seed, shape, deviation)
    };
    let known = |name: &str| !name.starts_with("bert.");
    let mut expected = parameter_shapes(config, outputs);
    expected.retain(|(name, _)| pools || !name.as_str().starts_with("bert.pooler."));
    let tensors = named.load(expected, is_fresh, known, draw, (path, "config.json"))?;
    if fresh_pooler {
        tracing::warn!(checkpoint = %path.display(), seed, "the checkpoint has no pooler: a fresh one is drawn");
    }
    Ok(Weights { tensors, pools, fresh_pooler })
}

/// This crate's name for a checkpoint's, or `None` for buffers, which every program makes for itself.
pub(crate) fn canonical(name: &str) -> Option<String> {
    if name.ends_with("embeddings.position_ids") || name.ends_with("embeddings.token_type_ids") {
        return None;
    }
    // Those of other heads stay as they are.
    if ["cls.", "qa_outputs.", "classifier."].iter().any(|head| name.starts_with(head)) {
        return Some(name.to_owned());
    }
    let name = match name.strip_suffix(".gamma") {
        Some(layer) => format!("{layer}.weight"),
        None => name.strip_suffix(".beta").map_or_else(|| name.to_owned(), |layer| format!("{layer}.bias")),
    };
    let bare = ["embeddings.", "encoder.", "pooler."].iter().any(|part| name.starts_with(part));
    Some(if bare { format!("bert.{name}") } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use tch::{Device, Kind};

    struct Memory(BTreeMap<String, Tensor>);

    impl Source for Memory {
        fn names(&self) -> Vec<String> {
            self.0.keys().cloned().collect()
        }
        fn shape(&self, name: &str) -> Option<Vec<u64>> {
            Some(self.0.get(name)?.size().iter().map(|d| *d as u64).collect())
        }
        fn tensor(&self, name: &str) -> Result<Tensor> {
            Ok(self.0[name].copy())
        }
    }

    fn config() -> BertConfig {
        let json = br#"{"model_type": "bert", "vocab_size": 7, "hidden_size": 4, "num_attention_heads": 2,
            "num_hidden_layers": 1, "intermediate_size": 6, "max_position_embeddings": 5}"#;
        BertConfig::parse(json, Path::new("config.json")).unwrap()
    }

    fn checkpoint(rename: impl Fn(&str) -> String) -> Memory {
        let tensor = |shape: &[u64]| {
            Tensor::ones(shape.iter().map(|d| *d as i64).collect::<Vec<_>>(), (Kind::Float, Device::Cpu))
        };
        Memory(parameter_shapes(&config(), Some(3)).iter().map(|(n, s)| (rename(n.as_str()), tensor(s))).collect())
    }

    fn read(source: &Memory, head: HeadWeights) -> Result<Weights> {
        load(&named(source), &config(), head, Path::new("model"), 1)
    }

    #[test]
    fn reads_every_spelling() {
        let old = |name: &str| {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
        };
        for rename in [|n: &str| n.to_owned(), |n: &str| n.trim_start_matches("bert.").to_owned(), old] {
            let mut source = checkpoint(rename);
            for extra in [
                "cls.predictions.bias",
                "qa_outputs.weight",
                "cls.predictions.transform.LayerNorm.gamma",
                "embeddings.position_ids",
                "bert.embeddings.position_ids",
            ] {
                source.0.insert(extra.into(), Tensor::from(1.0f32));
            }
            let weights = read(&source, HeadWeights::Checkpoint(3)).unwrap();
            assert_eq!(weights.tensors.len(), parameter_shapes(&config(), Some(3)).len());
            assert!(weights.tensors.iter().all(|(_, t)| t.min() == Tensor::from(1.0f32)));
            assert!(!weights.fresh_pooler);
        }
    }

    #[test]
    fn lists_all_that_does_not_fit() {
        let mut source = checkpoint(str::to_owned);
        source.0.remove("bert.pooler.dense.bias");
        source.0.remove("bert.encoder.layer.0.intermediate.dense.weight");
        source
            .0
            .insert("bert.encoder.layer.0.output.dense.bias".into(), Tensor::zeros([9], (Kind::Float, Device::Cpu)));
        source
            .0
            .insert("bert.encoder.layer.1.output.dense.bias".into(), Tensor::zeros([4], (Kind::Float, Device::Cpu)));
        source.0.insert("bert.embeddings.LayerNorm.gamma".into(), Tensor::zeros([4], (Kind::Float, Device::Cpu)));
        let message = read(&source, HeadWeights::Checkpoint(2)).err().unwrap().to_string();
        for part in [
            "7 problems",
            "`bert.pooler.dense.bias` of shape [4] is missing",
            "`bert.encoder.layer.0.intermediate.dense.weight` of shape [6, 4] is missing",
            "`bert.encoder.layer.0.output.dense.bias` has shape [9]; by config.json it is [4]",
            "`bert.encoder.layer.1.output.dense.bias` belongs to no part",
            "are both `bert.embeddings.LayerNorm.weight`",
            "`classifier.weight` has shape [3, 4]; by config.json it is [2, 4]",
            "`classifier.bias` has shape [3]",
        ] {
            assert!(message.contains(part), "{part} in:\n{message}");
        }
    }

    #[test]
    fn draws_what_may_be_fresh() {
        let mut source = checkpoint(str::to_owned);
        source.0.retain(|name, _| !name.contains("pooler"));
        let weights = read(&source, HeadWeights::Fresh(2)).unwrap();
        assert!(weights.fresh_pooler);
        let get = |name: &str| &weights.tensors.iter().find(|(n, _)| n.as_str() == name).unwrap().1;
        assert_eq!(get("classifier.weight").size(), [2, 4]);
        assert!(get("classifier.bias").count_nonzero(None).int64_value(&[]) == 0);
        assert!(get("bert.pooler.dense.weight").abs().max().double_value(&[]) < 0.2);
        let again = read(&source, HeadWeights::Fresh(2)).unwrap();
        assert!(again.tensors.iter().zip(&weights.tensors).all(|(a, b)| a.1 == b.1));
        // Without a head nothing is drawn.
        let without = read(&source, HeadWeights::Absent).unwrap();
        assert!(!without.pools && !without.fresh_pooler);
        assert_eq!(without.tensors.len(), weights.tensors.len() - 4);
    }

    #[test]
    fn refuses_numbers_that_are_none() {
        let mut source = checkpoint(str::to_owned);
        let bad = source.0.get_mut("bert.pooler.dense.weight").unwrap();
        let _ = bad.view([-1]).get(6).fill_(f64::NAN);
        let bad = source.0.get_mut("classifier.bias").unwrap();
        let _ = bad.get(2).fill_(f64::NEG_INFINITY);
        let message = read(&source, HeadWeights::Checkpoint(3)).err().unwrap().to_string();
        assert!(message.contains("bert.pooler.dense.weight[6] is NaN"), "{message}");
        assert!(message.contains("classifier.bias[2] is -inf"), "{message}");
    }
}
