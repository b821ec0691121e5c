//! The `vocab.json` of `transformers`, and what the files beside it say.

use crate::problems::excerpt;
use crate::text;
use lopper_core::{Error, Result};
use lopper_weights::OutputNames;
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

/// What the files beside a `vocab.json` say.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub(crate) padding: Padding,
    /// `word_delimiter_token` of `tokenizer_config.json`.
    pub(crate) delimiter: Option<String>,
    /// Outputs of the CTC model whose `config.json` it is.
    outputs: Option<usize>,
    tokenizer: Map<String, Value>,
    added: Map<String, Value>,
}

impl Beside {
    /// What lies beside the vocabulary at `path`, in files of at most `most` bytes.
    ///
    /// # Errors
    /// [`Error::File`] for a file that is there and cannot be read, or is no JSON object.
    pub(crate) fn read(path: &Path, most: u64) -> Result<Self> {
        let tokenizer = object(&path.with_file_name("tokenizer_config.json"), most)?;
        let config = object(&path.with_file_name("config.json"), most)?;
        let added = object(&path.with_file_name("added_tokens.json"), most)?;
        let symbol = tokenizer.get("pad_token").and_then(content);
        let number = |key: &str| config.get(key).and_then(Value::as_u64).and_then(|id| usize::try_from(id).ok());
        let classes = config.get("architectures").and_then(Value::as_array);
        let ctc = classes.is_some_and(|all| all.iter().filter_map(Value::as_str).any(|class| class.contains("CTC")));
        Ok(Self {
            padding: Padding { symbol, id: number("pad_token_id") },
            delimiter: tokenizer.get("word_delimiter_token").and_then(content),
            outputs: number("vocab_size").filter(|_| ctc),
            tokenizer,
            added,
        })
    }

    /// The symbols of the `vocab.json` at `path` whose text is `bytes`: of all outputs of the model beside it, where there is
    /// one that has them, and otherwise of the file alone. Outputs without a name are told.
    ///
    /// # Errors
    /// [`Error::File`] for what is no vocabulary.
    pub(crate) fn symbols(&self, bytes: &[u8], path: &Path) -> Result<Vec<String>> {
        let refuse = |reason| Error::file(path, reason);
        let Ok(object) = serde_json::from_slice::<Map<String, Value>>(bytes) else {
            return symbols(bytes).map_err(refuse);
        };
        let several = !object.is_empty() && object.values().all(Value::is_object);
        let most = object.values().filter_map(Value::as_u64).max().unwrap_or_default();
        let whole = self.outputs.filter(|outputs| several || most < *outputs as u64);
        let Some(outputs) = whole else { return symbols(bytes).map_err(refuse) };
        let names = OutputNames::of(&object, &self.added, &self.tokenizer, outputs).map_err(refuse)?;
        if let Some(line) = names.told() {
            tracing::warn!("{}: {line}", path.display());
        }
        Ok(names.symbols)
    }
}

impl Padding {
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

/// The text of a token, which may be an object with settings of its own; `None` for null.
pub(crate) fn content(token: &Value) -> Option<String> {
    token.get("content").unwrap_or(token).as_str().map(str::to_owned)
}
