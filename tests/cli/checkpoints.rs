//! Checkpoints that people bring: saved again without pruning they are what they were, and what is not read is refused by
//! its name in every command.

use crate::fixture::Fixture;
use lopper::weights::Checkpoint;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn heads() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/bert/tests/fixtures/heads")
}

fn json_file(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Prunes a fixture and tells what was said on the way.
fn prune(f: &Fixture, name: &str, sparsity: &str) -> (Value, String) {
    let path = heads().join(name);
    let arguments =
        ["prune", path.to_str().unwrap(), "--by", "magnitude", "--sparsity", sparsity, "--out", name, "--json"];
    let answer = f.run(&arguments);
    let said = answer.stderr.clone();
    (answer.json(), said)
}

#[test]
fn a_copy_with_nothing_pruned_is_the_same_checkpoint() {
    const ANCHORS: [&str; 2] = ["bert.embeddings.word_embeddings.weight", "embeddings.word_embeddings.weight"];
    let f = Fixture::new();
    for name in ["token", "pretraining", "one_output", "pad", "half"] {
        prune(&f, name, "0");
        let (from, to) = (heads().join(name), f.path(name));
        let (source, copy) = (Checkpoint::open_model(&from, &ANCHORS).unwrap(), Checkpoint::open(&to).unwrap());
        assert_eq!(source.names().count(), copy.names().count(), "{name}: nothing is left out, nothing made up");
        for tensor in source.names() {
            let bare = ["embeddings.", "encoder.", "pooler."].iter().any(|part| tensor.starts_with(part));
            let saved = if bare { format!("bert.{tensor}") } else { tensor.to_owned() };
            assert_eq!(source.shape(tensor), copy.shape(&saved), "{name}: {tensor}");
            assert!(source.tensor(tensor).unwrap() == copy.tensor(&saved).unwrap(), "{name}: {tensor}");
        }
        let (mut before, mut after) = (json_file(&from.join("config.json")), json_file(&to.join("config.json")));
        for config in [&mut before, &mut after] {
            config.as_object_mut().unwrap().remove("dtype");
        }
        assert_eq!(before, after, "{name}");
        for file in ["vocab.txt", "tokenizer_config.json"] {
            assert_eq!(
                std::fs::read(from.join(file)).unwrap(),
                std::fs::read(to.join(file)).unwrap(),
                "{name}: {file}"
            );
        }
    }
}

#[test]
fn what_was_wrapped_around_the_names_is_told() {
    let f = Fixture::new();
    for (name, told) in [
        ("wrapped", "prefix=\"module.\""),
        ("trainer", "prefix=\"model.\""),
        ("pad", "the tokenizer pads with another id than config.json's pad_token_id"),
        ("pruning", "saved while torch's pruning was on"),
    ] {
        let (_, said) = prune(&f, name, "0");
        assert!(said.contains(told) && said.trim().lines().count() == 1, "{name}: {said}");
    }
    // Half of the six matrices of the one block were pruned by torch.
    let (pruned, _) = prune(&f, "pruning", "0.1");
    assert_eq!(pruned["zeros_before"], (4 * 64 + 2 * 96) / 2);
}

#[test]
fn heads_of_other_tasks_are_refused_and_named_where_they_are_left_out() {
    let f = Fixture::new();
    for (name, class) in [("token", "BertForTokenClassification"), ("masked_lm", "BertForMaskedLM")] {
        let path = heads().join(name);
        let path = path.to_str().unwrap();
        let predicted = f.run(&["predict", path, "--text", "the cat"]);
        assert!(predicted.code == Some(1) && predicted.stderr.contains(class), "{predicted:?}");
        let judged = f.run(&["eval", path, "--task", "sst-2", "--data", "SST-2"]);
        assert!(judged.code == Some(1) && judged.stderr.contains(class), "{judged:?}");
    }
    f.config("run.toml", "method = \"mpi\"\nsparsity = 0.5");
    let path = heads().join("spans");
    let set = format!("model.path={:?}", path.to_str().unwrap());
    let answer = f.run(&["run", "run.toml", "--set", &set, "data.max_length=16", "--out", "run"]);
    assert!(answer.stderr.contains("BertForQuestionAnswering") && answer.stderr.contains("left out"), "{answer:?}");
    answer.ok();
}

#[test]
fn weights_keep_their_type_unless_another_is_asked_for() {
    let f = Fixture::new();
    let half = heads().join("half");
    let of = |more: &[&str]| {
        let path = half.to_str().unwrap();
        let arguments = ["prune", path, "--by", "magnitude", "--sparsity", "0.5", "--out", "half"];
        let said = f.run(&[&arguments[..], more].concat()).ok();
        let saved = Checkpoint::open(&f.path("half")).unwrap();
        let dtype = saved.dtype("bert.encoder.layer.0.attention.self.query.weight").unwrap();
        (format!("{dtype:?}"), json_file(&f.path("half/config.json"))["dtype"].clone(), said)
    };
    let (dtype, stated, said) = of(&[]);
    assert_eq!((dtype.as_str(), &stated), ("BF16", &"bfloat16".into()));
    assert!(said.contains("weights in bfloat16"), "{said}");
    // The rest is as it was, and what is pruned is zero.
    let pruned = f.run(&["prune", "half", "--by", "magnitude", "--sparsity", "0.5", "--out", "again", "--json"]).json();
    assert_eq!((&pruned["zeros_before"], &pruned["zeros"]), (&pruned["pruned"], &pruned["pruned"]));
    let (dtype, stated, _) = of(&["--dtype", "float32"]);
    assert_eq!((dtype.as_str(), &stated), ("F32", &"float32".into()));
    let refused = f.run(&["prune", "half", "--by", "magnitude", "--sparsity", "0.5", "--out", "o", "--dtype", "half"]);
    assert!(refused.code == Some(2) && refused.stderr.contains("`as loaded`, `float32`"), "{refused:?}");
    f.config("run.toml", "method = \"mpi\"\nsparsity = 0.5");
    let set = format!("model.path={:?}", half.to_str().unwrap());
    for (more, expected) in [(None, "F32"), (Some("run.save_dtype=\"as loaded\""), "BF16")] {
        let arguments: Vec<&str> = ["run", "run.toml", "--set", &set, "data.max_length=16"]
            .into_iter()
            .chain(more)
            .chain(["--out", "run"])
            .collect();
        f.run(&arguments).ok();
        let saved = Checkpoint::open(&f.path("run/model")).unwrap();
        assert_eq!(format!("{:?}", saved.dtype("classifier.weight").unwrap()), expected);
        f.run(&["rm", "run", "--yes"]).ok();
    }
}

#[test]
fn a_model_pruned_before_is_told() {
    let f = Fixture::new();
    f.run(&["prune", "model", "--by", "magnitude", "--sparsity", "0.5", "--out", "half"]).ok();
    let text = f.run(&["prune", "half", "--by", "magnitude", "--sparsity", "0.3", "--out", "third"]).ok();
    assert!(text.contains("sparsity 0.300") && text.contains("were zero before"), "{text}");
    let again = f.run(&["prune", "half", "--by", "magnitude", "--sparsity", "0.3", "--out", "third", "--json"]).json();
    assert_eq!(again["zeros"], again["zeros_before"]);
    assert!((again["zeros"].as_f64().unwrap() / again["entries"].as_f64().unwrap() - 0.5).abs() < 1e-3);
    assert!(again["pruned"].as_u64() < again["zeros"].as_u64());
    f.config("dense.toml", "method = \"dense\"\nsparsity = 0.0");
    let answer = f.run(&["run", "dense.toml", "--set", "model.path=\"half\"", "--out", "dense"]);
    assert!(
        answer.stderr.contains("was pruned before") && answer.stderr.contains("`transfer` keeps them"),
        "{answer:?}"
    );
    assert!(answer.ok().contains("of these entries were zero before the run"));
    assert_eq!(json_file(&f.path("dense/record.json"))["zeros_at_start"], again["zeros_before"]);
}

#[test]
fn the_default_length_is_what_the_model_holds() {
    let f = Fixture::new();
    f.model("short", 16, &json!({"max_position_embeddings": 24, "num_labels": 2}), Some(2));
    let eval =
        |more: &[&str]| f.run(&[&["eval", "short", "--task", "sst-2", "--data", "SST-2", "--json"], more].concat());
    assert_eq!(eval(&[]).json()["metrics"], eval(&["--set", "max_length=24"]).json()["metrics"]);
    let told = eval(&["--set", "max_length=128"]);
    assert!(told.code == Some(1) && told.stderr.contains("to 24 tokens"), "{told:?}");
}

#[test]
fn neighbours_and_quantised_weights_are_refused_in_one_line_by_every_command() {
    let f = Fixture::new();
    // A tenth of a second of silence: a recording is looked at before the model.
    let sizes = [3236u32.to_le_bytes(), 16u32.to_le_bytes(), 3200u32.to_le_bytes()];
    let format = b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0";
    let wave = [b"RIFF", &sizes[0][..], b"WAVEfmt ", &sizes[1], format, b"data", &sizes[2], &[0; 3200]].concat();
    f.write("A.wav", wave);
    f.config("run.toml", "method = \"mpi\"\nsparsity = 0.5").write("texts", "a\n");
    f.run(&["prune", "model", "--by", "magnitude", "--sparsity", "0.5", "--out", "masked"]).ok();
    let check = |config: Value, parts: &[&str]| {
        f.write("other/config.json", config.to_string());
        let commands: [&[&str]; 6] = [
            &["prune", "other", "--by", "magnitude", "--sparsity", "0.5", "--out", "o"],
            &["predict", "other", "--text", "a"],
            &["eval", "other", "--task", "sst-2", "--data", "SST-2"],
            &["transcribe", "other", "A.wav"],
            &["mask", "apply", "masked", "other", "--out", "o"],
            &["run", "run.toml", "--set", "model.path=\"other\"", "--out", "r"],
        ];
        for command in commands {
            let answer = f.run(command);
            let one = answer.stderr.lines().filter(|line| line.contains(parts[0])).count();
            assert!(answer.code == Some(1) && one == 1, "{command:?}: {answer:?}");
            assert!(parts.iter().all(|part| answer.stderr.contains(part)), "{command:?}: {answer:?}");
        }
    };
    for (kind, class, name, read) in [
        ("roberta", "RobertaForMaskedLM", "RoBERTa", "BERT is read"),
        ("hubert", "HubertForCTC", "HuBERT", "wav2vec 2.0 and XLSR-53 are read"),
    ] {
        check(json!({"model_type": kind, "architectures": [class]}), &[&format!("is a {name} by"), class, read]);
    }
    let quantised = json!({"quant_method": "bitsandbytes", "load_in_8bit": true});
    check(json!({"model_type": "bert", "quantization_config": quantised}), &["quantization_config", "bitsandbytes"]);
}
