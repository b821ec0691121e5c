//! Masks and metrics of every method, bit for bit, as they have been since commit 13bb774.
//!
//! A change that makes one of them differ makes stored results wrong: raise `lopper_session::FORMAT` with it, so that nobody
//! is given an old result for a new one, and write the values anew: `LOPPER_GOLDEN=write cargo test --test cli golden`. With
//! `LOPPER_GOLDEN_BINARY` another binary's values are compared or written.
//!
//! The kernels of every x86-64 machine round differently; the variables below choose those that all of them have.

use crate::fixture::{Answer, Fixture};
use lopper_core::MaskSet;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

const METHODS: [(&str, &str); 9] = [
    ("dense", "method = 'dense'\nsparsity = 0"),
    ("rp", "method = 'rp'\nsparsity = 0.5"),
    ("rp, random initialisation", "method = 'rp'\nsparsity = 0.7\nkind = 'random_init_magnitude'"),
    ("mpi", "method = 'mpi'\nsparsity = 0.5"),
    ("omp", "method = 'omp'\nsparsity = 0.5"),
    ("imp", "method = 'imp'\nsparsity = 0.6\nstep = 0.2\nrewind = 0.3"),
    ("imp, BERT-Tickets", "method = 'imp'\nsparsity = 0.3\nbert_tickets_compat = true"),
    ("parp", "method = 'parp'\nsparsity = 0.5\nevery = 5"),
    ("parp-p", "method = 'parp-p'\nsparsity = 0.5\nfrom = [0.2, 0.35]\nevery = 5\nmoments = 'zero'"),
];

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/golden.json")
}

fn run(f: &Fixture, arguments: &[&str]) -> Answer {
    let mut command = f.command(arguments);
    if let Some(binary) = std::env::var_os("LOPPER_GOLDEN_BINARY") {
        let own = command;
        command = Command::new(binary);
        command.args(own.get_args()).current_dir(own.get_current_dir().unwrap()).env("OMP_NUM_THREADS", "1");
    }
    command.env("ATEN_CPU_CAPABILITY", "default").env("MKL_CBWR", "COMPATIBLE").env("ONEDNN_MAX_CPU_ISA", "SSE41");
    Answer::of(command.output().unwrap())
}

/// The words of a mask, and every line of the metrics but for keys, which name no result.
fn outcome(f: &Fixture, out: &str) -> Value {
    let mask = MaskSet::from_file_bytes(&f.read(&format!("{out}/model/mask.safetensors"))).unwrap().0;
    let words: Vec<u8> = mask.words().iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
    let lines = String::from_utf8(f.read(&format!("{out}/metrics.jsonl"))).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| {
            let mut line: Map<String, Value> = serde_json::from_str(line).unwrap();
            line.remove("key");
            line.into()
        })
        .collect();
    let last = lines.iter().rev().find(|line| line["event"] == "update").map(|line| line["loss"].clone());
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let metrics = hash(Value::from(lines.clone()).to_string().as_bytes());
    json!({"mask": hash(&words), "pruned": mask.pruned(), "lines": lines.len(), "last_loss": last, "metrics": metrics})
}

#[test]
fn every_method_gives_the_masks_and_metrics_that_it_gave() {
    let f = Fixture::new();
    let mut found = Map::new();
    for (number, (name, prune)) in METHODS.iter().enumerate() {
        f.config("run.toml", prune);
        let (out, store) = (format!("out{number}"), format!("run.store=store{number}"));
        let set =
            ["--set", "train.updates=23", "evaluate.every=7", "train.accumulate=2", "train.clip_norm=1.0", &store];
        run(&f, &[&["run", "run.toml", "--json", "--out", &out][..], &set].concat()).ok();
        found.insert((*name).to_owned(), outcome(&f, &out));
    }
    if std::env::var("LOPPER_GOLDEN").is_ok_and(|what| what == "write") {
        std::fs::write(file(), serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    let golden: Map<String, Value> = serde_json::from_slice(&std::fs::read(file()).unwrap()).unwrap();
    for (name, _) in METHODS {
        assert_eq!(found[name], golden[name], "{name}: raise lopper_session::FORMAT if this is meant");
    }
    assert_eq!(golden.len(), METHODS.len());
}
