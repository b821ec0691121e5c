//! `lopper transcribe`: the text of recordings.

use crate::models::{ModelArguments, OpenModel};
use crate::output;
use lopper_core::{Batch, Error, Features, Head, Input, Model, Predictions, Preprocessor, Result};
use lopper_session::guarded;
use lopper_speech::decode::{Spelling, greedy};
use lopper_speech::{Dictionary, audio};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// Recordings: FLAC, WAV, MP3, Ogg Vorbis or Opus, SPHERE, AIFF, CAF or AU, of any rate and number of channels
    #[arg(required = true, value_name = "AUDIO")]
    recordings: Vec<PathBuf>,

    /// Give the logits of every time step too
    #[arg(long)]
    logits: bool,
}

#[derive(Serialize)]
struct Transcript {
    audio: String,
    text: String,
    /// Of the recording, not of the computation.
    seconds: f64,
    /// `[time][outputs]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    logits: Option<Vec<Vec<f32>>>,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        // Before the model is loaded, which takes longer; one after another, so that a whole archive fits in memory.
        let problems = self
            .recordings
            .iter()
            .filter_map(|path| audio::inspect(path, audio::Check::Headers).err().map(|e| Error::file(path, e)));
        let (located, ()) = Error::both(self.model.locate(), Error::all(problems.collect()))?;
        let open = self.model.open_at(located, lopper_torch::resolve_device(&self.model.device)?)?;
        let model = open.model.as_ref();
        let Some(Head::Ctc { vocabulary, blank }) = model.head() else {
            let feature = if hears(model) {
                "transcripts; finetune it on speech first with `lopper run`"
            } else {
                "recordings; give a speech model"
            };
            let what = match model.other_head() {
                Some(other) => format!("{}, a {other},", self.model.source()),
                None => format!("{}, which has no CTC head,", self.model.source()),
            };
            return Err(Error::Unsupported { what, feature: feature.into() });
        };
        let dictionary = Dictionary::of_head(vocabulary.clone(), *blank)
            .map_err(|reason| Error::Other(format!("the head of {} {reason}", self.model.source())))?;
        let spelling = spelling(model, &dictionary)?;
        let preprocessor = model
            .preprocessor()
            .ok_or_else(|| Error::Unsupported { what: self.model.source(), feature: "recordings".into() })?;
        let mut transcripts = Vec::with_capacity(self.recordings.len());
        for path in &self.recordings {
            let samples = audio::load(path).map_err(|e| Error::file(path, e))?;
            let predictions = predict(&open, preprocessor.as_ref(), &samples, path)?;
            let ids = greedy(&predictions, *blank)?;
            let transcript = Transcript {
                audio: path.display().to_string(),
                text: spelling.text(ids.first().map(Vec::as_slice).unwrap_or_default(), &dictionary),
                seconds: samples.len() as f64 / f64::from(audio::RATE),
                logits: self.logits.then(|| rows(&predictions)).transpose()?,
            };
            if !json {
                output::print(&transcript.render(self.recordings.len() > 1))?;
            }
            transcripts.push(transcript);
        }
        match transcripts.as_slice() {
            _ if !json => Ok(()),
            [one] => output::report(json, one, String::new),
            all => output::report(json, &all, String::new),
        }
    }
}

impl Transcript {
    fn render(&self, named: bool) -> String {
        let mut text = if named { format!("{}\t{}", self.audio, self.text) } else { self.text.clone() };
        for row in self.logits.iter().flatten() {
            let row: Vec<_> = row.iter().map(|logit| format!("{logit:.6}")).collect();
            text += &format!("\n{}", row.join(" "));
        }
        text
    }
}

/// One of the files that would be saved with the model, as an object; an empty one where there is none.
fn settings(model: &dyn Model, name: &str) -> Result<Map<String, Value>> {
    let artifact = model.artifacts()?.into_iter().find(|artifact| artifact.name == name);
    let object = artifact.map(|artifact| serde_json::from_slice(&artifact.bytes));
    object
        .transpose()
        .map(Option::unwrap_or_default)
        .map_err(|e| Error::Other(format!("{name} is no JSON object: {e}")))
}

/// How the model's own tokenizer spells, or else a dictionary by itself.
fn spelling(model: &dyn Model, dictionary: &Dictionary) -> Result<Spelling> {
    let tokenizer = settings(model, "tokenizer_config.json")?;
    let config = settings(model, "config.json")?;
    let class = config.get("tokenizer_class").and_then(Value::as_str);
    Ok(match tokenizer.is_empty() && class.is_none() {
        true => Spelling::of_dictionary(dictionary),
        false => Spelling::of_tokenizer(&tokenizer, class),
    })
}

/// Whether recordings are what a model reads.
fn hears(model: &dyn Model) -> bool {
    let silence = Input::Audio { samples: &[0.0; audio::RATE as usize], sample_rate: audio::RATE };
    model.preprocessor().is_some_and(|preprocessor| preprocessor.features(silence, None).is_ok())
}

/// The logits of a recording, on the CPU; `path` names it in errors.
fn predict(open: &OpenModel, preprocessor: &dyn Preprocessor, samples: &[f32], path: &Path) -> Result<Predictions> {
    let during = format!("transcribing {}", path.display());
    let seconds = samples.len() as f64 / f64::from(audio::RATE);
    let advice =
        || format!("it is {seconds:.1} seconds long: cut it into shorter recordings, or give another --device");
    guarded(&open.who(), &during, advice, || predict_raw(open, preprocessor, samples)).map_err(|error| match error {
        Error::OutOfMemory { .. } => error,
        error => Error::Other(format!("{}: {error}", path.display())),
    })
}

fn predict_raw(open: &OpenModel, preprocessor: &dyn Preprocessor, samples: &[f32]) -> Result<Predictions> {
    let features: Features = preprocessor.features(Input::Audio { samples, sample_rate: audio::RATE }, None)?;
    let batch = Batch::new(preprocessor.collate(&[&features])?, None, 1);
    let _no_grad = tch::no_grad_guard();
    let predictions = open.model.predict(&batch.to_device(open.device)?)?;
    let logits = predictions.logits.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    Ok(Predictions { logits, lengths: predictions.lengths })
}

/// The logits of the only row, time step by time step.
fn rows(predictions: &Predictions) -> Result<Vec<Vec<f32>>> {
    let logits = predictions.logits.f_get(0)?;
    let outputs = logits.size().get(1).copied().unwrap_or(1).max(1) as usize;
    let flat = Vec::<f32>::try_from(&logits.f_contiguous()?.f_view([-1])?)?;
    let steps = predictions.lengths.as_ref().and_then(|lengths| lengths.first()).map_or(usize::MAX, |n| *n as usize);
    Ok(flat.chunks_exact(outputs).take(steps).map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::tests::{Nothing, broken, check_faults};

    #[test]
    fn a_panic_is_named_and_memory_that_is_short_is_explained() {
        let samples = vec![0.0; 24_000];
        let transcribed = |fault| predict(&broken(fault), &Nothing, &samples, Path::new("a.wav")).unwrap_err();
        let advice = "; it is 1.5 seconds long: cut it into shorter recordings, or give another --device";
        check_faults(transcribed, "a.wav: model plugin `bert`", "transcribing a.wav", advice);
    }
}
