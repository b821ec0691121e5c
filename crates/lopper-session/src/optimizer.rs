//! Optimizers whose moments can be read, masked, saved and restored, and gradient clipping.

use crate::decay::is_bias_or_norm;
use crate::kept::{self, Kept};
use lopper_core::{Error, MaskSet, Optimizer, ParameterName, Result};
use lopper_torch::{AdamStep, SgdStep, device_name};
use lopper_weights::SealedTensors;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use tch::{Kind, Tensor};

/// One parameter and what the optimizer remembers of it.
#[derive(Debug)]
struct Slot {
    name: ParameterName,
    parameter: Tensor,
    /// In the order of [`moment_names`].
    moments: Vec<Tensor>,
    /// Steps that this parameter has taken.
    steps: u64,
    /// Whether weight decay applies to it.
    decays: bool,
}

/// An optimizer over a fixed list of parameters, which it updates in place.
#[derive(Debug)]
pub struct OptimizerState {
    optimizer: Optimizer,
    slots: Vec<Slot>,
    places: HashMap<ParameterName, usize>,
}

impl OptimizerState {
    /// Moments of zero for every parameter; the tensors share storage with the model.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for every hyper-parameter out of range; [`Error::Layout`] naming every parameter that is
    /// not a contiguous float32 tensor on the device of the first, or occurs twice.
    pub fn new(optimizer: &Optimizer, parameters: &[(ParameterName, Tensor)]) -> Result<Self> {
        check_hyper_parameters(optimizer)?;
        let mut problems = Vec::new();
        let mut seen = BTreeSet::new();
        for (name, tensor) in parameters {
            if !seen.insert(name) {
                problems.push(format!("`{name}` occurs twice"));
            } else if !tensor.defined() {
                problems.push(format!("`{name}` is undefined"));
            } else if tensor.kind() != Kind::Float || tensor.is_sparse() || !tensor.is_contiguous() {
                problems.push(format!("`{name}` is no contiguous float32 tensor ({:?})", tensor.kind()));
            } else if tensor.device() != parameters[0].1.device() {
                problems.push(format!("`{name}` lies on {}, others elsewhere", device_name(tensor.device())));
            }
        }
        if !problems.is_empty() {
            return Err(Error::Layout { context: "parameters to optimize".into(), problems });
        }
        let slots = parameters
            .iter()
            .map(|(name, tensor)| {
                let moments =
                    moment_names(optimizer).iter().map(|_| tensor.f_zeros_like()).collect::<Result<_, _>>()?;
                Ok(Slot { name: name.clone(), parameter: tensor.shallow_clone(), moments, steps: 0, decays: true })
            })
            .collect::<Result<Vec<_>>>()?;
        let places = slots.iter().enumerate().map(|(place, slot)| (slot.name.clone(), place)).collect();
        Ok(Self { optimizer: *optimizer, slots, places })
    }

    /// The same with weight decay of biases and of the weights of norms, or without. An optimizer is made with it.
    pub fn decaying_biases_and_norms(mut self, decays: bool) -> Self {
        for slot in &mut self.slots {
            slot.decays = decays || !is_bias_or_norm(&slot.name);
        }
        self
    }

    /// One update with the gradients that the parameters hold, at learning rate `rate`. A parameter whose gradient is
    /// undefined stays as it is, moments and step count too, as in `torch.optim`.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn step(&mut self, rate: f64) -> Result<()> {
        let gradients: Vec<Tensor> = self.slots.iter().map(|slot| slot.parameter.grad()).collect();
        let active = self.slots.iter().zip(&gradients).filter(|(_, gradient)| gradient.defined());
        let (decaying, spared): (Vec<_>, Vec<_>) = active.partition(|(slot, _)| slot.decays);
        for (group, share) in [(decaying, 1.0), (spared, 0.0)] {
            if !group.is_empty() {
                self.step_group(&group, rate, share)?;
            }
        }
        for (slot, _) in self.slots.iter_mut().zip(&gradients).filter(|(_, gradient)| gradient.defined()) {
            slot.steps += 1;
        }
        Ok(())
    }

    /// A step of some parameters with their gradients, and with that share of the weight decay.
    fn step_group(&self, group: &[(&Slot, &Tensor)], rate: f64, share: f64) -> Result<()> {
        let params: Vec<&Tensor> = group.iter().map(|(slot, _)| &slot.parameter).collect();
        let with_gradient: Vec<&Tensor> = group.iter().map(|(_, gradient)| *gradient).collect();
        let moment = |index: usize| -> Vec<&Tensor> { group.iter().map(|(slot, _)| &slot.moments[index]).collect() };
        match self.optimizer {
            Optimizer::Adam { beta1, beta2, epsilon, weight_decay }
            | Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
                let steps: Vec<u64> = group.iter().map(|(slot, _)| slot.steps + 1).collect();
                let step = AdamStep {
                    params: &params,
                    gradients: &with_gradient,
                    exp_avgs: &moment(0),
                    exp_avg_sqs: &moment(1),
                    steps: &steps,
                    rate,
                    beta1,
                    beta2,
                    epsilon,
                    weight_decay: weight_decay * share,
                };
                match self.optimizer {
                    Optimizer::AdamW { .. } => lopper_torch::fused_adamw(&step)?,
                    _ => lopper_torch::fused_adam(&step)?,
                }
            }
            Optimizer::Sgd { momentum, weight_decay } => {
                let momenta = (momentum > 0.0).then(|| moment(0));
                lopper_torch::fused_sgd(&SgdStep {
                    params: &params,
                    gradients: &with_gradient,
                    momenta: momenta.as_deref(),
                    rate,
                    momentum,
                    weight_decay: weight_decay * share,
                })?;
            }
        }
        Ok(())
    }

    /// Drops all gradients: the next backward pass starts from none.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub fn zero_grad(&mut self) -> Result<()> {
        self.slots.iter().try_for_each(|slot| lopper_torch::clear_gradient(&slot.parameter))
    }

    /// The moments of a parameter with their names: `exp_avg` and `exp_avg_sq` for Adam and AdamW, `momentum` for SGD
    /// with momentum; each of the parameter's shape. Nothing for a name that is not optimized.
    pub fn moments(&self, name: &ParameterName) -> impl Iterator<Item = (&'static str, &Tensor)> {
        let moments = self.places.get(name).map_or(&[][..], |place| &self.slots[*place].moments);
        moment_names(&self.optimizer).iter().copied().zip(moments)
    }

    /// The moments of a parameter, to be changed in place (masked), in the order of [`moments`](Self::moments).
    pub fn moments_mut(&mut self, name: &ParameterName) -> impl Iterator<Item = &mut Tensor> {
        let moments = self.places.get(name).map_or(&mut [][..], |place| &mut self.slots[*place].moments);
        moments.iter_mut()
    }

    /// Steps that a parameter has taken; `None` for a name that is not optimized.
    pub fn steps(&self, name: &ParameterName) -> Option<u64> {
        self.places.get(name).map(|place| self.slots[*place].steps)
    }

    /// Everything that a bit-exact continuation needs: for each parameter its moments as `exp_avg.<name>`,
    /// `exp_avg_sq.<name>` or `momentum.<name>`, and `step.<name>`, a scalar int64.
    ///
    /// The moments share storage with the optimizer and follow its next step: write or copy them before.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let names = moment_names(&self.optimizer);
        let mut state = BTreeMap::new();
        for slot in &self.slots {
            for (kind, moment) in names.iter().zip(&slot.moments) {
                state.insert(format!("{kind}.{}", slot.name), moment.shallow_clone());
            }
            // Steps count updates of a run, far below the sign bit.
            state.insert(format!("step.{}", slot.name), Tensor::from(slot.steps as i64));
        }
        state
    }

    /// Writes what [`state`](Self::state) returns as it lies, without a copy of it, and returns the file's hash.
    ///
    /// # Errors
    /// [`Error::File`] naming the path; errors of libtorch.
    pub fn write_to(&self, path: &Path) -> Result<String> {
        let state = self.state();
        lopper_weights::save_tensors(path, state.iter().map(|(name, value)| (name.as_str(), value)), &BTreeMap::new())
    }

    /// Reads a file of [`write_to`](Self::write_to), of an optimizer of the same kind over the same parameters on any device,
    /// into the moments as they lie, and returns its hash.
    ///
    /// # Errors
    /// [`Error::File`] for a file that cannot be read or is damaged; [`Error::Layout`] naming everything that is missing, too
    /// much, or of another shape or type; nothing is read then.
    pub fn read_from(&mut self, path: &Path) -> Result<String> {
        let file = SealedTensors::open(path)?;
        self.read(&file, None)?;
        Ok(file.hash().to_owned())
    }

    /// As [`read_from`](Self::read_from), of a file that is open. With a mask it holds of the moments of masked parameters what
    /// that keeps; the others become +0.
    ///
    /// # Errors
    /// [`Error::Layout`] naming everything that is missing, too much, or of another shape or type; nothing is read then.
    /// [`Error::File`] when the disk fails half-way.
    pub(crate) fn read(&mut self, file: &SealedTensors, mask: Option<&MaskSet>) -> Result<()> {
        let kept = Kept::by(mask);
        let kinds = moment_names(&self.optimizer);
        let mut problems = Vec::new();
        let mut known = BTreeSet::new();
        let mut steps = Vec::with_capacity(self.slots.len());
        for slot in &self.slots {
            let shape = slot.parameter.size();
            for kind in kinds {
                let name = format!("{kind}.{}", slot.name);
                problems.extend(kept::problem(file, &name, (Kind::Float, &shape), kept.of(slot.name.as_str())));
                known.insert(name);
            }
            let name = format!("step.{}", slot.name);
            let mut count = Tensor::from(0i64);
            match file.problem(&name, Kind::Int64, &[]) {
                Some(problem) => problems.push(problem),
                None => file.read_into(&name, &mut count)?,
            }
            let count = count.f_int64_value(&[])?;
            steps.push(u64::try_from(count).unwrap_or_else(|_| {
                problems.push(format!("`{name}` is {count}, expected a count"));
                0
            }));
            known.insert(name);
        }
        let unknown = file.names().filter(|name| !known.contains(*name));
        problems.extend(unknown.map(|name| format!("`{name}` belongs to no parameter of this optimizer")));
        if !problems.is_empty() {
            return Err(Error::Layout { context: "optimizer state".into(), problems });
        }
        for (slot, steps) in self.slots.iter_mut().zip(steps) {
            for (kind, moment) in kinds.iter().zip(&mut slot.moments) {
                let name = format!("{kind}.{}", slot.name);
                kept::read_into(file, &name, moment, kept.of(slot.name.as_str()))?;
            }
            slot.steps = steps;
        }
        Ok(())
    }
}

/// What an optimizer keeps for each parameter, named as in the state of `torch.optim` (`momentum_buffer` as `momentum`).
fn moment_names(optimizer: &Optimizer) -> &'static [&'static str] {
    match optimizer {
        Optimizer::Adam { .. } | Optimizer::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
        Optimizer::Sgd { momentum, .. } if *momentum > 0.0 => &["momentum"],
        Optimizer::Sgd { .. } => &[],
    }
}

fn check_hyper_parameters(optimizer: &Optimizer) -> Result<()> {
    let mut problems = Vec::new();
    let mut decay = |key: &str, value: f64| {
        if !(0.0..1.0).contains(&value) {
            problems.push(Error::invalid(key, value, "a number from 0 to below 1"));
        }
    };
    let mut not_negative = Vec::new();
    match *optimizer {
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay }
        | Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
            decay("beta1", beta1);
            decay("beta2", beta2);
            not_negative.extend([("epsilon", epsilon), ("weight_decay", weight_decay)]);
        }
        Optimizer::Sgd { momentum, weight_decay } => {
            decay("momentum", momentum);
            not_negative.push(("weight_decay", weight_decay));
        }
    }
    for (key, value) in not_negative {
        if !(value.is_finite() && value >= 0.0) {
            problems.push(Error::invalid(key, value, "a finite number from 0 up"));
        }
    }
    Error::all(problems)
}

/// The Euclidean norm of all gradients together, for NaN and Inf too: the one wait for the device. Parameters without a
/// gradient do not count; 0 when none has one.
///
/// # Errors
/// Errors of libtorch.
pub fn gradient_norm(parameters: &[(ParameterName, Tensor)]) -> Result<f64> {
    norm_of(&gradients_of(parameters))
}

/// Scales all gradients by `max_norm / (norm + 1e-6)` where that is below 1, as
/// `torch.nn.utils.clip_grad_norm_`, and returns the norm before. An infinite `max_norm` clips nothing.
///
/// Gradients whose norm is NaN or infinite stay as they are: the caller sees the norm and skips the update.
///
/// # Errors
/// [`Error::InvalidValue`] for a `max_norm` that is negative or NaN; errors of libtorch.
pub fn clip_gradients(parameters: &[(ParameterName, Tensor)], max_norm: f64) -> Result<f64> {
    let gradients = gradients_of(parameters);
    let norm = norm_of(&gradients)?;
    clip(&gradients, norm, max_norm)?;
    Ok(norm)
}

/// As [`clip_gradients`], for gradients whose norm is known to be `norm`.
///
/// # Errors
/// As [`clip_gradients`].
pub(crate) fn clip_known(parameters: &[(ParameterName, Tensor)], norm: f64, max_norm: f64) -> Result<()> {
    clip(&gradients_of(parameters), norm, max_norm)
}

fn clip(gradients: &[Tensor], norm: f64, max_norm: f64) -> Result<()> {
    if max_norm.is_nan() || max_norm < 0.0 {
        return Err(Error::invalid("clip_norm", max_norm, "a number from 0 up"));
    }
    // In float32 and in this order, so that the clipped gradients are those of torch bit by bit.
    let coefficient = (1.0 / (norm as f32 + 1e-6)) * max_norm as f32;
    if norm.is_finite() && coefficient < 1.0 {
        lopper_torch::scale(&gradients.iter().collect::<Vec<_>>(), f64::from(coefficient))?;
    }
    Ok(())
}

fn gradients_of(parameters: &[(ParameterName, Tensor)]) -> Vec<Tensor> {
    parameters.iter().map(|(_, parameter)| parameter.grad()).filter(Tensor::defined).collect()
}

fn norm_of(gradients: &[Tensor]) -> Result<f64> {
    if gradients.is_empty() {
        return Ok(0.0);
    }
    Ok(lopper_torch::global_norm(&gradients.iter().collect::<Vec<_>>())?.f_double_value(&[])?)
}
