//! What a difference is called.

use crate::bootstrap::Resampled;
use crate::sample::Scale;
use crate::stats::Summary;

/// The probability above which a difference may be chance.
pub(super) const ALPHA: f64 = 0.05;

/// The tests of one difference: probabilities alone, and corrected for the number of comparisons.
#[derive(Debug)]
pub(super) struct Tested {
    /// Student's, over seeds; none with one seed.
    pub(super) seeds: Option<(f64, f64)>,
    /// The bootstrap's, over examples; none where predictions do not tell.
    pub(super) examples: Option<(Resampled, (f64, f64))>,
    /// McNemar's, pair by pair.
    pub(super) mcnemar: Vec<(f64, f64)>,
}

/// `better` or `worse` alone where no interval that is known holds 0, and no corrected probability is above [`ALPHA`].
///
/// McNemar's test is about errors, not about the figure's metric, and so has no say.
pub(super) fn verdict(scale: &Scale, difference: Option<&Summary>, tested: &Tested) -> String {
    let Some(d) = difference else { return "no pair of finished cells".into() };
    let within_seeds = d.half.is_some() && !d.is_difference();
    let within_examples = tested.examples.is_some_and(|(resampled, _)| !resampled.is_difference());
    match (within_seeds, within_examples) {
        (true, true) => return "no difference beyond the intervals".into(),
        (true, false) => return "no difference beyond the interval".into(),
        (false, true) => return "no difference beyond the interval over examples".into(),
        (false, false) if d.half.is_none() && tested.examples.is_none() => return "one seed, no interval".into(),
        (false, false) => {}
    }
    let corrected = [tested.seeds, tested.examples.map(|(_, p)| p)].into_iter().flatten();
    if corrected.map(|(_, corrected)| corrected).fold(0.0, f64::max) > ALPHA {
        return "beyond its interval, but not among so many comparisons".into();
    }
    let word = match scale.higher_is_better {
        None => "beyond the interval",
        Some(_) if scale.gain(d.mean) > 0.0 => "better",
        Some(_) => "worse",
    };
    // With one seed nothing is known of others.
    if d.half.is_none() { format!("{word} on these examples, with one seed") } else { word.into() }
}
