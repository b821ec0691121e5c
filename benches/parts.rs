//! The parts of a run on MiniLM: an update, tokenising, batching, loading and saving. Selection and forward passes have
//! benchmarks in `lopper-core` and `lopper-bert`.
//!
//! `cargo bench --profile dev --bench parts`: the one profile that is built already. Needs the checkpoint that
//! `cargo xtask demo` fetches, or `LOPPER_MINILM`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use lopper::session::{Batcher, OptimizerState, clip_gradients};
use lopper::{
    Batch, Batching, Features, Head, Input, MaskOrigin, MaskSet, Mode, Model, ModelRequest, Optimizer, ParameterName,
    Preprocessor, Sparsity, Targets, Task,
};
use lopper_bert::BertModel;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Tensor};

const ROWS: usize = 32;
/// Sentences of CoLA's training split; theirs have about as many words.
const SENTENCES: usize = 8551;

fn open() -> BertModel {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join(".models/minilm");
    let path = std::env::var_os("LOPPER_MINILM").map_or(usual, PathBuf::from);
    let task = Task::new("sentences", Head::Classification { labels: vec!["no".into(), "yes".into()] }, "accuracy");
    let options = toml::Table::new();
    let request = ModelRequest { path, options: &options, task: Some(&task), device: Device::Cpu, seed: 1 };
    BertModel::open(&request).expect("a checkpoint: `cargo xtask demo` fetches it")
}

/// Sentences of 4 to 13 words, some of which WordPiece cuts.
fn sentences() -> Vec<String> {
    const WORDS: [&str; 9] =
        ["the", "children", "reverberated", "Copenhagen", "because", "nobody's", "unwaveringly", "of", "sleep"];
    let sentence = |row: usize| {
        let words: Vec<&str> = (0..4 + row * 7 % 10).map(|column| WORDS[(row + column * 5) % WORDS.len()]).collect();
        words.join(" ") + "."
    };
    (0..SENTENCES).map(sentence).collect()
}

fn encode(preprocessor: &dyn Preprocessor, sentences: &[String]) -> Vec<Features> {
    let features = |first: &String| preprocessor.features(Input::Text { first, second: None }, Some(128)).unwrap();
    sentences.iter().map(features).collect()
}

/// One optimizer step on 32 sentences, as the update loop takes it.
fn update(criterion: &mut Criterion) {
    let model = open();
    let features = encode(model.preprocessor().unwrap().as_ref(), &sentences()[..ROWS]);
    let inputs = model.preprocessor().unwrap().collate(&features.iter().collect::<Vec<_>>()).unwrap();
    let targets = Targets::Classes(Tensor::from_slice(&[0i64, 1]).repeat([ROWS as i64 / 2]));
    let batch = Batch::new(inputs, targets, ROWS);
    let parameters: Vec<(ParameterName, Tensor)> =
        model.parameters().iter().map(|p| (p.name.clone(), p.tensor.shallow_clone())).collect();
    let adamw = Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let mut optimizer = OptimizerState::new(&adamw, &parameters).unwrap();
    let mut group = criterion.benchmark_group("update");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    group.bench_function("forward and backward", |bencher| {
        bencher.iter(|| {
            optimizer.zero_grad().unwrap();
            let loss = model.loss(&batch, Mode::Train).unwrap();
            (loss.sum / loss.count).backward();
        });
    });
    group.bench_function("clipping", |bencher| bencher.iter(|| clip_gradients(&parameters, 1.0).unwrap()));
    group.bench_function("AdamW", |bencher| bencher.iter(|| optimizer.step(2e-5).unwrap()));
    group.finish();
}

fn tokenising(criterion: &mut Criterion) {
    let (preprocessor, sentences) = (open().preprocessor().unwrap(), sentences());
    let mut group = criterion.benchmark_group("tokenising");
    group.sample_size(10).throughput(Throughput::Elements(SENTENCES as u64));
    group.bench_function("one thread", |bencher| bencher.iter(|| encode(preprocessor.as_ref(), black_box(&sentences))));
    group.finish();
}

fn batching(criterion: &mut Criterion) {
    let preprocessor = open().preprocessor().unwrap();
    let features = encode(preprocessor.as_ref(), &sentences());
    let costs: Vec<u32> = features.iter().map(|f| f.len() as u32).collect();
    let mut group = criterion.benchmark_group("batching");
    for (name, batching, bucket) in [
        ("an epoch, shuffled", Batching::Examples(ROWS as u64), false),
        ("an epoch, by length", Batching::Examples(ROWS as u64), true),
        ("an epoch, 4096 tokens", Batching::Budget(4096), true),
    ] {
        let batcher = Batcher::new(&costs, &batching, bucket, 1).unwrap();
        group.bench_function(name, |bencher| bencher.iter(|| batcher.epoch(black_box(1))));
    }
    let rows: Vec<&Features> = features.iter().take(ROWS).collect();
    group.bench_function("padding 32 rows", |bencher| bencher.iter(|| preprocessor.collate(black_box(&rows)).unwrap()));
    group.finish();
}

fn files(criterion: &mut Criterion) {
    let model = open();
    let layout = Arc::new(model.layout().unwrap());
    let mask = MaskSet::random(layout, Sparsity::new(0.7).unwrap(), 1);
    let folder = tempfile::tempdir().unwrap();
    let bytes: usize = model.parameters().iter().map(|p| p.tensor.numel() * 4).sum();
    let mut group = criterion.benchmark_group("files");
    group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("loading", |bencher| bencher.iter_batched(|| (), |()| open(), BatchSize::PerIteration));
    group.bench_function("saving", |bencher| {
        bencher.iter(|| {
            let place = folder.path().join("model");
            lopper::weights::save_model(&place, &model, Some(&mask), &MaskOrigin::default()).unwrap();
        });
    });
    group.finish();
}

criterion_group!(benches, update, tokenising, batching, files);
criterion_main!(benches);
