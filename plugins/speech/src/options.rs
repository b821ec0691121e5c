//! The options of the `speech` dataset.

use lopper_core::options;
use serde::{Deserialize, Deserializer, Serialize};
use std::path::PathBuf;

/// One path or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Paths(pub Vec<String>);

impl<'de> Deserialize<'de> for Paths {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a path or a list of paths")]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::One(path) => vec![path],
            Either::Many(paths) => paths,
        }))
    }
}

/// Where a dictionary comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a name, a path, or { vocabulary = [\"<s>\", …], blank = 0 } without other keys"
)]
pub enum DictionarySource {
    /// `letters`, `train`, or a file.
    Named(String),
    /// The symbols themselves.
    Given {
        /// The symbol of each output.
        vocabulary: Vec<String>,
        /// The output that is CTC's blank.
        blank: usize,
    },
}

impl std::fmt::Display for DictionarySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Named(name) => write!(f, "\"{name}\""),
            Self::Given { vocabulary, .. } => write!(f, "of {} symbols", vocabulary.len()),
        }
    }
}

options! {
    /// Options of the `speech` dataset.
    pub struct SpeechOptions {
        /// The corpus's directory, or one file: then it is the validation split.
        path: PathBuf = PathBuf::new(),
        /// auto, librispeech, libri-light, fairseq, common-voice, folder, audiofolder, columns (TSV and CSV with a header), json (lines or an array) or table (Parquet and Arrow); auto tells each split's layout by its content.
        format: String = "auto".into(),
        /// What to train on, relative to `path`: a manifest, list or directory, the name of shards (train, en/train), or several that are joined; of Libri-light also 10min, 1h or 10h. Looked for as train.tsv, train.jsonl, train and their like when absent; without one, the data can only be evaluated on.
        train: Paths = Paths::default(),
        /// What to validate on, relative to `path`; several become several splits. Looked for as valid, validation, dev or dev-other when absent.
        validation: Paths = Paths::default(),
        /// What to evaluate on besides, relative to `path`; several become several splits, such as test_clean and test_other.
        test: Paths = Paths::default(),
        /// What the model writes: letters, phones or words-as-letters (letters spelled from the .wrd of a fairseq manifest).
        unit: String = "letters".into(),
        /// The model's symbols: a dict.*.txt of fairseq, a vocab.json of transformers (whose blank is what config.json or tokenizer_config.json beside it call padding), `letters` (the 32 of LibriSpeech), `train` (those of the training set), or themselves: `{ vocabulary = ["<s>", …], blank = 0 }`. When absent, `letters` for letters of no named language, `train` otherwise; `lopper eval` takes the model's own.
        dictionary: Option<DictionarySource> = None,
        /// Languages of a joint run, each with validation and test splits of its own. `{language}` in a path stands for each; without it, rows are told apart by their own language.
        languages: Vec<String> = Vec::new(),
        /// A file of phones for each recording, lines `NAME p1 p2 …`, relative to `path`.
        phones: Option<String> = None,
        /// What the numbers are that CPC_audio writes for phones: a JSON object such as its phonesMatches_reduced.json, relative to `path`, with `{language}` where each language has its own. When absent, that file where it lies beside the phones or in the language's directory; `numbers` leaves them numbers, which a joint run refuses.
        phone_symbols: Option<String> = None,
        /// The directory of the recordings that a list names, relative to `path`; when absent, the list's own, and clips and its like beside the list.
        clips: Option<String> = None,
        /// The column or key of the transcripts, where there are several that could be, such as text and normalized_text.
        transcript: Option<String> = None,
        /// What quotes between tabs mean: raw, a character like any other, as in Common Voice's own files, or csv, as pandas writes them; auto tells it from the file.
        quoting: String = "auto".into(),
        /// upper, lower or keep: the case of letters; auto is that of a given dictionary, and otherwise upper where that keeps all letters of the training set different (a and A are one letter; ı and i, ς and σ are two, and ß would be SS), and keep where it does not.
        case: String = "auto".into(),
        /// Characters that are dropped from texts, such as `.,?!`.
        remove: Option<String> = None,
        /// Training rows with symbols outside the dictionary: refuse, or unk, which trains on the dictionary's unknown symbol. In evaluations such a symbol counts as an error; with refuse, a split is refused most of whose symbols are such.
        unknown: String = "refuse".into(),
        /// Shorter recordings are not trained on; in evaluations every recording is judged.
        min_seconds: f64 = 0.0,
        /// Longer recordings are not trained on; 0 for no limit.
        max_seconds: f64 = 0.0,
        /// Samples that the model's first time step sees; with `frame_stride` it tells which transcripts are too long for CTC to be trained on. Shorter recordings are judged with silence behind them where the model needs it.
        frame_window: u32 = 400,
        /// Samples between two time steps of the model; 0 leaves the check to the model.
        frame_stride: u32 = 320,
        /// Leaves out rows that cannot be used, and warns, instead of refusing the data; the log names each at its debug level. A training recording that turns out damaged only when it is decoded is left out of its batch; if nothing is left of that, the next recording takes its place. One that is evaluated stops the run; `check = "decode"` leaves it out before.
        skip_bad: bool = false,
        /// How recordings are looked at when the data are opened: content (each is read once, for its length and hash), decode (decoded too, so that nothing is found damaged later), or headers (for corpora too large to be read; the hash is of size, beginning and end).
        check: String = "content".into(),
        /// MiB of decoded recordings that are kept for the next epoch.
        cache_mb: u64 = 256,
        /// Training recordings used, drawn without replacement; 0 for all. A larger limit contains a smaller one. With `skip_bad`, what cannot be used is replaced by what is drawn next.
        limit_train: u64 = 0,
        /// Recordings used of each split that is evaluated, drawn in the same way; 0 for all.
        limit_validation: u64 = 0,
        /// Seeds the draw of both limits.
        limit_seed: u64 = 0,
    }
}
