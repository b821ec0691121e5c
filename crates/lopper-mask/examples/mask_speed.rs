//! How fast masks are made, changed and applied, against the speed of memory itself.
//!
//! `cargo run -p lopper-mask --example mask_speed [-- --entries-scale 0.1]` ranks the matrices of BERT-base's encoder,
//! 84,934,656 entries in 72 tensors, at 70 %. The scale multiplies the number of rows. It prints one JSON object: times are
//! medians in seconds, taken in turns in one process on the threads of rayon's pool (RAYON_NUM_THREADS).
//!
//! | key | is |
//! |---|---|
//! | `entries`, `threads`, `rounds` | what was measured |
//! | `read_pass` | the sum of all weights: 4 bytes an entry |
//! | `floor_fresh` | two read passes and one `apply`: 16 bytes an entry, what a fresh selection cannot go below |
//! | `fresh` | a selection from a dense mask |
//! | `warm_unchanged` | the selection again when no entry changes its side |
//! | `warm_thousand_swap` | the selection again after a thousand pruned entries have grown over the threshold |
//! | `apply` | zeros in place |
//! | `pack` | bits from one byte an entry, all tensors |
//! | `iou` | the comparison of two masks |
//! | `file` | the bytes of a mask file, with their checksum |
//! | `extra_bytes` | all that a first fresh selection allocated beside weights and mask, an upper bound of its peak |
//! | `weight_bytes` | what the weights take |
#![allow(clippy::print_stdout, reason = "its result")]

use alloc_tracker::{Allocator, Session};
use lopper_mask::{
    Among, Change, HostSelector, Layout, MaskOrigin, MaskSet, Order, ParameterName, Sparsity, pack_bits_into,
};
use rand::{Rng, SeedableRng};
use rayon::prelude::*;
use serde_json::json;
use std::alloc::System;
use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

#[global_allocator]
static ALLOCATOR: Allocator<System> = Allocator::system();

/// Rows and columns of the six matrices of one layer: four of attention, two of the feed-forward network.
const LAYER: [[u64; 2]; 6] = [[768, 768], [768, 768], [768, 768], [768, 768], [3072, 768], [768, 3072]];
const ROUNDS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let layout = layout(scale()?)?;
    let dense_weights = weights(&layout);
    let mut weights = dense_weights.clone();
    let pruned = Sparsity::new(0.7)?.pruned_of(layout.entries());
    let mut dense = MaskSet::dense(layout.clone());
    let (mut selector, mut again) = (HostSelector::new(), HostSelector::new());
    let select = |selector: &mut HostSelector, weights: &[Vec<f32>], mask: &mut MaskSet| {
        let slices: Vec<&[f32]> = weights.iter().map(Vec::as_slice).collect();
        selector.select_into(&slices, Order::Magnitude, mask, pruned, Among::All)
    };

    // Not a clone of `dense`, whose bits would be copied within what is measured.
    let mut mask = MaskSet::dense(layout.clone());
    // The pool starts its threads at its first use.
    black_box(mask.kept());
    let (first, extra_bytes) = allocated(|| select(&mut selector, &weights, &mut mask));
    first?;
    select(&mut again, &weights, &mut dense.clone())?;
    let other = MaskSet::random(layout.clone(), Sparsity::new(0.7)?, 7);
    let bytes: Vec<Vec<u8>> = (0..layout.tensors().len()).map(|index| mask.to_bytes(index)).collect();
    let mut packed = mask.words().to_vec();
    mask.apply_all(&mut weights.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>())?;

    let mut times: Vec<[f64; 9]> = Vec::new();
    for _ in 0..ROUNDS {
        let read_pass = timed(|| black_box(read(&weights))).1;
        let floor_fresh = timed(|| -> lopper_mask::Result<()> {
            black_box(read(&weights) + read(&weights));
            apply(&mask, &mut weights)
        });
        floor_fresh.0?;
        let applied = timed(|| apply(&mask, &mut weights));
        applied.0?;

        let unchanged = timed(|| select(&mut again, &weights, &mut mask));
        assert_eq!(unchanged.0?, Change::default());
        let grown = grow(&mask, &mut weights);
        // A clone's bits would be copied within the time that is taken; those of a run's mask are its own.
        let mut swapped = MaskSet::from_words(layout.clone(), mask.words().to_vec())?;
        let thousand = timed(|| select(&mut again, &weights, &mut swapped));
        assert_eq!(thousand.0?.revived, grown.len() as u64);
        for (tensor, index) in grown {
            weights[tensor][index] = 0.0;
        }

        // From bits that are in memory already, as they are in a run.
        let fresh = timed(|| select(&mut selector, &dense_weights, black_box(&mut dense)));
        fresh.0?;
        assert_eq!(dense, mask);
        dense = MaskSet::dense(layout.clone());

        // Into words that are there, as a run that packs again and again has them.
        let pack =
            timed(|| bytes.iter().zip(&mut packed).for_each(|(bytes, words)| pack_bits_into(black_box(bytes), words)))
                .1;
        let iou = timed(|| mask.compare(&other));
        iou.0?;
        let file = timed(|| mask.to_file_bytes(&MaskOrigin::new()));
        file.0?;
        times.push([read_pass, floor_fresh.1, fresh.1, unchanged.1, thousand.1, applied.1, pack, iou.1, file.1]);
    }
    let median = |column: usize| {
        let mut all: Vec<f64> = times.iter().map(|round| round[column]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let result = json!({
        "entries": layout.entries(),
        "threads": rayon::current_num_threads(),
        "rounds": ROUNDS,
        "read_pass": median(0),
        "floor_fresh": median(1),
        "fresh": median(2),
        "warm_unchanged": median(3),
        "warm_thousand_swap": median(4),
        "apply": median(5),
        "pack": median(6),
        "iou": median(7),
        "file": median(8),
        "extra_bytes": extra_bytes,
        "weight_bytes": layout.entries() * 4,
    });
    println!("{result}");
    Ok(())
}

fn scale() -> Result<f64, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let scale = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Some(1.0),
        ["--entries-scale", scale] => scale.parse().ok().filter(|scale| (0.01..=100.0).contains(scale)),
        _ => None,
    };
    scale.ok_or_else(|| format!("{arguments:?}: nothing or --entries-scale S is accepted, S from 0.01 to 100").into())
}

fn layout(scale: f64) -> lopper_mask::Result<Arc<Layout>> {
    let shapes = (0..12).flat_map(|_| LAYER).enumerate();
    let rows = |rows: u64| ((rows as f64 * scale) as u64).max(1);
    let named = shapes.map(|(i, [r, c])| (ParameterName::new(format!("matrix{i}")), vec![rows(r), c]));
    Ok(Arc::new(Layout::new(named)?))
}

/// Bell-shaped weights of standard deviation 0.04, as pre-trained encoders have them.
fn weights(layout: &Layout) -> Vec<Vec<f32>> {
    let mut generator = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let mut weight = || (0..4).map(|_| generator.random::<f32>() - 0.5).sum::<f32>() * 0.07;
    layout.tensors().iter().map(|tensor| (0..tensor.entries()).map(|_| weight()).collect()).collect()
}

/// The sum of all weights, in lanes, so that memory and not the addition takes the time.
fn read(weights: &[Vec<f32>]) -> f32 {
    let sum = |values: &[f32]| {
        let mut lanes = [0.0f32; 32];
        for values in values.as_chunks::<32>().0 {
            for lane in 0..32 {
                lanes[lane] += values[lane];
            }
        }
        lanes.iter().sum::<f32>()
    };
    weights.par_iter().flat_map(|values| values.par_chunks(1 << 16)).map(sum).sum()
}

fn apply(mask: &MaskSet, weights: &mut [Vec<f32>]) -> lopper_mask::Result<()> {
    weights.iter_mut().enumerate().try_for_each(|(index, values)| mask.apply(index, values))
}

/// Lets a thousand pruned entries grow far over the threshold, and says which.
fn grow(mask: &MaskSet, weights: &mut [Vec<f32>]) -> Vec<(usize, usize)> {
    let tensors = weights.len();
    let places = (0..).map(|step: usize| (step % tensors, step * 37 % weights[step % tensors].len()));
    let mut seen = std::collections::BTreeSet::new();
    let pruned = places.filter(|(tensor, index)| !mask.is_kept(*tensor, *index as u64));
    let grown: Vec<_> = pruned.filter(|place| seen.insert(*place)).take(1000).collect();
    for (tensor, index) in &grown {
        weights[*tensor][*index] = 0.05;
    }
    grown
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// Bytes that all threads allocate while `work` runs.
fn allocated<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let session = Session::new().no_stdout().no_file();
    let operation = session.operation("work");
    let span = operation.measure_process().iterations(1);
    let result = work();
    drop(span);
    let bytes = session.to_report().operations().map(|(_, operation)| operation.total_bytes_allocated()).sum();
    (result, bytes)
}
