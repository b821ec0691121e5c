//! Tensors that are read from a checked file to where they belong.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_weights::{SealedTensors, save_tensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

/// More than one piece of a million entries, with a rest.
const LONG: i64 = (1 << 20) * 2 + 12_348;

fn numbers(kind: Kind, entries: i64) -> Tensor {
    Tensor::arange(entries, (Kind::Int64, Device::Cpu)).to_kind(kind)
}

fn saved(directory: &Path, tensors: &[(&str, Tensor)]) -> (PathBuf, String) {
    let path = directory.join("tensors.safetensors");
    let hash = save_tensors(&path, tensors.iter().map(|(name, tensor)| (*name, tensor)), &BTreeMap::new()).unwrap();
    (path, hash)
}

#[test]
fn tensors_are_read_to_where_they_belong() {
    let directory = tempfile::tempdir().unwrap();
    let tensors = [
        ("bytes", numbers(Kind::Uint8, 200)),
        ("double", numbers(Kind::Double, 77)),
        ("empty", numbers(Kind::Float, 0).view([3, 0])),
        ("long", numbers(Kind::Float, LONG).view([5, LONG / 5])),
        ("scalar", Tensor::from(7i64)),
    ];
    let (path, hash) = saved(directory.path(), &tensors);
    let file = SealedTensors::open(&path).unwrap();
    assert_eq!(file.hash(), hash);
    assert!(file.names().eq(tensors.iter().map(|(name, _)| *name)));
    for (name, tensor) in &tensors {
        let mut place = tensor.ones_like();
        let storage = place.data_ptr();
        file.read_into(name, &mut place).unwrap();
        assert!(place.equal(tensor) && place.data_ptr() == storage, "{name}");
    }
    // A parameter, which autograd watches, and memory in another order.
    let (_, long) = &tensors[3];
    let mut parameter = long.ones_like().set_requires_grad(true);
    file.read_into("long", &mut parameter).unwrap();
    assert!(parameter.equal(long) && parameter.requires_grad() && parameter.is_leaf());
    let mut turned = Tensor::ones([LONG / 5, 5], (Kind::Float, Device::Cpu)).t_();
    file.read_into("long", &mut turned).unwrap();
    assert!(turned.equal(long) && !turned.is_contiguous());
    // What was opened is what is read, whatever has its name now.
    let other = [("long", long.zeros_like())];
    saved(directory.path(), &other);
    file.read_into("long", &mut parameter).unwrap();
    assert!(parameter.equal(long));
}

#[test]
fn what_does_not_fit_is_told_and_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = saved(directory.path(), &[("a", numbers(Kind::Float, 6).view([2, 3]))]);
    let file = SealedTensors::open(&path).unwrap();
    assert_eq!(file.problem("a", Kind::Float, &[2, 3]), None);
    for (name, mut place, reason) in [
        ("b", Tensor::ones([2, 3], (Kind::Float, Device::Cpu)), "`b` is missing"),
        ("a", Tensor::ones([3, 2], (Kind::Float, Device::Cpu)), "`a` is F32 [2, 3], expected Float [3, 2]"),
        ("a", Tensor::ones([2, 3], (Kind::Double, Device::Cpu)), "`a` is F32 [2, 3], expected Double [2, 3]"),
    ] {
        let error = file.read_into(name, &mut place).unwrap_err().to_string();
        assert!(error.contains(reason) && error.contains("tensors.safetensors"), "{error}");
        assert!(place.equal(&place.ones_like()));
    }
}

#[test]
fn every_flipped_bit_and_every_cut_is_found_before_anything_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let (path, _) = saved(directory.path(), &[("a", numbers(Kind::Float, 5)), ("b", Tensor::from(3i64))]);
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        assert!(SealedTensors::open(&path).is_err(), "bit {bit}");
    }
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(SealedTensors::open(&path).is_err(), "{length} bytes");
    }
    // In the second piece of a long one.
    let (path, _) = saved(directory.path(), &[("long", numbers(Kind::Float, LONG))]);
    let mut damaged = std::fs::read(&path).unwrap();
    let last = damaged.len() - 9;
    damaged[last] ^= 1;
    std::fs::write(&path, &damaged).unwrap();
    let error = SealedTensors::open(&path).unwrap_err().to_string();
    assert!(error.contains("is damaged: its content has the hash"), "{error}");
}
