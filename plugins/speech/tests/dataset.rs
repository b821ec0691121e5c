//! The dataset as a session sees it: laws, splits, metrics, languages, limits.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{labels, lines, open, refused, second, small, write};
use lopper_core::{
    Dataset, DatasetEntry, DatasetRequest, Error, Head, MetricValue, Predictions, Split, Targets, registry,
};
use lopper_speech::SpeechDataset;
use std::fs;
use std::path::Path;
use tch::Tensor;

/// Predictions that decode to `rows`, in the dictionary of `data`, a blank between any two symbols.
fn saying(data: &SpeechDataset, rows: &[Vec<u32>]) -> Predictions {
    let (blank, width) = (data.dictionary().blank(), data.dictionary().len());
    let time = rows.iter().map(|row| 2 * row.len() + 1).max().unwrap();
    let mut logits = vec![0f32; rows.len() * time * width];
    for (step, logits) in logits.chunks_exact_mut(width).enumerate() {
        let (row, at) = (&rows[step / time], step % time);
        let symbol = if at % 2 == 1 { row.get(at / 2).map(|id| *id as usize) } else { None };
        logits[symbol.unwrap_or(blank)] = 5.0;
    }
    let shape = [rows.len() as i64, time as i64, width as i64];
    let lengths = rows.iter().map(|row| 2 * row.len() as i64 + 1).collect();
    Predictions { logits: Tensor::from_slice(&logits).reshape(shape), lengths: Some(lengths) }
}

fn targets(data: &SpeechDataset, split: &Split) -> Vec<Vec<u32>> {
    let all: Vec<usize> = (0..data.len(split)).collect();
    let Some(Targets::Sequences(rows)) = data.batch(split, &all).unwrap().targets else { panic!("no sequences") };
    rows.into_iter().map(|row| row.into_iter().map(|id| id as u32).collect()).collect()
}

fn value(metrics: &[MetricValue], name: &str) -> f64 {
    metrics.iter().find(|metric| metric.name == name).unwrap_or_else(|| panic!("no {name} in {metrics:?}")).value
}

#[test]
fn the_laws_hold_for_letters_phones_and_languages() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    lopper_testkit::laws::dataset(&open(folder.path(), "").unwrap());
    lopper_testkit::laws::dataset(&open(folder.path(), "unit = 'phones'\ncheck = 'decode'").unwrap());
    for language in ["es", "fr"] {
        let rows = if language == "es" { [(0.5, "o l a"), (0.3, "s i")] } else { [(0.5, "m e"), (0.3, "o m o")] };
        lines(folder.path(), &format!("{language}/train"), &rows);
        lines(folder.path(), &format!("{language}/dev"), &rows);
    }
    let joint = "unit = 'phones'\nlanguages = ['es', 'fr']\ntrain = '{language}/train.jsonl'\nvalidation = '{language}/dev.jsonl'";
    lopper_testkit::laws::dataset(&open(folder.path(), joint).unwrap());
}

#[test]
fn the_task_is_known_without_recordings() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    for options in ["", "unit = 'phones'", "dictionary = 'train'"] {
        let data = open(folder.path(), options).unwrap();
        let mut table: toml::Table = options.parse().unwrap();
        table.insert("path".into(), folder.path().to_str().unwrap().into());
        let task = lopper_speech::task(&table).unwrap();
        assert_eq!(&task, data.task());
        assert_eq!((task.name.as_str(), task.higher_is_better), ("speech", false));
        assert_eq!(task.primary_metric, if options.contains("phones") { "per" } else { "wer" });
    }
    let Head::Ctc { vocabulary, blank } = open(folder.path(), "").unwrap().task().head.clone() else { panic!() };
    assert_eq!((vocabulary.len(), blank, vocabulary[4].as_str(), vocabulary[31].as_str()), (32, 0, "|", "Z"));
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "wav") {
            fs::remove_file(path).unwrap();
        }
    }
    let path = folder.path().to_str().unwrap();
    lopper_speech::task(&format!("path = '{path}'\nunit = 'phones'").parse().unwrap()).unwrap();
    let entry = registry::find::<DatasetEntry>("speech").unwrap();
    let error = (entry.task)(&format!("path = '{path}'\nunit = 'fones'").parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("did you mean `phones`?"), "{error}");
    fs::remove_file(folder.path().join("train.jsonl")).unwrap();
    let error = lopper_speech::task(&format!("path = '{path}'\nunit = 'phones'").parse().unwrap()).unwrap_err();
    assert!(error.to_string().contains("no training transcripts to make it of"), "{error}");
}

#[test]
fn error_rates_are_those_of_the_corpus() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let data = open(folder.path(), "").unwrap();
    let split = Split::VALIDATION;
    let right = targets(&data, &split);
    let perfect = data.evaluate(&split, &[(vec![0, 1, 2], saying(&data, &right))]).unwrap().metrics;
    assert_eq!((value(&perfect, "wer"), value(&perfect, "cer"), perfect.len()), (0.0, 0.0, 2));
    // "A B C", "B", "CAB" answered by "A C", "B", "CB": 2 of 5 words, 3 of 9 characters.
    let id = |symbol: &str| data.dictionary().id(symbol).unwrap();
    let said = [vec!["A", "|", "C", "|"], vec!["B"], vec!["|", "C", "B", "|", "|"]];
    let said: Vec<Vec<u32>> = said.iter().map(|row| row.iter().map(|symbol| id(symbol)).collect()).collect();
    let metrics = data.evaluate(&split, &[(vec![0, 1, 2], saying(&data, &said))]).unwrap().metrics;
    assert_eq!((value(&metrics, "wer"), value(&metrics, "cer")), (2.0 / 5.0, 3.0 / 9.0));
    // Batches may come in any order.
    let pieces =
        [(vec![2, 0], saying(&data, &[said[2].clone(), said[0].clone()])), (vec![1], saying(&data, &said[1..2]))];
    assert_eq!(data.evaluate(&split, &pieces).unwrap().metrics, metrics);
    // Phones: over the corpus, and the mean over utterances of 3, 1 and 3 phones.
    let data = open(folder.path(), "unit = 'phones'").unwrap();
    let id = |symbol: &str| data.dictionary().id(symbol).unwrap();
    let said = [vec![id("A"), id("C")], vec![id("B"), id("B")], vec![id("C"), id("B")]];
    let metrics = data.evaluate(&split, &[(vec![0, 1, 2], saying(&data, &said))]).unwrap().metrics;
    assert_eq!((value(&metrics, "per"), metrics.len()), (3.0 / 7.0, 2));
    assert!((value(&metrics, "per_mean") - (1.0 / 3.0 + 1.0 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
    // What the dictionary does not have is an error, even when it is said to be unknown.
    write(&folder.path().join("dict.phn.txt"), "A 1\nB 1\n");
    let data = open(folder.path(), "unit = 'phones'\ndictionary = 'dict.phn.txt'\nunknown = 'unk'").unwrap();
    let unknown = targets(&data, &split);
    assert_eq!(unknown, [vec![4, 5, 3], vec![5], vec![3, 4, 5]]);
    let metrics = data.evaluate(&split, &[(vec![0, 1, 2], saying(&data, &unknown))]).unwrap().metrics;
    assert_eq!(value(&metrics, "per"), 2.0 / 7.0);
}

#[test]
fn predictions_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let data = open(folder.path(), "").unwrap();
    let split = Split::VALIDATION;
    let right = targets(&data, &split);
    let all = || (vec![0, 1, 2], saying(&data, &right));
    let check = |outputs: &[(Vec<usize>, Predictions)], part: &str| {
        let message = data.evaluate(&split, outputs).unwrap_err().to_string();
        assert!(message.contains(part), "`{part}` is not in: {message}");
    };
    check(&[], "3 of 3 recordings of speech were not predicted");
    check(&[all(), (vec![1], saying(&data, &right[1..2]))], "recording 1 was predicted twice");
    check(&[(vec![0, 1, 3], all().1)], "none of index 3");
    check(&[(vec![0, 1], all().1)], "needs logits of shape [2, time, 32]");
    let wide = Tensor::zeros([3, 4, 33], (tch::Kind::Float, tch::Device::Cpu));
    check(&[(vec![0, 1, 2], Predictions { logits: wide, lengths: None })], "not [3, 4, 33]");
    let flat = Tensor::zeros([3, 32], (tch::Kind::Float, tch::Device::Cpu));
    check(&[(vec![0, 1, 2], Predictions { logits: flat, lengths: None })], "not [3, 32]");
    for lengths in [vec![1, 1], vec![1, 1, 100], vec![1, -1, 1]] {
        check(&[(vec![0, 1, 2], Predictions { lengths: Some(lengths), ..all().1 })], "do not fit logits of shape");
    }
    let nan = all().1.logits * f64::NAN;
    check(&[(vec![0, 1, 2], Predictions { logits: nan, lengths: None })], "the model answers NaN");
    let message = data.evaluate(&Split::named("dev"), &[]).unwrap_err().to_string();
    assert!(message.contains("without a dev split; it has train, validation"), "{message}");
}

#[test]
fn several_languages_share_a_dictionary() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (language, train, dev) in [("es", "o l a", "a l"), ("fr", "m o e", "e m"), ("it", "a m o", "o")] {
        lines(path, &format!("{language}/train"), &[(0.5, train), (0.3, train)]);
        lines(path, &format!("{language}/dev"), &[(0.5, dev)]);
    }
    let joint = "unit = 'phones'\nlanguages = ['es', 'fr', 'it']\ntrain = '{language}/train.jsonl'";
    let data = open(path, &format!("{joint}\nvalidation = '{{language}}/dev.jsonl'")).unwrap();
    assert_eq!(data.dictionary().symbols()[4..], ["o", "a", "m", "e", "l"]);
    assert_eq!(labels(&data, &Split::TRAIN), ["o l a", "o l a", "m o e", "m o e", "a m o", "a m o"]);
    let splits = data.evaluation_splits();
    assert_eq!(
        splits.iter().map(Split::as_str).collect::<Vec<_>>(),
        ["validation_es", "validation_fr", "validation_it"]
    );
    // Asked for Spanish alone, French `m` gives way to what comes next.
    let id = |symbol: &str| data.dictionary().id(symbol).unwrap() as usize;
    let mut logits = vec![0f32; 2 * data.dictionary().len()];
    (logits[id("m")], logits[id("a")], logits[data.dictionary().len() + id("l")]) = (2.0, 1.0, 1.0);
    let logits = Tensor::from_slice(&logits).reshape([1, 2, data.dictionary().len() as i64]);
    let metrics = data.evaluate(&splits[0], &[(vec![0], Predictions { logits, lengths: None })]).unwrap().metrics;
    assert_eq!((value(&metrics, "per"), value(&metrics, "per_own"), value(&metrics, "per_mean_own")), (0.5, 0.0, 0.0));
    // Each alone, in the joint dictionary: the same symbols without the others' data.
    let symbols = data.dictionary().symbols()[4..].iter().enumerate().map(|(n, s)| format!("{s} {n}\n"));
    write(&path.join("dict.phn.txt"), symbols.collect::<String>());
    let alone = "unit = 'phones'\ndictionary = 'dict.phn.txt'\ntrain = 'es/train.jsonl'\nvalidation = 'es/dev.jsonl'";
    assert_eq!(open(path, alone).unwrap().dictionary(), data.dictionary());
    // Without `{language}` the rows say which language they are in.
    let row = |name: &str, language: &str| format!("{{\"audio\": \"{name}\", \"phones\": \"a\"{language}}}\n");
    second(&path.join("x.wav"));
    let mixed = [
        row("x.wav", ", \"language\": \"es\""),
        row("x.wav", ", \"language\": \"fr\""),
        row("x.wav", ", \"language\": \"de\""),
    ];
    write(&path.join("mixed.jsonl"), mixed.concat());
    let two = "unit = 'phones'\nlanguages = ['es', 'fr']\ntrain = 'mixed.jsonl'\nvalidation = 'mixed.jsonl'";
    let data = open(path, two).unwrap();
    let lens =
        [Split::TRAIN, Split::named("validation_es"), Split::named("validation_fr")].map(|split| data.len(&split));
    assert_eq!(lens, [2, 1, 1]);
    write(&path.join("mixed.jsonl"), [mixed[0].clone(), row("x.wav", "")].concat());
    refused(path, two, &["mixed.jsonl, line 2: has no language", "holds no recordings for the validation_fr split"]);
    refused(path, &format!("{joint}\nvalidation = '{{language}}/test.jsonl'"), &["es/test.jsonl", "fr/test.jsonl"]);
    refused(path, "train = '{language}/train.jsonl'", &["[data] languages = []", "{language}"]);
    refused(path, "languages = ['es', 'es']\nvalidation = 'mixed.jsonl'", &["name every language once"]);
    // The path itself may have the language in it.
    let within = format!("unit = 'phones'\nlanguages = ['es', 'fr']\npath = '{}/{{language}}'", path.display());
    assert_eq!(open(path, &within).unwrap().evaluation_splits().len(), 2);
}

#[test]
fn limits_draw_nested_subsets() {
    let folder = tempfile::tempdir().unwrap();
    let letters: Vec<String> = (0..25u8).map(|n| char::from(b'A' + n).to_string()).collect();
    let rows: Vec<(f64, &str)> = letters.iter().map(|letter| (0.1, letter.as_str())).collect();
    lines(folder.path(), "train", &rows);
    lines(folder.path(), "dev", &rows);
    let drawn = |limit: u64, seed: u64| {
        let options = format!("limit_train = {limit}\nlimit_validation = 7\nlimit_seed = {seed}");
        let data = open(folder.path(), &options).unwrap();
        assert_eq!(data.len(&Split::VALIDATION), 7);
        labels(&data, &Split::TRAIN)
    };
    let (five, ten) = (drawn(5, 0), drawn(10, 0));
    assert_eq!((five.len(), ten.len(), drawn(0, 0).len(), drawn(99, 0).len()), (5, 10, 25, 25));
    assert!(five.iter().all(|label| ten.contains(label)) && five.is_sorted());
    assert_ne!(five, drawn(5, 1));
}

#[test]
fn rows_that_cannot_be_learned_are_refused_or_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    // 0.045 seconds are 720 samples: two time steps.
    let rows = [
        (0.5, "A"),
        (0.045, "B"),
        (0.5, "Ü, ÑÜ"),
        (0.045, "BB"),
        (0.5, " "),
        (0.02, "A"),
        (0.5, "LONG"),
        (0.045, "AB"),
    ];
    lines(path, "train", &rows);
    lines(path, "dev", &[(0.5, "A")]);
    refused(
        path,
        "",
        &[
            "train.jsonl, line 3: has `Ü`, `,`, `Ñ`, which the dictionary does not have",
            "the dictionary has only | E T A O N I",
            "`remove` drops characters, `unknown = \"unk\"` keeps such rows",
            "train.jsonl, line 4: ",
            "train3.wav is 0.045 seconds long, 2 time steps; CTC needs 4 for its 3 symbols",
            "train.jsonl, line 5: has an empty transcript",
            "train.jsonl, line 6: ",
            "0.020 seconds long, 0 time steps; CTC needs 2 for its 2 symbols",
            "train.jsonl, line 8: ",
            "CTC needs 3 for its 3 symbols",
            "5 rows of the train split cannot be used",
        ],
    );
    let data = open(path, "skip_bad = true").unwrap();
    assert_eq!(
        (data.skipped(), labels(&data, &Split::TRAIN)),
        (5, vec!["A |".into(), "B |".into(), "L O N G |".to_owned()])
    );
    let data = open(path, "skip_bad = true\nunknown = 'unk'").unwrap();
    assert_eq!(labels(&data, &Split::TRAIN)[2], "<unk> <unk> | <unk> <unk> |");
    assert_eq!(open(path, "skip_bad = true\nremove = 'Ü,Ñ'\nframe_stride = 0").unwrap().skipped(), 2);
    assert_eq!(open(path, "skip_bad = true\nframe_stride = 100\nframe_window = 100").unwrap().skipped(), 2);
    let limits = "min_seconds = 0.04\nmax_seconds = 0.4";
    refused(
        path,
        limits,
        &["train0.wav is 0.500 seconds long, more than `max_seconds` = 0.4", "less than `min_seconds` = 0.04"],
    );
    refused(path, "min_seconds = 1.0\nmax_seconds = 0.5", &["[data] max_seconds = 0.5", "which is 1"]);
    refused(path, "min_seconds = 2.0\nskip_bad = true", &["no row of the train split can be used"]);
}

#[test]
fn the_identity_is_of_content() {
    let of = |split: Split, directory: &Path, options: &str| open(directory, options).unwrap().identity(&split);
    let identity = |directory: &Path, options: &str| of(Split::TRAIN, directory, options);
    let judged = |directory: &Path| of(Split::VALIDATION, directory, "");
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small(one.path());
    small(other.path());
    let first = identity(one.path(), "");
    assert_eq!(first, identity(other.path(), "cache_mb = 0\nskip_bad = true\ncheck = 'decode'\nmax_seconds = 60.0"));
    for options in
        ["case = 'keep'\nremove = 'C'", "dictionary = 'train'", "unit = 'phones'\nunknown = 'unk'", "limit_train = 3"]
    {
        assert_ne!(first, identity(one.path(), options), "{options}");
    }
    // One sample of one recording.
    let audio = other.path().join("train2.wav");
    let mut bytes = fs::read(&audio).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&audio, bytes).unwrap();
    assert_ne!(first, identity(other.path(), ""));
    small(other.path());
    assert_eq!(first, identity(other.path(), ""));
    // One transcript of what is judged by: what is trained on is as it was.
    let before = judged(other.path());
    let text = fs::read_to_string(other.path().join("dev.jsonl")).unwrap();
    write(&other.path().join("dev.jsonl"), text.replace("CAB", "CAC"));
    assert_ne!(before, judged(other.path()));
    assert_eq!(first, identity(other.path(), ""));
}

#[test]
fn a_model_must_read_audio() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let open_with = |preprocessor, options: &str| {
        let mut table: toml::Table = options.parse().unwrap();
        table.insert("path".into(), folder.path().to_str().unwrap().into());
        lopper_speech::open(&DatasetRequest::new(&table, preprocessor)).err().unwrap()
    };
    assert!(matches!(open_with(None, ""), Error::Unsupported { .. }));
    // What is wrong with the data comes first.
    assert!(open_with(None, "min_seconds = 0.5").to_string().contains("less than `min_seconds`"));
    struct Text;
    impl lopper_core::Preprocessor for Text {
        fn features(&self, _: lopper_core::Input<'_>, _: Option<u32>) -> lopper_core::Result<lopper_core::Features> {
            Err(Error::Unsupported { what: "a text model".into(), feature: "audio".into() })
        }
        fn collate(&self, _: &[&lopper_core::Features]) -> lopper_core::Result<lopper_core::Inputs> {
            panic!("there is nothing to collate")
        }
        fn identity(&self) -> String {
            "text".into()
        }
    }
    let error = open_with(Some(std::sync::Arc::new(Text)), "").to_string();
    assert_eq!(error, "a text model does not support audio");
}

#[test]
fn decoded_recordings_are_kept_within_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let (kept, fresh) = (open(folder.path(), "").unwrap(), open(folder.path(), "cache_mb = 0").unwrap());
    let all = [0, 1, 2, 3, 4];
    let before = kept.batch(&Split::TRAIN, &all).unwrap();
    fresh.batch(&Split::TRAIN, &all).unwrap();
    for number in 0..5 {
        fs::remove_file(folder.path().join(format!("train{number}.wav"))).unwrap();
    }
    let after = kept.batch(&Split::TRAIN, &all).unwrap();
    assert_eq!(before.input("input_values").unwrap(), after.input("input_values").unwrap());
    let message = fresh.batch(&Split::TRAIN, &[0, 3]).unwrap_err().to_string();
    assert!(
        ["train.jsonl, line 1: ", "train0.wav cannot be read", "train.jsonl, line 4: ", "train3.wav cannot be read"]
            .iter()
            .all(|part| message.contains(part)),
        "{message}"
    );
    let message = kept.batch(&Split::TRAIN, &[5]).unwrap_err().to_string();
    assert!(message.contains("speech has 5 recordings in its train split, and none of index 5"), "{message}");
}

/// Known before anything is decoded, so that a run that is continued counts what any other does.
#[test]
fn silence_is_counted_when_the_data_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    for name in ["train1.wav", "train2.wav"] {
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[44..].fill(0);
        fs::write(&path, bytes).unwrap();
    }
    for check in ["headers", "content", "decode"] {
        let data = open(folder.path(), &format!("check = '{check}'")).unwrap();
        assert_eq!((data.silent(), data.skipped()), (2, 0), "{check}");
        assert_eq!(data.counts(&Split::TRAIN).into_iter().collect::<Vec<_>>(), [("silent_recordings", 2)]);
        assert!(data.counts(&Split::VALIDATION).is_empty() && data.counts(&Split::named("none")).is_empty());
    }
    // What is left out is not there to be silent.
    let data = open(folder.path(), "max_seconds = 0.6\nskip_bad = true").unwrap();
    let counts: Vec<_> = data.counts(&Split::TRAIN).into_iter().collect();
    assert_eq!(counts, [("rows_left_out", 1), ("silent_recordings", 1)]);
}

#[test]
fn what_is_kept_of_predictions_is_judged_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    for (language, train, dev) in [("es", "o l a", "a l"), ("fr", "m o e", "e m o")] {
        lines(path, &format!("{language}/train"), &[(0.5, train), (0.3, train)]);
        lines(path, &format!("{language}/dev"), &[(0.5, dev), (0.4, train)]);
    }
    let joint = "unit = 'phones'\nlanguages = ['es', 'fr']\ntrain = '{language}/train.jsonl'\nvalidation = '{language}/dev.jsonl'";
    small(path);
    for (data, number) in [(open(path, "").unwrap(), 3), (open(path, joint).unwrap(), 2)] {
        for split in data.evaluation_splits() {
            let width = data.dictionary().len() as i64;
            for seed in 0..20 {
                tch::manual_seed(seed);
                let logits = Tensor::randn([number, 9, width], (tch::Kind::Float, tch::Device::Cpu));
                let lengths = Some((0..number).map(|row| 9 - (row + seed) % 9).collect::<Vec<_>>());
                let whole = || Predictions { logits: logits.copy(), lengths: lengths.clone() };
                let all: Vec<usize> = (0..number as usize).rev().collect();
                let expected = data.evaluate(&split, &[(all.clone(), whole())]).unwrap().metrics;
                let kept = data.keep(&split, whole()).unwrap();
                assert!(kept.logits.numel() * 2 <= logits.numel(), "{:?}", kept.logits);
                assert_eq!(data.evaluate(&split, &[(all, kept)]).unwrap().metrics, expected);
            }
        }
    }
    let data = open(path, "").unwrap();
    let keep = |logits: Tensor| data.keep(&Split::VALIDATION, Predictions { logits, lengths: None });
    let options = (tch::Kind::Float, tch::Device::Cpu);
    assert!(keep(Tensor::zeros([3, 4, 33], options)).is_err() && keep(Tensor::zeros([3, 32], options)).is_err());
    let kept = keep(Tensor::zeros([3, 4, 32], options)).unwrap();
    let message = data.evaluate(&Split::VALIDATION, &[(vec![0, 1], kept)]).unwrap_err().to_string();
    assert!(message.contains("cannot judge kept predictions of shape [3, 1, 4]"), "{message}");
}

#[test]
fn a_bad_row_of_a_file_that_languages_share_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    second(&path.join("x.wav"));
    let row = |language: &str| format!("{{\"audio\": \"x.wav\", \"phones\": \"a\", \"language\": \"{language}\"}}\n");
    let good = ["es", "fr", "it"].map(row).concat();
    write(&path.join("mixed.jsonl"), [good.as_str(), "[]\n", "{\"audio\": 1}\n"].concat());
    write(&path.join("good.jsonl"), &good);
    let options = "unit = 'phones'\nlanguages = ['es', 'fr', 'it']\ntrain = 'mixed.jsonl'\nvalidation = 'good.jsonl'";
    let message = open(path, options).err().unwrap().to_string();
    for part in ["mixed.jsonl, line 4: `[]` is not a JSON object", "mixed.jsonl, line 5: "] {
        assert_eq!(message.matches(part).count(), 1, "`{part}` in: {message}");
    }
    assert!(message.contains("2 rows of the train split cannot be used"), "{message}");
    let data = open(path, &format!("{options}\nskip_bad = true")).unwrap();
    assert_eq!((data.len(&Split::TRAIN), data.skipped()), (3, 2));
    assert_eq!(data.counts(&Split::TRAIN).into_iter().collect::<Vec<_>>(), [("rows_left_out", 2)]);
    // A file that is listed twice has its rows twice.
    let twice = "unit = 'phones'\ntrain = ['mixed.jsonl', 'mixed.jsonl']\nvalidation = 'good.jsonl'\nskip_bad = true";
    let data = open(path, twice).unwrap();
    assert_eq!((data.len(&Split::TRAIN), data.skipped()), (6, 4));
    // What no row can be read without is said once, too.
    write(&path.join("mixed.tsv"), "what\tis\tthis\n");
    let message = open(path, &options.replace("mixed.jsonl", "mixed.tsv")).err().unwrap().to_string();
    assert_eq!(message.matches("mixed.tsv: begins with").count(), 1, "{message}");
}
