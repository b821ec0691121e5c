//! Token ids and segments are those of transformers' `BertTokenizerFast`, and what is refused.
#![allow(clippy::unwrap_used)]

mod common;

use common::fixtures;
use lopper_bert::{BertConfig, BertTokenizer};
use lopper_core::{Error, Features, Input, Preprocessor};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    first: String,
    second: Option<String>,
    max_length: Option<u32>,
    ids: Vec<u32>,
    segments: Vec<u32>,
}

fn config(more: &str) -> BertConfig {
    let text = format!(r#"{{"model_type": "bert", "vocab_size": 110, "max_position_embeddings": 512{more}}}"#);
    BertConfig::parse(text.as_bytes(), Path::new("config.json")).unwrap()
}

fn tokenizer(name: &str) -> BertTokenizer {
    BertTokenizer::read(&fixtures().join("tokenizer").join(name), &config("")).unwrap().unwrap()
}

fn text<'a>(first: &'a str, second: Option<&'a str>) -> Input<'a> {
    Input::Text { first, second }
}

#[test]
fn ids_equal_those_of_transformers() {
    let cases = std::fs::read(fixtures().join("tokenizer/expected.json")).unwrap();
    let cases: Vec<Case> = serde_json::from_slice(&cases).unwrap();
    assert!(cases.len() > 500);
    let mut tokenizers = HashMap::new();
    for case in &cases {
        let tokenizer = tokenizers.entry(&case.tokenizer).or_insert_with(|| tokenizer(&case.tokenizer));
        let found = tokenizer.features(text(&case.first, case.second.as_deref()), case.max_length).unwrap();
        let expected = Features::Tokens { ids: case.ids.clone(), segments: case.segments.clone() };
        assert_eq!(found, expected, "{}: {:?} {:?} {:?}", case.tokenizer, case.first, case.second, case.max_length);
    }
}

#[test]
fn pads_to_the_longest() {
    let tokenizer = tokenizer("uncased");
    let features = [text("cat", Some("the mat")), text("", None)].map(|t| tokenizer.features(t, None).unwrap());
    let inputs = tokenizer.collate(&[&features[0], &features[1]]).unwrap();
    let rows = |name: &str| Vec::<Vec<i64>>::try_from(&inputs[name]).unwrap();
    assert_eq!(rows("input_ids"), [[2, 6, 3, 5, 9, 3], [2, 3, 0, 0, 0, 0]]);
    assert_eq!(rows("attention_mask"), [[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0]]);
    assert_eq!(rows("token_type_ids"), [[0, 0, 0, 1, 1, 1], [0; 6]]);
    assert!(tokenizer.collate(&[]).unwrap_err().to_string().contains("at least one"));
}

#[test]
fn refuses_lengths_it_cannot_hold() {
    let tokenizer = tokenizer("uncased");
    for (length, second, expected) in
        [(513, None, "to 512"), (2, None, "from 3"), (4, Some("x"), "from 5"), (0, None, "from 3")]
    {
        let message = tokenizer.features(text("cat", second), Some(length)).unwrap_err().to_string();
        assert!(message.contains(&format!("max_length = {length}")) && message.contains(expected), "{message}");
    }
    let long = "cat ".repeat(1000);
    assert_eq!(tokenizer.features(text(&long, None), None).unwrap().len(), 512);
}

#[test]
fn identity_follows_what_ids_depend_on() {
    let all = ["uncased", "cased", "accents", "cased_stripped", "json"].map(|name| tokenizer(name).identity());
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert_eq!(tokenizer("cased").identity(), all[1]);
    let shorter = config(r#", "type_vocab_size": 1"#);
    let shorter = BertTokenizer::read(&fixtures().join("tokenizer/cased"), &shorter).unwrap().unwrap();
    assert_ne!(shorter.identity(), all[1]);
    let pair = shorter.features(text("cat", Some("mat")), None);
    assert!(matches!(pair, Err(Error::Unsupported { .. })));
    assert!(matches!(
        shorter.features(Input::Audio { samples: &[], sample_rate: 1 }, None),
        Err(Error::Unsupported { .. })
    ));
}

#[test]
fn refuses_broken_files() {
    let check = |files: &[(&str, &[u8])], expected: &str| {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(directory.path().join(name), bytes).unwrap();
        }
        let message = BertTokenizer::read(directory.path(), &config("")).err().unwrap().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(&[("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\ncat\n")], "no line for the special tokens `[SEP]`, `[MASK]`");
    check(&[("vocab.txt", b"\xff\xfe")], "not UTF-8");
    check(&[("vocab.txt", b"")], "no line for the special tokens");
    check(&[("tokenizer.json", b"")], "not a JSON object");
    check(&[("tokenizer.json", b"{}")], "not a tokenizer");
    check(&[("tokenizer.json", b"{\"model\": {\"type\": \"WordPiece\", \"vocab\": 3}}")], "not a tokenizer");
    let settings = b"{\"do_lower_case\": 1, \"unk_token\": 7}";
    check(
        &[("vocab.txt", b""), ("tokenizer_config.json", settings)],
        "do_lower_case is 1; true, false or null would be",
    );
    check(&[("vocab.txt", b""), ("tokenizer_config.json", settings)], "unk_token is 7");
    let many: String = "[PAD] [UNK] [CLS] [SEP] [MASK]"
        .split(' ')
        .map(str::to_owned)
        .chain((0..200).map(|i| format!("t{i}")))
        .map(|t| t + "\n")
        .collect();
    check(&[("vocab.txt", many.as_bytes())], "`t105` has id 110; config.json's vocab_size allows up to 109");
    assert!(BertTokenizer::read(tempfile::tempdir().unwrap().path(), &config("")).unwrap().is_none());
}

#[test]
fn one_that_somebody_has_is_shared_as_long_as_it_is_the_same() {
    let directory = fixtures().join("tokenizer/uncased");
    let shared = |config: &BertConfig| BertTokenizer::shared(&directory, config).unwrap().unwrap();
    let one = shared(&config(""));
    assert!(Arc::ptr_eq(&one, &shared(&config(r#", "hidden_dropout_prob": 0.5"#))));
    // Another configuration reads the same files otherwise.
    assert!(!Arc::ptr_eq(&one, &shared(&config(r#", "type_vocab_size": 1"#))));
    let cased = BertTokenizer::shared(&fixtures().join("tokenizer/cased"), &config("")).unwrap().unwrap();
    assert_ne!(one.identity(), cased.identity());
}
