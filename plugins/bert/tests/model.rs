//! Heads, options, dropout and saving, on the small checkpoints of the fixtures.
#![allow(clippy::unwrap_used)]

mod common;

use common::{batch, fixtures, open, read, task};
use lopper_bert::{BertConfig, BertModel};
use lopper_core::{Error, Head, Inputs, Mode, Model, ModelEntry, ParameterName, Role, Targets, registry};
use serde_json::Value;
use std::path::Path;
use tch::{Kind, Tensor};

fn classes(labels: &[&str]) -> Head {
    Head::Classification { labels: labels.iter().map(|l| (*l).to_owned()).collect() }
}

fn tensor<'a>(model: &'a BertModel, name: &str) -> &'a Tensor {
    &model.parameters().get(&ParameterName::new(name)).unwrap().tensor
}

fn without_weights(name: &str, drop: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let source = fixtures().join(name);
    std::fs::copy(source.join("config.json"), directory.path().join("config.json")).unwrap();
    let kept: Vec<_> = read(&source.join("model.safetensors")).into_iter().filter(|(n, _)| !n.contains(drop)).collect();
    save(directory.path(), &kept);
    directory
}

fn save(directory: &Path, tensors: &[(String, Tensor)]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, t)| Vec::<f32>::try_from(t.detach().to_kind(Kind::Float).flatten(0, -1)).unwrap())
        .map(|values| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, t), bytes)| {
        let shape = t.size().iter().map(|d| *d as usize).collect();
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, bytes).unwrap())
    });
    let file = safetensors::serialize(views, None).unwrap();
    std::fs::write(directory.join("model.safetensors"), file).unwrap();
}

#[test]
fn is_registered_and_recognises_its_checkpoints() {
    let entry = registry::find::<ModelEntry>("bert").unwrap();
    assert!((entry.recognises)(&fixtures().join("full")));
    assert!(!(entry.recognises)(&fixtures().join("tokenizer/json")));
    let directory = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (r#"{"model_type": "roberta", "architectures": ["BertModel"]}"#, false),
        (r#"{"architectures": ["BertForMaskedLM"]}"#, true),
        (r#"["#, false),
        (r#"{}"#, false),
    ] {
        std::fs::write(directory.path().join("config.json"), text).unwrap();
        assert_eq!((entry.recognises)(directory.path()), expected, "{text}");
    }
    assert_eq!(entry.options.len(), 5);
}

#[test]
fn heads_are_fresh_for_a_task_and_kept_without_one() {
    let path = fixtures().join("padded");
    let kept = open(&path, "", None).unwrap();
    assert_eq!(kept.head(), Some(&classes(&["LABEL_0", "LABEL_1", "LABEL_2"])));
    let stored = &read(&path.join("model.safetensors"))["classifier.weight"];
    assert!(tensor(&kept, "classifier.weight") == stored);

    let entailment = task(classes(&["no", "yes"]));
    let fresh = open(&path, "", Some(&entailment)).unwrap();
    assert_eq!(tensor(&fresh, "classifier.weight").size(), [2, 32]);
    tch::manual_seed(99);
    assert!(
        tensor(&open(&path, "", Some(&entailment)).unwrap(), "classifier.weight")
            == tensor(&fresh, "classifier.weight")
    );
    for parameter in fresh.parameters().iter() {
        let head = parameter.name.as_str().starts_with("classifier.");
        assert_eq!(parameter.role == Role::Head, head, "{}", parameter.name);
        assert!(parameter.tensor.requires_grad() && parameter.tensor.is_leaf());
    }

    let same = open(&path, "head = \"checkpoint\"", Some(&task(classes(&["a", "b", "c"])))).unwrap();
    assert!(tensor(&same, "classifier.weight") == stored);
    let message = open(&path, "head = \"checkpoint\"", Some(&entailment)).err().unwrap().to_string();
    assert!(message.contains("whose head has 3 outputs") && message.contains("labels no, yes"), "{message}");
    let ctc = task(Head::Ctc { vocabulary: vec!["a".into()], blank: 0 });
    assert!(matches!(open(&path, "", Some(&ctc)), Err(Error::Unsupported { .. })));
}

#[test]
fn labels_of_a_checkpoint_must_be_the_tasks() {
    let directory = without_weights("full", "nothing");
    let config = directory.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap().replace("LABEL_0", "Yes").replace("LABEL_1", "No");
    std::fs::write(&config, text).unwrap();
    let option = "head = \"checkpoint\"";
    open(directory.path(), option, Some(&task(classes(&["yes", "no"])))).unwrap();
    // In another order they are the checkpoint's: the data follow it.
    let turned = open(directory.path(), option, Some(&task(classes(&["no", "yes"])))).unwrap();
    assert_eq!(turned.head(), Some(&classes(&["Yes", "No"])));
    let message = open(directory.path(), option, Some(&task(classes(&["no", "maybe"])))).err().unwrap().to_string();
    assert!(message.contains("whose labels are Yes, No"), "{message}");
}

#[test]
fn encoders_without_head_or_pooler_can_be_opened() {
    let directory = without_weights("padded", "classifier");
    let model = open(directory.path(), "", None).unwrap();
    assert_eq!(model.head(), None);
    let inputs = batch(&read(&fixtures().join("padded/expected.safetensors")), "");
    assert!(matches!(model.predict(&inputs), Err(Error::Unsupported { .. })));
    let json: Value = serde_json::from_slice(&model.artifacts().unwrap()[0].bytes).unwrap();
    assert_eq!(json["architectures"][0], "BertModel");

    // A classifier without its pooler is one of tokens: it is kept, and answers nothing.
    let bare = without_weights("padded", "pooler");
    let kept = open(bare.path(), "", None).unwrap();
    assert_eq!(kept.prunable(), &model.prunable()[..model.prunable().len() - 1]);
    assert!(kept.other_head().is_some_and(|what| what.contains("without a pooler")));
    assert!(matches!(kept.predict(&inputs), Err(Error::Unsupported { .. })));
    let fresh = open(bare.path(), "", Some(&task(classes(&["a", "b"])))).unwrap();
    assert_eq!(fresh.prunable(), model.prunable());
    assert!(fresh.identity().contains("\"fresh_pooler_seed\":5"));
    assert!(fresh.predict(&inputs).is_ok());
}

#[test]
fn prunable_tensors_are_parameters_in_order() {
    let model = open(&fixtures().join("padded"), "", None).unwrap();
    let layout = model.layout().unwrap();
    assert_eq!(layout, lopper_bert::prunable_layout(model.config()).unwrap());
    assert_eq!(layout.entries(), 3 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 32);
    let drawn = model.random_prunable(3).unwrap();
    assert_eq!(drawn.len(), layout.tensors().len());
    for (tensor, expected) in drawn.iter().zip(layout.tensors()) {
        assert_eq!(tensor.size().iter().map(|d| *d as u64).collect::<Vec<_>>(), expected.shape());
    }
    assert!(drawn[0] == model.random_prunable(3).unwrap()[0]);
    assert!(drawn[0] != model.random_prunable(4).unwrap()[0]);
    let deviation = Tensor::cat(&drawn.iter().map(|t| t.view([-1])).collect::<Vec<_>>(), 0).std(false);
    assert!((deviation.double_value(&[]) - 0.02).abs() < 0.001);
}

#[test]
fn the_pooler_can_be_left_out_of_the_ranking() {
    let path = fixtures().join("padded");
    let (with, without) = (open(&path, "", None).unwrap(), open(&path, "prune_pooler = false", None).unwrap());
    let (all, encoder) = (with.layout().unwrap(), without.layout().unwrap());
    assert_eq!(encoder.tensors(), &all.tensors()[..all.tensors().len() - 1]);
    assert_eq!(encoder.entries(), all.entries() - 32 * 32);
    assert_eq!(without.random_prunable(3).unwrap().len(), encoder.tensors().len());
    assert_ne!(with.identity(), without.identity());
}

#[test]
fn writing_into_a_parameter_changes_the_network() {
    let model = open(&fixtures().join("full"), "", None).unwrap();
    let inputs = batch(&read(&fixtures().join("full/expected.safetensors")), "");
    let before = model.predict(&inputs).unwrap().logits;
    let _ = tch::no_grad(|| tensor(&model, "bert.encoder.layer.0.attention.self.value.weight").shallow_clone().zero_());
    assert!(model.predict(&inputs).unwrap().logits != before);
}

#[test]
fn left_out_inputs_have_their_usual_meaning() {
    let model = open(&fixtures().join("full"), "", None).unwrap();
    let mut inputs = batch(&read(&fixtures().join("full/expected.safetensors")), "");
    let _ = inputs.inputs.get_mut("token_type_ids").unwrap().zero_();
    let expected = model.predict(&inputs).unwrap().logits;
    inputs.inputs.remove("attention_mask");
    inputs.inputs.remove("token_type_ids");
    assert!(common::relative_error(&model.predict(&inputs).unwrap().logits, &expected) < 1e-6);
}

#[test]
fn rows_do_not_depend_on_their_neighbours() {
    let model = open(&fixtures().join("padded"), "", None).unwrap();
    let inputs = batch(&read(&fixtures().join("padded/expected.safetensors")), "");
    let together = model.predict(&inputs).unwrap().logits;
    for row in 0..4 {
        let length = inputs.input("attention_mask").unwrap().get(row).sum(Kind::Int64).int64_value(&[]);
        let one: Inputs = inputs.inputs.iter().map(|(n, t)| (*n, t.narrow(0, row, 1).narrow(1, 0, length))).collect();
        let alone = model.predict(&lopper_core::Batch::new(one, None, 1)).unwrap().logits;
        assert!(common::relative_error(&alone, &together.narrow(0, row, 1)) < 1e-5);
    }
}

#[test]
fn refuses_batches_it_cannot_read() {
    let model = open(&fixtures().join("padded"), "", None).unwrap();
    let fixture = read(&fixtures().join("padded/expected.safetensors"));
    let check = |change: &dyn Fn(&mut lopper_core::Batch), expected: &str| {
        let mut wrong = batch(&fixture, "");
        change(&mut wrong);
        let message = model.loss(&wrong, Mode::Train).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let ids = |shape: [i64; 2], value: i64| Tensor::full(shape, value, (Kind::Int64, tch::Device::Cpu));
    check(&|b| drop(b.inputs.remove("input_ids")), "no input `input_ids`");
    check(&|b| drop(b.inputs.insert("input_ids", ids([4, 21], 1))), "1 to 20 tokens");
    check(&|b| drop(b.inputs.insert("input_ids", ids([4, 12], 61))), "libtorch");
    check(&|b| drop(b.inputs.insert("attention_mask", ids([4, 3], 1))), "[4, 12] like input_ids");
    check(&|b| drop(b.inputs.insert("attention_mask", ids([4, 12], 0))), "1 in the first column");
    check(&|b| b.targets = None, "no targets");
    check(&|b| b.targets = Some(Targets::Values(Tensor::from_slice(&[0f32; 4]))), "classes, for classification");
    check(&|b| b.targets = Some(Targets::Classes(Tensor::from_slice(&[0i64, 1, 2, 3]))), "class 3");
    check(&|b| b.targets = Some(Targets::Classes(Tensor::from_slice(&[0i64, -100, 2, 1]))), "class -100");
    check(&|b| b.targets = Some(Targets::Classes(Tensor::from_slice(&[0i64]))), "one a row");
}

#[test]
fn a_saved_model_is_read_back() {
    let model = open(&fixtures().join("regression"), "", None).unwrap();
    assert_eq!(model.head(), Some(&Head::Regression));
    let directory = tempfile::tempdir().unwrap();
    for artifact in model.artifacts().unwrap() {
        std::fs::write(directory.path().join(artifact.name), artifact.bytes).unwrap();
    }
    let tensors: Vec<_> = model.parameters().iter().map(|p| (p.name.to_string(), p.tensor.shallow_clone())).collect();
    save(directory.path(), &tensors);
    let again = open(directory.path(), "", None).unwrap();
    assert_eq!(again.identity(), model.identity());
    assert_eq!(again.artifacts().unwrap(), model.artifacts().unwrap());
    let inputs = batch(&read(&fixtures().join("regression/expected.safetensors")), "");
    assert!(again.predict(&inputs).unwrap().logits == model.predict(&inputs).unwrap().logits);
}

#[test]
fn tokenizer_files_are_carried_along() {
    let directory = without_weights("padded", "nothing");
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(fixtures().join("tokenizer/json").join(name), directory.path().join(name)).unwrap();
    }
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    assert!(message.contains("vocab_size allows up to 60"), "{message}");
    let config = std::fs::read_to_string(directory.path().join("config.json")).unwrap();
    std::fs::write(directory.path().join("config.json"), config.replace("\"vocab_size\": 61", "\"vocab_size\": 103"))
        .unwrap();
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    assert!(
        message.contains("`embeddings.word_embeddings.weight` has shape [61, 32]; by config.json it is [103, 32]"),
        "{message}"
    );
}

#[test]
fn options_are_checked() {
    let check = |options: &str, parts: &[&str]| {
        let message = open(&fixtures().join("full"), options, None).err().unwrap().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    check("hed = \"fresh\"", &["unknown key `hed`", "did you mean `head`?"]);
    check("head = \"new\"", &["head = new", "`fresh` or `checkpoint`"]);
    check(
        "hidden_dropout = 1.0\nattention_dropout = -0.1",
        &["hidden_dropout = 1", "attention_dropout = -0.1", "2 problems"],
    );
    check("hidden_dropout = \"a\"", &["hidden_dropout"]);
    let identity = |options: &str| open(&fixtures().join("full"), options, None).unwrap().identity();
    assert_ne!(identity(""), identity("attention_dropout = 0.0"));
    assert_eq!(identity(""), identity("attention_dropout = 0.1"));
}

#[test]
fn wrong_configurations_are_refused_with_every_reason() {
    let parse = |text: &str| BertConfig::parse(text.as_bytes(), Path::new("config.json"));
    let message = parse(
        r#"{"model_type": "bert", "hidden_size": 30, "num_attention_heads": 4, "hidden_act": "silu", "vocab_size": -1,
        "position_embedding_type": "relative_key", "max_position_embeddings": 9223372036854775807, "layer_norm_eps": 0,
        "hidden_dropout_prob": 1.0, "pad_token_id": 99999, "id2label": {"0": "a", "2": {}}, "is_decoder": true,
        "problem_type": "other", "num_hidden_layers": 2.5, "intermediate_size": null, "initializer_range": "x", "unknown": 1}"#,
    )
    .unwrap_err()
    .to_string();
    for key in [
        "num_attention_heads = 4",
        "hidden_act",
        "vocab_size = -1",
        "position_embedding_type",
        "max_position_embeddings",
        "layer_norm_eps",
        "hidden_dropout_prob",
        "pad_token_id",
        "id2label",
        "is_decoder",
        "problem_type",
        "num_hidden_layers",
        "intermediate_size",
        "initializer_range",
    ] {
        assert!(message.contains(&format!("config.json: {key}")), "{key} in:\n{message}");
    }
    assert!(message.contains("14 problems"), "{message}");
    let other = parse(r#"{"model_type": "roberta"}"#).unwrap_err().to_string();
    assert!(other.contains("\"roberta\"") && other.contains("BERT is read"), "{other}");
    for text in ["", "[]", "null", "{\"model_type\": \"bert\"", "{\"model_type\": 3}", "{}"] {
        assert!(parse(text).is_err(), "{text}");
    }
    let long = format!(r#"{{"model_type": "bert", "hidden_act": "{}"}}"#, "x".repeat(10_000));
    assert!(parse(&long).unwrap_err().to_string().len() < 300);
}

#[test]
fn configurations_describe_their_head() {
    let head = |more: &str| {
        let text = format!(r#"{{"model_type": "bert"{more}}}"#);
        BertConfig::parse(text.as_bytes(), Path::new("config.json")).unwrap().head().cloned()
    };
    assert_eq!(head(""), Some(classes(&["LABEL_0", "LABEL_1"])));
    assert_eq!(head(r#", "num_labels": 3"#).map(|h| h.outputs()), Some(3));
    assert_eq!(head(r#", "id2label": {"1": "b", "0": "a"}"#), Some(classes(&["a", "b"])));
    assert_eq!(head(r#", "num_labels": 1"#), Some(Head::Regression));
    assert_eq!(head(r#", "id2label": {"0": "score"}, "problem_type": "regression""#), Some(Head::Regression));
    assert_eq!(head(r#", "problem_type": "multi_label_classification""#), None);
}

#[test]
fn a_missing_checkpoint_is_named() {
    let message = open(Path::new("/nonexistent/bert"), "", None).err().unwrap().to_string();
    assert!(message.contains("/nonexistent/bert/config.json"), "{message}");
}
