//! What the processes that train a stage agree upon. One alone has nothing to agree upon, and it costs it nothing.

use crate::weights::Weights;
use crate::world::World;
use crate::{Counts, Stop};
use lopper_core::{Change, Error, MaskSet, Result};
use std::ops::Range;
use tch::Tensor;

/// What the micro-batches of an update add up to, beside gradients.
#[derive(Debug, Default)]
pub(super) struct Sums {
    /// Of the losses.
    pub(super) loss: f64,
    /// Of what the losses count.
    pub(super) count: f64,
    /// What the micro-batches left out or could not use.
    pub(super) counts: Counts,
}

/// What is done after an update because one of the processes wishes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes {
    pub(super) stop: bool,
    pub(super) save: bool,
}

/// Those of an update's micro-batches that the process of that rank takes, of so many processes.
pub(super) fn share((rank, size): (usize, usize), numbers: Range<u64>) -> impl Iterator<Item = u64> {
    numbers.skip(rank).step_by(size)
}

/// Adds up the gradients and `own` sums of all processes, and hears their wishes. Every process then has the same gradients.
/// `save` is this one's wish; to stop, `stop` tells. A process that came across a request to stop before it was through with its
/// micro-batches gives up the update for all.
///
/// # Errors
/// [`Error::Interrupted`] when the update is given up; those of `own` and of the world.
pub(super) fn add_up(
    world: &dyn World,
    weights: &Weights,
    own: Result<Sums>,
    save: bool,
    stop: &Stop,
) -> Result<(Sums, Wishes)> {
    if world.size() == 1 {
        return own.map(|sums| (sums, Wishes { stop: stop.requested(), save }));
    }
    let (own, given_up) = match own {
        Ok(sums) => (sums, false),
        Err(Error::Interrupted(_)) => (Sums::default(), true),
        Err(error) => return Err(error),
    };
    let (mut gradients, mut parameters) = (Vec::new(), Vec::new());
    let number = |is: bool| f64::from(u8::from(is));
    let Sums { loss, count, counts } = own;
    let mut numbers = vec![loss, count, counts.len() as f64, number(stop.requested()), number(save), number(given_up)];
    let first = numbers.len();
    // The same ones everywhere, whatever the backward pass of one process reached.
    for (_, parameter) in weights.trainable().into_iter().filter(|(_, parameter)| parameter.requires_grad()) {
        let reached = parameter.grad().defined();
        numbers.push(number(reached));
        if !reached {
            // -0, because +0 would turn a sum of -0 into +0.
            define_gradient(&parameter, -0.0)?;
        }
        gradients.push(parameter.grad());
        parameters.push(parameter);
    }
    world.all_reduce_sum(&mut gradients, &mut numbers)?;
    let unreached = parameters.iter().zip(&numbers[first..]).filter(|(_, reached)| **reached == 0.0);
    for (parameter, _) in unreached {
        lopper_torch::clear_gradient(parameter)?;
    }
    let [loss, count, counted, stopped, save, given_up] =
        numbers[..first].try_into().expect("as many numbers as were given");
    if stopped > 0.0 || given_up > 0.0 {
        // Who was not asked is asked now.
        stop.request();
    }
    if given_up > 0.0 {
        return Err(Error::Interrupted("while another process was between micro-batches".into()));
    }
    let counts = if counted > 0.0 { add_counts(world, &counts)? } else { Counts::new() };
    Ok((Sums { loss, count, counts }, Wishes { stop: stopped > 0.0, save: save > 0.0 }))
}

/// Gives a parameter a gradient of `value` everywhere.
fn define_gradient(parameter: &Tensor, value: f64) -> Result<()> {
    // tch cannot assign one.
    parameter.f_sum(parameter.f_kind()?)?.f_backward()?;
    let _no_grad = tch::no_grad_guard();
    let _ = parameter.grad().f_fill_(value)?;
    Ok(())
}

/// The counts of all processes, by what they count.
fn add_counts(world: &dyn World, own: &Counts) -> Result<Counts> {
    let unreadable = |e| Error::Other(format!("what another process counted: {e}"));
    let mut sums = Counts::new();
    for bytes in world.all_gather(serde_json::to_vec(own).map_err(unreadable)?)? {
        let counts: Counts = serde_json::from_slice(&bytes).map_err(unreadable)?;
        counts.into_iter().for_each(|(what, number)| *sums.entry(what).or_default() += number);
    }
    Ok(sums)
}

/// The mask that rank 0 makes with `rank`, as its bits. `before` is the one that it follows.
///
/// # Errors
/// Those of `rank` and of the world.
pub(super) fn next_mask(
    world: &dyn World,
    before: &MaskSet,
    rank: impl FnOnce() -> Result<(MaskSet, Change)>,
) -> Result<(MaskSet, Change)> {
    if world.size() == 1 {
        return rank();
    }
    if world.rank() == 0 {
        let (mask, change) = rank()?;
        let bits = mask.words().iter().flatten().flat_map(|word| word.to_le_bytes());
        world.broadcast(bits.collect())?;
        return Ok((mask, change));
    }
    let bytes = world.broadcast(Vec::new())?;
    let mut words = bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word));
    let of = |tensor: &Vec<u64>| words.by_ref().take(tensor.len()).collect::<Vec<_>>();
    let words = before.words().iter().map(of).collect();
    let mask = MaskSet::from_words(before.layout().clone(), words)?;
    let change = Change::between(before, &mask)?;
    Ok((mask, change))
}

/// `done`, unless it was interrupted on any process: then on all.
///
/// # Errors
/// Those of `done` and of the world.
pub(super) fn unless_interrupted(world: &dyn World, done: Result<()>) -> Result<()> {
    let interrupted = matches!(done, Err(Error::Interrupted(_)));
    if world.size() == 1 || done.is_err() && !interrupted {
        return done;
    }
    let mut numbers = [f64::from(u8::from(interrupted))];
    world.all_reduce_sum(&mut [], &mut numbers)?;
    done?;
    if numbers[0] > 0.0 {
        return Err(Error::Interrupted("while another process was evaluating".into()));
    }
    Ok(())
}
