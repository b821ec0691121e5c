//! A stage without a model: what a session shows a method, update by update.

use super::cases::Case;
use crate::laws::{Broken, bits, deep_copy};
use lopper_core::{
    Calibrated, Calibration, Collect, Gradients, InitialMask, Layout, MaskSchedule, MaskScheduleEntry, MaskSet,
    MethodState, PrunableWeight, PrunedWeights, PruningStrategy, RandomKind, Result, Selector, Sparsity, Stage,
    StageMethod, View, WeightView, registry,
};
use std::sync::Arc;
use tch::Tensor;

/// The name under which a method is blamed.
pub(super) const METHOD: &str = "the method";

/// How a stage is driven; no method may notice.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Weights are plain memory, as on a CPU; without, as on a GPU.
    pub(super) host: bool,
    /// Weights, gradients and moments of an update are written over those of the one before, and gradients are zeroed when
    /// they have been shown, as training does it; or everything is new each time.
    pub(super) in_place: bool,
    /// After this update the method is replaced by a fresh one with its state.
    pub(super) restored_after: Option<u64>,
}

pub(super) const PLAIN: How = How { host: true, in_place: true, restored_after: None };

/// What came of it.
#[derive(Debug)]
pub(super) struct Driven {
    /// The masks in order, each with the one before it and the sparsity that was asked for.
    pub(super) masks: Vec<Step>,
    /// What the method wrote to, if it did.
    pub(super) written: Option<String>,
}

#[derive(Debug, PartialEq)]
pub(super) struct Step {
    pub(super) before: MaskSet,
    pub(super) mask: MaskSet,
    pub(super) target: Sparsity,
    pub(super) first: bool,
}

impl Driven {
    /// The masks alone.
    pub(super) fn same_masks(&self, other: &Self) -> Result<(), Broken> {
        if self.masks.len() != other.masks.len() {
            return Err(Broken(format!("{} masks and {} masks", self.masks.len(), other.masks.len())));
        }
        for (index, (a, b)) in self.masks.iter().zip(&other.masks).enumerate() {
            if a.mask != b.mask {
                let iou = a.mask.compare(&b.mask)?.iou;
                return Err(Broken(format!("mask {index} differs, IOU {iou:.3}")));
            }
        }
        Ok(())
    }
}

/// Drives `stage` with methods that `open` makes.
pub(super) fn drive(
    case: &Case,
    (stage, layout): (&Stage, &Arc<Layout>),
    how: How,
    open: impl Fn() -> Result<Box<dyn StageMethod>>,
) -> Result<Driven, Broken> {
    let mut run = Run::new(case, (stage, layout), how, open()?)?;
    for update in 1..=stage.updates {
        run.update(update)?;
        if how.restored_after == Some(update) {
            let state = copy(&run.method.state())?;
            run.method = open()?;
            run.method.load_state(state)?;
        }
    }
    Ok(run.training.driven)
}

/// Drives `stage` with a method of `strategy` on each of two cases, by turns, as two runs in one process do it at once.
pub(super) fn drive_both(
    cases: [&Case; 2],
    (stage, layout): (&Stage, &Arc<Layout>),
    strategy: &dyn PruningStrategy,
) -> Result<[Driven; 2], Broken> {
    let begin = |case| Run::new(case, (stage, layout), PLAIN, strategy.method(stage, layout)?);
    let [first, second] = cases;
    let mut runs = [begin(first)?, begin(second)?];
    for update in 1..=stage.updates {
        runs.iter_mut().try_for_each(|run| run.update(update))?;
    }
    Ok(runs.map(|run| run.training.driven))
}

/// A stage under way with its method.
struct Run<'a> {
    training: Training<'a>,
    method: Box<dyn StageMethod>,
    schedule: Option<Box<dyn MaskSchedule>>,
}

impl<'a> Run<'a> {
    fn new(
        case: &'a Case,
        (stage, layout): (&'a Stage, &'a Arc<Layout>),
        how: How,
        mut method: Box<dyn StageMethod>,
    ) -> Result<Self, Broken> {
        let mut training = Training::new(case, stage, layout, how)?;
        training.begin(method.as_mut())?;
        let schedule = match &stage.schedule {
            Some(spec) => Some((registry::find::<MaskScheduleEntry>(&spec.name)?.open)(&spec.options)?),
            None => None,
        };
        Ok(Self { training, method, schedule })
    }

    fn update(&mut self, update: u64) -> Result<(), Broken> {
        let updates = self.training.stage.updates;
        let target = self.schedule.as_ref().and_then(|schedule| schedule.target(update, updates));
        self.training.update(self.method.as_mut(), update, target)
    }
}

/// As a checkpoint does it: nothing is shared with the method.
fn copy(state: &MethodState) -> Result<MethodState, Broken> {
    let tensors = state.tensors.iter().map(|(name, tensor)| Ok((name.clone(), deep_copy(tensor)?)));
    Ok(MethodState::new(tensors.collect::<Result<_, Broken>>()?, state.text.clone()))
}

struct Training<'a> {
    case: &'a Case,
    stage: &'a Stage,
    layout: &'a Arc<Layout>,
    how: How,
    /// What the weights are now.
    values: Vec<Vec<f32>>,
    weights: Vec<Tensor>,
    gradients: Vec<Tensor>,
    mask: MaskSet,
    selector: Selector,
    driven: Driven,
}

impl<'a> Training<'a> {
    fn new(case: &'a Case, stage: &'a Stage, layout: &'a Arc<Layout>, how: How) -> Result<Self, Broken> {
        let values = case.weights.clone();
        Ok(Self {
            weights: tensors(layout, &values)?,
            gradients: tensors(layout, &values)?,
            values,
            mask: MaskSet::dense(layout.clone()),
            selector: Selector::new(),
            driven: Driven { masks: Vec::new(), written: None },
            case,
            stage,
            layout,
            how,
        })
    }

    /// The stage's first mask.
    fn begin(&mut self, method: &mut dyn StageMethod) -> Result<(), Broken> {
        match &self.stage.mask {
            InitialMask::Discover { sparsity, among, .. } => {
                let earlier = self.stage.request(Sparsity::new(sparsity.get() * self.case.before)?, *among);
                // Where no such mask is possible, as in n of m, everything is there yet.
                if earlier.quota(self.layout).is_ok() {
                    self.mask = MaskSet::random_as(self.layout.clone(), &earlier, self.case.seed)?;
                }
                let calibrated = self.stage.calibration.map(|calibration| self.calibrated(calibration)).transpose()?;
                self.rank(method, *sparsity, *among, 0, &[], calibrated.as_ref())?;
            }
            InitialMask::Random { sparsity, kind: RandomKind::Uniform | RandomKind::RandomInitMagnitude, .. } => {
                let request = self.stage.request(*sparsity, lopper_core::Among::All);
                self.mask = MaskSet::random_as(self.layout.clone(), &request, self.case.seed)?;
            }
            InitialMask::Dense | InitialMask::Keep | InitialMask::Load(_) => {}
        }
        self.zero_pruned();
        Ok(())
    }

    /// One update, in the session's order.
    fn update(&mut self, method: &mut dyn StageMethod, update: u64, target: Option<Sparsity>) -> Result<(), Broken> {
        self.refresh()?;
        let gradient = &self.case.gradients[(update - 1) as usize % self.case.gradients.len()];
        set(&mut self.gradients, self.layout, gradient, self.how.in_place)?;
        let due = target.is_some();
        let shows = match self.stage.gradients {
            Gradients::EveryUpdate => true,
            Gradients::WhenDue => due,
            _ => false,
        };
        if shows {
            self.show(method, update - 1, due)?;
        }
        let dense = if shows && due { tensors(self.layout, gradient)? } else { Vec::new() };
        if self.how.in_place {
            // Masked and clipped.
            self.gradients.iter_mut().try_for_each(|gradient| gradient.f_zero_().map(drop))?;
        }
        for (values, gradient) in self.values.iter_mut().zip(gradient) {
            // The session skips an update that is not finite: weights stay finite whatever a gradient is.
            let steps = values.iter_mut().zip(gradient).filter(|(_, gradient)| gradient.is_finite());
            steps.for_each(|(value, gradient)| *value -= 0.1 * gradient);
        }
        self.refresh()?;
        if let Some(target) = target {
            self.rank(method, target, self.stage.re_ranks_among(), update, &dense, None)?;
        }
        if self.stage.pruned == PrunedWeights::Frozen || (due && self.stage.pruned == PrunedWeights::Trainable) {
            self.zero_pruned();
        }
        Ok(())
    }

    fn show(&mut self, method: &mut dyn StageMethod, update: u64, due: bool) -> Result<(), Broken> {
        let weights = view(self.layout, &self.weights, self.how.host)?;
        let moment = |index: usize, name: &str| self.gradients.get(index).filter(|_| name.starts_with("exp_avg"));
        let view = View::new(&weights, self.stage, &self.mask)
            .of_run(METHOD, self.case.seed)
            .at(update, due)
            .with_gradients(&self.gradients)
            .with_moments(&moment);
        let shown = self.gradients.iter().map(bits).collect::<Result<Vec<_>, _>>()?;
        {
            let _no_grad = tch::no_grad_guard();
            method.after_backward(&view)?;
        }
        let now = self.gradients.iter().map(bits).collect::<Result<Vec<_>, _>>()?;
        if now != shown {
            self.driven.written = Some("the gradients".into());
        }
        self.watch()
    }

    fn rank(
        &mut self,
        method: &mut dyn StageMethod,
        target: Sparsity,
        among: lopper_core::Among,
        update: u64,
        gradients: &[Tensor],
        calibrated: Option<&Calibrated>,
    ) -> Result<(), Broken> {
        let weights = view(self.layout, &self.weights, self.how.host)?;
        let view = View::new(&weights, self.stage, &self.mask)
            .of_run(METHOD, self.case.seed)
            .at(update, true)
            .with_gradients(gradients)
            .with_calibration(calibrated);
        let (mask, _) = self.selector.next_mask(method, &view, target, among)?;
        let step = Step { before: self.mask.clone(), mask: mask.clone(), target, first: update == 0 };
        self.driven.masks.push(step);
        self.mask = mask;
        self.watch()
    }

    /// Notes whether the method has written to the weights.
    fn watch(&mut self) -> Result<(), Broken> {
        for (tensor, values) in self.weights.iter().zip(&self.values) {
            if !bits(tensor)?.iter().copied().eq(values.iter().map(|value| value.to_bits())) {
                self.driven.written = Some("the weights".into());
            }
        }
        Ok(())
    }

    fn refresh(&mut self) -> Result<(), Broken> {
        set(&mut self.weights, self.layout, &self.values, self.how.in_place)
    }

    fn zero_pruned(&mut self) {
        for (tensor, values) in self.values.iter_mut().enumerate() {
            let pruned = values.iter_mut().enumerate().filter(|(at, _)| !self.mask.is_kept(tensor, *at as u64));
            pruned.for_each(|(_, value)| *value = 0.0);
        }
    }

    /// Numbers as a calibration would collect them, from the first gradients.
    fn calibrated(&self, calibration: Calibration) -> Result<Calibrated, Broken> {
        let first = tensors(self.layout, &self.case.gradients[0])?;
        let collected = first.into_iter().zip(self.layout.tensors()).map(|(gradient, tensor)| {
            Ok(match calibration.collects {
                Collect::Gradients => Some(gradient),
                Collect::InputNorms if tensor.shape().len() < 2 => None,
                Collect::InputNorms => Some(gradient.f_square()?.f_sum_dim_intlist(0, false, tch::Kind::Float)?),
                _ => Some(gradient.f_abs()?),
            })
        });
        Ok(Calibrated::new(calibration, collected.collect::<Result<_, Broken>>()?))
    }
}

fn view<'a>(layout: &'a Arc<Layout>, tensors: &'a [Tensor], host: bool) -> Result<WeightView<'a>, Broken> {
    let weights = layout.tensors().iter().zip(tensors);
    let weights = weights.map(|(layout, tensor)| PrunableWeight::new(layout.name(), tensor));
    let view = WeightView::new(layout, weights.collect::<Result<_>>()?);
    Ok(if host { view.lent_by(lopper_torch::lend_hosts) } else { view })
}

fn set(tensors_: &mut Vec<Tensor>, layout: &Layout, values: &[Vec<f32>], in_place: bool) -> Result<(), Broken> {
    let fresh = tensors(layout, values)?;
    if in_place {
        for (old, new) in tensors_.iter_mut().zip(&fresh) {
            old.f_copy_(new)?;
        }
    } else {
        *tensors_ = fresh;
    }
    Ok(())
}

fn tensors(layout: &Layout, values: &[Vec<f32>]) -> Result<Vec<Tensor>, Broken> {
    let pairs = layout.tensors().iter().zip(values);
    pairs
        .map(|(tensor, values)| {
            let shape: Vec<i64> = tensor.shape().iter().map(|d| *d as i64).collect();
            Ok(Tensor::f_from_slice(values)?.f_reshape(shape)?)
        })
        .collect()
}
