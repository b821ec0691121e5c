//! What is said of rows and files that cannot be used, together and once.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{labels, lines, open, refused, second, small, write};
use lopper_core::{Dataset, Split};
use std::fs;
use std::path::Path;

/// What opening says, and what asking for the task does.
fn told(directory: &Path, options: &str) -> [String; 2] {
    let mut table: toml::Table = options.parse().unwrap();
    table.insert("path".into(), directory.to_str().unwrap().into());
    [open(directory, options).err(), lopper_speech::task(&table).err()].map(|error| error.unwrap().to_string())
}

#[test]
fn rows_without_a_transcript_are_named_and_not_the_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    second(&path.join("a.wav"));
    write(
        &path.join("train.jsonl"),
        "{\"audio\": \"a.wav\", \"text\": \"A\"}\n{\"audio\": \"a.wav\", \"text\": \"B\"}\n",
    );
    write(&path.join("dev.jsonl"), "{\"audio\": \"a.wav\", \"txt\": \"A\"}\n");
    let key = "train.jsonl, line 2: has no key `phones`; found `audio`, `text`";
    let language = "train.jsonl, line 2: has no language; `languages` are es, fr";
    let rows = "2 rows of the train split cannot be used";
    let left = "no row of the train split can be used: 2 rows such as";
    for (options, parts) in [
        ("unit = 'phones'", [key, rows, "dev.jsonl, line 1: has no key `phones`"]),
        ("languages = ['es', 'fr']", [language, rows, "1 row of the validation_es split cannot be used"]),
        (
            "unit = 'phones'\nskip_bad = true",
            [left, "train.jsonl, line 1: has no key", "no row of the validation split"],
        ),
    ] {
        for message in told(path, options) {
            for part in parts {
                assert_eq!(message.matches(part).count(), 1, "`{part}` in: {message}");
            }
            assert!(!message.contains("dictionary"), "{message}");
        }
    }
    for text in ["", " ", "\u{a0}"] {
        write(&path.join("train.jsonl"), format!("{{\"audio\": \"a.wav\", \"text\": \"{text}\"}}\n"));
        let [opened, task] = told(path, "dictionary = 'train'");
        assert!(opened.contains("train.jsonl, line 1: has an empty transcript"), "{opened}");
        assert_eq!(opened, task);
    }
    write(&path.join("train.jsonl"), "");
    for message in told(path, "dictionary = 'train'") {
        assert!(message.contains("train.jsonl: holds no recordings for the train split"), "{message}");
    }
    fs::remove_file(path.join("train.jsonl")).unwrap();
    let nothing = "is not accepted: there are no training transcripts to make it of";
    refused(path, "unit = 'phones'", &[&format!("[data] dictionary = (not given) {nothing}")]);
    refused(path, "dictionary = 'train'", &[&format!("[data] dictionary = \"train\" {nothing}")]);
}

#[test]
fn when_no_row_is_left_the_most_frequent_reasons_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    let rows = fs::read_to_string(path.join("train.jsonl")).unwrap();
    let wrong = "{\n{\"audio\": 1}\n[]\n[1]\n{\"audio\": \"gone.wav\", \"text\": \"A\"}\n";
    write(&path.join("train.jsonl"), [wrong, &rows].concat());
    let message = open(path, "min_seconds = 100.0\nskip_bad = true").err().unwrap().to_string();
    for part in [
        "no row of the train split can be used: 5 rows such as ",
        "train.jsonl, line 6: ",
        "train0.wav is 0.500 seconds long, less than `min_seconds` = 100; 2 rows such as ",
        "train.jsonl, line 3: `[]` is not a JSON object; ",
        "; 2 rows with other reasons",
    ] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    lines(path, "train", &[(0.5, "A")]);
    write(&path.join("dev.jsonl"), wrong.lines().next().unwrap());
    let message = open(path, "skip_bad = true").err().unwrap().to_string();
    assert!(message.contains("the validation split can be used: ") && !message.contains("rows such as"), "{message}");
}

/// Checks that opening fails, and that the message has each of `parts` once.
#[track_caller]
fn told_once(directory: &Path, options: &str, parts: &[&str]) {
    let message = open(directory, options).err().expect("accepted").to_string();
    for part in parts {
        assert_eq!(message.matches(part).count(), 1, "`{part}` in: {message}");
    }
}

#[test]
fn a_wrong_type_hides_no_wrong_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    let wrong = "skip_bad = 3\ncache_mb = 'x'\nformat = 'fairsec'\nunit = 'fones'\ncheck = 'x'\ncase = 'up'\nunknown = 'x'\n\
                 min_seconds = -1.0\nframe_window = 0\ndictionry = ''";
    let keys = ["skip_bad", "cache_mb", "format", "unit", "check", "case", "unknown", "min_seconds", "frame_window"];
    let keys = keys.map(|key| format!("[data] {key} = "));
    let keys: Vec<&str> = keys.iter().map(String::as_str).chain(["unknown key `dictionry`"]).collect();
    told_once(path, wrong, &keys);
    // What depends on an option that cannot be read is no problem of its own.
    let message = open(path, "path = 3\ndictionary = 'dict.txt'").err().unwrap().to_string();
    assert!(message.contains("[data] path = 3") && !message.contains("dict.txt"), "{message}");
}

#[test]
fn files_that_options_name_are_missed_together_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    write(&path.join("phones.txt"), "train0 a\n");
    let parts = [
        "phonse.txt: does not exist; give `phones` a file that does, relative to `path` (did you mean `phones.txt`?)",
        "none/clips: does not exist; give `clips` a directory that does, relative to `path`; ",
        "none cannot be read",
        "dict.txt: is no file; `dictionary` is",
    ];
    told_once(path, "phones = 'phonse.txt'\nclips = 'none/clips'\ndictionary = 'dict.txt'", &parts);
    told_once(path, "clips = 'phones.txt'", &["phones.txt: is a file; `clips` is a directory"]);
    write(&path.join("phones.txt"), "x a\nx b\n");
    told_once(path, "phones = 'phones.txt'\nunit = 'phones'", &["phones.txt, line 2: `x` is there twice"]);
    let each =
        "languages = ['es', 'fr']\nphones = '{language}.txt'\ntrain = '{language}/t.jsonl'\nvalidation = 'dev.jsonl'";
    told_once(path, each, &["es.txt: does not exist", "fr.txt: does not exist"]);
}

#[test]
fn a_split_that_is_not_there_is_named_by_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    let there = format!("; {} holds dev.jsonl, dev0.wav, ", path.display());
    told_once(
        path,
        "train = 'trian.jsonl'\ntest = ['nope.jsonl', 'lists/clean.jsonl']",
        &[
            "trian.jsonl: does not exist; give `train` a file or directory that does, relative to `path` (did you mean \
             `train.jsonl`?)",
            &format!(
                "nope.jsonl: does not exist; give `test` a file or directory that does, relative to `path`{there}"
            ),
            "clean.jsonl: does not exist; give `test` ",
            "lists cannot be read",
        ],
    );
    fs::create_dir(path.join("lists")).unwrap();
    told_once(path, "validation = 'lists/dev.jsonl'", &["give `validation` ", "lists is empty"]);
}

#[test]
fn all_that_is_wrong_with_a_row_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    write(&path.join("train.jsonl"), "{\"audio\": [\"gone.wav\", \"train0.wav\"], \"text\": \"A4\"}\n");
    let bad = "train.jsonl, line 1: has `4`, which the dictionary does not have; ";
    told_once(path, "", &[bad, "gone.wav cannot be read", "1 row of the train split"]);
    told_once(path, "skip_bad = true", &[bad, "gone.wav cannot be read", "no row of the train split"]);
    write(&path.join("train.jsonl"), "{\"audio\": \"gone.wav\", \"text\": \" \"}\n");
    told_once(path, "", &["has an empty transcript; ", "gone.wav cannot be read"]);
}

#[test]
fn a_transcript_is_named_where_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    write(&path.join("dev.tsv"), ".\ndev0.wav\t8000\ndev1.wav\t4000\n");
    write(&path.join("dev.ltr"), "A |\nÄ |\n");
    told_once(path, "train = 'dev.tsv'", &["dev.ltr, line 2: has `Ä`, which the dictionary does not have"]);
    write(&path.join("dev.tsv"), "path\tsentence\ndev0.wav\t\ndev1.wav\t\n");
    write(&path.join("phones.txt"), "other b\n\ndev1 x\ndev0 a\n");
    write(&path.join("dict.txt"), "a 1\n");
    let phones = "unit = 'phones'\nphones = 'phones.txt'\ndictionary = 'dict.txt'\ntrain = 'dev.tsv'";
    let message = open(path, phones).err().unwrap().to_string();
    assert_eq!(message.matches("phones.txt, line 3: has `x`, which").count(), 1, "{message}");
}

#[test]
fn unknown_symbols_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    let counts = |options: &str, split: Split| {
        let counts = open(path, &format!("dictionary = 'dict.txt'\n{options}")).unwrap().counts(&split);
        counts.into_iter().collect::<Vec<_>>()
    };
    // Of "A BC", "B", "C C A", "A", "B B" and of "A B C", "B", "CAB".
    write(&path.join("dict.txt"), "| 1\nB 1\nC 1\n");
    assert_eq!(counts("unknown = 'unk'", Split::TRAIN), [("unknown_symbols", 3)]);
    assert_eq!(counts("unknown = 'unk'", Split::VALIDATION), [("unknown_symbols", 2)]);
    let left = "unknown = 'unk'\nmin_seconds = 0.6\nskip_bad = true\nvalidation = 'train.jsonl'";
    assert_eq!(counts(left, Split::TRAIN), [("rows_left_out", 4), ("unknown_symbols", 1)]);
    write(&path.join("dict.txt"), "| 1\nA 1\nB 1\nC 1\n");
    assert!(counts("unknown = 'unk'", Split::TRAIN).is_empty());
}

#[test]
fn a_limit_is_met_without_rows_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let letters: Vec<String> = (0..25u8).map(|n| char::from(b'A' + n).to_string()).collect();
    let rows: Vec<(f64, &str)> = letters.iter().map(|letter| (0.1, letter.as_str())).collect();
    lines(path, "train", &rows);
    lines(path, "dev", &rows);
    let drawn = |limit: usize, options: &str| {
        let data = open(path, &format!("limit_train = {limit}\nlimit_seed = 3\n{options}")).unwrap();
        (labels(&data, &Split::TRAIN), data.skipped())
    };
    // A draw is part of what finished runs depend on.
    let (five, _) = drawn(5, "");
    assert_eq!(five, ["K |", "M |", "P |", "T |", "Y |"]);
    assert_eq!(drawn(5, "skip_bad = true"), (five.clone(), 0));
    let (eight, ten) = (drawn(8, "").0, drawn(10, "").0);
    // Three of the first eight are gone, and one of what is drawn next.
    let next: Vec<&String> = ten.iter().filter(|label| !eight.contains(label)).collect();
    for label in eight.iter().take(3).chain(next.iter().copied().take(1)) {
        let number = letters.iter().position(|letter| label.starts_with(letter.as_str())).unwrap();
        fs::remove_file(path.join(format!("train{number}.wav"))).unwrap();
    }
    let (found, skipped) = drawn(8, "skip_bad = true");
    assert_eq!((found.len(), skipped), (8, 4));
    assert!(found.is_sorted() && eight.iter().skip(3).all(|label| found.contains(label)), "{found:?}");
    assert_eq!(drawn(21, "skip_bad = true").0.len(), 21);
    assert_eq!(drawn(24, "skip_bad = true"), (drawn(0, "skip_bad = true").0, 4));
    refused(path, "limit_train = 8\nlimit_seed = 3", &["3 rows of the train split cannot be used"]);
}

#[test]
fn what_may_be_done_about_unknown_symbols_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    small(path);
    let hint = |options: &str| {
        let message = open(path, &format!("dictionary = 'dict.txt'\n{options}")).err().unwrap().to_string();
        let (_, hint) = message.split_once("the dictionary has only ").unwrap_or_else(|| panic!("no hint: {message}"));
        hint.lines().next().unwrap().to_owned()
    };
    let (unit, case) = ("unit = ", "case = ");
    write(&path.join("dict.txt"), "| 1\na 1\nb 1\nc 1\n");
    let wrong_case = hint("case = 'upper'");
    assert!(wrong_case.contains("`case = \"lower\"` writes all of them with it") && !wrong_case.contains(unit));
    // Some are not mended by it.
    write(&path.join("dict.txt"), "| 1\na 1\nb 1\n");
    assert!(!hint("case = 'upper'").contains(case));
    write(&path.join("dict.txt"), "AA 1\nB 1\nCH 1\n");
    let phones = hint("");
    assert!(phones.contains("if it is one of phones, give `unit = \"phones\"`") && !phones.contains(case), "{phones}");
    write(&path.join("dict.txt"), "| 1\nX 1\n");
    let letters = hint("unit = 'phones'");
    assert!(letters.contains("if it is one of letters, give `unit = \"letters\"`"), "{letters}");
    assert!(!letters.contains("`remove`") && !hint("").contains(unit), "{letters}");
}

#[test]
fn a_recording_with_two_transcripts_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["1-1-0", "1-1-1"] {
        second(&path.join(format!("dev/1/1/{name}.flac")));
    }
    let text = "1-1-0 A\n1-1-1 B\n1-1-0 A\n\n1-1-0 C\n";
    write(&path.join("dev/1/1/1-1.trans.txt"), text);
    told_once(path, "", &["1-1.trans.txt, line 5: has another transcript of `1-1-0` than line 1", "1 row of the"]);
    let data = open(path, "skip_bad = true").unwrap();
    assert_eq!(labels(&data, &Split::VALIDATION), ["A |", "B |", "A |"]);
}
