//! The laws of pruning strategies.

mod cases;
mod masks;
mod plans;
mod stand;

use super::{for_all, law};
use cases::Family;
use lopper_core::{Layout, MethodState, PruningStrategy};
use tch::Tensor;

/// Random stages of each law about masks.
const CASES: u32 = 250;

/// Everything that the core and the session rely on in a [`PruningStrategy`]. `open` makes it with one set of options;
/// call the suite once for each set that matters.
///
/// 1. A plan is pure: equal for equal runs, whatever was done in between, and refused rather than wrong.
/// 2. Stages refer to what exists: the first needs no stage before it, rewind points are snapshots of the first,
///    schedules are registered, hard masks only shrink unless they may grow.
/// 3. A plan ends at exactly the target sparsity.
/// 4. Stages survive JSON.
/// 5. A method scores what its stage promises: magnitudes or scores of its own, of the weights' shapes, finite for finite
///    weights and gradients; and looks only at what its stage asks for.
/// 6. Masks have the counts and the pattern that the stage asks for, nest among survivors, and are the same for equal weights
///    and history, whether weights lie in plain memory or not.
/// 7. Weights and gradients are only read.
/// 8. What a method keeps is its own: weights and gradients are overwritten in place while training goes on.
/// 9. A stage knows nothing of the stage before it but what its key names.
/// 10. A method depends on its stage alone, whatever else was planned: its horizon is the view's total.
/// 11. Two runs on one store, in one process and at once, do not meet: each has the masks that it has alone.
/// 12. A method that is restored from its state goes on as if nothing had happened.
/// 13. NaN and infinities are refused by name when magnitudes are ranked, blamed on the method in scores of its own, and never
///     panic.
/// 14. A foreign state does not panic.
///
/// Laws 5 to 13 hold stages of a plan against random layouts, with ties, zeros, empty tensors and scalars. The strategy is asked
/// first what it accepts: one that takes matrices of multiples of 4 or 16 alone, or a few sparsities alone, is held against
/// such. For any other layout there is [`strategy_on`].
///
/// # Panics
/// When a law is broken, with its name, the smallest case found that breaks it, and the seed that finds it again.
pub fn strategy(open: impl Fn() -> Box<dyn PruningStrategy>) {
    suite(&open, &Family::random());
}

/// As [`strategy()`], against this layout alone, for a strategy that accepts no random one: it knows the names of a model.
///
/// # Panics
/// As [`strategy()`].
pub fn strategy_on(layout: &Layout, open: impl Fn() -> Box<dyn PruningStrategy>) {
    suite(&open, &[Family::Given(layout.clone())]);
}

fn suite(open: &impl Fn() -> Box<dyn PruningStrategy>, families: &[Family]) {
    let _one_thread = OneThread::new();
    law("a plan is pure", || plans::plan_is_pure(open));
    law("stages refer to what exists", || plans::for_plans(open, |run, stages| plans::walk(run, stages).map(drop)));
    law("a plan ends at exactly the target sparsity", || plans::for_plans(open, plans::ends_at_target));
    law("stages survive JSON", || plans::for_plans(open, |_, stages| plans::survives_json(stages)));
    let mut accepted = None;
    law("some layout and sparsity are accepted", || {
        accepted = Some(cases::accepted(open, families)?);
        Ok(())
    });
    let Some(accepted) = accepted else { return };
    let hold = |name: &str, check: fn(&cases::Open<'_>, &cases::Case) -> super::Law| {
        for_all(name, CASES, accepted.cases(), |case| check(open, &case));
    };
    hold("a method scores what its stage promises", masks::scores_what_is_promised);
    hold("masks are exact, nested and deterministic", masks::are_exact);
    hold("a method only reads what it is shown", masks::only_reads);
    hold("what a method keeps is its own", masks::keeps_its_own);
    hold("a stage knows nothing of the stage before it", masks::knows_nothing_of_the_stage_before);
    hold("a method depends on its stage alone", masks::depends_on_its_stage_alone);
    hold("two runs on one store do not meet", masks::does_not_meet_another_run);
    hold("a restored method goes on as if nothing had happened", masks::restores);
    hold("what is not finite is refused", masks::refuses_non_finite);
    hold("a foreign state does not panic", |open, case| {
        let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
        let mut method = open().method(&stage, &layout)?;
        let tensors = [("no such tensor".to_owned(), Tensor::f_from_slice(&[1f32])?)];
        let text = [("no such text".to_owned(), "?".to_owned())];
        // Refused or ignored: both are sound.
        let _ = method.load_state(MethodState::new(tensors.into(), text.into()));
        Ok(())
    });
}

/// While it lives, libtorch uses one thread: on tensors this small, several spend their time waiting for each other.
struct OneThread {
    before: i32,
}

impl OneThread {
    fn new() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}
