//! What torch wrote.

use crate::program::{dict, legacy, pickle, storage, tensor};
use crate::{Case, fixture, open};
use lopper_weights::{Checkpoint, Dtype, Pickle, Value, load_tensors};
use std::path::Path;
use tch::Kind;

/// The formats of one state dict.
const FORMATS: [&str; 6] = [
    "zip.bin",
    "zip_protocol_4.pt",
    "zip_protocol_5.pt",
    "legacy.bin",
    "legacy_protocol_4.pth",
    "pytorch_model.bin.index.json",
];

#[test]
fn every_format_equals_safetensors() {
    let expected = open("tensors.safetensors");
    assert_eq!(expected.names().count(), 20);
    for name in FORMATS {
        let checkpoint = open(name);
        assert!(checkpoint.names().eq(expected.names()), "{name}");
        for tensor in expected.names() {
            assert_eq!(checkpoint.shape(tensor), expected.shape(tensor), "{name}: {tensor}");
            assert_eq!(checkpoint.dtype(tensor), expected.dtype(tensor), "{name}: {tensor}");
            let (found, stored) = (checkpoint.tensor(tensor).unwrap(), expected.tensor(tensor).unwrap());
            assert_eq!((found.size(), found.kind()), (stored.size(), stored.kind()));
            let bits = |tensor: &tch::Tensor| match tensor.kind() {
                Kind::Float => tensor.view_dtype(Kind::Int),
                _ => tensor.copy(),
            };
            assert_eq!(bits(&found), bits(&stored), "{name}: {tensor}");
        }
        assert_eq!(checkpoint.content_hash().unwrap(), expected.content_hash().unwrap(), "{name}");
        assert!(checkpoint.extra().is_none(), "{name}");
    }
}

#[test]
fn views_are_what_torch_says() {
    let values = |name: &str| open("zip.bin").read_f32(name).unwrap();
    let transposed = values("transposed");
    assert_eq!(open("zip.bin").shape("transposed"), Some(&[6, 4][..]));
    assert_eq!(transposed[..5], [0.0, 6.0, 12.0, 18.0, 1.0]);
    assert_eq!(values("every_other")[..3], [1.0, 3.0, 5.0]);
    let repeated = values("repeated");
    assert_eq!(repeated[..3], repeated[3..]);
    assert_eq!(values("tied.weight"), values("float"));
}

#[test]
fn a_state_dict_is_found_where_trainers_put_it() {
    for key in ["model", "state_dict", "model_state_dict", "module"] {
        let checkpoint = open(&format!("under_{key}.pt"));
        assert!(checkpoint.names().eq(["w"]), "{key}");
        assert_eq!(checkpoint.read_f32("w").unwrap(), [0.0, 1.0, 2.0]);
        let beside = checkpoint.extra().unwrap();
        assert_eq!(beside.get("epoch").unwrap().as_i64(), Some(3));
        assert!(beside.get(key).is_some() && beside.get("other").is_none());
    }
    let error = Checkpoint::open(&fixture("nothing.pt")).unwrap_err().to_string();
    for part in ["nothing.pt", "`model`, `state_dict`, `model_state_dict`, `module`", "\"epoch\", \"loss\""] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_directory_prefers_safetensors_and_one_file() {
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: &str, to: &str| std::fs::copy(fixture(from), dir.path().join(to)).map(drop).unwrap();
    let shape = || Checkpoint::open(dir.path()).unwrap().names().collect::<Vec<_>>().join(" ");
    copy("under_model.pt", "other.pt");
    let error = Checkpoint::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("pytorch_model.bin.index.json; to read \"other.pt\" give its own path"), "{error}");
    for shard in [1, 2] {
        let name = format!("pytorch_model-{shard:05}-of-00002.bin");
        copy(&name, &name);
    }
    copy("pytorch_model.bin.index.json", "pytorch_model.bin.index.json");
    assert!(shape().starts_with("behind bfloat16"));
    copy("under_state_dict.pt", "pytorch_model.bin");
    assert_eq!(shape(), "w");
    copy("tensors.safetensors", "model.safetensors");
    assert!(shape().starts_with("behind bfloat16"));
}

#[test]
fn an_index_of_pickled_files_is_checked() {
    let dir = tempfile::tempdir().unwrap();
    let put = |text: &str| {
        std::fs::write(dir.path().join("pytorch_model.bin.index.json"), text).unwrap();
        Checkpoint::open(dir.path()).unwrap_err().to_string()
    };
    std::fs::copy(fixture("zip.bin"), dir.path().join("a.bin")).unwrap();
    let error = put(r#"{"weight_map": {"w": "a.bin", "float": "a.bin"}}"#);
    for part in
        ["a.bin: lacks what pytorch_model.bin.index.json says it holds: \"w\"", "does not place there: \"behind\""]
    {
        assert!(error.contains(part), "{error}");
    }
    for shard in ["../a.bin", "a.safetensors", "/a.bin"] {
        let error = put(&format!(r#"{{"weight_map": {{"w": "{shard}"}}}}"#));
        assert!(error.contains("a plain file name ending in .bin"), "{error}");
    }
}

/// The same configuration in three ways, without fairseq.
#[test]
fn fairseq_s_configurations_are_read() {
    for (name, path) in [
        ("fairseq_args.pt", &["args"][..]),
        ("fairseq_args.pt", &["args", "w2v_args"]),
        ("fairseq_cfg.pt", &["cfg", "model"]),
        ("fairseq_dict.pt", &["cfg", "model"]),
    ] {
        let checkpoint = open(name);
        assert!(checkpoint.names().eq(["w2v_encoder.proj.bias", "w2v_encoder.proj.weight"]), "{name}");
        assert_eq!(checkpoint.read_f32("w2v_encoder.proj.weight").unwrap()[11], 11.0);
        let root = checkpoint.extra().unwrap();
        let model = path.iter().fold(root, |value, key| value.get(key).unwrap());
        let get = |key: &str| model.get(key).unwrap_or_else(|| panic!("{name} {path:?} has no {key}"));
        assert_eq!(get("_name").as_str(), Some("wav2vec2"));
        assert_eq!(get("encoder_layers").as_i64(), Some(2));
        assert_eq!(get("encoder_layers").as_f64(), Some(2.0));
        assert_eq!(get("layer_norm_first").as_bool(), Some(false));
        assert_eq!(get("dropout").as_f64(), Some(0.1));
        assert_eq!(get("conv_feature_layers").as_str(), Some("[(8, 10, 5)] + [(8, 3, 2)] * 2"));
        assert_eq!(get("ddp_backend").as_str(), Some("c10d"));
        assert!(get("latent_dim").is_none() && !get("dropout").is_none());
        let temperatures: Vec<_> = get("latent_temp").items().map(|value| value.as_f64().unwrap()).collect();
        assert_eq!(temperatures, [2.0, 0.5, 0.999995]);
        assert!(model.get("no_such_key").is_none());
        // What it is not, it is not taken for.
        assert_eq!((get("dropout").as_str(), get("dropout").as_i64(), get("_name").as_bool()), (None, None, None));
    }
    assert!(open("fairseq_cfg.pt").extra().unwrap().get("args").unwrap().is_none());
    let dict = open("fairseq_dict.pt");
    let slots = dict.extra().unwrap().get("cfg").unwrap().get("slots").unwrap();
    assert_eq!(slots.class(), Some(("fairseq.models.wav2vec.wav2vec2", "Wav2Vec2Config")));
    assert_eq!(slots.get("encoder_layers").unwrap().as_i64(), Some(5));
    assert_eq!(slots.get("dropout").unwrap().as_f64(), Some(0.25));
}

#[test]
fn what_else_fairseq_saves_is_data() {
    for name in ["fairseq_args.pt", "fairseq_cfg.pt", "fairseq_dict.pt"] {
        let checkpoint = open(name);
        let root = checkpoint.extra().unwrap();
        let dictionary = root.get("task_state").unwrap().get("target_dictionary").unwrap();
        let symbols: Vec<_> = dictionary.get("symbols").unwrap().items().filter_map(Value::as_str).collect();
        assert_eq!(symbols, ["<s>", "<pad>", "</s>", "<unk>", "|", "E"]);
        assert_eq!(dictionary.get("indices").unwrap().get("E").unwrap().as_i64(), Some(5));
        let state = root.get("extra_state").unwrap();
        let get = |key: &str| state.get(key).unwrap();
        assert_eq!(get("bytes").as_bytes(), Some(&[0, 0xff][..]), "{name}");
        assert_eq!(get("seen").items().count(), 2, "{name}");
        assert_eq!(get("large").as_i64(), None);
        assert_eq!(format!("{:?}", get("large")), "0x400000000000000000");
        assert_eq!(get("device").as_str(), Some("cpu"));
        assert_eq!(get("dtype").class(), Some(("torch", "float16")));
        assert_eq!(get("path").arguments().filter_map(Value::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(get("default").get("k").unwrap().items().count(), 1);
        assert!(get("best").class().is_some_and(|(module, name)| module.contains("multiarray") && name == "scalar"));
    }
}

#[test]
fn plain_values_of_every_protocol_are_read() {
    let plain = |protocol: usize| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fuzz/corpus/pickle/protocol_{protocol}"));
        Pickle::from_bytes(&std::fs::read(&path).unwrap(), &path).unwrap()
    };
    for protocol in 0..=5 {
        let pickle = plain(protocol);
        let root = pickle.root();
        let list = if protocol < 2 { root } else { root.get("plain").unwrap() };
        let items: Vec<_> = list.items().collect();
        let large = if protocol < 2 { "1180591620717411303424" } else { "0x400000000000000000" };
        let expected = format!("[None, true, -1, 1099511627776, {large}, 0.5, \"a\\né\\\\\"]");
        assert_eq!(format!("{:?}", &items[..7]), expected, "protocol {protocol}");
        assert_eq!(items[7].as_str().map(str::len), Some(300));
        assert_eq!(items[8..11].iter().map(|value| value.items().count()).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(items[11].get("k").unwrap().items().count(), 1);
        assert_eq!(items[12].as_bytes(), Some(&[0xff][..]), "protocol {protocol}");
        assert_eq!(items[13].items().count(), 1);
    }
    // It holds itself.
    let pickle = plain(4);
    let root = pickle.root();
    assert!(root.get("self").unwrap().get("self").unwrap().get("plain").is_some());
    assert_eq!(root.get("cfg").unwrap().get("a").unwrap().get("b").unwrap().as_i64(), Some(1));
}

#[test]
fn types_of_newer_torch_are_told_and_refused_only_when_read() {
    let checkpoint = open("uint16.pt");
    assert_eq!(checkpoint.dtype("w"), Some(Dtype::U16));
    assert_eq!(checkpoint.read_f32("f").unwrap(), [0.0, 1.0, 2.0]);
    let error = checkpoint.tensor("w").unwrap_err().to_string();
    assert!(error.contains("U16") && error.contains("\"w\""), "{error}");
}

#[test]
fn content_and_not_the_name_decides() {
    let expected = open("tensors.safetensors").content_hash().unwrap();
    let dir = tempfile::tempdir().unwrap();
    for (from, to) in [("tensors.safetensors", "pytorch_model.bin"), ("zip.bin", "model.safetensors")] {
        std::fs::copy(fixture(from), dir.path().join(to)).unwrap();
        assert_eq!(Checkpoint::open(dir.path()).unwrap().content_hash().unwrap(), expected, "{from}");
    }
    let error = load_tensors(&fixture("zip.bin")).unwrap_err().to_string();
    assert!(error.contains("is a pickled PyTorch file; a safetensors file was expected"), "{error}");
}

#[test]
fn old_python_s_dictionaries_are_read() {
    // An OrderedDict as a list of pairs, with text that Python 2 does not tell from bytes.
    let w = tensor(storage("HalfStorage", "94", 2), 0, &[2], &[1]);
    let pairs = pickle(&[b"ccollections\nOrderedDict\n(](](U\x01w", &w, b"eetR"]);
    let file = legacy(&pairs, &[("94", 2, &[0, 0x3c, 0, 0x40])]);
    let checkpoint = Case::new(&file);
    assert_eq!(checkpoint.open().unwrap().read_f32("w").unwrap(), [1.0, 2.0]);
    // A parameter, and a dictionary whose keys are not all names.
    let parameter = [b"ctorch._utils\n_rebuild_parameter\n(".as_slice(), &w, b"\x88}tR"].concat();
    let file = legacy(&pickle(&[&dict(&[("w", parameter)]), b"K\x07K\x08s"]), &[("94", 2, &[0, 0x3c, 0, 0x40])]);
    let case = Case::new(&file);
    assert!(case.open().unwrap().names().eq(["w"]));
}

#[test]
fn a_file_that_shrinks_after_opening_is_an_error() {
    let case = Case::new(&std::fs::read(fixture("legacy.bin")).unwrap());
    let checkpoint = case.open().unwrap();
    std::fs::OpenOptions::new().write(true).open(&case.path).unwrap().set_len(100).unwrap();
    assert!(checkpoint.tensor("float").unwrap_err().to_string().contains("cannot be read any more"));
    assert!(checkpoint.content_hash().is_err());
}
