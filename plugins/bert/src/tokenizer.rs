//! WordPiece: from text to ids, as Hugging Face's `BertTokenizerFast` does it.

use crate::config::BertConfig;
use lopper_core::{Artifact, Error, Features, Input, Inputs, Preprocessor, Result};
use lopper_nn::MAX_BYTES;
use lopper_weights::read_regular;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use tch::Tensor;
use tokenizers::utils::truncation::{TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{PostProcessor, Tokenizer};

/// The files a tokenizer can consist of; those found are kept, byte for byte, for saved models.
const FILES: [&str; 4] = ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"];
/// Longest of them that is read, in bytes; the largest published ones have 20 MB.
const LONGEST: u64 = 64 << 20;

/// Turns texts and pairs of texts into token ids and segments.
pub struct BertTokenizer {
    tokenizer: Tokenizer,
    pad_id: i64,
    max_length: usize,
    segments: i64,
    identity: String,
    artifacts: Vec<Artifact>,
}

impl BertTokenizer {
    /// Reads the tokenizer of a checkpoint directory: `tokenizer.json`, or `vocab.txt`, either with the casing of
    /// `tokenizer_config.json`. `None` when the directory has neither.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be understood, lacks a special token, or has an id that the model's
    /// embeddings do not.
    pub fn read(directory: &Path, config: &BertConfig) -> Result<Option<Self>> {
        let mut artifacts = Vec::new();
        for name in FILES {
            let path = directory.join(name);
            match read_regular(&path, LONGEST) {
                Ok(bytes) => artifacts.push(Artifact { name: name.into(), bytes }),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(Error::file_caused(path, "cannot be read", e)),
            }
        }
        let find = |name: &str| artifacts.iter().find(|a| a.name == name).map(|a| a.bytes.as_slice());
        let settings = match find("tokenizer_config.json") {
            Some(bytes) => Settings::parse(bytes, directory.join("tokenizer_config.json"))?,
            None => Settings::default(),
        };
        let (path, description) = match (find("tokenizer.json"), find("vocab.txt")) {
            (Some(bytes), _) => {
                let path = directory.join("tokenizer.json");
                let description = from_json(bytes, &settings).map_err(|reason| Error::file(&path, reason))?;
                (path, description)
            }
            (None, Some(bytes)) => {
                let path = directory.join("vocab.txt");
                let description = from_vocabulary(bytes, config.vocab_size(), &settings)
                    .map_err(|reason| Error::file(&path, reason))?;
                (path, description)
            }
            (None, None) => return Ok(None),
        };
        let text = description.to_string();
        let tokenizer =
            Tokenizer::from_bytes(text.as_bytes()).map_err(|e| Error::file_caused(&path, "not a tokenizer", e))?;
        let largest = tokenizer.get_vocab(true).into_iter().max_by_key(|(_, id)| *id);
        match largest {
            None => return Err(Error::file(path, "an empty vocabulary; at least one token is needed")),
            Some((token, id)) if i64::from(id) >= config.vocab_size() => {
                let reason =
                    format!("`{token}` has id {id}; config.json's vocab_size allows up to {}", config.vocab_size() - 1);
                return Err(Error::file(path, reason));
            }
            Some(_) => {}
        }
        let pad_id = tokenizer.token_to_id(&settings.pad).map(i64::from).or(config.pad_token_id()).unwrap_or(0);
        let (max_length, segments) = (config.max_position_embeddings() as usize, config.type_vocab_size());
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes()).update(format!("|{pad_id}|{max_length}|{segments}").as_bytes());
        let identity = format!("bert-wordpiece-{}", hasher.finalize().to_hex());
        Ok(Some(Self { tokenizer, pad_id, max_length, segments, identity, artifacts }))
    }

    /// The files it was read from, unchanged.
    pub fn artifacts(&self) -> &[Artifact] {
        &self.artifacts
    }

    fn limit(&self, asked: Option<u32>, special: usize, texts: usize) -> Result<usize> {
        let least = special + texts;
        let limit = asked.map_or(self.max_length, |n| n as usize);
        if limit > self.max_length || limit < least {
            let expected = format!(
                "from {least} ({special} special tokens and one for each text) to {} tokens (max_position_embeddings)",
                self.max_length
            );
            return Err(Error::invalid("max_length", limit, expected));
        }
        Ok(limit)
    }
}

impl Preprocessor for BertTokenizer {
    fn features(&self, input: Input<'_>, max_length: Option<u32>) -> Result<Features> {
        let Input::Text { first, second } = input else {
            return Err(Error::Unsupported { what: "BERT".into(), feature: "inputs other than text".into() });
        };
        if second.is_some() && self.segments < 2 {
            let feature = format!("pairs of texts with type_vocab_size {}", self.segments);
            return Err(Error::Unsupported { what: "this BERT".into(), feature });
        }
        let failed = |e: tokenizers::Error| Error::Other(format!("the tokenizer failed: {e}"));
        let encode = |text: &str| self.tokenizer.encode_fast(text, false).map_err(failed);
        let (first, second) = (encode(first)?, second.map(encode).transpose()?);
        let special = self.tokenizer.get_post_processor().map_or(0, |p| p.added_tokens(second.is_some()));
        let limit = self.limit(max_length, special, 1 + usize::from(second.is_some()))?;
        let rule = TruncationParams {
            max_length: limit - special,
            strategy: TruncationStrategy::LongestFirst,
            ..TruncationParams::default()
        };
        let (first, second) = truncate_encodings(first, second, &rule).map_err(failed)?;
        let encoding = self.tokenizer.post_process(first, second, true).map_err(failed)?;
        Ok(Features::Tokens { ids: encoding.get_ids().to_vec(), segments: encoding.get_type_ids().to_vec() })
    }

    fn collate(&self, features: &[&Features]) -> Result<Inputs> {
        let length = features.iter().map(|f| f.len()).max().unwrap_or(0);
        if length == 0 {
            return Err(Error::invalid("batch", format!("{} empty inputs", features.len()), "at least one token"));
        }
        let entries = features.len() * length;
        let (mut ids, mut mask, mut types) = (vec![self.pad_id; entries], vec![0i64; entries], vec![0i64; entries]);
        for (row, features) in features.iter().enumerate() {
            let Features::Tokens { ids: tokens, segments } = features else {
                return Err(Error::Unsupported { what: "BERT".into(), feature: "features other than tokens".into() });
            };
            if tokens.len() != segments.len() {
                let expected = format!("one for each of the {} tokens", tokens.len());
                return Err(Error::invalid("segments", format!("{} entries", segments.len()), expected));
            }
            for (column, (token, segment)) in tokens.iter().zip(segments).enumerate() {
                let at = row * length + column;
                (ids[at], mask[at], types[at]) = (i64::from(*token), 1, i64::from(*segment));
            }
        }
        let shape = [features.len() as i64, length as i64];
        let tensor = |values: &[i64]| Ok::<_, Error>(Tensor::f_from_slice(values)?.f_view(shape)?);
        Ok(Inputs::from([
            ("input_ids", tensor(&ids)?),
            ("attention_mask", tensor(&mask)?),
            ("token_type_ids", tensor(&types)?),
        ]))
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }
}

/// What `tokenizer_config.json` says, with the defaults of Hugging Face's `BertTokenizerFast`.
struct Settings {
    lower_case: bool,
    strip_accents: Option<bool>,
    chinese_chars: bool,
    /// Whether the class is BERT's, whose settings overrule `tokenizer.json`.
    overrules: bool,
    unknown: String,
    separator: String,
    pad: String,
    class: String,
    mask: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self::from_map(&Map::new()).unwrap_or_else(|_| unreachable!("an empty map has no wrong value"))
    }
}

impl Settings {
    fn parse(bytes: &[u8], path: PathBuf) -> Result<Self> {
        if bytes.len() > MAX_BYTES {
            let reason = format!("is {} bytes long; at most {MAX_BYTES} are accepted", bytes.len());
            return Err(Error::file(path, reason));
        }
        let map = serde_json::from_slice(bytes).map_err(|e| Error::file_caused(&path, "not a JSON object", e))?;
        Self::from_map(&map).map_err(|problems| Error::file(path, problems.join("; ")))
    }

    fn from_map(map: &Map<String, Value>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut flag = |key: &str| match map.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::Bool(value)) => Some(*value),
            Some(other) => {
                problems.push(format!("{key} is {other}; true, false or null would be accepted"));
                None
            }
        };
        let (lower_case, strip_accents) = (flag("do_lower_case").unwrap_or(true), flag("strip_accents"));
        let chinese_chars = flag("tokenize_chinese_chars").unwrap_or(true);
        let mut token = |key: &str, default: &str| match map.get(key) {
            None | Some(Value::Null) => default.to_owned(),
            // Either the text itself or a serialised AddedToken.
            Some(value) => value.as_str().or_else(|| value.get("content")?.as_str()).map_or_else(
                || {
                    problems.push(format!("{key} is {value}; a token's text would be accepted"));
                    default.to_owned()
                },
                str::to_owned,
            ),
        };
        let settings = Self {
            lower_case,
            strip_accents,
            chinese_chars,
            overrules: map
                .get("tokenizer_class")
                .and_then(Value::as_str)
                .is_none_or(|class| class.starts_with("BertTokenizer")),
            unknown: token("unk_token", "[UNK]"),
            separator: token("sep_token", "[SEP]"),
            pad: token("pad_token", "[PAD]"),
            class: token("cls_token", "[CLS]"),
            mask: token("mask_token", "[MASK]"),
        };
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }
}

/// `tokenizer.json` without its own truncation and padding, and with the casing of `tokenizer_config.json`.
fn from_json(bytes: &[u8], settings: &Settings) -> Result<Value, String> {
    let mut map: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| format!("not a JSON object: {e}"))?;
    map.insert("truncation".into(), Value::Null);
    map.insert("padding".into(), Value::Null);
    if let Some(normalizer) = map.get_mut("normalizer").and_then(Value::as_object_mut)
        && settings.overrules
        && normalizer.get("type").is_some_and(|kind| kind == "BertNormalizer")
    {
        normalizer.insert("lowercase".into(), json!(settings.lower_case));
        normalizer.insert("strip_accents".into(), json!(settings.strip_accents));
        normalizer.insert("handle_chinese_chars".into(), json!(settings.chinese_chars));
    }
    if let Some(token) = map.get("post_processor").and_then(undefined_special_token) {
        return Err(format!("its post_processor uses the special token `{token}` and does not define it"));
    }
    Ok(Value::Object(map))
}

/// A special token that a template names and its `special_tokens` lack: the library would panic at the first text.
fn undefined_special_token(processor: &Value) -> Option<String> {
    let nested = processor.get("processors").and_then(Value::as_array).into_iter().flatten();
    if let Some(token) = nested.filter_map(undefined_special_token).next() {
        return Some(token);
    }
    let defined = |token: &str| processor.get("special_tokens").is_some_and(|tokens| tokens.get(token).is_some());
    let templates = ["single", "pair"].iter().filter_map(|name| processor.get(name));
    let pieces = templates.filter_map(Value::as_array).flatten();
    let tokens = pieces.filter_map(|piece| piece.get("SpecialToken")?.get("id")?.as_str());
    tokens.filter(|token| !defined(token)).map(str::to_owned).next()
}

/// A `tokenizer.json` for a vocabulary of one token a line.
fn from_vocabulary(bytes: &[u8], size: i64, settings: &Settings) -> Result<Value, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8: {e}"))?;
    // Before a table is made of them: short lines take many times their size.
    if let Some((id, token)) = text.lines().enumerate().find(|(id, _)| *id as i64 >= size) {
        return Err(format!("`{token}` has id {id}; config.json's vocab_size allows up to {}", size - 1));
    }
    let vocabulary: Map<String, Value> =
        text.lines().enumerate().map(|(id, token)| (token.to_owned(), json!(id))).collect();
    let special = [&settings.pad, &settings.unknown, &settings.class, &settings.separator, &settings.mask];
    let missing: Vec<_> =
        special.iter().filter(|t| !vocabulary.contains_key(t.as_str())).map(|t| format!("`{t}`")).collect();
    if !missing.is_empty() {
        return Err(format!("no line for the special tokens {}", missing.join(", ")));
    }
    let id = |token: &str| vocabulary.get(token).cloned().unwrap_or_default();
    let mut added: Vec<_> = special.iter().map(|token| (id(token).as_u64(), token)).collect();
    added.sort();
    added.dedup();
    let added: Vec<_> = added
        .iter()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let pair = |token: &str| json!([token, id(token)]);
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": settings.chinese_chars,
            "strip_accents": settings.strip_accents, "lowercase": settings.lower_case},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": pair(&settings.separator), "cls": pair(&settings.class)},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": settings.unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary},
    }))
}
