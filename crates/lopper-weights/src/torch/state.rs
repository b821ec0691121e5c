//! The state dict of a pickled checkpoint.

use crate::listed::first_names;
use crate::pickle::{Id, Node, Pickle, Value};

pub(crate) mod nested;

/// Where training scripts put the state dict: fairseq and Hugging Face's trainers, Lightning, many others, DeepSpeed.
const KEYS: [&str; 4] = ["model", "state_dict", "model_state_dict", "module"];
/// Most tensors.
const MAX_TENSORS: usize = 100_000;
/// Longest name of a tensor.
const MAX_NAME: usize = 1024;

/// Names and tensors, in the order of names.
#[derive(Debug)]
pub(crate) struct StateDict {
    pub(crate) tensors: Vec<(Box<str>, Id)>,
    /// Whether it is the whole of what is pickled.
    pub(crate) whole: bool,
}

impl StateDict {
    /// Finds it: under one of [`KEYS`], or else at the top level.
    ///
    /// # Errors
    /// What was tried, where no tensors are; what is wrong with the names.
    pub(crate) fn find(pickle: &Pickle) -> Result<Self, String> {
        let root = pickle.root();
        let nested = KEYS.iter().filter_map(|key| root.get(key)).find(|value| holds_tensors(*value));
        let dict = match nested {
            Some(dict) => dict,
            None if holds_tensors(root) => root,
            None => return Err(nothing(root)),
        };
        let mut tensors = Vec::new();
        for (name, tensor) in named(dict) {
            add(&mut tensors, name.literal().unwrap_or_default(), tensor.id())?;
        }
        Self::sorted(tensors, nested.is_none())
    }

    /// Brings them into order.
    fn sorted(mut tensors: Vec<(Box<str>, Id)>, whole: bool) -> Result<Self, String> {
        tensors.sort_by(|(a, _), (b, _)| a.cmp(b));
        if let Some(twice) = tensors.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(format!("holds two tensors {:?}", twice[0].0));
        }
        Ok(Self { tensors, whole })
    }
}

fn add(tensors: &mut Vec<(Box<str>, Id)>, name: &str, tensor: Id) -> Result<(), String> {
    if tensors.len() == MAX_TENSORS {
        return Err(format!("holds more than {MAX_TENSORS} tensors"));
    }
    if name.len() > MAX_NAME {
        return Err(format!("a tensor has a name of {} bytes; {MAX_NAME} are accepted", name.len()));
    }
    tensors.push((name.into(), tensor));
    Ok(())
}

fn named<'a>(value: Value<'a>) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
    value.entries().filter(|(name, tensor)| name.literal().is_some() && matches!(tensor.node(), Node::Tensor(_)))
}

fn holds_tensors(value: Value<'_>) -> bool {
    named(value).next().is_some()
}

fn nothing(root: Value<'_>) -> String {
    let keys = first_names(root.entries().filter_map(|(key, _)| key.literal()).filter(|key| key.len() <= 100));
    let there = if keys.is_empty() { format!("it is {}", root.kind()) } else { format!("it holds {keys}") };
    let tried = KEYS.map(|key| format!("`{key}`")).join(", ");
    format!("holds no tensors by name, neither at its top level nor under {tried}; {there}")
}
