//! Recordings of every kind, and everything that can be wrong with them.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{fixture, tone, wav};
use lopper_speech::audio::{AudioError, Check, LONGEST, RATE, inspect, load, resampled};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

const CHECKS: [Check; 3] = [Check::Headers, Check::Content, Check::Decode];

/// How far two recordings are apart, but for the ends, where a filter has nothing to go by.
fn apart(found: &[f32], wanted: &[f32]) -> f32 {
    assert!(found.len().abs_diff(wanted.len()) <= 1, "{} samples, not {}", found.len(), wanted.len());
    let middle = 800..wanted.len() - 800;
    found[middle.clone()].iter().zip(&wanted[middle]).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

fn in_folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.wav");
    (folder, path)
}

/// What every way of looking at a file finds wrong, and what decoding it does.
fn faults(path: &Path) -> Vec<AudioError> {
    let looked = CHECKS.map(|check| inspect(path, check).map(|_| ()));
    looked.into_iter().chain([load(path).map(|_| ())]).filter_map(Result::err).collect()
}

#[test]
fn pcm_of_any_width_and_number_of_channels() {
    let (_folder, path) = in_folder();
    for (bits, tolerance) in [(8, 0.006), (16, 2e-5), (24, 1e-6), (32, 1e-7)] {
        for channels in [1, 2, 6] {
            wav(&path, RATE, channels, bits, 0.5);
            let (found, wanted) = (load(&path).unwrap(), tone(RATE, 0.5));
            let most = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == wanted.len() && most <= tolerance, "{bits} bits, {channels} channels: {most}");
            for check in CHECKS {
                let seen = inspect(&path, check).unwrap();
                assert_eq!((seen.rate, seen.frames, seen.samples), (RATE, 8000, 8000), "{check:?}");
            }
        }
    }
}

#[test]
fn channels_are_averaged() {
    let (_folder, path) = in_folder();
    let spec =
        hound::WavSpec { channels: 2, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for sample in [16_384i16, 0, -8192, 8192] {
        writer.write_sample(sample).unwrap();
    }
    writer.finalize().unwrap();
    assert_eq!(load(&path).unwrap(), [0.25, 0.0]);
}

#[test]
fn every_rate_becomes_16_khz() {
    let (_folder, path) = in_folder();
    for rate in [8000, 11_025, 12_345, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000] {
        wav(&path, rate, 1, 32, 0.7);
        let samples = load(&path).unwrap();
        let frames = tone(rate, 0.7).len() as u64;
        assert_eq!(samples.len() as u64, resampled(frames, rate), "{rate}");
        assert_eq!(inspect(&path, Check::Headers).unwrap().samples as usize, samples.len(), "{rate}");
        let most = apart(&samples, &tone(RATE, 0.7));
        assert!(most < 1e-4, "a tone at {rate} is {most} off");
    }
    // What 16 kHz cannot hold goes.
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 96_000,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for n in 0..48_000 {
        let angle = 2.0 * std::f64::consts::PI * 20_000.0 * f64::from(n) / 96_000.0;
        writer.write_sample(angle.sin() as f32).unwrap();
    }
    writer.finalize().unwrap();
    let samples = load(&path).unwrap();
    let loudest = samples[800..7200].iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!(loudest < 1e-4, "20 kHz comes through at {loudest}");
}

#[test]
fn a_few_samples_are_samples_too() {
    let (_folder, path) = in_folder();
    for (rate, frames) in [(8000, 1u32), (48_000, 1), (48_000, 4), (44_100, 1000), (RATE, 1)] {
        wav(&path, rate, 1, 16, f64::from(frames) / f64::from(rate));
        assert_eq!(load(&path).unwrap().len() as u64, resampled(u64::from(frames), rate));
    }
}

#[test]
fn flac_mp3_and_vorbis() {
    // The encoders of MP3 and Vorbis change a tone a little, and MP3 adds silence that its header says to leave out.
    for (name, scale, tolerance) in [("tone.flac", 0.75, 1e-4), ("tone.mp3", 1.0, 0.02), ("tone.ogg", 1.0, 0.02)] {
        let wanted: Vec<f32> = tone(RATE, 0.5).iter().map(|sample| sample * scale).collect();
        let samples = load(&fixture(name)).unwrap();
        let most = apart(&samples[..wanted.len().min(samples.len())], &wanted);
        assert!(most < tolerance, "{name} is {most} off");
        let length = |check| inspect(&fixture(name), check).unwrap().samples as usize;
        assert_eq!(CHECKS.map(length), [samples.len(); 3], "{name}");
    }
}

#[test]
fn an_ending_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let lying = folder.path().join("tone.wav");
    fs::copy(fixture("tone.flac"), &lying).unwrap();
    assert_eq!(load(&lying).unwrap(), load(&fixture("tone.flac")).unwrap());
}

#[test]
fn what_is_no_recording_is_named() {
    let (folder, path) = in_folder();
    fs::write(&path, "").unwrap();
    assert_eq!(faults(&path), vec![AudioError::Empty; 4]);
    fs::write(&path, "audio\ttext\na.wav\thello\n").unwrap();
    let found = faults(&path);
    assert!(found.len() == 4 && found.iter().all(|e| matches!(e, AudioError::NotAudio(_))), "{found:?}");
    for unreadable in [folder.path().to_owned(), folder.path().join("absent.wav")] {
        let found = faults(&unreadable);
        assert!(found.len() == 4 && found.iter().all(|e| matches!(e, AudioError::Unreadable(_))), "{found:?}");
    }
    wav(&path, RATE, 1, 16, 0.0);
    let found = faults(&path);
    assert_eq!(found, vec![AudioError::NoSamples; 4]);
}

#[test]
fn a_wav_file_that_lacks_a_few_bytes_says_so() {
    let folder = tempfile::tempdir().unwrap();
    // Bits of a sample and channels; 24 bits in hound's extensible header, 32 as floating-point numbers.
    for (bits, channels) in [(8, 1), (16, 1), (16, 2), (24, 1), (32, 1), (32, 2)] {
        let path = folder.path().join(format!("{bits}-{channels}.wav"));
        wav(&path, 16_000, channels, bits, 0.05);
        let whole = std::fs::read(&path).unwrap();
        let frame = u64::from(bits / 8 * channels);
        // Beyond the samples a chunk of another kind, which may be cut off.
        let tail = [&whole[..], b"LIST\x04\0\0\0abcd"].concat();
        let mut longer = tail.clone();
        longer[4..8].copy_from_slice(&(tail.len() as u32 - 8).to_le_bytes());
        for (file, spare) in [(&whole, 0), (&longer, 12)] {
            for cut in 1..60 {
                std::fs::write(&path, &file[..file.len() - cut]).unwrap();
                let missing = (cut as u64).saturating_sub(spare).div_ceil(frame);
                for check in CHECKS {
                    match inspect(&path, check) {
                        Ok(seen) => assert!(missing == 0 && seen.frames == 800, "{bits} bits without {cut} bytes"),
                        Err(e) => assert_eq!(e, AudioError::Truncated { declared: 800, found: 800 - missing }),
                    }
                }
            }
        }
    }
}

#[test]
fn only_regular_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.wav");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero")] {
        let message = inspect(path, Check::Headers).unwrap_err().to_string();
        assert_eq!(message, "cannot be read: is no regular file", "{}", path.display());
        assert!(load(path).is_err());
    }
}

#[test]
fn a_truncated_file_says_so() {
    let (_folder, path) = in_folder();
    wav(&path, 44_100, 2, 16, 0.5);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let found = faults(&path);
    let truncated = |e: &AudioError| matches!(e, AudioError::Truncated { declared: 22_050, found } if found.abs_diff(11_025) < 1152);
    assert!(found.len() == 4 && found.iter().all(truncated), "{found:?}");
    // A header alone cannot tell.
    for (name, frames) in [("tone.flac", 22_050), ("tone.mp3", 24_000)] {
        let whole = fs::read(fixture(name)).unwrap();
        fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
        let found = faults(&path);
        let truncated = |e: &AudioError| matches!(e, AudioError::Truncated { declared, found } if *declared == frames && *found < frames);
        assert!(found.len() == 3 && found.iter().all(truncated), "{name}: {found:?}");
    }
    let ogg = fs::read(fixture("tone.ogg")).unwrap();
    for length in [ogg.len() / 2, ogg.len() - 10] {
        fs::write(&path, &ogg[..length]).unwrap();
        assert!(CHECKS.iter().all(|check| inspect(&path, *check).is_err()), "{length} of {} bytes", ogg.len());
    }
}

#[test]
fn a_file_that_is_damaged_in_the_middle_is_not_called_truncated() {
    let (_folder, path) = in_folder();
    let whole = fs::read(fixture("tone.flac")).unwrap();
    for place in [whole.len() / 3, whole.len() / 2, whole.len() * 2 / 3] {
        let mut bytes = whole.clone();
        bytes[place..place + 4].iter_mut().for_each(|byte| *byte ^= 0xff);
        fs::write(&path, &bytes).unwrap();
        let found = faults(&path);
        assert!(!found.is_empty() && found.iter().all(|e| matches!(e, AudioError::Damaged(_))), "{found:?}");
        // Cut off as well, it is that first of all.
        fs::write(&path, &bytes[..place + 100]).unwrap();
        let found = faults(&path);
        assert!(found.iter().all(|e| matches!(e, AudioError::Truncated { .. })), "{found:?}");
    }
}

#[test]
fn silence_is_a_recording() {
    let (_folder, path) = in_folder();
    let spec =
        hound::WavSpec { channels: 1, sample_rate: RATE, bits_per_sample: 16, sample_format: hound::SampleFormat::Int };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    (0..1000).for_each(|_| writer.write_sample(0i16).unwrap());
    writer.finalize().unwrap();
    assert_eq!(load(&path).unwrap(), [0.0; 1000]);
    assert_eq!(CHECKS.map(|check| inspect(&path, check).unwrap().silent), [true; 3]);
    wav(&path, RATE, 1, 16, 0.1);
    assert_eq!(CHECKS.map(|check| inspect(&path, check).unwrap().silent), [false; 3]);
    // One click at the very end.
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    (0..100_000).for_each(|n| writer.write_sample(i16::from(n == 99_999)).unwrap());
    writer.finalize().unwrap();
    assert_eq!(CHECKS.map(|check| inspect(&path, check).unwrap().silent), [false; 3]);
}

/// A file of 2000 floating-point numbers, all channels together, of which one is `value` and the others 0.5.
fn floats(path: &Path, channels: u16, sample_rate: u32, place: usize, value: f32) {
    let sample_format = hound::SampleFormat::Float;
    let spec = hound::WavSpec { channels, sample_rate, bits_per_sample: 32, sample_format };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    (0..2000).for_each(|n| writer.write_sample(if n == place { value } else { 0.5 }).unwrap());
    writer.finalize().unwrap();
}

#[test]
fn what_is_not_finite_is_named() {
    let (_folder, path) = in_folder();
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        floats(&path, 2, RATE, 1501, bad);
        assert_eq!(load(&path), Err(AudioError::NotFinite(750)));
        assert_eq!(inspect(&path, Check::Decode), Err(AudioError::NotFinite(750)));
    }
}

#[test]
fn samples_that_no_recording_has_are_refused_by_their_place() {
    let (_folder, path) = in_folder();
    let write = |value: f32| {
        floats(&path, 1, 44_100, 1500, value);
        load(&path)
    };
    for value in [f32::MAX, -3e9] {
        let error = write(value).unwrap_err();
        assert_eq!(error, AudioError::TooLoud { at: 1500, value: format!("{value:e}") });
        assert!(error.to_string().ends_with(", and full scale is 1; up to 2.1474836e9 is accepted"), "{error}");
    }
    // Integers of 32 bits, stored as floats.
    assert!(write(-2_147_483_648.0).unwrap().iter().all(|sample| sample.is_finite()));
}

/// The header of a WAV file that says what it says.
fn header(rate: u32, channels: u16, bytes: u32) -> Vec<u8> {
    let frame = u32::from(channels);
    let mut header = b"RIFF".to_vec();
    header.extend((36 + bytes).to_le_bytes());
    header.extend(b"WAVEfmt ");
    header.extend(16u32.to_le_bytes());
    for field in [1u16, channels] {
        header.extend(field.to_le_bytes());
    }
    header.extend(rate.to_le_bytes());
    header.extend((rate.wrapping_mul(frame)).to_le_bytes());
    for field in [channels, 8] {
        header.extend(field.to_le_bytes());
    }
    header.extend(b"data");
    header.extend(bytes.to_le_bytes());
    header
}

#[test]
fn headers_that_cannot_be_true_are_refused_before_anything_is_allocated() {
    let (_folder, path) = in_folder();
    fs::write(&path, [header(8000, 1, 8000 * 3700), vec![128; 100]].concat()).unwrap();
    assert_eq!(faults(&path), vec![AudioError::TooLong(3700); 4]);
    fs::write(&path, [header(8000, 1, 8000 * LONGEST as u32), vec![128; 100]].concat()).unwrap();
    let found = faults(&path);
    assert!(found.len() == 4 && found.iter().all(|e| matches!(e, AudioError::Truncated { .. })), "{found:?}");
    for rate in [0, 1, 1999, 384_001, u32::MAX] {
        fs::write(&path, [header(rate, 1, 100), vec![128; 100]].concat()).unwrap();
        assert_eq!(faults(&path).len(), 4, "{rate} samples a second");
    }
    fs::write(&path, [header(2_000_000, 1, 100), vec![128; 100]].concat()).unwrap();
    assert_eq!(load(&path), Err(AudioError::Rate(2_000_000)));
    fs::write(&path, [header(8000, 60, 120), vec![128; 120]].concat()).unwrap();
    assert_eq!(faults(&path).len(), 4, "60 channels");
}

#[test]
fn the_hash_is_of_the_content() {
    let (_folder, path) = in_folder();
    wav(&path, RATE, 1, 16, 10.0);
    let hashes = || CHECKS.map(|check| inspect(&path, check).unwrap().hash);
    let before = hashes();
    assert_eq!(before, hashes());
    assert_eq!(before[1], before[2]);
    let mut bytes = fs::read(&path).unwrap();
    let (middle, end) = (bytes.len() / 2, bytes.len() - 1);
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let after = hashes();
    assert!(after[0] == before[0] && after[1] != before[1], "the middle is beyond what headers look at");
    bytes[end] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert_ne!(hashes()[0], before[0]);
}

/// A file of each kind that is read, beside WAV.
const SPOILT: [&str; 16] = [
    "tone.flac",
    "tone.mp3",
    "tone.ogg",
    "recordings/20-in-3-extensible.wav",
    "recordings/data-0.wav",
    "recordings/list-odd.wav",
    "recordings/16.rf64",
    "recordings/float.rifx.wav",
    "recordings/sox.aifc",
    "recordings/16.caf",
    "recordings/16.au",
    "recordings/TIMIT.WAV",
    "recordings/ape-id3v1.flac",
    "recordings/lame-cut.mp3",
    "recordings/opusenc-stereo.opus",
    "recordings/opusenc-6.opus",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever bytes there are, the answer is samples or an error, and never more than an hour.
    #[test]
    fn spoilt_files_are_refused_or_read(
        kind in 0usize..SPOILT.len() + 1, cut in 0.0f64..1.0, spoilt in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
    ) {
        let (_folder, path) = in_folder();
        let mut bytes = match SPOILT.get(kind) {
            Some(name) => fs::read(fixture(name)).unwrap(),
            None => {
                wav(&path, 8000, 2, 16, 0.2);
                fs::read(&path).unwrap()
            }
        };
        for (place, value) in &spoilt {
            let place = place.index(bytes.len());
            // Half of all changes hit the header.
            bytes[if value % 2 == 0 { place } else { place % 200 }] = *value;
        }
        let length = bytes.len() - (bytes.len() as f64 * cut * cut) as usize;
        fs::write(&path, &bytes[..length]).unwrap();
        for check in CHECKS {
            if let Ok(seen) = inspect(&path, check) {
                prop_assert!(u64::from(seen.samples) <= LONGEST * u64::from(RATE));
            }
        }
        if let Ok(samples) = load(&path) {
            prop_assert!(!samples.is_empty() && samples.iter().all(|sample| sample.is_finite()));
        }
    }
}
