//! What stages are made of.

use crate::{Among, Sparsity};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Which weights a stage starts from, or ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RewindPoint {
    /// theta_0 with the run's fresh head.
    Pretrained,
    /// The weights after that many updates of the plan's first stage, the dense finetuning.
    Update(u64),
    /// The weights at the end of the stage before; theta_0 for the first.
    Current,
}

/// How random masks are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RandomKind {
    /// Every set of exactly k entries is equally likely.
    Uniform,
    /// The k smallest magnitudes of a freshly initialised network: what the paper's own code does.
    RandomInitMagnitude,
}

/// The mask at the start of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitialMask {
    /// Everything kept.
    Dense,
    /// The mask at the end of the stage before; dense for the first.
    Keep,
    /// Ranked, by magnitudes or the method's own scores.
    Discover {
        /// On these weights.
        on: RewindPoint,
        /// To exactly this global sparsity.
        sparsity: Sparsity,
        /// Which entries it may keep, with respect to the mask at the end of the stage before.
        among: Among,
    },
    /// Drawn.
    Random {
        /// How.
        kind: RandomKind,
        /// To exactly this global sparsity.
        sparsity: Sparsity,
        /// Seeds the draw.
        seed: u64,
    },
    /// Read from a mask file; the stage's identity holds its content hash, not its path.
    Load(PathBuf),
}

/// What becomes of pruned weights during a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PrunedWeights {
    /// Zero after every update: a hard mask.
    Frozen,
    /// Zeroed when the mask is set, then trained like all others (PARP, Algorithm 1, lines 4 and 5).
    Trainable,
    /// Zero in the forward pass only; the dense weights stay and are trained.
    Hidden,
}

/// What a re-prune does to the optimizer's moments of pruned entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moments {
    /// Nothing: what the paper's code does.
    #[default]
    Keep,
    /// Sets them to zero.
    Zero,
}

/// Which head a stage starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadStart {
    /// The one that belongs to the weights it starts from.
    #[default]
    Rewound,
    /// The trained one of the stage before (BERT-Tickets does not rewind the classifier).
    Previous,
}

/// When the mask is recomputed within a stage, by the name of a registered mask schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScheduleSpec {
    /// Such as `constant`, `linear`, `cubic`, `list`.
    pub name: String,
    /// The schedule's options.
    pub options: toml::Table,
}

/// The optimizer and its hyper-parameters.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Optimizer {
    /// Adam (Kingma and Ba 2015, Algorithm 1); weight decay is added to the gradient.
    Adam {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// L2 penalty.
        weight_decay: f64,
    },
    /// AdamW (Loshchilov and Hutter 2019, Algorithm 2); weight decay is decoupled.
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the first moment.
        beta1: f64,
        /// Decay of the second moment.
        beta2: f64,
        /// Added to the root of the second moment.
        epsilon: f64,
        /// Decoupled decay.
        weight_decay: f64,
    },
    /// Stochastic gradient descent with heavy-ball momentum.
    Sgd {
        /// 0 for none.
        momentum: f64,
        /// L2 penalty.
        weight_decay: f64,
    },
}

/// How the learning rate moves over a stage's horizon; shares are of the horizon.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RateSchedule {
    /// The peak throughout.
    Constant,
    /// Linear warm-up, then linear decay to 0 at the horizon.
    Linear {
        /// Share of warm-up.
        warmup: f64,
    },
    /// Linear warm-up from `initial_scale`, hold, exponential decay to `final_scale` of the peak (paper, A.2).
    TriStage {
        /// Share of warm-up.
        warmup: f64,
        /// Share at the peak.
        hold: f64,
        /// Share of decay.
        decay: f64,
        /// Rate at the start, as a share of the peak.
        initial_scale: f64,
        /// Rate at the end, as a share of the peak.
        final_scale: f64,
    },
}

/// How examples become batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batching {
    /// So many examples a batch.
    Examples(u64),
    /// So many tokens or samples a batch, padding counted; examples of like length together.
    Budget(u64),
}

/// Everything about training that a stage's result depends on, besides data and model.
///
/// [`Recipe::new`] makes one; the methods named after fields change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Recipe {
    /// The optimizer; every stage starts it anew.
    pub optimizer: Optimizer,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// How the rate moves.
    pub rate_schedule: RateSchedule,
    /// Updates over which the rate schedule spans; the stage's updates when `None`.
    pub rate_horizon: Option<u64>,
    /// Examples or budget a micro-batch.
    pub batching: Batching,
    /// Whether batches hold examples of like length; always so under a budget.
    pub bucket_by_length: bool,
    /// Micro-batches an update; the last of a pass over the training split takes what is left of it.
    pub accumulate: u64,
    /// Largest global norm of the gradients; `None` clips nothing.
    pub clip_norm: Option<f64>,
    /// Updates at the start of a stage in which the head alone is trained.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub freeze_encoder_updates: u64,
    /// Whether weight decay applies to biases and to the weights of norms too.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub decay_biases_and_norms: bool,
}

impl Recipe {
    /// A constant rate, one micro-batch an update, nothing clipped or frozen, and every parameter decayed.
    pub fn new(optimizer: Optimizer, learning_rate: f64, batching: Batching) -> Self {
        Self {
            optimizer,
            learning_rate,
            rate_schedule: RateSchedule::Constant,
            rate_horizon: None,
            batching,
            bucket_by_length: false,
            accumulate: 1,
            clip_norm: None,
            freeze_encoder_updates: 0,
            decay_biases_and_norms: true,
        }
    }

    /// With this optimizer.
    pub fn optimizer(self, optimizer: Optimizer) -> Self {
        Self { optimizer, ..self }
    }

    /// With this peak learning rate.
    pub fn learning_rate(self, learning_rate: f64) -> Self {
        Self { learning_rate, ..self }
    }

    /// With a rate that moves like this.
    pub fn rate_schedule(self, rate_schedule: RateSchedule) -> Self {
        Self { rate_schedule, ..self }
    }

    /// With a rate schedule that spans so many updates; the stage's when `None`.
    pub fn rate_horizon(self, rate_horizon: Option<u64>) -> Self {
        Self { rate_horizon, ..self }
    }

    /// With micro-batches of this size.
    pub fn batching(self, batching: Batching) -> Self {
        Self { batching, ..self }
    }

    /// With batches of examples of like length, or not.
    pub fn bucket_by_length(self, bucket_by_length: bool) -> Self {
        Self { bucket_by_length, ..self }
    }

    /// With so many micro-batches an update.
    pub fn accumulate(self, accumulate: u64) -> Self {
        Self { accumulate, ..self }
    }

    /// With gradients clipped to this global norm; not at all when `None`.
    pub fn clip_norm(self, clip_norm: Option<f64>) -> Self {
        Self { clip_norm, ..self }
    }

    /// With the head alone trained in so many updates at the start of a stage.
    pub fn freeze_encoder_updates(self, freeze_encoder_updates: u64) -> Self {
        Self { freeze_encoder_updates, ..self }
    }

    /// With weight decay on biases and the weights of norms too, or not.
    pub fn decay_biases_and_norms(self, decay_biases_and_norms: bool) -> Self {
        Self { decay_biases_and_norms, ..self }
    }
}

/// Recipes that freeze nothing are written, and so hashed, as before there was such a key.
fn is_zero(updates: &u64) -> bool {
    *updates == 0
}

fn yes() -> bool {
    true
}

/// As [`is_zero`], for recipes that decay everything.
fn is_yes(value: &bool) -> bool {
    *value
}
