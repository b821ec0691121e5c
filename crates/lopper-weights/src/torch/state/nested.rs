//! Tensors of dictionaries that hold one another, under one name each.

use super::{KEYS, StateDict, add, nothing};
use crate::pickle::{Id, Node, Pickle, Value};
use std::borrow::Cow;

/// What scripts and tools put masks under, beside or within what they put the state dict under.
const MASKS: [&str; 6] = ["masks", "mask", "mask_dict", "mask_state_dict", "pruning_mask", "pruning_masks"];
/// Dictionaries within dictionaries.
const DEPTH: usize = 6;
/// What may be looked at and named: dictionaries may hold each other, and one may stand in several places. A key counts as
/// [`KEY`], and a name as its bytes.
const MOST: usize = 32 << 20;
const KEY: usize = 32;

/// The tensors of all dictionaries, those of masks alone where there are such: the names of dictionaries and tensors, joined by
/// dots. The key under which a whole state dict lies is no part of its names.
///
/// # Errors
/// What was tried, where no tensors are; names that occur twice.
pub(crate) fn every_tensor(pickle: &Pickle) -> Result<StateDict, String> {
    let root = pickle.root();
    let masks_of =
        |value: Value<'_>| MASKS.iter().filter_map(|key| value.get(key)).find_map(|masks| within(masks).ok());
    let found = masks_of(root).or_else(|| KEYS.iter().filter_map(|key| root.get(key)).find_map(masks_of));
    let tensors = found.map_or_else(|| within(root), Ok)?;
    StateDict::sorted(tensors, true)
}

/// The tensors of a dictionary and of those in it; at least one.
fn within(value: Value<'_>) -> Result<Vec<(Box<str>, Id)>, String> {
    let mut tensors = Vec::new();
    walk(value, "", 0, &mut MOST.clone(), &mut tensors)?;
    if tensors.is_empty() { Err(nothing(value)) } else { Ok(tensors) }
}

fn walk(
    value: Value<'_>,
    prefix: &str,
    depth: usize,
    left: &mut usize,
    tensors: &mut Vec<(Box<str>, Id)>,
) -> Result<(), String> {
    let mut spend = |amount: usize| {
        *left = left.checked_sub(amount).ok_or("its dictionaries hold each other more often than can be looked at")?;
        Ok::<_, String>(())
    };
    let mut inner = Vec::new();
    for (key, value) in value.entries() {
        spend(KEY)?;
        let is_dictionary = match value.node() {
            Node::Tensor(_) => false,
            Node::Dict(_) => true,
            _ if value.class().is_some_and(|(module, _)| module == "collections") => true,
            _ => continue,
        };
        let key: Cow<'_, str> = match (key.literal(), key.as_i64()) {
            (Some(text), _) => text.into(),
            (None, Some(number)) => number.to_string().into(),
            (None, None) => continue,
        };
        // Before the name is made, because one key may stand in many places.
        spend(prefix.len() + key.len())?;
        let is_container = is_dictionary && depth == 0 && KEYS.contains(&&*key);
        let name = match prefix {
            prefix if is_container => prefix.to_owned(),
            "" => key.into_owned(),
            prefix => format!("{prefix}.{key}"),
        };
        match is_dictionary {
            false => add(tensors, &name, value.id())?,
            true if depth < DEPTH => inner.push((value, name)),
            true => {}
        }
    }
    inner.into_iter().try_for_each(|(value, name)| walk(value, &name, depth + 1, left, tensors))
}
