//! Corpora in the layouts in which they come, and everything that can be wrong with them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{labels, open, refused, second, wav, write};
use lopper_core::{Dataset, Split};
use proptest::prelude::*;
use std::fs;
use std::path::Path;

fn names(splits: &[Split]) -> Vec<&str> {
    splits.iter().map(Split::as_str).collect()
}

/// A chapter of LibriSpeech below `directory`.
fn chapter(directory: &Path, speaker: &str, lines: &[&str]) {
    let folder = directory.join(speaker).join("1");
    let name = |number: usize| format!("{speaker}-1-{number:04}");
    let text: String = lines.iter().enumerate().map(|(n, line)| format!("{} {line}\n", name(n))).collect();
    write(&folder.join(format!("{speaker}-1.trans.txt")), text);
    (0..lines.len()).for_each(|n| second(&folder.join(format!("{}.flac", name(n)))));
}

#[test]
fn librispeech() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    chapter(&path.join("train-clean-100"), "19", &["HE DID", "IT'S"]);
    chapter(&path.join("train-clean-100"), "103", &["A B"]);
    chapter(&path.join("dev-other"), "7", &["so it goes"]);
    chapter(&path.join("test-clean"), "8", &["YES"]);
    chapter(&path.join("test-other"), "9", &["NO"]);
    let data = open(path, "train = 'train-clean-100'\ntest = ['test-clean', 'test-other']").unwrap();
    assert_eq!(names(&data.evaluation_splits()), ["validation", "test_clean", "test_other"]);
    assert_eq!(labels(&data, &Split::TRAIN), ["A | B |", "H E | D I D |", "I T ' S |"]);
    assert_eq!(labels(&data, &Split::VALIDATION), ["S O | I T | G O E S |"]);
    assert_eq!(labels(&data, &Split::named("test_other")), ["N O |"]);
    assert_eq!(data.cost(&Split::TRAIN, 1), 16_000);
    // A format may be named, and several directories are one training set.
    let both = "format = 'librispeech'\ntrain = ['test-clean', 'test-other']\nvalidation = 'dev-other'";
    assert_eq!(labels(&open(path, both).unwrap(), &Split::TRAIN), ["Y E S |", "N O |"]);
    refused(path, "train = 'train-clean-360'", &["train-clean-360: does not exist"]);
    refused(path, "format = 'fairseq'\ntrain = 'test-clean'", &["test-clean: is a directory", "read from a file"]);
    fs::remove_file(path.join("dev-other/7/1/7-1-0000.flac")).unwrap();
    refused(path, "train = 'test-clean'", &["7-1.trans.txt, line 1: has no recording: 7-1-0000.flac"]);
}

#[test]
fn libri_light_has_hours_and_minutes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for part in 0..6 {
        let text = format!("{} A", "B".repeat(part + 1));
        chapter(&path.join(format!("1h/{part}/{}", ["clean", "other"][part % 2])), &format!("1{part}"), &[&text]);
    }
    chapter(&path.join("9h/clean"), "20", &["C"]);
    chapter(&path.join("dev"), "30", &["D"]);
    let train = |name: &str| labels(&open(path, &format!("train = '{name}'")).unwrap(), &Split::TRAIN);
    assert_eq!(train("10min"), ["B | A |"]);
    assert_eq!(train("10min/2"), ["B B B | A |"]);
    assert_eq!(train("1h").len(), 6);
    let ten = train("10h");
    assert_eq!((ten.len(), ten[6].as_str()), (7, "C |"));
    assert_eq!(labels(&open(path, "format = 'libri-light'\ntrain = '9h'").unwrap(), &Split::TRAIN), ["C |"]);
    refused(path, "train = '10min/7'", &["1h/7", "does not exist"]);
    refused(path, "train = '2h'", &["2h", "does not exist"]);
}

/// A manifest of fairseq with the given transcripts.
fn manifest(directory: &Path, name: &str, ending: &str, lines: &[&str]) {
    let root = directory.join("audio");
    let mut tsv = format!("{}\n", root.display());
    for number in 0..lines.len() {
        second(&root.join(format!("{name}{number}.wav")));
        tsv.push_str(&format!("{name}{number}.wav\t16000\n"));
    }
    write(&directory.join(format!("{name}.tsv")), tsv);
    write(&directory.join(format!("{name}.{ending}")), lines.join("\n") + "\n");
}

#[test]
fn fairseq_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    manifest(path, "train", "ltr", &["H I |", "H O | H O |"]);
    manifest(path, "valid", "ltr", &["N O |"]);
    let data = open(path, "").unwrap();
    assert_eq!(labels(&data, &Split::TRAIN), ["H I |", "H O | H O |"]);
    assert_eq!(names(&data.evaluation_splits()), ["validation"]);
    refused(path, "unit = 'phones'", &["train.phn: does not exist", ".ltr (`unit = \"letters\"`)"]);
    for name in ["train", "valid"] {
        write(&path.join(format!("{name}.phn")), if name == "train" { "hh ay\nhh ow hh ow\n" } else { "ow\n" });
        write(&path.join(format!("{name}.wrd")), if name == "train" { "hi\nho ho\n" } else { "no\n" });
    }
    let phones = open(path, "unit = 'phones'").unwrap();
    assert_eq!(phones.dictionary().symbols()[4..], ["hh", "ow", "ay"]);
    assert_eq!(labels(&phones, &Split::TRAIN), ["hh ay", "hh ow hh ow"]);
    let spelled = open(path, "unit = 'words-as-letters'").unwrap();
    assert_eq!(labels(&spelled, &Split::TRAIN), labels(&data, &Split::TRAIN));
    // A root that is relative lies beside the manifest.
    write(&path.join("valid.tsv"), "audio\nvalid0.wav\t16000\n");
    assert_eq!(open(path, "").unwrap().len(&Split::VALIDATION), 1);
    // One file is the validation split.
    let alone = open(&path.join("valid.tsv"), "").unwrap();
    assert_eq!((alone.len(&Split::TRAIN), alone.len(&Split::VALIDATION)), (0, 1));
    refused(&path.join("valid.tsv"), "validation = 'train.tsv'", &["`path` is itself a file"]);
}

#[test]
fn what_is_wrong_with_a_manifest_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    manifest(path, "valid", "ltr", &["A |", "B |", "C |", "D |", "", "F |"]);
    let text = fs::read_to_string(path.join("valid.tsv")).unwrap();
    let root = text.lines().next().unwrap();
    let rows =
        "valid0.wav\t15999\nvalid1.wav 16000\nvalid2.wav\tmany\nabsent.wav\t5\nvalid4.wav\t16000\nvalid5.wav\t16000\n";
    write(&path.join("valid.tsv"), format!("{root}\n{rows}"));
    // What is judged may be empty, what is trained on may not.
    refused(path, "", &["4 rows of the validation split cannot be used; `skip_bad = true`"]);
    refused(
        path,
        "train = 'valid.tsv'",
        &[
            "valid.tsv, line 2: ",
            "valid0.wav has 16000 samples, and the manifest says 15999",
            "valid.tsv, line 3: `valid1.wav 16000` is not a path, a tab and a number of samples",
            "valid.tsv, line 4: `many` is not a number of samples",
            "valid.tsv, line 5: ",
            "absent.wav cannot be read",
            "valid.ltr, line 5: has an empty transcript",
            "5 rows of the train split cannot be used; `skip_bad = true`",
        ],
    );
    let data = open(path, "skip_bad = true").unwrap();
    assert_eq!((data.skipped(), labels(&data, &Split::VALIDATION)), (4, vec![String::new(), "F |".to_owned()]));
    write(&path.join("valid.ltr"), "A |\nB |\n");
    refused(path, "skip_bad = true", &["valid.ltr: has 2 transcripts", "valid.tsv 6 paths"]);
    write(&path.join("valid.tsv"), "/no/such/root\na.wav\t1\n");
    refused(path, "", &["valid.tsv, line 1: the root directory /no/such/root does not exist"]);
    write(&path.join("valid.tsv"), "id\ttext\n1\thello\n");
    refused(path, "", &["valid.tsv: begins with `id\\ttext`", "one is that of its recordings: `audio`"]);
    refused(path, "format = 'fairseq'", &["is no manifest of fairseq"]);
    // Nothing is left when every row is left out.
    write(&path.join("valid.tsv"), format!("{root}\nabsent.wav\t1\n"));
    write(&path.join("valid.ltr"), "A |\n");
    refused(path, "skip_bad = true", &["no row of the validation split can be used", "absent.wav"]);
}

#[test]
fn common_voice_and_the_phones_of_cpc() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let header = "client_id\tpath\tsentence\tup_votes\tlocale";
    // A lone quote is a character.
    write(&path.join("train.tsv"), format!("{header}\nx\tcv_1.mp3\tHOLA \"TU\t2\tes\ny\tcv_2.mp3\tSI\t2\tes\n"));
    write(&path.join("dev.tsv"), format!("{header}\nx\tcv_3\tNO\t2\tes\n"));
    fs::create_dir(path.join("clips")).unwrap();
    fs::copy(common::fixture("tone.mp3"), path.join("clips/cv_1.mp3")).unwrap();
    // Converted clips keep their names.
    for name in ["cv_2", "cv_3", "cv_4"] {
        second(&path.join(format!("clips/{name}.wav")));
    }
    let data = open(path, "remove = '\"'").unwrap();
    assert_eq!(labels(&data, &Split::TRAIN), ["H O L A | T U |", "S I |"]);
    assert_eq!(labels(&data, &Split::VALIDATION), ["N O |"]);
    // CPC_audio: lists of names, and a file of phones.
    write(&path.join("phones.txt"), "cv_1 o l a\ncv_2 s i\ncv_3 n o\ncv_4 a\n");
    write(&path.join("trainSeqs.txt"), "cv_1\ncv_2\n");
    write(&path.join("valSeqs.txt"), "cv_4\n");
    let lists = "unit = 'phones'\nphones = 'phones.txt'\ntrain = 'trainSeqs.txt'\nvalidation = 'valSeqs.txt'";
    let data = open(path, lists).unwrap();
    assert_eq!(labels(&data, &Split::TRAIN), ["o l a", "s i"]);
    assert_eq!(data.dictionary().symbols()[4..], ["a", "i", "l", "o", "s"]);
    assert_eq!(labels(&data, &Split::VALIDATION), ["a"]);
    // The table's rows may have phones too, and the recordings lie elsewhere.
    fs::rename(path.join("clips"), path.join("elsewhere")).unwrap();
    let table = "unit = 'phones'\nphones = 'phones.txt'\nclips = 'elsewhere'\nunknown = 'unk'";
    assert_eq!(labels(&open(path, table).unwrap(), &Split::VALIDATION), ["<unk> o"]);
    refused(
        path,
        "unit = 'phones'\nphones = 'phones.txt'",
        &["dev.tsv, line 2: the recording `cv_3` is not in", "clips"],
    );
    write(&path.join("phones.txt"), "cv_1 o l a\n");
    refused(path, table, &["train.tsv, line 3: `cv_2` has no phones in", "phones.txt"]);
    write(&path.join("phones.txt"), "cv_1 o l a\ncv_1 o\n");
    refused(path, table, &["phones.txt, line 2: `cv_1` is there twice"]);
    let without = "validation = 'valSeqs.txt'\nclips = 'elsewhere'";
    refused(path, without, &["valSeqs.txt: is a list of recordings without transcripts"]);
    refused(path, "unit = 'phones'\nclips = 'elsewhere'", &["dev.tsv, line 1: the header has no column `phones`"]);
    write(&path.join("dev.tsv"), format!("{header}\nx\tcv_3\tNO\t2\n"));
    refused(path, "clips = 'elsewhere'", &["dev.tsv, line 2: has 4 tab-separated fields, not 5"]);
    write(&path.join("dev.tsv"), "path\twords\ncv_3\tNO\n");
    refused(path, "clips = 'elsewhere'", &["dev.tsv, line 1: the header has no column `text`; found `path`, `words`"]);
}

#[test]
fn folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (name, text) in [("train/b/2", "ho"), ("train/1", "hi\nyou\n"), ("dev/3.x", "so")] {
        second(&path.join(format!("{name}.wav")));
        write(&path.join(format!("{name}.txt")), text);
    }
    let data = open(path, "").unwrap();
    assert_eq!(labels(&data, &Split::TRAIN), ["H I | Y O U |", "H O |"]);
    assert_eq!(labels(&data, &Split::VALIDATION), ["S O |"]);
    let phones = open(path, "unit = 'phones'\nunknown = 'unk'").unwrap();
    assert_eq!(labels(&phones, &Split::TRAIN), ["hi you", "ho"]);
    assert_eq!(labels(&phones, &Split::VALIDATION), ["<unk>"]);
    fs::remove_file(path.join("train/1.txt")).unwrap();
    write(&path.join("dev/3.x.txt"), b"\xff");
    refused(path, "", &["1.wav: its text ", "1.txt cannot be read", "3.x.wav: its text ", "not UTF-8 at byte 1"]);
    fs::create_dir(path.join("empty")).unwrap();
    refused(path, "validation = 'empty'\nskip_bad = true", &["empty: holds no audio: looked for .flac"]);
}

#[test]
fn json_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["a", "b"] {
        wav(&path.join(format!("clips/{name}.wav")), 8000, 1, 16, 0.5);
    }
    let train = "\u{feff}{\"audio\": [\"clips/a.wav\", \"clips/b.wav\"], \"text\": \"ONE TWO\", \"speaker\": \"x\"}\r\n\n\
                 {\"audio\": \"clips/b.wav\", \"text\": \"two\", \"phones\": \"t uw\", \"seconds\": 0.5}\n";
    write(&path.join("train.jsonl"), train);
    write(&path.join("dev.jsonl"), "{\"audio\": \"clips/a.wav\", \"text\": \"ONE\", \"phones\": [\"w\", \"ah\"]}\n");
    let data = open(path, "").unwrap();
    assert_eq!(labels(&data, &Split::TRAIN), ["O N E | T W O |", "T W O |"]);
    assert_eq!((data.cost(&Split::TRAIN, 0), data.cost(&Split::TRAIN, 1)), (16_000, 8000));
    let batch = data.batch(&Split::TRAIN, &[0, 1]).unwrap();
    let row = |index| Vec::<f32>::try_from(batch.input("input_values").unwrap().get(index)).unwrap();
    // The second recording stands behind the first, and both are the same tone.
    assert_eq!(row(0)[..8000], row(0)[8000..]);
    assert_eq!(row(0)[..8000], row(1)[..8000]);
    let dev = "train = 'dev.jsonl'\nvalidation = 'dev.jsonl'\nunit = 'phones'";
    assert_eq!(labels(&open(path, dev).unwrap(), &Split::TRAIN), ["w ah"]);
    let wrong = "{\"audio\": 3, \"text\": \"A\"}\n[1]\n{\n{\"audio\": [], \"txt\": \"A\"}\n{\"audio\": [\"clips/a.wav\", 1], \"text\": 2}\n\
                 {\"audio\": \"clips/a.wav\", \"text\": \"A\", \"language\": 1}\n{\"audio\": [\"clips/a.wav\", \"c.wav\", \"d.wav\"], \"text\": \"A\"}\n";
    write(&path.join("wrong.jsonl"), wrong);
    refused(
        path,
        "validation = 'wrong.jsonl'",
        &[
            "line 1: `audio` is `3`, not a path or a list of paths",
            "line 2: `[1]` is not a JSON object",
            "line 3: is not JSON: EOF",
            "line 4: `audio` is `[]`, not a path or a list of paths; has no key `text`; found `audio`, `txt`",
            "line 5: `audio` is `1`, not a path or a list of paths; `text` is `2`, not a text",
            "line 6: `language` is `1`, not a text",
            "line 7: ",
            "c.wav cannot be read",
            "d.wav cannot be read",
            "7 rows of the validation split",
        ],
    );
    refused(
        path,
        "validation = 'wrong.jsonl'\nunit = 'phones'",
        &["line 6: has no key `phones`; found `audio`, `language`, `text`; `language` is `1`"],
    );
    let mut bytes = b"{\"audio\": \"clips/a.wav\", \"text\": \"A\"}\n".to_vec();
    bytes.extend(b"{\"audio\": \"\xff\"}\n");
    write(&path.join("wrong.jsonl"), bytes);
    refused(path, "validation = 'wrong.jsonl'", &["wrong.jsonl, line 2: byte 12 is not UTF-8"]);
    write(
        &path.join("wrong.jsonl"),
        format!("{{\"audio\": \"clips/a.wav\", \"text\": \"{}\"}}\n", "A".repeat(1 << 20)),
    );
    refused(path, "validation = 'wrong.jsonl'", &["line 1: is 10486", "at most 1048576 are accepted"]);
}

#[test]
fn pipes_and_devices_are_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    chapter(&path.join("dev"), "1-1", &["A"]);
    let pipe = path.join("list.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    refused(path, "train = 'list.jsonl'", &["list.jsonl: cannot be read: is no regular file"]);
    refused(path, "validation = '/dev/zero'", &["/dev/zero: cannot be read: is no regular file"]);
    refused(path, "phones = 'list.jsonl'", &["list.jsonl: cannot be read: is no regular file"]);
}

#[test]
fn links_that_lead_back_are_followed_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["dev/b/1.wav", "elsewhere/2.wav"] {
        second(&path.join(name));
        write(&path.join(name).with_extension("txt"), if name.starts_with("dev") { "A" } else { "B" });
    }
    for number in 0..8 {
        std::os::unix::fs::symlink(path.join("dev"), path.join(format!("dev/again{number}"))).unwrap();
        std::os::unix::fs::symlink("..", path.join(format!("dev/b/up{number}"))).unwrap();
    }
    std::os::unix::fs::symlink(path.join("dev/b"), path.join("dev/a")).unwrap();
    std::os::unix::fs::symlink(path.join("elsewhere"), path.join("dev/c")).unwrap();
    let data = open(path, "validation = 'dev'").unwrap();
    assert_eq!(labels(&data, &Split::VALIDATION), ["A |", "B |"]);
}

#[test]
fn lines_of_nothing_but_tabs_or_line_feeds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    second(&path.join("a.wav"));
    let (tabs, feeds) = (format!("a{}", "\t".repeat(8 << 20)), "\n".repeat(8 << 20));
    write(&path.join("dev.tsv"), format!("path\tsentence\n{tabs}\n"));
    refused(path, "", &["dev.tsv, line 2: has 8388609 tab-separated fields, not 2"]);
    write(&path.join("dev.tsv"), format!(".\na.wav\t16000\n{tabs}\n"));
    write(&path.join("dev.ltr"), "A |\nB |\n");
    refused(path, "", &["dev.tsv, line 3: `a\\t", "is not a path, a tab and a number of samples"]);
    write(&path.join("dev.tsv"), format!(".\na.wav\t16000\n{feeds}"));
    write(&path.join("dev.ltr"), format!("A |\n{feeds}"));
    assert_eq!(labels(&open(path, "").unwrap(), &Split::VALIDATION), ["A |"]);
    fs::remove_file(path.join("dev.tsv")).unwrap();
    write(&path.join("dev/b.txt"), "a".repeat((1 << 20) + 1));
    second(&path.join("dev/b.wav"));
    refused(path, "", &["b.wav: has a transcript of 1048577 bytes; at most 1048576 are accepted"]);
}

#[test]
fn problems_are_listed_up_to_twenty_a_split() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let lines: String = (0..30).map(|n| format!("{{\"audio\": \"{n}.wav\", \"text\": \"A\"}}\n")).collect();
    write(&path.join("train.jsonl"), &lines);
    write(&path.join("dev.jsonl"), "");
    let parts = ["train.jsonl, line 20:", "and 10 more problems of the train split", "30 rows of the train split"];
    refused(path, "", &parts);
    let message = open(path, "").err().unwrap().to_string();
    assert!(!message.contains("line 21:"), "{message}");
    assert!(message.contains("dev.jsonl: holds no recordings for the validation split"), "{message}");
}

#[test]
fn what_is_looked_for_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    write(&path.join("notes.md"), "");
    refused(path, "", &["holds nothing to validate on: looked for shards", "dev-other; it holds notes.md"]);
    refused(path, "path = ''", &["[data] path = \"\"", "`train` and `validation`"]);
    refused(Path::new("/nowhere/at/all"), "", &["/nowhere/at/all: does not exist"]);
    refused(path, "train = ''", &["[data] train = \"\""]);
    refused(path, "test = ['a/x.tsv', 'b/x.tsv']\nvalidation = 'c.tsv'", &["[data] test = test_x", "different names"]);
    let wrong = "format = 'fairsec'\nunit = 'words'\ncheck = 'x'\ncase = 'up'\nunknown = 'x'\nmax_seconds = -1.0\nframe_window = 0";
    let parts = [
        "did you mean `fairseq`?",
        "words-as-letters",
        "headers",
        "[data] case",
        "[data] unknown",
        "max_seconds",
        "frame_window",
    ];
    refused(path, wrong, &parts);
    refused(path, "trian = 'x'\nskip_bad = 3", &["did you mean `train`?", "skip_bad"]);
    refused(path, "train = 3", &["expected a path or a list of paths"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any bytes are a corpus or an error, in every layout and however rows that cannot be used are taken.
    #[test]
    fn no_bytes_panic(
        pieces in prop::collection::vec(prop::sample::select(vec![
            &b"path"[..], b"sentence", b"\t", b"\t", b"\n", b"\n", b"\r\n", b"a.wav", b"8000", b"-1", b"99999999999999999999",
            b".", b"{\"audio\":", b"\"a.wav\"", b",\"text\":", b"\"A\"", b"}", b"\xff", b"\xef\xbb\xbf", b"A B |", b"/", b"..",
        ]), 0..40),
        skip in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        wav(&path.join("a.wav"), 16_000, 1, 16, 0.5);
        let bytes = pieces.concat();
        for (format, name) in [
            ("fairseq", "d.tsv"), ("common-voice", "d.tsv"), ("common-voice", "d.txt"), ("json-lines", "d.jsonl"),
            ("auto", "d.tsv"), ("librispeech", "d"), ("folder", "d"),
        ] {
            let file = if name == "d" { path.join("d/a.trans.txt") } else { path.join(name) };
            write(&file, &bytes);
            write(&path.join("d.ltr"), &bytes);
            write(&path.join("phones.txt"), &bytes);
            let phones = if name == "d.txt" { "phones = 'phones.txt'\nunit = 'phones'\ndictionary = 'letters'" } else { "" };
            let options = format!("validation = '{name}'\nformat = '{format}'\nskip_bad = {skip}\n{phones}");
            if let Ok(data) = open(path, &options) {
                prop_assert!(data.len(&Split::VALIDATION) > 0);
                prop_assert!(data.batch(&Split::VALIDATION, &[0]).is_ok());
            }
        }
    }
}
