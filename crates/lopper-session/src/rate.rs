//! Learning rates over a stage.

use lopper_core::{Error, RateSchedule, Result};

/// The learning rate of every update of a stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LearningRate {
    shape: Shape,
    peak: f64,
}

/// A schedule with its shares turned into whole updates.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Constant,
    Linear { warmup: u64, horizon: u64 },
    TriStage { warmup: u64, hold: u64, decay: u64, initial_scale: f64, final_scale: f64 },
}

impl LearningRate {
    /// `peak` is the largest rate, `horizon` the number of updates that the schedule spans.
    ///
    /// Shares become updates as in the libraries the schedules come from: the warm-up of the linear schedule is rounded
    /// up (transformers), the stages of the tri-stage schedule are rounded down (fairseq).
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for each number that is out of range, all at once.
    pub fn new(schedule: &RateSchedule, peak: f64, horizon: u64) -> Result<Self> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, key: &str, value: f64, expected: &str| {
            if !ok {
                problems.push(Error::invalid(key, value, expected));
            }
        };
        check(peak.is_finite() && peak >= 0.0, "learning_rate", peak, "a finite number from 0 up");
        check(horizon > 0, "rate_horizon", horizon as f64, "a number of updates from 1 up");
        let share = "a share from 0 to 1";
        let updates = |share: f64| horizon as f64 * share;
        let shape = match *schedule {
            RateSchedule::Constant => Shape::Constant,
            RateSchedule::Linear { warmup } => {
                check((0.0..=1.0).contains(&warmup), "warmup", warmup, share);
                Shape::Linear { warmup: updates(warmup).ceil() as u64, horizon }
            }
            RateSchedule::TriStage { warmup, hold, decay, initial_scale, final_scale } => {
                for (key, value) in [("warmup", warmup), ("hold", hold), ("decay", decay)] {
                    check((0.0..=1.0).contains(&value), key, value, share);
                }
                let sum = warmup + hold + decay;
                check((sum - 1.0).abs() < 1e-9, "warmup + hold + decay", sum, "shares that add up to 1");
                check((0.0..=1.0).contains(&initial_scale), "initial_scale", initial_scale, "a share from 0 to 1");
                check(final_scale > 0.0 && final_scale <= 1.0, "final_scale", final_scale, "a share above 0, up to 1");
                Shape::TriStage {
                    warmup: updates(warmup) as u64,
                    hold: updates(hold) as u64,
                    decay: updates(decay) as u64,
                    initial_scale,
                    final_scale,
                }
            }
        };
        Error::all(problems)?;
        Ok(Self { shape, peak })
    }

    /// The rate of update `update`, counted from 0; past the horizon the linear schedule is 0, the tri-stage schedule
    /// at its final rate.
    pub fn at(&self, update: u64) -> f64 {
        let peak = self.peak;
        match self.shape {
            Shape::Constant => peak,
            Shape::Linear { warmup, .. } if update < warmup => peak * (update as f64 / warmup as f64),
            Shape::Linear { warmup, horizon } => {
                let left = horizon.saturating_sub(update) as f64;
                peak * (left / horizon.saturating_sub(warmup).max(1) as f64)
            }
            Shape::TriStage { warmup, hold, decay, initial_scale, final_scale } => {
                let initial = initial_scale * peak;
                if update < warmup {
                    initial + (peak - initial) / warmup as f64 * update as f64
                } else if update < warmup + hold {
                    peak
                } else if decay > 0 && update <= warmup + hold + decay {
                    let factor = -final_scale.ln() / decay as f64;
                    peak * (-factor * (update - warmup - hold) as f64).exp()
                } else {
                    final_scale * peak
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(schedule: RateSchedule, peak: f64, horizon: u64, expected: &[(u64, f64)]) {
        let rate = LearningRate::new(&schedule, peak, horizon).unwrap();
        for &(update, value) in expected {
            let got = rate.at(update);
            assert!((got - value).abs() <= 1e-12 * peak, "{schedule:?} at {update}: {got}, expected {value}");
        }
    }

    #[test]
    fn constant() {
        check(RateSchedule::Constant, 0.5, 10, &[(0, 0.5), (9, 0.5), (1000, 0.5)]);
    }

    #[test]
    fn linear() {
        let cases = [(0, 1.0), (1, 0.9), (9, 0.1), (10, 0.0), (11, 0.0)];
        check(RateSchedule::Linear { warmup: 0.0 }, 1.0, 10, &cases);
        // Two updates of warm-up, then 8/8, 7/8, …
        check(
            RateSchedule::Linear { warmup: 0.2 },
            4.0,
            10,
            &[(0, 0.0), (1, 2.0), (2, 4.0), (3, 3.5), (9, 0.5), (10, 0.0)],
        );
        // 0.15 of 10 is rounded up to 2.
        check(RateSchedule::Linear { warmup: 0.15 }, 4.0, 10, &[(1, 2.0), (2, 4.0)]);
        check(RateSchedule::Linear { warmup: 1.0 }, 4.0, 4, &[(0, 0.0), (3, 3.0), (4, 0.0)]);
    }

    #[test]
    fn tri_stage() {
        let schedule =
            RateSchedule::TriStage { warmup: 0.1, hold: 0.4, decay: 0.5, initial_scale: 0.01, final_scale: 0.05 };
        // 20 updates: 2 of warm-up from 0.01, 8 held, 10 of decay by 20^(1/10) each.
        let expected = [
            (0, 0.01),
            (1, 0.505),
            (2, 1.0),
            (9, 1.0),
            (10, 1.0),
            (11, 0.741_134_449_106_948_4),
            (15, 0.223_606_797_749_979),
            (20, 0.05),
            (21, 0.05),
        ];
        check(schedule, 1.0, 20, &expected);
        // The paper's BASE 10 h run: 20k updates, 5e-5 at the peak.
        check(schedule, 5e-5, 20_000, &[(0, 5e-7), (1000, 2.525e-5), (2000, 5e-5), (10_000, 5e-5), (20_000, 2.5e-6)]);
    }

    #[test]
    fn tri_stage_without_a_stage() {
        let schedule =
            RateSchedule::TriStage { warmup: 0.0, hold: 1.0, decay: 0.0, initial_scale: 0.5, final_scale: 0.25 };
        check(schedule, 1.0, 4, &[(0, 1.0), (3, 1.0), (4, 0.25)]);
    }

    #[test]
    fn every_bad_number_is_named() {
        let schedule =
            RateSchedule::TriStage { warmup: -0.1, hold: f64::NAN, decay: 0.5, initial_scale: 2.0, final_scale: 0.0 };
        let error = LearningRate::new(&schedule, f64::INFINITY, 0).unwrap_err().to_string();
        for key in ["learning_rate", "rate_horizon", "warmup", "hold", "initial_scale", "final_scale", "add up to 1"] {
            assert!(error.contains(key), "{key} is missing in: {error}");
        }
    }
}
