//! Intervals between re-prunes that are a large share of a stage.

use lopper_core::{PrunedWeights, Stage};

/// Re-prunes that a stage has at least where its interval is no large share: 2 % of its updates. The paper's n is 0.01 to 0.4 %
/// of them (appendix A.3).
const LEAST: u64 = 50;

/// Warns of a plan of which a stage zeroes its pruned weights so seldom that much of its training is lost. Whoever plans or runs
/// stages calls it once, with all of them.
pub fn warn_of_long_intervals<'a>(stages: impl IntoIterator<Item = &'a Stage>) {
    if let Some(told) = tell_long_intervals(stages) {
        tracing::warn!("{told}");
    }
}

/// What is to be said of a plan of which a stage zeroes its pruned weights so seldom that much of its training is lost: every
/// interval trains them anew, and the last zeroing throws away what the last interval did. One sentence for all such stages;
/// `None` where there is none. An interval of one update cannot be shorter.
fn tell_long_intervals<'a>(stages: impl IntoIterator<Item = &'a Stage>) -> Option<String> {
    let long = |stage: &&Stage| interval(stage).is_some_and(|n| n > 1 && n.saturating_mul(LEAST) > stage.updates);
    let mut all = stages.into_iter().filter(long);
    let stage = all.next()?;
    let (n, updates) = (interval(stage)?, stage.updates);
    let more = match all.count() {
        0 => String::new(),
        1 => " and another one".to_owned(),
        more => format!(" and {more} others"),
    };
    let share = 100.0 * n as f64 / updates as f64;
    let most = (updates / LEAST).max(1);
    let sensible = if most == 1 { "every = 1".to_owned() } else { format!("every = {most} or less") };
    Some(format!(
        "stage `{}`{more} re-prunes every {n} of its {updates} updates ({share:.0} %), and the last zeroing throws away what the last \
         {} of them train outside the mask; {sensible} would be at most 2 %",
        stage.name,
        n.min(updates)
    ))
}

/// Updates between two re-prunes of a stage whose pruned weights train, up to the last one.
fn interval(stage: &Stage) -> Option<u64> {
    let n = stage.schedule.as_ref().filter(|_| stage.pruned == PrunedWeights::Trainable)?.every()?;
    (stage.freezes_last < n).then_some(n)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::{Batching, Optimizer, Recipe, RunSpec, ScheduleSpec, Sparsity};

    fn stage(every: u64, updates: u64) -> Stage {
        let recipe = Recipe::new(Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }, 0.0, Batching::Examples(1));
        let sparsity = Sparsity::new(0.5).unwrap();
        let run = RunSpec { sparsity, updates, updates_per_epoch: 1, recipe, seed: 0 };
        let trains = Stage::dense(&run).named(format!("{every} of {updates}")).pruned(PrunedWeights::Trainable);
        trains.schedule(ScheduleSpec::constant(every, sparsity))
    }

    #[test]
    fn a_large_share_is_told_with_what_would_be_sensible() {
        let told = tell_long_intervals(&[stage(50, 250)]).unwrap();
        let parts =
            ["`50 of 250` re-prunes every 50 of its 250 updates (20 %)", "what the last 50", "every = 5 or less"];
        assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        let told = tell_long_intervals(&[stage(5, 250), stage(6, 250), stage(500, 20), stage(50, 20)]).unwrap();
        assert!(told.contains("`6 of 250` and 2 others re-prunes every 6"), "{told}");
        let told = tell_long_intervals(&[stage(500, 20)]).unwrap();
        assert!(told.contains("the last 20 of") && told.contains("every = 1 would"), "{told}");
    }

    #[test]
    fn a_small_share_and_one_update_are_not() {
        assert_eq!(tell_long_intervals(&[stage(5, 250), stage(50, 12_000), stage(1, 20), stage(1, 1)]), None);
        // Nothing is lost where pruned weights stand still, nor without a schedule.
        let frozen = stage(50, 250).pruned(PrunedWeights::Frozen);
        assert_eq!(tell_long_intervals(&[frozen, stage(50, 250).freezes_last(50)]), None);
        let mut unscheduled = stage(50, 250);
        unscheduled.schedule = None;
        assert_eq!(tell_long_intervals(&[unscheduled]), None);
    }
}
