//! Recordings made on the spot, and a preprocessor that passes them on.
#![allow(dead_code, reason = "every test file uses some of it")]

use hound::{SampleFormat, WavSpec, WavWriter};
use lopper_core::{DatasetRequest, Error, Features, Input, Inputs, Preprocessor};
use lopper_speech::SpeechDataset;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use tch::Tensor;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// `seconds` of a tone at 440 Hz, half of full scale, as `bits`-bit PCM (32: floating point) in every channel.
pub(crate) fn wav(path: &Path, rate: u32, channels: u16, bits: u16, seconds: f64) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let sample_format = if bits == 32 { SampleFormat::Float } else { SampleFormat::Int };
    let spec = WavSpec { channels, sample_rate: rate, bits_per_sample: bits, sample_format };
    let mut writer = WavWriter::create(path, spec).unwrap();
    for sample in tone(rate, seconds) {
        for _ in 0..channels {
            match sample_format {
                SampleFormat::Float => writer.write_sample(sample).unwrap(),
                SampleFormat::Int => {
                    let full = f64::from(1u32 << (bits - 1));
                    writer.write_sample((f64::from(sample) * full).round() as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
}

/// The tone itself.
pub(crate) fn tone(rate: u32, seconds: f64) -> Vec<f32> {
    let samples = (seconds * f64::from(rate)).round() as u32;
    let angle = |n: u32| 2.0 * std::f64::consts::PI * 440.0 * f64::from(n) / f64::from(rate);
    (0..samples).map(|n| (0.5 * angle(n).sin()) as f32).collect()
}

/// A second of 16-bit mono at 16 kHz.
pub(crate) fn second(path: &Path) {
    wav(path, 16_000, 1, 16, 1.0);
}

/// JSON lines with one recording a row, as long as the row says. Its letters are its phones, too.
pub(crate) fn lines(directory: &Path, name: &str, rows: &[(f64, &str)]) {
    let mut text = String::new();
    for (number, (seconds, transcript)) in rows.iter().enumerate() {
        let stem = name.replace('/', "-");
        let audio = format!("{stem}{number}.wav");
        wav(&directory.join(name).parent().unwrap().join(&audio), 16_000, 1, 16, *seconds);
        let phones: Vec<_> = transcript.split_whitespace().flat_map(str::chars).map(String::from).collect();
        let phones = phones.join(" ");
        text += &format!("{{\"audio\": \"{audio}\", \"text\": \"{transcript}\", \"phones\": \"{phones}\"}}\n");
    }
    write(&directory.join(format!("{name}.jsonl")), text);
}

/// Five recordings to train on, and three to validate on.
pub(crate) fn small(directory: &Path) {
    lines(directory, "train", &[(0.5, "A BC"), (0.25, "B"), (0.75, "C C A"), (0.5, "A"), (0.3, "B B")]);
    lines(directory, "dev", &[(0.5, "A B C"), (0.25, "B"), (0.4, "CAB")]);
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// Hands on samples as they are, zeros behind the short ones.
pub(crate) struct Waveform;

impl Preprocessor for Waveform {
    fn features(&self, input: Input<'_>, _max_length: Option<u32>) -> Result<Features, Error> {
        match input {
            Input::Audio { samples, sample_rate: 16_000 } => Ok(Features::Samples(samples.to_vec())),
            _ => {
                Err(Error::Unsupported { what: "the waveform".into(), feature: "anything but audio at 16 kHz".into() })
            }
        }
    }

    fn collate(&self, features: &[&Features]) -> Result<Inputs, Error> {
        let longest = features.iter().map(|f| f.len()).max().ok_or_else(|| Error::Other("no features".into()))?;
        let (mut flat, mut lengths) = (Vec::new(), Vec::new());
        for feature in features {
            let Features::Samples(samples) = feature else { return Err(Error::Other("no samples".into())) };
            flat.extend_from_slice(samples);
            flat.resize(flat.len() + longest - samples.len(), 0.0);
            lengths.push(samples.len() as i64);
        }
        let values = Tensor::f_from_slice(&flat)?.f_reshape([features.len() as i64, longest as i64])?;
        Ok(Inputs::from([("input_values", values), ("lengths", Tensor::f_from_slice(&lengths)?)]))
    }

    fn identity(&self) -> String {
        "waveform".into()
    }
}

/// Opens what lies in `directory`.
pub(crate) fn open(directory: &Path, options: &str) -> Result<SpeechDataset, Error> {
    let mut table: toml::Table = options.parse().unwrap();
    table.entry("path").or_insert(directory.to_str().unwrap().into());
    lopper_speech::open(&DatasetRequest::new(&table, Some(Arc::new(Waveform))))
}

/// Checks that opening fails, and that the message has all of `parts`.
#[track_caller]
pub(crate) fn refused(directory: &Path, options: &str, parts: &[&str]) {
    let message = open(directory, options).err().expect("accepted").to_string();
    for part in parts {
        assert!(message.contains(part), "`{part}` is not in: {message}");
    }
}

/// The labels of a split as symbols between spaces.
pub(crate) fn labels(data: &SpeechDataset, split: &lopper_core::Split) -> Vec<String> {
    use lopper_core::{Dataset, Targets};
    let all: Vec<usize> = (0..data.len(split)).collect();
    let Some(Targets::Sequences(rows)) = data.batch(split, &all).unwrap().targets else { panic!("no sequences") };
    let symbol = |id: &i64| data.dictionary().symbol(*id as u32).unwrap().to_owned();
    rows.iter().map(|row| row.iter().map(symbol).collect::<Vec<_>>().join(" ")).collect()
}

/// What is logged while `work` runs, each event with its level and fields.
pub(crate) fn logged<T>(work: impl FnOnce() -> T) -> (T, Vec<String>) {
    struct Log(Arc<Mutex<Vec<String>>>);
    struct Text(String);
    impl Visit for Text {
        fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
            self.0 += &format!(" {field}={value:?}");
        }
    }
    impl Subscriber for Log {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() <= Level::INFO && metadata.target().starts_with("lopper")
        }
        fn event(&self, event: &Event<'_>) {
            let mut text = Text(event.metadata().level().to_string());
            event.record(&mut text);
            self.0.lock().unwrap().push(text.0);
        }
        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }
        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }
    let events = Arc::new(Mutex::new(Vec::new()));
    let done = tracing::subscriber::with_default(Log(events.clone()), work);
    let events = events.lock().unwrap().clone();
    (done, events)
}
