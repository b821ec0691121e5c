//! Plans and runs.

use crate::fixture::{Answer, Fixture, PRUNABLE};
use serde_json::Value;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn plan(f: &Fixture, settings: &[&str]) -> Value {
    let sets = settings.iter().flat_map(|s| ["--set", *s]);
    f.run(&["plan", "run.toml", "--json"].into_iter().chain(sets).collect::<Vec<_>>()).json()
}

/// In one directory, whatever is there.
fn run(f: &Fixture, settings: &[&str]) -> Value {
    let sets = settings.iter().flat_map(|s| ["--set", *s]);
    f.run(&["run", "run.toml", "--json", "--replace"].into_iter().chain(sets).collect::<Vec<_>>()).json()
}

#[test]
fn finetunings_are_those_of_table_1() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.9");
    for (method, more, finetunings) in [
        ("rp", "prune.kind=uniform", 1),
        ("mpi", "seed=57", 1),
        ("omp", "seed=57", 2),
        ("imp", "seed=57", 10),
        ("imp", "prune.rounds=geometric", 23),
        ("parp", "seed=57", 1),
        ("parp-p", "seed=57", 1),
        ("parp-p", "prune.from=[0.6, 0.8]", 2),
    ] {
        let plan = plan(&f, &[&format!("prune.method={method}"), more]);
        assert_eq!(plan["finetunings"], finetunings, "{method} {more}: {plan}");
        let stages = plan["stages"].as_array().unwrap();
        assert_eq!(stages.len() as u64, finetunings);
        // 64 examples in batches of 8, one epoch.
        assert!(
            stages.iter().all(|s| s["updates"] == 8 && s["done"] == false && s["key"].as_str().unwrap().len() == 64)
        );
        assert_eq!(plan["updates"], 8 * finetunings);
    }
    let text = f.run(&["plan", "run.toml"]).ok();
    assert!(text.contains("1 finetuning (1 to train), 8 updates, 8 an epoch"), "{text}");
    assert!(!f.path("runs").exists(), "a plan writes nothing");
}

#[test]
fn rows_that_a_run_goes_without_stand_in_its_record() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    f.write("SST-2/train.tsv", [&f.read("SST-2/train.tsv")[..], b"good film\ngood\tfilm\t1\n"].concat());
    let text = f.run(&["run", "run.toml", "--set", "data.skip_malformed=true"]).ok();
    let line = text.lines().find(|line| line.contains("rows_left_out")).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(line.split_whitespace().collect::<Vec<_>>(), ["split", "train", "rows_left_out", "2"]);
    let record: Value = serde_json::from_slice(&f.read("runs/run/record.json")).unwrap();
    assert_eq!(record["counts"], serde_json::json!({"train": {"rows_left_out": 2}}));
}

/// Records are text: what they cannot hold is refused, by name and before anything is written, and nothing else is.
#[test]
fn a_path_that_is_no_text_is_named_where_it_matters() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let odd = OsStr::from_bytes(b"caf\xe9");
    let inside = f.path("").join(odd);
    std::fs::create_dir(&inside).unwrap();
    for name in ["run.toml", "model", "SST-2"] {
        std::os::unix::fs::symlink(f.path(name), inside.join(name)).unwrap();
    }
    let refused = |command: &mut Command, parts: &[&str]| {
        let answer = Answer::of(command.output().unwrap());
        assert_eq!(answer.code, Some(1), "{answer:?}");
        for part in ["caf\u{fffd}", "UTF-8"].iter().chain(parts) {
            assert!(answer.stderr.contains(part), "`{part}` is not in {answer:?}");
        }
    };
    // The working directory, the run's directory, and the name that it has by default.
    let parts = ["2 problems", "[run] out = runs/run is not accepted", "[run] store = runs/store is not accepted"];
    refused(f.command(&["run", "run.toml"]).current_dir(&inside), &parts);
    refused(f.command(&["run", "run.toml", "--out"]).arg(Path::new(odd).join("out")), &["--out"]);
    let renamed = OsStr::from_bytes(b"caf\xe9.toml");
    std::fs::copy(f.path("run.toml"), f.path("").join(renamed)).unwrap();
    refused(f.command(&["run"]).arg(renamed), &["--out = runs/"]);
    assert_eq!((std::fs::read_dir(&inside).unwrap().count(), f.path("runs").exists()), (3, false));
    // From outside all is well, whatever the configuration is called.
    Answer::of(f.command(&["run", "--out", "here"]).arg(renamed).output().unwrap()).ok();
    Answer::of(f.command(&["run"]).arg(Path::new(odd).join("run.toml")).output().unwrap()).ok();
    assert!(f.path("here/record.json").exists() && f.path("runs/run/record.json").exists());
}

/// What is told before is enough, and not far more.
#[test]
fn a_plan_says_what_the_run_needs_on_disk() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.5");
    let disk = plan(&f, &["run.out=here", "run.store=there"])["disk"].clone();
    let told = |name: &str| disk[name].as_u64().unwrap();
    assert_eq!((disk["out_dir"].as_str(), disk["store_dir"].as_str()), (Some("here"), Some("there")));
    assert!(told("out") <= told("together") && told("together") <= told("out") + told("store"), "{disk}");
    let text = f.run(&["plan", "run.toml", "--set", "run.out=here", "run.store=there"]).ok();
    assert!(text.contains("disk, at the most: 2 MB in there, ") && text.contains(" in here, "), "{text}");
    run(&f, &["run.out=here", "run.store=there"]);
    let bytes = |directory: &str| -> u64 {
        let listed =
            std::process::Command::new("du").args(["-sb", directory]).current_dir(f.path("")).output().unwrap();
        String::from_utf8(listed.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    };
    assert!(bytes("there") <= told("store") && bytes("here") <= told("out"), "{disk}");
    // Once both stages are there, only the model is written again.
    let after = plan(&f, &["run.out=here", "run.store=there"])["disk"].clone();
    assert_eq!(after["store"].as_u64(), Some(0), "{after}");
    assert!(after["out"].as_u64().unwrap() >= f.read("here/model/model.safetensors").len() as u64);
    let outlined = f.run(&["plan", "run.toml", "--outline", "--json", "--set", "train.updates=9"]).json();
    assert_eq!(outlined.get("disk"), None);
}

#[test]
fn a_resolved_configuration_has_the_same_plan() {
    let f = Fixture::new();
    let train = "\n[train]\nupdates = 3\nbudget = 100\noptimizer = 'sgd'\nschedule = 'tri-stage'\n";
    let head =
        "device = 'cpu'\n[model]\npath = 'model'\n[data]\nname = 'glue'\ntask = 'sst-2'\npath = 'SST-2'\n[prune]\n";
    for (prune, train) in [
        ("method = 'parp'\nsparsity = 0.5\ninitial = 'rp'", ""),
        ("method = 'imp'\nsparsity = 0.3\nrewind = 0.5", train),
        ("method = 'dense'\nsparsity = 0", "\n[train]\nschedule = 'constant'\noptimizer = 'adam'\n"),
    ] {
        f.write("run.toml", format!("{head}{prune}{train}"));
        let resolved = f.run(&["plan", "run.toml", "--resolved"]).ok();
        let table: toml::Table = resolved.parse().unwrap();
        assert_eq!(table["model"]["name"].as_str(), Some("bert"));
        assert_eq!(table["model"]["head"].as_str(), Some("fresh"));
        assert_eq!(table["run"]["out"].as_str(), Some("runs/run"));
        assert_eq!(table["seed"].as_integer(), Some(57));
        let json = f.run(&["plan", "run.toml", "--resolved", "--json"]).json();
        assert_eq!(json["data"]["max_length"], 128);
        f.write("resolved.toml", &resolved);
        assert_eq!(f.run(&["plan", "resolved.toml", "--resolved"]).ok(), resolved);
        assert_eq!(f.run(&["plan", "resolved.toml", "--json"]).json(), plan(&f, &[]));
    }
    // Settings are part of it.
    let set = ["plan", "run.toml", "--resolved", "--set", "train.updates=9", "prune.method=mpi", "--out", "o"];
    let table: toml::Table = f.run(&set).ok().parse().unwrap();
    assert_eq!((table["train"]["updates"].as_integer(), table["run"]["out"].as_str()), (Some(9), Some("o")));
    assert!(table["train"].get("epochs").is_none());
}

#[test]
fn a_run_writes_a_model_and_is_done_once() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let training = ["train.epochs=8", "train.learning_rate=1e-2"];
    let record = run(&f, &training);
    assert_eq!((&record["finetunings"], &record["trained"]), (&1.into(), &1.into()));
    assert_eq!(record["pruned"], PRUNABLE / 2);
    assert_eq!(record["metric"]["name"], "accuracy");
    assert_eq!(record["metric"]["value"], 1.0, "two words tell the label: {record}");
    assert_eq!(record["model_dir"], "runs/run/model");

    // The saved model gives the metric that the record holds, and its mask is the record's.
    let eval = f.run(&["eval", "runs/run/model", "--task", "sst-2", "--data", "SST-2", "--json"]).json();
    assert_eq!(eval["metrics"]["accuracy"], record["metric"]["value"]);
    let good = f.run(&["predict", "runs/run/model", "--text", "the good film is fine", "--json"]).json();
    assert_eq!(good["class"], 1);
    let info = f.run(&["mask", "info", "runs/run", "--json"]).json();
    assert_eq!((&info["pruned"], &info["origin"]["method"]), (&record["pruned"], &"mpi".into()));
    f.run(&["prune", "model", "--by", "magnitude", "--sparsity", "0.5", "--out", "oneshot"]).ok();
    assert_eq!(f.run(&["mask", "iou", "runs/run", "oneshot", "--json"]).json()["iou"], 1.0);

    // Again, and elsewhere: everything is in the store.
    let planned = plan(&f, &training);
    assert_eq!((&planned["stages"][0]["done"], &planned["to_train"]), (&true.into(), &0.into()));
    let again = [&["run", "run.toml", "--set"], &training[..]].concat();
    let elsewhere = [&again[..], &["--out", "other", "--json"]].concat();
    let text = f.run(&again).ok();
    assert!(text.contains("from the store") && text.contains("accuracy"), "{text}");
    let again = f.run(&elsewhere).json();
    assert_eq!((&again["trained"], &again["metric"]), (&0.into(), &record["metric"]));
    assert_eq!(f.read("other/model/model.safetensors"), f.read("runs/run/model/model.safetensors"));

    // What was said of every example stands beside the record, and comes from the store like the rest.
    let predictions = String::from_utf8(f.read("runs/run/predictions-validation.csv")).unwrap();
    let mut lines = predictions.lines();
    assert_eq!(lines.next(), Some("example,predicted_class,true_class"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    assert!(!rows.is_empty() && rows.iter().all(|row| row[1] == row[2]), "the accuracy is 1: {predictions}");
    assert_eq!(record["predictions"]["validation"], "runs/run/predictions-validation.csv");
    assert_eq!(f.read("other/predictions-validation.csv"), predictions.as_bytes());
}

#[test]
fn methods_share_their_dense_finetuning() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.3");
    let first = plan(&f, &[]);
    let dense = &first["stages"][0]["key"];
    for settings in [&["prune.sparsity=0.6"][..], &["prune.method=imp"], &["prune.method=dense", "prune.sparsity=0"]] {
        assert_eq!(&plan(&f, settings)["stages"][0]["key"], dense, "{settings:?}");
    }
    assert_ne!(&plan(&f, &["seed=58"])["stages"][0]["key"], dense);
    assert_ne!(&plan(&f, &["train.learning_rate=1e-4"])["stages"][0]["key"], dense);
    assert_eq!(run(&f, &[])["trained"], 2);
    let imp = plan(&f, &["prune.method=imp"]);
    let done: Vec<_> = imp["stages"].as_array().unwrap().iter().map(|s| s["done"] == true).collect();
    assert_eq!(done, [true, false, false, false]);
    let second = run(&f, &["prune.sparsity=0.6"]);
    assert_eq!((&second["finetunings"], &second["trained"]), (&2.into(), &1.into()));
    assert_eq!(second["stages"][0]["trained"], false);
}

#[test]
fn an_interval_that_throws_much_away_is_told_once() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp-p'\nsparsity = 0.5\nfrom = [0.2, 0.3]");
    let told = |arguments: &[&str], settings: &[&str]| {
        let answer = f.run(&[arguments, &["run.toml", "--set"], settings].concat());
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.stderr.lines().filter(|line| line.contains("re-prunes every")).map(str::to_owned).collect::<Vec<_>>()
    };
    let long = ["train.updates=24", "prune.every=5"];
    for command in [&["plan"][..], &["plan", "--outline"], &["run", "--replace"]] {
        let lines = told(command, &long);
        let whole = "`parp-p from 0.2 to 0.3` and another one re-prunes every 5 of its 24 updates (21 %)";
        assert!(lines.len() == 1 && lines[0].contains(whole) && lines[0].contains("every = 1"), "{lines:?}");
        assert_eq!(told(command, &["train.updates=24"]), [""; 0]);
    }
    // What is not given is the same stage as when it is.
    let once = plan(&f, &["train.updates=24", "prune.every=1"]);
    assert_eq!((&once["to_train"], &once["stages"]), (&0.into(), &plan(&f, &["train.updates=24"])["stages"]));
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 5");
    let whole =
        f.run(&["run", "run.toml", "--set", "train.updates=300", "run.store=s1", "--out", "whole", "--json"]).json();

    let arguments = ["run", "run.toml", "--set", "train.updates=300", "run.store=s2", "--out", "parts", "--json"];
    let metrics = f.path("parts/metrics.jsonl");
    let mut interrupted = 0;
    let record = loop {
        let lines = || std::fs::read(&metrics).map_or(0, |text| text.iter().filter(|byte| **byte == b'\n').count());
        let before = lines();
        let mut child = f.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        while interrupted < 2 && child.try_wait().unwrap().is_none() && lines() < before.max(interrupted * 20) + 20 {
            std::thread::sleep(Duration::from_millis(2));
        }
        if interrupted < 2 && child.try_wait().unwrap().is_none() {
            let signal = ["-INT", "-TERM"][interrupted];
            assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
        }
        let answer = Answer::of(child.wait_with_output().unwrap());
        if answer.code == Some(0) {
            break answer.json();
        }
        assert_eq!(answer.code, Some(130), "{answer:?}");
        assert!(answer.stderr.contains("interrupted"), "{answer:?}");
        let status = f.run(&["status", "parts", "--json"]).json();
        assert_eq!(status["state"], "interrupted", "{status}");
        assert!(status["stages"][0]["done"].as_u64().unwrap() >= 10 * (interrupted as u64 + 1), "{status}");
        interrupted += 1;
    };
    assert!(interrupted > 0, "the run was over before it could be interrupted");
    assert_eq!(record["metrics"], whole["metrics"]);
    for file in ["model/model.safetensors", "model/mask.safetensors", "metrics.jsonl", "predictions-validation.csv"] {
        assert!(f.read(&format!("parts/{file}")) == f.read(&format!("whole/{file}")), "{file} differs");
    }
}

#[test]
fn progress_of_another_configuration_is_not_thrown_away() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 5");
    let settings = ["train.updates=100000", "checkpoint.every=3"];
    let with = |more: &'static str| [&["run", "run.toml", "--set"], &settings[..], &[more]].concat();
    let mut child = f.command(&with("seed=57")).stderr(Stdio::piped()).spawn().unwrap();
    while !f.path("runs/run/checkpoints/latest").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let latest = f.read("runs/run/checkpoints/latest");
    let references = || std::fs::read_dir(f.path("runs/store/references")).unwrap().map(|e| e.unwrap().path());
    let before: Vec<_> = references().map(|path| std::fs::read(path).unwrap()).collect();
    let refused = f.run(&with("prune.sparsity=0.4"));
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in [
        "error: runs/run: holds ",
        " of 100000 updates of stage `",
        &format!("written by Lopper {}", env!("CARGO_PKG_VERSION")),
        "of another configuration",
        "Give another --out, or remove runs/run/checkpoints to start over",
    ] {
        assert!(refused.stderr.contains(part), "{part} is not in {}", refused.stderr);
    }
    assert_eq!(f.read("runs/run/checkpoints/latest"), latest);
    let after: Vec<_> = references().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(before, after, "what the other run needs is still known");
}

#[test]
fn a_finished_run_is_replaced_only_when_asked() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.1");
    let go = |more: &[&str]| f.run(&[&["run", "run.toml", "--out", "done", "--set", "train.updates=6"], more].concat());
    let first = go(&[]);
    assert!(first.code == Some(0) && !first.stderr.contains("done:"), "{first:?}");
    f.write("done/model/notes", "mine");
    let all = ["record.json", "status.json", "config.toml", "metrics.jsonl", "model/mask.safetensors", "run-id"];
    let read = || all.map(|file| f.read(&format!("done/{file}")));
    let before = read();
    let holds = "error: done: holds the finished run of another configuration, omp on sst-2 at sparsity 0.1000";
    for (differs, told) in [
        ("prune.sparsity=0.4", "; give another --out, or --replace to have this run in its place"),
        ("seed=2", ", with seed 57 instead of 2;"),
        ("precision=bf16", ", with precision float32 instead of bf16;"),
        ("train.updates=7", ";"),
        // The same stages under another name are another row of a table.
        ("prune.method=imp", ";"),
    ] {
        let refused = go(&[differs]);
        assert_eq!(refused.code, Some(1), "{differs}: {refused:?}");
        assert!(refused.stderr.contains(&format!("{holds}{told}")), "{differs}: {refused:?}");
    }
    assert!(read() == before, "a refused run changes something");
    for changes_no_stage in [
        &["evaluate.every=3", "evaluate.batch_size=3", "checkpoint.every=2", "checkpoint.keep=2", "store.keep=all"][..],
        &["run.save_dtype=float16", "train.max_skipped=3", "store.lease=9", "run.store=elsewhere"],
        &["run.save_model=false"],
        &[],
    ] {
        let again = go(changes_no_stage);
        assert!(again.code == Some(0) && !again.stderr.contains("done:"), "{changes_no_stage:?}: {again:?}");
    }
    // A damaged record is no reason to refuse the run that it is of.
    f.write("done/record.json", "{}");
    let refused = go(&["prune.sparsity=0.4"]);
    assert!(
        refused.stderr.contains("of a configuration that cannot be told, as its record is no run record"),
        "{refused:?}"
    );
    go(&[]).ok();
    // Asked to: nothing of the first run stays but what somebody else put beside its model.
    let replaced = go(&["prune.sparsity=0.4", "run.save_model=false", "--replace"]);
    assert!(
        replaced.code == Some(0) && replaced.stderr.contains("done: replaces the finished run of another"),
        "{replaced:?}"
    );
    let left: Vec<_> = std::fs::read_dir(f.path("done/model")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["notes"]);
    let mask = f.run(&["mask", "info", "done", "--json"]).json();
    assert_eq!(mask["pruned"], (PRUNABLE as f64 * 0.4).round() as u64);
    assert!(!go(&["prune.sparsity=0.4", "--replace"]).stderr.contains("replaces"));
}

#[test]
fn a_run_tells_how_it_stands_and_keeps_its_configuration() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.5");
    let nothing = f.run(&["status", "SST-2"]);
    assert!(nothing.code == Some(1) && nothing.stderr.contains("SST-2: holds no run"), "{nothing:?}");
    let record = run(&f, &[]);
    let status = f.run(&["status", "runs/run", "--json"]).json();
    assert_eq!((&status["state"], &status["seconds_left"]), (&"done".into(), &0.0.into()));
    assert_eq!((&status["metric"], &status["sparsity"]), (&record["metric"], &record["sparsity"]));
    let metric = format!("accuracy {:.4}", record["metric"]["value"].as_f64().unwrap());
    let told = f.run(&["status", "runs/run"]).ok();
    assert!(told.starts_with(&format!("omp on sst-2 in runs/run: done, {metric} at sparsity 0.500000\n")), "{told}");
    assert_eq!(status["stages"][1]["done"], status["stages"][1]["updates"]);
    let kept = f.run(&["plan", "runs/run/config.toml", "--json"]).json();
    assert_eq!(kept["stages"], plan(&f, &[])["stages"]);

    // One that fails on the way says why, and all runs are listed together.
    let settings = ["train.learning_rate=1e30", "train.max_skipped=0", "train.clip_norm=0", "prune.method=mpi"];
    let sets = [&["run", "run.toml", "--out", "runs/bad", "--set"], &settings[..]].concat();
    let failed = f.run(&sets);
    assert!(failed.code == Some(1) && failed.stderr.contains("learning_rate"), "{failed:?}");
    let status = f.run(&["status", "runs/bad", "--json"]).json();
    assert_eq!(status["state"], "failed");
    assert!(status["error"].as_str().unwrap().contains("learning_rate"), "{status}");
    assert!(status.get("metric").is_none() && status.get("sparsity").is_none(), "{status}");
    let list = f.run(&["status"]).ok();
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[0].contains("metric") && lines[2].contains(&format!("{metric}  ")), "{list}");
    assert!(lines[2].contains("0.500000") && !lines[1].contains("accuracy"), "{list}");
    assert!(lines[1].starts_with("runs/bad") && lines[1].contains("failed: "), "{list}");
    assert!(lines[2].starts_with("runs/run") && lines[2].contains("2/2") && lines[2].ends_with("done"), "{list}");
}

#[test]
fn stages_that_no_run_needs_are_freed_when_asked() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    run(&f, &[]);
    let again = run(&f, &["prune.sparsity=0.25"]);
    let key = again["stages"][0]["key"].as_str().unwrap().to_owned();
    // The first run's directory now holds the second run, so the first one's stage is free.
    let listed = f.run(&["gc", "--json"]).json();
    let stages = listed["stages"].as_array().unwrap();
    assert_eq!((stages.len(), &listed["removed"]), (1, &false.into()));
    let free = stages[0]["key"].as_str().unwrap();
    assert!(free != key && f.path("runs/store/stages").join(free).is_dir());
    let unasked = f.run(&["gc"]).ok();
    assert!(unasked.contains(&free[..12]) && unasked.contains("nothing was removed"), "{unasked}");
    assert!(f.path("runs/store/stages").join(free).is_dir());
    assert!(f.run(&["gc", "--yes"]).ok().contains("1 stage removed"));
    assert!(!f.path("runs/store/stages").join(free).exists() && f.path("runs/store/stages").join(key).is_dir());
    assert!(f.run(&["gc"]).ok().contains("every stage in runs/store belongs to a run"));
    let nowhere = f.run(&["gc", "nowhere"]);
    assert!(nowhere.code == Some(1) && nowhere.stderr.contains("nowhere: is no directory"), "{nowhere:?}");
}

#[test]
fn every_example_is_a_configuration() {
    let f = Fixture::new();
    let mut found = 0;
    let mut directories = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")];
    while let Some(directory) = directories.pop() {
        for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "toml") {
                found += 1;
                if std::fs::read_to_string(&path).unwrap().contains("\n[sweep]") {
                    let plan = ["plan", path.to_str().unwrap(), "--set", "sweep.seeds=[1]"];
                    assert!(f.run(&plan).ok().contains(" cells: "), "{}", path.display());
                    continue;
                }
                // Their models and data are not here; how long an epoch is then does not matter.
                let updates = "train.updates=9".parse().unwrap();
                let outline = lopper::Experiment::outline(&path, &[updates]).unwrap_or_else(|e| panic!("{e}"));
                assert!(outline.stages.iter().all(|stage| stage.updates == 9), "{}", path.display());
            }
        }
    }
    assert!(found >= 3);
}
