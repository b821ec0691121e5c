//! The trait behind which a pruning method stands.

use crate::{Layout, MaskSet, ParameterName, Result, RunSpec, Selector, Sparsity, Stage};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::Tensor;

/// One prunable weight as a strategy sees it.
#[derive(Debug)]
pub struct PrunableWeight<'a> {
    /// Its name.
    pub name: &'a ParameterName,
    /// Its value, float32, on the run's device. Not to be written to.
    pub tensor: &'a Tensor,
    /// The same memory as a flat row-major slice, when it lies on the CPU and is contiguous.
    pub host: Option<&'a [f32]>,
    /// Its dense gradient of this update; only in [`PruningStrategy::after_backward`].
    pub gradient: Option<Tensor>,
}

/// All prunable weights at one moment.
#[derive(Debug)]
pub struct WeightView<'a> {
    layout: &'a Arc<Layout>,
    weights: Vec<PrunableWeight<'a>>,
    update: u64,
}

impl<'a> WeightView<'a> {
    /// A view of `weights`, which stand in the order of `layout`. `update` counts finished updates of the stage.
    pub fn new(layout: &'a Arc<Layout>, weights: Vec<PrunableWeight<'a>>, update: u64) -> Self {
        Self { layout, weights, update }
    }

    /// Names, shapes and order.
    pub fn layout(&self) -> &Arc<Layout> {
        self.layout
    }

    /// The weights in the order of the layout.
    pub fn weights(&self) -> &[PrunableWeight<'a>] {
        &self.weights
    }

    /// Finished updates of this stage; 0 before the first.
    pub fn update(&self) -> u64 {
        self.update
    }
}

/// How much each prunable entry matters; low scores are pruned first.
#[derive(Debug)]
pub enum Scores {
    /// The magnitude of the weights themselves: unstructured magnitude pruning, ranked in place.
    Magnitude,
    /// One tensor for each prunable weight, of its shape: any finite float32 numbers, negative ones too.
    Values(Vec<Tensor>),
}

/// Which entries a ranking may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Among {
    /// Every prunable entry: pruned ones can come back (PARP).
    All,
    /// Only what the current mask keeps: masks shrink (IMP).
    Survivors,
}

/// What a checkpoint carries for a strategy.
#[derive(Debug, Default)]
pub struct StrategyState {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Anything else, as text.
    pub text: BTreeMap<String, String>,
}

/// Whose ranking decides a mask; part of a stage's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ranking {
    /// Unstructured magnitude pruning as the core does it. Strategies that answer this promise equal masks on equal
    /// weights, so their stages can be shared: OMP's and round one of IMP's are the same stage.
    Magnitude,
    /// The strategy's own scores; the stage is shared with no other strategy.
    Own,
}

/// A pruning method: which stages it trains, and which entries it prunes.
pub trait PruningStrategy: Send {
    /// The stages of this method, in order. Pure: printing a plan trains nothing.
    ///
    /// # Errors
    /// When the options do not fit the run, such as an initial sparsity above the target.
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>>;

    /// Whose ranking decides the masks. The default, [`Ranking::Own`], is right for every strategy that overrides
    /// [`score`](Self::score) or [`next_mask`](Self::next_mask).
    fn ranking(&self) -> Ranking {
        Ranking::Own
    }

    /// How much each prunable entry matters. The default is unstructured magnitude pruning.
    ///
    /// # Errors
    /// Errors of libtorch, and a strategy's own.
    fn score(&mut self, _view: &WeightView<'_>) -> Result<Scores> {
        Ok(Scores::Magnitude)
    }

    /// A mask of exactly `target` sparsity. The default ranks [`score`](Self::score) globally over all tensors.
    ///
    /// # Errors
    /// [`crate::Error::NonFinite`] naming the entry that cannot be ranked; a target below the sparsity of `current`
    /// when ranking among survivors.
    fn next_mask(
        &mut self,
        view: &WeightView<'_>,
        current: &MaskSet,
        target: Sparsity,
        among: Among,
    ) -> Result<MaskSet> {
        let scores = self.score(view)?;
        Selector::new().select(view, &scores, current, target, among)
    }

    /// Sees the dense gradients after each backward pass (movement pruning, RigL). Never for an update that is skipped
    /// because its loss or a gradient is not finite; a mask that is due then is ranked without.
    ///
    /// # Errors
    /// Errors of libtorch, and a strategy's own.
    fn after_backward(&mut self, _view: &WeightView<'_>, _mask_update_due: bool) -> Result<()> {
        Ok(())
    }

    /// Whether [`after_backward`](Self::after_backward) does anything; if not, no gradients are collected for it.
    fn wants_gradients(&self) -> bool {
        false
    }

    /// What a checkpoint must carry for this method to continue bit-exactly.
    fn state(&self) -> StrategyState {
        StrategyState::default()
    }

    /// Restores what [`state`](Self::state) returned.
    ///
    /// # Errors
    /// When the state is not this strategy's.
    fn load_state(&mut self, _state: StrategyState) -> Result<()> {
        Ok(())
    }
}
