//! Random stages: which layouts and sparsities a strategy takes, and what happens while one of its stages trains.

use super::plans::SPARSITIES;
use crate::laws::{Broken, holds};
use lopper_core::{Layout, ParameterName, PruningStrategy, Sparsity, Stage};
use proptest::prelude::*;
use std::sync::Arc;

/// Opens a strategy with one set of options.
pub(super) type Open<'a> = dyn Fn() -> Box<dyn PruningStrategy> + 'a;

/// Layouts of one kind.
#[derive(Debug, Clone)]
pub(super) enum Family {
    /// Scalars, vectors and matrices, empty ones too.
    Any,
    /// Matrices whose sides are multiples of this.
    Multiples(u64),
    /// This one.
    Given(Layout),
}

impl Family {
    /// From the most general on.
    pub(super) fn random() -> [Self; 3] {
        [Self::Any, Self::Multiples(4), Self::Multiples(16)]
    }

    fn shapes(&self) -> BoxedStrategy<Vec<Vec<u64>>> {
        match self {
            Self::Any => {
                let shape = prop_oneof![
                    1 => Just(vec![]),
                    3 => prop::collection::vec(0u64..30, 1),
                    6 => prop::collection::vec(0u64..10, 2),
                ];
                prop::collection::vec(shape, 1..5).boxed()
            }
            Self::Multiples(of) => {
                let of = *of;
                let side = (1..=(16 / of + 1)).prop_map(move |n| n * of);
                prop::collection::vec(prop::collection::vec(side, 2), 1..4).boxed()
            }
            Self::Given(layout) => Just(layout.tensors().iter().map(|t| t.shape().to_vec()).collect()).boxed(),
        }
    }

    /// One of them that has everything its kind can have.
    fn sample(&self) -> Result<Layout, Broken> {
        match self {
            Self::Any => named(&[vec![], vec![0], vec![7], vec![9, 6], vec![3, 5]]),
            Self::Multiples(of) => named(&[vec![*of, 2 * of], vec![2 * of, *of]]),
            Self::Given(layout) => Ok(layout.clone()),
        }
    }
}

fn named(shapes: &[Vec<u64>]) -> Result<Layout, Broken> {
    let names = (0..).map(|index| ParameterName::new(format!("w{index}")));
    Ok(Layout::new(names.zip(shapes.iter().cloned()))?)
}

/// What a strategy can be held against.
#[derive(Debug)]
pub(super) struct Accepted {
    family: Family,
    /// Those of the tried ones that it takes; all others count as taken when it takes several.
    sparsities: Vec<f64>,
}

/// The first of `families` of which the strategy takes a layout at any sparsity.
pub(super) fn accepted(open: &Open<'_>, families: &[Family]) -> Result<Accepted, Broken> {
    let mut refusal = String::new();
    for family in families {
        let layout = family.sample()?;
        let mut sparsities = Vec::new();
        // Those of n of 4, 8 and 16 among them.
        for sparsity in SPARSITIES.into_iter().chain((1..16).map(|sixteenths| f64::from(sixteenths) / 16.0)) {
            match takes(open, &layout, Sparsity::new(sparsity)?) {
                Ok(()) => sparsities.push(sparsity),
                Err(Broken(why)) => refusal = format!("{family:?} at {sparsity}: {why}"),
            }
        }
        if !sparsities.is_empty() {
            return Ok(Accepted { family: family.clone(), sparsities });
        }
    }
    Err(Broken(format!("every layout is refused, {refusal}")))
}

/// Whether strategy and core both take the layout.
fn takes(open: &Open<'_>, layout: &Layout, target: Sparsity) -> Result<(), Broken> {
    let strategy = open();
    strategy.accepts(layout, target)?;
    let stages = strategy.plan(&crate::run_spec(target, 3))?;
    Ok(stages.iter().try_for_each(|stage| stage.check(layout))?)
}

impl Accepted {
    pub(super) fn cases(&self) -> impl Strategy<Value = Case> + use<> {
        let family = self.family.clone();
        let sparsities = self.sparsities.clone();
        let target = match sparsities.len() {
            1..=3 => prop::sample::select(sparsities).boxed(),
            _ => prop_oneof![Just(0.0), Just(1.0), Just(0.5), 0.0..=1.0f64].boxed(),
        };
        let shapes = self.family.shapes();
        let about = (target, 0.0..=1.0f64, 1..=5u64, any::<prop::sample::Index>(), any::<u64>());
        (shapes, about).prop_flat_map(move |(shapes, (target, before, updates, pick, seed))| {
            let lengths: Vec<usize> = shapes.iter().map(|s| s.iter().product::<u64>() as usize).collect();
            let each = |value: BoxedStrategy<f32>| -> Vec<_> {
                lengths.iter().map(|n| prop::collection::vec(value.clone(), *n)).collect()
            };
            let gradients = prop::collection::vec(each((-1.0f32..1.0).boxed()), updates as usize);
            let family = family.clone();
            (each(weight().boxed()), gradients).prop_map(move |(weights, gradients)| Case {
                family: family.clone(),
                shapes: shapes.clone(),
                weights,
                gradients,
                target,
                before,
                pick,
                seed,
            })
        })
    }
}

/// Ties, both zeros, subnormal and large numbers; small enough that products of a few do not overflow.
fn weight() -> impl Strategy<Value = f32> {
    prop_oneof![
        prop::sample::select(vec![0.0f32, -0.0, 0.25, -0.25, 1.0, -1.0]),
        -2.0f32..2.0,
        prop::sample::select(vec![1e-40f32, -1e-40, 1e9, -1e9]),
    ]
}

/// What happens while a stage trains.
#[derive(Debug, Clone)]
pub(super) struct Case {
    family: Family,
    shapes: Vec<Vec<u64>>,
    /// Of each tensor, at the start.
    pub(super) weights: Vec<Vec<f32>>,
    /// Of each update, of each tensor.
    pub(super) gradients: Vec<Vec<Vec<f32>>>,
    target: f64,
    /// Share of the first mask's pruned entries that the mask before it prunes.
    pub(super) before: f64,
    /// Which of the plan's stages.
    pick: prop::sample::Index,
    pub(super) seed: u64,
}

impl Case {
    pub(super) fn layout(&self) -> Result<Arc<Layout>, Broken> {
        match &self.family {
            Family::Given(layout) => Ok(Arc::new(layout.clone())),
            Family::Any | Family::Multiples(_) => Ok(Arc::new(named(&self.shapes)?)),
        }
    }

    /// Updates of a full finetuning.
    pub(super) fn updates(&self) -> u64 {
        self.gradients.len() as u64
    }

    /// The plan for this case; `None` where the strategy refuses it.
    pub(super) fn plan(&self, open: &Open<'_>) -> Result<Option<Vec<Stage>>, Broken> {
        let (layout, target) = (self.layout()?, Sparsity::new(self.target)?);
        let strategy = open();
        if strategy.accepts(&layout, target).is_err() {
            return Ok(None);
        }
        let Ok(stages) = strategy.plan(&crate::run_spec(target, self.updates())) else { return Ok(None) };
        // What neither refuses by name is refused by the core before anything is trained.
        let possible = stages.iter().all(|stage| stage.check(&layout).is_ok());
        holds!(!stages.is_empty(), "the plan has no stages");
        Ok(possible.then_some(stages))
    }

    /// A stage of the plan that makes masks, if there is one.
    pub(super) fn stage(&self, open: &Open<'_>) -> Result<Option<(Stage, Arc<Layout>)>, Broken> {
        let ranked: Vec<Stage> = self.plan(open)?.unwrap_or_default().into_iter().filter(Stage::ranks).collect();
        if ranked.is_empty() {
            return Ok(None);
        }
        Ok(Some((ranked[self.pick.index(ranked.len())].clone(), self.layout()?)))
    }
}
