//! What a run leaves on disk, and what it does not keep.

use crate::fixture::Fixture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const IMP: &str = "method = 'imp'\nsparsity = 0.6\nstep = 0.2";

fn run(f: &Fixture, settings: &[&str]) -> Value {
    let arguments: Vec<&str> = ["run", "run.toml", "--json", "--set"].iter().chain(settings).copied().collect();
    f.run(&arguments).json()
}

/// Files called `name` below a directory, with their sizes.
fn found(directory: &Path, name: &str) -> Vec<(PathBuf, u64)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            all.extend(found(&path, name));
        } else if path.file_name().is_some_and(|found| found == name) {
            // What goes while it is listed is not there.
            all.extend(entry.metadata().ok().map(|found| (path, found.len())));
        }
    }
    all
}

#[test]
fn a_run_that_saves_no_model_leaves_its_mask_and_metrics() {
    let f = Fixture::new();
    f.config("run.toml", IMP);
    let saved = run(&f, &["run.out=saved", "run.store=kept"]);
    let lean = run(&f, &["run.out=lean", "run.store=lean-store", "run.save_model=false"]);
    assert!(saved["model_dir"] == "saved/model" && lean.get("model_dir").is_none());
    assert_eq!(lean["mask"], "lean/mask.safetensors");
    assert_eq!(lean["metrics"], saved["metrics"]);
    assert_eq!(f.read("lean/mask.safetensors"), f.read("saved/model/mask.safetensors"));
    assert_eq!(f.read("lean/metrics.jsonl"), f.read("saved/metrics.jsonl"));
    assert!(!f.path("lean/model").exists());
    // The dense finetuning serves others; of the rounds nothing but masks and metrics is left.
    let weights = |store: &str| found(&f.path(store).join("weights"), "weights.safetensors").len();
    assert_eq!((weights("kept"), weights("lean-store")), (2, 1));

    // It is done, and knows it.
    let again = ["run.out=lean", "run.store=lean-store", "run.save_model=false"];
    assert_eq!(run(&f, &again)["trained"], 0);
    // Whoever wants the model after all trains the last round once more, and the rounds before it for their weights.
    let model = run(&f, &["run.out=lean", "run.store=lean-store"]);
    assert_eq!(model["metrics"], saved["metrics"]);
    assert_eq!(f.read("lean/model/model.safetensors"), f.read("saved/model/model.safetensors"));
    assert!(!f.path("lean/mask.safetensors").exists(), "the mask lies beside the model");
    // All of them stay where that is asked for.
    run(&f, &["run.out=all", "run.store=all-store", "run.save_model=false", "store.keep=all"]);
    assert_eq!(weights("all-store"), 4);
}

/// The rewind of IMP starts from theta_0, which the run reads again instead of keeping it.
#[test]
fn weights_that_change_while_a_run_goes_on_are_noticed() {
    let f = Fixture::new();
    f.config("run.toml", IMP);
    let straight = run(&f, &["run.out=straight", "run.store=one"]);
    assert_eq!(straight["trained"], 4);
    let mut child = f.command(&["run", "run.toml", "--set", "run.out=changed", "run.store=two", "train.updates=400"]);
    let mut child = child.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let started = f.path("changed/metrics.jsonl");
    while !std::fs::read_to_string(&started).is_ok_and(|lines| lines.contains("\"loss\"")) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was looked at");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    let path = f.path("model/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the pre-trained weights were changed while the run was using them"), "{told}");
    // With the old ones back it goes on from what is stored.
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let done = run(&f, &["run.out=changed", "run.store=two", "train.updates=400"]);
    assert_eq!(done["trained"], 3, "the dense finetuning was in the store");
}

#[test]
fn checkpoints_of_a_round_shrink_with_its_mask_and_as_many_are_kept_as_are_asked_for() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'imp'\nsparsity = 0.9\nstep = 0.9");
    for keep in [1, 2] {
        let (out, store, kept) =
            (format!("run.out=run{keep}"), format!("run.store=store{keep}"), format!("checkpoint.keep={keep}"));
        // By stage, whose key the name of a checkpoint begins with.
        let mut largest = BTreeMap::new();
        let mut most = 0;
        let mut command =
            f.command(&["run", "run.toml", "--set", &out, &store, &kept, "checkpoint.every=1", "train.updates=60"]);
        let mut child = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        while child.try_wait().unwrap().is_none() {
            let checkpoints = f.path(&format!("run{keep}/checkpoints"));
            let whole = std::fs::read_dir(&checkpoints).into_iter().flatten().flatten();
            let whole = whole.filter(|entry| {
                let name = entry.file_name().into_string().unwrap();
                !name.starts_with('.') && name != "latest"
            });
            most = most.max(whole.count());
            for (path, bytes) in found(&checkpoints, "optimizer.safetensors") {
                let name = path.strip_prefix(&checkpoints).unwrap().to_str().unwrap();
                if let Some((stage, _)) = name.split_once('-').filter(|_| !name.starts_with('.')) {
                    let largest = largest.entry(stage.to_owned()).or_insert(bytes);
                    *largest = bytes.max(*largest);
                }
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(child.wait().unwrap().success());
        // One more while the oldest goes.
        assert!((keep..=keep + 1).contains(&most), "{most} with keep = {keep}");
        let (dense, round) = (largest.values().max().unwrap(), largest.values().min().unwrap());
        assert!(largest.len() == 2 && *round < dense * 8 / 10, "{largest:?}");
    }
    let refused = f.run(&["run", "run.toml", "--set", "checkpoint.keep=0"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("[checkpoint] keep"), "{refused:?}");
}
