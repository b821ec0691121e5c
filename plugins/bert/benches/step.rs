//! Forward and backward of one batch of 32 with dropout, MiniLM, with and without padding. `cargo xtask bench` compares
//! whole updates with transformers.
//!
//! `cargo bench --profile dev -p lopper-bert`: the one profile that is built already. Needs the checkpoint that
//! `cargo xtask demo` fetches, or `LOPPER_MINILM`.

use criterion::{BenchmarkId, Criterion, SamplingMode, criterion_group, criterion_main};
use lopper_bert::BertModel;
use lopper_core::{Batch, Head, Inputs, Mode, Model, ModelRequest, Targets, Task};
use std::hint::black_box;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

const ROWS: i64 = 32;

fn model() -> BertModel {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/minilm");
    let path = std::env::var_os("LOPPER_MINILM").map_or(usual, PathBuf::from);
    let task = Task::new("pairs", Head::Classification { labels: vec!["no".into(), "yes".into()] }, "accuracy");
    let options = toml::Table::new();
    let request = ModelRequest { path, options: &options, task: Some(&task), device: Device::Cpu, seed: 1 };
    BertModel::open(&request).expect("a checkpoint: `cargo xtask demo` fetches it")
}

/// Rows of `length` tokens, or of lengths spread evenly from `shortest` to `length`.
fn batch(length: i64, shortest: i64) -> Batch {
    let cpu = (Kind::Int64, Device::Cpu);
    let lengths =
        Tensor::linspace(shortest, length, ROWS, (Kind::Float, Device::Cpu)).to_kind(Kind::Int64).unsqueeze(1);
    let mask = Tensor::arange(length, cpu).unsqueeze(0).lt_tensor(&lengths).to_kind(Kind::Int64);
    let ids = Tensor::randint_low(1000, 30000, [ROWS, length], cpu) * &mask;
    let inputs = Inputs::from([
        ("input_ids", ids),
        ("attention_mask", mask),
        ("token_type_ids", Tensor::zeros([ROWS, length], cpu)),
    ]);
    Batch::new(inputs, Targets::Classes(Tensor::zeros([ROWS], cpu)), ROWS as usize)
}

fn step(model: &BertModel, batch: &Batch) {
    let loss = model.loss(batch, Mode::Train).expect("a well-formed batch");
    black_box(&loss.sum).backward();
    for parameter in model.parameters().iter() {
        parameter.tensor.shallow_clone().zero_grad();
    }
}

fn steps(c: &mut Criterion) {
    tch::set_num_threads(2);
    let model = model();
    let mut group = c.benchmark_group("bert_step");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    for length in [16, 48, 128] {
        for (kind, shortest) in [("full", length), ("padded", length / 8)] {
            let batch = batch(length, shortest);
            group.bench_function(BenchmarkId::new(kind, length), |b| b.iter(|| step(&model, &batch)));
        }
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
