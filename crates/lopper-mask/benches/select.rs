//! Global selection on matrices of BERT-base's encoder: 84,934,656 entries in 72 tensors, at 70 %.
#![allow(clippy::unwrap_used, missing_docs, reason = "a benchmark")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use lopper_mask::{Among, HostSelector, Layout, MaskSet, Order, ParameterName, Sparsity};
use rand::{Rng, SeedableRng};
use std::hint::black_box;
use std::sync::Arc;

/// Rows and columns of the six matrices of one layer: four of attention, two of the feed-forward network.
const LAYER: [[u64; 2]; 6] = [[768, 768], [768, 768], [768, 768], [768, 768], [3072, 768], [768, 3072]];

fn layout() -> Arc<Layout> {
    let shapes = (0..12).flat_map(|_| LAYER).enumerate();
    let named = shapes.map(|(i, shape)| (ParameterName::new(format!("matrix{i}")), shape.to_vec()));
    Arc::new(Layout::new(named).unwrap())
}

/// Bell-shaped weights of standard deviation 0.04, as pre-trained encoders have them.
fn weights(layout: &Layout) -> Vec<Vec<f32>> {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut weight = || (0..4).map(|_| generator.random::<f32>() - 0.5).sum::<f32>() * 0.07;
    layout.tensors().iter().map(|tensor| (0..tensor.entries()).map(|_| weight()).collect()).collect()
}

fn slices(weights: &[Vec<f32>]) -> Vec<&[f32]> {
    weights.iter().map(Vec::as_slice).collect()
}

fn select(criterion: &mut Criterion) {
    let layout = layout();
    let mut weights = weights(&layout);
    let pruned = Sparsity::new(0.7).unwrap().pruned_of(layout.entries());
    let dense = MaskSet::dense(layout.clone());
    let mut selector = HostSelector::new();
    let mut group = criterion.benchmark_group("select");
    group.sample_size(10);

    group.bench_function("fresh", |bencher| {
        bencher.iter_batched(
            || dense.clone(),
            |mut mask| {
                selector.select_into(&slices(&weights), Order::Magnitude, &mut mask, pruned, Among::All).unwrap();
                mask
            },
            BatchSize::LargeInput,
        );
    });

    let mut mask = dense.clone();
    selector.select_into(&slices(&weights), Order::Magnitude, &mut mask, pruned, Among::All).unwrap();
    group.bench_function("apply", |bencher| {
        bencher.iter(|| {
            for (index, values) in weights.iter_mut().enumerate() {
                mask.apply(index, values).unwrap();
            }
        });
    });
    group.bench_function("warm, nothing changes", |bencher| {
        bencher
            .iter(|| selector.select_into(&slices(&weights), Order::Magnitude, &mut mask, pruned, Among::All).unwrap());
    });

    // A thousand pruned entries grow over the threshold, as after some updates of PARP.
    for step in 0..1000usize {
        let tensor = step % weights.len();
        let index = step * 37 % weights[tensor].len();
        weights[tensor][index] = 0.05;
    }
    group.bench_function("warm, a thousand swap", |bencher| {
        bencher.iter_batched(
            || mask.clone(),
            |mut mask| {
                selector.select_into(&slices(&weights), Order::Magnitude, &mut mask, pruned, Among::All).unwrap();
                mask
            },
            BatchSize::LargeInput,
        );
    });

    let sparsity = Sparsity::new(0.7).unwrap();
    group.bench_function("random", |bencher| {
        bencher.iter(|| black_box(MaskSet::random(layout.clone(), sparsity, 7)));
    });
    group.finish();
}

criterion_group!(benches, select);
criterion_main!(benches);
