//! What every strategy, model, dataset and mask schedule must obey. Each suite is one call; it panics at the first
//! broken law, with the law's name and a case that breaks it.

mod dataset;
mod model;
mod schedule;
mod strategy;

pub use dataset::dataset;
pub use model::{masks_transfer, model};
pub use schedule::mask_schedule;
pub use strategy::{strategy, strategy_on};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
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

/// The environment variable with which the cases of a broken law are tried again: 64 hexadecimal digits.
const SEED: &str = "LOPPER_LAW_SEED";

/// One law that is checked on `cases` random cases; a case that breaks it is made as small as possible.
fn for_all<S: Strategy>(name: &str, cases: u32, random: S, check: impl Fn(S::Value) -> Law) {
    // Enough to make a case readable; shrinking on and on would take longer than the search.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 512, ..Config::default() };
    let seed = std::env::var(SEED).ok().map_or_else(rand::random, |text| seed_of(&text));
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let result = TestRunner::new_with_rng(config, rng)
        .run(&random, |case| check(case).map_err(|Broken(why)| TestCaseError::fail(why)));
    if let Err(error) = result {
        let seed: String = seed.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("broken law: {name}: {error}; the same cases again: {SEED}={seed}");
    }
}

/// The seed that a failure named.
fn seed_of(text: &str) -> [u8; 32] {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    assert!(digits.len() == 64, "{SEED}={text} is no seed: give the 64 hexadecimal digits that a broken law named");
    std::array::from_fn(|byte| digits[2 * byte] << 4 | digits[2 * byte + 1])
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
