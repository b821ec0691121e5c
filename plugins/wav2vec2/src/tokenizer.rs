//! The files of a tokenizer: kept as they are for a head that is kept, and made whole for a new one.

use crate::head::json_file;
use crate::told;
use lopper_core::{Artifact, Error, Head, Result};
use lopper_weights::read_regular;
use serde_json::{Map, Value, json};
use std::io::ErrorKind;
use std::path::Path;

/// What a `Wav2Vec2CTCTokenizer` or `Wav2Vec2PhonemeCTCTokenizer` of any version is made from.
const FILES: [&str; 5] =
    ["vocab.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.json"];
/// Longest of them that is kept, in bytes.
const LONGEST: u64 = 1 << 24;
/// The directory of a language model that decodes with beams.
const LANGUAGE_MODEL: &str = "language_model";

/// The tokenizer's files that lie in `directory`, as they are. That a language model there is not kept is told.
///
/// # Errors
/// [`Error::File`] for a file that is there and cannot be read.
pub(crate) fn kept(directory: &Path) -> Result<Vec<Artifact>> {
    let mut all = Vec::new();
    for name in FILES {
        let path = directory.join(name);
        match read_regular(&path, LONGEST) {
            Ok(bytes) => all.push(Artifact { name: name.into(), bytes }),
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(Error::file_caused(path, "cannot be read", e)),
        }
    }
    if directory.join(LANGUAGE_MODEL).is_dir() {
        told::once(format!(
            "{}: its {LANGUAGE_MODEL} is not used and not part of a saved copy: copy it, and alphabet.json, to decode with beams",
            directory.display()
        ));
    }
    Ok(all)
}

/// `vocab.json` and `tokenizer_config.json` for a new head, with which transformers encodes and decodes as the head is
/// meant: a `Wav2Vec2CTCTokenizer` where a symbol ends words, and otherwise a `Wav2Vec2PhonemeCTCTokenizer`, which writes
/// symbols between spaces.
///
/// # Errors
/// When a file cannot be made.
pub(crate) fn new(head: &Head) -> Result<Vec<Artifact>> {
    let Head::Ctc { vocabulary, blank } = head else { return Ok(Vec::new()) };
    let ids: Map<String, Value> =
        vocabulary.iter().enumerate().map(|(id, symbol)| (symbol.clone(), json!(id))).collect();
    // A special token that is no symbol would be added behind the last output.
    let first = |tokens: &[&str]| {
        let place = |token: &&str| vocabulary.iter().position(|s| s == token).filter(|id| id != blank);
        tokens.iter().find(|token| place(token).is_some()).map(|token| (*token).to_owned())
    };
    let delimiter = first(&["|", " "]);
    let mut settings = json!({
        "processor_class": "Wav2Vec2Processor",
        "pad_token": vocabulary.get(*blank),
        "bos_token": first(&["<s>"]),
        "eos_token": first(&["</s>"]),
        "unk_token": first(&["<unk>", "[UNK]"]),
        "word_delimiter_token": delimiter,
        "clean_up_tokenization_spaces": false,
    });
    let class = if delimiter.is_some() {
        settings["replace_word_delimiter_char"] = json!(" ");
        settings["do_lower_case"] = json!(false);
        "Wav2Vec2CTCTokenizer"
    } else {
        settings["phone_delimiter_token"] = json!(" ");
        settings["do_phonemize"] = json!(false);
        "Wav2Vec2PhonemeCTCTokenizer"
    };
    settings["tokenizer_class"] = json!(class);
    Ok(vec![json_file("vocab.json", &Value::Object(ids))?, json_file("tokenizer_config.json", &settings)?])
}
