//! The commands that train nothing.

use crate::fixture::{Answer, Fixture, PRUNABLE};
use serde_json::{Value, json};
use std::process::Stdio;

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn prune_predict_and_look_at_the_mask() {
    let f = Fixture::new();
    let pruned =
        f.run(&["prune", "classifier", "--by", "magnitude", "--sparsity", "0.7", "--out", "p", "--json"]).json();
    let expected = (0.7 * PRUNABLE as f64).round_ties_even() as u64;
    assert_eq!((pruned["pruned"].as_u64(), pruned["entries"].as_u64()), (Some(expected), Some(PRUNABLE)));
    assert_eq!(pruned["mask"], "p/mask.safetensors");

    let info = f.run(&["mask", "info", "p", "--json"]).json();
    assert_eq!((info["pruned"].as_u64(), info["kept"].as_u64()), (Some(expected), Some(PRUNABLE - expected)));
    assert_eq!(number(&info["sparsity"]), expected as f64 / PRUNABLE as f64);
    assert_eq!(info["origin"]["method"], "magnitude");
    let tensors = info["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), 13);
    assert_eq!(tensors.iter().map(|t| t["pruned"].as_u64().unwrap()).sum::<u64>(), expected);
    assert_eq!(tensors[12]["name"], "bert.pooler.dense.weight");
    let text = f.run(&["mask", "info", "p/mask.safetensors"]).ok();
    assert!(text.contains("bert.pooler.dense.weight") && text.contains("method: magnitude"), "{text}");

    // The saved model is mask ⊙ weights, the largest magnitudes untouched.
    let read = |name: &str| {
        let bytes = f.read(name);
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let values = |t: safetensors::tensor::TensorView<'_>| -> Vec<f32> {
            t.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let named = |t: &Value| values(file.tensor(t["name"].as_str().unwrap()).unwrap());
        tensors.iter().flat_map(named).collect::<Vec<f32>>()
    };
    let (before, after) = (read("classifier/model.safetensors"), read("p/model.safetensors"));
    assert_eq!(after.iter().filter(|w| **w == 0.0).count() as u64, expected);
    let least = after.iter().filter(|w| **w != 0.0).map(|w| w.abs()).fold(f32::MAX, f32::min);
    for (before, after) in before.iter().zip(&after) {
        assert!(before == after || (*after == 0.0 && before.abs() <= least));
    }

    let one = f.run(&["predict", "p", "--text", "The good film", "--json"]).json();
    let logits: Vec<f64> = one["logits"].as_array().unwrap().iter().map(number).collect();
    assert_eq!(logits.len(), 2);
    let class = usize::from(logits[1] > logits[0]);
    assert_eq!(
        (one["class"].as_u64(), one["label"].as_str()),
        (Some(class as u64), Some(["negative", "positive"][class]))
    );
    assert!((number(&one["score"]) - 1.0 / (1.0 + (-(logits[class] - logits[1 - class])).exp())).abs() < 1e-9);
    let dense = f.run(&["predict", "classifier", "--text", "The good film", "--json"]).json();
    assert_ne!(dense["logits"], one["logits"]);

    // What is pruned already stays pruned.
    f.run(&["prune", "p", "--by", "magnitude", "--sparsity", "0.7", "--out", "again"]).ok();
    let pair = f.run(&["mask", "iou", "p", "again", "--json"]).json();
    assert_eq!(number(&pair["iou"]), 1.0);
}

#[test]
fn predictions_of_a_file_are_those_of_its_lines() {
    let f = Fixture::new();
    f.write("texts", "\u{feff}the good film\r\n\na dull book\tthe play was bad .\n");
    let arguments = ["predict", "classifier", "--file", "texts", "--json"];
    let all = f.run(&arguments).json();
    let all = all.as_array().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!((&all[0]["text"], &all[0]["pair"]), (&"the good film".into(), &Value::Null));
    let alone =
        f.run(&["predict", "classifier", "--text", "a dull book", "--pair", "the play was bad .", "--json"]).json();
    assert_eq!(alone["pair"], all[1]["pair"]);
    for (a, b) in alone["logits"].as_array().unwrap().iter().zip(all[1]["logits"].as_array().unwrap()) {
        assert!((number(a) - number(b)).abs() < 1e-6);
    }
    let small = f.run(&[&arguments[..], &["--batch-size", "1"]].concat()).json();
    assert_eq!(small[1]["logits"], alone["logits"]);
    // Longer than the default, and than a small model holds: cut, as if that length had been asked for.
    f.model("short", 16, &json!({"max_position_embeddings": 24, "num_labels": 2}), Some(2));
    let long = "good ".repeat(200);
    for (model, most) in [("classifier", "128"), ("short", "24")] {
        let cut = f.run(&["predict", model, "--text", &long, "--json"]).json();
        let asked = f.run(&["predict", model, "--text", &long, "--max-length", most, "--json"]).json();
        assert_eq!(cut["logits"], asked["logits"], "{model}");
    }
    let text = f.run(&["predict", "classifier", "--file", "texts"]).ok();
    assert!(text.contains("a dull book | the play was bad ."), "{text}");
}

#[test]
fn random_masks_come_from_their_seed() {
    let f = Fixture::new();
    let prune = |out: &str, more: &[&str]| {
        f.run(&[&["prune", "model", "--by", "random", "--sparsity", "0.5", "--out", out], more].concat()).ok()
    };
    prune("a", &["--seed", "1"]);
    prune("b", &["--seed", "1"]);
    prune("c", &["--seed", "2"]);
    prune("d", &["--seed", "1", "--kind", "random_init_magnitude"]);
    assert_eq!(f.read("a/mask.safetensors"), f.read("b/mask.safetensors"));
    let matrix = f.run(&["mask", "iou", "a", "b", "c", "d", "--json"]).json();
    assert_eq!(matrix["masks"].as_array().unwrap().len(), 4);
    assert_eq!(number(&matrix["iou"][0][1]), 1.0);
    assert_eq!(matrix["iou"][0][2], matrix["iou"][2][0]);
    // Two uniform masks of half the entries share a third: k / (2 - k).
    for other in [2, 3] {
        assert!((number(&matrix["iou"][0][other]) - 1.0 / 3.0).abs() < 0.05, "{matrix}");
    }
    let diff = f.run(&["mask", "diff", "a", "c", "--json"]).json();
    assert_eq!(diff["only_a"], diff["only_b"]);
    let pair = f.run(&["mask", "iou", "a", "c", "--json"]).json();
    assert_eq!(pair["only_a"], diff["only_a"]);
    let (both, only) = (number(&pair["both"]), number(&pair["only_a"]));
    assert_eq!(number(&pair["iou"]), both / (both + 2.0 * only));
    assert_eq!(number(&pair["overlap"]), both / PRUNABLE as f64);
    for text in [f.run(&["mask", "iou", "a", "c"]).ok(), f.run(&["mask", "iou", "a", "b", "c"]).ok()] {
        assert!(text.contains("IOU") && text.contains("agreement"), "{text}");
    }
    assert!(f.run(&["mask", "diff", "a", "c"]).ok().contains("only in a"));
    // Saving again replaces what was saved.
    prune("c", &["--seed", "1"]);
    assert_eq!(f.read("a/mask.safetensors"), f.read("c/mask.safetensors"));
}

#[test]
fn one_shot_by_a_strategy_whose_first_mask_needs_nothing() {
    let f = Fixture::new();
    let by =
        |strategy: &str, out: &str| f.run(&["prune", "model", "--by", strategy, "--sparsity", "0.5", "--out", out]);
    by("magnitude", "magnitude").ok();
    for strategy in ["mpi", "parp"] {
        by(strategy, strategy).ok();
        let mask = format!("{strategy}/mask.safetensors");
        let answer = f.run(&["mask", "iou", "magnitude/mask.safetensors", &mask, "--json"]).json();
        assert_eq!(number(&answer["iou"]), 1.0, "{strategy}");
    }
    for strategy in ["imp", "omp", "parp-p"] {
        let refused = by(strategy, "none");
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let said = format!("strategy plugin `{strategy}` does not support pruning without training");
        assert!(refused.stderr.contains(&said), "{}", refused.stderr);
    }
}

#[test]
fn metrics_of_a_task() {
    let f = Fixture::new();
    let answer = f.run(&["eval", "classifier", "--task", "sst-2", "--data", "SST-2", "--json"]).json();
    let accuracy = number(&answer["metrics"]["accuracy"]);
    assert_eq!(answer["splits"][0]["split"], "validation");
    assert_eq!(answer["splits"][0]["examples"], 16);
    // The same as counted from predictions.
    let text = String::from_utf8(f.read("SST-2/dev.tsv")).unwrap();
    let rows: Vec<(&str, u64)> =
        text.lines().skip(1).map(|l| l.split_once('\t').map(|(t, y)| (t, y.parse().unwrap())).unwrap()).collect();
    f.write("texts", rows.iter().map(|(t, _)| format!("{t}\n")).collect::<String>());
    let predictions = f.run(&["predict", "classifier", "--file", "texts", "--json"]).json();
    let right = rows.iter().zip(predictions.as_array().unwrap()).filter(|((_, y), p)| p["class"] == *y).count();
    assert_eq!(accuracy, right as f64 / rows.len() as f64);
    // One file, a batch size that does not divide, options of the dataset.
    let file = ["eval", "classifier", "--task", "SST2", "--data", "SST-2/dev.tsv", "--batch-size", "3", "--json"];
    assert_eq!(number(&f.run(&file).json()["metrics"]["accuracy"]), accuracy);
    let limited = ["eval", "classifier", "--task", "sst-2", "--data", "SST-2", "--set", "limit_validation=5", "--json"];
    assert_eq!(f.run(&limited).json()["splits"][0]["examples"], 5);
    // What is not evaluated on need not be right.
    f.write("SST-2/train.tsv", "no header of any kind\n");
    let text = f.run(&["eval", "classifier", "--task", "sst-2", "--data", "SST-2"]).ok();
    assert!(text.contains("accuracy") && text.contains("16"), "{text}");
    // A dataset that is read from nowhere, by its own name.
    f.model("two", 16, &json!({"num_labels": 2}), Some(2));
    let generated = ["eval", "two", "--task", "agreement", "--set", "validation=20", "train=0", "--json"];
    let generated = f.run(&generated).json();
    assert_eq!(
        (generated["task"].as_str(), generated["splits"][0]["examples"].as_u64()),
        (Some("agreement"), Some(20))
    );
}

#[test]
fn plugins_are_listed_with_their_options() {
    let f = Fixture::new();
    let all = f.run(&["plugins", "--json"]).json();
    let names = |kind: &str| -> Vec<&str> {
        all[kind].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect()
    };
    assert_eq!(names("strategies"), ["dense", "imp", "mpi", "omp", "parp", "parp-p", "rp", "transfer"]);
    assert_eq!(
        (names("models"), names("datasets")),
        (vec!["bert", "wav2vec2", "xlsr"], vec!["agreement", "glue", "speech"])
    );
    assert_eq!(names("mask_schedules"), ["constant", "cubic", "linear", "list"]);
    let parp = &f.run(&["plugins", "parp", "--json"]).json()["strategies"][0];
    let option = |name: &str| parp["options"].as_array().unwrap().iter().find(|o| o["name"] == name).unwrap();
    assert_eq!((&option("every")["default"], &option("every")["type"]), (&Value::Null, &"integer".into()));
    let doc = option("every")["doc"].as_str().unwrap();
    assert!(doc.contains("When absent 0.4 % of the stage's updates") && doc.contains("appendix A.3"), "{doc}");
    assert_eq!(option("initial")["default"], "mpi");
    assert_eq!(option("mask_seed")["default"], Value::Null);
    for kind in ["strategies", "models", "datasets", "mask_schedules"] {
        for plugin in all[kind].as_array().unwrap() {
            assert!(!plugin["origin"].as_str().unwrap().is_empty() && !plugin["summary"].as_str().unwrap().is_empty());
            assert!(plugin["options"].as_array().unwrap().iter().all(|o| !o["doc"].as_str().unwrap().is_empty()));
        }
    }
    let text = f.run(&["plugins"]).ok();
    assert!(text.contains("every: integer\n") && text.contains("wnli"), "{text}");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let f = Fixture::new();
    let mut child = f.command(&["plugins"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""));
}

#[test]
fn logs_go_to_standard_error() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let answer = f.run(&["plan", "run.toml", "--json", "-v"]);
    assert!(answer.stderr.contains("opening the model"), "{answer:?}");
    answer.json();
    let mut loud = f.command(&["plugins", "--json"]);
    let answer = Answer::of(loud.env("RUST_LOG", "lopper=nonsense=").output().unwrap());
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("RUST_LOG"), "{answer:?}");
    assert!(f.run(&["--version"]).ok().starts_with("lopper "));
}
