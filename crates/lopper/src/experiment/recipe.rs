//! `[train]`: from its keys to how a full finetuning trains, and how long.

use crate::config::{OptimizerName, ScheduleName, TrainOptions};
use crate::problems::check;
use lopper_core::{Batching, Error, Optimizer, RateSchedule, Recipe, RunSpec, Sparsity};
use std::fmt::Display;

/// Upper bounds far above any sensible run, so that no product of two of them overflows.
const MOST_UPDATES: u64 = 1_000_000_000_000;
const MOST_EPOCHS: f64 = 1e6;
/// Most examples, tokens or samples a batch.
pub(super) const MOST_ROWS: u64 = 1_000_000_000;
/// Updates that are planned with where only the data tell how many there are.
const NOMINAL_UPDATES: u64 = 10_000;

/// How long a full finetuning is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Length {
    Epochs(f64),
    Updates(u64),
}

/// How a full finetuning trains, and how long.
pub(super) struct Training {
    pub(super) length: Length,
    pub(super) recipe: Recipe,
    /// With every default that applies.
    pub(super) options: TrainOptions,
}

impl Training {
    /// From the keys of `[train]`; what is wrong with them goes to `problems`.
    pub(super) fn read(mut o: TrainOptions, problems: &mut Vec<Error>) -> Self {
        let mut refuse = |ok: bool, name: &str, value: &dyn Display, expected: &str| {
            check(problems, ok, &format!("[train] {name}"), value, || expected.to_owned());
        };
        let (length, batching) = amounts(&mut o, &mut refuse);
        let number = |x: f64| (0.0..=f64::MAX).contains(&x);
        refuse(whole(o.accumulate, 1 << 20), "accumulate", &o.accumulate, "from 1 to 1048576 micro-batches");
        refuse(number(o.learning_rate), "learning_rate", &o.learning_rate, "a finite number from 0 up");
        refuse(number(o.weight_decay), "weight_decay", &o.weight_decay, "a finite number from 0 up");
        refuse(number(o.clip_norm), "clip_norm", &o.clip_norm, "a finite number from 0 (no clipping) up");
        let recipe = Recipe::new(optimizer(&mut o, &mut refuse), o.learning_rate, batching)
            .rate_schedule(rate_schedule(&mut o, &mut refuse))
            .bucket_by_length(o.bucket_by_length)
            .accumulate(o.accumulate)
            .clip_norm((o.clip_norm > 0.0).then_some(o.clip_norm))
            .freeze_encoder_updates(o.freeze_encoder_updates)
            .decay_biases_and_norms(o.decay_biases_and_norms);
        Self { length, recipe, options: o }
    }

    /// What a strategy plans for, before the data tell how many updates that is.
    pub(super) fn nominal_spec(&self, sparsity: Sparsity, seed: u64) -> RunSpec {
        let updates = match self.length {
            Length::Updates(updates) => updates,
            Length::Epochs(_) => NOMINAL_UPDATES,
        };
        RunSpec { sparsity, updates, updates_per_epoch: updates, recipe: self.recipe.clone(), seed }
    }
}

/// Refuses a key's value: whether it is right, the key, the value, and what would be.
type Refuse<'a> = dyn FnMut(bool, &str, &dyn Display, &str) + 'a;

fn whole(x: u64, most: u64) -> bool {
    (1..=most).contains(&x)
}

/// How long it is, and how much a micro-batch holds.
fn amounts(o: &mut TrainOptions, refuse: &mut Refuse<'_>) -> (Length, Batching) {
    if let (Some(epochs), Some(updates)) = (o.epochs, o.updates) {
        refuse(false, "epochs", &epochs, &format!("give either epochs or updates ({updates}), not both"));
    }
    if let (Some(rows), Some(budget)) = (o.batch_size, o.budget) {
        refuse(false, "batch_size", &rows, &format!("give either batch_size or budget ({budget}), not both"));
    }
    let epochs = o.epochs.unwrap_or(3.0);
    refuse(epochs > 0.0 && epochs <= MOST_EPOCHS, "epochs", &epochs, &format!("a number above 0, up to {MOST_EPOCHS}"));
    let updates = o.updates.unwrap_or(1);
    refuse(whole(updates, MOST_UPDATES), "updates", &updates, &format!("from 1 to {MOST_UPDATES}"));
    let rows = o.batch_size.unwrap_or(32);
    refuse(whole(rows, MOST_ROWS), "batch_size", &rows, &format!("from 1 to {MOST_ROWS} examples"));
    let budget = o.budget.unwrap_or(1);
    refuse(whole(budget, MOST_ROWS), "budget", &budget, &format!("from 1 to {MOST_ROWS} tokens or samples"));
    o.epochs = o.updates.is_none().then_some(epochs);
    o.batch_size = o.budget.is_none().then_some(rows);
    let length = o.updates.map_or(Length::Epochs(epochs), Length::Updates);
    (length, o.budget.map_or(Batching::Examples(rows), Batching::Budget))
}

fn optimizer(o: &mut TrainOptions, refuse: &mut Refuse<'_>) -> Optimizer {
    let sgd = o.optimizer == OptimizerName::Sgd;
    for (name, value) in [("beta1", o.beta1), ("beta2", o.beta2), ("epsilon", o.epsilon)] {
        refuse(!sgd || value.is_none(), name, &value.unwrap_or(0.0), "only with optimizer = \"adam\" or \"adamw\"");
    }
    refuse(sgd || o.momentum.is_none(), "momentum", &o.momentum.unwrap_or(0.0), "only with optimizer = \"sgd\"");
    let (beta1, beta2) = (o.beta1.unwrap_or(0.9), o.beta2.unwrap_or(0.999));
    let (epsilon, momentum) = (o.epsilon.unwrap_or(1e-8), o.momentum.unwrap_or(0.0));
    for (name, value) in [("beta1", beta1), ("beta2", beta2), ("momentum", momentum)] {
        refuse((0.0..1.0).contains(&value), name, &value, "from 0 up to, not including, 1");
    }
    refuse(epsilon > 0.0 && epsilon <= f64::MAX, "epsilon", &epsilon, "a finite number above 0");
    (o.beta1, o.beta2, o.epsilon) = if sgd { (None, None, None) } else { (Some(beta1), Some(beta2), Some(epsilon)) };
    o.momentum = sgd.then_some(momentum);
    let weight_decay = o.weight_decay;
    match o.optimizer {
        OptimizerName::Adam => Optimizer::Adam { beta1, beta2, epsilon, weight_decay },
        OptimizerName::AdamW => Optimizer::AdamW { beta1, beta2, epsilon, weight_decay },
        OptimizerName::Sgd => Optimizer::Sgd { momentum, weight_decay },
    }
}

fn rate_schedule(o: &mut TrainOptions, refuse: &mut Refuse<'_>) -> RateSchedule {
    let share = |x: f64| (0.0..=1.0).contains(&x);
    let tri_stage = o.schedule == ScheduleName::TriStage;
    for (name, value) in
        [("hold", o.hold), ("decay", o.decay), ("initial_scale", o.initial_scale), ("final_scale", o.final_scale)]
    {
        refuse(tri_stage || value.is_none(), name, &value.unwrap_or(0.0), "only with schedule = \"tri-stage\"");
    }
    let constant = o.schedule == ScheduleName::Constant;
    refuse(!constant || o.warmup.is_none(), "warmup", &o.warmup.unwrap_or(0.0), "not with schedule = \"constant\"");
    let warmup = o.warmup.unwrap_or(if tri_stage { 0.1 } else { 0.0 });
    let (hold, decay) = (o.hold.unwrap_or(0.4), o.decay.unwrap_or(0.5));
    let (initial_scale, final_scale) = (o.initial_scale.unwrap_or(0.01), o.final_scale.unwrap_or(0.05));
    for (name, value) in [("warmup", warmup), ("hold", hold), ("decay", decay), ("initial_scale", initial_scale)] {
        refuse(share(value), name, &value, "a share from 0 to 1");
    }
    refuse(share(final_scale) && final_scale > 0.0, "final_scale", &final_scale, "a share above 0, up to 1");
    let sum = warmup + hold + decay;
    refuse(!tri_stage || (sum - 1.0).abs() < 1e-9, "warmup + hold + decay", &sum, "shares that add up to 1");
    o.warmup = (!constant).then_some(warmup);
    (o.hold, o.decay) = if tri_stage { (Some(hold), Some(decay)) } else { (None, None) };
    (o.initial_scale, o.final_scale) = if tri_stage { (Some(initial_scale), Some(final_scale)) } else { (None, None) };
    match o.schedule {
        ScheduleName::Constant => RateSchedule::Constant,
        ScheduleName::Linear => RateSchedule::Linear { warmup },
        ScheduleName::TriStage => RateSchedule::TriStage { warmup, hold, decay, initial_scale, final_scale },
    }
}
