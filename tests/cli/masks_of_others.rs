//! Masks as other tools leave them, in every command that takes one. The files are torch's own; see make_mask_fixtures.py.

use crate::fixture::{Answer, Fixture, PRUNABLE};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The kept positions of each tensor.
type Kept = BTreeMap<String, Vec<usize>>;

/// The layouts of the masks in masks.json that have all of them.
const WHOLE: [&str; 6] =
    ["lottery_masks_module.pt", "bert_model.pt", "classifier.pt", "open_lth.pt", "nested.pt", "by_module.pt"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/fixtures")
}

/// What torch says is kept.
fn truth(name: &str) -> Kept {
    serde_json::from_slice(&fs::read(fixtures().join(name)).unwrap()).unwrap()
}

/// A fixture's directory with masks of torch in it.
fn with(masks: &[&str]) -> Fixture {
    let f = Fixture::new();
    for name in masks {
        let found =
            ["masks", "."].map(|folder| fixtures().join(folder).join(name)).into_iter().find(|path| path.is_file());
        f.write(name, fs::read(found.unwrap()).unwrap());
    }
    f
}

/// The small wav2vec 2.0 in `small/`.
fn with_small(masks: &[&str]) -> Fixture {
    let f = with(masks);
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/wav2vec2/tests/fixtures/base");
    for file in ["config.json", "model.safetensors"] {
        f.write(&format!("small/{file}"), fs::read(base.join(file)).unwrap());
    }
    f
}

/// The kept positions of a mask as Lopper gives it to torch.
fn kept(f: &Fixture, mask: &str) -> Kept {
    f.run(&["mask", "convert", mask, "--to", "torch", "--out", "positions.safetensors"]).ok();
    let bytes = f.read("positions.safetensors");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap().tensors();
    let one = |(name, tensor): (String, safetensors::tensor::TensorView<'_>)| {
        let kept = tensor.data().chunks(4).enumerate().filter(|(_, bytes)| **bytes != [0; 4]).map(|(at, _)| at);
        (name.strip_suffix("_mask").unwrap().to_owned(), kept.collect())
    };
    tensors.into_iter().map(one).collect()
}

#[track_caller]
fn says(answer: &Answer, code: i32, parts: &[&str]) {
    assert_eq!(answer.code, Some(code), "{answer:?}");
    for part in parts {
        assert!(answer.stderr.contains(part), "`{part}` is not in {answer:?}");
    }
}

#[test]
fn every_spelling_is_the_same_mask_in_every_command() {
    let f = with(&WHOLE);
    let truth = truth("masks.json");
    f.config("run.toml", "method = 'transfer'");
    let mut keys = std::collections::BTreeSet::new();
    for name in WHOLE {
        f.run(&["mask", "convert", name, "--model", "model", "--out", "m"]).ok();
        assert_eq!(kept(&f, "m"), truth, "{name}");
        // The same, not converted first.
        let applied = f.run(&["mask", "apply", name, "classifier", "--out", "c"]);
        let notes = match name {
            "lottery_masks_module.pt" => &["`module.` before the names of 13 tensors is left out"][..],
            "classifier.pt" => {
                &["15 tensors that the model does not offer for pruning", "left out (bert.embeddings.word_emb"]
            }
            "by_module.pt" => &["13 tensors that the model does not offer for pruning: masks that keep everything"],
            _ => &[],
        };
        says(&applied, 0, notes);
        assert_eq!(notes.is_empty(), applied.stderr.is_empty(), "{name}: {applied:?}");
        assert_eq!(kept(&f, "c"), truth, "{name}");
        let pair = f.run(&["mask", "iou", name, "m", "--model", "model", "--json"]).json();
        assert_eq!((&pair["iou"], &pair["entries"]), (&json!(1.0), &json!(PRUNABLE)), "{name}");
        let arguments = ["mask", "union", "m", name, "--model", "classifier", "--out", "u", "--json"];
        assert_eq!(f.run(&arguments).json()["kept"], pair["both"], "{name}");
        let mask = format!("prune.mask={name}");
        let plan = f.run(&["plan", "run.toml", "--json", "--set", &mask]).json();
        keys.insert(plan["stages"][0]["key"].as_str().unwrap().to_owned());
        let parp = ["prune.method=parp", &format!("prune.initial=./{name}"), "prune.sparsity=0.5"];
        f.run(&[&["plan", "run.toml", "--set"][..], &parp].concat()).ok();
    }
    assert_eq!(keys.len(), 1, "one mask, one stage, however it is spelled: {keys:?}");
    let alone = f.run(&["mask", "iou", "bert_model.pt", "m"]);
    says(&alone, 1, &["26 problems", "with --model DIR they are read by the names of that model"]);
}

#[test]
fn what_has_no_mask_is_kept_whole() {
    let f = with(&["feed_forward.pt", "sparsifier.pt"]);
    let layers = |(name, _): &(String, Vec<usize>)| !name.contains("attention") && !name.contains("pooler");
    let truth_of = |mask: &str| match mask {
        "feed_forward.pt" => truth("masks.json").into_iter().filter(layers).collect::<Kept>(),
        _ => truth("masks/sparsifier.json"),
    };
    for (mask, told) in [
        ("feed_forward.pt", "9 tensors of 13 prunable ones (2304 of 4352 entries) without a mask: kept whole"),
        ("sparsifier.pt", "11 tensors of 13 prunable ones (3840 of 4352 entries) without a mask: kept whole"),
        ("sparsifier.pt", "`state.` before the names of 2 tensors is left out"),
    ] {
        says(&f.run(&["mask", "apply", mask, "model", "--out", "m"]), 0, &[told]);
        let (truth, made) = (truth_of(mask), kept(&f, "m"));
        for (name, positions) in &made {
            match truth.get(name) {
                Some(theirs) => assert_eq!(positions, theirs, "{name}"),
                None => assert!(positions.len() >= 256 && positions.iter().copied().eq(0..positions.len()), "{name}"),
            }
        }
        assert_eq!((made.len(), truth.keys().all(|name| made.contains_key(name))), (13, true));
    }
}

/// The scripts of PARP prune fairseq's model with its biases, and save its learned vector for masked steps as a mask.
#[test]
fn masks_of_parps_authors_are_read() {
    let f = with_small(&["parp.pt", "wav2vec2_model.pt"]);
    let truth = truth("masks/wav2vec2.json");
    for name in ["parp.pt", "wav2vec2_model.pt"] {
        let converted = f.run(&["mask", "convert", name, "--model", "small", "--out", "m", "--json"]);
        assert!(!converted.stderr.contains("prunable") && !converted.stderr.contains("left out"), "{converted:?}");
        assert_eq!((&converted.json()["entries"], kept(&f, "m")), (&json!(3528), truth.clone()), "{name}");
        f.run(&["mask", "apply", name, "small", "--out", "s"]).ok();
        assert_eq!(f.run(&["mask", "iou", "s", "m", "--json"]).json()["iou"], 1.0);
    }
    let weights = ["mask", "apply", "parp.pt", "small", "--out", "w", "--model-option", "prune_biases=false"];
    let parts = [
        "parp.pt and the model, with prune_biases=false, do not fit",
        "`encoder.layers.0.self_attn.k_proj.bias` prunes",
    ];
    says(&f.run(&weights), 1, &parts);
}

/// A mask knows which options of its model decided what there was to prune; so does a model that Lopper saved.
#[test]
fn masks_and_models_know_what_there_was_to_prune() {
    let f = with_small(&["lottery_masks.pt"]);
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let run = ["run", "run.toml", "--out", "np", "--set", "model.prune_pooler=false", "train.epochs=0.1"];
    f.run(&run).ok();
    let info = |mask: &str| f.run(&["mask", "info", mask, "--json"]).json();
    let made = info("np");
    assert_eq!(made["origin"]["model_options"], "prune_pooler=false");
    // 12 of 13 tensors, and half of those.
    assert_eq!((made["entries"].as_u64(), made["pruned"].as_u64()), (Some(4096), Some(2048)));
    f.run(&["mask", "apply", "np", "classifier", "--out", "applied"]).ok();
    assert_eq!((&info("applied")["tensors"], &info("applied")["sparsity"]), (&made["tensors"], &json!(0.5)));
    f.run(&["mask", "convert", "np", "--out", "np.safetensors"]).ok();
    // A file of torch has no record; the model that the run saved has one.
    f.run(&["mask", "convert", "np.safetensors", "--model", "np/model", "--out", "back"]).ok();
    assert_eq!(
        (&info("back")["tensors"], &info("back")["origin"]["model_options"]),
        (&made["tensors"], &json!("prune_pooler=false"))
    );
    let whole = f.run(&["mask", "convert", "np.safetensors", "--model", "model", "--out", "whole"]);
    says(&whole, 0, &["1 tensor of 13 prunable ones (256 of 4352 entries) without a mask: kept whole (bert.pooler"]);
    // What is given goes before any record.
    let given = ["mask", "apply", "np", "classifier", "--out", "given", "--model-option", "prune_pooler=true"];
    says(&f.run(&given), 0, &["1 tensor of 13 prunable ones"]);
    assert_eq!(info("given")["entries"].as_u64(), Some(PRUNABLE));
    let pooler = f.run(&["mask", "convert", "lottery_masks.pt", "--model", "np/model", "--out", "x"]);
    says(&pooler, 1, &["with prune_pooler=false", "`bert.pooler.dense.weight` prunes", "does not offer it"]);

    let biases = ["--by", "magnitude", "--sparsity", "0.5", "--model-option", "prune_biases=false", "--out", "weights"];
    f.run(&[&["prune", "small"][..], &biases].concat()).ok();
    f.run(&["mask", "apply", "weights", "small", "--out", "again"]).ok();
    assert_eq!(info("again")["tensors"].as_array().unwrap().len(), 12);
}

/// Three rounds of 1/(10-k) prune 1,305 of 4,352 entries, where 30 % are 1,306.
#[test]
fn a_given_mask_is_taken_as_it_is() {
    let f = with(&["imp.pt"]);
    f.config("run.toml", "method = 'transfer'\nmask = 'imp.pt'");
    let exact = 1305.0 / 4352.0;
    let run = |out: &str, sparsity: &[&str]| {
        let set = [&["run", "run.toml", "--out", out, "--json", "--set", "train.epochs=0.1"], sparsity].concat();
        f.run(&set)
    };
    for (out, sparsity, told) in [
        ("free", &[][..], None),
        (
            "given",
            &["prune.sparsity=0.3"],
            Some("imp.pt prunes 1305 of 4352 entries, 0.299862, where sparsity 0.3 would be 1306"),
        ),
    ] {
        let answer = run(out, sparsity);
        says(&answer, 0, told.as_slice());
        let record = answer.json();
        assert_eq!((&record["sparsity"], &record["pruned"]), (&json!(exact), &json!(1305)), "{out}");
        assert_eq!(kept(&f, out), truth("masks/imp.json"));
        // What is kept beside the run plans the same.
        let again = f.run(&["plan", &format!("{out}/config.toml"), "--json"]).json();
        assert_eq!(again["to_train"], 0, "{again}");
    }
    let text = String::from_utf8(f.read("run.toml")).unwrap().replace("epochs = 1", "updates = 5");
    f.write("outline.toml", text);
    assert_eq!(f.run(&["plan", "outline.toml", "--outline", "--json"]).json()["sparsity"], Value::Null);
    let outline = f.run(&["plan", "outline.toml", "--outline"]).ok();
    assert!(outline.starts_with("transfer on sst-2 at the sparsity of its mask"), "{outline}");
    says(&run("half", &["prune.sparsity=0.5"]), 1, &["prune.sparsity = 0.5", "prunes 1305 of 4352", "leave it out"]);
    says(&run("turned", &["prune.sparsity=0.7"]), 1, &["`lopper mask convert --inverted` turns it round"]);
    f.run(&["mask", "convert", "imp.pt", "--inverted", "--model", "model", "--out", "inverted"]).ok();
    let record = f.run(&["plan", "run.toml", "--json", "--set", "prune.mask=inverted"]).json();
    assert_eq!(record["sparsity"], json!(1.0 - exact));
    // Other methods are not told by a mask where they end.
    says(&f.run(&["plan", "run.toml", "--set", "prune.method=mpi"]), 1, &["[prune] sparsity = (not given)"]);
}

/// A checkpoint that was saved while torch's pruning was on has its masks in it.
#[test]
fn a_checkpoint_with_masks_in_it_is_a_mask() {
    let f = with(&["prune_state_dict.pt"]);
    f.write("saved/pytorch_model.bin", f.read("prune_state_dict.pt")).write("saved/config.json", "{}");
    f.run(&["mask", "apply", "saved", "model", "--out", "m"]).ok();
    assert_eq!(kept(&f, "m"), truth("masks.json"));
    f.write("ticket/mask.pt", f.read("prune_state_dict.pt"));
    f.config("run.toml", "method = 'transfer'\nmask = 'ticket'");
    let plan = f.run(&["plan", "run.toml", "--json"]).json();
    assert_eq!(plan["sparsity"], json!(2611.0 / 4352.0));
}

#[test]
fn files_that_are_not_read_are_refused_by_their_name() {
    let f = Fixture::new();
    let npy = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    let mut npz = b"PK\x03\x04\x2d\0\0\0\0\0\0\0\x21\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\0\0a.npy".to_vec();
    npz.extend(npy);
    for (name, bytes, part) in [
        (
            "m.npz",
            &npz[..],
            "is an archive of NumPy (.npz), which is not read: python -c \"import numpy, torch; m = numpy.load('m.npz')",
        ),
        ("m.npy", npy, "is one array of NumPy (.npy)"),
        ("m.h5", b"\x89HDF\r\n\x1a\n\0\0\0\0", "is an HDF5 file, as Keras writes"),
        ("m.msgpack", b"\x81\xa6params\x81\xa5dense\x80", "is a file of msgpack, as Flax and jaxpruner write"),
        ("m.txt", b"keep all of it", "no safetensors file"),
        ("m.pkl", b"\x80\x04}.", "not of `torch.save`"),
        ("empty", b"", "is empty"),
    ] {
        f.write(name, bytes);
        f.config("run.toml", &format!("method = 'transfer'\nmask = './{name}'"));
        for command in
            [&["mask", "info", name][..], &["mask", "apply", name, "model", "--out", "o"], &["plan", "run.toml"]]
        {
            says(&f.run(command), 1, &[name, part.split(" python").next().unwrap()]);
        }
        says(&f.run(&["mask", "info", name]), 1, &[part]);
    }
    f.write("orbax/_METADATA", "{}");
    says(&f.run(&["mask", "info", "orbax"]), 1, &["orbax: is a checkpoint of Orbax or TensorFlow"]);
    let weights = f.run(&["mask", "info", "model/model.safetensors"]);
    says(&weights, 1, &["is no mask: no tensor is called NAME_mask, and bert.embeddings.LayerNorm.bias[0] = "]);
}
