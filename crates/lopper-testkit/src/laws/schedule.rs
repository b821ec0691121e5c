//! The laws of mask schedules.

use super::{for_all, holds};
use lopper_core::MaskSchedule;
use proptest::prelude::*;

/// Everything that the session relies on in a [`MaskSchedule`]: an answer depends on the update and the total alone,
/// whatever was asked before, and no pair of numbers panics. 1000 random cases.
///
/// # Panics
/// When a law is broken, with its name and the smallest case found that breaks it.
pub fn mask_schedule(open: impl Fn() -> Box<dyn MaskSchedule>) {
    let total = prop_oneof![0u64..300, any::<u64>()];
    let pairs = total.prop_flat_map(|total| (prop::collection::vec(0..=total, 1..20), Just(total)));
    for_all("a schedule depends on update and total alone", 1000, pairs, |(updates, total)| {
        let used = open();
        let before: Vec<_> = updates.iter().map(|update| used.target(*update, total)).collect();
        for (update, target) in updates.iter().zip(before).rev() {
            for again in [used.target(*update, total), open().target(*update, total)] {
                holds!(again == target, "update {update} of {total}: {target:?}, then {again:?}");
            }
        }
        Ok(())
    });
}
