//! Heads, options, masking, padding and saving, on the small checkpoints of the fixtures.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CASES, STILL, batch, ctc, expected, fixtures, open, relative_error, row, task};
use lopper_core::{Batch, Error, Head, Inputs, Mode, Model, ParameterName, Role, Targets};
use lopper_wav2vec2::{Wav2Vec2Config, Wav2Vec2Model, prunable_layout};
use serde_json::Value;
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn tensor<'a>(model: &'a Wav2Vec2Model, name: &str) -> &'a Tensor {
    &model.parameters().get(&ParameterName::new(name)).unwrap().tensor
}

fn letters() -> Head {
    ctc(&["<pad>", "<s>", "</s>", "<unk>", "|", "E", "T", "AA1"], 0)
}

#[test]
fn heads_are_fresh_for_a_task_and_kept_without_one() {
    let path = fixtures().join("base");
    let kept = open(&path, "", None).unwrap();
    assert_eq!(kept.head().unwrap().outputs(), 11);
    let fresh = open(&path, "", Some(&task(letters()))).unwrap();
    let weight = tensor(&fresh, "lm_head.weight");
    assert_eq!((weight.size(), tensor(&fresh, "lm_head.bias").size()), (vec![8, 16], vec![8]));
    let bound = (6.0f64 / 24.0).sqrt();
    assert!(common::peak(weight) <= bound && common::peak(weight) > 0.9 * bound);
    assert_eq!(common::peak(tensor(&fresh, "lm_head.bias")), 0.0);
    tch::manual_seed(99);
    assert!(tensor(&open(&path, "", Some(&task(letters()))).unwrap(), "lm_head.weight") == weight);
    for parameter in fresh.parameters().iter() {
        let name = parameter.name.as_str();
        let expected = match name {
            _ if name.starts_with("lm_head.") => Role::Head,
            _ if name.starts_with("wav2vec2.feature_extractor.") => Role::Frozen,
            _ => Role::Encoder,
        };
        assert_eq!(parameter.role, expected, "{name}");
        assert_eq!(parameter.tensor.requires_grad(), expected != Role::Frozen, "{name}");
    }
    let thawed = open(&path, "freeze_feature_encoder = false\nmask_time_prob = 0.0", None).unwrap();
    let frozen: Vec<_> =
        thawed.parameters().iter().filter(|p| p.role == Role::Frozen).map(|p| p.name.as_str()).collect();
    assert_eq!(frozen, ["wav2vec2.masked_spec_embed"], "what no masked step would train");
    let classes = task(Head::Classification { labels: vec!["a".into()] });
    assert!(matches!(open(&path, "", Some(&classes)), Err(Error::Unsupported { .. })));
    let message = open(&path, "", Some(&task(ctc(&["a", "b", "a"], 3)))).err().unwrap().to_string();
    assert!(message.contains("with `a` twice") && message.contains("blank = 3"), "{message}");
}

#[test]
fn symbols_of_a_checkpoint_must_be_the_tasks() {
    let directory = common::changed("base", |_| {});
    let option = "head = \"checkpoint\"";
    let names = ["<pad>", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    let vocabulary: serde_json::Map<String, Value> =
        names.iter().enumerate().map(|(id, name)| ((*name).to_owned(), id.into())).collect();
    let file = directory.path().join("vocab.json");
    std::fs::write(&file, serde_json::to_vec(&vocabulary).unwrap()).unwrap();
    let same = open(directory.path(), option, Some(&task(ctc(&names, 0)))).unwrap();
    assert!(tensor(&same, "lm_head.weight") == tensor(&open(directory.path(), "", None).unwrap(), "lm_head.weight"));
    let message = |head| open(directory.path(), option, Some(&task(head))).err().unwrap().to_string();
    assert!(message(letters()).contains("whose head has 11"));
    let mut other = names;
    other.swap(3, 4);
    assert!(message(ctc(&other, 0)).contains("whose output 3 is `c` where the task has `d`"));
    assert!(message(ctc(&names, 1)).contains("another blank"));
    for (text, part) in [
        (r#"{"a": 0, "b": 0}"#, "both have id 0"),
        (r#"{"a": 11}"#, "`a` has id 11; the head has outputs 0 to 10"),
        (r#"{"eng": {"a": 0}}"#, "several languages (eng)"),
        ("[", "not a JSON object"),
    ] {
        std::fs::write(&file, text).unwrap();
        let message = open(directory.path(), "", None).err().unwrap().to_string();
        assert!(message.contains(part) && message.contains("vocab.json"), "{message}");
    }
}

#[test]
fn encoders_without_a_head_can_be_opened() {
    let directory = common::changed("xlsr", |tensors| tensors.retain(|name, _| !name.starts_with("lm_head.")));
    let model = open(directory.path(), "", None).unwrap();
    assert_eq!(model.head(), None);
    assert!(matches!(model.predict(&batch(&expected("xlsr"))), Err(Error::Unsupported { .. })));
    let artifacts = model.artifacts().unwrap();
    let json: Value = serde_json::from_slice(&artifacts[0].bytes).unwrap();
    assert_eq!(json["architectures"][0], "Wav2Vec2Model");
    assert_eq!(artifacts.len(), 2);
    let message = open(directory.path(), "head = \"checkpoint\"", Some(&task(letters()))).err().unwrap().to_string();
    assert!(message.contains("no CTC head"), "{message}");
}

#[test]
fn prunable_tensors_are_parameters_in_order() {
    for (options, biases) in [("", true), ("prune_biases = false", false)] {
        let model = open(&fixtures().join("base"), options, None).unwrap();
        let layout = model.layout().unwrap();
        assert_eq!(layout, prunable_layout(model.config(), biases).unwrap());
        let own = if biases { 2 * (4 * 16 + 20 + 16) } else { 0 };
        assert_eq!(layout.entries(), 2 * (4 * 16 * 16 + 2 * 16 * 20) + own);
        let drawn = model.random_prunable(3).unwrap();
        let flat = |drawn: &[Tensor], dimensions| {
            let chosen: Vec<_> = drawn.iter().filter(|t| t.dim() == dimensions).map(|t| t.view([-1])).collect();
            Tensor::cat(&chosen, 0)
        };
        assert!((flat(&drawn, 2).std(false).double_value(&[]) - 0.02).abs() < 0.001);
        if biases {
            assert_eq!(common::peak(&flat(&drawn, 1)), 0.0);
        }
    }
}

#[test]
fn obeys_the_laws() {
    // Dropped blocks have no gradient in that update, so they are left out here.
    for case in CASES {
        for options in ["layerdrop = 0.0\nmask_feature_prob = 0.3\nmask_feature_length = 4", STILL] {
            let model = open(&fixtures().join(case), options, None).unwrap();
            let mut inputs = batch(&expected(case));
            // A sentence that fits: one that does not has no gradient to compare.
            if let Some(Targets::Sequences(rows)) = &mut inputs.targets {
                rows.iter_mut().for_each(|row| row.truncate(2));
            }
            lopper_testkit::laws::model(&model, &inputs);
        }
        let path = fixtures().join(case);
        let (own, other) = (open(&path, "", None).unwrap(), open(&path, "", Some(&task(letters()))).unwrap());
        lopper_testkit::laws::masks_transfer(&own, &other);
    }
}

#[test]
fn a_batch_of_many_is_many_batches_of_one() {
    for case in CASES {
        let model = open(&fixtures().join(case), "freeze_feature_encoder = false", None).unwrap();
        let inputs = batch(&expected(case));
        let together = model.predict(&inputs).unwrap();
        let steps = together.lengths.unwrap();
        let lengths = common::integers(&inputs.inputs["lengths"]);
        let Some(Targets::Sequences(targets)) = &inputs.targets else { panic!("sequences") };
        let loss = model.loss(&inputs, Mode::Evaluate).unwrap().sum;
        loss.backward();
        let gradient = |model: &Wav2Vec2Model| {
            let all = model.parameters().trainable().map(|p| p.tensor.grad().view([-1]));
            Tensor::cat(&all.collect::<Vec<_>>(), 0)
        };
        let expected = gradient(&model).copy();
        model.parameters().trainable().for_each(|p| p.tensor.shallow_clone().zero_grad());
        let mut sum = 0.0;
        for (at, length) in lengths.iter().enumerate() {
            let values = inputs.inputs["input_values"].narrow(0, at as i64, 1).narrow(1, 0, *length);
            let inputs = Inputs::from([("input_values", values)]);
            let alone = Batch::new(inputs, Targets::Sequences(vec![targets[at].clone()]), 1);
            let logits = model.predict(&alone).unwrap().logits.get(0);
            assert!(relative_error(&logits, &row(&together.logits, at, steps[at])) < 1e-5, "{case}, row {at}");
            let own = model.loss(&alone, Mode::Evaluate).unwrap().sum;
            own.backward();
            sum += own.double_value(&[]);
        }
        assert!((sum - loss.double_value(&[])).abs() < 1e-5 * sum, "{case}: loss {sum}");
        let error = relative_error(&gradient(&model), &expected);
        assert!(error < 1e-4, "{case}: gradients, relative error {error:e}");
    }
}

#[test]
fn what_stands_at_padding_has_no_influence() {
    for case in CASES {
        let model = open(&fixtures().join(case), "", None).unwrap();
        let mut inputs = batch(&expected(case));
        let before = model.predict(&inputs).unwrap().logits;
        let lengths = common::integers(&inputs.inputs["lengths"]);
        let values = inputs.inputs["input_values"].copy();
        let longest = values.size()[1];
        for (at, length) in lengths.iter().enumerate().filter(|(_, length)| **length < longest) {
            let _ = values.get(at as i64).narrow(0, *length, longest - length).fill_(1e3);
        }
        inputs.inputs.insert("input_values", values);
        assert!(model.predict(&inputs).unwrap().logits == before, "{case}");
    }
}

#[test]
fn sentences_that_cannot_be_aligned_are_counted() {
    let model = open(&fixtures().join("base"), "", None).unwrap();
    let mut inputs = batch(&expected("base"));
    let Some(Targets::Sequences(rows)) = &mut inputs.targets else { panic!("sequences") };
    rows[3] = vec![1; 40];
    let loss = model.loss(&inputs, Mode::Evaluate).unwrap();
    assert_eq!((loss.count, model.unaligned_sentences()), (4.0, 1));
    assert!(loss.sum.double_value(&[]).is_finite());
    model.loss(&inputs, Mode::Evaluate).unwrap();
    assert_eq!(model.unaligned_sentences(), 2);
}

#[test]
fn refuses_batches_it_cannot_read() {
    let model = open(&fixtures().join("base"), "", None).unwrap();
    let fixture = expected("base");
    let check = |change: &dyn Fn(&mut Batch), expected: &str| {
        let mut wrong = batch(&fixture);
        change(&mut wrong);
        let message = model.loss(&wrong, Mode::Train).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    let zeros = |shape: &[i64], kind| Tensor::zeros(shape, (kind, Device::Cpu));
    let lengths = |values: &[i64]| Tensor::from_slice(values);
    check(&|b| drop(b.inputs.remove("input_values")), "no input `input_values`");
    check(&|b| drop(b.inputs.insert("input_values", zeros(&[4, 640, 1], Kind::Float))), "[batch, samples]");
    check(&|b| drop(b.inputs.insert("input_values", zeros(&[4, 640], Kind::Double))), "float32");
    check(&|b| drop(b.inputs.insert("lengths", zeros(&[3], Kind::Int64))), "int64 of shape [4]");
    check(&|b| drop(b.inputs.insert("lengths", zeros(&[4], Kind::Float))), "int64 of shape [4]");
    check(&|b| drop(b.inputs.insert("lengths", lengths(&[640, 641, 29, 30]))), "2 problems");
    check(&|b| drop(b.inputs.insert("lengths", lengths(&[640, 640, 29, 30]))), "samples of row 2 = 29");
    check(&|b| b.targets = None, "no targets");
    check(&|b| b.targets = Some(Targets::Classes(lengths(&[0, 1, 2, 3]))), "sequences of symbols");
    check(&|b| b.targets = Some(Targets::Sequences(vec![vec![1]; 3])), "3 sequences");
    check(&|b| b.targets = Some(Targets::Sequences(vec![vec![11]; 4])), "symbol 0 of the target of row 0 = 11");
    check(&|b| b.targets = Some(Targets::Sequences(vec![vec![0]; 4])), "not the blank 0");
}

#[test]
fn a_saved_model_is_read_back() {
    for (path, case) in [("base", "base"), ("fairseq_finetuned.pt", "base"), ("xlsr", "xlsr")] {
        let model = open(&fixtures().join(path), "head = \"checkpoint\"", None).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for artifact in model.artifacts().unwrap() {
            std::fs::write(directory.path().join(artifact.name), artifact.bytes).unwrap();
        }
        let tensors: Vec<_> =
            model.parameters().iter().map(|p| (p.name.to_string(), p.tensor.shallow_clone())).collect();
        common::save(directory.path(), &tensors);
        let again = open(directory.path(), "", None).unwrap();
        assert_eq!(again.identity(), model.identity());
        assert_eq!(again.artifacts().unwrap(), model.artifacts().unwrap());
        let inputs = batch(&expected(case));
        assert!(again.predict(&inputs).unwrap().logits == model.predict(&inputs).unwrap().logits);
    }
}

#[test]
fn artifacts_say_what_transformers_needs() {
    let model = open(&fixtures().join("xlsr"), "", Some(&task(letters()))).unwrap();
    let artifacts = model.artifacts().unwrap();
    let json = |name: &str| -> Value {
        serde_json::from_slice(&artifacts.iter().find(|a| a.name == name).unwrap().bytes).unwrap()
    };
    let config = json("config.json");
    assert_eq!((config["vocab_size"].as_u64(), config["pad_token_id"].as_u64()), (Some(8), Some(0)));
    assert_eq!(config["architectures"][0], "Wav2Vec2ForCTC");
    assert_eq!(json("vocab.json")["AA1"], 7);
    let preprocessor = json("preprocessor_config.json");
    assert_eq!((&preprocessor["do_normalize"], &preprocessor["return_attention_mask"]), (&true.into(), &true.into()));
    let tokenizer = json("tokenizer_config.json");
    assert_eq!((&tokenizer["pad_token"], &tokenizer["bos_token"]), (&"<pad>".into(), &"<s>".into()));
    let blank_first = ctc(&["<s>", "<pad>", "</s>", "<unk>", "|"], 0);
    let fairseq = open(&fixtures().join("base"), "", Some(&task(blank_first))).unwrap();
    let artifacts = fairseq.artifacts().unwrap();
    let file = artifacts.iter().find(|a| a.name == "tokenizer_config.json").unwrap();
    let tokenizer: Value = serde_json::from_slice(&file.bytes).unwrap();
    assert_eq!((&tokenizer["pad_token"], &tokenizer["bos_token"]), (&"<s>".into(), &Value::Null));
}

#[test]
fn options_are_checked() {
    let check = |options: &str, parts: &[&str]| {
        let message = open(&fixtures().join("base"), options, None).err().unwrap().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    };
    check("hed = \"fresh\"", &["unknown key `hed`", "did you mean `head`?"]);
    check("head = \"new\"\npadding = \"none\"", &["head = new", "padding = none", "2 problems"]);
    check(
        "hidden_dropout = 1.0\nlayerdrop = -0.1\nmask_time_prob = 1.5\nmask_feature_length = 0",
        &["hidden_dropout = 1", "layerdrop = -0.1", "mask_time_prob = 1.5", "mask_feature_length = 0", "4 problems"],
    );
    let identity = |options: &str| open(&fixtures().join("base"), options, None).unwrap().identity();
    for option in ["layerdrop = 0.3", "padding = \"reference\"", "prune_biases = false", "mask_feature_prob = 0.2"] {
        assert_ne!(identity(""), identity(option), "{option}");
    }
    assert_eq!(identity(""), identity("layerdrop = 0.1\nmask_time_length = 10"));
}

#[test]
fn options_are_refused_together() {
    let options = "padding = \"exakt\"\nhead = \"old\"\nmask_time_prob = 2.0\nmask_feature_length = 0\nlayerdrop = 1.0";
    let message = open(&fixtures().join("base"), options, None).err().unwrap().to_string();
    for part in
        ["5 problems", "padding = exakt", "head = old", "mask_time_prob = 2", "mask_feature_length = 0", "layerdrop"]
    {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn wrong_configurations_are_refused_with_every_reason() {
    let parse = |text: &str| Wav2Vec2Config::parse(text.as_bytes(), Path::new("config.json"));
    let message = parse(
        r#"{"model_type": "wav2vec2", "hidden_size": 30, "num_attention_heads": 4, "num_conv_pos_embedding_groups": 7,
        "hidden_act": "silu", "feat_extract_activation": 3, "vocab_size": -1, "conv_dim": [], "conv_kernel": [1, 2],
        "conv_stride": [0, 1, 1, 1, 1, 1, 1], "conv_bias": "no", "feat_extract_norm": "batch", "layerdrop": 1.0,
        "mask_time_prob": 2, "mask_feature_length": 0, "mask_time_min_masks": -1, "layer_norm_eps": 0, "pad_token_id": -1,
        "num_hidden_layers": 2.5, "add_adapter": true, "adapter_attn_dim": 16, "do_stable_layer_norm": 1, "unknown": 1}"#,
    )
    .unwrap_err()
    .to_string();
    for key in [
        "num_attention_heads = 4",
        "num_conv_pos_embedding_groups = 7",
        "hidden_act",
        "feat_extract_activation",
        "vocab_size",
        "conv_dim",
        "conv_kernel",
        "conv_stride",
        "conv_bias",
        "feat_extract_norm",
        "layerdrop",
        "mask_time_prob",
        "mask_feature_length",
        "mask_time_min_masks",
        "layer_norm_eps",
        "pad_token_id",
        "num_hidden_layers",
        "add_adapter",
        "adapter_attn_dim",
        "do_stable_layer_norm",
    ] {
        assert!(message.contains(&format!("config.json: {key}")), "{key} in:\n{message}");
    }
    assert!(message.contains("20 problems"), "{message}");
    for text in ["", "[]", "null", "{\"model_type\": \"wav2vec2\"", "{\"model_type\": \"hubert\"}", "{}"] {
        assert!(parse(text).is_err(), "{text}");
    }
    let base = parse(r#"{"model_type": "wav2vec2"}"#).unwrap();
    assert_eq!((base.receptive_field(), base.steps(399), base.steps(400), base.steps(16_000)), (400, 0, 1, 49));
    let off = parse(r#"{"model_type": "wav2vec2", "apply_spec_augment": false}"#).unwrap();
    assert_eq!(off.mask_time().probability(), 0.0);
}
