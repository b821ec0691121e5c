//! Checkpoints with the heads, wrappings and types that people have: answers are those of transformers 4.57.1 and 5.24.0,
//! which make_door_checkpoints.py wrote down, and what is not ours is kept or named.
#![allow(clippy::unwrap_used)]

mod common;

use common::{fixtures, open, task};
use lopper_bert::BertModel;
use lopper_core::{Batch, Features, Head, Input, Model, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

fn heads() -> PathBuf {
    fixtures().join("heads")
}

fn model(name: &str) -> BertModel {
    open(&heads().join(name), "", None).unwrap()
}

fn answer(model: &BertModel) -> Result<Vec<f32>> {
    let preprocessor = model.preprocessor().unwrap();
    let input = Input::Text { first: "the cat sat on the mat", second: None };
    let features = preprocessor.features(input, None).unwrap();
    assert!(matches!(&features, Features::Tokens { ids, .. } if ids == &[2, 5, 6, 7, 8, 5, 9, 3]));
    let predictions = model.predict(&Batch::new(preprocessor.collate(&[&features]).unwrap(), None, 1))?;
    Ok(Vec::try_from(predictions.logits.view([-1])).unwrap())
}

fn answers(version: &str) -> BTreeMap<String, BTreeMap<String, Vec<f32>>> {
    serde_json::from_slice(&std::fs::read(heads().join(format!("answers-{version}.json"))).unwrap()).unwrap()
}

/// Config as a saved copy has it.
fn saved_config(model: &BertModel) -> Value {
    serde_json::from_slice(&model.artifacts().unwrap()[0].bytes).unwrap()
}

fn config(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(heads().join(name).join("config.json")).unwrap()).unwrap()
}

/// What answers for whole texts.
const OURS: [&str; 8] = ["sequence", "one_output", "pad", "half", "numbers", "wrapped", "pruning", "trainer"];
/// What does not, with a part of its description.
const OTHERS: [(&str, &str); 7] = [
    ("several_labels", "several labels at a time"),
    ("token", "BertForTokenClassification, a head for classification of tokens"),
    ("choice", "BertForMultipleChoice"),
    ("spans", "BertForQuestionAnswering"),
    ("masked_lm", "BertForMaskedLM"),
    ("pretraining", "BertForPreTraining"),
    ("next_sentence", "BertForNextSentencePrediction"),
];

#[test]
fn answers_are_those_of_both_versions() {
    for version in ["4.57.1", "5.24.0"] {
        let expected = answers(version);
        let mut compared = 0;
        for name in OURS {
            let Some(expected) = expected.get(name) else { continue };
            let found = answer(&model(name)).unwrap();
            let expected = &expected["logits"];
            assert_eq!(found.len(), expected.len());
            let largest = expected.iter().fold(0f32, |most, x| most.max(x.abs()));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5 * largest, "{name}, {version}: {found} and {expected}");
            }
            compared += 1;
        }
        assert!(compared >= 5, "{version}");
    }
}

#[test]
fn no_other_head_answers() {
    for (name, what) in OTHERS {
        let model = model(name);
        assert!(model.head().is_none() && model.other_head().is_some_and(|other| other.contains(what)), "{name}");
        let told = answer(&model).unwrap_err().to_string();
        assert!(told.contains(what), "{told}");
        let labels = Head::Classification { labels: vec!["a".into(), "b".into(), "c".into()] };
        let told = open(&heads().join(name), "head = \"checkpoint\"", Some(&task(labels))).err().unwrap().to_string();
        assert!(told.contains(what) && told.contains("head = \"fresh\""), "{told}");
    }
    assert!(answer(&model("base")).unwrap_err().to_string().contains("an encoder without a head"));
}

#[test]
fn other_heads_are_carried_along_and_nothing_is_drawn() {
    for name in OTHERS.map(|(name, _)| name).into_iter().chain(OURS).chain(["base", "compiled"]) {
        let path = heads().join(name);
        let source = lopper_weights::Checkpoint::open_model(
            &path,
            &["bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"],
        )
        .unwrap();
        let bare = |name: &str| ["embeddings.", "encoder.", "pooler."].iter().any(|part| name.starts_with(part));
        let spelled = |name: &str| if bare(name) { format!("bert.{name}") } else { name.to_owned() };
        let there: BTreeSet<String> = source.names().map(spelled).collect();
        let model = model(name);
        let carried = model.carried().unwrap();
        let own = model.parameters().iter().map(|p| p.name.to_string());
        let saved: Vec<String> = own.chain(carried.iter().map(|(name, _)| name.clone())).collect();
        assert_eq!(saved.iter().cloned().collect::<BTreeSet<_>>(), there, "{name}");
        assert_eq!(saved.len(), there.len(), "{name}");
        for (tensor, values) in &carried {
            assert!(*values == source.stored(tensor).unwrap(), "{name}: {tensor}");
        }
        assert_eq!(carried.is_empty(), !OTHERS.iter().any(|(other, _)| *other == name), "{name}");
        assert_eq!(saved_config(&model), {
            let mut expected = config(name);
            expected["dtype"] = "float32".into();
            expected
        });
    }
}

#[test]
fn a_fresh_head_takes_the_place_of_any_other() {
    let two = task(Head::Classification { labels: vec!["no".into(), "yes".into()] });
    for name in OTHERS.map(|(name, _)| name) {
        let model = open(&heads().join(name), "", Some(&two)).unwrap();
        assert!(model.carried().unwrap().is_empty() && model.other_head().is_none());
        assert_eq!(answer(&model).unwrap().len(), 2);
        let config = saved_config(&model);
        assert_eq!(config["architectures"][0], "BertForSequenceClassification");
        assert_eq!(config["id2label"]["1"], "yes");
        let stored = lopper_weights::Checkpoint::open(&heads().join(name)).unwrap();
        let pools = stored.names().any(|name| name.contains("pooler"));
        assert_eq!(model.identity().contains("\"fresh_pooler_seed\":5"), !pools, "{name}");
    }
}

/// A copy of a fixture whose config.json is changed.
fn changed(name: &str, change: impl Fn(&mut Value)) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(heads().join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    let mut config = config(name);
    change(&mut config);
    put(directory.path(), &config);
    directory
}

fn put(directory: &Path, config: &Value) {
    std::fs::write(directory.join("config.json"), config.to_string()).unwrap();
}

#[test]
fn without_a_class_the_names_decide() {
    for (name, what) in OTHERS {
        if ["choice", "several_labels"].contains(&name) {
            continue;
        }
        let directory = changed(name, |config| drop(config.as_object_mut().unwrap().remove("architectures")));
        let model = open(directory.path(), "", None).unwrap();
        assert!(model.head().is_none() && model.other_head().is_some(), "{name}: {what}");
        assert_eq!(model.carried().unwrap().len(), self::model(name).carried().unwrap().len());
    }
    let directory = changed("sequence", |config| drop(config.as_object_mut().unwrap().remove("architectures")));
    assert_eq!(answer(&open(directory.path(), "", None).unwrap()).unwrap(), answer(&model("sequence")).unwrap());
}

#[test]
fn what_cannot_be_read_is_refused_in_one_line() {
    for (change, parts) in [
        (("quantization_config", serde_json::json!({"quant_method": "torchao"})), ["quantization_config", "torchao"]),
        (("model_type", "roberta".into()), ["RoBERTa", "BERT is read"]),
        (("model_type", "electra".into()), ["ELECTRA", "BERT is read"]),
    ] {
        let directory = changed("token", |config| config[change.0] = change.1.clone());
        let told = open(directory.path(), "", None).err().unwrap().to_string();
        assert!(parts.iter().all(|part| told.contains(part)) && !told.contains('\n'), "{told}");
    }
}

#[test]
fn labels_may_be_numbers_truth_values_or_absent() {
    let labels = |id2label: Value| {
        let directory = changed("numbers", |config| config["id2label"] = id2label.clone());
        match open(directory.path(), "", None) {
            Ok(model) => match model.head() {
                Some(Head::Classification { labels }) => labels.join(" "),
                other => format!("{other:?}"),
            },
            Err(e) => e.to_string(),
        }
    };
    assert_eq!(labels(serde_json::json!({"0": 0, "1": 1})), "0 1");
    assert_eq!(labels(serde_json::json!({"0": false, "1": true})), "false true");
    assert_eq!(labels(serde_json::json!({"1": "a", "2": "b"})), "LABEL_0 a");
    assert_eq!(labels(serde_json::json!({})), "LABEL_0 LABEL_1");
    assert!(labels(serde_json::json!({"0": ["a"], "1": "b"})).contains("id2label"));
}
