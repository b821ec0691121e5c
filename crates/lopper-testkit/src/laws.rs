//! What every strategy, model, dataset and mask schedule must obey. Each suite is one call; it panics at the first
//! broken law, with the law's name and a case that breaks it.

mod dataset;
mod model;
mod schedule;
mod strategy;

pub use dataset::dataset;
pub use model::{masks_transfer, model};
pub use schedule::mask_schedule;
pub use strategy::strategy;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tch::{Device, Kind, Tensor};

/// Why a law does not hold.
#[derive(Debug)]
struct Broken(String);

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Leaves a law, broken, unless the condition holds.
macro_rules! holds {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::laws::Broken(format!($($why)+)));
        }
    };
}
use holds;

type Law = Result<(), Broken>;

/// One law that is checked once.
fn law(name: &str, check: impl FnOnce() -> Law) {
    if let Err(Broken(why)) = check() {
        panic!("broken law: {name}: {why}");
    }
}

/// One law that is checked on `cases` random cases; a case that breaks it is made as small as possible.
fn for_all<S: Strategy>(name: &str, cases: u32, random: S, check: impl Fn(S::Value) -> Law) {
    // Enough to make a case readable; shrinking on and on would take longer than the search.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 512, ..Config::default() };
    let result =
        TestRunner::new(config).run(&random, |case| check(case).map_err(|Broken(why)| TestCaseError::fail(why)));
    if let Err(error) = result {
        panic!("broken law: {name}: {error}");
    }
}

/// The bits of a tensor's entries as float32 on the CPU, row-major.
fn bits(tensor: &Tensor) -> Result<Vec<u32>, Broken> {
    Ok(values(tensor)?.into_iter().map(f32::to_bits).collect())
}

fn values(tensor: &Tensor) -> Result<Vec<f32>, Broken> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_reshape([-1])?;
    Ok(Vec::<f32>::try_from(flat)?)
}

/// Equal but for rounding: within 1e-4 of the larger magnitude, or of 1.
fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-4 * a.abs().max(b.abs()).max(1.0)
}

/// Shares nothing with `tensor`, not even its graph.
fn deep_copy(tensor: &Tensor) -> Result<Tensor, Broken> {
    let source = tensor.f_detach()?;
    let mut copy = source.f_empty_like()?;
    copy.f_copy_(&source)?;
    Ok(copy)
}
