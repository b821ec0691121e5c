//! What enters the linear layers of a model during a forward pass.

use lopper_core::{ParameterName, Parameters, Result};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_void;
use tch::{Kind, Tensor};

thread_local! {
    /// The recording under way on this thread, if there is one.
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

/// Sums of squares, by the storage of the weight that meets the input: a layer does not know its name.
struct Recording {
    names: HashMap<*mut c_void, ParameterName>,
    sums: BTreeMap<ParameterName, Tensor>,
}

/// Σ x² over everything that enters a linear layer while `forward` runs, for each input feature: float32 `[in]` by the weight's
/// name, for those of `names` that a [`Linear`](crate::Linear) of the model has. A layer that is met twice counts twice.
///
/// A model implements [`squared_input_norms`](lopper_core::Model::squared_input_norms) by one call: `forward` is its prediction,
/// whose batches are packed, so that padding does not count.
///
/// # Errors
/// Those of `forward`, and errors of libtorch.
pub fn squared_input_norms(
    parameters: &Parameters,
    names: &[ParameterName],
    forward: impl FnOnce() -> Result<()>,
) -> Result<BTreeMap<ParameterName, Tensor>> {
    let named = names.iter().filter_map(|name| Some((parameters.get(name)?.tensor.data_ptr(), name.clone())));
    let recording = Recording { names: named.collect(), sums: BTreeMap::new() };
    RECORDING.set(Some(recording));
    // Taken back whatever happens: the next forward pass is nobody's business.
    let _stop = Stop;
    forward()?;
    Ok(RECORDING.take().map(|recording| recording.sums).unwrap_or_default())
}

struct Stop;

impl Drop for Stop {
    fn drop(&mut self) {
        RECORDING.take();
    }
}

/// Tells a recording under way that `input`, `[…, in]`, meets `weight`.
pub(crate) fn report(weight: &Tensor, input: &Tensor) -> Result<()> {
    RECORDING.with_borrow_mut(|recording| {
        let Some(recording) = recording else { return Ok(()) };
        let Some(name) = recording.names.get(&weight.data_ptr()) else { return Ok(()) };
        let _no_grad = tch::no_grad_guard();
        let features = input.size().last().copied().unwrap_or(1);
        let rows = input.f_detach()?.f_reshape([-1, features])?.f_to_kind(Kind::Float)?;
        let sum = rows.f_square()?.f_sum_dim_intlist(0, false, Kind::Float)?;
        let sum = match recording.sums.remove(name) {
            Some(before) => before.f_add(&sum)?,
            None => sum,
        };
        recording.sums.insert(name.clone(), sum);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Linear;
    use lopper_core::{Error, Parameter, Role};

    /// A layer from 2 to 3 features whose weights are all 1, and its parameters.
    fn layer() -> (Linear, Parameters) {
        let weight = Tensor::ones([3, 2], (Kind::Float, tch::Device::Cpu));
        let shared = weight.shallow_clone();
        let mut take = |name: &str| match name {
            "a.weight" => Ok(weight.shallow_clone()),
            _ => Ok(Tensor::zeros([3], (Kind::Float, tch::Device::Cpu))),
        };
        let linear = Linear::new("a", &mut take).unwrap();
        let parameter = Parameter { name: "a.weight".into(), role: Role::Encoder, tensor: shared };
        (linear, Parameters::new(vec![parameter]).unwrap())
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        Vec::try_from(tensor).unwrap()
    }

    #[test]
    fn squares_are_summed_over_rows_and_passes() {
        let (linear, parameters) = layer();
        let x = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.]).view([3, 1, 2]);
        let norms = |passes: usize| {
            squared_input_norms(&parameters, &["a.weight".into()], || {
                (0..passes).try_for_each(|_| linear.forward(&x).map(drop))
            })
        };
        assert_eq!(values(&norms(1).unwrap()[&ParameterName::from("a.weight")]), [35., 56.]);
        assert_eq!(values(&norms(2).unwrap()[&ParameterName::from("a.weight")]), [70., 112.]);
        assert!(norms(0).unwrap().is_empty());
    }

    #[test]
    fn what_is_not_asked_for_is_not_recorded_and_a_recording_ends_with_an_error() {
        let (linear, parameters) = layer();
        let x = Tensor::ones([1, 2], (Kind::Float, tch::Device::Cpu));
        let none = squared_input_norms(&parameters, &[], || linear.forward(&x).map(drop)).unwrap();
        assert!(none.is_empty());
        let failed = squared_input_norms(&parameters, &["a.weight".into()], || Err(Error::Other("no".into())));
        assert!(failed.is_err());
        let _y = linear.forward(&x).unwrap();
        assert!(RECORDING.take().is_none());
    }
}
