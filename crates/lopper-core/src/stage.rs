//! Stages as data: a plan can be printed, hashed, shared and run elsewhere.

use crate::{
    Allocation, Among, Error, HeadStart, InitialMask, Layout, MaskScheduleEntry, Moments, Pattern, PrunedWeights,
    Recipe, Request, Result, RewindPoint, ScheduleSpec, Sparsity, registry,
};
use serde::{Deserialize, Serialize};

/// Whose scores decide a stage's masks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scoring {
    /// Magnitudes, as the core ranks them. The strategy is then no part of the stage's key, so methods share such stages:
    /// OMP's second and round one of IMP's are the same.
    #[default]
    Magnitude,
    /// The method's own scores; the stage is shared with no other strategy.
    Own,
}

/// When a method sees the dense gradients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Gradients {
    /// Never; nothing is collected.
    #[default]
    Never,
    /// In the update after which the mask changes (RigL).
    WhenDue,
    /// In every update (movement pruning).
    EveryUpdate,
}

/// What a calibration collects, for each prunable tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Collect {
    /// g, the gradient of the mean loss over all batches, in training mode; of the tensor's shape.
    Gradients,
    /// |w ⊙ g|: how much the loss would change without the weight, to first order (SNIP; Lee et al. 2019, equation 5). Of
    /// the tensor's shape.
    Sensitivity,
    /// Σ x² over everything that enters the layer, for each input feature, in evaluation mode (Wanda; Sun et al. 2024,
    /// equation 1). `[in]` for the weight `[out, in]` of a linear layer; nothing for a tensor that is none.
    InputNorms,
}

/// Training batches that a method sees before the stage's first mask, at the weights that are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Calibration {
    /// How many, from 1 up: the first ones, in the order of training.
    pub batches: u64,
    /// What is made of them.
    pub collects: Collect,
}

impl Calibration {
    /// On the first `batches` batches of training.
    pub fn new(batches: u64, collects: Collect) -> Self {
        Self { batches, collects }
    }
}

/// What a strategy plans for.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSpec {
    /// The sparsity to end at.
    pub sparsity: Sparsity,
    /// Updates of one full finetuning.
    pub updates: u64,
    /// Updates that pass over the training split once.
    pub updates_per_epoch: u64,
    /// How a full finetuning trains.
    pub recipe: Recipe,
    /// Seeds everything that is drawn.
    pub seed: u64,
}

/// One finetuning, or none for a stage of 0 updates.
///
/// [`Stage::dense`] makes one; the methods named after fields change it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Stage {
    /// For people; not part of the identity.
    pub name: String,
    /// The mask it starts with.
    pub mask: InitialMask,
    /// The weights it starts from.
    pub weights: RewindPoint,
    /// The head it starts with.
    pub head: HeadStart,
    /// Optimizer steps.
    pub updates: u64,
    /// When the mask is recomputed; never when `None`.
    pub schedule: Option<ScheduleSpec>,
    /// What becomes of pruned weights.
    pub pruned: PrunedWeights,
    /// Updates at its end in which pruned weights that train are frozen at zero instead, so that the last zeroing throws
    /// nothing away.
    #[serde(default, skip_serializing_if = "is_default")]
    pub freezes_last: u64,
    /// What a re-prune does to the moments.
    pub moments: Moments,
    /// Updates after which the weights are kept as rewind points, for later stages.
    pub snapshots: Vec<u64>,
    /// How it trains.
    pub recipe: Recipe,
    /// Whose scores decide its masks.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scoring: Scoring,
    /// How its sparsity is spread over tensors.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allocation: Allocation,
    /// Which entries go together.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pattern: Pattern,
    /// Whether a hard mask is ranked among all entries, so that pruned ones can come back, from zero (RigL, SET). Soft masks
    /// are always ranked so.
    #[serde(default, skip_serializing_if = "is_default")]
    pub mask_grows: bool,
    /// When its method sees gradients.
    #[serde(default, skip_serializing_if = "is_default")]
    pub gradients: Gradients,
    /// What its method learns from data before the first mask, which it must discover.
    #[serde(default, skip_serializing_if = "is_default")]
    pub calibration: Option<Calibration>,
    /// Whether its method starts from the state of the method of the stage before, which must be the same strategy's.
    #[serde(default, skip_serializing_if = "is_default")]
    pub carry: bool,
}

/// What a stage does not use is not written, and so not hashed.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Stage {
    /// A dense finetuning from theta_0 as `run` describes it: the base that methods change.
    pub fn dense(run: &RunSpec) -> Self {
        Self {
            name: "dense".into(),
            mask: InitialMask::Dense,
            weights: RewindPoint::Pretrained,
            head: HeadStart::Rewound,
            updates: run.updates,
            schedule: None,
            pruned: PrunedWeights::Frozen,
            freezes_last: 0,
            moments: Moments::Keep,
            snapshots: Vec::new(),
            recipe: run.recipe.clone(),
            scoring: Scoring::Magnitude,
            allocation: Allocation::Global,
            pattern: Pattern::Unstructured,
            mask_grows: false,
            gradients: Gradients::Never,
            calibration: None,
            carry: false,
        }
    }

    /// Under this name, which differs from those of the plan's other stages.
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// With this mask at its start.
    pub fn mask(self, mask: InitialMask) -> Self {
        Self { mask, ..self }
    }

    /// With a mask of that sparsity, ranked on theta_0 among all entries: where a method starts that trains once.
    pub fn discovered(self, sparsity: Sparsity) -> Self {
        self.mask(InitialMask::Discover { on: RewindPoint::Pretrained, sparsity, among: Among::All })
    }

    /// From these weights.
    pub fn weights(self, weights: RewindPoint) -> Self {
        Self { weights, ..self }
    }

    /// With this head.
    pub fn head(self, head: HeadStart) -> Self {
        Self { head, ..self }
    }

    /// For so many updates.
    pub fn updates(self, updates: u64) -> Self {
        Self { updates, ..self }
    }

    /// With masks recomputed by this schedule.
    pub fn schedule(self, schedule: ScheduleSpec) -> Self {
        Self { schedule: Some(schedule), ..self }
    }

    /// With pruned weights treated like this.
    pub fn pruned(self, pruned: PrunedWeights) -> Self {
        Self { pruned, ..self }
    }

    /// With pruned weights that train frozen in so many updates at its end.
    pub fn freezes_last(self, updates: u64) -> Self {
        Self { freezes_last: updates, ..self }
    }

    /// With this done to the moments at a re-prune.
    pub fn moments(self, moments: Moments) -> Self {
        Self { moments, ..self }
    }

    /// Keeping the weights after these updates.
    pub fn snapshots(self, snapshots: impl IntoIterator<Item = u64>) -> Self {
        Self { snapshots: snapshots.into_iter().collect(), ..self }
    }

    /// With masks by the method's own scores.
    pub fn own_scores(self) -> Self {
        Self { scoring: Scoring::Own, ..self }
    }

    /// With the sparsity spread like this.
    pub fn allocation(self, allocation: Allocation) -> Self {
        Self { allocation, ..self }
    }

    /// With masks of this pattern.
    pub fn pattern(self, pattern: Pattern) -> Self {
        Self { pattern, ..self }
    }

    /// With a hard mask whose pruned entries can come back.
    pub fn mask_grows(self) -> Self {
        Self { mask_grows: true, ..self }
    }

    /// With gradients for its method.
    pub fn gradients(self, gradients: Gradients) -> Self {
        Self { gradients, ..self }
    }

    /// With a calibration before its first mask.
    pub fn calibration(self, calibration: Calibration) -> Self {
        Self { calibration: Some(calibration), ..self }
    }

    /// With a method that starts from the state of the one before.
    pub fn carry(self) -> Self {
        Self { carry: true, ..self }
    }

    /// Whether it trains, and so counts as a finetuning (paper, Figure 1 and Table 1).
    pub fn is_finetuning(&self) -> bool {
        self.updates > 0
    }

    /// Whether its result depends on the stage before it.
    pub fn needs_previous(&self) -> bool {
        self.weights != RewindPoint::Pretrained
            || self.head == HeadStart::Previous
            || self.carry
            || match &self.mask {
                InitialMask::Keep => true,
                InitialMask::Discover { on, among, .. } => *on != RewindPoint::Pretrained || *among == Among::Survivors,
                InitialMask::Dense | InitialMask::Random { .. } | InitialMask::Load(_) => false,
            }
    }

    /// What becomes of pruned weights in that update, from 1 up.
    pub fn pruned_in(&self, update: u64) -> PrunedWeights {
        match self.pruned {
            PrunedWeights::Trainable if update > self.updates.saturating_sub(self.freezes_last) => {
                PrunedWeights::Frozen
            }
            pruned => pruned,
        }
    }

    /// Whether masks of this stage are ranked.
    pub fn ranks(&self) -> bool {
        self.schedule.is_some() || matches!(self.mask, InitialMask::Discover { .. })
    }

    /// Whether its result depends on the strategy's code and options: its own scores decide a mask, or it sees gradients and
    /// reports of them, or goes on from an earlier state.
    pub fn depends_on_method(&self) -> bool {
        (self.ranks() && self.scoring == Scoring::Own) || self.gradients != Gradients::Never || self.carry
    }

    /// The stage without its name, its snapshots and the way to its start: two stages that are alike in this, and start from the
    /// same mask, weights and head, train alike.
    pub fn without_start(&self) -> Self {
        let mut alone = self.clone().named("").snapshots([]).mask(InitialMask::Dense).weights(RewindPoint::Pretrained);
        alone.head = HeadStart::default();
        (alone.calibration, alone.carry) = (None, false);
        if alone.schedule.is_none() {
            // Nothing is ranked any more.
            (alone.scoring, alone.mask_grows) = Default::default();
            (alone.allocation, alone.pattern) = Default::default();
        }
        alone
    }

    /// The request for a mask of that sparsity, as allocation and pattern say.
    pub fn request(&self, target: Sparsity, among: Among) -> Request {
        Request::global(target).among(among).allocated(self.allocation.clone()).in_pattern(self.pattern)
    }

    /// Among which entries its schedule's masks are ranked.
    pub fn re_ranks_among(&self) -> Among {
        match self.pruned {
            // A hard mask shrinks, unless it is asked to grow: what is zero has no magnitude to be ranked by.
            PrunedWeights::Frozen if !self.mask_grows => Among::Survivors,
            PrunedWeights::Frozen | PrunedWeights::Trainable | PrunedWeights::Hidden => Among::All,
        }
    }

    /// Every sparsity that a mask of it is ranked or drawn for, with the entries it is chosen among: the first mask's, then
    /// the schedule's in order, each once.
    ///
    /// # Errors
    /// [`Error::UnknownPlugin`] for a schedule that nobody registered, and the schedule's own.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let mut requests = match &self.mask {
            InitialMask::Discover { sparsity, among, .. } => vec![self.request(*sparsity, *among)],
            InitialMask::Random { sparsity, .. } => vec![self.request(*sparsity, Among::All)],
            InitialMask::Dense | InitialMask::Keep | InitialMask::Load(_) => Vec::new(),
        };
        if let Some(spec) = &self.schedule {
            let schedule = (registry::find::<MaskScheduleEntry>(&spec.name)?.open)(&spec.options)?;
            let mut last = None;
            for target in (1..=self.updates).filter_map(|update| schedule.target(update, self.updates)) {
                if last != Some(target) {
                    requests.push(self.request(target, self.re_ranks_among()));
                    last = Some(target);
                }
            }
        }
        Ok(requests)
    }

    /// Whether a model of this layout can be pruned as the stage says, with the layout and target of each of its masks, before
    /// anything is trained.
    ///
    /// # Errors
    /// All that is in the way, each naming what it is about: see [`Request::quota`]; a calibration without batches, or without
    /// a mask to discover.
    pub fn check(&self, layout: &Layout) -> Result<()> {
        let mut problems = Vec::new();
        let mut last = None;
        // One ranking over all tensors, entry by entry, can have any sparsity: a long schedule need not be asked.
        let plain = self.allocation == Allocation::Global && self.pattern == Pattern::Unstructured;
        for request in if plain { Vec::new() } else { self.requests()? } {
            if let Err(error) = request.quota(layout) {
                // A ramp fails at each of its steps for one reason.
                let text = error.to_string();
                if last.as_ref() != Some(&text) {
                    problems.push(error.into());
                }
                last = Some(text);
            }
        }
        if let Some(Calibration { batches, .. }) = self.calibration {
            if batches == 0 {
                problems.push(Error::invalid("calibration.batches", 0, "a number of batches from 1 up"));
            }
            if !matches!(self.mask, InitialMask::Discover { .. }) {
                problems.push(Error::invalid(
                    "calibration",
                    &self.name,
                    "only for stages whose first mask is discovered",
                ));
            }
        }
        Error::all(problems).map_err(|error| Error::Stage { stage: self.name.clone(), problem: Box::new(error) })
    }
}
