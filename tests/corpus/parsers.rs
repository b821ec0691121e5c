//! One function for each parser that reads a user's bytes. Each panics when a promise is broken: what is accepted can be
//! written and read again with the same meaning, what is refused says why, and memory stays in proportion to the input.
//!
//! The fuzz targets in `fuzz/` and the test beside this file call the same functions.

#[path = "recordings.rs"]
mod recordings;

use lopper::weights::{
    Checkpoint, Dtype, GivenMask, OutputNames, Pickle, Value, load_tensors, load_tensors_verified, save_tensors,
};
use lopper::{
    Dataset, DatasetRequest, Error, Experiment, Features, Head, Input, Inputs, MaskSet, Model, ModelRequest,
    Preprocessor, Setting, Split, Targets, session,
};
use lopper_bert::{BertConfig, BertTokenizer};
use lopper_glue::read::{Format, parse};
use lopper_glue::{GlueTask, TASKS};
use lopper_speech::decode::Spelling;
use lopper_speech::{Dictionary, audio};
use lopper_tables::delimited::Quoting;
use lopper_tables::{Table, TableError};
use lopper_text::{Example, Label};
use lopper_wav2vec2::{Wav2Vec2Config, Wav2Vec2Model};
use safetensors::SafeTensors;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::fmt::{Debug, Display};
use std::io::Cursor;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;

/// A target's name, and what it does with an input.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// Every target, in the order of the table in `docs/fuzzing.md`.
pub(crate) const TARGETS: &[Target] = &[
    ("mask_file", mask_file),
    ("checkpoint_record", checkpoint_record),
    ("stage_record", stage_record),
    ("run_record", run_record),
    ("glue", glue),
    ("table", table),
    ("config", config),
    ("settings", settings),
    ("safetensors", safetensors),
    ("safetensors_index", safetensors_index),
    ("pickle", pickle),
    ("torch_file", torch_file),
    ("given_mask", given_mask),
    ("bert_config", bert_config),
    ("vocabulary", vocabulary),
    ("tokenizer", tokenizer),
    ("wav2vec2_config", wav2vec2_config),
    ("wav2vec2_files", wav2vec2_files),
    ("dictionary", dictionary),
    ("output_names", output_names),
    ("transcripts", transcripts),
    ("audio", recording),
    ("added_tokens", added_tokens),
    ("plain_samples", recordings::plain_samples),
    ("mp3_tag", recordings::mp3_tag),
    ("opus", recordings::opus),
];

/// Runs `parse`, which may hold at most 64 MiB and four times the input at once. An error must say something.
fn bounded<T, E: Display>(bytes: &[u8], parse: impl FnOnce() -> Result<T, E>) -> Option<T> {
    bounded_beside(0, bytes, parse)
}

/// As [`bounded`], where so many bytes more are asked for.
fn bounded_beside<T, E: Display>(more: u64, bytes: &[u8], parse: impl FnOnce() -> Result<T, E>) -> Option<T> {
    let mut result = None;
    let used = allocation_counter::measure(|| {
        result =
            Some(parse().map_err(|error| assert!(!error.to_string().trim().is_empty(), "an error without a word")));
    });
    let most = (64 << 20) + 4 * bytes.len() as u64 + more;
    assert!(used.bytes_max <= most, "{} bytes were held at once for an input of {}", used.bytes_max, bytes.len());
    result.and_then(Result::ok)
}

/// A directory in memory where there is one, the same for all inputs of a thread.
fn with_directory<T>(work: impl FnOnce(&Path) -> T) -> T {
    thread_local! {
        static DIRECTORY: TempDir = {
            let memory = Path::new("/dev/shm");
            let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            tempfile::tempdir_in(parent).expect("a directory for temporary files")
        };
    }
    DIRECTORY.with(|directory| work(directory.path()))
}

fn put(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).expect("room for a small file");
    path
}

/// `MaskSet::from_file_bytes`.
pub(crate) fn mask_file(bytes: &[u8]) {
    let Some((mask, origin)) = bounded(bytes, || MaskSet::from_file_bytes(bytes)) else { return };
    let written = mask.to_file_bytes(&origin).expect("what was read can be written");
    let (again, same) = MaskSet::from_file_bytes(&written).expect("what was written can be read");
    assert!(again.words() == mask.words() && again.layout() == mask.layout() && same == origin);
}

/// `checkpoint.json` of a stage under way.
pub(crate) fn checkpoint_record(bytes: &[u8]) {
    record(bytes, session::CheckpointRecord::from_bytes);
}

/// `stage.json` of a stored stage.
pub(crate) fn stage_record(bytes: &[u8]) {
    record(bytes, session::StageRecord::from_bytes);
}

/// `record.json` of a run.
pub(crate) fn run_record(bytes: &[u8]) {
    record(bytes, session::RunRecord::from_bytes);
}

/// As it is, and with the hash that it would have to carry: behind a wrong one no input would get any further.
fn record<T>(bytes: &[u8], read: fn(&[u8]) -> lopper::Result<T>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    const OPENING: &[u8] = b"{\n  \"blake3\": \"";
    let check = |bytes: &[u8]| {
        let Some(record) = bounded(bytes, || read(bytes)) else { return };
        let written = serde_json::to_vec(&record).expect("what was read can be written");
        let again: T = serde_json::from_slice(&written).expect("what was written can be read");
        assert_eq!(again, record);
    };
    check(bytes);
    let place = OPENING.len()..OPENING.len() + 64;
    if bytes.starts_with(OPENING) && bytes.len() > place.end {
        let mut sealed = bytes.to_vec();
        sealed[place.clone()].fill(b'0');
        let hash = blake3::hash(&sealed).to_hex();
        sealed[place].copy_from_slice(hash.as_bytes());
        check(&sealed);
    }
}

/// A GLUE file. The first byte chooses the task, TSV, CSV or JSON, and whether malformed rows are left out.
pub(crate) fn glue(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let choice = usize::from(choice.saturating_sub(b'A'));
    let task = &TASKS[choice % TASKS.len()];
    let format = match (choice / TASKS.len() % 2, choice / TASKS.len() / 4 % 2) {
        (0, 0) => Format::Tsv,
        (0, _) => Format::Csv,
        _ => Format::Json,
    };
    let skip = choice / TASKS.len() / 2 % 2 == 1;
    let read = |bytes: &[u8], format, skip| {
        parse(bytes, format, task, skip).map_err(|problems| {
            assert!(problems.listed.len() <= 20);
            problems.listed.iter().map(|problem| format!("{problem:?}")).collect::<Vec<_>>().join("; ")
        })
    };
    let Some(parsed) = bounded(bytes, || read(bytes, format, skip)) else { return };
    assert!(!parsed.examples.is_empty() && (skip || parsed.skipped == 0));
    for example in &parsed.examples {
        assert!(task.kind.accepts(example.label) && example.second.is_some() == task.is_pair());
    }
    let lines = read(json_lines(task, &parsed.examples).as_bytes(), Format::Json, false);
    assert_eq!(lines.expect("what was written can be read").examples, parsed.examples);
    let breaks = |text: &str| text.contains(['\t', '\n']);
    if !parsed.examples.iter().any(|e| breaks(&e.first) || e.second.as_deref().is_some_and(breaks)) {
        let rows = read(tsv(task, &parsed.examples).as_bytes(), Format::QuotedTsv(Quoting::Raw), false);
        assert_eq!(rows.expect("what was written can be read").examples, parsed.examples);
    }
}

/// A Parquet file or an Arrow stream: its columns each for itself, and as a task. The first byte chooses the task.
pub(crate) fn table(bytes: &[u8]) {
    /// What is made to mislead may repeat a cell without end.
    const ROWS: u64 = 20_000;
    /// What a page of Parquet may state as its size: `parquet` believes it.
    const PAGE: u64 = i32::MAX as u64;
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let task = &TASKS[usize::from(choice.saturating_sub(b'A')) % TASKS.len()];
    let pages = |columns: u64| if bytes.starts_with(b"PAR1") { columns * PAGE } else { 0 };
    let open = || Table::read(Cursor::new(bytes.to_vec()));
    let names = || Ok::<_, TableError>(open()?.columns().iter().take(16).map(|column| column.name.clone()).collect());
    let Some(names): Option<Vec<String>> = bounded(bytes, names) else { return };
    for name in &names {
        bounded_beside(pages(1), bytes, || {
            let mut next = 0;
            for batch in open()?.stream(&[name])? {
                let batch = batch?;
                assert!(batch.first_row == next && batch.columns.len() == 1 && batch.rows > 0);
                assert_eq!(batch.columns[0].len(), batch.rows);
                next += batch.rows as u64;
                if next > ROWS {
                    break;
                }
            }
            // Single rows, there and back.
            let mut reader = open()?.stream(&[name])?;
            for row in [next.saturating_sub(1), 0, next / 2] {
                let batch = reader.row(row)?;
                assert!((batch.first_row, batch.rows) == (row, 1) && batch.columns[0].len() == 1);
            }
            Ok::<_, TableError>(())
        });
    }
    let read = |bytes: &[u8], format| {
        parse(bytes, format, task, false).map_err(|problems| format!("{:?}", problems.listed).replace("[]", ""))
    };
    let Some(parsed) = bounded_beside(pages(3), bytes, || read(bytes, Format::Table)) else { return };
    assert!(!parsed.examples.is_empty());
    let lines = read(json_lines(task, &parsed.examples).as_bytes(), Format::Json);
    assert_eq!(lines.expect("what was written can be read").examples, parsed.examples);
}

fn label_text(task: &GlueTask, label: Label) -> String {
    match (label, task.kind) {
        (Label::Class(class), lopper_text::Kind::Classification { labels, .. }) => labels[class as usize].to_owned(),
        (Label::Class(class), _) => class.to_string(),
        (Label::Value(value), _) => value.to_string(),
    }
}

fn json_lines(task: &GlueTask, examples: &[Example]) -> String {
    let line = |example: &Example| {
        let mut object =
            json!({task.columns.first[0]: example.first, task.columns.label[0]: label_text(task, example.label)});
        if let (Some(names), Some(second)) = (task.columns.second, &example.second) {
            object[names[0]] = json!(second);
        }
        format!("{object}\n")
    };
    examples.iter().map(line).collect()
}

fn tsv(task: &GlueTask, examples: &[Example]) -> String {
    let header = [Some(task.columns.first[0]), task.columns.second.map(|names| names[0]), Some(task.columns.label[0])];
    let mut text = header.into_iter().flatten().collect::<Vec<_>>().join("\t");
    for example in examples {
        let label = label_text(task, example.label);
        let fields = [Some(example.first.as_str()), example.second.as_deref(), Some(&label)];
        text.push('\n');
        text.push_str(&fields.into_iter().flatten().collect::<Vec<_>>().join("\t"));
    }
    text
}

/// A configuration file.
pub(crate) fn config(bytes: &[u8]) {
    with_directory(|directory| experiment(bytes, &put(directory, "run.toml", bytes), &[]));
}

/// Lines of `--set`, put into a configuration that is right without them.
pub(crate) fn settings(bytes: &[u8]) {
    const BASE: &str = "[model]\npath = 'm'\n[data]\nname = 'agreement'\n[prune]\nmethod = 'omp'\nsparsity = 0.5\n";
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(settings) = bounded(bytes, || text.lines().map(str::parse).collect::<Result<Vec<Setting>, String>>())
    else {
        return;
    };
    with_directory(|directory| experiment(bytes, &put(directory, "run.toml", BASE.as_bytes()), &settings));
}

fn experiment(bytes: &[u8], path: &Path, settings: &[Setting]) {
    let Some(experiment) = bounded(bytes, || Experiment::load(path, settings, None)) else { return };
    let written = experiment.to_toml();
    let table = written.parse().unwrap_or_else(|e| panic!("{e} in the resolved configuration:\n{written}"));
    let again = Experiment::new(&table, "resolved", Path::new("out"))
        .unwrap_or_else(|e| panic!("{e} in the resolved configuration:\n{written}"));
    assert_eq!(again.to_toml(), written);
}

/// A checkpoint of one file: its directory and its tensors. No more is accepted than by the format's own library, and
/// what is accepted means the same.
pub(crate) fn safetensors(bytes: &[u8]) {
    with_directory(|directory| {
        let path = put(directory, "model.safetensors", bytes);
        let verified = bounded(bytes, || load_tensors_verified(&path));
        let Some(checkpoint) = bounded(bytes, || Checkpoint::open(&path)) else { return };
        let library = SafeTensors::deserialize(bytes).expect("no more is accepted than by the library");
        assert_eq!(checkpoint.names().count(), library.len());
        for (name, view) in library.iter() {
            assert_eq!(checkpoint.dtype(name), Some(view.dtype()));
            let shape = checkpoint.shape(name).expect("a tensor of the library");
            assert!(shape.iter().copied().eq(view.shape().iter().map(|d| *d as u64)));
            let tensor = bounded(bytes, || checkpoint.tensor(name));
            if let Some(tensor) = tensor {
                assert!(tensor.size().iter().eq(shape.iter().map(|d| *d as i64).collect::<Vec<_>>().iter()));
            }
            if view.dtype() == Dtype::F32 && !view.data().is_empty() {
                let values = checkpoint.read_f32(name).expect("float32 is read");
                assert_eq!(values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>(), view.data());
            }
        }
        assert_eq!(checkpoint.content_hash().expect("the file is still there").len(), 64);
        if verified.is_some() {
            assert_eq!(load_tensors(&path).expect("verified").len(), library.len());
        }
    });
}

/// `model.safetensors.index.json` beside the files `a.safetensors` (tensor `a`) and `b.safetensors` (tensors `b`, `c`).
pub(crate) fn safetensors_index(bytes: &[u8]) {
    let entry = |name: &str, at: usize| {
        format!("\"{name}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[{at},{}]}}", at + 1)
    };
    let file =
        |header: String, data: &[u8]| [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), data].concat();
    with_directory(|directory| {
        if !directory.join("a.safetensors").exists() {
            put(directory, "a.safetensors", &file(format!("{{{}}}", entry("a", 0)), &[1]));
            put(directory, "b.safetensors", &file(format!("{{{},{}}}", entry("b", 0), entry("c", 1)), &[2, 3]));
        }
        let path = put(directory, "model.safetensors.index.json", bytes);
        let Some(checkpoint) = bounded(bytes, || Checkpoint::open(&path)) else { return };
        // A file is used whole or not at all.
        let names: Vec<_> = checkpoint.names().collect();
        assert!([&["a"][..], &["b", "c"], &["a", "b", "c"]].contains(&names.as_slice()), "{names:?}");
        for name in names {
            assert_eq!(checkpoint.tensor(name).expect("the file is there").size(), [1]);
        }
    });
}

/// One pickle. Whatever is named in it is data: none of the modules through which anything could be done.
pub(crate) fn pickle(bytes: &[u8]) {
    const MODULES: [&str; 15] = [
        "collections",
        "torch",
        "torch._utils",
        "torch.storage",
        "argparse",
        "_codecs",
        "builtins",
        "__builtin__",
        "numpy",
        "numpy.core.multiarray",
        "numpy._core.multiarray",
        "pathlib",
        "pathlib._local",
        "typing",
        "_operator",
    ];
    let path = Path::new("pickle");
    let Some(pickle) = bounded(bytes, || Pickle::from_bytes(bytes, path)) else { return };
    let again = Pickle::from_bytes(bytes, path).expect("accepted before");
    assert_eq!(format!("{again:?}"), format!("{pickle:?}"));
    // It may contain itself.
    let mut steps = 10_000;
    let mut left: Vec<Value<'_>> = vec![pickle.root()];
    while let Some(value) = left.pop() {
        if let Some((module, name)) = value.class() {
            let package = module.split('.').next();
            assert!(MODULES.contains(&module) || matches!(package, Some("omegaconf" | "fairseq")), "{module}.{name}");
            assert!(!["eval", "exec", "getattr", "__import__", "load", "system"].contains(&name), "{module}.{name}");
        }
        let text = value.as_str().map_or(0, str::len);
        assert!(text <= 2 * bytes.len());
        let _ = (value.as_f64(), value.as_i64(), value.as_bool(), value.as_bytes(), value.is_none());
        let entries = value.entries().flat_map(|(key, value)| [key, value]);
        let before = left.len();
        left.extend(entries.chain(value.items()).chain(value.arguments()).take(steps));
        steps -= left.len() - before;
    }
}

/// A file of `torch.save`; and the input as the pickle of an archive that is right otherwise, because the sums of an
/// archive hide what lies behind them. What is accepted can be written as safetensors, with the same content.
pub(crate) fn torch_file(bytes: &[u8]) {
    torch_checkpoint(bytes);
    torch_checkpoint(&torch_archive(bytes, &[("0", 24), ("1", 4)]));
}

/// A mask as anybody's; and the input as the pickle of an archive, as for [`torch_file`]. What is accepted can be written as a
/// mask of Lopper's, and is the same when it is read again.
pub(crate) fn given_mask(bytes: &[u8]) {
    a_mask(bytes);
    a_mask(&torch_archive(bytes, &[("0", 24), ("1", 4)]));
}

fn a_mask(bytes: &[u8]) {
    with_directory(|directory| {
        let path = put(directory, "mask.pt", bytes);
        let Some(given) = bounded(bytes, || GivenMask::read(&path)) else { return };
        let written = given.mask.to_file_bytes(&given.origin).expect("what was read can be written");
        let path = put(directory, "mask.safetensors", &written);
        let again = GivenMask::read(&path).expect("what was written can be read");
        assert!(again.own && again.mask == given.mask && again.origin == given.origin);
    });
}

fn torch_checkpoint(bytes: &[u8]) {
    with_directory(|directory| {
        let path = put(directory, "pytorch_model.bin", bytes);
        let Some(checkpoint) = bounded(bytes, || Checkpoint::open(&path)) else { return };
        let names: Vec<_> = checkpoint.names().collect();
        assert!(!names.is_empty());
        let hash = bounded(bytes, || checkpoint.content_hash());
        let mut tensors = Vec::new();
        for name in &names {
            let shape: Vec<_> = checkpoint.shape(name).expect("a tensor of it").iter().map(|d| *d as i64).collect();
            let dtype = checkpoint.dtype(name).expect("a tensor of it");
            // The first of many are enough.
            let Some(tensor) = bounded(bytes, || checkpoint.tensor(name)).filter(|_| tensors.len() < 1000) else {
                break;
            };
            assert_eq!(tensor.size(), shape);
            if matches!(dtype, Dtype::F32 | Dtype::I64) {
                tensors.push((*name, tensor));
            }
        }
        if tensors.len() == names.len() {
            let copy = directory.join("copy.safetensors");
            save_tensors(&copy, tensors.iter().map(|(name, tensor)| (*name, tensor)), &Default::default())
                .expect("what was read can be written");
            let again = Checkpoint::open(&copy).expect("what was written can be read").content_hash();
            assert_eq!(Some(again.expect("the file is still there")), hash);
        }
        if let Some(extra) = checkpoint.extra() {
            assert!(["model", "state_dict", "model_state_dict", "module"].iter().any(|key| extra.get(key).is_some()));
        }
    });
}

/// A zip archive as torch makes it, with a pickle and storages of so many bytes.
pub(crate) fn torch_archive(pickle: &[u8], storages: &[(&str, usize)]) -> Vec<u8> {
    let mut entries = vec![("a/data.pkl".to_owned(), pickle.to_vec())];
    entries.extend(storages.iter().map(|(key, length)| (format!("a/data/{key}"), vec![1; *length])));
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in &entries {
        let offset = (file.len() as u32).to_le_bytes();
        let length = content.len() as u32;
        let mut said = [0; 10].to_vec();
        for number in [crc32fast::hash(content), length, length, name.len() as u32] {
            said.extend(number.to_le_bytes());
        }
        file.extend([b"PK\x03\x04", said.as_slice(), name.as_bytes(), content].concat());
        directory.extend([b"PK\x01\x02\0\0", said.as_slice(), &[0; 10], &offset, name.as_bytes()].concat());
    }
    let count = (entries.len() as u16).to_le_bytes();
    let place = [directory.len() as u32, file.len() as u32].map(u32::to_le_bytes).concat();
    [file, directory, [b"PK\x05\x06\0\0\0\0".as_slice(), &count, &count, &place, b"\0\0"].concat()].concat()
}

/// `config.json` of a BERT.
pub(crate) fn bert_config(bytes: &[u8]) {
    let path = Path::new("config.json");
    let Some(config) = bounded(bytes, || BertConfig::parse(bytes, path)) else { return };
    let written = config.to_json(config.head()).to_string();
    let again = BertConfig::parse(written.as_bytes(), path).unwrap_or_else(|e| panic!("{e} in {written}"));
    let values = |config: &BertConfig| {
        let mut values = json!(config);
        // Without a head of ours the file describes the default one.
        if config.head().is_none() {
            values["head"].take();
        }
        values
    };
    if config.head().is_some() {
        assert_eq!(values(&again), values(&config));
    }
    assert_eq!(again.hidden_size() % again.num_attention_heads(), 0);
}

/// `vocab.txt`, after a first line with `tokenizer_config.json` (empty for none).
pub(crate) fn vocabulary(bytes: &[u8]) {
    let (settings, words) = match bytes.iter().position(|b| *b == b'\n') {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    with_directory(|directory| {
        let _ = std::fs::remove_file(directory.join("tokenizer.json"));
        let _ = std::fs::remove_file(directory.join("tokenizer_config.json"));
        if !settings.is_empty() {
            put(directory, "tokenizer_config.json", settings);
        }
        put(directory, "vocab.txt", words);
        tokenize(bytes, directory);
    });
}

/// Tokens that are added to a vocabulary or to a `tokenizer.json`: `added_tokens.json`, and the `added_tokens_decoder` of
/// `tokenizer_config.json`. The first byte chooses among the four.
pub(crate) fn added_tokens(bytes: &[u8]) {
    const WORDS: &[u8] = b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\ncat\na\n##t\n";
    const WHOLE: &str = r###"{"version": "1.0", "added_tokens": [], "normalizer": {"type": "BertNormalizer"},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab":
        {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "the": 5, "cat": 6, "a": 7, "##t": 8},
        "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}}"###;
    let Some((choice, content)) = bytes.split_first() else { return };
    let choice = choice.wrapping_sub(b'A') % 4;
    with_directory(|directory| {
        let directory = directory.join("added");
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir(&directory).expect("room for a directory");
        match choice {
            0 | 1 => put(&directory, "vocab.txt", WORDS),
            _ => put(&directory, "tokenizer.json", WHOLE.as_bytes()),
        };
        match choice {
            0 | 2 => put(&directory, "added_tokens.json", content),
            _ => {
                let text = [b"{\"added_tokens_decoder\": ".as_slice(), content, b"}"].concat();
                put(&directory, "tokenizer_config.json", &text)
            }
        };
        tokenize(bytes, &directory);
    });
}

/// `tokenizer.json`.
pub(crate) fn tokenizer(bytes: &[u8]) {
    with_directory(|directory| {
        let _ = std::fs::remove_file(directory.join("tokenizer_config.json"));
        put(directory, "tokenizer.json", bytes);
        tokenize(bytes, directory);
    });
}

fn tokenize(bytes: &[u8], directory: &Path) {
    const CONFIG: &[u8] = br#"{"model_type": "bert", "vocab_size": 64, "max_position_embeddings": 32}"#;
    let config = BertConfig::parse(CONFIG, Path::new("config.json")).expect("a right configuration");
    let Some(tokenizer) = bounded(bytes, || BertTokenizer::read(directory, &config)).flatten() else { return };
    assert!(tokenizer.artifacts().iter().all(|a| std::fs::read(directory.join(&a.name)).is_ok_and(|b| b == a.bytes)));
    for (first, second) in [("The cat, 1\u{301}é\u{4f60}!", None), ("a", Some("b [MASK] c"))] {
        let features: Result<Features, Error> = tokenizer.features(Input::Text { first, second }, Some(16));
        if let Some(Features::Tokens { ids, segments }) = bounded(bytes, || features) {
            assert!(ids.len() == segments.len() && ids.len() <= 16, "{ids:?} {segments:?}");
            assert!(ids.iter().all(|id| *id < 64), "an id that the embeddings do not have: {ids:?}");
        }
    }
}

/// `config.json` of a wav2vec 2.0.
pub(crate) fn wav2vec2_config(bytes: &[u8]) {
    let path = Path::new("config.json");
    let Some(config) = bounded(bytes, || Wav2Vec2Config::parse(bytes, path)) else { return };
    let written = config.to_json(None).to_string();
    let again = Wav2Vec2Config::parse(written.as_bytes(), path).unwrap_or_else(|e| panic!("{e} in {written}"));
    assert_eq!(json!(again), json!(config));
    assert_eq!(config.hidden_size() % config.num_attention_heads(), 0);
    let field = config.receptive_field();
    assert!(field > 0 && config.steps(field) == 1 && config.steps(field - 1) == 0);
}

/// What lies beside the weights of a wav2vec 2.0. The first byte chooses among `preprocessor_config.json`, `vocab.json`, a
/// dictionary of fairseq, and the files of transformers 5 and of its tokenizers.
pub(crate) fn wav2vec2_files(bytes: &[u8]) {
    const FILES: [&str; 7] = [
        "preprocessor_config.json",
        "vocab.json",
        "dict.ltr.txt",
        "processor_config.json",
        "tokenizer_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
    ];
    let Some((choice, content)) = bytes.split_first() else { return };
    let name = FILES[usize::from(choice.saturating_sub(b'A')) % FILES.len()];
    with_directory(|directory| {
        let model = directory.join("wav2vec2");
        if !model.exists() {
            std::fs::create_dir(&model).expect("room for a directory");
            let fixture = Path::new(env!("CARGO_MANIFEST_DIR"));
            let fixture = if fixture.ends_with("fuzz") { fixture.parent().unwrap_or(fixture) } else { fixture };
            for file in ["config.json", "model.safetensors"] {
                let from = fixture.join("plugins/wav2vec2/tests/fixtures/base").join(file);
                std::fs::copy(from, model.join(file)).expect("a fixture");
            }
        }
        for file in FILES {
            let _ = std::fs::remove_file(model.join(file));
        }
        if ["tokenizer_config.json", "added_tokens.json"].contains(&name) {
            put(&model, FILES[1], br#"{"<s>": 0, "|": 1, "a": 4}"#);
        }
        put(&model, name, content);
        let options = toml::Table::new();
        let device = tch::Device::Cpu;
        let request = ModelRequest { path: model, options: &options, task: None, seed: 1, device };
        let Some(model) = bounded(bytes, || Wav2Vec2Model::open(&request)) else { return };
        let artifacts = model.artifacts().expect("what was read can be written");
        assert!(artifacts.iter().any(|artifact| artifact.name == FILES[0]));
        if let Some(Head::Ctc { vocabulary, .. }) = model.head() {
            let different: std::collections::BTreeSet<_> = vocabulary.iter().collect();
            assert_eq!((vocabulary.len(), different.len()), (11, 11));
        }
    });
}

/// The names of a CTC head's outputs and how they are spelled. A byte is the number of outputs; then come `vocab.json`,
/// `added_tokens.json` and `tokenizer_config.json`, divided by lines `=`.
pub(crate) fn output_names(bytes: &[u8]) {
    let Some((outputs, files)) = bytes.split_first() else { return };
    let Ok(files) = std::str::from_utf8(files) else { return };
    let objects = files.splitn(3, "\n=\n").map(serde_json::from_str::<serde_json::Map<_, _>>);
    let Ok(mut objects) = objects.collect::<Result<Vec<_>, _>>() else { return };
    objects.resize_with(3, serde_json::Map::new);
    let outputs = usize::from(*outputs);
    let named = || OutputNames::of(&objects[0], &objects[1], &objects[2], outputs);
    let Some(names) = bounded(bytes, named) else { return };
    assert_eq!((names.symbols.len(), names.told().is_some()), (outputs, !names.unnamed.is_empty()));
    // Names are different, so a dictionary takes them.
    let dictionary = Dictionary::of_head(names.symbols.clone(), 0).expect("every name once");
    let ids: Vec<u32> = (0..outputs as u32).collect();
    let spelling = Spelling::of_tokenizer(&objects[2], None);
    let text = spelling.text(&ids, &dictionary);
    assert_eq!(text, text.trim());
    // What was named is named again by a vocabulary of those names.
    let ids: serde_json::Map<_, _> = (0..).zip(&names.symbols).map(|(id, s)| (s.clone(), json!(id))).collect();
    let none = serde_json::Map::new();
    assert_eq!(OutputNames::of(&ids, &none, &none, outputs).map(|again| again.symbols), Ok(names.symbols));
}

/// Symbols of a CTC head: fairseq's `dict.*.txt`, and `vocab.json` of transformers.
pub(crate) fn dictionary(bytes: &[u8]) {
    let check = |dictionary: &Dictionary| {
        assert!(dictionary.blank() < dictionary.len() && dictionary.len() <= 10_000);
        for (id, symbol) in (0..).zip(dictionary.symbols()) {
            assert_eq!(dictionary.id(symbol), Some(id).filter(|id| !dictionary.is_special(*id)));
        }
    };
    if let Some(read) = bounded(bytes, || Dictionary::vocab_json(bytes)) {
        check(&read);
        let ids: serde_json::Map<_, _> = (0..).zip(read.symbols()).map(|(id, s)| (s.clone(), json!(id))).collect();
        let written = serde_json::to_vec(&ids).expect("a map of numbers");
        assert_eq!(Dictionary::vocab_json(&written).expect("what was written can be read"), read);
    }
    with_directory(|directory| {
        let path = put(directory, "dict.ltr.txt", bytes);
        let Some(read) = bounded(bytes, || Dictionary::read(&path)) else { return };
        check(&read);
        let own: String = read.symbols()[4..].iter().map(|symbol| format!("{symbol} 1\n")).collect();
        let written = put(directory, "dict.ltr.txt", own.as_bytes());
        assert_eq!(Dictionary::read(&written).expect("what was written can be read"), read);
    });
}

/// Transcripts of the recordings `a.wav` and `b.wav`. The first byte chooses the layout and what is written; a line `=`
/// divides those layouts that have two files.
pub(crate) fn transcripts(bytes: &[u8]) {
    // Format, the files, and options.
    const LAYOUTS: [(&str, [&str; 2], &str); 11] = [
        ("json-lines", ["list.jsonl", ""], "unit = 'letters'\ndictionary = 'train'"),
        ("json-lines", ["list.jsonl", ""], "unit = 'phones'\ndictionary = 'train'"),
        ("fairseq", ["list.tsv", "list.ltr"], "unit = 'letters'\nunknown = 'unk'"),
        ("fairseq", ["list.tsv", "list.wrd"], "unit = 'words-as-letters'\ndictionary = 'train'"),
        ("common-voice", ["list.tsv", ""], "unit = 'letters'\ndictionary = 'train'\nremove = '.,'"),
        ("common-voice", ["list.txt", "phones.txt"], "unit = 'phones'\nphones = 'phones.txt'\ndictionary = 'train'"),
        ("librispeech", ["a.trans.txt", ""], "unit = 'letters'\nskip_bad = true"),
        ("folder", ["a.txt", ""], "unit = 'letters'\ndictionary = 'train'"),
        ("common-voice", ["phones.txt", "phonesMatches_reduced.json"], "unit = 'phones'\nphones = 'phones.txt'"),
        ("columns", ["list.csv", ""], "unit = 'letters'\ndictionary = 'train'"),
        ("table", ["list.parquet", ""], "unit = 'letters'\ndictionary = 'train'\ncheck = 'decode'"),
    ];
    let Some((choice, content)) = bytes.split_first() else { return };
    let place = usize::from(choice.saturating_sub(b'A')) % LAYOUTS.len();
    let (format, [first, second], options) = LAYOUTS[place];
    let divided = content.windows(3).position(|line| line == b"\n=\n").filter(|_| !second.is_empty());
    let (one, two) = divided.map_or((content, &[][..]), |at| (&content[..=at], &content[at + 3..]));
    with_directory(|directory| {
        let directory = directory.join(format!("speech{place}"));
        if !directory.exists() {
            std::fs::create_dir(&directory).expect("room for a directory");
            put(&directory, "a.wav", &wav(1600));
            put(&directory, "b.wav", &wav(800));
            put(&directory, "both.lst", b"a\nb\n");
        }
        put(&directory, first, one);
        if !second.is_empty() {
            put(&directory, second, two);
        }
        let list = match (format, first) {
            ("librispeech" | "folder", _) => ".",
            (_, "phones.txt") => "both.lst",
            _ => first,
        };
        let mut options: toml::Table = options.parse().expect("right options");
        let path = directory.to_string_lossy().into_owned();
        options.extend([("path", path), ("format", format.into())].map(|(key, value)| (key.into(), value.into())));
        options.extend(["train", "validation"].map(|key| (key.into(), list.into())));
        let request = DatasetRequest::new(&options, Some(Arc::new(Waveform)));
        let Some(data) = bounded(bytes, || lopper_speech::open(&request)) else { return };
        let split = Split::VALIDATION;
        assert!(data.len(&split) > 0);
        let batch = data.batch(&split, &[0]).expect("what was accepted can be read");
        let Some(Targets::Sequences(rows)) = batch.targets else { panic!("no sequences") };
        assert!(rows.iter().flatten().all(|id| *id >= 0));
        let batch = data.batch(&Split::TRAIN, &[0]).expect("what was accepted can be read");
        let Some(Targets::Sequences(rows)) = batch.targets else { panic!("no sequences") };
        let (outputs, blank) = (data.dictionary().len() as i64, data.dictionary().blank() as i64);
        assert!(rows.iter().flatten().all(|id| (0..outputs).contains(id) && *id != blank));
        // What is judged may be nothing.
        assert!(rows.iter().all(|row| !row.is_empty()));
    });
}

/// 16-bit mono at 16 kHz.
fn wav(samples: u32) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend((36 + 2 * samples).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend([16_000u32, 32_000].map(u32::to_le_bytes).concat());
    file.extend(b"\x02\0\x10\0data");
    file.extend((2 * samples).to_le_bytes());
    file.extend((0..samples).flat_map(|n| ((n * 37 % 2000) as i16).to_le_bytes()));
    file
}

/// Hands on samples as they are.
struct Waveform;

impl Preprocessor for Waveform {
    fn features(&self, input: Input<'_>, _max_length: Option<u32>) -> lopper::Result<Features> {
        match input {
            Input::Audio { samples, .. } => Ok(Features::Samples(samples.to_vec())),
            _ => Err(Error::Other("no audio".into())),
        }
    }

    fn collate(&self, _features: &[&Features]) -> lopper::Result<Inputs> {
        Ok(Inputs::new())
    }

    fn identity(&self) -> String {
        "waveform".into()
    }
}

/// What [`set_hook`] takes.
type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Send + Sync>;

/// While it lives, panics are silent: a decoder's is an error of ours and no broken promise, and fuzzing would stop at it.
/// It must not live where an assertion of a target may fail, because its message would be lost, and because a thread that
/// panics can set no hook.
struct Silence(Option<Hook>);

impl Silence {
    fn new() -> Self {
        let hook = take_hook();
        set_hook(Box::new(|_| {}));
        Self(Some(hook))
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        if let (Some(hook), false) = (self.0.take(), std::thread::panicking()) {
            set_hook(hook);
        }
    }
}

/// A recording in any format that is told by its content.
pub(crate) fn recording(bytes: &[u8]) {
    /// Bytes of the longest recording's samples, which is what `load` is asked for: an hour may be a few kB of silence.
    const HOUR: u64 = 4 * audio::LONGEST * audio::RATE as u64;
    with_directory(|directory| {
        let path = put(directory, "recording", bytes);
        let look = |check| {
            let _silence = Silence::new();
            audio::inspect(&path, check)
        };
        let load = || {
            let _silence = Silence::new();
            audio::load(&path)
        };
        let looks = [audio::Check::Headers, audio::Check::Content, audio::Check::Decode];
        let seen = looks.map(|check| bounded(bytes, || look(check)));
        let samples = bounded_beside(HOUR, bytes, load);
        if let (Some(samples), [_, _, Some(decoded)]) = (&samples, &seen) {
            assert!(samples.iter().all(|sample| sample.is_finite()));
            assert_eq!(samples.len() as u64, u64::from(decoded.samples));
        }
        assert!(seen[2].is_none() || seen[1].is_some(), "decoded, and not walked through");
    });
}
