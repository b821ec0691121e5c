//! Reading checkpoints: what is accepted is read exactly, everything else is refused by name.
#![allow(clippy::unwrap_used)]

use half::{bf16, f16};
use lopper_weights::{Checkpoint, Dtype, load_tensors, load_tensors_verified, read_metadata, save_tensors};
use proptest::prelude::*;
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// A file of a hand-written header and data.
fn raw(header: &str, data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(data);
    bytes
}

struct Case {
    dir: TempDir,
}

impl Case {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn open(&self) -> lopper_core::Result<Checkpoint> {
        Checkpoint::open(self.dir.path())
    }
}

fn refused(bytes: &[u8]) -> String {
    let case = Case::new();
    let path = case.put("model.safetensors", bytes);
    let error = case.open().unwrap_err().to_string();
    assert!(error.contains(path.to_str().unwrap()), "names the file: {error}");
    error
}

#[track_caller]
fn assert_refused(bytes: &[u8], expected: &[&str]) {
    let error = refused(bytes);
    for part in expected {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

#[test]
fn hostile_headers_are_refused_with_a_reason() {
    let four = [0u8; 4];
    assert_refused(b"", &["is empty"]);
    assert_refused(b"short", &["5 bytes are too few"]);
    assert_refused(b"garbage that goes on for a while", &["does not start with `{`"]);
    assert_refused(&[&u64::MAX.to_le_bytes()[..], b"{}"].concat(), &["18446744073709551615 bytes"]);
    assert_refused(&[&100_000_001u64.to_le_bytes()[..], b"{}"].concat(), &["100000001", "100000000 are accepted"]);
    assert_refused(&[&1000u64.to_le_bytes()[..], b"{}"].concat(), &["truncated", "1000 bytes", "2 follow"]);
    assert_refused(&raw("{\"a\"", &[]), &["header is not that of a safetensors file"]);
    assert_refused(&raw("{\"a\":\"\u{0}\"}", &[]), &["header is not"]);
    assert_refused(&raw("{}", &[]), &["holds no tensor"]);
    assert_refused(&raw(&"{\"a\":[".repeat(50_000), &[]), &["header is not"]);
    let f32_at = |name: &str, shape: &str, from: u64, to: u64| {
        format!("\"{name}\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{from},{to}]}}")
    };
    let file = |tensors: &[String], data: &[u8]| raw(&format!("{{{}}}", tensors.join(",")), data);
    let a = f32_at("a", "[1]", 0, 4);
    assert_refused(&file(&[a.clone(), a.clone()], &four), &["\"a\" stands in it twice"]);
    assert_refused(&file(&[a.clone(), f32_at("b", "[1]", 0, 4)], &four), &["\"b\" at 0..4 overlaps"]);
    assert_refused(&file(&[f32_at("a", "[2]", 0, 8), f32_at("b", "[1]", 4, 8)], &[0; 8]), &["\"b\" at 4..8 overlaps"]);
    assert_refused(&file(&[a.clone(), f32_at("b", "[1]", 8, 12)], &[0; 12]), &["4..8 belong to no tensor"]);
    assert_refused(&file(&[f32_at("a", "[1]", 4, 8)], &[0; 8]), &["0..4 belong to no tensor"]);
    assert_refused(&file(std::slice::from_ref(&a), &[0; 5]), &["1 bytes after the last tensor"]);
    assert_refused(&file(std::slice::from_ref(&a), &[0; 3]), &["truncated", "need 4 bytes, 3 are there"]);
    assert_refused(&file(&[f32_at("a", "[2]", 0, 4)], &four), &["needs 8 bytes, its place is 0..4"]);
    assert_refused(&file(&[f32_at("a", "[1]", 4, 0)], &four), &["its place is 4..0"]);
    assert_refused(
        &file(&[f32_at("a", "[4294967296,4294967296,16]", 0, 4)], &four),
        &["more entries than can be counted"],
    );
    assert_refused(
        &file(&[f32_at("a", "[0,4294967296,4294967296]", 0, 0)], &[]),
        &["more entries than can be counted"],
    );
    assert_refused(&file(&[f32_at("a", "[18446744073709551616]", 0, 4)], &four), &["header is not"]);
    assert_refused(&file(&[f32_at("a", "[-1]", 0, 4)], &four), &["header is not"]);
    assert_refused(&file(&[f32_at("a", &format!("[{}1]", "1,".repeat(16)), 0, 4)], &four), &["at most 16 dimensions"]);
    assert_refused(&raw("{\"a\":{\"dtype\":\"F31\",\"shape\":[1],\"data_offsets\":[0,4]}}", &four), &["F31"]);
    assert_refused(
        &raw("{\"a\":{\"dtype\":\"F4\",\"shape\":[1],\"data_offsets\":[0,1]}}", &[0]),
        &["ends within a byte"],
    );
    assert_refused(
        &raw(&format!("{{\"__metadata__\":{{}},\"__metadata__\":{{}},{a}}}"), &four),
        &["__metadata__ stands in it twice"],
    );
    assert_refused(
        &raw(&format!("{{\"__metadata__\":{{\"k\":\"1\",\"k\":\"2\"}},{a}}}"), &four),
        &["\"k\" stands in it twice"],
    );
    assert_refused(&raw(&format!("{{\"__metadata__\":{{\"k\":1}},{a}}}"), &four), &["header is not"]);
    assert_refused(&raw(&format!("{{{a}}} x"), &four), &["header is not"]);
}

#[test]
fn a_million_tensors_are_refused() {
    let lines: Vec<_> =
        (0..1_000_000).map(|i| format!("\"{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}")).collect();
    assert_refused(&raw(&format!("{{{}}}", lines.join(",")), &[]), &["more than 500000 names"]);
}

#[test]
fn other_files_are_recognised() {
    assert_refused(b"PK\x03\x04 and the rest of an archive", &["zip archive", "truncated"]);
    assert_refused(b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P", &["pickle", "truncated"]);
    assert_refused(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", &["git lfs pull"]);
    assert_refused(b"<!DOCTYPE html><html></html>", &["web page"]);
}

#[test]
fn all_problems_are_listed() {
    let header = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#;
    assert_refused(&raw(header, &[0; 20]), &["needs 8 bytes", "4..8 belong to no tensor", "8 bytes after the last"]);
}

#[test]
fn a_wrong_directory_says_what_was_looked_for() {
    let case = Case::new();
    let error = case.open().unwrap_err().to_string();
    assert!(
        error.contains("none of model.safetensors, model.safetensors.index.json, pytorch_model.bin")
            && error.contains("the directory is empty"),
        "{error}"
    );
    case.put("notes.txt", b"");
    assert!(case.open().unwrap_err().to_string().contains("it holds \"notes.txt\""));
    case.put("weights.safetensors", b"");
    let error = case.open().unwrap_err().to_string();
    assert!(error.contains("to read \"weights.safetensors\" give its own path"), "{error}");
    case.put("pytorch_model.bin", b"PK");
    let error = case.open().unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin: is no checkpoint"), "{error}");

    let error = Checkpoint::open(&case.dir.path().join("weigths.safetensors")).unwrap_err().to_string();
    assert!(error.contains("did you mean") && error.contains("weights.safetensors"), "{error}");
    let error = Checkpoint::open(&case.dir.path().join("nowhere/at/all")).unwrap_err().to_string();
    assert!(error.contains("has no entry \"nowhere\""), "{error}");
    assert!(Checkpoint::open(Path::new("")).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_is_not_read() {
    let error = Checkpoint::open(Path::new("/dev/zero")).unwrap_err().to_string();
    assert!(error.contains("no regular file"), "{error}");
}

fn one(dtype: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
    raw(&format!("{{\"t\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[0,{}]}}}}", data.len()), data)
}

fn read_one(dtype: &str, shape: &[usize], data: &[u8]) -> lopper_core::Result<Tensor> {
    let case = Case::new();
    case.put("model.safetensors", &one(dtype, shape, data));
    case.open().unwrap().tensor("t")
}

#[test]
fn every_half_and_bfloat16_converts_exactly() {
    let all: Vec<u16> = (0..=u16::MAX).collect();
    let bytes: Vec<u8> = all.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    for (dtype, exact) in
        [("F16", (|b| f16::from_bits(b).to_f32()) as fn(u16) -> f32), ("BF16", |b| bf16::from_bits(b).to_f32())]
    {
        let case = Case::new();
        case.put("model.safetensors", &one(dtype, &[256, 256], &bytes));
        let checkpoint = case.open().unwrap();
        assert_eq!(checkpoint.tensor("t").unwrap().size(), [256, 256]);
        for (bits, value) in all.iter().zip(checkpoint.read_f32("t").unwrap()) {
            let exact = exact(*bits);
            assert!(
                value.to_bits() == exact.to_bits() || (value.is_nan() && exact.is_nan()),
                "{dtype} {bits:#06x}: {value}"
            );
        }
    }
}

#[test]
fn other_types_become_float32_or_int64() {
    let doubles: Vec<u8> = [0.1f64, -2.0, 1e300].iter().flat_map(|v| v.to_le_bytes()).collect();
    let tensor = read_one("F64", &[3], &doubles).unwrap();
    assert_eq!(tensor.kind(), Kind::Float);
    assert_eq!(Vec::<f32>::try_from(&tensor).unwrap(), [0.1, -2.0, f32::INFINITY]);
    let cases: [(&str, Vec<u8>, i64); 5] = [
        ("I64", i64::MIN.to_le_bytes().into(), i64::MIN),
        ("I32", (-7i32).to_le_bytes().into(), -7),
        ("I16", (-7i16).to_le_bytes().into(), -7),
        ("I8", vec![0xff], -1),
        ("U8", vec![0xff], 255),
    ];
    for (dtype, data, value) in cases {
        let tensor = read_one(dtype, &[1], &data).unwrap();
        assert_eq!((tensor.kind(), tensor.int64_value(&[0])), (Kind::Int64, value), "{dtype}");
    }
    let tensor = read_one("BOOL", &[3], &[0, 1, 7]).unwrap();
    assert_eq!(Vec::<i64>::try_from(&tensor).unwrap(), [0, 1, 1]);
    let error = read_one("F8_E4M3", &[1], &[0]).unwrap_err().to_string();
    assert!(error.contains("F8_E4M3") && error.contains("\"t\""), "{error}");
    let scalar = read_one("F32", &[], &1.5f32.to_le_bytes()).unwrap();
    assert_eq!((scalar.size().len(), scalar.double_value(&[])), (0, 1.5));
    assert_eq!(read_one("F32", &[3, 0, 2], &[]).unwrap().size(), [3, 0, 2]);
}

#[test]
fn unknown_tensors_and_wrong_types_are_named() {
    let case = Case::new();
    case.put("model.safetensors", &one("I64", &[1], &[0; 8]));
    let checkpoint = case.open().unwrap();
    assert!(checkpoint.read_f32("t").unwrap_err().to_string().contains("I64"));
    let error = checkpoint.tensor("T").unwrap_err().to_string();
    assert!(error.contains("no tensor \"T\"; the most similar is \"t\""), "{error}");
    assert_eq!((checkpoint.shape("t"), checkpoint.dtype("t")), (Some(&[1][..]), Some(Dtype::I64)));
    assert_eq!((checkpoint.shape("u"), checkpoint.dtype("u"), checkpoint.contains("u")), (None, None, false));
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error() {
    let case = Case::new();
    let path = case.put("model.safetensors", &one("F32", &[1000], &[0; 4000]));
    let checkpoint = case.open().unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(100).unwrap();
    assert!(checkpoint.tensor("t").unwrap_err().to_string().contains("cannot be read any more"));
    assert!(checkpoint.content_hash().is_err());
}

fn numbers(seed: i64, shape: &[i64]) -> Tensor {
    Tensor::arange(shape.iter().product::<i64>(), (Kind::Float, Device::Cpu)).reshape(shape) * 0.5 + seed
}

fn save(path: &Path, tensors: &[(&str, &Tensor)]) {
    save_tensors(path, tensors.iter().copied(), &BTreeMap::new()).unwrap();
}

fn put_index(case: &Case, map: &[(&str, &str)]) {
    let map: BTreeMap<_, _> = map.iter().copied().collect();
    let json = serde_json::json!({"metadata": {"total_size": 1}, "weight_map": map});
    case.put("model.safetensors.index.json", json.to_string().as_bytes());
}

#[test]
fn several_files_equal_one() {
    let (a, b, c) = (numbers(1, &[3, 4]), numbers(2, &[5]), numbers(3, &[2, 2, 2]));
    let (single, several) = (Case::new(), Case::new());
    save(&single.dir.path().join("model.safetensors"), &[("a", &a), ("b", &b), ("c", &c)]);
    save(&several.dir.path().join("m-1.safetensors"), &[("c", &c), ("a", &a)]);
    save(&several.dir.path().join("m-2.safetensors"), &[("b", &b)]);
    put_index(&several, &[("a", "m-1.safetensors"), ("b", "m-2.safetensors"), ("c", "m-1.safetensors")]);
    let (one, many) = (single.open().unwrap(), several.open().unwrap());
    assert!(one.names().eq(many.names()));
    for name in ["a", "b", "c"] {
        assert_eq!(one.shape(name), many.shape(name));
        assert_eq!(one.tensor(name).unwrap(), many.tensor(name).unwrap());
    }
    assert_eq!(one.content_hash().unwrap(), many.content_hash().unwrap());
    let by_index = Checkpoint::open(&several.dir.path().join("model.safetensors.index.json")).unwrap();
    assert_eq!(by_index.content_hash().unwrap(), one.content_hash().unwrap());
    let by_file = Checkpoint::open(&single.dir.path().join("model.safetensors")).unwrap();
    assert_eq!(by_file.content_hash().unwrap(), one.content_hash().unwrap());
}

#[test]
fn the_content_hash_sees_names_shapes_types_and_bits() {
    let hash = |name: &str, tensor: &Tensor| {
        let case = Case::new();
        save(&case.dir.path().join("model.safetensors"), &[(name, tensor)]);
        case.open().unwrap().content_hash().unwrap()
    };
    let zeros = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    let reference = hash("a", &zeros);
    assert_eq!(reference, hash("a", &zeros.copy()));
    let others = [
        hash("b", &zeros),
        hash("a", &zeros.reshape([3, 2])),
        hash("a", &zeros.neg()),
        hash("a", &Tensor::zeros([3], (Kind::Int64, Device::Cpu))),
    ];
    assert!(others.iter().all(|other| *other != reference));
}

#[test]
fn inconsistent_indices_are_refused() {
    let a = numbers(1, &[3]);
    let case = Case::new();
    save(&case.dir.path().join("m-1.safetensors"), &[("a", &a), ("b", &a)]);
    let refused = |map: &[(&str, &str)]| {
        put_index(&case, map);
        case.open().unwrap_err().to_string()
    };
    for shard in ["../m-1.safetensors", "/m-1.safetensors", "x/m-1.safetensors", "..", "", "m-1.bin"] {
        let error = refused(&[("a", shard)]);
        assert!(error.contains("index.json") && error.contains(&format!("{shard:?}")), "{error}");
    }
    let error = refused(&[("a", "m-1.safetensors"), ("b", "m-1.safetensors"), ("c", "m-2.safetensors")]);
    assert!(error.contains("m-2.safetensors"), "{error}");
    let error = refused(&[("a", "m-1.safetensors"), ("b", "m-1.safetensors"), ("c", "m-1.safetensors")]);
    assert!(error.contains("lacks") && error.contains("\"c\""), "{error}");
    let error = refused(&[("a", "m-1.safetensors")]);
    assert!(error.contains("does not place there: \"b\""), "{error}");
    assert!(refused(&[]).contains("names no tensor"));
    for text in ["", "{}", "[]", "{\"weight_map\":{\"a\":1}}", "{\"weight_map\":{\"a\":\"x\",\"a\":\"y\"}}"] {
        case.put("model.safetensors.index.json", text.as_bytes());
        assert!(case.open().unwrap_err().to_string().contains("index.json"));
    }
}

#[test]
fn tensors_come_back_with_their_types_and_bits() {
    let case = Case::new();
    let path = case.dir.path().join("t");
    let special = Tensor::from_slice(&[f32::NAN, -0.0, f32::INFINITY, f32::MIN_POSITIVE / 2.0]);
    let tensors = [
        ("special", special.copy()),
        ("steps", Tensor::from_slice(&[i64::MAX, -1])),
        ("double", Tensor::from_slice(&[0.1f64])),
        ("bytes", Tensor::from_slice(&[1u8, 2, 3])),
        ("transposed", numbers(0, &[3, 4]).transpose(0, 1)),
        ("parameter", numbers(0, &[2]).set_requires_grad(true)),
        ("scalar", Tensor::from(2.5f32)),
        ("empty", Tensor::zeros([0, 7], (Kind::Float, Device::Cpu))),
        ("large", numbers(7, &[1025, 1024])),
    ];
    let metadata = BTreeMap::from([("update".to_owned(), "3".to_owned()), ("z".to_owned(), "\"\n".to_owned())]);
    save_tensors(&path, tensors.iter().map(|(name, tensor)| (*name, tensor)), &metadata).unwrap();
    assert_eq!(read_metadata(&path).unwrap(), metadata);
    for back in [load_tensors(&path).unwrap(), load_tensors_verified(&path).unwrap()] {
        assert_eq!(back.len(), tensors.len());
        for (name, tensor) in &tensors {
            let found = &back[*name];
            assert_eq!((found.size(), found.kind()), (tensor.size(), tensor.kind()), "{name}");
            assert!(*name == "special" || found == tensor, "{name}");
        }
        assert_eq!(back["special"].view_dtype(Kind::Int), special.view_dtype(Kind::Int));
    }
    let bytes = std::fs::read(&path).unwrap();
    let other = case.dir.path().join("u");
    save_tensors(&other, tensors.iter().rev().map(|(name, tensor)| (*name, tensor)), &metadata).unwrap();
    assert_eq!(std::fs::read(other).unwrap(), bytes, "the order of the call does not matter");
    let by_library = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(by_library.tensor("steps").unwrap().data(), [i64::MAX.to_le_bytes(), (-1i64).to_le_bytes()].concat());
}

#[test]
fn an_empty_set_of_tensors_comes_back() {
    let case = Case::new();
    let path = case.dir.path().join("t");
    save(&path, &[]);
    assert!(load_tensors_verified(&path).unwrap().is_empty());
}

#[test]
fn what_cannot_be_saved_is_listed_before_anything_is_written() {
    let case = Case::new();
    let path = case.dir.path().join("t");
    let (float, truth) = (numbers(0, &[1]), numbers(0, &[1]).to_kind(Kind::Bool));
    let tensors = [("a", &float), ("a", &float), ("h", &truth), ("__metadata__", &float), ("u", &Tensor::new())];
    let error = save_tensors(&path, tensors, &BTreeMap::new()).unwrap_err().to_string();
    for part in ["4 problems", "\"a\"", "Bool", "__metadata__", "undefined"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    assert!(!path.exists());
}

#[test]
fn every_flipped_bit_of_a_saved_file_is_found() {
    let case = Case::new();
    let path = case.dir.path().join("t");
    save_tensors(
        &path,
        [("a", &numbers(1, &[5])), ("b", &numbers(2, &[2]))],
        &BTreeMap::from([("k".into(), "v".into())]),
    )
    .unwrap();
    let good = std::fs::read(&path).unwrap();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, bad).unwrap();
        let error = load_tensors_verified(&path).expect_err(&format!("bit {bit}")).to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
    for length in 0..good.len() {
        std::fs::write(&path, &good[..length]).unwrap();
        assert!(load_tensors_verified(&path).is_err(), "{length} bytes");
    }
}

#[test]
fn a_file_without_a_hash_is_not_taken_for_verified() {
    let case = Case::new();
    let path = case.put("t", &one("F32", &[1], &[0; 4]));
    assert!(load_tensors_verified(&path).unwrap_err().to_string().contains("has no hash"));
    load_tensors(&path).unwrap();
}

fn valid_file() -> Vec<u8> {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let make = || {
        let case = Case::new();
        let path = case.dir.path().join("t");
        let tensors =
            [("a.weight", &numbers(1, &[4, 3])), ("b", &Tensor::from_slice(&[1i64, 2])), ("c", &numbers(0, &[0, 2]))];
        save(&path, &tensors);
        std::fs::read(path).unwrap()
    };
    BYTES.get_or_init(make).clone()
}

/// Opens and reads everything; whatever is accepted must mean the same to the format's own library.
fn exercise(bytes: &[u8]) {
    let case = Case::new();
    let path = case.put("model.safetensors", bytes);
    let _ = load_tensors_verified(&path);
    let Ok(checkpoint) = case.open() else { return };
    let library = SafeTensors::deserialize(bytes).expect("accepts no more than the library");
    assert_eq!(checkpoint.names().count(), library.len());
    for (name, view) in library.iter() {
        assert_eq!(checkpoint.dtype(name), Some(view.dtype()));
        assert!(
            checkpoint.shape(name).unwrap().iter().eq(view
                .shape()
                .iter()
                .map(|d| *d as u64)
                .collect::<Vec<_>>()
                .iter())
        );
        let _ = checkpoint.tensor(name);
        if view.dtype() == Dtype::F32 {
            let bits = checkpoint.read_f32(name).unwrap().into_iter().flat_map(f32::to_le_bytes).collect::<Vec<_>>();
            assert_eq!(bits, view.data());
        }
    }
    checkpoint.content_hash().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_files_never_panic(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        extra in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let mut bytes = valid_file();
        for (place, value) in flips {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        bytes.extend(extra);
        exercise(&bytes);
    }

    #[test]
    fn crafted_headers_never_panic(
        tensors in prop::collection::vec(
            (0..3usize, prop::sample::select(vec!["F32", "BF16", "I64", "BOOL", "F4", "C64", "U64"]),
             prop::collection::vec(prop_oneof![0..4u64, any::<u64>()], 0..4),
             prop_oneof![0..16u64, any::<u64>()], prop_oneof![0..32u64, any::<u64>()]),
            0..4),
        data in 0..40usize,
    ) {
        let lines: Vec<_> = tensors
            .iter()
            .map(|(name, dtype, shape, start, end)| {
                format!("\"{name}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{end}]}}")
            })
            .collect();
        exercise(&raw(&format!("{{{}}}", lines.join(",")), &vec![1; data]));
    }

    #[test]
    fn consistent_headers_are_read(
        sizes in prop::collection::vec((prop::sample::select(vec![("F32", 4), ("BF16", 2), ("I64", 8), ("U8", 1)]),
            prop::collection::vec(0..4usize, 0..4)), 1..5),
        padding in 0..9usize,
    ) {
        let mut at = 0;
        let lines: Vec<_> = sizes
            .iter()
            .enumerate()
            .map(|(i, ((dtype, width), shape))| {
                let start = at;
                at += shape.iter().product::<usize>() * width;
                format!("\"t{i}\":{{\"dtype\":\"{dtype}\",\"shape\":{shape:?},\"data_offsets\":[{start},{at}]}}")
            })
            .collect();
        let bytes = raw(&format!("{{{}}}{}", lines.join(","), " ".repeat(padding)), &vec![2; at]);
        let case = Case::new();
        case.put("model.safetensors", &bytes);
        prop_assert_eq!(case.open().unwrap().names().count(), sizes.len());
        exercise(&bytes);
    }
}

/// The anchors of an architecture whose embeddings are called so.
const ANCHORS: [&str; 2] = ["bert.words", "words"];

#[test]
fn a_prefix_of_all_names_is_left_out() {
    let (a, b) = (numbers(1, &[3]), numbers(2, &[2, 2]));
    let plain = Case::new();
    save(&plain.dir.path().join("model.safetensors"), &[("bert.words", &a), ("head", &b)]);
    let expected = Checkpoint::open_model(plain.dir.path(), &ANCHORS).unwrap();
    for prefix in ["module.", "_orig_mod.", "model.", "module._orig_mod."] {
        let case = Case::new();
        let names = ["bert.words", "head"].map(|name| format!("{prefix}{name}"));
        save(&case.dir.path().join("model.safetensors"), &[(&names[0], &a), (&names[1], &b)]);
        assert!(case.open().unwrap().contains(&names[0]), "as they are unless a model is asked for");
        let found = Checkpoint::open_model(case.dir.path(), &ANCHORS).unwrap();
        assert!(found.names().eq(expected.names()), "{prefix}");
        assert_eq!((found.tensor("head").unwrap(), found.shape("head")), (b.copy(), Some(&[2, 2][..])));
        assert_eq!(found.content_hash().unwrap(), expected.content_hash().unwrap());
    }
    let case = Case::new();
    save(&case.dir.path().join("model.safetensors"), &[("model.bert.words", &a), ("loss.weight", &b)]);
    let error = Checkpoint::open_model(case.dir.path(), &ANCHORS).unwrap_err().to_string();
    assert!(error.contains("below `model.`, and beside them \"loss.weight\"") && !error.contains('\n'), "{error}");
}

#[test]
fn what_torch_prunes_is_read_as_its_product() {
    let values = numbers(1, &[2, 3]);
    let mask = Tensor::from_slice(&[1f32, 0.0, 1.0, 0.0, 0.0, 1.0]).view([2, 3]);
    let case = Case::new();
    let path = case.dir.path().join("model.safetensors");
    save(&path, &[("module.words_orig", &values), ("module.words_mask", &mask), ("module.b_mask", &mask)]);
    let found = Checkpoint::open_model(case.dir.path(), &ANCHORS).unwrap();
    assert_eq!(found.names().collect::<Vec<_>>(), ["b_mask", "words"]);
    assert_eq!(found.tensor("words").unwrap(), &values * &mask);
    assert_eq!((found.shape("words"), found.dtype("words")), (Some(&[2, 3][..]), Some(Dtype::F32)));
    // A mask of another type, as torch keeps it for half precision and as others write it.
    let byte = mask.to_kind(Kind::Uint8);
    save(&path, &[("words_orig", &values.to_kind(Kind::BFloat16)), ("words_mask", &byte)]);
    let found = Checkpoint::open_model(case.dir.path(), &ANCHORS).unwrap();
    assert_eq!(found.stored("words").unwrap(), values.to_kind(Kind::BFloat16) * &mask.to_kind(Kind::BFloat16));
    let hash = found.content_hash().unwrap();
    save(&path, &[("words_orig", &values.to_kind(Kind::BFloat16)), ("words_mask", &byte.ones_like())]);
    assert_ne!(hash, Checkpoint::open_model(case.dir.path(), &ANCHORS).unwrap().content_hash().unwrap());
    save(&path, &[("words_orig", &values), ("words_mask", &byte.view([3, 2]))]);
    let error = Checkpoint::open_model(case.dir.path(), &ANCHORS).unwrap_err().to_string();
    assert!(error.contains("\"words_orig\" has the shape Some([2, 3]), its mask Some([3, 2])"), "{error}");
}

#[test]
fn weights_of_training_scripts_are_found_beside_a_configuration() {
    let case = Case::new();
    let put = |name: &str| save(&case.dir.path().join(name), &[(name, &numbers(1, &[1]))]);
    let found = || case.open().map(|found| found.names().next().unwrap().to_owned()).map_err(|e| e.to_string());
    case.put("config.json", b"{}");
    for beside in ["optimizer.pt", "training_args.bin", "rng_state_0.pth", "mask.safetensors"] {
        put(beside);
    }
    assert!(found().unwrap_err().contains("holds no weights"));
    put("model.fp16.safetensors");
    assert_eq!(found().unwrap(), "model.fp16.safetensors");
    put("epoch=3-step=12.ckpt");
    assert!(found().unwrap_err().contains("leave one of \"epoch=3-step=12.ckpt\", \"model.fp16.safetensors\" beside"));
    put("wav2vec2.ckpt");
    assert_eq!(found().unwrap(), "wav2vec2.ckpt");
    put("last.ckpt");
    assert_eq!(found().unwrap(), "last.ckpt");
    put("model.safetensors");
    assert_eq!(found().unwrap(), "model.safetensors");
    let adapter = Case::new();
    adapter.put("adapter_model.safetensors", b"");
    assert!(adapter.open().unwrap_err().to_string().contains("is an adapter of peft"));
}
