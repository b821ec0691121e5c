//! `config.json` of a BERT checkpoint.

use lopper_core::{Error, Head, Result};
use lopper_nn::{Activation, MAX_BYTES, Reader};
use lopper_weights::{check_config, read_regular};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The class whose head is ours.
pub(crate) const OURS: &str = "BertForSequenceClassification";

/// The architecture of a BERT encoder and what `config.json` says about its head. Always valid.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BertConfig {
    vocab_size: i64,
    hidden_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    intermediate_size: i64,
    hidden_act: Activation,
    hidden_dropout_prob: f64,
    attention_probs_dropout_prob: f64,
    classifier_dropout: Option<f64>,
    max_position_embeddings: i64,
    type_vocab_size: i64,
    initializer_range: f64,
    layer_norm_eps: f64,
    pad_token_id: Option<i64>,
    head: Option<Head>,
    /// The object as read, so that a saved copy keeps the keys that only other programs know.
    #[serde(skip)]
    source: Map<String, Value>,
}

impl BertConfig {
    /// Reads the text of a `config.json`. Keys it does not know are kept and ignored; absent ones have the defaults of
    /// Hugging Face's `BertConfig`, which are those of BERT-base. `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::File`] when it is no JSON object, describes quantised weights, or an encoder that is easily taken for BERT;
    /// [`Error::Unsupported`] for another model type, and every value that cannot be used, together.
    pub fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let source = Reader::object(text, path)?;
        check_config(&source, path)?;
        if !is_bert(&source) {
            let found = source.get("model_type").or_else(|| source.get("architectures"));
            return Err(Error::Unsupported {
                what: "the model plugin `bert`".into(),
                feature: format!(
                    "{}: its model_type is {}, `bert` would be accepted",
                    path.display(),
                    found.map_or("absent".into(), Value::to_string)
                ),
            });
        }
        let mut r = Reader::new(&source, path);
        // The upper bounds lie far above any published encoder and keep every product of two sizes within i64.
        let mut config = Self {
            vocab_size: r.size("vocab_size", 30522, 1 << 24),
            hidden_size: r.size("hidden_size", 768, 1 << 16),
            num_hidden_layers: r.size("num_hidden_layers", 12, 1 << 10) as usize,
            num_attention_heads: r.size("num_attention_heads", 12, 1 << 16),
            intermediate_size: r.size("intermediate_size", 3072, 1 << 20),
            hidden_act: r
                .field("hidden_act", Activation::Gelu, Activation::NAMES, |v| Activation::from_name(v.as_str()?)),
            hidden_dropout_prob: r.probability("hidden_dropout_prob", 0.1),
            attention_probs_dropout_prob: r.probability("attention_probs_dropout_prob", 0.1),
            classifier_dropout: r.field(
                "classifier_dropout",
                None,
                "null, or a probability from 0 up to, not including, 1",
                |v| if v.is_null() { Some(None) } else { v.as_f64().filter(|p| (0.0..1.0).contains(p)).map(Some) },
            ),
            max_position_embeddings: r.size("max_position_embeddings", 512, 1 << 20),
            type_vocab_size: r.size("type_vocab_size", 2, 1 << 16),
            initializer_range: r.field("initializer_range", 0.02, "a number from 0 to 10", |v| {
                v.as_f64().filter(|x| (0.0..=10.0).contains(x))
            }),
            layer_norm_eps: r.field("layer_norm_eps", 1e-12, "a number above 0, up to 1", |v| {
                v.as_f64().filter(|x| *x > 0.0 && *x <= 1.0)
            }),
            pad_token_id: None,
            head: None,
            source: Map::new(),
        };
        let vocab_size = config.vocab_size;
        config.pad_token_id = r.field("pad_token_id", Some(0), "null, or an id of the vocabulary", |v| {
            if v.is_null() { Some(None) } else { v.as_i64().filter(|id| (0..vocab_size).contains(id)).map(Some) }
        });
        if config.hidden_size % config.num_attention_heads != 0 {
            let expected = format!("a divisor of hidden_size, which is {}", config.hidden_size);
            r.refuse("num_attention_heads", config.num_attention_heads, &expected);
        }
        r.field("position_embedding_type", (), "`absolute`", |v| (v.is_null() || v == "absolute").then_some(()));
        for flag in ["is_decoder", "add_cross_attention"] {
            r.field(flag, (), "false: this is an encoder", |v| (v.is_null() || v == false).then_some(()));
        }
        r.field("pruned_heads", (), "no head removed: tensors keep their full shape", |v| {
            v.as_object().is_some_and(Map::is_empty).then_some(())
        });
        config.head = head(&mut r);
        r.finish()?;
        config.source = source;
        Ok(config)
    }

    /// Whether `config.json` in `directory`, as far as it can be read, is one of weights that can be.
    ///
    /// # Errors
    /// Those of [`check_config`].
    pub(crate) fn check_kind(directory: &Path) -> Result<()> {
        let path = directory.join("config.json");
        let object = read_regular(&path, MAX_BYTES as u64).ok().and_then(|text| Reader::object(&text, &path).ok());
        object.map_or(Ok(()), |config| check_config(&config, &path))
    }

    /// Reads `config.json` in `directory`.
    ///
    /// # Errors
    /// Those of [`parse`](Self::parse), and [`Error::File`] when it cannot be read.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join("config.json");
        let text = read_regular(&path, MAX_BYTES as u64).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::file(&path, "does not exist; a checkpoint directory holds one"),
            _ => Error::file_caused(&path, "cannot be read", e),
        })?;
        Self::parse(&text, &path)
    }

    /// The same with dropout probabilities replaced where one is given.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for each that is not in `[0, 1)`.
    pub fn with_dropout(
        mut self,
        hidden: Option<f64>,
        attention: Option<f64>,
        classifier: Option<f64>,
    ) -> Result<Self> {
        let named = [("hidden_dropout", hidden), ("attention_dropout", attention), ("classifier_dropout", classifier)];
        let wrong = named.iter().filter_map(|(key, p)| Some((*key, (*p)?))).filter(|(_, p)| !(0.0..1.0).contains(p));
        Error::all(
            wrong
                .map(|(key, p)| {
                    Error::invalid(format!("[model] {key}"), p, "a probability from 0 up to, not including, 1")
                })
                .collect(),
        )?;
        self.classifier_dropout = classifier.or(self.classifier_dropout);
        self.hidden_dropout_prob = hidden.unwrap_or(self.hidden_dropout_prob);
        self.attention_probs_dropout_prob = attention.unwrap_or(self.attention_probs_dropout_prob);
        Ok(self)
    }

    /// Entries of the vocabulary.
    pub fn vocab_size(&self) -> i64 {
        self.vocab_size
    }

    /// Width of the encoder.
    pub fn hidden_size(&self) -> i64 {
        self.hidden_size
    }

    /// Blocks.
    pub fn num_hidden_layers(&self) -> usize {
        self.num_hidden_layers
    }

    /// Heads of self-attention; divides the width.
    pub fn num_attention_heads(&self) -> i64 {
        self.num_attention_heads
    }

    /// Width between the two layers of the feed-forward network.
    pub fn intermediate_size(&self) -> i64 {
        self.intermediate_size
    }

    /// The non-linearity of the feed-forward network.
    pub fn hidden_act(&self) -> Activation {
        self.hidden_act
    }

    /// Dropout after embeddings and after both sub-layers of a block.
    pub fn hidden_dropout(&self) -> f64 {
        self.hidden_dropout_prob
    }

    /// Dropout of attention probabilities.
    pub fn attention_dropout(&self) -> f64 {
        self.attention_probs_dropout_prob
    }

    /// Dropout before the head; that of hidden states unless set.
    pub fn classifier_dropout(&self) -> f64 {
        self.classifier_dropout.unwrap_or(self.hidden_dropout_prob)
    }

    /// The longest input in tokens, special ones counted.
    pub fn max_position_embeddings(&self) -> i64 {
        self.max_position_embeddings
    }

    /// Segments that can be told apart.
    pub fn type_vocab_size(&self) -> i64 {
        self.type_vocab_size
    }

    /// Standard deviation of fresh weights.
    pub fn initializer_range(&self) -> f64 {
        self.initializer_range
    }

    /// Added to the variance in layer normalisation.
    pub fn layer_norm_eps(&self) -> f64 {
        self.layer_norm_eps
    }

    /// The token that pads, whose embedding is not trained.
    pub fn pad_token_id(&self) -> Option<i64> {
        self.pad_token_id
    }

    /// The head that `config.json` describes. Every configuration describes one, two classes by default, whether or
    /// not the checkpoint has its weights; `None` for multi-label and multi-output heads, which Lopper does not have.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// The class that `architectures` names first.
    pub fn architecture(&self) -> Option<&str> {
        self.source.get("architectures")?.get(0)?.as_str()
    }

    /// The class of tokenizers that it names; that of the tokenizer's own files counts before it.
    pub fn tokenizer_class(&self) -> Option<&str> {
        self.source.get("tokenizer_class")?.as_str()
    }

    /// `config.json` as it was read, for a copy whose head is the checkpoint's own or, `without_head`, gone: nothing of what
    /// it says of labels and problem was trained here. Dropout is that of the file.
    pub fn as_read(&self, without_head: bool) -> Value {
        let mut out = self.common();
        if without_head {
            out.insert("architectures".into(), json!(["BertModel"]));
        }
        Value::Object(out)
    }

    fn common(&self) -> Map<String, Value> {
        let mut out = self.source.clone();
        out.insert("model_type".into(), json!("bert"));
        out.remove("torch_dtype");
        out.insert("dtype".into(), json!("float32"));
        out
    }

    /// `config.json` for this architecture with `head`, in Hugging Face's form. Keys of the original stay.
    pub fn to_json(&self, head: Option<&Head>) -> Value {
        let mut out = self.common();
        let architecture = if head.is_some() { OURS } else { "BertModel" };
        out.insert("architectures".into(), json!([architecture]));
        for key in ["num_labels", "id2label", "label2id", "problem_type"] {
            out.remove(key);
        }
        let (labels, problem) = match head {
            Some(Head::Classification { labels }) => (labels.clone(), "single_label_classification"),
            Some(Head::Regression) => (vec!["LABEL_0".to_owned()], "regression"),
            _ => return Value::Object(out),
        };
        let id2label: Map<_, _> = labels.iter().enumerate().map(|(id, label)| (id.to_string(), json!(label))).collect();
        let label2id: Map<_, _> = labels.iter().enumerate().map(|(id, label)| (label.clone(), json!(id))).collect();
        out.insert("id2label".into(), Value::Object(id2label));
        out.insert("label2id".into(), Value::Object(label2id));
        out.insert("problem_type".into(), json!(problem));
        Value::Object(out)
    }
}

/// Whether a `config.json` is BERT's: by `model_type`, or by `architectures` when it has none.
pub(crate) fn is_bert(source: &Map<String, Value>) -> bool {
    match source.get("model_type") {
        Some(kind) => kind == "bert",
        None => source.get("architectures").and_then(Value::as_array).is_some_and(|names| {
            names.iter().filter_map(Value::as_str).any(|n| n == "BertModel" || n.starts_with("BertFor"))
        }),
    }
}

fn head(r: &mut Reader<'_>) -> Option<Head> {
    const MAX_LABELS: i64 = 10_000;
    let labels = r.field("id2label", None, "an object from \"0\", \"1\", … to the labels", |v| {
        if v.is_null() {
            return Some(None);
        }
        let map = v.as_object().filter(|m| m.len() as i64 <= MAX_LABELS)?;
        // transformers takes numbers and truth values as they are, and an id that is not there only fails when it is printed.
        let text = |(id, label): (usize, Option<&Value>)| match label {
            None | Some(Value::Null) => Some(format!("LABEL_{id}")),
            Some(Value::String(label)) => Some(label.clone()),
            Some(label @ (Value::Number(_) | Value::Bool(_))) => Some(label.to_string()),
            Some(_) => None,
        };
        let whole = map.values().all(|label| text((0, Some(label))).is_some());
        let labels = (0..map.len()).map(|id| text((id, map.get(&id.to_string()))));
        labels.collect::<Option<Vec<_>>>().filter(|_| whole).map(|labels| Some(labels).filter(|all| !all.is_empty()))
    });
    let count = r.field("num_labels", None, &format!("null, or an integer from 1 to {MAX_LABELS}"), |v| {
        if v.is_null() { Some(None) } else { v.as_i64().filter(|n| (1..=MAX_LABELS).contains(n)).map(Some) }
    });
    let labels = match (labels, count) {
        (Some(labels), count) => {
            if let Some(count) = count.filter(|count| labels.len() as i64 != *count) {
                tracing::warn!(num_labels = count, id2label = labels.len(), "two numbers of labels; id2label counts");
            }
            labels
        }
        (None, count) => (0..count.unwrap_or(2)).map(|id| format!("LABEL_{id}")).collect(),
    };
    let problem =
        r.field("problem_type", None, "null, a single- or multi-label classification, or a regression", |v| {
            match v.as_str() {
                None if v.is_null() => Some(None),
                Some(known @ ("regression" | "single_label_classification" | "multi_label_classification")) => {
                    Some(Some(known.to_owned()))
                }
                _ => None,
            }
        });
    match (problem.as_deref(), labels.len()) {
        (Some("regression") | None, 1) => Some(Head::Regression),
        (Some("single_label_classification"), _) | (None, _) => Some(Head::Classification { labels }),
        _ => None,
    }
}
