//! Tensors that are read from a checked file to where they belong.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_weights::{SealedTensors, save_kept_tensors, save_tensors};
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

/// Sizes around those of words and pieces; of plain memory, and of memory in another order.
#[test]
fn kept_entries_are_read_to_where_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept.safetensors");
    for entries in [0, 1, 63, 64, 65, 4_000, LONG] {
        let values = numbers(Kind::Float, entries) + 0.5;
        for pattern in [0, 1, 0x8000_0000_0000_0001, 0x5A5A_1234_0F0F_8001, u64::MAX] {
            let mut words = vec![pattern; (entries as usize).div_ceil(64)];
            if let Some(last) = words.last_mut() {
                *last &= u64::MAX >> (63 - (entries - 1) % 64);
            }
            let kept: usize = words.iter().map(|word| word.count_ones() as usize).sum();
            let other = Tensor::from(7i64);
            let named = [("a", &values, Some(&words[..])), ("b", &other, None)];
            let hash = save_kept_tensors(&path, named, &BTreeMap::new()).unwrap();
            let size = std::fs::metadata(&path).unwrap().len() as usize;
            assert!((kept * 4..kept * 4 + 400).contains(&size), "{size} bytes for {kept} entries");
            let file = SealedTensors::open(&path).unwrap();
            assert_eq!(file.hash(), hash);
            let bit = |entry: i64| (words[entry as usize / 64] >> (entry % 64)) & 1 == 1;
            let expected: Vec<f32> = (0..entries).map(|n| if bit(n) { n as f32 + 0.5 } else { 0.0 }).collect();
            let mut place = values.full_like(f64::NAN);
            file.read_kept_into("a", &mut place, &words).unwrap();
            assert!(Vec::<f32>::try_from(&place).unwrap() == expected, "{entries} entries, {pattern:#x}");
            if entries == 4_000 {
                let mut turned = Tensor::full([100, 40], f64::NAN, (Kind::Float, Device::Cpu)).t_();
                file.read_kept_into("a", &mut turned, &words).unwrap();
                assert!(
                    Vec::<f32>::try_from(turned.contiguous().view(-1)).unwrap() == expected && !turned.is_contiguous()
                );
            }
        }
    }
}

#[test]
fn bits_that_do_not_fit_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kept.safetensors");
    let values = numbers(Kind::Float, 100);
    let integers = numbers(Kind::Int64, 100);
    for (tensor, words) in [(&values, vec![1; 3]), (&values, vec![0, 1 << 36]), (&integers, vec![0; 2])] {
        let error = save_kept_tensors(&path, [("a", tensor, Some(&words[..]))], &BTreeMap::new()).unwrap_err();
        assert!(error.to_string().contains("a bit for each"), "{error}");
        assert!(!path.exists());
    }
    save_kept_tensors(&path, [("a", &values, Some(&[3, 0][..]))], &BTreeMap::new()).unwrap();
    let file = SealedTensors::open(&path).unwrap();
    for words in [vec![7, 0], vec![3], vec![1, 1 << 36]] {
        let mut place = values.full_like(2.0);
        let error = file.read_kept_into("a", &mut place, &words).unwrap_err().to_string();
        assert!(error.contains("kept.safetensors") && place.equal(&values.full_like(2.0)), "{error}");
    }
}
