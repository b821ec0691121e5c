//! `lopper predict`: answers of a finetuned model.

use crate::models::{ModelArguments, OpenModel};
use crate::output::{self, Table};
use lopper_core::{Batch, Error, Features, Head, Input, Preprocessor, Result};
use lopper_session::guarded;
use lopper_weights::read_regular;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tch::{Device, Kind};

/// Tokens kept of an input unless the model holds fewer.
const MAX_LENGTH: u32 = 128;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[group(id = "input", required = true, multiple = false, args = ["text", "file"])]
pub(super) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// A text
    #[arg(long, value_name = "A")]
    text: Option<String>,

    /// The second text of a pair
    #[arg(long, value_name = "B", requires = "text")]
    pair: Option<String>,

    /// A file with one text a line, or two texts separated by a tab; empty lines are left out
    #[arg(long, value_name = "F")]
    file: Option<PathBuf>,

    /// Tokens kept of an input, special tokens counted [default: 128, or fewer where the model holds fewer]
    #[arg(long)]
    max_length: Option<u32>,

    /// Inputs a batch
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_size: u32,
}

/// A text and, for pairs, a second one.
type Texts = (String, Option<String>);

#[derive(Serialize)]
struct Prediction {
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pair: Option<String>,
    logits: Vec<f32>,
    /// Absent for a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
    /// Probability of the class (softmax), or the number of a regression.
    score: f64,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let inputs = match (&self.text, &self.file) {
            (Some(text), _) => vec![(text.clone(), self.pair.clone())],
            (None, Some(file)) => read(file)?,
            (None, None) => Vec::new(),
        };
        let open = self.model.open()?;
        let preprocessor = open.model.preprocessor().ok_or_else(|| Error::Unsupported {
            what: format!("{}, which has no tokenizer,", self.model.source()),
            feature: "texts; put its tokenizer.json or vocab.txt beside the weights".into(),
        })?;
        let mut predictions = Vec::with_capacity(inputs.len());
        for inputs in inputs.chunks(self.batch_size as usize) {
            let features: Vec<_> =
                inputs.iter().map(|input| self.features(preprocessor.as_ref(), input)).collect::<Result<_>>()?;
            let advice = || format!("lower --batch-size ({}) or --max-length", self.batch_size);
            let logits =
                guarded(&open.who(), "answering texts", advice, || logits(&open, preprocessor.as_ref(), &features))?;
            for ((text, pair), logits) in inputs.iter().zip(logits) {
                predictions.push(prediction(text, pair.as_deref(), logits, open.model.head())?);
            }
        }
        match predictions.as_slice() {
            [one] if self.text.is_some() => output::report(json, one, || text(&predictions)),
            all => output::report(json, &all, || text(&predictions)),
        }
    }

    fn features(&self, preprocessor: &dyn Preprocessor, (first, second): &Texts) -> Result<Features> {
        let input = || Input::Text { first, second: second.as_deref() };
        let named = |e| match e {
            Error::InvalidValue { value, expected, .. } => Error::invalid("--max-length", value, expected),
            other => other,
        };
        if self.max_length.is_some() {
            return preprocessor.features(input(), self.max_length).map_err(named);
        }
        let whole = preprocessor.features(input(), None)?;
        if whole.len() > MAX_LENGTH as usize { preprocessor.features(input(), Some(MAX_LENGTH)) } else { Ok(whole) }
    }
}

/// Texts or pairs of a file, one a line.
fn read(path: &Path) -> Result<Vec<Texts>> {
    let bytes = read_regular(path, u64::MAX).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => Error::file(path, "does not exist; a file of texts, one a line, was expected"),
        _ => Error::file_caused(path, "cannot be read", e),
    })?;
    let (mut inputs, mut problems) = (Vec::new(), Vec::new());
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let refuse = |reason: String| Error::Line { path: path.to_owned(), line: number as u64 + 1, reason };
        match std::str::from_utf8(line) {
            Ok("") => {}
            Ok(line) => match line.split_once('\t') {
                None => inputs.push((line.to_owned(), None)),
                Some((text, pair)) if !pair.contains('\t') => inputs.push((text.to_owned(), Some(pair.to_owned()))),
                Some(_) => problems.push(refuse(format!(
                    "has {} tab-separated fields; one text, or two for a pair, are accepted",
                    line.split('\t').count()
                ))),
            },
            Err(e) => problems.push(refuse(format!("byte {} is not UTF-8", e.valid_up_to() + 1))),
        }
        if problems.len() == 20 {
            break;
        }
    }
    Error::all(problems)?;
    if inputs.is_empty() { Err(Error::file(path, "is empty; one text a line was expected")) } else { Ok(inputs) }
}

fn logits(open: &OpenModel, preprocessor: &dyn Preprocessor, features: &[Features]) -> Result<Vec<Vec<f32>>> {
    let batch = Batch::new(preprocessor.collate(&features.iter().collect::<Vec<_>>())?, None, features.len());
    let _no_grad = tch::no_grad_guard();
    let predictions = open.model.predict(&batch.to_device(open.device)?)?;
    let logits = predictions.logits.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    match logits.size()[..] {
        [rows, width] if rows == features.len() as i64 && width > 0 => {
            let flat = Vec::<f32>::try_from(&logits.f_contiguous()?.f_view([-1])?)?;
            Ok(flat.chunks_exact(width as usize).map(<[f32]>::to_vec).collect())
        }
        ref shape => Err(Error::Unsupported {
            what: "predict".into(),
            feature: format!("outputs of shape {shape:?}; one row of logits for each of {} inputs", features.len()),
        }),
    }
}

fn prediction(text: &str, pair: Option<&str>, logits: Vec<f32>, head: Option<&Head>) -> Result<Prediction> {
    if let Some(logit) = logits.iter().find(|logit| !logit.is_finite()) {
        return Err(Error::Diverged(format!("the model answers {logit} to {text:?}")));
    }
    let (text, pair) = (text.to_owned(), pair.map(str::to_owned));
    if matches!(head, Some(Head::Regression)) || (head.is_none() && logits.len() == 1) {
        let score = f64::from(logits[0]);
        return Ok(Prediction { text, pair, logits, class: None, label: None, score });
    }
    // The first of the largest, as the metrics take it.
    let class = (1..logits.len()).fold(0, |best, at| if logits[at] > logits[best] { at } else { best });
    let label = match head {
        Some(Head::Classification { labels }) => labels.get(class).cloned(),
        _ => None,
    };
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - f64::from(logits[class])).exp()).sum();
    Ok(Prediction { text, pair, logits, class: Some(class), label, score: 1.0 / sum })
}

fn text(predictions: &[Prediction]) -> String {
    let mut table = Table::new(["class", "<label", "score", "<logits", "<text"]);
    for p in predictions {
        let logits: Vec<_> = p.logits.iter().map(|logit| format!("{logit:.6}")).collect();
        let texts: Vec<_> = std::iter::once(&p.text).chain(&p.pair).map(|text| shortened(text)).collect();
        table.row([
            p.class.map_or("-".to_owned(), |class| class.to_string()),
            p.label.clone().unwrap_or_else(|| "-".to_owned()),
            format!("{:.6}", p.score),
            logits.join(" "),
            texts.join(" | "),
        ]);
    }
    table.render()
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(59).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_the_head() {
        let labels = || Head::Classification { labels: vec!["no".into(), "yes".into(), "maybe".into()] };
        let p = prediction("a", None, vec![0.0, 1.0, 1.0], Some(&labels())).unwrap();
        let e = std::f64::consts::E;
        assert_eq!((p.class, p.label.as_deref()), (Some(1), Some("yes")));
        assert!((p.score - e / (1.0 + 2.0 * e)).abs() < 1e-12);
        // Large logits overflow no exponential.
        assert_eq!(prediction("a", None, vec![3e38, -3e38], None).unwrap().score, 1.0);
        let p = prediction("a", None, vec![2.5], Some(&Head::Regression)).unwrap();
        assert_eq!((p.class, p.score), (None, 2.5));
        assert!(prediction("a", None, vec![f32::NAN, 0.0], None).is_err());
    }
}
