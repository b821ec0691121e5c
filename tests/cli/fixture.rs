//! A tiny BERT, tiny GLUE files, and the program to run on them.

use lopper_bert::{BertConfig, parameter_shapes};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Prunable entries of [`Fixture::model`]: 2 blocks of 4 · 16 · 16 + 2 · 16 · 32, and the pooler's 16 · 16.
pub(crate) const PRUNABLE: u64 = 2 * (4 * 256 + 2 * 512) + 256;

/// A directory of its own that the program runs in.
pub(crate) struct Fixture {
    directory: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Answer {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// The answer of a command that succeeded.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// One JSON document and nothing else.
    pub(crate) fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e} in: {text}"))
    }
}

impl Fixture {
    /// An empty directory with `model/` (an encoder), `classifier/` (with a head for two classes) and `SST-2/`.
    pub(crate) fn new() -> Self {
        let fixture = Self { directory: tempfile::tempdir().unwrap() };
        fixture.model("model", 16, &json!({}), None);
        fixture.model("classifier", 16, &json!({"id2label": {"0": "negative", "1": "positive"}}), Some(2));
        fixture.sst(64);
        fixture
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lopper"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_remove("RUST_LOG")
            .env("HF_HUB_OFFLINE", "1")
            .env("OMP_NUM_THREADS", "1");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Answer {
        Answer::of(self.command(arguments).output().unwrap())
    }

    /// A configuration on the tiny model and task. `prune` is the `[prune]` table.
    pub(crate) fn config(&self, name: &str, prune: &str) -> &Self {
        let text = format!(
            "device = \"cpu\"\n[model]\npath = \"model\"\n[data]\nname = \"glue\"\ntask = \"sst-2\"\npath = \"SST-2\"\n\
             [prune]\n{prune}\n[train]\nepochs = 1\nbatch_size = 8\nlearning_rate = 1e-3\n"
        );
        self.write(name, text)
    }

    /// Writes a checkpoint directory: config.json, model.safetensors and vocab.txt.
    pub(crate) fn model(&self, name: &str, width: u64, more: &Value, outputs: Option<usize>) {
        let mut config = json!({
            "model_type": "bert", "vocab_size": VOCABULARY.len(), "hidden_size": width, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 32, "max_position_embeddings": 128,
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let text = serde_json::to_vec_pretty(&config).unwrap();
        let parsed = BertConfig::parse(&text, Path::new("config.json")).unwrap();
        let mut state = 1u64;
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = parameter_shapes(&parsed, outputs)
            .into_iter()
            .map(|(name, shape)| {
                let shape: Vec<usize> = shape.iter().map(|d| *d as usize).collect();
                let norm = name.as_str().contains("LayerNorm.weight");
                let bytes = (0..shape.iter().product::<usize>()).flat_map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let uniform = (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
                    if norm { 1.0f32 } else { 0.2 * uniform }.to_le_bytes()
                });
                let bytes = bytes.collect();
                (name.to_string(), shape, bytes)
            })
            .collect();
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        self.write(&format!("{name}/config.json"), text)
            .write(&format!("{name}/vocab.txt"), VOCABULARY.join("\n"))
            .write(&format!("{name}/model.safetensors"), safetensors::serialize(views, None).unwrap());
    }

    /// Writes `SST-2/` with that many training sentences.
    pub(crate) fn sst(&self, rows: usize) {
        for (file, rows) in [("train", rows), ("dev", rows / 4)] {
            let mut text = "sentence\tlabel\n".to_owned();
            for row in 0..rows {
                let (words, label) = if row % 2 == 0 { (["good", "fine"], 1) } else { (["bad", "dull"], 0) };
                let noun = ["film", "play", "book"][row % 3];
                text += &format!("the {} {noun} is {}\t{label}\n", words[row / 2 % 2], words[row / 4 % 2]);
            }
            self.write(&format!("SST-2/{file}.tsv"), text);
        }
    }
}

const VOCABULARY: [&str; 17] = [
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "a", "is", "was", "good", "fine", "bad", "dull", "film",
    "play", "book", ".",
];
