//! What is said of rows and files that cannot be used, together and once.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{lines, open, refused, second, small, write};
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
        "no row of the validation split can be used: 3 rows such as ",
    ] {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    lines(path, "train", &[(0.5, "A")]);
    write(&path.join("dev.jsonl"), wrong.lines().next().unwrap());
    let message = open(path, "skip_bad = true").err().unwrap().to_string();
    assert!(message.contains("the validation split can be used: ") && !message.contains("rows such as"), "{message}");
}
