//! One model in the formats of Hugging Face, fairseq and torchaudio.
#![allow(clippy::unwrap_used)]

mod common;

use common::{batch, changed, expected, fixtures, open};
use lopper_core::{Head, Model, ModelEntry, registry};
use lopper_wav2vec2::{FeatureNorm, Wav2Vec2Model};
use std::fs::copy;
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn logits(model: &Wav2Vec2Model, case: &str) -> Tensor {
    model.predict(&batch(&expected(case))).unwrap().logits
}

fn normalized(model: &Wav2Vec2Model) -> bool {
    model.preprocessor().unwrap().identity().ends_with("-normalized")
}

#[test]
fn every_format_gives_the_same_logits() {
    let hugging_face = open(&fixtures().join("base"), "", None).unwrap();
    let finetuned = open(&fixtures().join("fairseq_finetuned.pt"), "", None).unwrap();
    assert!(logits(&finetuned, "base") == logits(&hugging_face, "base"));
    // torchaudio's files say nothing of strides and heads.
    let described = |case: &str, task: Option<&lopper_core::Task>| {
        let directory = tempfile::tempdir().unwrap();
        copy(fixtures().join(format!("torchaudio_{case}.pt")), directory.path().join("model.pt")).unwrap();
        copy(fixtures().join(case).join("config.json"), directory.path().join("config.json")).unwrap();
        open(directory.path(), "", task).unwrap()
    };
    assert!(logits(&described("base", None), "base") == logits(&hugging_face, "base"));

    let (usual, torchaudio) = (open(&fixtures().join("usual"), "", None).unwrap(), described("usual", None));
    assert!(logits(&torchaudio, "usual") == logits(&usual, "usual"));
    let mask = "wav2vec2.masked_spec_embed".into();
    assert!(torchaudio.parameters().get(&mask).is_none(), "nothing would train it");
    let torchaudio = described("usual", Some(&common::task(common::ctc(&["<s>", "a"], 0))));
    let fresh = torchaudio.parameters().get(&mask).unwrap().tensor.shallow_clone();
    assert!(fresh.min().double_value(&[]) >= 0.0 && fresh.max().double_value(&[]) < 1.0);
    assert!(torchaudio.identity().contains("\"fresh_mask_seed\":5"), "{}", torchaudio.identity());
}

/// A wrong number would give wrong logits without a word.
#[test]
fn heads_that_nothing_tells_are_not_guessed() {
    let message = open(&fixtures().join("torchaudio_usual.pt"), "", None).err().unwrap().to_string();
    for part in
        ["torchaudio_usual.pt: nothing tells its number of attention heads", "width of 64", "config.json beside"]
    {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    // The width of the published base.
    let directory = changed("usual", |tensors| {
        for (name, tensor) in tensors.iter_mut() {
            let shape: Vec<_> = tensor.size().into_iter().map(|d| if d == 64 { 768 } else { d }).collect();
            let keeps = name.starts_with("wav2vec2.feature_extractor.");
            *tensor = if keeps { tensor.shallow_clone() } else { Tensor::zeros(shape, (Kind::Float, Device::Cpu)) };
        }
    });
    std::fs::remove_file(directory.path().join("config.json")).unwrap();
    assert_eq!(open(directory.path(), "", None).unwrap().config().num_attention_heads(), 12);
}

/// No other plugin can say what is wrong with them.
#[test]
fn a_checkpoint_of_torch_that_cannot_be_used_is_claimed() {
    let whole = std::fs::read(fixtures().join("fairseq_finetuned.pt")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes, part) in [
        ("empty.pt", &[][..], "is empty"),
        ("half.pt", &whole[..whole.len() / 2], "truncated"),
        ("text.pth", b"hello, world", "no checkpoint"),
    ] {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let recognised = |name| (registry::find::<ModelEntry>(name).unwrap().recognises)(&path);
        assert!(recognised("wav2vec2") && !recognised("xlsr"), "{name}");
        let message = open(&path, "", None).err().unwrap().to_string();
        assert!(message.contains(name) && message.contains(part), "`{part}` is not in: {message}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn configurations_of_fairseq_are_read_without_it() {
    let finetuned = open(&fixtures().join("fairseq_finetuned.pt"), "", None).unwrap();
    let config = finetuned.config();
    assert_eq!(config.num_attention_heads(), 4);
    assert_eq!(config.convolutions().iter().map(|c| c.stride()).collect::<Vec<_>>(), [5, 2, 2]);
    assert!(!config.do_stable_layer_norm() && config.feat_extract_norm() == FeatureNorm::Group && !config.conv_bias());
    assert_eq!((config.mask_time().probability(), config.mask_time().length()), (0.75, 7));
    assert_eq!((config.mask_feature().probability(), config.mask_feature().length()), (0.25, 4));
    assert_eq!(config.layerdrop(), 0.05);
    assert!(normalized(&finetuned), "the task's setting, not that of pre-training");
    assert_eq!(finetuned.head().unwrap().outputs(), 11);

    let pretrained = open(&fixtures().join("fairseq_pretrained.pt"), "", None).unwrap();
    let config = pretrained.config();
    assert_eq!(config.num_attention_heads(), 2);
    assert!(config.do_stable_layer_norm() && config.feat_extract_norm() == FeatureNorm::Layer && config.conv_bias());
    assert_eq!(config.mask_time().probability(), 0.05, "masks of pre-training are not those of finetuning");
    assert!(normalized(&pretrained));
    assert_eq!(pretrained.head(), None);
    let other = open(&fixtures().join("xlsr"), "", None).unwrap();
    for parameter in pretrained.parameters().iter() {
        assert!(other.parameters().get(&parameter.name).unwrap().tensor == parameter.tensor, "{}", parameter.name);
    }
}

#[test]
fn dictionaries_beside_a_checkpoint_name_its_outputs() {
    let directory = tempfile::tempdir().unwrap();
    copy(fixtures().join("fairseq_finetuned.pt"), directory.path().join("checkpoint_best.pt")).unwrap();
    let dictionary = directory.path().join("dict.ltr.txt");
    std::fs::write(&dictionary, "| 94802\nE 51860\nT 38431\nA 33152\nO 31495\nN 28855\nI 28794\n").unwrap();
    for path in [directory.path().to_owned(), directory.path().join("checkpoint_best.pt")] {
        let model = open(&path, "", None).unwrap();
        let symbols = ["<s>", "<pad>", "</s>", "<unk>", "|", "E", "T", "A", "O", "N", "I"];
        assert_eq!(model.head(), Some(&common::ctc(&symbols, 0)));
    }
    std::fs::write(&dictionary, "| 1\n").unwrap();
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    assert!(message.contains("dict.ltr.txt") && message.contains("5 symbols") && message.contains("11"), "{message}");
    let Some(Head::Ctc { vocabulary, .. }) = open(&fixtures().join("base"), "", None).unwrap().head().cloned() else {
        panic!("a CTC head")
    };
    assert_eq!(vocabulary[10], "<10>");
}

/// As a dictionary of the `speech` dataset has it: `config.json` first, then `tokenizer_config.json`.
#[test]
fn the_blank_is_what_transformers_trains_with() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    copy(fixtures().join("base/model.safetensors"), at("model.safetensors")).unwrap();
    let symbols = ["<pad>", "<s>", "</s>", "<unk>", "|", "E", "T", "A", "O", "N", "_"];
    let ids: serde_json::Map<_, _> = (0..).zip(symbols).map(|(id, s)| (s.to_owned(), serde_json::json!(id))).collect();
    std::fs::write(at("vocab.json"), serde_json::to_vec(&ids).unwrap()).unwrap();
    let base: serde_json::Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("base/config.json")).unwrap()).unwrap();
    let blank = |id: Option<serde_json::Value>, tokenizer: Option<&str>| {
        let mut config = base.clone();
        config.as_object_mut().unwrap().remove("pad_token_id");
        if let Some(id) = id {
            config["pad_token_id"] = id;
        }
        std::fs::write(at("config.json"), config.to_string()).unwrap();
        let _ = std::fs::remove_file(at("tokenizer_config.json"));
        tokenizer.into_iter().for_each(|text| std::fs::write(at("tokenizer_config.json"), text).unwrap());
        let model = open(directory.path(), "", None)?;
        assert_eq!(model.config().to_json(model.head())["pad_token_id"], blank_of(&model));
        Ok::<_, lopper_core::Error>(blank_of(&model))
    };
    let (number, token) = (|id: u64| Some(id.into()), r#"{"pad_token": "_"}"#);
    assert_eq!(blank(number(2), Some(token)).unwrap(), 2, "they differ");
    for none in [None, Some(serde_json::Value::Null)] {
        assert_eq!(blank(none.clone(), Some(token)).unwrap(), 10);
        assert_eq!(blank(none.clone(), Some(r#"{"pad_token": {"content": "_", "lstrip": false}}"#)).unwrap(), 10);
        assert_eq!(blank(none.clone(), Some(r#"{"pad_token": "[PAD]"}"#)).unwrap(), 0, "no symbol of this head");
        assert_eq!(blank(none.clone(), None).unwrap(), 0);
        assert!(blank(none, Some("[")).unwrap_err().to_string().contains("tokenizer_config.json: not a JSON object"));
    }
    assert!(blank(number(11), Some(token)).unwrap_err().to_string().contains("pad_token_id, the blank, is 11"));
}

fn blank_of(model: &Wav2Vec2Model) -> usize {
    let Some(Head::Ctc { blank, .. }) = model.head() else { panic!("a CTC head") };
    *blank
}

#[test]
fn two_plugins_recognise_what_is_theirs() {
    let recognised =
        |path: &Path| ["wav2vec2", "xlsr"].map(|name| (registry::find::<ModelEntry>(name).unwrap().recognises)(path));
    for (case, expected) in [
        ("base", [true, false]),
        ("xlsr", [false, true]),
        ("group_first", [true, false]),
        ("layer_last", [true, false]),
        ("fairseq_finetuned.pt", [true, false]),
        ("fairseq_pretrained.pt", [false, true]),
        ("torchaudio_usual.pt", [true, false]),
        ("ctc.safetensors", [false, false]),
        ("nothing", [false, false]),
    ] {
        assert_eq!(recognised(&fixtures().join(case)), expected, "{case}");
    }
    let directory = tempfile::tempdir().unwrap();
    for (text, expected) in [
        (r#"{"model_type": "hubert", "architectures": ["Wav2Vec2ForCTC"]}"#, [false, false]),
        (r#"{"architectures": ["Wav2Vec2ForPreTraining"]}"#, [true, false]),
        (r#"{"model_type": "wav2vec2", "feat_extract_norm": "layer", "do_stable_layer_norm": true}"#, [false, true]),
        ("[", [false, false]),
    ] {
        std::fs::write(directory.path().join("config.json"), text).unwrap();
        assert_eq!(recognised(directory.path()), expected, "{text}");
    }
}

#[test]
fn another_model_is_named() {
    let one = || Tensor::ones([1], (Kind::Float, Device::Cpu));
    let recognised =
        |path: &Path| ["wav2vec2", "xlsr"].map(|name| (registry::find::<ModelEntry>(name).unwrap().recognises)(path));
    for (tensor, name, claimed) in [
        ("label_embs_concat", "HuBERT", true),
        ("final_proj.weight", "HuBERT", true),
        ("encoder.pos_conv.0.0.weight", "data2vec", true),
        ("feature_aggregator.conv_layers.0.1.weight", "wav2vec 1.0", true),
        ("bert.embeddings.word_embeddings.weight", "BERT", false),
    ] {
        let directory = changed("base", |tensors| _ = tensors.insert(tensor.into(), one()));
        for without_config in [false, true] {
            if without_config {
                std::fs::remove_file(directory.path().join("config.json")).unwrap();
                assert_eq!(recognised(directory.path()), [claimed, false], "{tensor}");
            }
            let message = open(directory.path(), "", None).err().unwrap().to_string();
            let part = format!(": is a {name} by its tensor `{tensor}`");
            assert!(message.contains(&part), "`{part}` is not in: {message}");
        }
    }
}

#[test]
fn one_of_several_checkpoints_has_to_be_given() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["checkpoint_last.pt", "checkpoint_best.pt"] {
        copy(fixtures().join("fairseq_finetuned.pt"), directory.path().join(name)).unwrap();
    }
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    let part = "holds 2 checkpoints (checkpoint_best.pt, checkpoint_last.pt); give one of them";
    assert!(message.ends_with(part), "{message}");
    let recognised = |name| (registry::find::<ModelEntry>(name).unwrap().recognises)(directory.path());
    assert!(recognised("wav2vec2") && !recognised("xlsr"));
    open(&directory.path().join("checkpoint_best.pt"), "", None).unwrap();
}

#[test]
fn what_does_not_fit_is_listed_at_once() {
    let ones = |shape: &[i64]| Tensor::ones(shape, (Kind::Float, Device::Cpu));
    let directory = changed("base", |tensors| {
        tensors.remove("wav2vec2.encoder.layers.1.attention.q_proj.bias");
        tensors.insert("wav2vec2.encoder.layers.0.feed_forward.output_dense.weight".into(), ones(&[3, 4]));
        tensors.insert("wav2vec2.encoder.layers.2.final_layer_norm.bias".into(), ones(&[16]));
        tensors.insert("wav2vec2.encoder.pos_conv.0.weight_g".into(), ones(&[1, 1, 8]));
        tensors.insert("wav2vec2.other.proj.weight".into(), ones(&[1]));
    });
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    for part in [
        "5 problems",
        "`wav2vec2.encoder.layers.1.attention.q_proj.bias` of shape [16] is missing",
        "output_dense.weight` has shape [3, 4]; by config.json it is [16, 20]",
        "`wav2vec2.encoder.layers.2.final_layer_norm.bias` belongs to no part",
        "are both `wav2vec2.encoder.pos_conv_embed.conv.weight_g`",
        "`wav2vec2.other.proj.weight` belongs to no part",
    ] {
        assert!(message.contains(part), "{part} in:\n{message}");
    }
    let directory = changed("base", |tensors| {
        let _ = tensors["wav2vec2.encoder.layer_norm.bias"].get(2).fill_(f64::NAN);
    });
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    assert!(message.contains("wav2vec2.encoder.layer_norm.bias[2] is NaN"), "{message}");
}

#[test]
fn what_content_does_not_tell_is_asked_for() {
    let message = open(&fixtures().join("torchaudio_base.pt"), "", None).err().unwrap().to_string();
    for part in ["2 problems", "strides", "[10, 3, 2]", "attention heads", "config.json beside"] {
        assert!(message.contains(part), "{part} in:\n{message}");
    }
    let message = open(&fixtures().join("ctc.safetensors"), "", None).err().unwrap().to_string();
    assert!(message.contains("it is no wav2vec 2.0 model"), "{message}");
    let message = open(Path::new("/nonexistent/wav2vec2"), "", None).err().unwrap().to_string();
    assert!(message.contains("/nonexistent/wav2vec2"), "{message}");
}
