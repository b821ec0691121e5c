//! What the outputs of a CTC head stand for, by the files that transformers keeps beside it.

use crate::regular::read_regular;
use lopper_core::{Error, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

/// Most outputs that a head may have.
const MOST: usize = 10_000;
/// Longest file that is read, in bytes: parsed, JSON may take many times its size.
const LONGEST: u64 = 1 << 20;
/// Languages that a message names.
const SHOWN: usize = 8;

const VOCABULARY: &str = "vocab.json";
const ADDED: &str = "added_tokens.json";
const TOKENIZER: &str = "tokenizer_config.json";

/// The name of every output of a CTC head, and which of them were made up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputNames {
    /// One for each output, every name once. An output that no file names is called by its number, such as `<31>`.
    pub symbols: Vec<String>,
    /// The outputs that no file names.
    pub unnamed: Vec<usize>,
}

impl OutputNames {
    /// The names of `outputs` outputs by the `vocab.json` in `directory`, and for ids that it does not have by the
    /// `added_tokens.json` and the `added_tokens_decoder` of the `tokenizer_config.json` there: transformers' own CTC script
    /// adds `<s>` and `</s>` behind the vocabulary. `None` without a `vocab.json`.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read or is none of these, an id of the vocabulary that the head has not,
    /// and vocabularies of several languages of which none is chosen.
    pub fn read(directory: &Path, outputs: usize) -> Result<Option<Self>> {
        let Some(vocabulary) = object(&directory.join(VOCABULARY))? else { return Ok(None) };
        let added = object(&directory.join(ADDED))?.unwrap_or_default();
        let tokenizer = object(&directory.join(TOKENIZER))?.unwrap_or_default();
        Self::of(&vocabulary, &added, &tokenizer, outputs)
            .map(Some)
            .map_err(|reason| Error::file(directory.join(VOCABULARY), reason))
    }

    /// As [`read`](Self::read), from the files' content: `vocab.json`, `added_tokens.json` and `tokenizer_config.json`.
    /// More than 10,000 outputs are refused.
    ///
    /// # Errors
    /// As one text, what is wrong with the vocabulary.
    pub fn of(
        vocabulary: &Map<String, Value>,
        added: &Map<String, Value>,
        tokenizer: &Map<String, Value>,
        outputs: usize,
    ) -> Result<Self, String> {
        if outputs == 0 || outputs > MOST {
            return Err(format!("is read for heads of 1 to {MOST} outputs, not of {outputs}"));
        }
        let mut names: Vec<Option<String>> = vec![None; outputs];
        for (token, id) in language(vocabulary, tokenizer)? {
            let place = id.as_u64().and_then(|id| names.get_mut(usize::try_from(id).ok()?));
            let place =
                place.ok_or_else(|| format!("`{token}` has id {id}; the head has outputs 0 to {}", outputs - 1))?;
            if let Some(other) = place.replace(token.clone()) {
                return Err(format!("`{other}` and `{token}` both have id {id}"));
            }
        }
        let mut used: BTreeSet<String> = names.iter().flatten().cloned().collect();
        // Tokens that were added behind a head of fewer outputs are ones that it never writes.
        let listed = added.iter().filter_map(|(token, id)| Some((id.as_u64()?, token.as_str())));
        let decoder = tokenizer.get("added_tokens_decoder").and_then(Value::as_object);
        let decoder = decoder.into_iter().flatten().filter_map(|(id, token)| Some((id.parse().ok()?, content(token)?)));
        for (id, token) in listed.chain(decoder) {
            let place = usize::try_from(id).ok().and_then(|id| names.get_mut(id));
            if let Some(place @ None) = place
                && used.insert(token.to_owned())
            {
                *place = Some(token.to_owned());
            }
        }
        let unnamed = (0..outputs).filter(|output| names[*output].is_none()).collect();
        let symbols = (0..).zip(names).map(|(output, name)| name.unwrap_or_else(|| number(output, &used))).collect();
        Ok(Self { symbols, unnamed })
    }

    /// One line about the outputs that no file names, for a warning; `None` when all have names.
    pub fn told(&self) -> Option<String> {
        let (first, count) = (self.unnamed.first()?, self.unnamed.len());
        let all = self.unnamed.iter().take(SHOWN).map(usize::to_string).collect::<Vec<_>>().join(", ");
        let more = if count > SHOWN { ", …" } else { "" };
        Some(format!(
            "{count} of {} outputs ({all}{more}) have no symbol in {VOCABULARY}, {ADDED} or {TOKENIZER}: they are called by \
             their numbers, such as `{}`",
            self.symbols.len(),
            self.symbols[*first]
        ))
    }
}

/// The vocabulary itself, or of vocabularies of several languages the one of `target_lang`.
fn language<'a>(
    vocabulary: &'a Map<String, Value>,
    tokenizer: &Map<String, Value>,
) -> Result<&'a Map<String, Value>, String> {
    if vocabulary.is_empty() || !vocabulary.values().all(Value::is_object) {
        return Ok(vocabulary);
    }
    let chosen = tokenizer.get("target_lang").and_then(Value::as_str);
    let found = chosen.and_then(|language| vocabulary.get(language)).and_then(Value::as_object);
    found.ok_or_else(|| {
        let names = vocabulary.keys().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = if vocabulary.len() > SHOWN { ", …" } else { "" };
        let chosen = chosen.map_or("names none of them".into(), |language| format!("names `{language}`"));
        format!(
            "holds vocabularies of several languages ({names}{more}), and the target_lang of {TOKENIZER} {chosen}; it must \
             be one of them"
        )
    })
}

/// The text of a token, which may be an object with settings of its own.
fn content(token: &Value) -> Option<&str> {
    token.get("content").unwrap_or(token).as_str()
}

/// What an output without a name is called; brackets are added while another output has that name.
fn number(output: usize, used: &BTreeSet<String>) -> String {
    let mut name = format!("<{output}>");
    while used.contains(&name) {
        name = format!("<{name}>");
    }
    name
}

/// The object in a file, if there is one.
fn object(path: &Path) -> Result<Option<Map<String, Value>>> {
    match read_regular(path, LONGEST) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::file_caused(path, "not a JSON object", e))
        }
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file_caused(path, "cannot be read", e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(vocabulary: Value, added: Value, tokenizer: Value, outputs: usize) -> Result<OutputNames, String> {
        let map = |value: Value| value.as_object().cloned().unwrap();
        OutputNames::of(&map(vocabulary), &map(added), &map(tokenizer), outputs)
    }

    #[test]
    fn outputs_are_named_by_three_files_and_else_numbered() {
        let vocabulary = || json!({"|": 0, "a": 1, "[UNK]": 2, "[PAD]": 3});
        let plain = names(vocabulary(), json!({}), json!({}), 4).unwrap();
        assert_eq!((plain.symbols.join(" "), plain.told()), ("| a [UNK] [PAD]".into(), None));
        let decoder =
            json!({"added_tokens_decoder": {"5": {"content": "</s>", "special": true}, "9": {"content": "x"}}});
        let added = names(vocabulary(), json!({"<s>": 4, "y": 8}), decoder, 6).unwrap();
        assert_eq!((added.symbols[4..].join(" "), added.unnamed.len()), ("<s> </s>".into(), 0));
        // Gaps, a token that is there twice, and a number that is a symbol already.
        let gaps = names(json!({"a": 0, "<3>": 4, "b": 2}), json!({"a": 1}), json!({}), 6).unwrap();
        assert_eq!((gaps.symbols.join(" "), gaps.unnamed.as_slice()), ("a <1> b <<3>> <3> <5>".into(), &[1, 3, 5][..]));
        assert!(gaps.told().unwrap().starts_with("3 of 6 outputs (1, 3, 5) have no symbol"));
        let many = names(json!({"a": 0}), json!({}), json!({}), 12).unwrap();
        assert!(many.told().unwrap().starts_with("11 of 12 outputs (1, 2, 3, 4, 5, 6, 7, 8, …)"));
    }

    #[test]
    fn a_vocabulary_that_the_head_does_not_have_is_refused() {
        let refused = |vocabulary, outputs| names(vocabulary, json!({}), json!({}), outputs).unwrap_err();
        assert_eq!(refused(json!({"a": 0, "b": 2}), 2), "`b` has id 2; the head has outputs 0 to 1");
        assert_eq!(refused(json!({"a": 0, "b": 0}), 2), "`a` and `b` both have id 0");
        assert_eq!(refused(json!({"a": -1}), 2), "`a` has id -1; the head has outputs 0 to 1");
        assert!(refused(json!({"a": 0}), 10_001).contains("not of 10001"));
    }

    #[test]
    fn one_of_several_languages_is_chosen_by_name() {
        let nested = || json!({"eng": {"a": 0, "b": 1}, "fra": {"é": 1, "b": 0}});
        let of = |tokenizer| names(nested(), json!({}), tokenizer, 2);
        assert_eq!(of(json!({"target_lang": "fra"})).unwrap().symbols, ["b", "é"]);
        let message = of(json!({})).unwrap_err();
        assert!(message.contains("several languages (eng, fra)") && message.contains("names none"), "{message}");
        assert!(of(json!({"target_lang": "deu"})).unwrap_err().contains("names `deu`"));
    }
}
