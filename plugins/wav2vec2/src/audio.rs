//! From audio to what the model reads.

use crate::config::FeatureNorm;
use crate::extractor::{Extractor, RATE};
use crate::load::Found;
use crate::told;
use lopper_core::{Artifact, Error, Features, Input, Inputs, Preprocessor, Result};
use tch::Tensor;

/// Added to the variance, as Hugging Face does; fairseq, whose normalisation is a layer norm of the whole waveform, adds
/// 1e-5 instead, which differs for near silence alone.
const EPSILON: f64 = 1e-7;

/// Turns waveforms of 16 kHz into samples, of zero mean and unit variance where the checkpoint was trained on such.
#[derive(Debug, Clone, PartialEq)]
pub struct Wav2Vec2Preprocessor {
    normalize: bool,
    /// Fewer give no step.
    shortest: usize,
    /// Whether transformers shall make an attention mask.
    mask: bool,
    /// The files as read.
    files: Extractor,
}

impl Wav2Vec2Preprocessor {
    /// For a checkpoint: `asked` decides whether to normalise; otherwise the files of transformers in its directory; then
    /// the settings inside a fairseq checkpoint. Where nothing says it, a checkpoint of transformers is taken to be
    /// normalised, as by its own default, and one of another library when it has layer norms in its feature encoder, since
    /// such were trained on normalised waveforms; that is told.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read, and [`Error::InvalidValue`] for each value that cannot be used.
    pub(crate) fn read(found: &Found, asked: Option<bool>) -> Result<Self> {
        let layered = found.config.feat_extract_norm() == FeatureNorm::Layer;
        let path = found.path();
        let files = if path.is_dir() { Extractor::read(path)? } else { Extractor::default() };
        let normalize = match asked {
            Some(asked) => asked,
            None => files.normalize(path).or(found.settings.normalize).unwrap_or_else(|| {
                let (assumed, why) = match found.is_of_transformers() {
                    true => (true, "the default of transformers"),
                    false => (layered, "as usual for such a feature encoder"),
                };
                told::once(format!(
                    "{}: nothing says whether recordings are normalised (no preprocessor_config.json, no                      processor_config.json): do_normalize = {assumed} is assumed, {why}; `normalize` under [model] says                      otherwise",
                    path.display()
                ));
                assumed
            }),
        };
        let shortest = found.config.receptive_field().try_into().unwrap_or(usize::MAX);
        Ok(Self { normalize, shortest, mask: layered, files })
    }

    /// Whether waveforms get zero mean and unit variance.
    pub fn normalize(&self) -> bool {
        self.normalize
    }

    /// Samples a second that it accepts.
    pub fn sample_rate(&self) -> u32 {
        RATE
    }

    /// The files for transformers.
    pub(crate) fn artifacts(&self) -> Result<Vec<Artifact>> {
        self.files.artifacts(self.normalize, self.mask)
    }
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
