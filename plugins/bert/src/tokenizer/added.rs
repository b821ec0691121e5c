//! Tokens that are found in a text before it is split into words: special ones, and those added behind a vocabulary.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Longest list of added tokens; the largest published ones have some hundreds.
const MOST: usize = 100_000;

/// One token with its rules, as Hugging Face's `AddedToken` has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Added {
    pub(super) content: String,
    /// Its id as a file states it.
    pub(super) id: Option<u64>,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    /// Whether it is looked for in the normalised text.
    normalized: bool,
    special: bool,
}

impl Added {
    /// A token that is given as its text alone.
    pub(super) fn plain(content: &str, special: bool) -> Self {
        let content = content.to_owned();
        Self { content, id: None, single_word: false, lstrip: false, rstrip: false, normalized: !special, special }
    }

    /// The text itself, or a serialised `AddedToken`. `special` holds for one that does not say it.
    pub(super) fn parse(value: &Value, special: bool) -> Option<Self> {
        if let Some(content) = value.as_str() {
            return Some(Self::plain(content, special));
        }
        let flag = |key: &str| match value.get(key) {
            None | Some(Value::Null) => Some(None),
            Some(flag) => flag.as_bool().map(Some),
        };
        let special = flag("special")?.unwrap_or(special);
        Some(Self {
            content: value.get("content")?.as_str()?.to_owned(),
            id: None,
            single_word: flag("single_word")?.unwrap_or(false),
            lstrip: flag("lstrip")?.unwrap_or(false),
            rstrip: flag("rstrip")?.unwrap_or(false),
            normalized: flag("normalized")?.unwrap_or(!special),
            special,
        })
    }

    /// As an entry of `added_tokens` in a `tokenizer.json`.
    pub(super) fn to_json(&self, id: u64) -> Value {
        json!({"id": id, "content": self.content, "single_word": self.single_word, "lstrip": self.lstrip,
            "rstrip": self.rstrip, "normalized": self.normalized, "special": self.special})
    }
}

/// `added_tokens.json`: an object from tokens to their ids, in the order of ids. `special` tells which are special.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_file(bytes: &[u8], special: impl Fn(&str) -> bool) -> Result<Vec<Added>, String> {
    let map: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| format!("not a JSON object: {e}"))?;
    if map.len() > MOST {
        return Err(format!("holds {} tokens; {MOST} are accepted", map.len()));
    }
    let mut by_id = BTreeMap::new();
    for (content, id) in &map {
        let number = id.as_u64().ok_or_else(|| format!("`{content}` has the id {id}; a whole number was expected"))?;
        let token = Added { id: Some(number), ..Added::plain(content, special(content)) };
        if let Some(Added { content: other, .. }) = by_id.insert(number, token) {
            return Err(format!("`{other}` and `{content}` have the same id, {number}"));
        }
    }
    Ok(by_id.into_values().collect())
}

/// `added_tokens_decoder` of a `tokenizer_config.json`: an object from ids to tokens, in the order of ids.
///
/// # Errors
/// What is wrong with it.
pub(super) fn parse_decoder(value: &Value) -> Result<Vec<Added>, String> {
    let map = value.as_object().ok_or_else(|| format!("added_tokens_decoder is {value}; an object was expected"))?;
    if map.len() > MOST {
        return Err(format!("added_tokens_decoder holds {} tokens; {MOST} are accepted", map.len()));
    }
    let mut by_id = BTreeMap::new();
    for (id, token) in map {
        let read = id.parse().ok().zip(Added::parse(token, false).filter(|_| token.is_object()));
        let Some((id, token)) = read else {
            return Err(format!("added_tokens_decoder has {id:?}: {token}; an id and a token were expected"));
        };
        by_id.insert(id, Added { id: Some(id), ..token });
    }
    Ok(by_id.into_values().collect())
}

/// Puts tokens into the `added_tokens` of a `tokenizer.json` whose model has `vocabulary`. Rules of what is there already
/// are replaced where `overrule` says so, as transformers does for `added_tokens_decoder`.
///
/// # Errors
/// A token whose stated id is not the one that it has in the vocabulary, or gets behind it.
pub(super) fn put(
    added: &mut Vec<Value>,
    tokens: &[Added],
    vocabulary: &Map<String, Value>,
    overrule: bool,
) -> Result<(), String> {
    let id_of = |entry: &Value| entry.get("id").and_then(Value::as_u64);
    let mut next = added.iter().filter_map(id_of).map(|id| id.saturating_add(1)).max().unwrap_or(0);
    next = next.max(vocabulary.len() as u64);
    let place = |(at, entry): (usize, &Value)| Some((entry.get("content")?.as_str()?.to_owned(), at));
    let mut places: BTreeMap<String, usize> = added.iter().enumerate().filter_map(place).collect();
    for token in tokens {
        let there = places.get(&token.content).copied();
        let known = there.and_then(|at| id_of(&added[at]));
        let known = known.or_else(|| vocabulary.get(&token.content).and_then(Value::as_u64));
        let id = known.unwrap_or(next);
        if let Some(stated) = token.id.filter(|stated| *stated != id) {
            let has = if known.is_some() { "it has" } else { "behind the vocabulary and the tokens before it follows" };
            return Err(format!("`{}` is said to have the id {stated}; {has} {id}", token.content));
        }
        match there {
            Some(at) if overrule => {
                if token.to_json(id) != added[at] {
                    added[at] = token.to_json(id);
                }
            }
            Some(_) => {}
            None => {
                places.insert(token.content.clone(), added.len());
                added.push(token.to_json(id));
            }
        }
        next = next.max(id.saturating_add(1));
    }
    Ok(())
}
