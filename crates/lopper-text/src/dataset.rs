//! Labelled texts in splits.

use crate::kind::{Kind, Label};
use lopper_core::{
    Batch, Dataset, Error, Features, Input, MetricValue, Predictions, Preprocessor, Result, Split, Targets, Task,
};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Kind as Element, Tensor};

/// One labelled text or pair of texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The first or only text.
    pub first: String,
    /// The second of a pair.
    pub second: Option<String>,
    /// What it should be answered with.
    pub label: Label,
}

/// A split as the model reads it.
struct Encoded {
    split: Split,
    features: Vec<Features>,
    labels: Vec<Label>,
    /// Rows of its file that are not among them.
    left_out: u64,
    identity: String,
}

/// Labelled texts in splits, tokenised once.
pub struct TextDataset {
    task: Task,
    kind: Kind,
    splits: Vec<Encoded>,
    preprocessor: Arc<dyn Preprocessor>,
}

impl TextDataset {
    /// Tokenises `splits`, truncated to `max_length` tokens with special ones counted. Every split but
    /// [`Split::TRAIN`] is evaluated, in the order given.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a split given twice, a label that `kind` does not accept, and a `max_length` that the
    /// model cannot hold, together; other errors of the preprocessor; [`Error::Unsupported`] without one.
    pub fn new(
        name: &str,
        kind: Kind,
        splits: &[(Split, Vec<Example>)],
        max_length: u32,
        preprocessor: Option<Arc<dyn Preprocessor>>,
    ) -> Result<Self> {
        let mut problems = Vec::new();
        for (number, (split, examples)) in splits.iter().enumerate() {
            if splits[..number].iter().any(|(other, _)| other == split) {
                problems.push(Error::invalid(format!("{name} split"), split.as_str(), "give every split once"));
            }
            if let Some(index) = examples.iter().position(|e| !kind.accepts(e.label)) {
                let key = format!("{name} {} example {index} label", split.as_str());
                problems.push(Error::invalid(
                    key,
                    format!("{:?}", examples[index].label),
                    format!("expected {kind:?}"),
                ));
            }
        }
        // One example tells whether the model holds the length, before all of them are tokenised.
        let any = splits.iter().find_map(|(_, examples)| examples.first());
        if let (Some(preprocessor), Some(example)) = (&preprocessor, any) {
            problems.extend(features(preprocessor.as_ref(), example, max_length).err());
        }
        Error::all(problems)?;
        let preprocessor = preprocessor.ok_or_else(|| Error::Unsupported {
            what: "this model, which has no tokenizer,".into(),
            feature: format!("the texts of {name}; put its tokenizer.json or vocab.txt beside the weights"),
        })?;
        let reading = preprocessor.identity();
        let splits = splits
            .iter()
            .map(|(split, examples)| {
                let encode = |example| features(preprocessor.as_ref(), example, max_length);
                let features: Vec<_> = examples.par_iter().map(encode).collect();
                Ok(Encoded {
                    split: split.clone(),
                    features: features.into_iter().collect::<Result<_>>()?,
                    labels: examples.iter().map(|e| e.label).collect(),
                    left_out: 0,
                    identity: identity(name, kind, split, examples, max_length, &reading),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { task: kind.task(name), kind, splits, preprocessor })
    }

    /// The same with the number of rows that are missing from a split because they cannot be used; for the record alone.
    #[must_use]
    pub fn with_left_out(mut self, split: &Split, rows: u64) -> Self {
        self.splits.iter_mut().filter(|found| found.split == *split).for_each(|found| found.left_out = rows);
        self
    }

    fn split(&self, split: &Split) -> Result<&Encoded> {
        self.splits.iter().find(|s| s.split == *split).ok_or_else(|| {
            let known: Vec<_> = self.splits.iter().map(|s| s.split.as_str()).collect();
            let name = &self.task.name;
            Error::Other(format!("{name} was opened without a {} split; it has {}", split.as_str(), known.join(", ")))
        })
    }

    fn out_of_range(&self, split: &Encoded, index: usize) -> Error {
        let (name, len) = (&self.task.name, split.labels.len());
        Error::Other(format!(
            "{name} has {len} examples in its {} split, and none of index {index}",
            split.split.as_str()
        ))
    }
}

impl Dataset for TextDataset {
    fn len(&self, split: &Split) -> usize {
        self.split(split).map_or(0, |s| s.labels.len())
    }

    fn cost(&self, split: &Split, index: usize) -> u32 {
        self.split(split).ok().and_then(|s| s.features.get(index)).map_or(0, |f| f.len() as u32)
    }

    fn batch(&self, split: &Split, indices: &[usize]) -> Result<Batch> {
        let split = self.split(split)?;
        if let Some(index) = indices.iter().find(|i| **i >= split.labels.len()) {
            return Err(self.out_of_range(split, *index));
        }
        let features: Vec<&Features> = indices.iter().map(|i| &split.features[*i]).collect();
        let inputs = self.preprocessor.collate(&features)?;
        let labels = indices.iter().map(|i| split.labels[*i]);
        let targets = match self.kind {
            Kind::Classification { .. } => {
                let classes = labels.filter_map(|l| if let Label::Class(c) = l { Some(i64::from(c)) } else { None });
                Targets::Classes(Tensor::f_from_slice(&classes.collect::<Vec<_>>())?)
            }
            Kind::Regression { .. } => {
                let values = labels.filter_map(|l| if let Label::Value(v) = l { Some(v) } else { None });
                Targets::Values(Tensor::f_from_slice(&values.collect::<Vec<_>>())?)
            }
        };
        Ok(Batch::new(inputs, targets, indices.len()))
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn evaluation_splits(&self) -> Vec<Split> {
        self.splits.iter().map(|s| s.split.clone()).filter(|s| *s != Split::TRAIN).collect()
    }

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Vec<MetricValue>> {
        let split = self.split(split)?;
        let (name, width) = (&self.task.name, self.kind.outputs());
        let mut rows: Vec<Vec<f32>> = vec![Vec::new(); split.labels.len()];
        for (indices, predictions) in outputs {
            let (found, expected) = (predictions.logits.size(), [indices.len() as i64, width as i64]);
            if found != expected {
                return Err(Error::Other(format!("{name} needs logits of shape {expected:?}, not {found:?}")));
            }
            let flat = predictions.logits.f_to_kind(Element::Float)?.f_reshape([-1])?;
            let flat = Vec::<f32>::try_from(&flat)?;
            for (index, logits) in indices.iter().zip(flat.chunks_exact(width)) {
                let row = rows.get_mut(*index).ok_or_else(|| self.out_of_range(split, *index))?;
                if !row.is_empty() {
                    return Err(Error::Other(format!("{name} example {index} was predicted twice")));
                }
                if let Some(logit) = logits.iter().find(|l| !l.is_finite()) {
                    let at = split.split.as_str();
                    return Err(Error::Diverged(format!("{name} {at} example {index}: the model answers {logit}")));
                }
                row.extend_from_slice(logits);
            }
        }
        match rows.iter().filter(|row| row.is_empty()).count() {
            0 => self.kind.evaluate(&rows, &split.labels),
            missing => Err(Error::Other(format!("{missing} of {} examples of {name} were not predicted", rows.len()))),
        }
    }

    /// `rows_left_out`.
    fn counts(&self, split: &Split) -> BTreeMap<&'static str, u64> {
        let left_out = self.split(split).map_or(0, |split| split.left_out);
        (left_out > 0).then_some(("rows_left_out", left_out)).into_iter().collect()
    }

    fn identity(&self, split: &Split) -> String {
        self.split(split).map(|split| split.identity.clone()).unwrap_or_default()
    }
}

fn features(preprocessor: &dyn Preprocessor, example: &Example, max_length: u32) -> Result<Features> {
    let input = Input::Text { first: &example.first, second: example.second.as_deref() };
    preprocessor.features(input, Some(max_length)).map_err(|e| match e {
        Error::InvalidValue { key, value, expected } if key == "max_length" => {
            Error::invalid("[data] max_length", value, expected)
        }
        other => other,
    })
}

/// Every field is preceded by its length, so that no two splits feed the hash the same bytes.
fn identity(
    name: &str,
    kind: Kind,
    split: &Split,
    examples: &[Example],
    max_length: u32,
    preprocessor: &str,
) -> String {
    let mut hash = blake3::Hasher::new();
    let mut field = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    field(b"lopper-text 2");
    field(name.as_bytes());
    field(format!("{kind:?}").as_bytes());
    field(&max_length.to_le_bytes());
    field(preprocessor.as_bytes());
    field(split.as_str().as_bytes());
    field(&(examples.len() as u64).to_le_bytes());
    for example in examples {
        field(example.first.as_bytes());
        match &example.second {
            Some(second) => field(second.as_bytes()),
            None => field(b""),
        }
        field(&[u8::from(example.second.is_some())]);
        match example.label {
            Label::Class(class) => field(&class.to_le_bytes()),
            Label::Value(value) => field(&value.to_bits().to_le_bytes()),
        }
    }
    hash.finalize().to_hex().to_string()
}
