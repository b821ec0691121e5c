//! What is judged, and how: as jiwer judges all rows that can be heard.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{labels, lines, logged, open, refused, wav, write};
use lopper_core::{Dataset, MetricValue, Predictions, Split};
use lopper_speech::SpeechDataset;
use serde_json::{Value, json};
use std::path::Path;
use tch::Tensor;

/// What the model says when it says `rows`, each symbol by its own.
fn judged(data: &SpeechDataset, rows: &[Vec<String>]) -> Vec<MetricValue> {
    let (dictionary, time) = (data.dictionary(), 2 * rows.iter().map(Vec::len).max().unwrap() + 1);
    let mut logits = vec![0f32; rows.len() * time * dictionary.len()];
    for (step, logits) in logits.chunks_exact_mut(dictionary.len()).enumerate() {
        let symbol = rows[step / time].get(step % time / 2).filter(|_| step % time % 2 == 1);
        logits[symbol.map_or(dictionary.blank(), |symbol| dictionary.id(symbol).unwrap() as usize)] = 1.0;
    }
    let logits = Tensor::from_slice(&logits).reshape([rows.len() as i64, time as i64, dictionary.len() as i64]);
    let all = (0..rows.len()).collect();
    data.evaluate(&Split::VALIDATION, &[(all, Predictions { logits, lengths: None })]).unwrap().metrics
}

/// JSON lines `name.jsonl` of recordings with texts or phones.
fn split(path: &Path, name: &str, key: &str, rows: &[(f64, &str)]) {
    let mut text = String::new();
    for (number, (seconds, said)) in rows.iter().enumerate() {
        let audio = format!("{name}{number}.wav");
        wav(&path.join(&audio), 16_000, 1, 16, *seconds);
        text += &format!("{}\n", json!({"audio": audio, key: said}));
    }
    write(&path.join(format!("{name}.jsonl")), text);
}

/// The values of fixtures/judging.json are jiwer 4.0.0's.
#[test]
fn rates_are_those_of_jiwer_over_all_rows() {
    let sets: Vec<Value> = serde_json::from_slice(&std::fs::read(common::fixture("judging.json")).unwrap()).unwrap();
    for set in &sets {
        let folder = tempfile::tempdir().unwrap();
        let (path, name) = (folder.path(), set["name"].as_str().unwrap());
        let rows = set["rows"].as_array().unwrap();
        let text = |row: &Value, place: usize| row[place].as_str().unwrap().to_owned();
        let said: Vec<_> = rows.iter().map(|row| (row[0].as_f64().unwrap(), row[1].as_str().unwrap())).collect();
        let phones = set["unit"] == "phones";
        split(path, "dev", if phones { "phones" } else { "text" }, &said);
        let options = if phones {
            split(path, "train", "phones", &[(1.0, "h ə l oʊ d͡ʒ ɑ n s j ɛ o")]);
            "unit = 'phones'"
        } else {
            ""
        };
        let data = open(path, options).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((data.len(&Split::VALIDATION), data.skipped()), (rows.len(), 0), "{name}");
        let heard: Vec<Vec<String>> = rows
            .iter()
            .map(|row| match phones {
                true => text(row, 2).split_whitespace().map(str::to_owned).collect(),
                false => text(row, 2).replace(' ', "|").chars().map(String::from).collect(),
            })
            .collect();
        let metrics = judged(&data, &heard);
        for (metric, expected) in set["rates"].as_object().unwrap() {
            let found = metrics.iter().find(|found| found.name == *metric).unwrap().value;
            assert!((found - expected.as_f64().unwrap()).abs() < 1e-12, "{name}: {metric} is {found}, not {expected}");
        }
    }
    assert_eq!(sets.len(), 8);
}

#[test]
fn training_leaves_out_what_only_judging_can_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let rows = [(0.5, "A"), (0.08, "ABC DEF GHI"), (0.5, ""), (0.5, "Ö"), (2.5, "B")];
    for name in ["train", "dev"] {
        split(path, name, "text", &rows);
    }
    let limits = "min_seconds = 0.06\nmax_seconds = 2.0\n";
    refused(path, limits, &["train.jsonl, line 2: ", "4 rows of the train split cannot be used"]);
    let data = open(path, &format!("{limits}skip_bad = true")).unwrap();
    assert_eq!((labels(&data, &Split::TRAIN), data.skipped()), (vec!["A |".to_owned()], 4));
    let counts: Vec<_> = data.counts(&Split::VALIDATION).into_iter().collect();
    assert_eq!((data.len(&Split::VALIDATION), counts), (5, vec![("unknown_symbols", 1)]));
}

#[test]
fn symbols_that_the_dictionary_does_not_have_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    lines(path, "dev", &[(0.5, "ABBA"), (0.5, "A4"), (0.5, "44")]);
    let (data, log) = logged(|| open(path, "").unwrap());
    assert_eq!((data.len(&Split::VALIDATION), data.counts(&Split::VALIDATION)["unknown_symbols"]), (3, 3));
    let [line] = &log[..] else { panic!("{log:?}") };
    for part in
        ["WARN", "rows=2", "dev.jsonl, line 2: has `4`, which", "count as errors", "the dictionary has only | E"]
    {
        assert!(line.contains(part), "`{part}` is not in: {line}");
    }
    // Asked for, it is no news; neither are other things that can be written.
    assert!(logged(|| open(path, "unknown = 'unk'").unwrap()).1.is_empty());
    assert!(logged(|| open(path, "remove = '4'").unwrap()).1.is_empty());
    // Another case, and another unit: nothing of that could be right.
    write(&path.join("dict.txt"), "| 1\na 1\nb 1\n4 1\n");
    refused(
        path,
        "dictionary = 'dict.txt'\ncase = 'upper'",
        &["dev.jsonl, line 1: has `A`, `B`", "`case = \"lower\"`"],
    );
    write(&path.join("dict.txt"), "aa 1\nb 1\n");
    refused(path, "dictionary = 'dict.txt'", &["3 rows of the validation split", "if it is one of phones"]);
    assert_eq!(open(path, "dictionary = 'dict.txt'\nunknown = 'unk'").unwrap().len(&Split::VALIDATION), 3);
}

/// The default case by what is trained on, and what is said of it.
#[test]
fn the_case_keeps_letters_apart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let case = |train: &[(f64, &str)], options: &str| {
        split(path, "train", "text", train);
        split(path, "dev", "text", &[(0.5, "a")]);
        let options = format!("dictionary = 'train'\n{options}");
        let (data, log) = logged(|| open(path, &options).unwrap());
        let mut table: toml::Table = options.parse().unwrap();
        table.insert("path".into(), path.to_str().unwrap().into());
        assert_eq!(&lopper_speech::task(&table).unwrap(), data.task());
        let log: Vec<_> = log.into_iter().filter(|line| line.contains("letters")).collect();
        (labels(&data, &Split::TRAIN), log)
    };
    let (english, log) = case(&[(1.0, "An Apple"), (1.0, "élan É")], "");
    assert_eq!((english, log), (vec!["A N | A P P L E |".to_owned(), "É L A N | É |".to_owned()], vec![]));
    let turkish = [(1.0, "ılık Adil a")];
    let (kept, log) = case(&turkish, "");
    assert_eq!(kept, ["ı l ı k | A d i l | a |"]);
    let [line] = &log[..] else { panic!("{log:?}") };
    assert!(
        line.starts_with("WARN") && line.contains("`i`, `ı` all become `I`; in lower case (`case = \"lower\"`) none"),
        "{line}"
    );
    // What is asked for is done.
    let (upper, log) = case(&turkish, "case = 'upper'");
    assert_eq!(upper, ["I L I K | A D I L | A |"]);
    let [line] = &log[..] else { panic!("{log:?}") };
    assert!(
        line.starts_with("WARN") && line.contains("become others: `i`, `ı` all become `I`; `case = \"keep\"`"),
        "{line}"
    );
    for options in ["case = 'keep'", "case = 'lower'"] {
        assert!(case(&turkish, options).1.is_empty(), "{options}");
    }
    assert_eq!(case(&[(1.0, "Straße a")], "").0, ["S t r a ß e | a |"]);
    assert_eq!(case(&[(1.0, "ο σοφός a")], "").0, ["ο | σ ο φ ό ς | a |"]);
    // Dropped letters decide nothing.
    assert_eq!(case(&[(1.0, "Straße a")], "remove = 'ß'").0, ["S T R A E | A |"]);
    // A given dictionary's case may not be the data's.
    write(&path.join("dict.txt"), "| 1\nA 1\nS 1\n");
    split(path, "dev", "text", &[(0.5, "aßs")]);
    let (_, log) = logged(|| open(path, "dictionary = 'dict.txt'\ntrain = 'dev.jsonl'").unwrap());
    assert!(
        matches!(&log[..], [line] if line.contains("in upper case letters become others: `ß` becomes `SS`")),
        "{log:?}"
    );
}
