//! Which head a checkpoint has, and whether it is one that answers for whole texts.

use crate::config::{BertConfig, OURS};
use lopper_core::Head;
use lopper_nn::{Named, Source};

/// The head of a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StoredHead {
    /// None.
    Absent,
    /// One that answers for a whole text from its pooled first token.
    Ours(Head),
    /// Another one, in words.
    Other(String),
}

/// Hugging Face's classes, what their heads are for, and how the names of these begin.
const CLASSES: [(&str, &str, &str); 8] = [
    ("BertForTokenClassification", "classification of tokens", "classifier."),
    ("BertForMultipleChoice", "multiple choice", "classifier."),
    ("BertForQuestionAnswering", "answers to questions as spans", "qa_outputs."),
    ("BertForPreTraining", "pre-training", "cls."),
    ("BertForMaskedLM", "masked language modelling", "cls.predictions."),
    ("BertLMHeadModel", "language modelling", "cls.predictions."),
    ("BertForNextSentencePrediction", "next-sentence prediction", "cls.seq_relationship."),
    ("BertForWholeWordMaskedLM", "masked language modelling", "cls.predictions."),
];

/// Goes by `architectures`, because two classes call their heads alike; and by the names where the class is unknown or there
/// is none. A classifier without a pooler below it is never ours.
pub(crate) fn stored_head<S: Source>(named: &Named<'_, S>, config: &BertConfig) -> StoredHead {
    let begins = |start: &str| named.names().any(|name| name.starts_with(start));
    let class = config.architecture();
    let known = CLASSES.iter().find(|(name, ..)| class == Some(*name));
    if let Some((name, what, _)) = known.filter(|(.., start)| begins(start)) {
        return StoredHead::Other(format!("{name}, a head for {what}"));
    }
    if named.contains("classifier.weight") {
        if !begins("bert.pooler.") {
            return StoredHead::Other("a classifier without a pooler below it, as for classification of tokens".into());
        }
        if let Some(class) = class.filter(|class| *class != OURS && *class != "BertModel") {
            tracing::warn!(class, "a class that is not known: its classifier is read as one of whole texts");
        }
        return match config.head() {
            Some(head) => StoredHead::Ours(head.clone()),
            None => StoredHead::Other("a head for several labels at a time, or several numbers".into()),
        };
    }
    let by_name =
        |(_, what, start): &&(&str, &str, &str)| *start != "classifier." && begins(start) && *what != "pre-training";
    match CLASSES.iter().find(by_name) {
        Some((_, what, _)) => StoredHead::Other(format!("a head for {what}")),
        None => match others(named).next() {
            Some(name) => StoredHead::Other(format!("a head that is not known, with {name:?}")),
            None => StoredHead::Absent,
        },
    }
}

/// The names of what lies outside the encoder, the classifier of whole texts included.
pub(crate) fn others<'a, S: Source>(named: &'a Named<'_, S>) -> impl Iterator<Item = &'a str> {
    named.names().filter(|name| !name.starts_with("bert."))
}
