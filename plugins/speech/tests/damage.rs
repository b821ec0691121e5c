//! Recordings that turn out damaged only when they are decoded, and files that change meanwhile.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{Waveform, open, refused, small, wav};
use lopper_core::{Dataset, DatasetRequest, Predictions, Split, Targets};
use lopper_speech::SpeechDataset;
use lopper_testkit::MemoryCache;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use tch::Tensor;

/// A recording whose header is right, and whose last sample is not a number.
fn damage(path: &Path) {
    wav(path, 16_000, 1, 32, 0.25);
    let mut bytes = fs::read(path).unwrap();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn training_goes_on_without_what_cannot_be_decoded() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    ["train1.wav", "train4.wav"].iter().for_each(|name| damage(&folder.path().join(name)));
    let fresh = || open(folder.path(), "skip_bad = true").unwrap();
    let taken = |data: &SpeechDataset, indices: &[usize]| {
        let batch = data.batch(&Split::TRAIN, indices).unwrap();
        let Some(Targets::Sequences(targets)) = batch.targets else { panic!("no sequences") };
        assert_eq!((batch.len as i64, batch.len), (batch.inputs["input_values"].size()[0], targets.len()));
        targets
    };
    let data = fresh();
    assert_eq!((data.len(&Split::TRAIN), data.skipped(), data.damaged()), (5, 0, 0));
    let whole = |index: usize| taken(&data, &[index])[0].clone();
    assert_eq!(taken(&data, &[0, 1, 2]), [whole(0), whole(2)]);
    assert_eq!(taken(&data, &[0, 1, 2]), [whole(0), whole(2)]);
    assert_eq!(data.damaged(), 1, "each file is counted once");
    // Of a batch of which nothing is left the next recording takes the place, also beyond the end.
    assert_eq!(taken(&data, &[1]), [whole(2)]);
    assert_eq!(taken(&data, &[4, 1]), [whole(0)]);
    assert_eq!(data.damaged(), 2);
    assert_eq!(data.counts(&Split::TRAIN).into_iter().collect::<Vec<_>>(), [("damaged_recordings", 2)]);
    // It depends on the files alone, not on what was asked for before.
    for indices in [&[4, 1][..], &[1, 2], &[1], &[0, 4, 3]] {
        assert_eq!(taken(&fresh(), indices), taken(&data, indices), "{indices:?}");
    }
    // A file that is gone may come back, so nothing goes on without it.
    fs::remove_file(folder.path().join("train1.wav")).unwrap();
    let message = data.batch(&Split::TRAIN, &[0, 1]).unwrap_err().to_string();
    assert!(message.contains("train.jsonl, line 2: ") && message.contains("train1.wav cannot be read"), "{message}");
    // A metric is over all of its split.
    damage(&folder.path().join("dev2.wav"));
    let message = open(folder.path(), "skip_bad = true\ntrain = 'dev.jsonl'").unwrap();
    let message = message.batch(&Split::VALIDATION, &[0, 1, 2]).unwrap_err().to_string();
    assert!(message.contains("dev.jsonl, line 3: ") && message.contains("not a finite number"), "{message}");
    (0..3).for_each(|n| damage(&folder.path().join(format!("dev{n}.wav"))));
    let none = open(folder.path(), "skip_bad = true\ntrain = 'dev.jsonl'").unwrap();
    let message = none.batch(&Split::TRAIN, &[1]).unwrap_err().to_string();
    assert!(message.contains("none of the 3 recordings of the train split can be decoded"), "{message}");
}

#[test]
fn damage_is_found_when_everything_is_decoded() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    damage(&folder.path().join("train1.wav"));
    refused(
        folder.path(),
        "check = 'decode'",
        &["train.jsonl, line 2: ", "train1.wav sample 3999 is not a finite number"],
    );
    let data = open(folder.path(), "").unwrap();
    let message = data.batch(&Split::TRAIN, &[1]).unwrap_err().to_string();
    assert!(message.contains("train.jsonl, line 2: "), "{message}");
    assert!(message.contains("train1.wav sample 3999 is not a finite number"), "{message}");
    assert_eq!(open(folder.path(), "check = 'decode'\nskip_bad = true").unwrap().skipped(), 1);
    // Headers are enough for lengths.
    assert_eq!(open(folder.path(), "check = 'headers'").unwrap().cost(&Split::TRAIN, 1), 4000);
}

/// What the file system answers wrongly for a moment, or what is being replaced, must not cost a training row.
#[test]
fn nothing_is_left_out_for_what_may_pass() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let path = folder.path().join("train1.wav");
    let whole = fs::read(&path).unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        file
    };
    let data = open(folder.path(), "skip_bad = true\ncache_mb = 0").unwrap();
    let before = data.batch(&Split::TRAIN, &[0, 1]).unwrap();
    for (content, reason) in [
        (changed(0, b"XXXXXXXXXXXX"), "is not audio that can be read"),
        (whole[..11].to_vec(), "is not audio that can be read"),
        (Vec::new(), "is empty"),
        // The coding of its samples, their rate, and the number of channels.
        (changed(20, &[0x55, 0x77]), "is WAV of codec 0x7755, which is not read"),
        (changed(24, &1u32.to_le_bytes()), "has 1 samples a second"),
    ] {
        fs::write(&path, content).unwrap();
        let message = data.batch(&Split::TRAIN, &[0, 1]).unwrap_err().to_string();
        assert!(
            message.contains("train.jsonl, line 2: ") && message.contains(reason),
            "`{reason}` is not in: {message}"
        );
        assert_eq!((data.damaged(), data.left_out(&Split::TRAIN, &[0, 1])), (0, 0), "{reason}");
    }
    // Cut short, its header tells so.
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(data.batch(&Split::TRAIN, &[0, 1]).unwrap().len, 1);
    assert_eq!((data.damaged(), data.left_out(&Split::TRAIN, &[0, 1])), (1, 1));
    fs::write(&path, &whole).unwrap();
    let after = data.batch(&Split::TRAIN, &[0, 1]).unwrap();
    assert_eq!(before.input("input_values").unwrap(), after.input("input_values").unwrap());
}

#[test]
fn a_recording_that_takes_anothers_place_is_not_judged() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    damage(&folder.path().join("train1.wav"));
    let data = open(folder.path(), "skip_bad = true").unwrap();
    let (time, width) = (5, data.dictionary().len() as i64);
    let predicted = |indices: &[usize]| {
        let rows = data.batch(&Split::TRAIN, indices).unwrap().len;
        assert_eq!(rows, indices.len(), "nothing in the batch shows it");
        let logits = Tensor::zeros([rows as i64, time, width], (tch::Kind::Float, tch::Device::Cpu));
        let whole = Predictions { logits, lengths: None };
        (indices.to_vec(), data.keep(&Split::TRAIN, whole).unwrap())
    };
    let message = data.evaluate(&Split::TRAIN, &[predicted(&[0, 2, 3, 4]), predicted(&[1])]).unwrap_err().to_string();
    for part in
        ["1 of 5 recordings of speech in its train split are damaged", "cannot be judged", "`check = \"decode\"`"]
    {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
    // Of whole files the same split can.
    small(folder.path());
    let data = open(folder.path(), "skip_bad = true").unwrap();
    let logits = Tensor::zeros([5, time, width], (tch::Kind::Float, tch::Device::Cpu));
    let all = [((0..5).collect(), Predictions { logits, lengths: None })];
    assert_eq!(data.evaluate(&Split::TRAIN, &all).unwrap().metrics.len(), 2);
}

/// A file is settled once it is older than the times of files are coarse.
#[test]
fn a_recording_that_has_not_changed_is_not_read_again() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let cache = MemoryCache::default();
    let open = |options: &str| {
        let mut table: toml::Table = options.parse().unwrap();
        table.insert("path".into(), folder.path().to_str().unwrap().into());
        lopper_speech::open(&DatasetRequest::new(&table, Some(Arc::new(Waveform))).cached(Some(&cache)))
    };
    let identity = |data: &SpeechDataset| data.identity(&Split::TRAIN);
    let first = open("").unwrap();
    assert!(cache.is_empty(), "what was written just now may be written again");
    std::thread::sleep(std::time::Duration::from_millis(3_200));
    let (fresh, known) = (open("").unwrap(), open("").unwrap());
    assert_eq!(cache.len(), 1);
    assert!(identity(&known) == identity(&fresh) && identity(&known) == identity(&first));
    assert_eq!(known.silent(), 0);
    // Whoever reads no recording believes that they are silent.
    cache.change(|bytes| {
        let text = String::from_utf8(std::mem::take(bytes)).unwrap();
        assert!(text.contains("\"silent\":false"), "{text}");
        *bytes = text.replace("\"silent\":false", "\"silent\":true").into_bytes();
    });
    let all = open("").unwrap();
    assert_eq!(all.silent(), all.len(&Split::TRAIN) + all.len(&Split::VALIDATION));
    // A closer look is another one.
    assert_eq!(open("check = 'decode'").unwrap().silent(), 0);
    // One that has changed is read, and what is wrong with it is told however often it is asked for.
    damage(&folder.path().join("train1.wav"));
    let changed = open("").unwrap();
    assert_eq!(changed.silent(), all.silent() - 1);
    assert_ne!(identity(&changed), identity(&fresh));
    fs::write(folder.path().join("train1.wav"), b"").unwrap();
    for _ in 0..2 {
        let message = open("").err().unwrap().to_string();
        assert!(message.contains("train1.wav is empty"), "{message}");
    }
}
