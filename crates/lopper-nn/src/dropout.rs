//! Dropout that costs a CPU little.

use lopper_core::Result;
use tch::{Kind, Tensor};

/// Dropout with probability `p` (Srivastava et al. 2014, inverted): each entry becomes 0 or is divided by the
/// probability of being kept.
///
/// On a CPU libtorch's own dropout draws one Bernoulli number an entry, which costs more than the layer around it. Here
/// one 64-bit draw of the same generator decides four entries, so `p` is rounded to a multiple of 2⁻¹⁶, and entries are
/// scaled by exactly the inverse of the rounded probability: the expectation stays exact.
///
/// # Errors
/// Errors of libtorch.
pub fn dropout(x: Tensor, p: f64) -> Result<Tensor> {
    if p <= 0.0 {
        return Ok(x);
    }
    if x.device() != tch::Device::Cpu {
        return Ok(x.f_dropout(p, true)?);
    }
    let scale = noise(&x, p)?;
    Ok(x.f_mul(&scale)?)
}

/// A tensor like `x` of zeros and `1 / (1 - p)`.
fn noise(x: &Tensor, p: f64) -> Result<Tensor> {
    const STEPS: f64 = 65536.0;
    let dropped = (p * STEPS).round().min(STEPS - 1.0);
    let entries = x.numel() as i64;
    let mut words = Tensor::f_empty([(entries + 3) / 4], (Kind::Int64, x.device()))?;
    let words = words.f_random_from_(i64::MIN, None)?;
    let draws = words.f_view_dtype(Kind::Int16)?.f_narrow(0, 0, entries)?;
    let scale = Tensor::f_empty(x.size(), (x.kind(), x.device()))?;
    // Draws are uniform over -2¹⁵ … 2¹⁵ - 1; the lowest `dropped` of these values drop.
    let flat = scale.f_view([entries])?;
    let _ = draws.f_ge_scalar_out(&flat, dropped as i64 - 32768)?;
    let mut scale = scale;
    let _ = scale.f_mul_scalar_(STEPS / (STEPS - dropped))?;
    Ok(scale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Mutex, PoisonError};
    use tch::Device;

    /// The generator is the process's: tests that seed it take turns.
    static GENERATOR: Mutex<()> = Mutex::new(());

    #[test]
    fn drops_the_asked_share_and_keeps_the_mean() {
        let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        for (p, entries) in [(0.1, 1_000_003), (0.5, 262_144), (0.9, 400_001)] {
            tch::manual_seed(7);
            let x = Tensor::ones([entries], (Kind::Float, Device::Cpu));
            let y = dropout(x.shallow_clone(), p).unwrap();
            let kept = y.count_nonzero(None).int64_value(&[]) as f64 / entries as f64;
            let deviation = (p * (1.0 - p) / entries as f64).sqrt();
            assert!((kept - (1.0 - p)).abs() < 5.0 * deviation, "p {p}: kept {kept}");
            let mean = y.sum(Kind::Double).double_value(&[]) / entries as f64;
            assert!((mean - 1.0).abs() < 5.0 * deviation / (1.0 - p), "p {p}: mean {mean}");
            tch::manual_seed(7);
            assert!(dropout(x, p).unwrap() == y, "the same seed gives the same draw");
        }
    }

    #[test]
    fn neighbours_are_independent() {
        let _turn = GENERATOR.lock().unwrap_or_else(PoisonError::into_inner);
        tch::manual_seed(3);
        let y = noise(&Tensor::ones([400_000], (Kind::Float, Device::Cpu)), 0.5).unwrap().ge(1.0).to_kind(Kind::Float);
        for lag in 1..=4 {
            let both = (y.narrow(0, 0, 399_000) * y.narrow(0, lag, 399_000)).mean(Kind::Double).double_value(&[]);
            assert!((both - 0.25).abs() < 0.005, "lag {lag}: {both}");
        }
    }
}
