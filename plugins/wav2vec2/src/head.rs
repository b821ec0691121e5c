//! The CTC head: which symbols its outputs stand for.

use crate::config::Wav2Vec2Config;
use crate::config::limits::MAX_OUTPUTS;
use crate::told;
use lopper_core::{Artifact, Error, Head, Result};
use lopper_nn::{MAX_BYTES, Reader};
use lopper_weights::{OutputNames, read_regular};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// Symbols that fairseq puts before those of a dictionary. The first is its blank.
const FAIRSEQ: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];
/// fairseq's dictionaries, one symbol and its count a line: letters, phones, or what a user named.
const DICTIONARIES: [&str; 3] = ["dict.ltr.txt", "dict.phn.txt", "dict.txt"];
/// Transformers' file of symbols.
pub(crate) const VOCABULARY: &str = "vocab.json";
/// Where transformers names the padding token, newest first.
const TOKENIZERS: [&str; 2] = ["tokenizer_config.json", "special_tokens_map.json"];

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

/// What the head of a checkpoint with `outputs` outputs means, from the files beside it: Hugging Face's `vocab.json` and
/// added tokens, whose blank is `config.json`'s `pad_token_id`, or else `tokenizer_config.json`'s `pad_token`, as in a
/// dataset's dictionary; or a fairseq dictionary. Outputs that nothing names are numbered, and that is told.
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
    if let Some(names) = OutputNames::read(directory, outputs)? {
        if let Some(line) = names.told() {
            told::once(format!("{}: {line}", directory.display()));
        }
        let vocabulary = names.symbols;
        let named = if config.names_padding() { None } else { padding(directory)? };
        let blank = named.and_then(|named| vocabulary.iter().position(|symbol| *symbol == named)).unwrap_or(blank);
        return Ok(Head::Ctc { vocabulary, blank });
    }
    for name in DICTIONARIES {
        let path = directory.join(name);
        let Some(text) = text(&path)? else { continue };
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        // fairseq's own mark that a special symbol is meant to be written anew.
        let lines = lines.map(|line| line.strip_suffix(" #fairseq:overwrite").unwrap_or(line));
        let own = lines.map(|line| line.rsplit_once(' ').map_or(line, |(symbol, _)| symbol).to_owned());
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
    told::once(format!("{}: nothing beside the head tells its symbols: they are numbered", directory.display()));
    Ok(Head::numbered(outputs, blank))
}

/// The `pad_token` that transformers' files in `directory` name, if one does.
///
/// # Errors
/// [`Error::File`] for a file that is there and cannot be read, or is no JSON object.
fn padding(directory: &Path) -> Result<Option<String>> {
    for name in TOKENIZERS {
        let path = directory.join(name);
        let Some(text) = text(&path)? else { continue };
        let object = Reader::object(text.as_bytes(), &path)?;
        // A token with settings of its own is an object.
        let token = object.get("pad_token").map(|token| token.get("content").unwrap_or(token));
        if let Some(token) = token.and_then(Value::as_str) {
            return Ok(Some(token.to_owned()));
        }
    }
    Ok(None)
}

fn text(path: &Path) -> Result<Option<String>> {
    match read_regular(path, MAX_BYTES as u64) {
        Ok(bytes) => String::from_utf8(bytes).map(Some).map_err(|e| Error::file_caused(path, "not UTF-8", e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Error::file_caused(path, "cannot be read", e)),
    }
}

/// A readable JSON file.
///
/// # Errors
/// When `value` cannot be written.
pub(crate) fn json_file(name: &str, value: &Value) -> Result<Artifact> {
    let bytes = serde_json::to_vec_pretty(value).map_err(|e| Error::Other(format!("{name} cannot be written: {e}")))?;
    Ok(Artifact { name: name.into(), bytes })
}
