//! A split as a model reads it, in memory and as bytes.

use crate::example::Example;
use crate::kind::{Kind, Label};
use lopper_core::{Error, Features, Input, Preprocessor, Result, Split};
use rayon::prelude::*;

/// What the bytes begin with; it changes when they do.
const FORMAT: &[u8; 16] = b"lopper-text 1\0\0\0";

/// A split of texts, tokenised.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedSplit {
    pub(crate) split: Split,
    pub(crate) features: Vec<Features>,
    pub(crate) labels: Vec<Label>,
    pub(crate) left_out: u64,
    pub(crate) identity: String,
}

impl EncodedSplit {
    pub(crate) fn new(
        (name, kind, max_length): (&str, Kind, u32),
        split: &Split,
        examples: &[Example],
        preprocessor: &dyn Preprocessor,
    ) -> Result<Self> {
        let encode = |example| features(preprocessor, example, max_length);
        let features: Vec<_> = examples.par_iter().map(encode).collect();
        Ok(Self {
            split: split.clone(),
            features: features.into_iter().collect::<Result<_>>()?,
            labels: examples.iter().map(|e| e.label).collect(),
            left_out: 0,
            identity: identity(name, kind, split, examples, max_length, &preprocessor.identity()),
        })
    }

    /// What its examples should be answered with, in order.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// All of it, for [`from_bytes`](Self::from_bytes). `None` for features that are no tokens of at most 256 segments.
    pub fn to_bytes(&self) -> Option<Vec<u8>> {
        let mut bytes = FORMAT.to_vec();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        text(&mut bytes, self.split.as_str());
        text(&mut bytes, &self.identity);
        bytes.extend(self.left_out.to_le_bytes());
        bytes.extend((self.features.len() as u32).to_le_bytes());
        for (features, label) in self.features.iter().zip(&self.labels) {
            let Features::Tokens { ids, segments } = features else { return None };
            let (kind, label) = match label {
                Label::Class(class) => (0, *class),
                Label::Value(value) => (1, value.to_bits()),
            };
            bytes.push(kind);
            bytes.extend(label.to_le_bytes());
            bytes.extend(u32::try_from(ids.len()).ok().filter(|_| ids.len() == segments.len())?.to_le_bytes());
            ids.iter().for_each(|id| bytes.extend(id.to_le_bytes()));
            for segment in segments {
                bytes.push(u8::try_from(*segment).ok()?);
            }
        }
        Some(bytes)
    }

    /// Undoes [`to_bytes`](Self::to_bytes); `None` for anything else. Whatever the bytes, memory stays in proportion to their
    /// number.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut left = bytes.strip_prefix(FORMAT)?;
        let text = |left: &mut &[u8]| {
            let length = number(left)?;
            String::from_utf8(take(left, length as usize)?.to_vec()).ok()
        };
        let (split, identity) = (Split::named(text(&mut left)?), text(&mut left)?);
        let left_out = u64::from_le_bytes(take(&mut left, 8)?.try_into().ok()?);
        let rows = number(&mut left)?;
        let (mut features, mut labels) = (Vec::new(), Vec::new());
        for _ in 0..rows {
            let kind = take(&mut left, 1)?[0];
            let label = number(&mut left)?;
            labels.push(match kind {
                0 => Label::Class(label),
                1 => Label::Value(f32::from_bits(label)),
                _ => return None,
            });
            let length = number(&mut left)? as usize;
            let ids = take(&mut left, length.checked_mul(4)?)?.as_chunks::<4>().0;
            let ids = ids.iter().map(|id| u32::from_le_bytes(*id)).collect();
            let segments = take(&mut left, length)?.iter().map(|segment| u32::from(*segment)).collect();
            features.push(Features::Tokens { ids, segments });
        }
        left.is_empty().then_some(Self { split, features, labels, left_out, identity })
    }
}

fn take<'a>(left: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = left.split_at_checked(length)?;
    *left = rest;
    Some(taken)
}

fn number(left: &mut &[u8]) -> Option<u32> {
    Some(u32::from_le_bytes(take(left, 4)?.try_into().ok()?))
}

pub(crate) fn features(preprocessor: &dyn Preprocessor, example: &Example, max_length: u32) -> Result<Features> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded() -> EncodedSplit {
        let tokens =
            |ids: &[u32]| Features::Tokens { ids: ids.to_vec(), segments: ids.iter().map(|id| id % 2).collect() };
        EncodedSplit {
            split: Split::VALIDATION,
            features: vec![tokens(&[1, 70_000, 2]), tokens(&[]), tokens(&[u32::MAX])],
            labels: vec![Label::Class(3), Label::Value(-0.0), Label::Value(2.5)],
            left_out: 7,
            identity: "of it all".into(),
        }
    }

    #[test]
    fn bytes_give_the_split_back_and_nothing_else_does() {
        let split = encoded();
        let bytes = split.to_bytes().unwrap();
        let read = EncodedSplit::from_bytes(&bytes).unwrap();
        assert_eq!(read, split);
        assert!(matches!(read.labels()[1], Label::Value(value) if value.is_sign_negative()));
        for end in 0..bytes.len() {
            assert_eq!(EncodedSplit::from_bytes(&bytes[..end]), None, "cut at {end}");
        }
        assert_eq!(EncodedSplit::from_bytes(&[&bytes[..], b"x"].concat()), None);
        // A length that nothing stands behind allocates nothing.
        let mut huge = bytes;
        let rows = FORMAT.len() + 4 + "validation".len() + 4 + "of it all".len() + 8;
        huge[rows..rows + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(EncodedSplit::from_bytes(&huge), None);
    }

    #[test]
    fn what_is_not_tokens_has_no_bytes() {
        let samples = EncodedSplit { features: vec![Features::Samples(vec![0.5])], ..encoded() };
        assert_eq!(samples.to_bytes(), None);
        let segments = Features::Tokens { ids: vec![1], segments: vec![256] };
        assert_eq!(EncodedSplit { features: vec![segments], ..encoded() }.to_bytes(), None);
    }
}
