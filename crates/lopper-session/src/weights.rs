//! A model's live tensors: copied, rewound, hashed, masked.

use crate::kept::{self, Kept};
use crate::pruned::Pruned;
use lopper_core::{
    Error, Layout, MaskSet, MaskTensors, Model, ParameterName, PrunableWeight, Result, Role, WeightView,
};
use lopper_weights::SealedTensors;
use std::collections::BTreeMap;
use std::sync::Arc;
use tch::{Device, Tensor};

/// Tensors by name.
pub(crate) type NamedTensors = BTreeMap<String, Tensor>;

struct Live {
    name: ParameterName,
    role: Role,
    tensor: Tensor,
}

/// The parameters of a model under training. Writing here changes the model.
pub(crate) struct Weights {
    all: Vec<Live>,
    /// Places of the prunable tensors in `all`, in the layout's order.
    prunable: Vec<usize>,
    layout: Arc<Layout>,
    device_masks: DeviceMasks,
}

/// A mask's complement as tensors, for what is no plain memory of the CPU; made when a mask is first used there.
#[derive(Default)]
struct DeviceMasks {
    /// The mask that they were made from.
    of: Option<MaskSet>,
    /// For each tensor.
    made: Vec<Option<Tensor>>,
}

impl DeviceMasks {
    /// Sets pruned entries of a tensor of the shape of the layout's tensor `index` to +0.
    fn zero(&mut self, mask: &MaskSet, index: usize, tensor: &mut Tensor) -> Result<()> {
        if let Some(applied) = lopper_torch::write_host(tensor, |values| mask.apply(index, values)) {
            return Ok(applied?);
        }
        let _no_grad = tch::no_grad_guard();
        // masked_fill and not a product: NaN · 0 is NaN, and -w · 0 is -0.
        let _ = tensor.f_masked_fill_(self.pruned(mask, index, tensor.device())?, 0.0)?;
        Ok(())
    }

    fn pruned(&mut self, mask: &MaskSet, index: usize, device: Device) -> Result<&Tensor> {
        if self.of.as_ref() != Some(mask) {
            let old = self.of.as_ref().map_or(&[][..], MaskSet::words);
            self.made.resize_with(mask.words().len(), || None);
            for (index, words) in mask.words().iter().enumerate() {
                if old.get(index) != Some(words) {
                    self.made[index] = None;
                }
            }
        }
        // Also where it is equal: it is known again by sharing its bits.
        self.of = Some(mask.clone());
        let made = self.made[index].take().filter(|tensor| tensor.device() == device);
        let made = made.map_or_else(|| mask.pruned_tensor(index, device), Ok)?;
        Ok(self.made[index].insert(made))
    }
}

impl Weights {
    pub(crate) fn of(model: &dyn Model) -> Result<Self> {
        let layout = Arc::new(model.layout()?);
        let all: Vec<Live> = model
            .parameters()
            .iter()
            .map(|p| Live { name: p.name.clone(), role: p.role, tensor: p.tensor.shallow_clone() })
            .collect();
        let prunable = layout
            .tensors()
            .iter()
            .map(|t| {
                all.iter().position(|live| live.name == *t.name()).expect("a layout holds parameters of its model")
            })
            .collect();
        Ok(Self { all, prunable, layout, device_masks: DeviceMasks::default() })
    }

    pub(crate) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Everything an optimizer updates; the tensors share storage with the model.
    pub(crate) fn trainable(&self) -> Vec<(ParameterName, Tensor)> {
        self.all
            .iter()
            .filter(|live| live.role != Role::Frozen)
            .map(|live| (live.name.clone(), live.tensor.shallow_clone()))
            .collect()
    }

    /// Whether gradients of the encoder are computed. Without one the optimizer leaves a parameter as it is.
    pub(crate) fn set_encoder_trains(&self, trains: bool) -> Result<()> {
        for live in self.all.iter().filter(|live| live.role == Role::Encoder) {
            let _ = live.tensor.f_set_requires_grad(trains)?;
        }
        Ok(())
    }

    /// Takes over the values of another model with the same parameters.
    pub(crate) fn copy_from(&mut self, other: &Self) -> Result<()> {
        let _no_grad = tch::no_grad_guard();
        for (live, other) in self.all.iter_mut().zip(&other.all) {
            live.tensor.f_copy_(&other.tensor)?;
        }
        Ok(())
    }

    /// All parameters by name, sharing storage with the model: for whoever writes them while nothing changes them.
    pub(crate) fn shared(&self) -> Result<NamedTensors> {
        // Detached, so that no other thread touches what autograd keeps of the parameters themselves.
        self.all.iter().map(|live| Ok((live.name.to_string(), live.tensor.f_detach()?))).collect()
    }

    /// A hash over every name, role, shape and bit.
    pub(crate) fn hash(&self) -> Result<String> {
        let mut hasher = blake3::Hasher::new();
        for live in &self.all {
            hasher.update(format!("{} {:?} {:?}\n", live.name, live.role, live.tensor.size()).as_bytes());
            let mut update = |values: &[f32]| _ = hasher.update_rayon(bytemuck::cast_slice(values));
            if lopper_torch::read_host(&live.tensor, &mut update).is_none() {
                read_values(&live.name, &detached_copy(&live.tensor)?.f_contiguous()?, update)?;
            }
        }
        Ok(hasher.finalize().to_hex().to_string())
    }

    /// Every tensor with its name; they share storage with the model.
    pub(crate) fn tensors(&self) -> impl Iterator<Item = (&ParameterName, &Tensor)> {
        self.all.iter().map(|live| (&live.name, &live.tensor))
    }

    /// Reads a file of all parameters by name into the model, without a copy of it. With a mask it holds of those that the mask
    /// prunes anything of what that keeps. `only` restricts it to parameters of one role. The model stays as it was when the file
    /// is of another model.
    pub(crate) fn read(&mut self, file: &SealedTensors, mask: Option<&MaskSet>, only: Option<Role>) -> Result<()> {
        if let Some(mask) = mask {
            mask.layout().check_same(&self.layout, "the stored mask and the model")?;
        }
        let kept = Kept::by(mask);
        let wanted = |live: &&mut Live| only.is_none_or(|role| live.role == role);
        let mut problems = Vec::new();
        for Live { name, tensor, .. } in self.all.iter_mut().filter(wanted) {
            let as_it_is = (tensor.f_kind()?, &tensor.size()[..]);
            problems.extend(kept::problem(file, name.as_str(), as_it_is, kept.of(name.as_str())));
        }
        if !problems.is_empty() {
            return Err(Error::Layout { context: "stored weights and the model".into(), problems });
        }
        let read =
            |Live { name, tensor, .. }: &mut Live| kept::read_into(file, name.as_str(), tensor, kept.of(name.as_str()));
        self.all.iter_mut().filter(wanted).try_for_each(read)
    }

    /// What a method sees of the weights.
    pub(crate) fn view(&self) -> Result<WeightView<'_>> {
        let weights = self.prunable.iter().map(|place| {
            let live = &self.all[*place];
            PrunableWeight::new(&live.name, &live.tensor)
        });
        Ok(WeightView::new(&self.layout, weights.collect::<Result<_>>()?).lent_by(lopper_torch::lend_hosts))
    }

    /// The live gradients of the prunable tensors, undefined where the backward pass did not come.
    pub(crate) fn prunable_gradients(&self) -> Vec<Tensor> {
        self.prunable.iter().map(|place| self.all[*place].tensor.grad()).collect()
    }

    /// Sets pruned weights to +0.
    pub(crate) fn zero_pruned(&mut self, mask: &MaskSet) -> Result<()> {
        for (index, place) in self.prunable.iter().enumerate() {
            self.device_masks.zero(mask, index, &mut self.all[*place].tensor)?;
        }
        Ok(())
    }

    /// Sets the gradients of pruned weights to +0, so that they do not count in the norm.
    pub(crate) fn zero_pruned_gradients(&mut self, mask: &MaskSet) -> Result<()> {
        for (index, place) in self.prunable.iter().enumerate() {
            let mut gradient = self.all[*place].tensor.grad();
            if gradient.defined() {
                self.device_masks.zero(mask, index, &mut gradient)?;
            }
        }
        Ok(())
    }

    /// Sets pruned entries of something shaped like prunable tensor `index` to +0.
    pub(crate) fn zero(&mut self, mask: &MaskSet, index: usize, tensor: &mut Tensor) -> Result<()> {
        self.device_masks.zero(mask, index, tensor)
    }

    /// Names of the prunable tensors, in order.
    pub(crate) fn prunable_names(&self) -> impl Iterator<Item = &ParameterName> {
        self.prunable.iter().map(|place| &self.all[*place].name)
    }

    /// Sets pruned weights to +0 and returns what they were. It takes 4 bytes a pruned weight, and no more.
    pub(crate) fn take_pruned(&mut self, mask: &MaskSet) -> Result<Pruned> {
        let mut pruned = Pruned::of(mask);
        // All of them before the first is zeroed: where memory is short for one, none has changed.
        for (index, place) in self.prunable.iter().enumerate() {
            let tensor = &self.all[*place].tensor;
            let masks = &mut self.device_masks;
            pruned.push(index, tensor, || masks.pruned(mask, index, tensor.device()).map(Tensor::shallow_clone))?;
        }
        self.zero_pruned(mask)?;
        Ok(pruned)
    }

    /// Undoes [`take_pruned`](Self::take_pruned).
    pub(crate) fn put_back(&mut self, pruned: Pruned) -> Result<()> {
        let (mask, values) = pruned.into_parts();
        for (index, (place, values)) in self.prunable.iter().zip(values).enumerate() {
            let tensor = &mut self.all[*place].tensor;
            let (masks, device) = (&mut self.device_masks, tensor.device());
            let places = || masks.pruned(&mask, index, device).map(Tensor::shallow_clone);
            values.put_into(&mask.words()[index], tensor, places)?;
        }
        Ok(())
    }

    /// Fails when a pruned weight is not zero: the promise behind every reported sparsity.
    pub(crate) fn check_pruned_are_zero(&self, mask: &MaskSet) -> Result<()> {
        for (index, place) in self.prunable.iter().enumerate() {
            let live = &self.all[*place];
            let nonzero = match lopper_torch::read_host(&live.tensor, |values| mask.nonzero_pruned(index, values)) {
                Some(nonzero) => nonzero? as i64,
                None => {
                    let outside = live.tensor.f_masked_select(&mask.pruned_tensor(index, live.tensor.device())?)?;
                    outside.f_count_nonzero(None::<i64>)?.f_int64_value(&[])?
                }
            };
            if nonzero != 0 {
                return Err(Error::Other(format!(
                    "{nonzero} pruned weights of `{}` are not zero; this is a bug",
                    live.name
                )));
            }
        }
        Ok(())
    }
}

/// What `read` makes of a tensor that lies on the CPU.
fn read_values<R>(name: impl std::fmt::Display, host: &Tensor, read: impl FnOnce(&[f32]) -> R + Sync) -> Result<R> {
    lopper_torch::read_host(host, read).ok_or_else(|| Error::Other(format!("`{name}` is not float32")))
}

fn detached_copy(tensor: &Tensor) -> Result<Tensor> {
    let _no_grad = tch::no_grad_guard();
    let host = tensor.f_detach()?.f_to_device(Device::Cpu)?;
    // On the CPU `to_device` is the same storage.
    if tensor.device() == Device::Cpu { deep_copy(&host) } else { Ok(host) }
}

fn deep_copy(tensor: &Tensor) -> Result<Tensor> {
    let mut copy = tensor.f_empty_like()?;
    copy.f_copy_(tensor)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lopper_core::Sparsity;
    use tch::Kind;

    /// A transposed tensor is no plain memory, so that it takes the way of a GPU's.
    #[test]
    fn masks_are_made_again_where_they_have_changed() {
        let named = ["a", "b"].map(|name| (ParameterName::new(name), vec![40, 30]));
        let layout = Arc::new(Layout::new(named).unwrap());
        let mask = |seed| MaskSet::random(layout.clone(), Sparsity::new(0.5).unwrap(), seed);
        let (first, second) = (mask(1), mask(2));
        let words = vec![first.words()[0].clone(), second.words()[1].clone()];
        let half = MaskSet::from_words(layout.clone(), words).unwrap();
        let mut masks = DeviceMasks::default();
        let mut zeroed = |mask: &MaskSet| {
            for index in 0..2 {
                let mut tensor = Tensor::full([30, 40], f64::NAN, (Kind::Float, Device::Cpu)).t_();
                assert!(lopper_torch::read_host(&tensor, <[f32]>::len).is_none());
                masks.zero(mask, index, &mut tensor).unwrap();
                let nonzero = tensor.isnan().to_kind(Kind::Uint8).contiguous().view([-1]);
                assert_eq!(Vec::<u8>::try_from(&nonzero).unwrap(), mask.to_bytes(index));
            }
            // Held on to, or the next ones might be made where these were.
            [0, 1].map(|index| masks.made[index].as_ref().unwrap().shallow_clone())
        };
        let same = |a: &Tensor, b: &Tensor| a.data_ptr() == b.data_ptr();
        let made = zeroed(&first);
        let again = zeroed(&first.clone());
        assert!(same(&again[0], &made[0]) && same(&again[1], &made[1]), "an equal mask is the same");
        let changed = zeroed(&half);
        assert!(same(&changed[0], &made[0]) && !same(&changed[1], &made[1]), "one tensor of it has changed");
        drop(zeroed(&second));
    }
}
