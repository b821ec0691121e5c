//! Selection on a GPU for `cargo xtask bench`: `device_selection DEVICE`.
//!
//! Ranks the matrices of BERT-base's encoder, 84,934,656 entries in 72 tensors, at 70 %, where they lie. Prints one JSON
//! object: medians in seconds, each up to the moment when the device has nothing left to do.
//!
//! | key | is |
//! |---|---|
//! | `read_pass` | the sum of all weights in one buffer: 4 bytes an entry |
//! | `fresh` | a selection from a dense mask |
//! | `warm_unchanged` | the selection again when no entry changes its side |
//! | `warm_thousand_swap` | the selection again after a thousand pruned entries have grown over the threshold |
//!
//! The mask is held against the one that the CPU finds.
#![allow(clippy::print_stdout, reason = "its result")]

use lopper::{
    Change, Error, Layout, MaskSet, MaskTensors, ParameterName, PrunableWeight, Request, Result, Scores, Selector,
    Sparsity, WeightView,
};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;
use tch::{Device, Kind, Tensor};

/// Rows and columns of the six matrices of one layer: four of attention, two of the feed-forward network.
const LAYER: [[u64; 2]; 6] = [[768, 768], [768, 768], [768, 768], [768, 768], [3072, 768], [768, 3072]];
const ROUNDS: usize = 15;

/// Weights somewhere, and what ranks them.
struct Ranked {
    layout: Arc<Layout>,
    tensors: Vec<Tensor>,
    selector: Selector,
}

impl Ranked {
    fn new(layout: &Arc<Layout>, tensors: Vec<Tensor>) -> Self {
        Self { layout: layout.clone(), tensors, selector: Selector::new() }
    }

    fn select(&mut self, mask: &mut MaskSet) -> Result<Change> {
        let names = self.layout.tensors().iter().map(|tensor| tensor.name());
        let weights = names.zip(&self.tensors);
        let weights = weights.map(|(name, tensor)| PrunableWeight::new(name, tensor)).collect::<Result<_>>()?;
        let view = WeightView::new(&self.layout, weights);
        let request = Request::global(Sparsity::new(0.7)?);
        self.selector.select_into(&view, &Scores::Magnitude, mask, &request)
    }
}

fn run() -> Result<()> {
    let name = std::env::args().nth(1).ok_or_else(|| Error::Other("usage: device_selection DEVICE".into()))?;
    let device = lopper_torch::resolve_device(&name)?;
    let _no_grad = tch::no_grad_guard();
    let shapes = (0..12).flat_map(|_| LAYER).enumerate();
    let named = shapes.map(|(i, shape)| (ParameterName::new(format!("matrix{i}")), shape.to_vec()));
    let layout = Arc::new(Layout::new(named)?);
    tch::manual_seed(1);
    // Bell-shaped, of standard deviation 0.04, as pre-trained encoders have them.
    let weight = |shape: &[u64]| {
        let size = [&[4], shape].concat().iter().map(|d| *d as i64).collect::<Vec<_>>();
        let uniform = Tensor::f_rand(size, (Kind::Float, Device::Cpu))?.f_sub_scalar(0.5)?;
        Ok(uniform.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Float)?.f_mul_scalar(0.07)?)
    };
    let host = layout.tensors().iter().map(|tensor| weight(tensor.shape())).collect::<Result<Vec<_>>>()?;
    let there = host.iter().map(|tensor| Ok(tensor.f_to_device(device)?)).collect::<Result<Vec<_>>>()?;
    let dense = MaskSet::dense(layout.clone());
    let mut expected = dense.clone();
    Ranked::new(&layout, host).select(&mut expected)?;

    let (mut mask, mut fresh) = (dense.clone(), Ranked::new(&layout, there.iter().map(Tensor::copy).collect()));
    fresh.select(&mut mask)?;
    if mask != expected {
        return Err(Error::Other(format!("{name} finds another mask than the CPU")));
    }
    for (index, tensor) in there.iter().enumerate() {
        let _ = tensor.shallow_clone().f_masked_fill_(&mask.pruned_tensor(index, device)?, 0.0)?;
    }
    let all = Tensor::f_cat(&there.iter().map(|tensor| tensor.view([-1])).collect::<Vec<_>>(), 0)?;
    let mut warm = Ranked::new(&layout, there);
    // The second of one sparsity is remembered.
    warm.select(&mut mask.clone())?;

    let mut times: Vec<[f64; 4]> = Vec::new();
    for _ in 0..ROUNDS {
        let read = timed(device, || Ok(all.f_sum(Kind::Float)?))?.1;
        let mut next = dense.clone();
        let selected = timed(device, || fresh.select(&mut next))?.1;
        let (change, unchanged) = timed(device, || warm.select(&mut mask))?;
        if change != Change::default() {
            return Err(Error::Other(format!("{change:?} of a mask that has just been applied")));
        }
        let grown = grow(&mask, &warm.tensors, 0.05)?;
        let (change, swapped) = timed(device, || warm.select(&mut mask))?;
        if change.revived != grown {
            return Err(Error::Other(format!("{change:?} after {grown} pruned entries have grown")));
        }
        // Back: what has grown is zero again, what went is large.
        for ((tensor, applied), original) in warm.tensors.iter_mut().zip(&fresh.tensors).zip(0..) {
            tensor.f_copy_(applied)?;
            let _ = tensor.f_masked_fill_(&expected.pruned_tensor(original, device)?, 0.0)?;
        }
        warm.select(&mut mask)?;
        times.push([read, selected, unchanged, swapped]);
    }
    let median = |column: usize| {
        let mut all: Vec<f64> = times.iter().map(|round| round[column]).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    let result = serde_json::json!({
        "entries": layout.entries(), "rounds": ROUNDS, "read_pass": median(0), "fresh": median(1),
        "warm_unchanged": median(2), "warm_thousand_swap": median(3),
    });
    println!("{result}");
    Ok(())
}

/// Lets about a thousand pruned entries grow to `value`, and says how many.
fn grow(mask: &MaskSet, tensors: &[Tensor], value: f64) -> Result<u64> {
    let mut grown = 0;
    for (index, tensor) in tensors.iter().enumerate() {
        let pruned = (0..).map(|step| step * 37).filter(|place| !mask.is_kept(index, *place));
        let places: Vec<i64> = pruned.take(14).map(|place| place as i64).collect();
        grown += places.len() as u64;
        let places = Tensor::f_from_slice(&places)?.f_to_device(tensor.device())?;
        let _ = tensor.f_view([-1])?.f_index_fill_(0, &places, value)?;
    }
    Ok(grown)
}

/// What `work` makes, and how long it takes until the device is done.
fn timed<T>(device: Device, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let done = || {
        if let Device::Cuda(index) = device {
            tch::Cuda::synchronize(index as i64);
        }
    };
    done();
    let start = Instant::now();
    let result = work()?;
    done();
    Ok((result, start.elapsed().as_secs_f64()))
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
