//! What is called at every update asks the allocator for nothing after its first call. Alone in its program, because
//! the allocations of the whole process are counted.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use alloc_tracker::{Allocator, Session};
use lopper_mask::{Among, Change, HostSelector, Layout, MaskSet, Order, ParameterName, Sparsity, pack_bits_into};
use std::alloc::System;
use std::sync::Arc;

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

    on_threads(1, slices);
}

fn slices() {
    let (layout, mut weights) = weights();
    // Not clones of one another: bits that are shared are copied when they first change.
    let [dense, mut mask, mut other] = [(); 3].map(|()| MaskSet::dense(layout.clone()));
    let mut selector = HostSelector::new();
    let mut select = |weights: &[Vec<f32>], mask: &mut MaskSet, pruned: u64| {
        let slices: [&[f32]; 3] = std::array::from_fn(|i| weights[i].as_slice());
        allocations(|| selector.select_into(&slices, Order::Magnitude, mask, pruned, Among::All).unwrap())
    };
    let pruned = Sparsity::new(0.7).unwrap().pruned_of(layout.entries());
    select(&weights, &mut mask, pruned);
    assert_eq!(select(&weights, &mut other, pruned).1, 0, "a fresh selection");
    assert_eq!(mask, other);

    without("apply", || {
        for (index, values) in weights.iter_mut().enumerate() {
            mask.apply(index, values).unwrap();
        }
    });
    let unchanged = select(&weights, &mut mask, pruned);
    assert_eq!(unchanged, (Change::default(), 0), "a warm selection that changes nothing");
    weights[1][..300].fill(0.7005);
    let (change, count) = select(&weights, &mut mask, pruned);
    assert!(change.revived > 0 && change.revived == change.newly_pruned, "{change:?}");
    assert_eq!(count, 0, "a warm selection that changes something");
    // So many ties that they are told apart chunk by chunk.
    let zeros = pruned - 1000;
    select(&weights, &mut mask, zeros);
    assert_eq!(select(&weights, &mut other, zeros).1, 0, "ties");
    assert_eq!((other.pruned(), &other), (zeros, &mask));

    let (bytes, mut words) = (mask.to_bytes(0), vec![u64::MAX; mask.words()[0].len()]);
    without("packing", || pack_bits_into(&bytes, &mut words));
    assert_eq!(words, mask.words()[0]);
    without("counting", || (mask.kept(), mask.pruned(), mask.compare(&dense).unwrap().iou));
    without("checking", || mask.nonzero_pruned(0, &weights[0]).unwrap());
    let mut slices: Vec<&mut [f32]> = weights.iter_mut().map(Vec::as_mut_slice).collect();
    without("apply_all", || mask.apply_all(&mut slices).unwrap());
}
