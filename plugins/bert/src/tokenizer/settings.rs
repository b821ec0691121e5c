//! What `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say.

use super::added::{Added, parse_decoder, parse_file};
use lopper_core::{Error, Result};
use lopper_nn::MAX_BYTES;
use serde_json::{Map, Value};
use std::path::Path;

/// The special tokens that BERT needs, with the defaults of `BertTokenizerFast`.
const SPECIAL: [(&str, &str); 5] = [
    ("pad_token", "[PAD]"),
    ("unk_token", "[UNK]"),
    ("cls_token", "[CLS]"),
    ("sep_token", "[SEP]"),
    ("mask_token", "[MASK]"),
];
/// Special tokens besides, which BERT's files may name as well.
const MORE: [&str; 2] = ["bos_token", "eos_token"];

/// The settings of a tokenizer, with the defaults of Hugging Face's `BertTokenizerFast`.
pub(super) struct Settings {
    pub(super) lower_case: bool,
    pub(super) strip_accents: Option<bool>,
    pub(super) chinese_chars: bool,
    /// The class that is asked for, by this file or by `config.json`.
    pub(super) class: Option<String>,
    pub(super) pad: Added,
    pub(super) unknown: Added,
    pub(super) cls: Added,
    pub(super) separator: Added,
    pub(super) mask: Added,
    /// Special tokens besides these five, in the order in which they are added.
    pub(super) more: Vec<Added>,
    /// Tokens with ids, in the order of these.
    pub(super) added: Vec<Added>,
    /// Whether `added` come with rules of their own, which overrule others.
    pub(super) overrule: bool,
    pub(super) truncates_left: bool,
    /// Whether the second text of a pair is told from the first; `None` where it is not said.
    pub(super) segments: Option<bool>,
}

/// The files' contents, where there are any.
#[derive(Default)]
pub(super) struct Files<'a> {
    pub(super) config: Option<&'a [u8]>,
    pub(super) map: Option<&'a [u8]>,
    pub(super) added: Option<&'a [u8]>,
    /// `tokenizer_class` of `config.json`.
    pub(super) class: Option<&'a str>,
}

impl Settings {
    /// Reads them as transformers does: where `tokenizer_config.json` has an `added_tokens_decoder`, the two other files
    /// say nothing.
    ///
    /// # Errors
    /// [`Error::File`] for each file with everything that is wrong with it.
    pub(super) fn read(files: &Files<'_>, directory: &Path) -> Result<Self> {
        let object = |bytes: Option<&[u8]>, name: &str| match bytes {
            None => Ok(Map::new()),
            Some(bytes) if bytes.len() > MAX_BYTES => {
                let reason = format!("is {} bytes long; at most {MAX_BYTES} are accepted", bytes.len());
                Err(Error::file(directory.join(name), reason))
            }
            Some(bytes) => serde_json::from_slice(bytes)
                .map_err(|e| Error::file_caused(directory.join(name), "not a JSON object", e)),
        };
        let mut config: Map<String, Value> = object(files.config, "tokenizer_config.json")?;
        let decoder = config.remove("added_tokens_decoder").filter(|decoder| !decoder.is_null());
        let wrong = |name: &str, reason: String| Error::file(directory.join(name), reason);
        if decoder.is_none() {
            for (key, value) in object(files.map, "special_tokens_map.json")? {
                let named = SPECIAL.iter().map(|(key, _)| *key).chain(MORE).any(|known| known == key);
                if !named && key != "additional_special_tokens" {
                    continue;
                }
                // Both lists count; a single token of this file replaces the other's.
                match (config.get_mut(&key).and_then(Value::as_array_mut), value) {
                    (Some(there), Value::Array(more)) => there.extend(more),
                    (_, value) => drop(config.insert(key, value)),
                }
            }
        }
        let mut settings = Self::from_map(&config, files.class)
            .map_err(|problems| wrong("tokenizer_config.json", problems.join("; ")))?;
        settings.overrule = decoder.is_some();
        settings.added = match (decoder, files.added) {
            (Some(decoder), _) => parse_decoder(&decoder).map_err(|e| wrong("tokenizer_config.json", e))?,
            (None, Some(bytes)) => {
                let special = |content: &str| settings.special().any(|token| token.content == content);
                parse_file(bytes, special).map_err(|e| wrong("added_tokens.json", e))?
            }
            (None, None) => Vec::new(),
        };
        Ok(settings)
    }

    /// All special tokens, in the order in which they are added.
    pub(super) fn special(&self) -> impl Iterator<Item = &Added> {
        [&self.pad, &self.unknown, &self.cls, &self.separator, &self.mask].into_iter().chain(&self.more)
    }

    fn from_map(map: &Map<String, Value>, class: Option<&str>) -> Result<Self, Vec<String>> {
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
        let mut token = |key: &str, value: &Value| {
            let read = Added::parse(value, true);
            if read.is_none() {
                problems.push(format!("{key} is {value}; a token's text would be accepted"));
            }
            read
        };
        let given = |key: &str| map.get(key).filter(|value| !value.is_null());
        let [pad, unknown, cls, separator, mask] = SPECIAL.map(|(key, default)| {
            given(key).and_then(|value| token(key, value)).unwrap_or_else(|| Added::plain(default, true))
        });
        let mut more: Vec<Added> = MORE.iter().filter_map(|key| token(key, given(key)?)).collect();
        for key in ["additional_special_tokens", "extra_special_tokens"] {
            let values: Vec<&Value> = match given(key) {
                None => Vec::new(),
                Some(Value::Array(values)) => values.iter().collect(),
                // Older files name each for an attribute.
                Some(Value::Object(values)) => values.values().collect(),
                Some(other) => vec![other],
            };
            more.extend(values.into_iter().filter_map(|value| token(key, value)));
        }
        let truncates_left = match given("truncation_side").map(Value::as_str) {
            None | Some(Some("right")) => false,
            Some(Some("left")) => true,
            Some(_) => {
                problems
                    .push(format!("truncation_side is {}; left or right would be accepted", map["truncation_side"]));
                false
            }
        };
        let segments = given("model_input_names").and_then(|names| {
            let names: Option<Vec<&str>> = names.as_array().and_then(|all| all.iter().map(Value::as_str).collect());
            match names {
                Some(names) if names.contains(&"input_ids") && names.contains(&"attention_mask") => {
                    Some(names.contains(&"token_type_ids"))
                }
                _ => {
                    let found = &map["model_input_names"];
                    problems.push(format!(
                        "model_input_names is {found}; a list with input_ids and attention_mask would be accepted"
                    ));
                    None
                }
            }
        });
        let class = given("tokenizer_class").and_then(Value::as_str).or(class).map(str::to_owned);
        // Classes that tell no segments apart unless they are asked to.
        let without = class
            .as_deref()
            .is_some_and(|class| class.starts_with("DistilBertTokenizer") || class == "TokenizersBackend");
        let segments = segments.or(without.then_some(false));
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            lower_case,
            strip_accents,
            chinese_chars,
            class,
            pad,
            unknown,
            cls,
            separator,
            mask,
            more,
            added: Vec::new(),
            overrule: false,
            truncates_left,
            segments,
        })
    }

    /// Whether the class is BERT's, whose settings overrule those of `tokenizer.json`.
    pub(super) fn overrules(&self) -> bool {
        self.class.as_deref().is_none_or(|class| class.starts_with("BertTokenizer"))
    }

    /// Whether the class makes of a `vocab.txt` what BERT's does.
    pub(super) fn is_word_piece(&self) -> bool {
        const SAME: [&str; 3] = ["BertTokenizer", "ElectraTokenizer", "DistilBertTokenizer"];
        let plain = |class: &str| SAME.contains(&class.strip_suffix("Fast").unwrap_or(class));
        self.class.as_deref().is_none_or(plain)
    }
}
