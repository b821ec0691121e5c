//! What the tests of this crate share.
#![allow(dead_code)]

use lopper_bert::BertModel;
use lopper_core::{Batch, Head, Inputs, ModelRequest, Result, Targets, Task};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// All tensors of a safetensors file.
pub(crate) fn read(path: &Path) -> BTreeMap<String, Tensor> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.iter()
        .map(|(name, view)| {
            let kind = match view.dtype() {
                Dtype::F32 => Kind::Float,
                Dtype::I64 => Kind::Int64,
                other => panic!("{name}: {other:?}"),
            };
            let shape: Vec<i64> = view.shape().iter().map(|d| *d as i64).collect();
            (name.to_owned(), Tensor::from_data_size(view.data(), &shape, kind))
        })
        .collect()
}

pub(crate) fn open(path: &Path, options: &str, task: Option<&Task>) -> Result<BertModel> {
    let options = options.parse().unwrap();
    BertModel::open(&ModelRequest { path: path.to_owned(), options: &options, task, device: Device::Cpu, seed: 5 })
}

pub(crate) fn task(head: Head) -> Task {
    Task::new("test", head, "accuracy")
}

/// The batch of a fixture, whose tensors start with `prefix`.
pub(crate) fn batch(fixture: &BTreeMap<String, Tensor>, prefix: &str) -> Batch {
    let get = |name: &str| fixture[&format!("{prefix}{name}")].shallow_clone();
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let inputs: Inputs = names.into_iter().map(|name| (name, get(&format!("input.{name}")))).collect();
    let targets = get("targets");
    let len = targets.size()[0] as usize;
    let targets = if targets.kind() == Kind::Int64 { Targets::Classes(targets) } else { Targets::Values(targets) };
    Batch::new(inputs, targets, len)
}

/// The largest magnitude.
pub(crate) fn peak(x: &Tensor) -> f64 {
    x.abs().max().double_value(&[])
}

/// max |a - b| / max |b|.
pub(crate) fn relative_error(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    peak(&(a.to_kind(Kind::Double) - b.to_kind(Kind::Double))) / peak(b)
}
