//! Masks that are applied, combined and converted.

use crate::fixture::{Fixture, PRUNABLE};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

fn prune(f: &Fixture, seed: &str, out: &str) {
    f.run(&["prune", "model", "--by", "random", "--seed", seed, "--sparsity", "0.5", "--out", out]).ok();
}

/// A command that must fail and say every one of `parts`.
fn refused(f: &Fixture, arguments: &[&str], parts: &[&str]) {
    let answer = f.run(arguments);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "{answer:?}");
    for part in parts {
        assert!(answer.stderr.contains(part), "`{part}` is not in {answer:?}");
    }
}

/// A safetensors file of float32 tensors.
fn state_dict(f: &Fixture, name: &str, tensors: &[(&str, Vec<usize>, Vec<f32>)]) {
    let bytes: Vec<Vec<u8>> =
        tensors.iter().map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let views = tensors
        .iter()
        .zip(&bytes)
        .map(|((name, shape, _), bytes)| (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    f.write(name, safetensors::serialize(views, None).unwrap());
}

#[test]
fn a_mask_is_applied_to_another_model() {
    let f = Fixture::new();
    prune(&f, "1", "a");
    let applied = f.run(&["mask", "apply", "a", "classifier", "--out", "c", "--json"]).json();
    assert_eq!((applied["pruned"].as_u64(), applied["entries"].as_u64()), (Some(PRUNABLE / 2), Some(PRUNABLE)));
    assert_eq!(f.run(&["mask", "iou", "a", "c", "--json"]).json()["iou"], 1.0);
    assert_eq!(f.run(&["mask", "info", "c", "--json"]).json()["origin"]["applied_to"], "classifier");
    let (before, after) = (f.read("classifier/model.safetensors"), f.read("c/model.safetensors"));
    let (before, after) = (SafeTensors::deserialize(&before).unwrap(), SafeTensors::deserialize(&after).unwrap());
    let mut zeros = 0;
    for (name, tensor) in after.tensors() {
        let old = before.tensor(&name).unwrap();
        for (new, old) in tensor.data().as_chunks::<4>().0.iter().zip(old.data().as_chunks::<4>().0) {
            zeros += u64::from(new != old);
            assert!(new == old || *new == [0; 4], "{name}");
        }
    }
    assert_eq!(zeros, PRUNABLE / 2);
    refused(&f, &["mask", "apply", "gone", "nomodel", "--out", "d"], &["2 problems", "gone", "nomodel"]);
    refused(&f, &["mask", "apply", "a", "model", "--out", "SST-2"], &["SST-2", "not empty"]);
}

/// What a model offers for ranking depends on its plugin's options, and so does every command that takes a mask for one.
#[test]
fn options_of_the_model_plugin_reach_every_command() {
    let f = Fixture::new();
    let option = ["--model-option", "prune_pooler=false"];
    let with = |arguments: &[&'static str]| [arguments, &option].concat();
    f.run(&with(&["prune", "classifier", "--by", "magnitude", "--sparsity", "0.5", "--out", "np"])).ok();
    let info = f.run(&["mask", "info", "np", "--json"]).json();
    assert_eq!(info["tensors"].as_array().unwrap().len(), 12);

    f.run(&with(&["mask", "apply", "np", "classifier", "--out", "applied"])).ok();
    f.run(&["mask", "convert", "np", "--out", "np.safetensors"]).ok();
    f.run(&with(&["mask", "convert", "np.safetensors", "--model", "classifier", "--out", "back"])).ok();
    assert_eq!(f.run(&["mask", "iou", "np", "back", "--json"]).json()["iou"], 1.0);

    let predict = ["predict", "np", "--text", "The good film", "--json"];
    assert_eq!(f.run(&predict).json(), f.run(&with(&predict)).json());
    let eval = ["eval", "np", "--task", "sst-2", "--data", "SST-2", "--json"];
    assert_eq!(f.run(&eval).json(), f.run(&with(&eval)).json());
    let slip = [&predict[..], &["--model-option", "prune_poler=false"]].concat();
    refused(&f, &slip, &["--model-option", "`prune_poler` (did you mean `prune_pooler`?)"]);
    let wrong = [&predict[..], &["--model-option", "hidden_dropout=2", "--model-option", "prune_pooler=7"]].concat();
    refused(&f, &wrong, &["--model-option prune_pooler = 7"]);
    let alone = f.run(&with(&["mask", "convert", "np", "--out", "x.safetensors"]));
    assert!(alone.code == Some(2) && alone.stderr.contains("--model <DIR>"), "{alone:?}");
}

#[test]
fn union_and_intersection_count_as_sets_do() {
    let f = Fixture::new();
    prune(&f, "1", "a");
    prune(&f, "2", "b");
    let pair = f.run(&["mask", "iou", "a", "b", "--json"]).json();
    let both = pair["both"].as_u64().unwrap();
    let either = both + pair["only_a"].as_u64().unwrap() + pair["only_b"].as_u64().unwrap();
    for (command, kept) in [("union", either), ("intersect", both)] {
        let made = f.run(&["mask", command, "a", "b", "--out", "made/m.safetensors", "--json"]).json();
        assert_eq!(made["kept"].as_u64(), Some(kept), "{command}");
        let info = f.run(&["mask", "info", "made/m.safetensors", "--json"]).json();
        assert_eq!((info["kept"].as_u64(), info["origin"]["of"].as_str()), (Some(kept), Some("a, b")));
    }
    f.write("mine", "a text of my own");
    refused(&f, &["mask", "union", "a", "gone", "--out", "mine"], &["2 problems", "gone", "mine: exists"]);
    assert_eq!(f.read("mine"), b"a text of my own");
}

#[test]
fn masks_go_to_torch_and_back() {
    let f = Fixture::new();
    prune(&f, "1", "a");
    let there = f.run(&["mask", "convert", "a", "--out", "t.safetensors", "--json"]).json();
    assert_eq!((there["to"].as_str(), there["tensors"].as_u64()), (Some("torch"), Some(13)));
    let bytes = f.read("t.safetensors");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mask = file.tensor("bert.encoder.layer.0.attention.self.query.weight_mask").unwrap();
    assert_eq!((mask.dtype(), mask.shape()), (Dtype::F32, &[16, 16][..]));
    let ones: u64 = file.tensors().iter().map(|(_, t)| t.data().chunks(4).filter(|b| b[3] != 0).count() as u64).sum();
    assert_eq!(ones, PRUNABLE / 2);

    f.run(&["mask", "convert", "t.safetensors", "--out", "back", "--model", "model"]).ok();
    let (whole, back) =
        (f.run(&["mask", "info", "a", "--json"]).json(), f.run(&["mask", "info", "back", "--json"]).json());
    assert_eq!(whole["tensors"], back["tensors"], "in the model's order");
    assert_eq!(f.run(&["mask", "iou", "a", "back", "--json"]).json()["iou"], 1.0);
    // Without the model the names give the order, which does not matter to `apply`.
    f.run(&["mask", "convert", "t.safetensors", "--out", "byname"]).ok();
    f.run(&["mask", "apply", "byname", "model", "--out", "again"]).ok();
    assert_eq!(f.read("a/model.safetensors"), f.read("again/model.safetensors"));
    refused(&f, &["mask", "convert", "a", "--to", "lopper", "--out", "x"], &["--to", "lopper", "already"]);
}

/// As `prune.custom_from_mask(linear, "weight", …)` leaves a state dict: the bias whole, the weight in two parts.
#[test]
fn state_dicts_of_torch_are_read() {
    let f = Fixture::new();
    let weight_mask = vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0];
    let orig = vec![0.5, -1.0, 2.0, 0.25, -0.5, 3.0];
    state_dict(
        &f,
        "pruned.safetensors",
        &[
            ("fc.bias", vec![2], vec![0.1, 0.2]),
            ("fc.weight_mask", vec![2, 3], weight_mask),
            ("fc.weight_orig", vec![2, 3], orig),
            ("a.weight_mask", vec![2], vec![0.0, 1.0]),
        ],
    );
    let made = f.run(&["mask", "convert", "pruned.safetensors", "--out", "m", "--json"]).json();
    assert_eq!(
        (made["to"].as_str(), made["kept"].as_u64(), made["pruned"].as_u64()),
        (Some("lopper"), Some(4), Some(4))
    );
    let info = f.run(&["mask", "info", "m", "--json"]).json();
    let tensors: Vec<_> =
        info["tensors"].as_array().unwrap().iter().map(|t| (t["name"].as_str(), t["kept"].as_u64())).collect();
    assert_eq!(tensors, [(Some("a.weight"), Some(1)), (Some("fc.weight"), Some(3))]);
    refused(
        &f,
        &["mask", "convert", "m", "--model", "model", "--out", "x"],
        &["none of the mask's 2 tensors (`a.weight`, `fc.weight`) is one that the model offers", "query.weight"],
    );
}

/// What torch itself wrote; see make_mask_fixtures.py.
#[test]
fn files_of_torch_save_are_converted() {
    let f = Fixture::new();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/fixtures");
    let kept: BTreeMap<String, Vec<usize>> =
        serde_json::from_slice(&fs::read(fixtures.join("masks.json")).unwrap()).unwrap();
    assert_eq!((kept.len(), kept.values().map(Vec::len).sum::<usize>() as u64), (13, PRUNABLE - PRUNABLE * 6 / 10));
    for (name, prefix) in [("prune_state_dict", ""), ("lottery_masks", ""), ("lottery_masks_module", "module.")] {
        f.write(&format!("{name}.pt"), fs::read(fixtures.join(format!("{name}.pt"))).unwrap());
        let convert = |out: &str, more: &[&str]| {
            f.run(&[&["mask", "convert", &format!("{name}.pt"), "--out", out][..], more].concat()).ok();
        };
        convert("m", &["--model", "model"]);
        assert_eq!(positions(&f, "m", ""), kept, "{name}");
        // In the model's order, so a run can go on from it.
        let transfer = ["prune.method=transfer", "prune.mask=m", "prune.sparsity=0.6", "train.epochs=0.1"];
        f.config("run.toml", "method = 'omp'\nsparsity = 0.5");
        f.run(&[&["plan", "run.toml", "--set"][..], &transfer].concat()).ok();
        // Without the model nothing tells that `module.` is no part of the names.
        convert("n", &[]);
        assert_eq!(positions(&f, "n", prefix), kept, "{name}");
    }
    // The model tells it.
    f.run(&["mask", "apply", "n", "model", "--out", "o"]).ok();
    assert_eq!(positions(&f, "o", ""), kept);
}

/// The kept positions of a mask file, by the names behind `prefix`.
fn positions(f: &Fixture, mask: &str, prefix: &str) -> BTreeMap<String, Vec<usize>> {
    f.run(&["mask", "convert", mask, "--out", "positions.safetensors"]).ok();
    let bytes = f.read("positions.safetensors");
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let one = |(name, tensor): (String, TensorView<'_>)| {
        let name = name.strip_prefix(prefix).unwrap().strip_suffix("_mask").unwrap().to_owned();
        let kept = tensor.data().chunks(4).enumerate().filter(|(_, bytes)| **bytes != [0; 4]).map(|(at, _)| at);
        (name, kept.collect())
    };
    tensors.into_iter().map(one).collect()
}

/// Two masks for one tensor: which one is meant?
#[test]
fn two_masks_of_one_tensor_are_not_mixed_up() {
    let f = Fixture::new();
    let name = "bert.pooler.dense.weight_mask";
    let one = |name: &'static str| (name, vec![16, 16], vec![1.0; 256]);
    state_dict(&f, "two.safetensors", &[one(name), one("module.bert.pooler.dense.weight_mask")]);
    let convert = ["mask", "convert", "two.safetensors", "--out", "m", "--model", "model"];
    refused(
        &f,
        &convert,
        &["`bert.pooler.dense.weight` and `module.bert.pooler.dense.weight` are both `bert.pooler.d"],
    );
}

/// What is the model's must have its shape, and what is not may prune nothing.
#[test]
fn masks_that_do_not_fit_are_refused_with_all_that_is_wrong() {
    let f = Fixture::new();
    let ones = |name, shape: &[usize]| (name, shape.to_vec(), vec![1.0; shape.iter().product()]);
    let half = |name, shape: &[usize]| {
        let (name, shape, mut values) = ones(name, shape);
        values[0] = 0.0;
        (name, shape, values)
    };
    state_dict(
        &f,
        "m.safetensors",
        &[
            half("encoder.layer.0.intermediate.dense.weight_mask", &[16, 32]),
            half("encoder.layer.0.attention.self.query.weight_mask", &[20, 20]),
            half("encoder.layer.2.output.dense.weight_mask", &[16, 32]),
            // Tied to the word embeddings.
            half("cls.predictions.decoder.weight_mask", &[17, 16]),
            half("classifier.weight_mask", &[2, 16]),
            ones("classifier.bias_mask", &[2]),
            ones("pooler.dense.weight_mask", &[16, 16]),
        ],
    );
    let parts = [
        "m.safetensors and the model do not fit: 5 problems",
        "`classifier.weight` prunes 1 of 32 entries, and this model does not offer it for pruning",
        "`cls.predictions.decoder.weight` prunes 1 of 272",
        "`encoder.layer.0.intermediate.dense.weight` has shape [16, 32] in the mask and, there \
         `bert.encoder.layer.0.intermediate.dense.weight`, [32, 16] in the model: it is transposed",
        "`encoder.layer.0.attention.self.query.weight` has shape [20, 20]",
        "`encoder.layer.2.output.dense.weight` prunes 1 of 512",
    ];
    f.config("run.toml", "method = 'transfer'\nmask = './m.safetensors'");
    for command in [
        &["mask", "apply", "m.safetensors", "classifier", "--out", "o"][..],
        &["mask", "convert", "m.safetensors", "--model", "model", "--out", "o"],
        &["mask", "iou", "m.safetensors", "m.safetensors", "--model", "model"],
        &["plan", "run.toml"],
    ] {
        refused(&f, command, &parts);
    }
}

#[test]
fn what_is_no_mask_of_torch_is_named() {
    let f = Fixture::new();
    let convert = ["mask", "convert", "bad.safetensors", "--out", "m"];
    state_dict(
        &f,
        "bad.safetensors",
        &[
            ("a_mask", vec![3], vec![1.0, 0.0, 0.5]),
            ("b_mask", vec![2], vec![f32::NAN, 1.0]),
            ("c_orig", vec![1], vec![1.0]),
            ("d_mask", vec![1], vec![1.0]),
            ("d_orig", vec![2], vec![1.0, 1.0]),
        ],
    );
    let parts = ["4 problems", "a_mask[2] = 0.5", "b_mask[0] = NaN", "no \"c_mask\"", "\"d_mask\" has shape [1]"];
    refused(&f, &convert, &parts);
    state_dict(&f, "bad.safetensors", &[("a.weight", vec![2], vec![1.0, 0.25])]);
    refused(&f, &convert, &["bad.safetensors", "no tensor is called NAME_mask, and a.weight[1] = 0.25"]);
    // Packed bits, truths other than 1, and a type that is none of numbers.
    let bytes = [0u8, 1, 193, 0, 1, 1, 2, 0];
    let view = |dtype, shape, range: std::ops::Range<usize>| TensorView::new(dtype, shape, &bytes[range]).unwrap();
    let packed = [
        ("a.weight", view(Dtype::U8, vec![4], 0..4)),
        ("b.weight", view(Dtype::BOOL, vec![3], 4..7)),
        ("c.weight", view(Dtype::C64, vec![1], 0..8)),
    ];
    f.write("bad.safetensors", safetensors::serialize(packed, None).unwrap());
    let parts = ["3 problems", "a.weight[2] = 193", "numpy.unpackbits", "b.weight[2] = 2", "c.weight = C64 values"];
    refused(&f, &convert, &parts);
    let none: [(&str, TensorView<'_>); 0] = [];
    f.write("bad.safetensors", safetensors::serialize(none, None).unwrap());
    refused(&f, &convert, &["bad.safetensors: is empty: it holds no tensor"]);
    f.write("bad.safetensors", b"PK\x03\x04 and what follows in a file of torch.save");
    refused(&f, &convert, &["bad.safetensors", "zip archive"]);
    assert!(!f.path("m").exists());
}

/// Where a mask is wanted, the run that found it may be named.
#[test]
fn a_finished_run_stands_for_its_mask() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.5");
    let short = ["--set", "train.updates=3"];
    let run = |out: &str, more: &[&str]| f.run(&[&["run", "run.toml", "--out", out], &short[..], more].concat());
    run("runs/with", &[]).ok();
    run("runs/without", &["run.save_model=false"]).ok();
    assert!(f.path("runs/without/mask.safetensors").is_file() && !f.path("runs/without/model").exists());
    let mut keys = std::collections::BTreeSet::new();
    for mask in ["runs/with", "runs/without", "runs/with/model", "runs/with/model/mask.safetensors"] {
        for method in [["prune.method=transfer", "prune.mask="], ["prune.method=parp", "prune.initial="]] {
            let mask = format!("{}{mask}", method[1]);
            let plan = f.run(&[&["plan", "run.toml", "--json"], &short[..], &[method[0], &mask]].concat()).json();
            keys.insert(plan["stages"][0]["key"].as_str().unwrap().to_owned());
        }
        assert_eq!(f.run(&["mask", "iou", mask, "runs/with", "--json"]).json()["iou"], 1.0);
    }
    assert_eq!(keys.len(), 2, "one mask, one stage a method, however it is named: {keys:?}");
    // The sparsity comes with it.
    f.config("run.toml", "method = 'transfer'\nmask = 'runs/without'");
    let transferred = f.run(&[&["run", "run.toml", "--out", "t", "--json"], &short[..]].concat()).json();
    assert_eq!((&transferred["sparsity"], &transferred["pruned"]), (&0.5.into(), &(PRUNABLE / 2).into()));

    let failing = ["train.learning_rate=1e30", "train.max_skipped=0", "train.clip_norm=0", "prune.method=mpi"];
    f.config("run.toml", "sparsity = 0.5");
    assert_eq!(run("runs/failed", &failing).code, Some(1));
    let planned = |mask: &str| ["plan", "run.toml", "--set", "prune.method=transfer", mask].map(str::to_owned);
    for (mask, parts) in [
        (
            "prune.mask=runs/failed",
            [
                "runs/failed ([prune] mask): is the directory of a run that is not finished",
                "`lopper status runs/failed`",
            ],
        ),
        ("prune.mask=runs", ["holds runs: name one of them, such as runs/failed", "the directory of a finished run"]),
        ("prune.mask=SST-2", ["SST-2 ([prune] mask): holds no mask.safetensors", "or that of a pruned model"]),
    ] {
        refused(&f, &planned(mask).each_ref().map(String::as_str), &parts);
    }
}
