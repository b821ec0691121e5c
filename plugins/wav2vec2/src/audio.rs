//! From audio to what the model reads.

use crate::config::{FeatureNorm, Wav2Vec2Config};
use crate::fairseq::Settings;
use crate::head::json_file;
use lopper_core::{Artifact, Error, Features, Input, Inputs, Preprocessor, Result};
use lopper_nn::{MAX_BYTES, Reader};
use lopper_weights::read_regular;
use serde_json::{Map, Value, json};
use std::path::Path;
use tch::Tensor;

/// Samples a second that every wav2vec 2.0 was trained on.
const RATE: u32 = 16_000;
/// Added to the variance, as Hugging Face does; fairseq, whose normalisation is a layer norm of the whole waveform, adds
/// 1e-5 instead, which differs for near silence alone.
const EPSILON: f64 = 1e-7;
/// Hugging Face's file.
pub(crate) const FILE: &str = "preprocessor_config.json";

/// Turns waveforms of 16 kHz into samples, of zero mean and unit variance where the checkpoint was trained on such.
#[derive(Debug, Clone, PartialEq)]
pub struct Wav2Vec2Preprocessor {
    normalize: bool,
    /// Fewer give no step.
    shortest: usize,
    /// Whether transformers shall make an attention mask.
    mask: bool,
    /// The file as read.
    source: Map<String, Value>,
}

impl Wav2Vec2Preprocessor {
    /// For a checkpoint: `asked` decides whether to normalise; otherwise `preprocessor_config.json` in `directory`; then
    /// the `settings` of a fairseq checkpoint; then the feature encoder, since models with layer norms in it are those
    /// trained on normalised waveforms.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read, and [`Error::InvalidValue`] for each value that cannot be used.
    pub(crate) fn read(
        directory: Option<&Path>,
        config: &Wav2Vec2Config,
        settings: &Settings,
        asked: Option<bool>,
    ) -> Result<Self> {
        let source = directory.map(|directory| read(&directory.join(FILE))).transpose()?.flatten();
        let layered = config.feat_extract_norm() == FeatureNorm::Layer;
        let stored = source.as_ref().map(|map| {
            // Hugging Face's default.
            map.get("do_normalize").and_then(Value::as_bool).unwrap_or(true)
        });
        Ok(Self {
            normalize: asked.or(stored).or(settings.normalize).unwrap_or(layered),
            shortest: config.receptive_field().try_into().unwrap_or(usize::MAX),
            mask: layered,
            source: source.unwrap_or_default(),
        })
    }

    /// Whether waveforms get zero mean and unit variance.
    pub fn normalize(&self) -> bool {
        self.normalize
    }

    /// Samples a second that it accepts.
    pub fn sample_rate(&self) -> u32 {
        RATE
    }

    /// `preprocessor_config.json` for transformers.
    pub(crate) fn artifact(&self) -> Result<Artifact> {
        let mut map = self.source.clone();
        for (key, value) in [
            ("feature_extractor_type", json!("Wav2Vec2FeatureExtractor")),
            ("feature_size", json!(1)),
            ("padding_side", json!("right")),
            ("padding_value", json!(0.0)),
            ("return_attention_mask", json!(self.mask)),
        ] {
            map.entry(key).or_insert(value);
        }
        map.insert("do_normalize".into(), json!(self.normalize));
        map.insert("sampling_rate".into(), json!(RATE));
        json_file(FILE, &Value::Object(map))
    }
}

fn read(path: &Path) -> Result<Option<Map<String, Value>>> {
    let text = match read_regular(path, MAX_BYTES as u64) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::file_caused(path, "cannot be read", e)),
    };
    let map = Reader::object(&text, path)?;
    let mut r = Reader::new(&map, path);
    r.field("do_normalize", (), "true or false", |v| v.is_boolean().then_some(()));
    r.field("sampling_rate", (), &format!("{RATE}, which every wav2vec 2.0 was trained on"), |v| {
        (v.as_f64() == Some(f64::from(RATE))).then_some(())
    });
    r.field("padding_value", (), "0", |v| (v.as_f64() == Some(0.0)).then_some(()));
    r.field("feature_size", (), "1: mono waveforms", |v| (v == 1).then_some(()));
    r.finish()?;
    Ok(Some(map))
}

impl Preprocessor for Wav2Vec2Preprocessor {
    /// `max_length` is in samples; what is behind them is cut off before the rest is normalised.
    fn features(&self, input: Input<'_>, max_length: Option<u32>) -> Result<Features> {
        let Input::Audio { samples, sample_rate } = input else {
            return Err(Error::Unsupported { what: "wav2vec 2.0".into(), feature: "inputs other than audio".into() });
        };
        if sample_rate != RATE {
            return Err(Error::invalid("sample rate", sample_rate, format!("{RATE} samples a second; resample first")));
        }
        let limit = max_length.map_or(usize::MAX, |limit| limit as usize);
        if limit < self.shortest {
            let expected = format!("at least {} samples, which give one step", self.shortest);
            return Err(Error::invalid("max_length", limit, expected));
        }
        let samples = &samples[..samples.len().min(limit)];
        if samples.len() < self.shortest {
            let expected = format!("at least {} samples, which give one step", self.shortest);
            return Err(Error::invalid("audio", format!("of {} samples", samples.len()), expected));
        }
        if let Some((at, value)) = samples.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Error::invalid(format!("sample {at}"), value, "a finite number"));
        }
        Ok(Features::Samples(if self.normalize { normalized(samples) } else { samples.to_vec() }))
    }

    /// `input_values` `[batch, samples]`, float32, zeros behind the end of a row, and `lengths` `[batch]`, int64.
    fn collate(&self, features: &[&Features]) -> Result<Inputs> {
        let longest = features.iter().map(|f| f.len()).max().unwrap_or(0);
        if longest == 0 {
            return Err(Error::invalid("batch", format!("{} empty inputs", features.len()), "at least one sample"));
        }
        let (mut values, mut lengths) = (vec![0f32; features.len() * longest], Vec::with_capacity(features.len()));
        for (row, features) in values.chunks_mut(longest).zip(features) {
            let Features::Samples(samples) = features else {
                return Err(Error::Unsupported {
                    what: "wav2vec 2.0".into(),
                    feature: "features other than samples".into(),
                });
            };
            row[..samples.len()].copy_from_slice(samples);
            lengths.push(samples.len() as i64);
        }
        let values = Tensor::f_from_slice(&values)?.f_view([features.len() as i64, longest as i64])?;
        Ok(Inputs::from([("input_values", values), ("lengths", Tensor::f_from_slice(&lengths)?)]))
    }

    fn identity(&self) -> String {
        format!("wav2vec2-{RATE}Hz-{}", if self.normalize { "normalized" } else { "as-is" })
    }
}

/// Zero mean and unit (population) variance.
fn normalized(samples: &[f32]) -> Vec<f32> {
    let count = samples.len() as f64;
    let mean = samples.iter().map(|x| f64::from(*x)).sum::<f64>() / count;
    let variance = samples.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
    let scale = (variance + EPSILON).sqrt().recip();
    samples.iter().map(|x| ((f64::from(*x) - mean) * scale) as f32).collect()
}
