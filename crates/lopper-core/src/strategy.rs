//! The traits behind which a pruning method stands: a strategy that plans, and what it does inside one stage.

use crate::{Error, Layout, Result, RunSpec, Scores, Sparsity, Stage, View, registry::entry};
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Numbers of a method's own for the metrics, by name.
pub type Measures = BTreeMap<String, f64>;

/// What a checkpoint carries for a method, and one stage for the next where the plan says so.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct MethodState {
    /// Tensors by name.
    pub tensors: BTreeMap<String, Tensor>,
    /// Anything else, as text.
    pub text: BTreeMap<String, String>,
}

impl MethodState {
    /// These tensors and texts.
    pub fn new(tensors: BTreeMap<String, Tensor>, text: BTreeMap<String, String>) -> Self {
        Self { tensors, text }
    }

    /// The state of a method that remembers these tensors; they are not copied.
    pub fn of(tensors: &BTreeMap<String, Tensor>) -> Self {
        let tensors = tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        Self { tensors, text: BTreeMap::new() }
    }

    /// The same with its tensors on `device`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn to_device(self, device: Device) -> Result<Self> {
        let moved = self.tensors.into_iter().map(|(name, tensor)| Ok((name, tensor.f_to_device(device)?)));
        Ok(Self { tensors: moved.collect::<Result<_>>()?, text: self.text })
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty() && self.text.is_empty()
    }
}

/// A pruning method: it plans the stages, and opens a fresh [`StageMethod`] for each.
///
/// It is never changed: what happens inside a stage cannot reach another but by what the plan names, which is in the stage's
/// key. That is why a stage can be stored once and taken by every run that plans the same.
pub trait PruningStrategy: Send + Sync {
    /// The stages of this method, in order. Pure: printing a plan trains nothing.
    ///
    /// # Errors
    /// When the options do not fit the run, such as an initial sparsity above the target.
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>>;

    /// Whether it can prune a model of this layout to `target`; asked before anything else. What [`Stage::check`] finds by
    /// itself, such as an axis that a pattern does not divide, need not be said again. Everything is accepted unless overridden.
    ///
    /// # Errors
    /// What is in the way, by name, and what would be accepted.
    fn accepts(&self, _layout: &Layout, _target: Sparsity) -> Result<()> {
        Ok(())
    }

    /// What it does inside `stage`, which is one that it planned. Magnitudes are ranked unless overridden.
    ///
    /// # Errors
    /// When it cannot be made.
    fn method(&self, _stage: &Stage, _layout: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        Ok(Box::new(Magnitudes))
    }
}

/// What a method does inside one stage. Every stage gets a fresh one.
///
/// All of it is called without autograd: operations on what a view shows record no graph.
pub trait StageMethod: Send {
    /// How much each prunable entry matters; asked whenever the mask is made. Magnitudes unless overridden, and a stage whose
    /// method overrides it says so with [`Stage::own_scores`].
    ///
    /// The core ranks, rounds and proves the counts; a method never counts.
    ///
    /// # Errors
    /// Errors of libtorch, and a method's own.
    fn score(&mut self, _view: &View<'_>) -> Result<Scores> {
        Ok(Scores::Magnitude)
    }

    /// Sees the dense gradients after a backward pass, as often as the stage's [`gradients`](Stage::gradients) say. Never for
    /// an update that is skipped because its loss or a gradient is not finite.
    ///
    /// # Errors
    /// Errors of libtorch, and a method's own.
    fn after_backward(&mut self, _view: &View<'_>) -> Result<()> {
        Ok(())
    }

    /// Numbers of its own, written into the metrics after each update whose gradients it saw or whose mask it scored; nothing
    /// for no line. Only of stages that [depend on the method](Stage::depends_on_method): others are shared with methods that
    /// measure nothing.
    fn measures(&self) -> Measures {
        Measures::new()
    }

    /// What a checkpoint must carry for this method to continue bit-exactly.
    fn state(&self) -> MethodState {
        MethodState::default()
    }

    /// Restores what [`state`](Self::state) returned. Tensors come on the device of the weights.
    ///
    /// # Errors
    /// When the state is not this method's; unless overridden, when there is any.
    fn load_state(&mut self, state: MethodState) -> Result<()> {
        let names: Vec<_> = state.tensors.keys().chain(state.text.keys()).map(String::as_str).collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(Error::ForeignState { names: names.join(", ") })
    }
}

/// Unstructured magnitude pruning without a memory.
#[derive(Debug, Clone, Copy, Default)]
pub struct Magnitudes;

impl StageMethod for Magnitudes {}

entry! {
    /// A pruning method; [`strategy!`](crate::strategy) makes and registers one.
    #[non_exhaustive]
    StrategyEntry, "strategy" {
        /// Builds it from its options (the `[prune]` table without `method` and `sparsity`).
        open: fn(&toml::Table) -> Result<Box<dyn PruningStrategy>>,
    }
}

/// Registers a strategy: its name in configurations, a line for `lopper plugins`, the type that
/// [`options!`](crate::options) made, and what makes the strategy from them.
///
/// ```no_run,standalone_crate
/// use lopper_core::{PruningStrategy, Result, RunSpec, Stage, options, strategy};
///
/// options! {
///     /// It has no options.
///     struct MineOptions {}
/// }
///
/// struct Mine;
///
/// impl PruningStrategy for Mine {
///     fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
///         Ok(vec![Stage::dense(run).named("mine").discovered(run.sparsity)])
///     }
/// }
///
/// strategy! {
///     name: "mine",
///     summary: "magnitudes of theta_0",
///     options: MineOptions,
///     open: |_| Ok(Mine),
/// }
/// ```
#[macro_export]
macro_rules! strategy {
    (name: $name:literal, summary: $summary:literal, options: $options:ty, open: $open:expr $(,)?) => {
        $crate::__private::inventory::submit! {
            $crate::StrategyEntry::new(
                $name,
                $summary,
                <$options>::DOCS,
                concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
                |table| {
                    let open: fn($options) -> $crate::Result<_> = $open;
                    let strategy = open(<$options>::parse(table, "[prune]")?)?;
                    Ok(::std::boxed::Box::new(strategy))
                },
            )
        }
    };
}
