//! The CTC head: which symbols its outputs stand for, and the files that tell transformers.

use crate::config::Wav2Vec2Config;
use crate::config::limits::MAX_OUTPUTS;
use lopper_core::{Artifact, Error, Head, Result};
use lopper_nn::{MAX_BYTES, Reader};
use lopper_weights::read_regular;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;

/// Symbols that fairseq puts before those of a dictionary. The first is its blank.
const FAIRSEQ: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
/// fairseq's dictionaries, one symbol and its count a line: letters, phones, or what a user named.
const DICTIONARIES: [&str; 3] = ["dict.ltr.txt", "dict.phn.txt", "dict.txt"];
const VOCABULARY: &str = "vocab.json";
const TOKENIZER: &str = "tokenizer_config.json";

/// Whether the head can be a CTC head of this model.
///
/// # Errors
/// [`Error::Unsupported`] for another kind of head; [`Error::InvalidValue`] for no symbols, too many, one that occurs
/// twice, or a blank that is none of them.
pub(crate) fn check(head: &Head) -> Result<()> {
    let Head::Ctc { vocabulary, blank } = head else {
        return Err(Error::Unsupported { what: "wav2vec 2.0".into(), feature: "heads other than CTC".into() });
    };
    let mut problems = Vec::new();
    if vocabulary.is_empty() || vocabulary.len() as i64 > MAX_OUTPUTS {
        let expected = format!("from 1 to {MAX_OUTPUTS}");
        problems.push(Error::invalid("vocabulary", format!("{} symbols", vocabulary.len()), expected));
    }
    let mut seen = BTreeSet::new();
    for twice in vocabulary.iter().filter(|symbol| !seen.insert(*symbol)).take(8) {
        problems.push(Error::invalid("vocabulary", format!("with `{twice}` twice"), "every symbol once"));
    }
    if *blank >= vocabulary.len() {
        problems.push(Error::invalid("blank", blank, format!("one of {} outputs, from 0", vocabulary.len())));
    }
    Error::all(problems)
}

/// What the head of a checkpoint with `outputs` outputs means, from the files beside it: Hugging Face's `vocab.json`,
/// whose blank is `config.json`'s `pad_token_id`, or else `tokenizer_config.json`'s `pad_token`, as in a dataset's
/// dictionary; or a fairseq dictionary. Without any, outputs are only numbered.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read, or does not give `outputs` symbols.
pub(crate) fn stored(directory: &Path, config: &Wav2Vec2Config, outputs: usize) -> Result<Head> {
    // Hugging Face's word for the blank, and the first output, as in transformers and fairseq, where nothing names it.
    let blank = usize::try_from(config.pad_token_id()).unwrap_or(usize::MAX);
    if blank >= outputs {
        let reason = format!("pad_token_id, the blank, is {blank}; the head has outputs 0 to {}", outputs - 1);
        return Err(Error::file(directory.join("config.json"), reason));
    }
    let path = directory.join(VOCABULARY);
    if let Some(text) = text(&path)? {
        let tokens = tokens(&Reader::object(text.as_bytes(), &path)?, outputs);
        let vocabulary = tokens.map_err(|e| Error::file(&path, e))?;
        let named = if config.names_padding() { None } else { padding(directory)? };
        let blank = named.and_then(|named| vocabulary.iter().position(|symbol| *symbol == named)).unwrap_or(blank);
        return Ok(Head::Ctc { vocabulary, blank });
    }
    for name in DICTIONARIES {
        let path = directory.join(name);
        let Some(text) = text(&path)? else { continue };
        let symbols = text.lines().map(|line| line.rsplit_once(' ').map_or(line, |(symbol, _)| symbol));
        let own = symbols.filter(|symbol| !symbol.is_empty()).map(str::to_owned);
        let vocabulary: Vec<String> = FAIRSEQ.map(str::to_owned).into_iter().chain(own).collect();
        if vocabulary.len() != outputs {
            let found = vocabulary.len();
            return Err(Error::file(
                path,
                format!("gives {found} symbols with fairseq's four; the head has {outputs}"),
            ));
        }
        return Ok(Head::Ctc { vocabulary, blank: 0 });
    }
    tracing::warn!(checkpoint = %directory.display(), "nothing beside the head tells its symbols: they are numbered");
    Ok(Head::numbered(outputs, blank))
}

/// The `pad_token` of the `tokenizer_config.json` in `directory`, if there is one.
///
/// # Errors
/// [`Error::File`] for a file that is there and cannot be read, or is no JSON object.
fn padding(directory: &Path) -> Result<Option<String>> {
    let path = directory.join(TOKENIZER);
    let Some(text) = text(&path)? else { return Ok(None) };
    let object = Reader::object(text.as_bytes(), &path)?;
    // A token with settings of its own is an object.
    let token = object.get("pad_token").map(|token| token.get("content").unwrap_or(token));
    Ok(token.and_then(Value::as_str).map(str::to_owned))
}

fn text(path: &Path) -> Result<Option<String>> {
    match read_regular(path, MAX_BYTES as u64) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|e| Error::file_caused(path, "not UTF-8", e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file_caused(path, "cannot be read", e)),
    }
}

/// The symbols of a `vocab.json` in the order of their ids.
fn tokens(map: &Map<String, Value>, outputs: usize) -> Result<Vec<String>, String> {
    let mut all = vec![None; outputs];
    for (token, id) in map {
        let place = id.as_u64().and_then(|id| all.get_mut(usize::try_from(id).ok()?));
        let place = place.ok_or_else(|| format!("`{token}` has id {id}; the head has outputs 0 to {}", outputs - 1))?;
        if let Some(other) = place.replace(token.clone()) {
            return Err(format!("`{other}` and `{token}` both have id {id}"));
        }
    }
    let missing = all.iter().position(Option::is_none);
    let all = all.into_iter().collect::<Option<_>>();
    all.ok_or_else(|| format!("no token has id {}; the head has {outputs} outputs", missing.unwrap_or_default()))
}

/// A readable JSON file.
///
/// # Errors
/// When `value` cannot be written.
pub(crate) fn json_file(name: &str, value: &Value) -> Result<Artifact> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::Other(format!("{name} cannot be written: {e}")))?;
    Ok(Artifact { name: name.into(), bytes })
}

/// `vocab.json` and `tokenizer_config.json`, with which transformers makes a `Wav2Vec2CTCTokenizer` that decodes as this
/// head is meant.
///
/// # Errors
/// When a file cannot be made.
pub(crate) fn artifacts(head: &Head) -> Result<Vec<Artifact>> {
    let Head::Ctc { vocabulary, blank } = head else { return Ok(Vec::new()) };
    let ids: Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, symbol)| (symbol.clone(), json!(id))).collect();
    // A special token that is no symbol would be added behind the last output.
    let special =
        |token: &str| vocabulary.iter().position(|s| s == token).filter(|id| id != blank).map(|_| token.to_owned());
    let settings = json!({
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "processor_class": "Wav2Vec2Processor",
        "pad_token": vocabulary.get(*blank),
        "bos_token": special("<s>"),
        "eos_token": special("</s>"),
        "unk_token": special("<unk>"),
        "word_delimiter_token": "|",
        "replace_word_delimiter_char": " ",
        "do_lower_case": false,
    });
    Ok(vec![json_file(VOCABULARY, &Value::Object(ids))?, json_file(TOKENIZER, &settings)?])
}
