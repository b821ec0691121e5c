//! GLUE's layouts as they are, and everything that can be wrong with them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

#[path = "../../../crates/lopper-text/tests/words/mod.rs"]
mod words;

use lopper_core::{Dataset, DatasetEntry, DatasetRequest, Error, Features, Head, Predictions, Split, registry};
use lopper_glue::read::{Format, Problem, Problems, parse};
use lopper_glue::{GlueTask, TASKS};
use lopper_tables::delimited::Quoting;
use lopper_testkit::MemoryCache;
use lopper_text::{Example, Label, TextDataset};
use proptest::prelude::*;
use std::fs;
use std::path::Path;
use tch::Tensor;

fn tsv(task: &str, text: &str) -> Result<Vec<Example>, Problems> {
    parse(text.as_bytes(), Format::Tsv, GlueTask::find(task).unwrap(), false).map(|p| p.examples)
}

fn json(task: &str, text: &str) -> Result<Vec<Example>, Problems> {
    parse(text.as_bytes(), Format::Json, GlueTask::find(task).unwrap(), false).map(|p| p.examples)
}

fn pair(first: &str, second: &str, label: Label) -> Example {
    Example { first: first.into(), second: Some(second.into()), label }
}

#[track_caller]
fn refused(result: Result<Vec<Example>, Problems>, expected: &[(u64, &str)]) {
    let found = result.unwrap_err().listed;
    let found: Vec<_> = found
        .into_iter()
        .map(|p| match p {
            Problem::File(reason) => (0, reason),
            Problem::Line(line, reason) | Problem::Row(line, reason) => (line, reason),
        })
        .collect();
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((line, reason), (expected_line, part)) in found.iter().zip(expected) {
        assert!(line == expected_line && reason.contains(part), "line {line}: {reason} (expected {part})");
    }
}

fn open(directory: &Path, options: &str) -> Result<TextDataset, Error> {
    let mut table: toml::Table = options.parse().unwrap();
    table.entry("path").or_insert(directory.to_str().unwrap().into());
    lopper_glue::open(&DatasetRequest::new(&table, words::words()))
}

#[track_caller]
fn open_refused(directory: &Path, options: &str, parts: &[&str]) {
    let message = open(directory, options).err().expect("accepted").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

#[test]
fn reads_the_official_layouts() {
    let one = |text: &str, class| Example { first: text.into(), second: None, label: Label::Class(class) };
    // No header; a lone quote is a character.
    let cola = tsv("cola", "gj04\t1\t\tThe \"dog runs.\ngj04\t0\t*\tDog the\" runs.\n").unwrap();
    assert_eq!(cola, [one("The \"dog runs.", 1), one("Dog the\" runs.", 0)]);
    assert_eq!(tsv("sst2", "sentence\tlabel\nfine \t1\n").unwrap(), [one("fine ", 1)]);
    let mrpc = "\u{feff}Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n1\t7\t8\tHe \" said\tShe said\r\n";
    assert_eq!(tsv("MRPC", mrpc).unwrap(), [pair("He \" said", "She said", Label::Class(1))]);
    let stsb = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n\
                0\tg\tf\t2012\t1\tn\tn\tA\tB\t3.800\n";
    assert_eq!(tsv("STS_B", stsb).unwrap(), [pair("A", "B", Label::Value(3.8))]);
    let qqp = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t2\t3\tWhy?\t\t0\n";
    assert_eq!(tsv("qqp", qqp).unwrap(), [pair("Why?", "", Label::Class(0))]);
    let mnli = "index\tpairID\tsentence1\tsentence2\tlabel1\tgold_label\n\
                0\tx\ta\tb\tentailment\tneutral\n1\tx\ta\tb\tneutral\tcontradiction\n2\tx\ta\tb\tneutral\tentailment\n";
    let labels: Vec<_> = tsv("mnli", mnli).unwrap().into_iter().map(|e| e.label).collect();
    assert_eq!(labels, [Label::Class(2), Label::Class(0), Label::Class(1)]);
    let qnli = "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tentailment\n1\tWho?\tIt.\tnot_entailment\n\n\n";
    assert_eq!(
        tsv("qnli", qnli).unwrap(),
        [pair("Who?", "He.", Label::Class(0)), pair("Who?", "It.", Label::Class(1))]
    );
    let header = "index\tsentence1\tsentence2\tlabel\n";
    let rte = tsv("rte", &format!("{header}0\ta\u{2028}b\tc\tnot_entailment")).unwrap();
    assert_eq!(rte, [pair("a\u{2028}b", "c", Label::Class(1))]);
    let wnli = tsv("wnli", &format!("{header}0\ta\tb\t1\n")).unwrap();
    assert_eq!(wnli, [pair("a", "b", Label::Class(1))]);
    // A header is understood where none is usual.
    assert_eq!(tsv("cola", "sentence\tlabel\nfine\t1\n").unwrap(), [one("fine", 1)]);
}

#[test]
fn reads_json_lines_under_either_name() {
    let expected = [pair("a\tb", "c", Label::Class(0))];
    assert_eq!(json("qnli", r#"{"question": "a\tb", "sentence": "c", "label": 0, "idx": 3}"#).unwrap(), expected);
    assert_eq!(json("qnli", r#"{"sentence1": "a\tb", "sentence2": "c", "label": "entailment"}"#).unwrap(), expected);
    let mnli = "{\"premise\": \"a\\tb\", \"hypothesis\": \"c\", \"label\": \"contradiction\"}\r\n\n";
    assert_eq!(json("mnli", mnli).unwrap(), expected);
    let stsb = json("stsb", r#"{"sentence1": "a", "sentence2": "b", "label": 5}"#).unwrap();
    assert_eq!(stsb, [pair("a", "b", Label::Value(5.0))]);
}

#[test]
fn every_bad_line_is_named() {
    let header = "index\tsentence1\tsentence2\tlabel\n";
    let text =
        format!("{header}0\ta\tb\tentailment\n1\ta\tb\n\n2\ta\tb\tentailmnt\n3\ta\tb\t2\n4\ta\tb\t-1\n5\ta\t\tb\t1\n");
    refused(
        tsv("rte", &text),
        &[
            (3, "has 3 tab-separated fields, not 4"),
            (4, "has 1 tab-separated fields, not 4"),
            (5, "`entailmnt` is not accepted; give 0 or entailment, 1 or not_entailment"),
            (6, "`2` is not accepted"),
            (7, "unlabelled test row"),
            (8, "has 5 tab-separated fields"),
        ],
    );
    let result = parse(b"sen\xfftence\tlabel\nfine\t1\n", Format::Tsv, GlueTask::find("sst-2").unwrap(), false);
    refused(result.map(|p| p.examples), &[(1, "byte 4 is not UTF-8")]);
    refused(tsv("cola", "gj04\t1\t\tFine.\ngj04\t2\t\tFine.\n"), &[(2, "the label `2`")]);
    refused(tsv("mnli", "sentence1\tsentence2\tgold_label\na\tb\t0\n"), &[(2, "copies of this task disagree")]);
    for score in ["5.1", "-0.1", "NaN", "inf", "", "high"] {
        let text = format!("sentence1\tsentence2\tscore\na\tb\t{score}\n");
        refused(tsv("sts-b", &text), &[(2, "is not a number from 0 to 5")]);
    }
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(b"0\ta\tb\t9\n1\ta\xff\tb\t0\n");
    let result = parse(&bytes, Format::Tsv, GlueTask::find("rte").unwrap(), false).map(|p| p.examples);
    refused(result, &[(2, "`9`"), (3, "byte 4 is not UTF-8")]);
    refused(
        json("rte", "{\"sentence1\": 1, \"label\": \"maybe\"}\nnull\n{\n"),
        &[
            (1, "`sentence1` is `1`, not a text"),
            (1, "has no key `sentence2`; found `label`, `sentence1`"),
            (1, "`maybe`"),
            (2, "not a JSON object"),
            (3, "is not JSON"),
        ],
    );
}

#[test]
fn files_without_examples_or_columns_are_named() {
    for empty in ["", "\n\r\n", "\u{feff}"] {
        refused(tsv("rte", empty), &[(0, "is empty")]);
        refused(json("rte", empty), &[(0, "is empty")]);
    }
    refused(tsv("rte", "index\tsentence1\tsentence2\tlabel\n"), &[(0, "a header and no rows")]);
    refused(
        tsv("rte", "index\tsentence_1\tlabel\n0\ta\tentailment\n"),
        &[
            (1, "no column `sentence1`; found `index`, `sentence_1`, `label`; nearest: `sentence_1`"),
            (1, "`sentence2`"),
        ],
    );
}

#[test]
fn malformed_rows_are_left_out_on_request_alone() {
    let text = b"sentence\tlabel\nfine\nbad\t0\n";
    let task = GlueTask::find("sst-2").unwrap();
    assert!(parse(text, Format::Tsv, task, false).is_err());
    let parsed = parse(text, Format::Tsv, task, true).unwrap();
    assert_eq!((parsed.examples.len(), parsed.skipped), (1, 1));
    assert!(parse(b"sentence\tlabel\nfine\n", Format::Tsv, task, true).is_err());
}

#[test]
fn names_are_forgiving_and_typos_get_a_hint() {
    for name in ["cola", "CoLA", "SST2", "sst_2", "STS-B", "stsb", "MNLI"] {
        GlueTask::find(name).unwrap();
    }
    let error = GlueTask::find("rtee").unwrap_err().to_string();
    assert!(error.contains("did you mean `rte`?") && error.contains("wnli"), "{error}");
    let error = lopper_glue::task(&"tsk = 'rte'".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("did you mean `task`?") && error.contains("sts-b"), "{error}");
}

#[test]
fn the_table_fits_together() {
    for task in &TASKS {
        let described = task.task();
        let outputs = if task.name == "mnli" {
            3
        } else if task.name == "sts-b" {
            1
        } else {
            2
        };
        assert_eq!(described.head.outputs(), outputs, "{}", task.name);
        assert!(!described.primary_metric.is_empty());
        assert_eq!(task.is_pair(), !matches!(task.name, "cola" | "sst-2"));
    }
    let labels = |name: &str| match GlueTask::find(name).unwrap().task().head {
        Head::Classification { labels } => labels,
        other => panic!("{other:?}"),
    };
    assert_eq!(labels("rte"), ["entailment", "not_entailment"]);
    assert_eq!(labels("mnli"), ["contradiction", "entailment", "neutral"]);
    assert_eq!(labels("wnli"), ["not_entailment", "entailment"]);
    assert_eq!(registry::find::<DatasetEntry>("glue").unwrap().options.len(), 12);
}

const SST: &str = "sentence\tlabel\nfine day\t1\nbad\t0\n";

#[test]
fn a_directory_is_searched() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    fs::write(path.join("train.tsv"), SST).unwrap();
    fs::write(path.join("train_subset.tsv"), "sentence\tlabel\nfine\t1\n").unwrap();
    open_refused(path, "task = 'sst-2'", &["dev.tsv", "validation.jsonl", "it holds train.tsv, train_subset.tsv"]);
    fs::write(path.join("dev.tsv"), SST).unwrap();
    let data = open(path, "task = 'sst-2'").unwrap();
    assert_eq!((data.len(&Split::TRAIN), data.len(&Split::VALIDATION)), (2, 2));
    let subset = open(path, "task = 'sst-2'\ntrain = 'train_subset.tsv'").unwrap();
    assert_eq!(subset.len(&Split::TRAIN), 1);
    assert_ne!(subset.identity(&Split::TRAIN), data.identity(&Split::TRAIN));
    assert_eq!(subset.identity(&Split::VALIDATION), data.identity(&Split::VALIDATION));
    open_refused(path, "task = 'sst-2'\ntrain = 'trian.tsv'\nvalidation = 'x'", &["trian.tsv", "`train` names", "/x:"]);
    // The directory above, with GLUE's folder names.
    let above = tempfile::tempdir().unwrap();
    fs::create_dir(above.path().join("SST-2")).unwrap();
    fs::write(above.path().join("SST-2").join("dev.tsv"), SST).unwrap();
    let data = open(above.path(), "task = 'sst-2'").unwrap();
    assert_eq!((data.len(&Split::TRAIN), data.len(&Split::VALIDATION)), (0, 2));
    assert!(data.batch(&Split::TRAIN, &[0]).is_err());
}

#[test]
fn a_file_is_the_validation_split() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("some.jsonl");
    fs::write(&file, "{\"sentence\": \"fine day\", \"label\": 1}\n").unwrap();
    let data = open(&file, "task = 'sst-2'").unwrap();
    assert_eq!(data.evaluation_splits(), [Split::VALIDATION]);
    let outputs =
        [(vec![0], Predictions { logits: Tensor::from_slice(&[0.0f32, 1.0]).reshape([1, 2]), lengths: None })];
    assert_eq!(data.evaluate(&Split::VALIDATION, &outputs).unwrap().metrics[0].value, 1.0);
    open_refused(&file, "task = 'sst-2'\nvalidation = 'other.tsv'", &["itself a file"]);
    fs::write(directory.path().join("t.tsv"), SST).unwrap();
    assert_eq!(open(&file, "task = 'sst-2'\ntrain = 't.tsv'").unwrap().len(&Split::TRAIN), 2);
    let named = format!("task = 'sst-2'\npath = ''\nvalidation = '{}'", file.display());
    assert_eq!(open(&file, &named).unwrap().len(&Split::VALIDATION), 1);
}

#[test]
fn mnli_is_evaluated_on_what_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let text = "index\tsentence1\tsentence2\tgold_label\n0\ta\tb\tneutral\n";
    for name in ["dev_matched_min.tsv", "dev_mismatched.tsv"] {
        fs::write(path.join(name), text).unwrap();
    }
    let both = open(path, "task = 'mnli'\nvalidation = 'dev_matched_min.tsv'").unwrap();
    let (matched, mismatched) = (Split::named("validation_matched"), Split::named("validation_mismatched"));
    assert_eq!(both.evaluation_splits(), [matched.clone(), mismatched.clone()]);
    let splits = |name: &str| open(&path.join(name), "task = 'mnli'").unwrap().evaluation_splits();
    assert_eq!(splits("dev_matched_min.tsv"), [matched]);
    assert_eq!(splits("dev_mismatched.tsv"), [mismatched]);
    fs::write(path.join("dev.tsv"), SST).unwrap();
    let wrong = "task = 'sst-2'\nvalidation_mismatched = 'dev_mismatched.tsv'";
    open_refused(path, wrong, &["only mnli has a mismatched one"]);
}

#[test]
fn limits_draw_nested_subsets() {
    let directory = tempfile::tempdir().unwrap();
    let rows: String = (0..50).map(|i| format!("{}\t{}\n", "w".repeat(i + 1), i % 2)).collect();
    for name in ["train.tsv", "dev.tsv"] {
        fs::write(directory.path().join(name), format!("sentence\tlabel\n{rows}")).unwrap();
    }
    let drawn = |limit: u64, seed: u64| {
        let options = format!("task = 'sst-2'\nlimit_train = {limit}\nlimit_validation = 7\nlimit_seed = {seed}");
        let data = open(directory.path(), &options).unwrap();
        assert_eq!(data.len(&Split::VALIDATION), 7);
        let indices: Vec<_> = (0..data.len(&Split::TRAIN)).collect();
        let batch = data.batch(&Split::TRAIN, &indices).unwrap();
        Vec::<i64>::try_from(batch.input("input_ids").unwrap().reshape([-1])).unwrap()
    };
    let (ten, twenty) = (drawn(10, 0), drawn(20, 0));
    assert_eq!((ten.len(), twenty.len(), drawn(0, 0).len(), drawn(99, 0).len()), (10, 20, 50, 50));
    assert!(ten.iter().all(|id| twenty.contains(id)) && ten.is_sorted());
    assert_ne!(ten, drawn(10, 1));
    assert_ne!(ten, (1..11).collect::<Vec<_>>());
}

#[test]
fn problems_of_all_files_come_together_and_are_capped() {
    let directory = tempfile::tempdir().unwrap();
    let rows = "0\ta\tb\t7\n".repeat(30);
    fs::write(directory.path().join("train.tsv"), format!("index\tsentence1\tsentence2\tlabel\n{rows}")).unwrap();
    fs::write(directory.path().join("dev.tsv"), "").unwrap();
    let parts = ["train.tsv, line 2:", "train.tsv, line 21:", "10 more lines", "dev.tsv: is empty"];
    open_refused(directory.path(), "task = 'rte'", &parts);
    let message = open(directory.path(), "task = 'rte'").err().unwrap().to_string();
    assert!(!message.contains("line 22"), "{message}");
    open_refused(Path::new("/nowhere/at/all"), "task = 'rte'", &["/nowhere/at/all", "does not exist", "dev.tsv"]);
    open_refused(directory.path(), "task = 'rte'\npath = ''", &["path", "one validation file"]);
    open_refused(directory.path(), "task = 'rte'\nmax_length = -1\nlimt_train = 3", &["max_length", "limit_train"]);
}

#[test]
fn inputs_are_cut_to_the_maximal_length() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("dev.tsv"), SST).unwrap();
    let data = open(directory.path(), "task = 'sst-2'\nmax_length = 1").unwrap();
    assert_eq!(data.cost(&Split::VALIDATION, 0), 1);
    assert!(matches!(
        words::words().unwrap().features(lopper_core::Input::Text { first: "a b", second: Some("c") }, None),
        Ok(Features::Tokens { segments, .. }) if segments == [0, 0, 1, 1]
    ));
}

#[test]
fn quotes_that_pair_up_across_lines_are_asked_about() {
    // Two texts that are one quote each, or one text of a line feed, two tabs and a 0.
    let text = "sentence1\tlabel\tsentence2\n\t0\t\"\n\t0\t\"\n";
    let said = format!("{:?}", tsv("wnli", text).unwrap_err());
    assert!(said.contains("say which with quoting"), "{said}");
    // Alone, its lines would be no rows.
    let text = "sentence1\tlabel\tsentence2\na\t0\t\"b\nc\"\n";
    assert_eq!(tsv("wnli", text).unwrap(), [pair("a", "b\nc", Label::Class(0))]);
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let pieces: Vec<&[u8]> = vec![
        b"index",
        b"sentence1",
        b"sentence2",
        b"sentence",
        b"label",
        b"score",
        b"gold_label",
        b"\t",
        b"\t",
        b"\t",
        b"\n",
        b"\n",
        b"\r\n",
        b"\"",
        b"0",
        b"1",
        b"-1",
        b"5.0",
        b"nan",
        b"entailment",
        b"{\"label\":",
        b"}",
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xe2\x80\xa6",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic(bytes in prop_oneof![prop::collection::vec(any::<u8>(), 0..400), lines()], skip in any::<bool>()) {
        for task in &TASKS {
            for format in [Format::Tsv, Format::Json] {
                match parse(&bytes, format, task, skip) {
                    Ok(parsed) => {
                        prop_assert!(!parsed.examples.is_empty());
                        prop_assert!(parsed.examples.iter().all(|e| task.kind.accepts(e.label)));
                    }
                    Err(problems) => prop_assert!(!problems.listed.is_empty() && problems.listed.len() <= 20),
                }
            }
        }
    }

    #[test]
    fn fields_come_back_as_written(rows in prop::collection::vec(("[^\t\n\r]{0,20}", "[^\t\n\r]{0,20}", 0u32..2), 1..20)) {
        let mut text = String::from("sentence1\tlabel\tsentence2\n");
        rows.iter().for_each(|(first, second, label)| text.push_str(&format!("{first}\t{label}\t{second}\n")));
        let expected: Vec<_> = rows.iter().map(|(a, b, label)| pair(a, b, Label::Class(*label))).collect();
        // Some of these only an option can tell from CSV.
        let format = Format::QuotedTsv(Quoting::Raw);
        let parsed = parse(text.as_bytes(), format, GlueTask::find("wnli").unwrap(), false).unwrap();
        prop_assert_eq!(&parsed.examples, &expected);
        match tsv("wnli", &text) {
            Ok(told) => prop_assert_eq!(told, expected),
            Err(problems) => {
                let said = format!("{problems:?}");
                prop_assert!(said.contains("say which with quoting"), "{}", said);
            }
        }
    }
}

/// A file is settled once it is older than the times of files are coarse.
#[test]
fn a_file_that_has_not_changed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let text = |last: &str| format!("sentence\tlabel\na b c\t1\nd e {last}\t0\n");
    fs::write(folder.path().join("train.tsv"), text("f")).unwrap();
    fs::write(folder.path().join("dev.tsv"), text("g")).unwrap();
    let cache = MemoryCache::default();
    let open = |options: &str| {
        let mut table: toml::Table = format!("task = 'sst-2'\n{options}").parse().unwrap();
        table.insert("path".into(), folder.path().to_str().unwrap().into());
        lopper_glue::open(&DatasetRequest::new(&table, words::words()).cached(Some(&cache))).unwrap()
    };
    let labels = |data: &TextDataset, split: &Split| data.encoded(split).unwrap().labels().to_vec();
    let first = open("");
    assert!(cache.is_empty(), "what was written just now may be written again");
    std::thread::sleep(std::time::Duration::from_millis(3_200));
    let (fresh, known) = (open(""), open(""));
    assert_eq!(cache.len(), 2);
    for split in [Split::TRAIN, Split::VALIDATION] {
        assert_eq!(known.identity(&split), fresh.identity(&split));
        assert_eq!(known.identity(&split), first.identity(&split));
        assert_eq!((known.len(&split), known.cost(&split, 1)), (fresh.len(&split), fresh.cost(&split, 1)));
        assert_eq!(labels(&known, &split), labels(&fresh, &split));
    }
    // The label of the last row, before the number of its tokens, 4 bytes for each and its segment: whoever reads no file sees it
    // changed.
    let tokens = fresh.cost(&Split::TRAIN, 1) as usize;
    cache.change(|bytes| {
        let label = bytes.len() - 5 * tokens - 8;
        bytes[label] = 1;
    });
    let believed = open("");
    assert_ne!(labels(&believed, &Split::TRAIN), labels(&fresh, &Split::TRAIN));
    // Other options, another file: read.
    let other = open("max_length = 4");
    assert_ne!(other.identity(&Split::TRAIN), fresh.identity(&Split::TRAIN));
    fs::write(folder.path().join("train.tsv"), text("h")).unwrap();
    let changed = open("");
    assert_ne!(changed.identity(&Split::TRAIN), fresh.identity(&Split::TRAIN));
    assert_eq!(labels(&changed, &Split::TRAIN), labels(&fresh, &Split::TRAIN));
    assert_ne!(labels(&changed, &Split::VALIDATION), labels(&fresh, &Split::VALIDATION), "that one has not changed");
}
