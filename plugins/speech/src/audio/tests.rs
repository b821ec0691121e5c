//! Every fixture of `tests/make_recording_fixtures.py`, held against what other programs make of it.

use super::medium::Bytes;
use super::source::Source;
use super::{Check, inspect, inspect_bytes, load, load_bytes, resampled};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const CHECKS: [Check; 3] = [Check::Headers, Check::Content, Check::Decode];

#[derive(Deserialize)]
struct Expected {
    read: BTreeMap<String, Recording>,
    /// Names, and a part of the sentence.
    refused: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Recording {
    rate: u32,
    frames: u64,
    tolerance: f32,
    by: String,
    /// Places and the samples there, channels averaged.
    values: Vec<(usize, f32)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recordings")
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_fixture_is_expected_to_be_something() {
    let expected = expected();
    let files = std::fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.filter(|name| name != "expected.json").collect();
    let known: BTreeSet<String> = expected.read.into_keys().chain(expected.refused.into_keys()).collect();
    assert_eq!(files, known);
}

#[test]
fn recordings_are_what_other_programs_make_of_them() {
    let mut wrong = Vec::new();
    for (name, wanted) in expected().read {
        if let Err(reason) = compare(&folder().join(&name), &wanted) {
            wrong.push(format!("{name}, by {}: {reason}", wanted.by));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(path: &Path, wanted: &Recording) -> Result<(), String> {
    let failed = |e: super::AudioError| e.to_string();
    let mut samples = Vec::new();
    let mut source = Source::open(&Bytes::File(path)).map_err(failed)?;
    let rate = source.rate;
    let take = |mono: &[f32]| {
        samples.extend_from_slice(mono);
        Ok(())
    };
    source.decode(take).map_err(failed)?;
    if (rate, samples.len() as u64) != (wanted.rate, wanted.frames) {
        return Err(format!("{} samples at {rate}, not {} at {}", samples.len(), wanted.frames, wanted.rate));
    }
    for (place, value) in &wanted.values {
        if (samples[*place] - value).abs() > wanted.tolerance {
            return Err(format!("sample {place} is {}, not {value}", samples[*place]));
        }
    }
    for check in CHECKS {
        let seen = inspect(path, check).map_err(failed)?;
        if (seen.rate, seen.frames) != (wanted.rate, wanted.frames) || seen.silent {
            return Err(format!("{check:?} finds {seen:?}"));
        }
    }
    match load(path).map_err(failed)?.len() as u64 {
        length if length == resampled(wanted.frames, wanted.rate) => Ok(()),
        length => Err(format!("{length} samples at 16 kHz")),
    }
}

#[test]
fn other_formats_are_refused_by_their_name() {
    let mut wrong = Vec::new();
    for (name, part) in expected().refused {
        let path = folder().join(&name);
        let looked = CHECKS.map(|check| inspect(&path, check).map(|_| ()));
        for found in looked.into_iter().chain([load(&path).map(|_| ())]) {
            let message = found.map_or_else(|e| e.to_string(), |()| "accepted".into());
            if !message.contains(&part) {
                wrong.push(format!("{name}: `{part}` is not in: {message}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_libsndfile_counts_in_opus_is_counted_so_too() {
    // A list of files made with it has 800 samples at 16 kHz where there are 2400 at 48 kHz.
    let seen = inspect(&folder().join("opusenc-16k.opus"), Check::Headers).unwrap();
    assert_eq!((seen.rate, seen.frames, seen.input_rate), (48_000, 2400, Some(16_000)));
    assert_eq!([799, 800, 801, 2400].map(|declared| seen.has(declared)), [false, true, false, true]);
    let seen = inspect(&folder().join("opusenc.opus"), Check::Headers).unwrap();
    assert_eq!((seen.frames, seen.input_rate), (19_200, None));
    assert!(seen.has(19_200) && !seen.has(6400));
}

#[test]
fn only_what_was_read_wrong_before_has_another_hash() {
    for (name, changes) in [
        ("lame.mp3", false),
        ("ffmpeg.mp3", false),
        ("ffmpeg-copied.mp3", false),
        ("lame-44k-stereo-copied.mp3", false),
        ("lame-copied.mp3", true),
        ("lame-cut.mp3", true),
        ("lame-8k-copied.mp3", false),
        ("16.wav", false),
    ] {
        let path = folder().join(name);
        let content = std::fs::read(&path).unwrap();
        let before = blake3::Hasher::new().update(b"all").update(&content).finalize();
        let found = CHECKS[1..].iter().map(|check| inspect(&path, *check).unwrap().hash);
        assert!(found.into_iter().all(|hash| (hash != *before.as_bytes()) == changes), "{name}");
    }
}

#[test]
fn bytes_in_memory_are_what_the_file_is() {
    for name in expected().read.into_keys().chain(expected().refused.into_keys()) {
        let path = folder().join(&name);
        let bytes = Bytes::Memory(std::fs::read(&path).unwrap().into());
        for check in CHECKS {
            assert_eq!(inspect_bytes(&bytes, check), inspect(&path, check), "{name}, {check:?}");
        }
        assert_eq!(load_bytes(&bytes, None), load(&path), "{name}");
    }
}

#[test]
fn a_piece_is_cut_out_of_what_is_decoded() {
    for name in expected().read.into_keys() {
        let bytes = Bytes::Memory(std::fs::read(folder().join(&name)).unwrap().into());
        let mut all = Vec::new();
        let mut source = Source::open(&bytes).unwrap();
        let take = |mono: &[f32]| {
            all.extend_from_slice(mono);
            Ok(())
        };
        source.decode(take).unwrap();
        let frames = all.len() as u64;
        for (start, end) in [(0, 1), (0, frames), (frames / 3, frames / 2), (frames / 2, frames), (frames - 1, frames)]
        {
            let mut piece = Vec::new();
            let take = |mono: &[f32]| {
                piece.extend_from_slice(mono);
                Ok(())
            };
            Source::open(&bytes).unwrap().decode_range(start..end, take).unwrap();
            assert_eq!(piece, all[start as usize..end as usize], "{name}, {start} to {end}");
            let at_rate = load_bytes(&bytes, Some(start..end)).unwrap().len() as u64;
            assert_eq!(at_rate, resampled(end - start, source.rate), "{name}, {start} to {end}");
        }
        let beyond = load_bytes(&bytes, Some(0..frames + 1)).unwrap_err().to_string();
        assert!(beyond.starts_with("is truncated"), "{name}: {beyond}");
    }
}
