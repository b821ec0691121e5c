//! Speech as hubs, toolkits and `datasets` hand it out. What is expected is what `datasets` 5.0.1, soundfile and NeMo's own way of
//! cutting make of the same files: `make_hub_fixtures.py` wrote them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{fixture, labels, open, refused, wav, write};
use lopper_core::{Dataset, Split};
use lopper_speech::SpeechDataset;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

fn hub(name: &str) -> PathBuf {
    fixture("hub").join(name)
}

fn expected(layout: &str) -> Value {
    let text = fs::read_to_string(hub("expected.json")).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()[layout].take()
}

/// What the spelled labels say.
fn texts(data: &SpeechDataset, split: &Split) -> Vec<String> {
    let text = |label: &String| label.replace(' ', "").replace('|', " ").trim().to_owned();
    labels(data, split).iter().map(text).collect()
}

/// Checks transcripts and numbers of samples of a split.
#[track_caller]
fn holds(data: &SpeechDataset, split: &Split, expected: &Value) {
    let upper = |text: &Value| text.as_str().unwrap().to_uppercase();
    let wanted: Vec<_> = expected["texts"].as_array().unwrap().iter().map(upper).collect();
    assert_eq!(texts(data, split), wanted);
    let samples: Vec<_> = (0..data.len(split)).map(|index| u64::from(data.cost(split, index))).collect();
    let wanted: Vec<_> = expected["samples"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).collect();
    assert_eq!(samples, wanted);
}

fn row(data: &SpeechDataset, split: &Split, index: usize) -> Vec<f32> {
    let batch = data.batch(split, &[index]).unwrap();
    Vec::try_from(batch.input("input_values").unwrap().get(0)).unwrap()
}

/// The rows of the hub's training split as Lopper's own JSON lines, which other layouts share stages with.
fn plain(directory: &Path) -> SpeechDataset {
    let clips = hub("clips");
    let rows = [("a.flac", "ONE TWO"), ("b.wav", "TWO"), ("c.ogg", "THREE"), ("d.flac", "FOUR"), ("e.mp3", "FIVE")];
    let line = |(name, text): (&str, &str)| {
        format!("{{\"audio\": \"{}\", \"text\": \"{text}\"}}\n", clips.join(name).display())
    };
    write(&directory.join("train.jsonl"), rows.map(line).concat());
    write(&directory.join("dev.jsonl"), [("f.flac", "SIX"), ("g.wav", "TEN")].map(line).concat());
    open(directory, "").unwrap()
}

#[test]
fn json_of_datasets_and_of_other_toolkits() {
    let folder = tempfile::tempdir().unwrap();
    let plain = plain(folder.path());
    let data = open(&hub(""), "train = 'datasets.jsonl'\nvalidation = 'datasets.jsonl'").unwrap();
    holds(&data, &Split::TRAIN, &expected("shards")["train"]);
    assert_eq!(data.identity(&Split::TRAIN), plain.identity(&Split::TRAIN));
    let path = folder.path();
    let lines = fs::read_to_string(hub("datasets.jsonl")).unwrap();
    let absolute = lines.replace("clips\\/", &format!("{}/", hub("clips").display()));
    for (name, from, to) in [
        ("a.json", "\"sentence\"", "\"sentence\""),
        ("b.json", "\"sentence\"", "\"normalized_text\""),
        ("c.json", "\"sentence\"", "\"transcript\""),
    ] {
        // A JSON array, over lines or on one.
        let array = format!(
            "[{}]\n",
            absolute.replace(from, to).trim().replace('\n', if name == "a.json" { ",\n" } else { "," })
        );
        write(&path.join(name), array);
        let data = open(path, &format!("train = '{name}'")).unwrap();
        assert_eq!(data.identity(&Split::TRAIN), plain.identity(&Split::TRAIN), "{name}");
    }
    // Any name of a recording, with any name of a transcript.
    for (audio, text) in
        [("path", "sentence"), ("file_name", "transcription"), ("audio_file", "transcription"), ("wav", "wrd")]
    {
        let rows = [("a.flac", "ONE TWO"), ("b.wav", "TWO")];
        let lines = rows
            .map(|(name, said)| format!("{{\"{audio}\": \"{name}\", \"{text}\": \"{said}\", \"duration\": 9000}}\n"));
        write(&path.join("some.jsonl"), lines.concat());
        let options = format!("train = 'some.jsonl'\nclips = '{}'", hub("clips").display());
        assert_eq!(texts(&open(path, &options).unwrap(), &Split::TRAIN), ["ONE TWO", "TWO"], "{audio}");
    }
    write(&path.join("some.jsonl"), "{\"audio\": {\"array\": [0.1], \"sampling_rate\": 16000}, \"text\": \"A\"}\n");
    refused(path, "train = 'some.jsonl'", &["line 1: `audio` has no key `path`; found `array`, `sampling_rate`"]);
    write(&path.join("some.json"), "[{\"audio\": \"a.flac\", \"text\": \"A\"}, {\"audio\": ");
    refused(
        path,
        "train = 'some.json'",
        &["some.json, line 1: the JSON array is not closed; the file may be cut short"],
    );
}

#[test]
fn two_transcripts_are_asked_about() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    wav(&path.join("a.wav"), 16_000, 1, 16, 0.5);
    let line = "{\"audio\": \"a.wav\", \"text\": \"ONE\", \"normalized_text\": \"TWO\", \"sentence\": null}\n";
    write(&path.join("dev.jsonl"), line);
    let reason =
        "dev.jsonl, line 1: has `text` and `normalized_text`; say which is the transcript with transcript = \"text\"";
    refused(path, "", &[reason]);
    for (column, said) in [("text", "ONE"), ("normalized_text", "TWO")] {
        assert_eq!(texts(&open(path, &format!("transcript = '{column}'")).unwrap(), &Split::VALIDATION), [said]);
    }
    refused(path, "transcript = 'txt'", &["line 1: has no key `txt`; found `audio`, `normalized_text`, `text`"]);
    write(&path.join("dev.tsv"), "path\tsentence\ttranscription\na.wav\tONE\tTWO\n");
    let reason = "dev.tsv, line 1: the header has `sentence` and `transcription`; say which is the transcript with";
    refused(path, "", &[reason]);
    assert_eq!(texts(&open(path, "transcript = 'transcription'").unwrap(), &Split::VALIDATION), ["TWO"]);
    refused(
        path,
        "transcript = 'text'",
        &["dev.tsv, line 1: the header has no column `text`; found `path`, `sentence`"],
    );
}

#[test]
fn pieces_of_files_are_those_of_nemo() {
    let split = Split::VALIDATION;
    let data = open(&hub("nemo.jsonl"), "frame_stride = 0").unwrap();
    for (index, wanted) in expected("nemo").as_array().unwrap().iter().enumerate() {
        let samples = row(&data, &split, index);
        assert_eq!(
            (samples.len() as u64, samples.len()),
            (wanted["samples"].as_u64().unwrap(), data.cost(&split, index) as usize)
        );
        for value in wanted["values"].as_array().unwrap() {
            let (place, value) = (value[0].as_u64().unwrap() as usize, value[1].as_f64().unwrap() as f32);
            assert!(
                (samples[place] - value).abs() < 1e-5,
                "row {index}, sample {place}: {} is not {value}",
                samples[place]
            );
        }
    }
    // The last row's duration is that of the file, so it is the file.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::copy(hub("clips/d.flac"), path.join("d.flac")).unwrap();
    let key = |name: &str, rows: &str| {
        write(&path.join(name), rows);
        open(path, &format!("validation = '{name}'\nframe_stride = 0")).unwrap().identity(&split)
    };
    let whole = key("a.jsonl", "{\"audio\": \"d.flac\", \"text\": \"A\"}\n");
    let nemo = |more: &str| format!("{{\"audio_filepath\": \"d.flac\", \"text\": \"A\", {more}}}\n");
    assert_eq!(key("b.jsonl", &nemo("\"duration\": 0.2")), whole);
    assert_eq!(key("b.jsonl", &nemo("\"duration\": 0.2, \"offset\": null")), whole);
    let cut = key("b.jsonl", &nemo("\"duration\": 0.15"));
    assert_ne!(cut, whole);
    assert_eq!(key("c.jsonl", &nemo("\"duration\": 0.15, \"offset\": 0")), cut);
    assert_ne!(key("c.jsonl", &nemo("\"duration\": 0.15, \"offset\": 0.01")), cut);
    write(
        &path.join("d.jsonl"),
        nemo("\"duration\": 2.5") + &nemo("\"duration\": -1") + &nemo("\"duration\": \"1\"") + &nemo("\"offset\": 7"),
    );
    refused(
        path,
        "validation = 'd.jsonl'",
        &[
            "d.jsonl, line 1: ",
            "d.flac has 0.200 seconds, and the manifest reads it from 0 to 2.500",
            "d.jsonl, line 2: `duration` is -1, not a number of seconds",
            "d.jsonl, line 3: `duration` is `\\\"1\\\"`, not a number of seconds",
            "d.jsonl, line 4: ",
            "d.flac has 0.200 seconds, and the manifest reads it from 7",
        ],
    );
}

#[test]
fn audiofolder() {
    let wanted = expected("audiofolder");
    let data = open(&hub("audiofolder"), "").unwrap();
    holds(&data, &Split::TRAIN, &wanted["train"]);
    holds(&data, &Split::VALIDATION, &wanted["validation"]);
    // One list above both folders, and as CSV.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["train/some/a.flac", "train/some/b.wav", "train/some/c.ogg", "validation/f.flac", "validation/g.wav"] {
        fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
        fs::copy(hub("audiofolder").join(name), path.join(name)).unwrap();
    }
    let list = "transcription,file_name\n\"ONE TWO\",train/some/a.flac\nTWO,train/some/b.wav\nTHREE,train/some/c.ogg\n\
                SIX,validation/f.flac\nTEN,validation/g.wav\n";
    write(&path.join("metadata.csv"), list);
    let above = open(path, "").unwrap();
    for split in [Split::TRAIN, Split::VALIDATION] {
        assert_eq!(above.identity(&split), data.identity(&split));
    }
    write(&path.join("train/metadata.jsonl"), "{\"file_name\": \"some/a.flac\", \"transcription\": \"A\"}\n");
    assert_eq!(texts(&open(path, "").unwrap(), &Split::TRAIN), ["A"]);
    write(&path.join("train/some/metadata.csv"), "file_name,transcription\nb.wav,B\n");
    refused(path, "", &["metadata.csv: is of another kind than", "metadata.jsonl; keep one of them"]);
    fs::remove_file(path.join("train/metadata.jsonl")).unwrap();
    write(&path.join("train/some/metadata.csv"), "file_name,transcription\nnone.wav,B\n");
    refused(path, "", &["metadata.csv, line 2: the recording `none.wav` is not in "]);
}

#[test]
fn spontaneous_speech_has_its_splits_in_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["a", "b", "c", "d"] {
        wav(&path.join(format!("audios/spontaneous-speech-xx-{name}.mp3")), 16_000, 1, 16, 0.5);
    }
    let header = "client_id\taudio_id\taudio_file\tduration_ms\tprompt_id\tprompt\ttranscription\tvotes\tsplit";
    let row = |name: &str, said: &str, split: &str| {
        format!("x\t1\tspontaneous-speech-xx-{name}.mp3\t500\t2\tWhy?\t{said}\t2\t{split}\n")
    };
    let rows =
        [("a", "ONE", "train"), ("b", "TWO", "dev"), ("gone", "", ""), ("c", "THREE", "test"), ("d", "FOUR", "train")];
    let list = format!("{header}\n") + &rows.map(|(name, said, split)| row(name, said, split)).concat();
    write(&path.join("ss-corpus-xx.tsv"), &list);
    let data = open(path, "test = 'ss-corpus-xx.tsv'").unwrap();
    assert_eq!(texts(&data, &Split::TRAIN), ["ONE", "FOUR"]);
    assert_eq!(texts(&data, &Split::VALIDATION), ["TWO"]);
    assert_eq!(texts(&data, &Split::named("test")), ["THREE"]);
    // A file that holds one split holds nothing else, whatever it is called.
    write(&path.join("all.tsv"), format!("{header}\n{}", row("a", "ONE", "train")));
    assert_eq!(texts(&open(path, "validation = 'all.tsv'").unwrap(), &Split::VALIDATION), ["ONE"]);
    write(&path.join("all.tsv"), format!("{header}\n{}{}", row("a", "ONE", "0"), row("b", "TWO", "1")));
    refused(
        path,
        "validation = 'all.tsv'",
        &["all.tsv: has a column `split` with `0`, `1`, and none of them is dev or valid"],
    );
}

#[test]
fn clips_lie_in_sub_folders() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["en_0/cv_1.mp3", "en_1/cv_2.wav", "en_1/deep/cv_3.mp3"] {
        wav(&path.join("clips").join(name), 16_000, 1, 16, 0.5);
    }
    let list = |names: [&str; 3]| {
        let rows = names.map(|name| format!("x\t{name}\tHI\t\n")).concat();
        write(&path.join("dev.tsv"), format!("client_id\tpath\tsentence\tlocale\n{rows}"));
    };
    list(["cv_1.mp3", "cv_2.mp3", "deep/cv_3.mp3"]);
    assert_eq!(open(path, "").unwrap().len(&Split::VALIDATION), 3);
    assert_eq!(open(path, "clips = 'clips'").unwrap().len(&Split::VALIDATION), 3);
    // Of a path with directories the directories count, too.
    list(["cv_1.mp3", "en_0/cv_2.mp3", "cv_4.mp3"]);
    let reasons = [
        "dev.tsv, line 3: the recording `en_0/cv_2.mp3` is not in",
        "dev.tsv, line 4: the recording `cv_4.mp3` is not in",
    ];
    refused(path, "", &reasons);
    list(["cv_1.mp3", "cv_2.mp3", "cv_3.mp3"]);
    wav(&path.join("clips/en_2/cv_1.flac"), 16_000, 1, 16, 0.5);
    refused(path, "", &["dev.tsv, line 2: the recording `cv_1.mp3` may be ", "en_0/cv_1.mp3 or ", "en_2/cv_1.flac"]);
}

#[test]
fn quotes_between_tabs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for name in ["a", "b"] {
        wav(&path.join(format!("{name}.wav")), 16_000, 1, 16, 0.5);
    }
    let said = |rows: &str, options: &str| {
        write(&path.join("dev.tsv"), format!("path\tsentence\n{rows}"));
        let data = open(
            path,
            &format!("dictionary = {{ vocabulary = ['<s>', '|', 'A', 'B', '\"', '\t'], blank = 0 }}\n{options}"),
        );
        data.map(|data| texts(&data, &Split::VALIDATION)).map_err(|e| e.to_string())
    };
    // Common Voice's own: a text may stand between quotes, or hold one.
    assert_eq!(said("a\t\"AB\"\nb\tB\n", ""), Ok(vec!["\"AB\"".into(), "B".into()]));
    assert_eq!(said("a\t\"A\" B\nb\tB\n", ""), Ok(vec!["\"A\" B".into(), "B".into()]));
    // pandas': the same texts.
    assert_eq!(said("a\t\"\"\"AB\"\"\"\nb\tB\n", ""), Ok(vec!["\"AB\"".into(), "B".into()]));
    assert_eq!(said("a\t\"\"\"A\"\" B\"\nb\tB\n", ""), Ok(vec!["\"A\" B".into(), "B".into()]));
    let both = "a\t\"\"\"A\"\" B\"\nb\t\"B\"\n";
    let refused = said(both, "").unwrap_err();
    assert!(refused.contains("say which with quoting = \"raw\" or quoting = \"csv\""), "{refused}");
    assert_eq!(said(both, "quoting = 'csv'"), Ok(vec!["\"A\" B".into(), "B".into()]));
    assert_eq!(said(both, "quoting = 'raw'"), Ok(vec!["\"\"\"A\"\" B\"".into(), "\"B\"".into()]));
    assert!(said(both, "quoting = 'tsv'").unwrap_err().contains("give one of auto, raw, csv"));
}

#[test]
fn libri_light_is_given_from_above() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let chapter = |part: &str, speaker: usize, text: &str| {
        let chapter = path.join("librispeech_finetuning").join(part).join(format!("{speaker}/1"));
        write(&chapter.join(format!("{speaker}-1.trans.txt")), format!("{speaker}-1-0000 {text}\n"));
        wav(&chapter.join(format!("{speaker}-1-0000.flac")), 16_000, 1, 16, 0.5);
    };
    (0..6)
        .for_each(|part| chapter(&format!("1h/{part}/{}", ["clean", "other"][part % 2]), part, &"A".repeat(part + 1)));
    chapter("9h/clean", 10, "B");
    chapter("9h/other", 11, "C");
    let train = |at: &Path, name: &str| {
        let valid = path.join("librispeech_finetuning/9h/other");
        texts(&open(at, &format!("train = '{name}'\nvalidation = '{}'", valid.display())).unwrap(), &Split::TRAIN)
    };
    let ten = ["A", "AA", "AAA", "AAAA", "AAAAA", "AAAAAA", "B", "C"];
    for name in ["librispeech_finetuning/10h", "10h", "librispeech_finetuning/10h/"] {
        assert_eq!(train(path, name), ten, "{name}");
    }
    assert_eq!(train(&path.join("librispeech_finetuning"), "10h"), ten);
    assert_eq!(train(path, "librispeech_finetuning/10min"), ["A"]);
    assert_eq!(train(path, "10min/2"), ["AAA"]);
    assert_eq!(
        (train(path, "1h").len(), train(path, "9h"), train(path, "1h/3/other")),
        (6, vec!["B".into(), "C".into()], vec!["AAAA".into()])
    );
    refused(
        path,
        "train = 'librispeech_finetuning/100h'\nvalidation = 'librispeech_finetuning/9h'",
        &["librispeech_finetuning/100h: does not exist"],
    );
}

#[test]
fn shards_of_the_hub() {
    let folder = tempfile::tempdir().unwrap();
    let files = plain(folder.path());
    let wanted = expected("shards");
    let data = open(&hub("shards"), "").unwrap();
    for split in [Split::TRAIN, Split::VALIDATION] {
        holds(&data, &split, &wanted[split.as_str()]);
        // The same recordings and transcripts are the same stage.
        assert_eq!(data.identity(&split), files.identity(&split));
        for index in (0..data.len(&split)).rev() {
            assert_eq!(row(&data, &split, index), row(&files, &split, index));
        }
    }
    assert_eq!(expected("saved"), wanted);
    // Under their name, with another check, as one file, in a folder of configurations, and in the hub's cache.
    let decoded = open(&hub("shards"), "train = 'data/train'\nvalidation = 'validation'\ncheck = 'decode'").unwrap();
    assert_eq!(decoded.identity(&Split::TRAIN), data.identity(&Split::TRAIN));
    let one = open(&hub("shards/data/train-00001-of-00003.parquet"), "").unwrap();
    assert_eq!(texts(&one, &Split::VALIDATION), ["THREE", "FOUR"]);
    let path = folder.path();
    for (base, names) in [("repo/en", "train.clean.100"), ("cache/snapshots/abc/data", "train")] {
        for number in 0..3 {
            let from = hub(&format!("shards/data/train-0000{number}-of-00003.parquet"));
            fs::create_dir_all(path.join(base)).unwrap();
            fs::copy(from, path.join(base).join(format!("{names}-0000{number}-of-00003.parquet"))).unwrap();
        }
        fs::copy(
            hub("shards/data/validation-00000-of-00001.parquet"),
            path.join(base).join("validation-00000-of-00001.parquet"),
        )
        .unwrap();
    }
    write(&path.join("cache/refs/main"), "abc");
    fs::create_dir_all(path.join("cache/blobs")).unwrap();
    for options in [
        "path = 'PATH/cache'",
        "path = 'PATH/repo/en'\ntrain = 'train.clean.100'",
        "path = 'PATH/repo'\ntrain = 'en/train.clean.100'",
    ] {
        let data = open(path, &options.replace("PATH", path.to_str().unwrap())).unwrap();
        assert_eq!(data.identity(&Split::TRAIN), files.identity(&Split::TRAIN), "{options}");
        assert_eq!(data.len(&Split::VALIDATION), 2, "{options}");
    }
    fs::remove_file(path.join("repo/en/train.clean.100-00001-of-00003.parquet")).unwrap();
    refused(
        &path.join("repo/en"),
        "train = 'train.clean.100'",
        &["is one of 3 shards, of which 2 are there; number 1 is missing"],
    );
    refused(&path.join("repo/en"), "train = 'train.clean'", &["train.clean: does not exist"]);
}

#[test]
fn what_save_to_disk_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let files = plain(folder.path());
    let data = open(&hub("saved"), "").unwrap();
    for split in [Split::TRAIN, Split::VALIDATION] {
        holds(&data, &split, &expected("saved")[split.as_str()]);
        assert_eq!(data.identity(&split), files.identity(&split));
        (0..data.len(&split)).for_each(|index| assert_eq!(row(&data, &split, index), row(&files, &split, index)));
    }
    // The folder of one split is that split.
    let alone = open(&hub("saved/validation"), "").unwrap();
    assert_eq!(alone.identity(&Split::VALIDATION), files.identity(&Split::VALIDATION));
    let beside = open(&hub("saved/validation"), "train = 'train'").unwrap();
    assert_eq!(beside.identity(&Split::TRAIN), files.identity(&Split::TRAIN));
    let path = folder.path().join("saved/dev");
    fs::create_dir_all(&path).unwrap();
    fs::copy(hub("saved/validation/state.json"), path.join("state.json")).unwrap();
    refused(&folder.path().join("saved"), "", &["data-00000-of-00001.arrow: is not there; ", "state.json names it"]);
}

#[test]
fn tables_of_other_writers() {
    let folder = tempfile::tempdir().unwrap();
    let files = plain(folder.path());
    let parquet = hub("snappy.parquet");
    refused(
        &parquet,
        "",
        &["snappy.parquet: has `normalized_text` and `raw_text`; say which is the transcript with transcript ="],
    );
    let data = open(&parquet, "transcript = 'normalized_text'").unwrap();
    holds(&data, &Split::VALIDATION, &expected("snappy"));
    // Rows of several groups and pages, in any order.
    for index in [4, 0, 3, 1, 2, 0, 4] {
        assert_eq!(row(&data, &Split::VALIDATION, index), row(&files, &Split::TRAIN, index), "{index}");
    }
    assert_eq!(
        texts(&open(&parquet, "transcript = 'raw_text'\nremove = '.,?!'").unwrap(), &Split::VALIDATION)[0],
        "ONE TWO"
    );
    refused(
        &parquet,
        "transcript = 'text'",
        &["snappy.parquet: has no column `text`; found `raw_text`, `normalized_text`, `audio`"],
    );
    // Where bytes are null the file beside them is read, and one with neither is named by its row.
    let mixed = open(&hub("paths.parquet"), "").unwrap();
    assert_eq!(texts(&mixed, &Split::VALIDATION), ["ONE TWO", "TWO", "FOUR"]);
    for (index, other) in [(0, 0), (1, 1), (2, 3)] {
        assert_eq!(row(&mixed, &Split::VALIDATION, index), row(&files, &Split::TRAIN, other));
    }
    let reason = "neither.parquet: row 1, counted from 0: its recording has neither bytes nor a path";
    refused(&hub("neither.parquet"), "", &[reason]);
    let skipped = open(&hub("neither.parquet"), "skip_bad = true").unwrap();
    assert_eq!((skipped.len(&Split::VALIDATION), skipped.skipped()), (2, 1));
    let path = folder.path();
    fs::copy(hub("paths.parquet"), path.join("paths.parquet")).unwrap();
    refused(path, "validation = 'paths.parquet'", &["paths.parquet: row 0, counted from 0: `a.flac` cannot be read"]);
    let clips = format!("validation = 'paths.parquet'\nclips = '{}'", hub("").display());
    assert_eq!(open(path, &clips).unwrap().identity(&Split::VALIDATION), mixed.identity(&Split::VALIDATION));
    // AudioFolder's list as Parquet.
    fs::create_dir_all(path.join("train/some")).unwrap();
    fs::copy(hub("metadata.parquet"), path.join("train/metadata.parquet")).unwrap();
    for name in ["a.flac", "b.wav", "c.ogg"] {
        fs::copy(hub("clips").join(name), path.join("train/some").join(name)).unwrap();
    }
    let data = open(path, "train = 'train'").unwrap();
    assert_eq!(data.identity(&Split::TRAIN), open(&hub("audiofolder"), "").unwrap().identity(&Split::TRAIN));
    fs::remove_file(path.join("train/some/b.wav")).unwrap();
    refused(
        path,
        "train = 'train'",
        &["metadata.parquet: row 1, counted from 0: the recording `some/b.wav` is not in"],
    );
}

#[test]
fn damage_in_a_table_is_that_of_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // In pages without compression the bytes of a recording lie as they are; statistics hold copies of short ones.
    let bytes = fs::read(hub("shards/data/train-00000-of-00003.parquet")).unwrap();
    let damaged = |clip: &str, at: usize, damage: &[u8]| {
        let clip = fs::read(hub("clips").join(clip)).unwrap();
        let mut wrong = bytes.clone();
        let places = (0..bytes.len() - clip.len()).filter(|place| bytes[*place..].starts_with(&clip));
        places.for_each(|place| wrong[place + at..][..damage.len()].copy_from_slice(damage));
        assert_ne!(wrong, bytes);
        wrong
    };
    let (dev, options) = (path.join("dev.parquet"), "validation = 'dev.parquet'");
    write(&dev, damaged("a.flac", 1500, b"xxxx"));
    refused(path, options, &["dev.parquet: row 0, counted from 0: `a.flac` is damaged: "]);
    let skipped = open(path, &format!("{options}\nskip_bad = true")).unwrap();
    assert_eq!(texts(&skipped, &Split::VALIDATION), ["TWO"]);
    write(&dev, damaged("b.wav", 0, b"xxxx"));
    refused(path, options, &["row 1, counted from 0: `b.wav` is not audio that can be read"]);
    // The end of a table, and a table that changes while it is used.
    write(&dev, &bytes[..bytes.len() - 20]);
    refused(path, options, &["dev.parquet: is damaged: "]);
    write(&dev, &bytes);
    let data = open(path, options).unwrap();
    write(&dev, damaged("a.flac", 1500, b"xxxx"));
    let message = data.batch(&Split::VALIDATION, &[0, 1]).err().unwrap().to_string();
    assert!(message.contains("dev.parquet: row 0, counted from 0: `a.flac` is damaged"), "{message}");
    assert_eq!(row(&data, &Split::VALIDATION, 1).len(), 1600);
    write(&dev, "");
    let message = data.batch(&Split::VALIDATION, &[0]).err().unwrap().to_string();
    assert!(message.contains("dev.parquet: row 0, counted from 0: `a.flac` "), "{message}");
}
