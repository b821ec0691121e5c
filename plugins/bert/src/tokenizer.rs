//! WordPiece: from text to ids, as Hugging Face's `BertTokenizerFast` does it.

mod added;
mod describe;
mod settings;

use crate::config::BertConfig;
use describe::{from_json, from_vocabulary};
use lopper_core::{Artifact, Error, Features, Input, Inputs, Preprocessor, Result};
use lopper_weights::read_regular;
use settings::{Files, Settings};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tch::Tensor;
use tokenizers::utils::truncation::{TruncationDirection, TruncationParams, TruncationStrategy, truncate_encodings};
use tokenizers::{PostProcessor, Tokenizer};

/// The files a tokenizer can consist of; those found are kept, byte for byte, for saved models.
const FILES: [&str; 5] =
    ["tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json", "added_tokens.json"];
/// Longest of them that is read, in bytes; the largest published ones have 20 MB.
const LONGEST: u64 = 64 << 20;

/// The tokenizer that was made last, as long as somebody has it: making one takes longer than reading MiniLM's weights, and runs
/// of one process, one after another, mostly share theirs.
static LAST: Mutex<Weak<BertTokenizer>> = Mutex::new(Weak::new());

/// What a tokenizer depends on besides its files.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    vocab_size: i64,
    pad_token_id: Option<i64>,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    class: Option<String>,
}

impl Made {
    fn by(config: &BertConfig) -> Self {
        Self {
            vocab_size: config.vocab_size(),
            pad_token_id: config.pad_token_id(),
            max_position_embeddings: config.max_position_embeddings(),
            type_vocab_size: config.type_vocab_size(),
            class: config.tokenizer_class().map(str::to_owned),
        }
    }
}

/// Turns texts and pairs of texts into token ids and segments.
pub struct BertTokenizer {
    made: Made,
    tokenizer: Tokenizer,
    pad_id: i64,
    max_length: usize,
    segments: i64,
    /// Whether the second text of a pair is told from the first.
    tells_segments: bool,
    direction: TruncationDirection,
    identity: String,
    artifacts: Vec<Artifact>,
}

impl BertTokenizer {
    /// Reads the tokenizer of a checkpoint directory: `tokenizer.json`, or `vocab.txt`, either with the casing, the side of
    /// truncation and the inputs of `tokenizer_config.json` and with the tokens that it, `added_tokens.json` and
    /// `special_tokens_map.json` add. `None` when the directory has neither.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be understood, lacks a special token, or has an id that the model's
    /// embeddings do not; for a `vocab.txt` of a class of tokenizers that does not read it as BERT's does.
    pub fn read(directory: &Path, config: &BertConfig) -> Result<Option<Self>> {
        Self::make(artifacts(directory)?, directory, config)
    }

    /// As [`read`](Self::read). Where somebody still has the tokenizer that was made last by this, and it is of the same files,
    /// it is that one.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub fn shared(directory: &Path, config: &BertConfig) -> Result<Option<Arc<Self>>> {
        let artifacts = artifacts(directory)?;
        // It holds either the last one or none, also after a panic.
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |last: &Arc<Self>| last.artifacts == artifacts && last.made == Made::by(config);
        if let Some(last) = last.upgrade().filter(same) {
            return Ok(Some(last));
        }
        let made = Self::make(artifacts, directory, config)?.map(Arc::new);
        *last = made.as_ref().map_or_else(Weak::new, Arc::downgrade);
        Ok(made)
    }

    /// From the files of `directory`.
    fn make(artifacts: Vec<Artifact>, directory: &Path, config: &BertConfig) -> Result<Option<Self>> {
        let find = |name: &str| artifacts.iter().find(|a| a.name == name).map(|a| a.bytes.as_slice());
        let files = Files {
            config: find("tokenizer_config.json"),
            map: find("special_tokens_map.json"),
            added: find("added_tokens.json"),
            class: config.tokenizer_class(),
        };
        let settings = Settings::read(&files, directory)?;
        let (path, description) = match (find("tokenizer.json"), find("vocab.txt")) {
            (Some(bytes), _) => {
                let path = directory.join("tokenizer.json");
                let description = from_json(bytes, &settings).map_err(|reason| Error::file(&path, reason))?;
                (path, description)
            }
            (None, Some(bytes)) => {
                let path = directory.join("vocab.txt");
                if let Some(class) = settings.class.as_deref().filter(|_| !settings.is_word_piece()) {
                    let reason = format!(
                        "belongs to a {class}, which does not split texts as BERT's tokenizer does; put a tokenizer.json \
                         beside it (`AutoTokenizer.from_pretrained(…).save_pretrained(…)` writes one where the class has a \
                         fast version)"
                    );
                    return Err(Error::file(path, reason));
                }
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
        let own_pad = tokenizer.token_to_id(&settings.pad.content).map(i64::from);
        if let (Some(own), Some(pad)) = (own_pad, config.pad_token_id().filter(|pad| own_pad != Some(*pad))) {
            tracing::warn!(
                checkpoint = %directory.display(), tokenizer = own, config = pad,
                "the tokenizer pads with another id than config.json's pad_token_id, whose embedding is not trained"
            );
        }
        let pad_id = own_pad.or(config.pad_token_id()).unwrap_or(0);
        let tells_segments = settings.segments.unwrap_or(true);
        let direction = if settings.truncates_left { TruncationDirection::Left } else { TruncationDirection::Right };
        let (max_length, segments) = (config.max_position_embeddings() as usize, config.type_vocab_size());
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes()).update(format!("|{pad_id}|{max_length}|{segments}").as_bytes());
        // What is usual is not hashed.
        if !tells_segments || settings.truncates_left {
            hasher.update(format!("|{tells_segments}|{}", settings.truncates_left).as_bytes());
        }
        let identity = format!("bert-wordpiece-{}", hasher.finalize().to_hex());
        let made = Made::by(config);
        Ok(Some(Self { made, tokenizer, pad_id, max_length, segments, tells_segments, direction, identity, artifacts }))
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

/// The files of a tokenizer that a directory has.
fn artifacts(directory: &Path) -> Result<Vec<Artifact>> {
    let mut artifacts = Vec::new();
    for name in FILES {
        let path = directory.join(name);
        match read_regular(&path, LONGEST) {
            Ok(bytes) => artifacts.push(Artifact { name: name.into(), bytes }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::file_caused(path, "cannot be read", e)),
        }
    }
    Ok(artifacts)
}

impl Preprocessor for BertTokenizer {
    fn features(&self, input: Input<'_>, max_length: Option<u32>) -> Result<Features> {
        let Input::Text { first, second } = input else {
            return Err(Error::Unsupported { what: "BERT".into(), feature: "inputs other than text".into() });
        };
        if second.is_some() && self.segments < 2 && self.tells_segments {
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
            direction: self.direction,
            ..TruncationParams::default()
        };
        let (first, second) = truncate_encodings(first, second, &rule).map_err(failed)?;
        let encoding = self.tokenizer.post_process(first, second, true).map_err(failed)?;
        let ids = encoding.get_ids().to_vec();
        let segments = if self.tells_segments { encoding.get_type_ids().to_vec() } else { vec![0; ids.len()] };
        Ok(Features::Tokens { ids, segments })
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

    fn longest(&self) -> Option<u32> {
        u32::try_from(self.max_length).ok()
    }

    fn identity(&self) -> String {
        self.identity.clone()
    }
}
