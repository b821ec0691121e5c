//! Tokenizers in the files that people have: tokens and segments are those of transformers 4.57.1 and 5.24.0, which
//! make_door_tokenizers.py wrote down.
#![allow(clippy::unwrap_used)]

mod common;

use common::fixtures;
use lopper_bert::{BertConfig, BertTokenizer};
use lopper_core::{Features, Input, Preprocessor, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize, PartialEq, Debug)]
struct Case {
    tokenizer: String,
    first: String,
    second: Option<String>,
    max_length: Option<u32>,
    ids: Vec<u32>,
    segments: Vec<u32>,
}

fn door() -> PathBuf {
    fixtures().join("door")
}

fn expected(version: &str) -> Vec<Case> {
    serde_json::from_slice(&std::fs::read(door().join(format!("tokens-{version}.json"))).unwrap()).unwrap()
}

fn read(directory: &Path) -> Result<Option<BertTokenizer>> {
    let config = BertConfig::read(directory).unwrap();
    BertTokenizer::read(directory, &config)
}

#[test]
fn tokens_and_segments_are_those_of_both_versions() {
    let mut tokenizers = BTreeMap::new();
    let mut check = |case: &Case| {
        let name = case.tokenizer.clone();
        let tokenizer = tokenizers.entry(name.clone()).or_insert_with(|| read(&door().join(&name)).unwrap().unwrap());
        let input = Input::Text { first: &case.first, second: case.second.as_deref() };
        let found = tokenizer.features(input, case.max_length).unwrap();
        found == Features::Tokens { ids: case.ids.clone(), segments: case.segments.clone() }
    };
    let (old, new) = (expected("4.57.1"), expected("5.24.0"));
    for case in &old {
        assert!(check(case), "4.57.1: {case:?}");
    }
    assert!(old.len() >= 150 && new.len() >= 170);
    // Where the versions differ, 4.57.1 is followed: 5.24.0 also finds special tokens of `special_tokens_map.json` in
    // small letters, and tells no segments apart for a `PreTrainedTokenizerFast`.
    let same = |a: &Case, b: &Case| {
        (&a.tokenizer, &a.first, &a.second, a.max_length) == (&b.tokenizer, &b.first, &b.second, b.max_length)
    };
    let differ = |case: &Case| old.iter().any(|old| same(old, case) && old != case);
    let mut differing = BTreeMap::<&str, usize>::new();
    for case in &new {
        if differ(case) {
            *differing.entry(&case.tokenizer).or_default() += 1;
        } else {
            assert!(check(case), "5.24.0: {case:?}");
        }
    }
    assert_eq!(differing, BTreeMap::from([("added_special", 2), ("fast_json", 4)]));
}

#[test]
fn every_file_is_kept_for_the_saved_copy() {
    let kept = |name: &str| {
        let tokenizer = read(&door().join(name)).unwrap().unwrap();
        let mut names: Vec<_> = tokenizer.artifacts().iter().map(|artifact| artifact.name.clone()).collect();
        names.sort();
        names.join(" ")
    };
    assert_eq!(kept("added_alone"), "added_tokens.json vocab.txt");
    assert_eq!(kept("added_special"), "added_tokens.json special_tokens_map.json tokenizer_config.json vocab.txt");
}

/// A copy of a fixture with files added or replaced.
fn with(name: &str, files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(door().join(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    for (file, text) in files {
        std::fs::write(directory.path().join(file), text).unwrap();
    }
    directory
}

fn refused(name: &str, files: &[(&str, &str)]) -> String {
    read(with(name, files).path()).err().map(|e| e.to_string()).unwrap_or_default()
}

#[test]
fn a_vocabulary_of_another_class_is_refused_by_its_name() {
    for class in
        ["BertJapaneseTokenizer", "KoBertTokenizer", "RobertaTokenizer", "HerbertTokenizerFast", "XLMRobertaTokenizer"]
    {
        let settings = format!(r#"{{"tokenizer_class": "{class}"}}"#);
        let told = refused("added_alone", &[("tokenizer_config.json", &settings)]);
        assert!(told.contains("vocab.txt") && told.contains(class) && told.contains("tokenizer.json"), "{told}");
        // As cl-tohoku's checkpoints say it: in config.json alone.
        let config = format!(r#"{{"model_type": "bert", "vocab_size": 34, "tokenizer_class": "{class}"}}"#);
        assert!(refused("added_alone", &[("config.json", &config)]).contains(class));
        assert_eq!(refused("fast_json", &[("tokenizer_config.json", &settings)]), "", "a tokenizer.json says all");
    }
    let (own, config) = (
        r#"{"tokenizer_class": "BertTokenizerFast"}"#,
        r#"{"model_type": "bert", "vocab_size": 34, "tokenizer_class": "BertJapaneseTokenizer"}"#,
    );
    assert_eq!(refused("added_alone", &[("tokenizer_config.json", own), ("config.json", config)]), "");
}

#[test]
fn options_that_cannot_be_followed_are_refused() {
    let told = |settings: &str| refused("left", &[("tokenizer_config.json", settings)]);
    assert!(told(r#"{"truncation_side": "middle"}"#).contains("truncation_side is \"middle\"; left or right"));
    for names in [r#"["input_ids"]"#, r#""input_ids""#, "[1]", r#"["token_type_ids", "attention_mask"]"#] {
        let told = told(&format!(r#"{{"model_input_names": {names}}}"#));
        assert!(told.contains("model_input_names is") && told.contains("input_ids and attention_mask"), "{told}");
    }
    assert_eq!(told(r#"{"model_input_names": null, "truncation_side": null}"#), "");
}

#[test]
fn added_tokens_that_contradict_are_refused() {
    let file = |text: &str| refused("added", &[("added_tokens.json", text)]);
    for (text, expected) in [
        (
            r#"{"[E1]": 33}"#,
            "`[E1]` is said to have the id 33; behind the vocabulary and the tokens before it follows 32",
        ),
        (r#"{"cat": 7}"#, "`cat` is said to have the id 7; it has 6"),
        (r#"{"[E1]": 32, "[E2]": 32}"#, "have the same id, 32"),
        (r#"{"[E1]": "32"}"#, "`[E1]` has the id \"32\"; a whole number"),
        (r#"{"[E1]": -1}"#, "has the id -1"),
        (r#"{"a1": 32, "a2": 33, "a3": 34}"#, "`a3` has id 34; config.json's vocab_size allows up to 33"),
        ("[]", "added_tokens.json: not a JSON object"),
    ] {
        let told = file(text);
        assert!(told.contains(expected), "{expected} in: {told}");
    }
    for (decoder, expected) in [
        (r#"{"x": {"content": "[E1]"}}"#, "added_tokens_decoder has \"x\""),
        (r#"{"32": "[E1]"}"#, "an id and a token were expected"),
        (r#"{"32": {"content": "[E1]", "lstrip": 1}}"#, "an id and a token were expected"),
        ("[]", "added_tokens_decoder is []"),
    ] {
        let told = refused("added", &[("tokenizer_config.json", &format!(r#"{{"added_tokens_decoder": {decoder}}}"#))]);
        assert!(told.contains("tokenizer_config.json") && told.contains(expected), "{expected} in: {told}");
    }
}

#[test]
fn what_features_depend_on_is_in_the_identity() {
    let identity = |name: &str| read(&door().join(name)).unwrap().unwrap().identity();
    let all = ["additional", "left", "one_segment", "added", "decoder", "map_names"].map(identity);
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
}
