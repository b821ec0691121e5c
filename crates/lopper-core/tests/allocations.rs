//! What is called at every update asks the allocator for nothing after its first call. Alone in its program, because
//! the allocations of the whole process are counted.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use alloc_tracker::{Allocator, Session};
use lopper_core::{
    Change, Layout, MaskSet, ParameterName, PrunableWeight, Request, Scores, Selector, Sparsity, WeightView,
};
use std::alloc::System;
use std::sync::Arc;
use tch::Tensor;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// Allocations of all threads while `work` runs.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("work");
    let span = operation.measure_process().iterations(1);
    let result = work();
    drop(span);
    let count = session.to_report().operations().map(|(_, operation)| operation.total_allocations_count()).sum();
    (result, count)
}

/// A result that took no allocation.
fn without<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let (result, count) = allocations(work);
    assert_eq!(count, 0, "{what}");
    result
}

/// Three tensors of several chunks and a rest.
fn weights() -> (Arc<Layout>, Vec<Vec<f32>>) {
    let lengths = [200_000u64, 70_001, 131_072];
    let named = lengths.iter().enumerate().map(|(i, n)| (ParameterName::new(format!("t{i}")), vec![*n]));
    let layout = Arc::new(Layout::new(named).unwrap());
    let mut state = 1u64;
    let mut value = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (layout, lengths.iter().map(|n| (0..*n).map(|_| value()).collect()).collect())
}

/// Runs `work` on a pool's own thread, as a rayon program does.
fn on_threads(number: usize, work: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(number).build().unwrap().install(work);
}

#[test]
fn nothing_is_allocated_after_the_first_call() {
    let (made, count) = allocations(|| vec![1u8; 1000]);
    assert_eq!((made.len(), count), (1000, 1), "allocations are counted");

    on_threads(1, views);
}

fn views() {
    let (layout, weights) = weights();
    let tensors: Vec<Tensor> = weights.iter().map(|values| Tensor::from_slice(values)).collect();
    let listed = layout.tensors().iter().zip(&tensors).zip(&weights);
    let listed =
        listed.map(|((named, tensor), values)| PrunableWeight::new(named.name(), tensor, Some(values)).unwrap());
    let view = WeightView::new(&layout, listed.collect());
    let mut selector = Selector::new();
    let mut mask = MaskSet::dense(layout.clone());
    let request = Request::global(Sparsity::new(0.5).unwrap());
    let mut select = || selector.select_into(&view, &Scores::Magnitude, &mut mask, &request).unwrap();
    let first = select();
    assert!(first.newly_pruned > 0);
    assert_eq!(without("a second selection from a view", select), Change::default());
}
