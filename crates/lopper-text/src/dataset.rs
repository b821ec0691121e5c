//! Labelled texts in splits.

use crate::encoded::{EncodedSplit, features};
use crate::example::Example;
use crate::kind::{Kind, Label};
use lopper_core::{
    Batch, Dataset, Error, Evaluation, Features, Outcomes, Predictions, Preprocessor, Result, Split, Targets, Task,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Kind as Element, Tensor};

/// What a dataset is made of.
#[derive(Debug)]
pub enum Content {
    /// Texts, to be tokenised.
    Texts(Vec<Example>),
    /// A split that was tokenised before, by the same model and to the same length.
    Encoded(EncodedSplit),
}

/// Labelled texts in splits, tokenised once.
pub struct TextDataset {
    task: Task,
    kind: Kind,
    splits: Vec<EncodedSplit>,
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
        let texts = splits.iter().map(|(split, examples)| (split.clone(), Content::Texts(examples.clone())));
        Self::of(name, kind, texts.collect(), max_length, preprocessor)
    }

    /// As [`new`](Self::new), of splits of which some may be tokenised already.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(
        name: &str,
        kind: Kind,
        splits: Vec<(Split, Content)>,
        max_length: u32,
        preprocessor: Option<Arc<dyn Preprocessor>>,
    ) -> Result<Self> {
        let mut problems = Vec::new();
        for (number, (split, content)) in splits.iter().enumerate() {
            if splits[..number].iter().any(|(other, _)| other == split) {
                problems.push(Error::invalid(format!("{name} split"), split.as_str(), "give every split once"));
            }
            let labels: Vec<Label> = match content {
                Content::Texts(examples) => examples.iter().map(|example| example.label).collect(),
                Content::Encoded(encoded) => encoded.labels.clone(),
            };
            if let Some(index) = labels.iter().position(|label| !kind.accepts(*label)) {
                let key = format!("{name} {} example {index} label", split.as_str());
                problems.push(Error::invalid(key, format!("{:?}", labels[index]), format!("expected {kind:?}")));
            }
        }
        // One example tells whether the model holds the length, before all of them are tokenised.
        let any = splits.iter().find_map(|(_, content)| match content {
            Content::Texts(examples) => examples.first(),
            Content::Encoded(_) => None,
        });
        if let (Some(preprocessor), Some(example)) = (&preprocessor, any) {
            problems.extend(features(preprocessor.as_ref(), example, max_length).err());
        }
        Error::all(problems)?;
        let preprocessor = preprocessor.ok_or_else(|| Error::Unsupported {
            what: "this model, which has no tokenizer,".into(),
            feature: format!("the texts of {name}; put its tokenizer.json or vocab.txt beside the weights"),
        })?;
        let of = (name, kind, max_length);
        let encode = |(split, content)| match content {
            Content::Texts(examples) => EncodedSplit::new(of, &split, &examples, preprocessor.as_ref()),
            Content::Encoded(encoded) => Ok(EncodedSplit { split, ..encoded }),
        };
        let splits = splits.into_iter().map(encode).collect::<Result<_>>()?;
        Ok(Self { task: kind.task(name), kind, splits, preprocessor })
    }

    /// A split as the model reads it; `None` for one that it was not made of.
    pub fn encoded(&self, split: &Split) -> Option<&EncodedSplit> {
        self.splits.iter().find(|found| found.split == *split)
    }

    /// The same with the number of rows that are missing from a split because they cannot be used; for the record alone.
    #[must_use]
    pub fn with_left_out(mut self, split: &Split, rows: u64) -> Self {
        self.splits.iter_mut().filter(|found| found.split == *split).for_each(|found| found.left_out = rows);
        self
    }

    fn split(&self, split: &Split) -> Result<&EncodedSplit> {
        self.splits.iter().find(|s| s.split == *split).ok_or_else(|| {
            let known: Vec<_> = self.splits.iter().map(|s| s.split.as_str()).collect();
            let name = &self.task.name;
            Error::Other(format!("{name} was opened without a {} split; it has {}", split.as_str(), known.join(", ")))
        })
    }

    /// What predictions that cover a split once say of each example.
    fn judged(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Outcomes> {
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
            0 => self.kind.outcomes(&rows, &split.labels),
            missing => Err(Error::Other(format!("{missing} of {} examples of {name} were not predicted", rows.len()))),
        }
    }

    fn out_of_range(&self, split: &EncodedSplit, index: usize) -> Error {
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

    fn evaluate(&self, split: &Split, outputs: &[(Vec<usize>, Predictions)]) -> Result<Evaluation> {
        Evaluation::of_outcomes(self.judged(split, outputs)?, self.kind.metrics())
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
