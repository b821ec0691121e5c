//! The `vocab.json` of `transformers`, and what the files beside it say.

use crate::problems::excerpt;
use crate::text;
use lopper_core::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// The symbols of a `vocab.json` in the order of their ids.
///
/// # Errors
/// As one text: what is not an object from symbols to the ids 0, 1, 2 and on.
pub(crate) fn symbols(bytes: &[u8]) -> Result<Vec<String>, String> {
    let object = match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => object,
        Ok(_) => return Err("is not a JSON object from symbols to ids".into()),
        Err(e) => return Err(format!("is not JSON: {e}")),
    };
    let mut symbols: Vec<Option<String>> = vec![None; object.len()];
    for (symbol, id) in &object {
        let place = id.as_u64().and_then(|id| symbols.get_mut(usize::try_from(id).ok()?));
        match place {
            Some(place @ None) => *place = Some(symbol.clone()),
            _ => {
                let (symbol, id) = (excerpt(symbol), excerpt(&id.to_string()));
                let ids = format!("every id from 0 to {} once", object.len().saturating_sub(1));
                return Err(format!("the id of {symbol} is {id}; {ids} was expected"));
            }
        }
    }
    Ok(symbols.into_iter().flatten().collect())
}

/// What the files beside a `vocab.json` say of its padding symbol, which is CTC's blank. fairseq's blank is `<s>`, so a
/// dictionary of fairseq's in this layout has a `<pad>` that is not the blank. `transformers` trains with the output that
/// `config.json` numbers, so that one comes first.
#[derive(Debug, Default)]
pub(crate) struct Padding {
    /// `pad_token_id` of `config.json`.
    id: Option<usize>,
    /// `pad_token` of `tokenizer_config.json`.
    symbol: Option<String>,
}

impl Padding {
    /// What lies beside the vocabulary at `path`, in files of at most `most` bytes.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is there and cannot be read, or is no JSON object.
    pub(crate) fn beside(path: &Path, most: u64) -> Result<Self> {
        let tokenizer = object(&path.with_file_name("tokenizer_config.json"), most)?;
        let config = object(&path.with_file_name("config.json"), most)?;
        let symbol = tokenizer.get("pad_token").and_then(|token| match token {
            Value::String(token) => Some(token.clone()),
            // A token with settings of its own.
            token => token.get("content")?.as_str().map(str::to_owned),
        });
        let id = config.get("pad_token_id").and_then(Value::as_u64).and_then(|id| usize::try_from(id).ok());
        Ok(Self { symbol, id })
    }

    /// The output that is the blank: the numbered one, or else the named one, where it is one of `symbols`; otherwise
    /// `<pad>` or `[PAD]`.
    ///
    /// # Errors
    /// As one text, when nothing names one.
    pub(crate) fn output(&self, symbols: &[String]) -> Result<usize, String> {
        let find = |name: &str| symbols.iter().position(|symbol| symbol == name);
        let numbered = self.id.filter(|id| *id < symbols.len());
        let named = || self.symbol.as_deref().and_then(find);
        numbered
            .or_else(named)
            .or_else(|| find("<pad>"))
            .or_else(|| find("[PAD]"))
            .ok_or_else(|| "has neither `<pad>` nor `[PAD]`, which is the blank of CTC".into())
    }
}

/// The object in a file; an empty one where there is no file.
fn object(path: &Path, most: u64) -> Result<Map<String, Value>> {
    if !path.exists() {
        return Ok(Map::new());
    }
    let bytes = text::bytes(path, most).map_err(|reason| Error::file(path, reason))?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::file(path, "is not a JSON object")),
        Err(e) => Err(Error::file_caused(path, "is not JSON", e)),
    }
}
