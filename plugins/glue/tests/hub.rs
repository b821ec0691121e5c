//! The layouts in which `datasets`, pandas and the hub hand tasks on: the same rows, and so the same identity, as GLUE's own
//! files. `make_hub_fixtures.py` wrote them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../../../crates/lopper-text/tests/words/mod.rs"]
mod words;

use lopper_core::{Dataset, DatasetRequest, Error, Head, Predictions, Split};
use lopper_glue::GlueTask;
use lopper_glue::read::{Format, parse, read};
use lopper_tables::delimited::Quoting;
use lopper_text::{Kind, Label, TextDataset};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The order in which the hub numbers MNLI's classes.
const HUB_ORDER: &str = "labels = ['entailment', 'neutral', 'contradiction']";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn open(path: &Path, options: &str) -> Result<TextDataset, Error> {
    let mut table: toml::Table = options.parse().unwrap();
    table.entry("path").or_insert(path.to_str().unwrap().into());
    lopper_glue::open(&DatasetRequest::new(&table, words::words()))
}

#[track_caller]
fn refused(path: &Path, options: &str, parts: &[&str]) {
    let message = open(path, options).err().expect("accepted").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// Every split's identity.
fn identities(path: &Path, options: &str) -> Vec<(Split, String)> {
    let data = open(path, options).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let splits = [Split::TRAIN].into_iter().chain(data.evaluation_splits());
    splits.map(|split| (split.clone(), data.identity(&split))).collect()
}

const TASKS: [(&str, &str, &str); 3] = [("mrpc", "MRPC", "mrpc"), ("mnli", "MNLI", "mnli"), ("sts-b", "STS-B", "stsb")];

#[test]
fn every_layout_has_the_identity_of_glues_own_files() {
    for (task, own, hub) in TASKS {
        // The hub's copies without names of classes have MNLI's numbers in the hub's order.
        let base = format!("task = '{task}'");
        let numbered = if task == "mnli" { format!("{base}\n{HUB_ORDER}") } else { base.clone() };
        let expected = identities(&fixtures().join("own").join(own), &base);
        let in_the_hubs_order = identities(&fixtures().join("own").join(own), &numbered);
        assert_eq!(expected.len(), if task == "mnli" { 3 } else { 2 });
        assert_eq!(expected == in_the_hubs_order, task != "mnli");
        for layout in ["own", "own_by_pandas", "parquet", "saved"] {
            // The directory of all tasks, and that of this one.
            let above = fixtures().join(layout);
            let below = above.join(if layout.starts_with("own") { own } else { hub });
            for path in [&above, &below] {
                assert_eq!(identities(path, &base), expected, "{layout} {task}");
                assert_eq!(identities(path, &numbered), in_the_hubs_order, "{layout} {task}");
            }
        }
        for layout in ["lines", "csv", "array", "pandas", "pandas_parquet"] {
            assert_eq!(identities(&fixtures().join(layout), &numbered), in_the_hubs_order, "{layout} {task}");
            if task == "mnli" {
                let parts =
                    ["copies of this task disagree", "labels = [\"entailment\", \"neutral\", \"contradiction\"]"];
                refused(&fixtures().join(layout), &base, &parts);
            }
        }
    }
}

#[test]
fn rows_are_those_that_datasets_reads() {
    let expected: Value = serde_json::from_slice(&fs::read(fixtures().join("expected.json")).unwrap()).unwrap();
    let files = [
        ("mrpc", "mrpc validation", "parquet/mrpc/validation-00000-of-00001.parquet"),
        ("mrpc", "mrpc validation", "saved/mrpc/validation/data-00000-of-00001.arrow"),
        ("mrpc", "mrpc train", "pandas/mrpc/train.tsv"),
        ("mrpc", "mrpc train", "own/MRPC/train.tsv"),
        ("mnli", "mnli validation_mismatched", "parquet/mnli/validation_mismatched-00000-of-00001.parquet"),
        ("mnli", "mnli validation_matched", "own_by_pandas/MNLI/dev_matched.tsv"),
        ("sts-b", "stsb validation", "csv/stsb/validation.csv"),
        ("sts-b", "stsb validation", "saved/stsb/validation/data-00000-of-00001.arrow"),
    ];
    for (task, split, file) in files {
        let task = GlueTask::find(task).unwrap();
        let found = read(&fixtures().join(file), task, false, None).unwrap().examples;
        let rows = expected[split].as_array().unwrap();
        assert_eq!(found.len(), rows.len(), "{file}");
        for (example, row) in found.iter().zip(rows) {
            assert_eq!(example.first, row[0].as_str().unwrap(), "{file}");
            assert_eq!(example.second.as_deref(), row[1].as_str(), "{file}");
            match (example.label, task.kind) {
                (Label::Class(class), Kind::Classification { labels, .. }) => {
                    assert_eq!(labels[class as usize], row[2].as_str().unwrap(), "{file}");
                }
                (Label::Value(value), _) => assert_eq!(value, row[2].as_f64().unwrap() as f32, "{file}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn labels_are_an_order_of_the_tasks_own() {
    let path = fixtures().join("parquet");
    for labels in ["['entailment', 'neutral']", "['a', 'b', 'c']", "['neutral', 'neutral', 'entailment']", "[]"] {
        refused(
            &path,
            &format!("task = 'mnli'\nlabels = {labels}"),
            &["[data] labels", "contradiction, entailment, neutral, each once"],
        );
    }
    refused(&path, "task = 'stsb'\nlabels = ['0', '1']", &["sts-b has scores, and no labels"]);
    let upper = identities(&path, "task = 'mnli'\nlabels = ['ENTAILMENT', 'Neutral', 'contradiction']");
    assert_eq!(upper, identities(&path, &format!("task = 'mnli'\n{HUB_ORDER}")));
    let task = lopper_glue::task(&format!("task = 'mnli'\n{HUB_ORDER}").parse().unwrap()).unwrap();
    assert!(matches!(task.head, lopper_core::Head::Classification { labels } if labels[0] == "entailment"));
}

/// The accuracy of a head that answers every row of MNLI's validation with the label that `datasets` reads, where output 0 is
/// `names[0]` and so on.
fn accuracy_of_right_answers(path: &Path, options: &str, names: [&str; 3], head: &Head) -> f64 {
    let expected: Value = serde_json::from_slice(&fs::read(fixtures().join("expected.json")).unwrap()).unwrap();
    let rows = expected["mnli validation_matched"].as_array().unwrap();
    let mut table: toml::Table = options.parse().unwrap();
    table.insert("path".into(), path.to_str().unwrap().into());
    let data = lopper_glue::open(&DatasetRequest::new(&table, words::words()).answered_by(Some(head))).unwrap();
    let logits = rows.iter().flat_map(|row| names.map(|name| f32::from(u8::from(name == row[2].as_str().unwrap()))));
    let logits = Tensor::from_slice(&logits.collect::<Vec<_>>()).reshape([rows.len() as i64, 3]);
    let outputs = [((0..rows.len()).collect(), Predictions { logits, lengths: None })];
    data.evaluate(&Split::named("validation_matched"), &outputs).unwrap().metrics[0].value
}

#[test]
fn a_head_of_any_order_is_judged_by_its_names() {
    const OLD: [&str; 3] = ["contradiction", "entailment", "neutral"];
    const NEW: [&str; 3] = ["entailment", "neutral", "contradiction"];
    let head = |names: [&str; 3]| Head::Classification { labels: names.map(str::to_owned).to_vec() };
    let (own, hub, numbers) = (fixtures().join("own"), fixtures().join("parquet"), fixtures().join("csv"));
    let task = "task = 'mnli'";
    let ordered = format!("{task}\n{HUB_ORDER}");
    for names in [OLD, NEW, ["neutral", "contradiction", "entailment"]] {
        for (path, options) in
            [(&own, task), (&hub, task), (&own, ordered.as_str()), (&hub, &ordered), (&numbers, &ordered)]
        {
            assert_eq!(accuracy_of_right_answers(path, options, names, &head(names)), 1.0, "{names:?} {options}");
        }
    }
    // Without names the order is GLUE's, or what is said.
    let unnamed = head(["LABEL_0", "LABEL_1", "LABEL_2"]);
    assert_eq!(accuracy_of_right_answers(&hub, task, OLD, &unnamed), 1.0);
    assert_eq!(accuracy_of_right_answers(&hub, task, NEW, &unnamed), 0.0);
    assert_eq!(accuracy_of_right_answers(&hub, &ordered, NEW, &unnamed), 1.0);
}

#[test]
fn another_tasks_table_is_named() {
    let parquet = fixtures().join("parquet/mrpc");
    refused(
        &parquet,
        "task = 'rte'",
        &["the classes `not_equivalent`, `equivalent`, as in mrpc; those of rte are entailment"],
    );
    refused(&parquet, "task = 'stsb'", &["the classes `not_equivalent`, `equivalent`, and sts-b has scores"]);
    refused(&parquet, "task = 'qnli'", &["the labels are the classes"]);
    let mnli = fixtures().join("parquet/mnli/validation_matched-00000-of-00001.parquet");
    refused(
        &mnli,
        "task = 'mrpc'",
        &["no column `#1 String` or `sentence1`", "found `premise`, `hypothesis`", "they are those of mnli"],
    );
    refused(&fixtures().join("csv/mnli/train.csv"), "task = 'mrpc'", &["they are those of mnli"]);
    // The labels of test splits are hidden.
    let hidden = fixtures().join("hidden/test-00000-of-00001.parquet");
    refused(
        &hidden,
        "task = 'mrpc'",
        &["row 0, counted from 0: the label `-1` is not accepted: an unlabelled test row"],
    );
    refused(
        &fixtures().join("hidden"),
        "task = 'mrpc'",
        &["looked for dev.tsv", "validation.parquet", "it holds test-00000-of-00001.parquet"],
    );
}

#[test]
fn shards_are_read_whole_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(fixtures().join("parquet/mrpc/validation-00000-of-00001.parquet"), path).unwrap();
    };
    put("validation-00000-of-00001-a1b2c3d4e5f60718.parquet");
    put("train-00002-of-00003.parquet");
    put("train-00000-of-00003.parquet");
    refused(folder.path(), "task = 'mrpc'", &["is one of 3 shards, of which 2 are there; number 1 is missing"]);
    put("train-00001-of-00003.parquet");
    let data = open(folder.path(), "task = 'mrpc'").unwrap();
    assert_eq!((data.len(&Split::TRAIN), data.len(&Split::VALIDATION)), (21, 7));
    put("train-00000-of-00002.parquet");
    refused(folder.path(), "task = 'mrpc'", &["belongs to other shards"]);
    // Folders of save_to_disk by name, and one as the path.
    let saved = fixtures().join("saved/mrpc");
    assert_eq!(open(&saved.join("train"), "task = 'mrpc'").unwrap().len(&Split::VALIDATION), 6);
    let turned = open(&saved, "task = 'mrpc'\ntrain = 'validation'\nvalidation = 'train'").unwrap();
    assert_eq!((turned.len(&Split::TRAIN), turned.len(&Split::VALIDATION)), (7, 6));
}

#[test]
fn caches_and_conversions_of_the_hub_are_found() {
    let expected = identities(&fixtures().join("own/MRPC"), "task = 'mrpc'");
    let same = |files: &[(&str, &str)], path: &str| {
        let folder = tempfile::tempdir().unwrap();
        for (from, to) in files {
            let to = folder.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.is_empty() {
                fs::write(to, "abc\n").unwrap()
            } else {
                assert!(fs::copy(fixtures().join(from), to).unwrap() > 0)
            }
        }
        assert_eq!(identities(&folder.path().join(path), "task = 'mrpc'"), expected, "{files:?}");
    };
    let shards = ["parquet/mrpc/train-00000-of-00002.parquet", "parquet/mrpc/train-00001-of-00002.parquet"];
    let valid = "parquet/mrpc/validation-00000-of-00001.parquet";
    // What the hub converts for itself.
    same(
        &[
            (shards[0], "mrpc/train/0000.parquet"),
            (shards[1], "mrpc/train/0001.parquet"),
            (valid, "mrpc/validation/0000.parquet"),
        ],
        "",
    );
    // huggingface_hub's cache.
    let at = |name: &str| format!("datasets--nyu-mll--glue/snapshots/abc/mrpc/{name}");
    same(
        &[
            ("", "datasets--nyu-mll--glue/refs/main"),
            (shards[0], &at("train-00000-of-00002.parquet")),
            (shards[1], &at("train-00001-of-00002.parquet")),
            (valid, &at("validation-00000-of-00001.parquet")),
        ],
        "datasets--nyu-mll--glue",
    );
    // The cache of `datasets`.
    let arrows = ["saved/mrpc/train/data-00000-of-00002.arrow", "saved/mrpc/train/data-00001-of-00002.arrow"];
    let at = |name: &str| format!("nyu-mll___glue/mrpc/0.0.0/abc/glue-{name}");
    same(
        &[
            (arrows[0], &at("train-00000-of-00002.arrow")),
            (arrows[1], &at("train-00001-of-00002.arrow")),
            ("saved/mrpc/validation/data-00000-of-00001.arrow", &at("validation.arrow")),
        ],
        "nyu-mll___glue",
    );
}

fn texts(text: &str, format: Format) -> Result<Vec<String>, String> {
    let parsed = parse(text.as_bytes(), format, GlueTask::find("mrpc").unwrap(), false);
    parsed.map(|p| p.examples.into_iter().map(|e| e.first).collect()).map_err(|p| format!("{:?}", p.listed))
}

#[test]
fn quotes_are_told_apart_or_asked_about() {
    const HUB: &str = "sentence1\tsentence2\tlabel\tidx\n";
    const OWN: &str = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n";
    let hub = |rows: &str| texts(&format!("{HUB}{rows}"), Format::Tsv);
    let own = |rows: &str| texts(&format!("{OWN}{rows}"), Format::Tsv);
    // pandas writes what holds a quote, a tab or a line feed between quotes, and nothing else.
    assert_eq!(hub("\"a \"\"b\"\"\"\tc\t1\t0\n").unwrap(), ["a \"b\""]);
    assert_eq!(hub("\"a\tb\nc\"\td\t1\t0\n").unwrap(), ["a\tb\nc"]);
    assert_eq!(own("1\t7\t8\t\"a \"\"b\"\"\"\tc\n").unwrap(), ["a \"b\""]);
    // GLUE's own quotes are text, wherever they stand.
    assert_eq!(own("1\t7\t8\t\"a b\"\tc\n").unwrap(), ["\"a b\""]);
    assert_eq!(own("1\t7\t8\t\"a\" b\tc\n").unwrap(), ["\"a\" b"]);
    assert_eq!(hub("a \"b\"\tc\t1\t0\n").unwrap(), ["a \"b\""]);
    // QQP's own texts stand between doubled quotes.
    let qqp = |header: &str, text: &str| {
        let text = format!("{header}question1\tquestion2\tis_duplicate\n{text}\tb\t1\n");
        let parsed = parse(text.as_bytes(), Format::Tsv, GlueTask::find("qqp").unwrap(), false);
        parsed.map(|p| p.examples[0].first.clone()).map_err(|p| format!("{:?}", p.listed))
    };
    let own_header = "id\tqid1\tqid2\t";
    let own_text = "\"What is \"\"a\"\"?\"";
    let again = "\"\"\"What is \"\"\"\"a\"\"\"\"?\"\"\"";
    assert_eq!(qqp(own_header, &format!("0\t1\t2\t{own_text}")).unwrap(), own_text);
    assert_eq!(qqp(own_header, &format!("0\t1\t2\t{again}")).unwrap(), own_text);
    assert_eq!(qqp("", again).unwrap(), own_text);
    assert!(qqp("", own_text).unwrap_err().contains("say which with quoting"));
    // Quotes of raw rows that pair up across a line feed.
    assert_eq!(own("1\t7\t8\t\"\tc\n1\t7\t8\td\te\"\n").unwrap(), ["\"", "d"]);
    // Every text between quotes, the header too.
    let all = "\"sentence1\"\t\"sentence2\"\t\"label\"\n\"a b\"\t\"c\"\t1\n";
    assert_eq!(texts(all, Format::Tsv).unwrap(), ["a b"]);
    // A spreadsheet quotes what has a comma.
    assert_eq!(hub("\"a, b\"\t\"\"\"c\"\"\"\t1\t0\n").unwrap(), ["a, b"]);
    // Either may be meant.
    for rows in ["\"a b\"\tc\t1\t0\n", "\"a \"\"b\"\"\"\t\"c\"\t1\t0\n", "\"a \"\"b\"\"\"\t\"c\" d\t1\t0\n"] {
        let message = hub(rows).unwrap_err();
        assert!(message.contains("say which with quoting ="), "{message}");
    }
    let rows = format!("{HUB}\"a b\"\tc\t1\t0\n");
    assert_eq!(texts(&rows, Format::QuotedTsv(Quoting::Raw)).unwrap(), ["\"a b\""]);
    assert_eq!(texts(&rows, Format::QuotedTsv(Quoting::Csv)).unwrap(), ["a b"]);
    refused(&fixtures().join("own"), "task = 'mrpc'\nquoting = 'both'", &["[data] quoting", "\"raw\" or \"csv\""]);
    let message = texts(&format!("{HUB}\"a b\tc\t1\t0\n"), Format::QuotedTsv(Quoting::Csv)).unwrap_err();
    assert!(message.contains("Line(2, \"a quote is opened and not closed\")"), "{message}");
}

#[test]
fn commas_and_semicolons_are_read_whatever_the_file_is_called() {
    for delimiter in [",", ";", "\t"] {
        let text = "idx,sentence1,sentence2,label\n0,\"a \"\"b\"\"\",c,1\n1,d,\"e\nf\",0.0\n"
            .to_string()
            .replace(',', delimiter);
        for format in [Format::Tsv, Format::Csv] {
            assert_eq!(texts(&text, format).unwrap(), ["a \"b\"", "d"], "{delimiter:?} {format:?}");
        }
    }
    let wrong = texts("sentence1,label\na,1\n", Format::Csv).unwrap_err();
    assert!(wrong.contains("no column `#2 String` or `sentence2`; found `sentence1`, `label`"), "{wrong}");
    let lines = texts("sentence1,sentence2,label\na,b,1\nc,\"d\ne\",1\nf,g\n", Format::Csv).unwrap_err();
    assert!(lines.contains("Line(5, \"has 2 fields, not 3\")"), "{lines}");
}

#[test]
fn arrays_of_json_may_be_on_one_line_or_many() {
    let row = r#"{"sentence1": "a] [\"{", "sentence2": "b", "label": 1}"#;
    for text in [format!("[{row},{row}]"), format!(" [\n {row} ,\n\n{row}\n]\n")] {
        assert_eq!(texts(&text, Format::Json).unwrap(), ["a] [\"{"; 2]);
    }
    for (text, part) in [
        (format!("[{row}"), "not closed; the file may be cut short"),
        (format!("[{row}]{row}"), "something follows the end"),
        (format!("[{row},\n\nnull]"), "Line(3, \"`null` is not a JSON object\")"),
        ("[]".to_owned(), "holds"),
    ] {
        let message = texts(&text, Format::Json).unwrap_err();
        assert!(message.contains(part), "{message}");
    }
}
