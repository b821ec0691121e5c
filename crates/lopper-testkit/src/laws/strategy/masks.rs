//! Laws of what a method does inside one stage.

use super::cases::{Case, Open};
use super::stand::{Driven, How, METHOD, PLAIN, drive, drive_both};
use crate::laws::{Broken, Law, holds};
use lopper_core::{Among, Error, InitialMask, Layout, PruningStrategy, Result, Scoring, Sparsity, Stage, StageMethod};
use std::sync::Arc;

/// Drives a stage with methods of `strategy`.
fn driven(
    case: &Case,
    stage: (&Stage, &Arc<Layout>),
    how: How,
    strategy: &dyn PruningStrategy,
) -> Result<Driven, Broken> {
    drive(case, stage, how, || strategy.method(stage.0, stage.1))
}

pub(super) fn scores_what_is_promised(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    driven(case, (&stage, &layout), PLAIN, open().as_ref()).map(drop)
}

pub(super) fn are_exact(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    let first = driven(case, (&stage, &layout), PLAIN, open().as_ref())?;
    for step in &first.masks {
        let among = match &stage.mask {
            InitialMask::Discover { among, .. } if step.first => *among,
            _ => stage.re_ranks_among(),
        };
        let request = stage.request(step.target, among);
        request.prove(&step.mask)?;
        holds!(step.mask.layout() == &layout, "the mask is of another layout");
        if among == Among::Survivors {
            let revived = step.mask.difference(&step.before)?.kept();
            holds!(revived == 0, "{revived} entries come back among survivors");
        }
    }
    let again = driven(case, (&stage, &layout), PLAIN, open().as_ref())?;
    first.same_masks(&again).map_err(because("with equal weights and history"))?;
    let elsewhere = driven(case, (&stage, &layout), How { host: false, ..PLAIN }, open().as_ref())?;
    first.same_masks(&elsewhere).map_err(because("with weights that are no host slice"))
}

pub(super) fn only_reads(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    match driven(case, (&stage, &layout), PLAIN, open().as_ref())?.written {
        Some(what) => Err(Broken(format!("it writes into {what}"))),
        None => Ok(()),
    }
}

pub(super) fn keeps_its_own(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    let in_place = driven(case, (&stage, &layout), PLAIN, open().as_ref())?;
    let fresh = driven(case, (&stage, &layout), How { in_place: false, ..PLAIN }, open().as_ref())?;
    in_place.same_masks(&fresh).map_err(because("where training overwrites what a view has shown: copy what is kept"))
}

pub(super) fn knows_nothing_of_the_stage_before(open: &Open<'_>, case: &Case) -> Law {
    let Some(stages) = case.plan(open)? else { return Ok(()) };
    let layout = case.layout()?;
    // Whether it trained the stages before, or found them in a store, the next one is the same.
    let used = open();
    for stage in &stages {
        let carried = |method: &mut dyn StageMethod, from: &dyn PruningStrategy| -> Result<(), Broken> {
            // A carried state is named by the key, so both go on from the same one.
            if stage.carry {
                method.load_state(from.method(stage, &layout)?.state())?;
            }
            Ok(())
        };
        let of = |strategy: &dyn PruningStrategy| {
            drive(case, (stage, &layout), PLAIN, || {
                let mut method = strategy.method(stage, &layout)?;
                carried(method.as_mut(), open().as_ref()).map_err(|Broken(why)| Error::Other(why))?;
                Ok(method)
            })
        };
        let after = of(used.as_ref())?;
        let alone = of(open().as_ref())?;
        after.same_masks(&alone).map_err(because(&format!("of stage {} after the stages before it", stage.name)))?;
    }
    // And the same stage again, with another history behind it.
    if let Some(stage) = stages.iter().find(|stage| stage.ranks()) {
        let mut other = case.clone();
        other.weights.iter_mut().flatten().for_each(|weight| *weight = 1.0 - *weight);
        driven(&other, (stage, &layout), PLAIN, used.as_ref())?;
        let after = driven(case, (stage, &layout), PLAIN, used.as_ref())?;
        let alone = driven(case, (stage, &layout), PLAIN, open().as_ref())?;
        after.same_masks(&alone).map_err(because(&format!("of stage {} after other weights", stage.name)))?;
    }
    Ok(())
}

pub(super) fn depends_on_its_stage_alone(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    let alone = driven(case, (&stage, &layout), PLAIN, open().as_ref())?;
    let strategy = open();
    for updates in [1, 1000, case.updates()] {
        // What another run plans is nobody else's business.
        let _ = strategy.plan(&crate::run_spec(Sparsity::new(0.5)?, updates));
        let planned = driven(case, (&stage, &layout), PLAIN, strategy.as_ref())?;
        let when = format!("after a plan of {updates} updates: take the horizon from the view's total");
        planned.same_masks(&alone).map_err(because(&when))?;
    }
    Ok(())
}

pub(super) fn does_not_meet_another_run(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    let mut other = case.clone();
    other.weights.iter_mut().flatten().for_each(|weight| *weight = 1.0 - *weight);
    other.gradients.iter_mut().flatten().flatten().for_each(|gradient| *gradient = 0.5 - *gradient);
    let both = drive_both([case, &other], (&stage, &layout), open().as_ref())?;
    for (together, case) in both.iter().zip([case, &other]) {
        let alone = driven(case, (&stage, &layout), PLAIN, open().as_ref())?;
        together.same_masks(&alone).map_err(because("beside another run of the same strategy"))?;
    }
    Ok(())
}

pub(super) fn restores(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    let uninterrupted = driven(case, (&stage, &layout), PLAIN, open().as_ref())?;
    for update in 1..stage.updates.min(4) {
        let how = How { restored_after: Some(update), ..PLAIN };
        let restored = driven(case, (&stage, &layout), how, open().as_ref())?;
        uninterrupted.same_masks(&restored).map_err(because(&format!("restored after update {update}")))?;
    }
    Ok(())
}

/// A number that cannot be ranked, in the weights where magnitudes are ranked, and in what a method of its own scores learns
/// from.
pub(super) fn refuses_non_finite(open: &Open<'_>, case: &Case) -> Law {
    let Some((stage, layout)) = case.stage(open)? else { return Ok(()) };
    let places: Vec<(usize, usize)> =
        case.weights.iter().enumerate().flat_map(|(i, w)| (0..w.len()).map(move |j| (i, j))).collect();
    if places.is_empty() {
        return Ok(());
    }
    let poison = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY][(case.seed % 3) as usize];
    let (tensor, index) = places[(case.seed / 3) as usize % places.len()];
    let magnitudes = stage.scoring == Scoring::Magnitude;
    let mut poisoned = case.clone();
    if magnitudes {
        poisoned.weights[tensor][index] = poison;
    } else {
        poisoned.gradients[0][tensor][index] = poison;
    }
    let strategy = open();
    let error = driven(&poisoned, (&stage, &layout), PLAIN, strategy.as_ref()).err().map(|Broken(why)| why);
    let name = layout.tensors()[tensor].name().as_str();
    let ranked_first = matches!(stage.mask, InitialMask::Discover { .. });
    match error {
        None if magnitudes && ranked_first => Err(Broken(format!("{poison} at {name}[{index}] is ranked"))),
        None => Ok(()),
        Some(why) if magnitudes => {
            holds!(
                why.starts_with(&format!("{name}[{index}] is ")),
                "{poison} at {name}[{index}] is refused, but not by name: {why}"
            );
            Ok(())
        }
        // A method may refuse by itself; the core's words name it and the tensor.
        Some(why) => {
            let blamed = why.contains(METHOD) || !why.contains("magnitudes can only be ranked");
            holds!(blamed, "{poison} in what it learns from is blamed on the weights: {why}");
            Ok(())
        }
    }
}

fn because(when: &str) -> impl Fn(Broken) -> Broken + use<> {
    let when = when.to_owned();
    move |Broken(why)| Broken(format!("{why} {when}"))
}
