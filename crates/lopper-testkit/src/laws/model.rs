//! The laws of models.

use super::{Broken, Law, bits, close, deep_copy, holds, law, values};
use lopper_core::{Batch, Error, Mode, Model, Parameter, ParameterName, Result, Role, Targets};
use std::collections::{BTreeMap, BTreeSet};
use tch::{Device, Kind, Tensor};

/// Everything that the session relies on in a [`Model`]. `batch` has targets for the model's head, lies on the model's
/// device and has at least two rows; every input has the rows as its first dimension.
///
/// 1. Trainable parameters are float32 leaves that require a gradient, frozen ones do not.
/// 2. Prunable names are there, unique, of the encoder, and in the same order every time.
/// 3. The loss is a finite float32 scalar, and every trainable parameter gets a finite gradient.
/// 4. Training repeats bit by bit when libtorch's generator is seeded alike.
/// 5. Predictions repeat bit by bit, are finite, and carry no graph; prediction and evaluation leave the generator and the
///    gradients alone.
/// 6. Parameters share storage with the network: a prunable tensor that is overwritten changes the predictions, and writing
///    the old values back brings the old bits back.
/// 7. A batch is its rows: losses and counts add up, and no row sees another (up to rounding).
/// 8. A batch without inputs or targets is refused.
/// 9. Freshly initialised prunable tensors, where there are any, have the right shapes and depend on the seed alone.
/// 10. Squared input norms, where there are any, repeat bit by bit, are those of prunable weights, one for each of their input
///     features, and those of a batch are the sums of its rows' (up to rounding).
/// 11. Artifacts have distinct plain file names and leave the weights' names free.
///
/// Gradients are cleared at the end. Laws 4 and 5 are tried several times, since other threads may draw from the same
/// generator meanwhile.
///
/// # Panics
/// When a law is broken, with its name and what breaks it.
pub fn model(model: &dyn Model, batch: &Batch) {
    law("parameters are leaves", || leaves(model));
    law("prunable names are parameters of the encoder", || prunable(model));
    law("the loss is differentiable", || differentiable(model, batch));
    law("training repeats when seeded alike", || repeats(model, batch));
    law("predictions repeat", || predictions(model, batch));
    law("prediction and evaluation leave generator and gradients alone", || leaves_generator(model, batch));
    law("parameters share storage with the network", || shares_storage(model, batch));
    law("a batch is its rows", || rows_add_up(model, batch));
    law("a batch without inputs or targets is refused", || refuses_empty(model, batch));
    law("random prunable tensors depend on the seed alone", || random(model));
    law("calibration is deterministic", || input_norms(model, batch));
    law("artifacts have plain names", || artifacts(model));
    let _ = clear_gradients(model);
}

/// Two models of one checkpoint, with other heads, offer the same tensors for pruning, so that masks move between
/// tasks.
///
/// # Panics
/// Naming every difference.
pub fn masks_transfer(a: &dyn Model, b: &dyn Model) {
    law("masks move between tasks", || Ok(a.layout()?.check_same(&b.layout()?, "prunable tensors of two tasks")?));
}

fn leaves(model: &dyn Model) -> Law {
    holds!(model.parameters().iter().next().is_some(), "the model has no parameters");
    for Parameter { name, role, tensor } in model.parameters().iter() {
        holds!(tensor.kind() == Kind::Float, "`{name}` is {:?}, not float32", tensor.kind());
        holds!(tensor.is_leaf(), "`{name}` is no leaf: an optimizer cannot update it");
        holds!(tensor.is_contiguous(), "`{name}` is not contiguous");
        let trained = *role != Role::Frozen;
        holds!(tensor.requires_grad() == trained, "`{name}` is {role:?}, and requires_grad is {}", !trained);
    }
    Ok(())
}

fn prunable(model: &dyn Model) -> Law {
    let names = model.prunable().to_vec();
    holds!(!names.is_empty(), "nothing is prunable");
    let layout = model.layout()?;
    holds!(layout.tensors().iter().map(|t| t.name()).eq(&names), "the layout has another order");
    for name in &names {
        let role = model.parameters().get(name).map(|p| p.role);
        holds!(role == Some(Role::Encoder), "`{name}` is {role:?}: only the encoder's masks move between tasks");
    }
    let order = || model.parameters().iter().map(|p| p.name.clone()).collect::<Vec<_>>();
    let first = order();
    holds!(model.prunable() == names && order() == first, "a second look shows another order");
    holds!(!model.identity().is_empty() && model.identity() == model.identity(), "the identity changes");
    Ok(())
}

fn clear_gradients(model: &dyn Model) -> Law {
    for parameter in model.parameters().trainable() {
        lopper_torch::clear_gradient(&parameter.tensor)?;
    }
    Ok(())
}

fn differentiable(model: &dyn Model, batch: &Batch) -> Law {
    for mode in [Mode::Train, Mode::Evaluate] {
        clear_gradients(model)?;
        let loss = model.loss(batch, mode)?;
        let size = loss.sum.size();
        holds!(
            size.is_empty() && loss.sum.kind() == Kind::Float,
            "{:?} of shape {size:?} is no scalar",
            loss.sum.kind()
        );
        let sum = loss.sum.f_double_value(&[])?;
        holds!(sum.is_finite() && loss.count.is_finite() && loss.count > 0.0, "{sum} over a count of {}", loss.count);
        holds!(loss.sum.requires_grad(), "the loss carries no graph in {mode:?}");
        loss.sum.f_backward()?;
        for Parameter { name, tensor, .. } in model.parameters().trainable() {
            let gradient = tensor.f_grad()?;
            holds!(gradient.defined(), "`{name}` gets no gradient in {mode:?}; make its role Frozen if that is meant");
            holds!(gradient.size() == tensor.size(), "`{name}` gets a gradient of shape {:?}", gradient.size());
            holds!(values(&gradient)?.iter().all(|g| g.is_finite()), "`{name}` gets a gradient that is not finite");
        }
    }
    clear_gradients(model)
}

/// Whether `check` holds at least once: an honest model fails only when another thread draws in between.
fn at_least_once(check: impl Fn() -> Law) -> Law {
    let mut result = check();
    for _ in 0..9 {
        if result.is_ok() {
            break;
        }
        result = check();
    }
    result
}

fn repeats(model: &dyn Model, batch: &Batch) -> Law {
    let train = || -> Result<Vec<u32>, Broken> {
        clear_gradients(model)?;
        tch::manual_seed(7);
        let loss = model.loss(batch, Mode::Train)?;
        loss.sum.f_backward()?;
        let mut all = bits(&loss.sum)?;
        for parameter in model.parameters().trainable() {
            all.extend(bits(&parameter.tensor.f_grad()?)?);
        }
        Ok(all)
    };
    at_least_once(|| {
        holds!(train()? == train()?, "two equal updates have other losses or gradients");
        Ok(())
    })?;
    clear_gradients(model)
}

fn predictions(model: &dyn Model, batch: &Batch) -> Law {
    let first = model.predict(batch)?;
    let size = first.logits.size();
    holds!(size.first() == Some(&(batch.len as i64)), "{} rows give logits of shape {size:?}", batch.len);
    holds!(first.logits.kind() == Kind::Float, "logits are {:?}, not float32", first.logits.kind());
    holds!(!first.logits.requires_grad(), "logits carry a graph");
    match (size.len(), &first.lengths) {
        (2, None) => {}
        (3, Some(lengths)) => holds!(
            lengths.len() == batch.len && lengths.iter().all(|length| (0..=size[1]).contains(length)),
            "lengths {lengths:?} of logits of shape {size:?}"
        ),
        _ => return Err(Broken(format!("logits of shape {size:?} with lengths {:?}", first.lengths))),
    }
    holds!(values(&first.logits)?.iter().all(|logit| logit.is_finite()), "logits are not finite");
    let before = bits(&first.logits)?;
    model.loss(batch, Mode::Train)?;
    holds!(bits(&model.predict(batch)?.logits)? == before, "a second prediction has other bits");
    Ok(())
}

fn leaves_generator(model: &dyn Model, batch: &Batch) -> Law {
    clear_gradients(model)?;
    let draw = |between: &dyn Fn() -> Law| -> Result<Vec<u32>, Broken> {
        tch::manual_seed(11);
        between()?;
        bits(&Tensor::f_rand([8], (Kind::Float, Device::Cpu))?)
    };
    at_least_once(|| {
        let untouched = draw(&|| Ok(()))?;
        holds!(draw(&|| Ok(model.predict(batch).map(drop)?))? == untouched, "predict draws from libtorch's generator");
        let evaluated = draw(&|| Ok(model.loss(batch, Mode::Evaluate).map(drop)?))?;
        holds!(evaluated == untouched, "the loss in evaluation draws from libtorch's generator");
        Ok(())
    })?;
    for parameter in model.parameters().trainable() {
        holds!(!parameter.tensor.f_grad()?.defined(), "`{}` has a gradient without a backward pass", parameter.name);
    }
    Ok(())
}

fn shares_storage(model: &dyn Model, batch: &Batch) -> Law {
    let _no_grad = tch::no_grad_guard();
    let before = bits(&model.predict(batch)?.logits)?;
    for name in model.prunable() {
        let Some(parameter) = model.parameters().get(name) else { continue };
        let mut tensor = parameter.tensor.shallow_clone();
        let old = deep_copy(&tensor)?;
        // Large and uneven: a subtle weight, such as a small key projection, shows in the last bit of the logits at least.
        let count = tensor.numel() as i64;
        let uneven = Tensor::f_arange(count, (Kind::Float, tensor.device()))?.f_sin()?.f_reshape(tensor.size())?;
        tensor.f_copy_(&uneven)?;
        let changed = bits(&model.predict(batch)?.logits)?;
        tensor.f_copy_(&old)?;
        holds!(changed != before, "`{name}` is overwritten, and predictions stay the same");
        let after = bits(&model.predict(batch)?.logits)?;
        holds!(after == before, "`{name}` has its old values again, and predictions have not");
    }
    Ok(())
}

fn rows_add_up(model: &dyn Model, batch: &Batch) -> Law {
    holds!(batch.len >= 2, "the suite needs a batch of at least two rows");
    let whole = model.loss(batch, Mode::Evaluate)?;
    let logits = model.predict(batch)?;
    let (mut sum, mut count) = (0.0, 0.0);
    for row in 0..batch.len {
        let alone = row_of(batch, row)?;
        let loss = model.loss(&alone, Mode::Evaluate)?;
        sum += loss.sum.f_double_value(&[])?;
        count += loss.count;
        let steps = logits.lengths.as_ref().map(|lengths| lengths[row]);
        let valid = |logits: Tensor| match steps {
            Some(steps) => logits.f_narrow(1, 0, steps),
            None => Ok(logits),
        };
        let together = values(&valid(logits.logits.f_narrow(0, row as i64, 1)?)?)?;
        let apart = values(&valid(model.predict(&alone)?.logits)?)?;
        holds!(
            together.iter().zip(&apart).all(|(a, b)| close(f64::from(*a), f64::from(*b))),
            "row {row} gives {apart:?} alone and {together:?} among others"
        );
    }
    let total = whole.sum.f_double_value(&[])?;
    holds!(close(total, sum), "the loss of the batch is {total}, those of its rows sum to {sum}");
    holds!(close(whole.count, count), "the count of the batch is {}, those of its rows sum to {count}", whole.count);
    Ok(())
}

fn row_of(batch: &Batch, row: usize) -> Result<Batch, Broken> {
    let narrow = |tensor: &Tensor| tensor.f_narrow(0, row as i64, 1);
    let inputs = batch.inputs.iter().map(|(name, tensor)| Ok((*name, narrow(tensor)?)));
    let targets = match &batch.targets {
        Some(Targets::Classes(classes)) => Some(Targets::Classes(narrow(classes)?)),
        Some(Targets::Values(values)) => Some(Targets::Values(narrow(values)?)),
        Some(Targets::Sequences(rows)) => Some(Targets::Sequences(vec![rows[row].clone()])),
        _ => None,
    };
    Ok(Batch::new(inputs.collect::<Result<_, Broken>>()?, targets, 1))
}

fn refuses_empty(model: &dyn Model, batch: &Batch) -> Law {
    let mut bare = batch.to_device(batch.inputs.values().next().map_or(Device::Cpu, Tensor::device))?;
    bare.targets = None;
    model.predict(&bare).map_err(|e| Broken(format!("a prediction needs no targets: {e}")))?;
    holds!(model.loss(&bare, Mode::Evaluate).is_err(), "there is a loss without targets");
    bare.inputs.clear();
    holds!(model.predict(&bare).is_err(), "there is a prediction without inputs");
    Ok(())
}

fn random(model: &dyn Model) -> Law {
    let Ok(first) = model.random_prunable(3) else { return Ok(()) };
    let all = |tensors: &[Tensor]| tensors.iter().map(bits).collect::<Result<Vec<_>, _>>();
    let layout = model.layout()?;
    holds!(
        first.len() == layout.tensors().len(),
        "{} tensors for {} prunable ones",
        first.len(),
        layout.tensors().len()
    );
    for (tensor, expected) in first.iter().zip(layout.tensors()) {
        let shape: Vec<u64> = tensor.size().iter().map(|d| *d as u64).collect();
        holds!(shape == expected.shape(), "`{}` has shape {shape:?}, not {:?}", expected.name(), expected.shape());
        holds!(
            tensor.kind() == Kind::Float && tensor.device() == Device::Cpu,
            "`{}` is {:?} on {:?}, not float32 on the CPU",
            expected.name(),
            tensor.kind(),
            tensor.device()
        );
    }
    let bits = all(&first)?;
    holds!(all(&model.random_prunable(3)?)? == bits, "one seed gives two networks");
    holds!(all(&model.random_prunable(4)?)? != bits, "two seeds give one network");
    Ok(())
}

fn input_norms(model: &dyn Model, batch: &Batch) -> Law {
    let norms = match model.squared_input_norms(batch) {
        Err(Error::Unsupported { .. }) => return Ok(()),
        norms => norms?,
    };
    holds!(!norms.is_empty(), "no weight has input norms; leave the method out if that is meant");
    let layout = model.layout()?;
    let again = model.squared_input_norms(batch)?;
    let mut rows: BTreeMap<&ParameterName, Vec<f64>> = BTreeMap::new();
    for row in 0..batch.len {
        for (name, norms) in model.squared_input_norms(&row_of(batch, row)?)? {
            let Some((name, _)) = again.get_key_value(&name) else {
                return Err(Broken(format!("`{name}` has norms in row {row} and none in the batch")));
            };
            let norms = values(&norms)?.into_iter().map(f64::from);
            let sums = rows.entry(name).or_default();
            sums.resize(norms.len().max(sums.len()), 0.0);
            sums.iter_mut().zip(norms).for_each(|(sum, norm)| *sum += norm);
        }
    }
    for (name, norms) in &norms {
        let Some(tensor) = layout.tensors().iter().find(|tensor| tensor.name() == name) else {
            return Err(Broken(format!("`{name}` is not prunable")));
        };
        holds!(
            norms.kind() == Kind::Float && norms.size() == [tensor.shape().last().copied().unwrap_or(1) as i64],
            "the norms of `{name}`, {:?}, are {:?} of shape {:?}",
            tensor.shape(),
            norms.kind(),
            norms.size()
        );
        holds!(
            again.get(name).map(bits).transpose()? == Some(bits(norms)?),
            "`{name}` has other norms the second time"
        );
        let norms = values(norms)?;
        holds!(
            norms.iter().all(|norm| norm.is_finite() && *norm >= 0.0),
            "`{name}` has a norm that is no sum of squares"
        );
        let sums = rows.get(name).map(Vec::as_slice).unwrap_or_default();
        let add_up =
            sums.len() == norms.len() && norms.iter().zip(sums).all(|(norm, sum)| close(f64::from(*norm), *sum));
        holds!(add_up, "the norms of `{name}` are not the sums of its rows'");
    }
    Ok(())
}

fn artifacts(model: &dyn Model) -> Law {
    let artifacts = model.artifacts()?;
    let mut seen = BTreeSet::new();
    for artifact in &artifacts {
        let name = artifact.name.as_str();
        let plain = !name.is_empty() && !name.contains(['/', '\\']) && name != "." && name != "..";
        holds!(plain, "`{name}` is no plain file name");
        holds!(!name.ends_with(".safetensors"), "`{name}` is a name of weights or masks");
        holds!(seen.insert(name), "`{name}` is there twice");
    }
    Ok(())
}
