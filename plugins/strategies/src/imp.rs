//! Iterative magnitude pruning with rewinding (IMP; paper, section 2.3 and appendix C).

use lopper_core::{
    Among, Error, HeadStart, InitialMask, PruningStrategy, Result, RewindPoint, RunSpec, Sparsity, Stage, options,
    strategy,
};
use serde::{Deserialize, Serialize};

/// How sparsity grows from round to round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rounds {
    /// By `step` of all entries: 10, 20, … 90 %, ten finetunings at 90 % (Table 1 and the paper's code).
    Linear,
    /// By `step` of the remaining entries (the paper's sentence): 22 rounds for 90 %.
    Geometric,
}

options! {
    /// Options of iterative magnitude pruning.
    pub struct ImpOptions {
        /// `linear` or `geometric`.
        rounds: Rounds = Rounds::Linear,
        /// Share pruned a round: of all entries when linear, of the remaining when geometric.
        step: f64 = 0.1,
        /// Share of the dense finetuning whose weights every round starts from; 0 is theta_0.
        rewind: f64 = 0.0,
        /// Updates of every round but the last; 0 for full finetunings, whose results are shared between sparsities.
        round_updates: u64 = 0,
        /// Peak learning rate of those rounds; 0 for the run's. Only with `round_updates`.
        round_learning_rate: f64 = 0.0,
        /// BERT-Tickets: the head is not rewound, and the rate schedule spans ten rounds, so it never reaches 0.
        bert_tickets_compat: bool = false,
    }
}

/// Finetunes, prunes a little of what survives, rewinds, and so on until the target.
#[derive(Debug)]
pub struct Imp {
    options: ImpOptions,
}

impl Imp {
    /// Checks the options.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for shares out of range, all at once.
    pub fn new(options: ImpOptions) -> Result<Self> {
        let mut problems = Vec::new();
        if !(options.step > 0.0 && options.step <= 1.0) {
            problems.push(Error::invalid("[prune] step", options.step, "a share above 0, up to 1"));
        }
        if options.rounds == Rounds::Geometric && options.step == 1.0 {
            problems.push(Error::invalid("[prune] step", options.step, "below 1 for geometric rounds"));
        }
        if !(0.0..1.0).contains(&options.rewind) {
            problems.push(Error::invalid(
                "[prune] rewind",
                options.rewind,
                "a share of the dense finetuning from 0, below 1",
            ));
        }
        if !(options.round_learning_rate >= 0.0 && options.round_learning_rate.is_finite()) {
            problems.push(Error::invalid(
                "[prune] round_learning_rate",
                options.round_learning_rate,
                "a rate above 0, or 0",
            ));
        } else if options.round_learning_rate > 0.0 && options.round_updates == 0 {
            problems.push(Error::invalid(
                "[prune] round_learning_rate",
                options.round_learning_rate,
                "only together with round_updates; full rounds train at the run's rate",
            ));
        }
        Error::all(problems)?;
        Ok(Self { options })
    }

    /// Sparsity after each round, ascending; the last is the target.
    fn sparsities(&self, target: Sparsity) -> Result<Vec<Sparsity>> {
        let mut all = Vec::new();
        for round in 1.. {
            let value = match self.options.rounds {
                Rounds::Linear => round as f64 * self.options.step,
                Rounds::Geometric => 1.0 - (1.0 - self.options.step).powi(round),
            };
            // Nine decimals: 3 · 0.1 is then the same sparsity as a 0.3 from a configuration, and shares its stage.
            let value = (value * 1e9).round() / 1e9;
            // A geometric sequence never reaches 1; a step below 1e-9 of an entry prunes nothing more.
            let stuck = all.last().is_some_and(|last: &Sparsity| last.get() >= value);
            if value >= target.get() || stuck {
                break;
            }
            all.push(Sparsity::new(value)?);
        }
        all.push(target);
        Ok(all)
    }
}

impl PruningStrategy for Imp {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let o = &self.options;
        let mut full = Stage::dense(run);
        if o.bert_tickets_compat {
            full.recipe.rate_horizon = Some(run.updates.saturating_mul(10));
        }
        let rewind = (o.rewind * run.updates as f64).round() as u64;
        let start = if rewind == 0 { RewindPoint::Pretrained } else { RewindPoint::Update(rewind) };
        let mut dense = full.clone();
        if rewind > 0 {
            dense.snapshots = vec![rewind];
        }
        let sparsities = self.sparsities(run.sparsity)?;
        let last = sparsities.len() - 1;
        let rounds = sparsities.into_iter().enumerate().map(|(index, sparsity)| {
            let ranked = InitialMask::Discover { on: RewindPoint::Current, sparsity, among: Among::Survivors };
            let head = if o.bert_tickets_compat { HeadStart::Previous } else { HeadStart::Rewound };
            let name = format!("imp round {} at {sparsity}", index + 1);
            let mut stage = full.clone().named(name).mask(ranked).weights(start).head(head);
            if o.round_updates > 0 && index < last {
                stage.updates = o.round_updates;
                if o.round_learning_rate > 0.0 {
                    stage.recipe.learning_rate = o.round_learning_rate;
                }
            }
            stage
        });
        Ok(std::iter::once(dense).chain(rounds).collect())
    }
}

strategy! {
    name: "imp",
    summary: "iterative magnitude pruning: finetune, prune a little, rewind, repeat (lottery tickets)",
    options: ImpOptions,
    open: Imp::new,
}
