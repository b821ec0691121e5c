//! Dictionaries, spelling, and decoding.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{labels, open, refused, second, write};
use lopper_core::{Error, Predictions, Split};
use lopper_speech::{Dictionary, decode};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use tch::Tensor;

#[test]
fn the_built_in_letters_are_those_of_fairseq() {
    let letters = Dictionary::letters();
    let expected = "<s> <pad> </s> <unk> | E T A O N I H S R D L U M W C F G Y P B V K ' X J Q Z";
    assert_eq!(letters.symbols().join(" "), expected);
    assert_eq!((letters.len(), letters.blank(), letters.unknown(), letters.delimiter()), (32, 0, Some(3), "|"));
    assert_eq!(
        (letters.id("E"), letters.id("<s>"), letters.id("e"), letters.symbol(31)),
        (Some(5), None, None, Some("Z"))
    );
    assert!(letters.is_special(3) && !letters.is_special(4) && letters.symbol(32).is_none());
}

#[test]
fn dictionaries_are_read_in_both_layouts() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str, text: &str| {
        let path = folder.path().join(name);
        write(&path, text);
        Dictionary::read(&path)
    };
    let fairseq = read("dict.ltr.txt", "| 94802\nE 51860\n' 3\nx y 7 #fairseq:overwrite\n\n").unwrap();
    assert_eq!(fairseq.symbols(), ["<s>", "<pad>", "</s>", "<unk>", "|", "E", "'", "x y"]);
    let vocabulary =
        read("vocab.json", r#"{"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "B": 6, "A": 5}"#).unwrap();
    assert_eq!((vocabulary.blank(), vocabulary.unknown(), vocabulary.id("B")), (0, Some(3), Some(6)));
    assert_eq!(vocabulary.symbols()[4..], ["|", "A", "B"]);
    let other = read("other.JSON", r#"{"a": 1, " ": 0, "[PAD]": 2}"#).unwrap();
    assert_eq!((other.blank(), other.unknown(), other.delimiter()), (2, None, " "));
    let message = |name: &str, text: &str| read(name, text).unwrap_err().to_string();
    for (name, text, part) in [
        ("d.txt", "", "holds no symbols"),
        ("d.txt", "A 1\nB\nC x\n 5\nA 2\n<s> 1\n", "d.txt, line 2: `B` is not a symbol, a space and its count"),
        ("d.txt", "A 1\nB\nC x\n 5\nA 2\n<s> 1\n", "d.txt, line 5: the symbol `A` is there twice"),
        ("d.txt", "A 1\nB\nC x\n 5\nA 2\n<s> 1\n", "d.txt, line 6: the symbol `<s>` is there twice"),
        ("v.json", "[]", "is not a JSON object"),
        ("v.json", "{", "is not JSON"),
        ("v.json", r#"{"<pad>": 0, "A": 2}"#, "the id of `A` is `2`; every id from 0 to 1 once"),
        ("v.json", r#"{"<pad>": 0, "A": 0}"#, "every id from 0 to 1 once"),
        ("v.json", r#"{"<pad>": 0, "A": -1}"#, "`-1`"),
        ("v.json", r#"{"<pad>": 0, "A": {"B": 1}}"#, "the id of `A`"),
        ("v.json", r#"{"A": 0}"#, "neither `<pad>` nor `[PAD]`"),
    ] {
        let found = message(name, text);
        assert!(found.contains(part), "`{part}` is not in: {found}");
    }
    // No more lines are looked at than a head has outputs.
    let many = |n: u32| -> String { (0..n).map(|n| format!("s{n} 1\n")).collect() };
    assert_eq!(read("d.txt", &many(9_996)).unwrap().len(), 10_000);
    for n in [9_997, 1_000_000] {
        let found = message("d.txt", &many(n));
        assert!(
            found.ends_with("d.txt, line 9997: is one symbol too many; a head has at most 10000 outputs"),
            "{found}"
        );
    }
    assert!(message("d.txt", &"A 1\n".repeat(1_000_000)).contains("999979 more problems"));
    let long = format!("{{\"<pad>\": 0{}}}", " ".repeat(1 << 20));
    assert!(message("v.json", &long).contains("at most 1048576 are accepted"));
    assert!(matches!(Dictionary::read(Path::new("/nowhere/d.txt")), Err(Error::File { .. })));
}

#[test]
fn the_blank_of_a_vocabulary_is_the_padding_of_the_files_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vocab.json");
    write(&path, r#"{"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "a": 4, "_": 5}"#);
    let read = |tokenizer: Option<&str>, config: Option<&str>| {
        for (name, text) in [("tokenizer_config.json", tokenizer), ("config.json", config)] {
            let _ = std::fs::remove_file(folder.path().join(name));
            text.into_iter().for_each(|text| write(&folder.path().join(name), text));
        }
        Dictionary::read(&path)
    };
    let blank = |tokenizer, config| read(tokenizer, config).unwrap().blank();
    assert_eq!(blank(None, None), 1);
    assert_eq!(blank(Some(r#"{"pad_token": "<s>"}"#), None), 0);
    assert_eq!(blank(Some(r#"{"pad_token": {"content": "<s>", "lstrip": false}}"#), None), 0);
    // Where they differ, transformers trains with the number.
    assert_eq!(blank(Some(r#"{"pad_token": "<s>"}"#), Some(r#"{"pad_token_id": 2}"#)), 2);
    assert_eq!(blank(Some(r#"{"pad_token": "<s>"}"#), Some(r#"{"pad_token_id": null}"#)), 0);
    assert_eq!(blank(Some(r#"{"pad_token": "<s>"}"#), Some(r#"{"pad_token_id": 6}"#)), 0);
    assert_eq!(blank(None, Some(r#"{"pad_token_id": 0}"#)), 0);
    // A token that was never added to the vocabulary, and a number that is no output.
    assert_eq!(blank(Some(r#"{"pad_token": "[PAD]"}"#), None), 1);
    assert_eq!(blank(Some(r#"{"pad_token": null}"#), Some(r#"{"pad_token_id": 6}"#)), 1);
    // Whatever the blank is, no transcript is written with it.
    let dictionary = read(Some(r#"{"pad_token": "_"}"#), None).unwrap();
    assert_eq!((dictionary.blank(), dictionary.id("_"), dictionary.id("a")), (5, None, Some(4)));
    let message = read(Some("{"), None).unwrap_err().to_string();
    assert!(message.contains("tokenizer_config.json: is not JSON"), "{message}");
}

#[test]
fn a_head_has_a_dictionary() {
    let head = |symbols: &[&str], blank| Dictionary::of_head(symbols.iter().map(|s| (*s).to_owned()).collect(), blank);
    let letters = head(&["<s>", "<unk>", "|", "A", "B"], 0).unwrap();
    assert_eq!(decode::transcript(&[2, 3, 4, 2, 2, 1, 3, 2], &letters), "AB A");
    assert_eq!(decode::transcript(&[], &letters), "");
    let spaced = head(&["[PAD]", " ", "a", "b"], 0).unwrap();
    assert_eq!(decode::transcript(&[2, 3, 1, 3], &spaced), "ab b");
    let phones = head(&["<s>", "aa", "b", "<", "ts"], 0).unwrap();
    assert_eq!(decode::transcript(&[1, 2, 4, 3, 9, 0], &phones), "aa b ts <");
    assert_eq!(head(&["a", "a"], 0).unwrap_err(), "the symbol `a` is there twice");
    assert_eq!(head(&["a"], 1).unwrap_err(), "has 1 output, and none is the blank 1");
}

/// What `decode` of transformers 4.57.1 and 5.24.0 gives for the checkpoints of make_checkpoint_kinds.py, but that special
/// tokens are not shown.
#[test]
fn texts_are_spelled_as_transformers_decodes() {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wav2vec2/tests/fixtures/kinds");
    let object = |path: std::path::PathBuf| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    };
    let mut compared = 0;
    for version in ["4", "5"] {
        for kind in ["plain", "added", "gaps", "space", "phones", "languages"] {
            let directory = kinds.join(format!("{version}_{kind}"));
            let expected = object(directory.join("expected.json"));
            let dictionary = Dictionary::read(&directory.join("vocab.json")).unwrap();
            let spelling = decode::Spelling::of_tokenizer(
                object(directory.join("tokenizer_config.json")).as_object().unwrap(),
                None,
            );
            let special: Vec<&str> =
                expected["special"].as_object().unwrap().values().filter_map(|t| t.as_str()).collect();
            for (path, decoded) in
                expected["paths"].as_array().unwrap().iter().zip(expected["decoded"].as_array().unwrap())
            {
                let ids = path.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as usize).collect::<Vec<_>>();
                let text = special.iter().fold(decoded.as_str().unwrap().to_owned(), |text, token| {
                    text.replace(token, "").replace(&token.to_lowercase(), "")
                });
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                let spelled = spelling.text(&collapsed(&ids, dictionary.blank()), &dictionary);
                assert_eq!(spelled, text, "{version}_{kind}: {path}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 36);
}

#[test]
fn the_files_beside_a_vocabulary_name_the_other_outputs_of_its_model() {
    let kinds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wav2vec2/tests/fixtures/kinds");
    let read = |name: &str| Dictionary::read(&kinds.join(name).join("vocab.json")).unwrap();
    let added = read("5_added");
    assert_eq!(added.symbols().join(" "), "| A B C [UNK] [PAD] <s> </s>");
    assert_eq!((added.id("<s>"), added.blank(), added.unknown()), (None, 5, Some(4)));
    let gaps = read("4_gaps");
    assert_eq!(gaps.symbols().join(" "), "| A <2> C [UNK] [PAD] <6> <7> <8>");
    assert!(gaps.id("<2>").is_none() && gaps.is_special(8) && gaps.id("C") == Some(3));
    assert_eq!((read("5_space").delimiter(), read("4_languages").len()), (" ", 6));
    // A head of which nothing is known has numbers for symbols.
    let numbered = Dictionary::of_head(vec!["<0>".into(), "<1>".into()], 0).unwrap();
    assert_eq!(numbered.id("<1>"), Some(1));
    // Alone, a vocabulary has no outputs but its own.
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(kinds.join("5_added/vocab.json"), folder.path().join("vocab.json")).unwrap();
    std::fs::copy(kinds.join("5_added/added_tokens.json"), folder.path().join("added_tokens.json")).unwrap();
    assert_eq!(Dictionary::read(&folder.path().join("vocab.json")).unwrap().len(), 6);
    write(&folder.path().join("tokenizer_config.json"), r#"{"word_delimiter_token": "B"}"#);
    assert_eq!(Dictionary::read(&folder.path().join("vocab.json")).unwrap().delimiter(), "B");
}

#[test]
fn a_configuration_may_list_the_symbols() {
    let folder = tempfile::tempdir().unwrap();
    corpus(folder.path(), "ab b");
    let given = "dictionary = { vocabulary = ['a', '|', 'b', '<pad>'], blank = 3 }";
    let data = open(folder.path(), given).unwrap();
    assert_eq!(labels(&data, &Split::TRAIN), ["a b | b |"]);
    assert_eq!((data.dictionary().blank(), data.dictionary().len()), (3, 4));
    refused(folder.path(), "dictionary = { vocabulary = ['a'], blank = 3 }", &["[data] dictionary", "the blank 3"]);
    let unknown = "dictionary = { vocabulary = ['a', '|', 'b', '<pad>'], blank = 3, delimiter = '|' }";
    refused(folder.path(), unknown, &["expected a name, a path, or { vocabulary", "without other keys"]);
    refused(folder.path(), "dictionary = { vocabulary = ['a'] }", &["expected a name, a path, or { vocabulary"]);
}

#[test]
fn a_training_set_is_counted_as_fairseq_counts() {
    let counts = [("b", 2), ("a", 2), ("|", 5), ("é", 1), ("z", 1), ("字", 2)];
    let counts: BTreeMap<String, u64> = counts.into_iter().map(|(s, n)| (s.to_owned(), n)).collect();
    let dictionary = Dictionary::from_counts(&counts).unwrap();
    assert_eq!(dictionary.symbols()[4..], ["|", "a", "b", "字", "z", "é"]);
    let special = BTreeMap::from([("<unk>".to_owned(), 1)]);
    assert!(Dictionary::from_counts(&special).unwrap_err().contains("`<unk>` is there twice"));
}

/// One row of JSON lines with a text.
fn corpus(directory: &Path, text: &str) {
    second(&directory.join("a.wav"));
    let row = serde_json::json!({ "audio": "a.wav", "text": text });
    write(&directory.join("train.jsonl"), row.to_string());
    write(&directory.join("dev.jsonl"), row.to_string());
}

#[test]
fn texts_are_spelled_in_the_case_of_the_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    corpus(path, " It's\u{a0}été, \tno? ");
    let spelled = |options: &str| labels(&open(path, options).unwrap(), &Split::TRAIN)[0].clone();
    assert_eq!(spelled("remove = ',?é'"), "I T ' S | T | N O |");
    assert_eq!(spelled("dictionary = 'train'"), "I T ' S | É T É , | N O ? |");
    assert_eq!(spelled("dictionary = 'train'\ncase = 'keep'"), "I t ' s | é t é , | n o ? |");
    assert_eq!(spelled("dictionary = 'train'\ncase = 'lower'\nremove = ',?'"), "i t ' s | é t é | n o |");
    write(&path.join("vocab.json"), r#"{"<pad>":0,"|":1,"i":2,"t":3,"'":4,"s":5,"é":6,"n":7,"o":8}"#);
    assert_eq!(spelled("dictionary = 'vocab.json'\nremove = ',?'"), "i t ' s | é t é | n o |");
    let data = open(path, "dictionary = 'vocab.json'\nremove = ',?'").unwrap();
    assert_eq!(data.dictionary().blank(), 0);
    assert_eq!(decode::text(&[2, 3, 1, 1, 7, 99, 0], data.dictionary()), "it n<pad>");
    refused(
        path,
        "dictionary = 'vocab.json'",
        &["has `,`, `?`, which the dictionary does not have", "the dictionary has only | i t ' s é n o"],
    );
    refused(path, "dictionary = 'vocab.json'\nunknown = 'unk'", &["no symbol for what it does not know"]);
    refused(path, "dictionary = 'absent.txt'", &["absent.txt: is no file; `dictionary` is `letters`, `train`"]);
    // Letters of a named language come from its training set.
    write(&path.join("sv.jsonl"), r#"{"audio": "a.wav", "text": "å a"}"#);
    let swedish = "languages = ['sv']\ntrain = '{language}.jsonl'\nvalidation = '{language}.jsonl'";
    assert_eq!(spelled(swedish), "Å | A |");
}

fn predictions(rows: &[Vec<usize>], outputs: usize) -> Predictions {
    let time = rows.iter().map(Vec::len).max().unwrap_or(0);
    let mut logits = vec![-1f32; rows.len() * time * outputs];
    for (row, path) in rows.iter().enumerate() {
        path.iter().enumerate().for_each(|(step, symbol)| logits[(row * time + step) * outputs + symbol] = 1.0);
    }
    let shape = [rows.len() as i64, time as i64, outputs as i64];
    let lengths = rows.iter().map(|row| row.len() as i64).collect();
    Predictions { logits: Tensor::from_slice(&logits).reshape(shape), lengths: Some(lengths) }
}

#[test]
fn the_best_path_collapses_repeats_and_drops_blanks() {
    let rows = [vec![0, 1, 1, 0, 1, 2, 2, 0], vec![2, 2, 1], vec![], vec![0, 0]];
    let found = decode::greedy(&predictions(&rows, 3), 0).unwrap();
    assert_eq!(found, [vec![1, 1, 2], vec![2, 1], vec![], vec![]]);
    assert_eq!(decode::greedy(&predictions(&rows, 3), 2).unwrap()[0], [0, 1, 0, 1, 0]);
    assert_eq!(
        decode::greedy_among(&predictions(&rows, 3), 0, &|id| id == 2).unwrap(),
        [vec![2], vec![2], vec![], vec![]]
    );
    // Of equal outputs the first counts, and what lies beyond a row's length does not.
    let equal = Tensor::zeros([1, 3, 4], (tch::Kind::Half, tch::Device::Cpu));
    assert_eq!(decode::greedy(&Predictions { logits: equal, lengths: None }, 1).unwrap(), [[0]]);
    let infinite = Tensor::from_slice(&[f32::NEG_INFINITY, 0.0, f32::NAN, f32::NAN]).reshape([1, 2, 2]);
    assert_eq!(decode::greedy(&Predictions { logits: infinite, lengths: Some(vec![1]) }, 0).unwrap(), [[1]]);
    let error = decode::greedy(&predictions(&rows, 3), 3).unwrap_err().to_string();
    assert!(error.contains("the blank is output 3, and there are 3"), "{error}");
}

#[test]
fn decoding_is_torchs_argmax_and_unique_consecutive() {
    for seed in 0..500 {
        tch::manual_seed(seed);
        let (rows, time, outputs, blank) = (1 + seed % 4, 1 + seed % 23, 2 + seed % 6, (seed / 3) % (2 + seed % 6));
        let logits = Tensor::randn([rows, time, outputs], (tch::Kind::Float, tch::Device::Cpu));
        let lengths: Vec<i64> = (0..rows).map(|row| (seed * 5 + row * 7) % (time + 1)).collect();
        let found = Predictions { logits: logits.copy(), lengths: Some(lengths.clone()) };
        let found = decode::greedy(&found, blank as usize).unwrap();
        for (row, length) in (0..rows).zip(lengths) {
            let path = logits.get(row).narrow(0, 0, length).argmax(-1, false);
            let (collapsed, _, _) = path.unique_consecutive(false, false, None);
            let expected: Vec<i64> = Vec::try_from(collapsed).unwrap();
            let expected: Vec<u32> = expected.into_iter().filter(|id| *id != blank).map(|id| id as u32).collect();
            assert_eq!(found[row as usize], expected, "seed {seed}, row {row}");
        }
    }
}

/// What CTC says, symbol by symbol.
fn collapsed(path: &[usize], blank: usize) -> Vec<u32> {
    let mut symbols = Vec::new();
    for (step, symbol) in path.iter().enumerate() {
        if *symbol != blank && (step == 0 || path[step - 1] != *symbol) {
            symbols.push(*symbol as u32);
        }
    }
    symbols
}

proptest! {
    #[test]
    fn any_path_is_collapsed(rows in prop::collection::vec(prop::collection::vec(0usize..4, 0..20), 1..6), blank in 0usize..4) {
        prop_assume!(rows.iter().any(|row| !row.is_empty()));
        let wanted: Vec<_> = rows.iter().map(|row| collapsed(row, blank)).collect();
        prop_assert_eq!(decode::greedy(&predictions(&rows, 4), blank).unwrap(), wanted);
    }

    /// Any bytes are a dictionary or an error.
    #[test]
    fn no_dictionary_panics(
        pieces in prop::collection::vec(prop::sample::select(vec!["A", " ", "1", "\n", "\u{feff}", "<s>", "{", "\"<pad>\"", ":", "0", "}", ",", "é"]), 0..30),
    ) {
        let text = pieces.concat();
        let folder = tempfile::tempdir().unwrap();
        for name in ["d.txt", "d.json"] {
            let path = folder.path().join(name);
            write(&path, &text);
            if let Ok(dictionary) = Dictionary::read(&path) {
                prop_assert!(dictionary.blank() < dictionary.len());
            }
        }
    }
}
