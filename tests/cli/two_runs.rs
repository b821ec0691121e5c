//! One store shared by several runs: whatever they do to it, each ends as if it had been alone.
//!
//! `cargo xtask crash-campaign` runs the races at full size, by the variable read here; without it they are short.

use crate::crash::{Dice, METHODS, number};
use crate::fixture::{Answer, Fixture};
use serde_json::Value;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A run of `run.toml` with `settings` in the directory `out`, on the store `store`.
fn arguments<'a>(out: &'a str, store: &'a str, settings: &[&'a str]) -> Vec<String> {
    let mut all: Vec<String> = ["run", "run.toml", "--json", "--out", out, "--set"].map(str::to_owned).into();
    all.push(format!("run.store={store}"));
    all.extend(settings.iter().map(|setting| (*setting).to_owned()));
    all
}

fn spawn(f: &Fixture, arguments: &[String]) -> Child {
    let mut command = f.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn ended(child: Child) -> Answer {
    Answer::of(child.wait_with_output().unwrap())
}

fn run(f: &Fixture, out: &str, store: &str, settings: &[&str]) -> Value {
    ended(spawn(f, &arguments(out, store, settings))).json()
}

/// Everything that a run leaves and that must not depend on anybody else.
fn outcome(f: &Fixture, out: &str) -> Vec<(&'static str, Vec<u8>)> {
    let files = ["model/model.safetensors", "model/mask.safetensors", "metrics.jsonl"];
    files.map(|file| (file, f.read(&format!("{out}/{file}")))).into()
}

fn assert_same(f: &Fixture, one: &str, other: &str, what: &str) {
    for ((file, a), (_, b)) in outcome(f, one).iter().zip(outcome(f, other)) {
        assert!(*a == b, "{what}: {file} of {one} and {other} differ");
    }
}

fn lines(f: &Fixture, out: &str) -> Vec<Value> {
    let text = String::from_utf8(f.read(&format!("{out}/metrics.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn validations(f: &Fixture, out: &str) -> Vec<u64> {
    let lines = lines(f, out);
    let validations = lines.iter().filter(|line| line["event"] == "validation");
    validations.map(|line| line["update"].as_u64().unwrap()).collect()
}

#[test]
fn rewind_points_of_two_runs_stand_beside_each_other() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'imp'\nsparsity = 0.4\nstep = 0.2");
    let rewinds = [["prune.rewind=0.5"], ["prune.rewind=0.25"]];
    for (number, settings) in rewinds.iter().enumerate() {
        run(&f, &format!("alone{number}"), &format!("store{number}"), settings);
    }
    assert_eq!(run(&f, "a", "both", &rewinds[0])["trained"], 3);
    // The dense finetuning is there; only the way to its other rewind point is gone again.
    assert_eq!(run(&f, "b", "both", &rewinds[1])["trained"], 2);
    for (out, settings) in [("a", rewinds[0]), ("b", rewinds[1]), ("a", rewinds[0])] {
        assert_eq!(run(&f, out, "both", &settings)["trained"], 0, "{out}");
    }
    // At once, on a store of nothing.
    let racing: Vec<Child> =
        ["c", "d"].iter().zip(&rewinds).map(|(out, settings)| spawn(&f, &arguments(out, "races", settings))).collect();
    racing.into_iter().for_each(|child| drop(ended(child).ok()));
    for (out, alone) in [("a", "alone0"), ("b", "alone1"), ("c", "alone0"), ("d", "alone1")] {
        assert_same(&f, out, alone, "rewinding");
    }
}

#[test]
fn a_stage_that_two_runs_need_is_trained_once() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.3");
    let sparsities = [["prune.sparsity=0.3"], ["prune.sparsity=0.6"]];
    let racing: Vec<Child> = ["a", "b"]
        .iter()
        .zip(&sparsities)
        .map(|(out, settings)| spawn(&f, &arguments(out, "store", &[settings[0], "train.updates=60"])))
        .collect();
    let records: Vec<Value> = racing.into_iter().map(|child| ended(child).json()).collect();
    let trained: u64 = records.iter().map(|record| record["trained"].as_u64().unwrap()).sum();
    assert_eq!(trained, 3, "one dense finetuning and a pruned one each: {records:?}");
    for (out, settings) in ["a", "b"].iter().zip(&sparsities) {
        let alone = format!("alone-{out}");
        run(&f, &alone, &format!("store-{out}"), &[settings[0], "train.updates=60"]);
        assert_same(&f, out, &alone, "one dense finetuning for both");
    }
}

/// What a stage starts from counts, not how it was come by.
#[test]
fn equal_starts_are_one_stage() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'imp'\nsparsity = 0.2\nstep = 0.1");
    let imp = run(&f, "imp", "store", &[]);
    let last = imp["stages"][2]["key"].clone();
    // The mask of IMP on its own task: the last round once more.
    f.config("run.toml", "method = 'transfer'\nmask = 'imp/model/mask.safetensors'\nsparsity = 0.2");
    let planned = f.run(&["plan", "run.toml", "--json", "--set", "run.store=store"]).json();
    assert_eq!((&planned["to_train"], &planned["stages"][0]["done"]), (&0.into(), &true.into()), "{planned}");
    let transferred = run(&f, "transferred", "store", &[]);
    assert_eq!((&transferred["trained"], &transferred["stages"][0]["key"]), (&0.into(), &last));
    assert_eq!(f.read("transferred/model/model.safetensors"), f.read("imp/model/model.safetensors"));
    // It is told under the run's own name.
    let stages: Vec<_> =
        lines(&f, "transferred").iter().map(|l| l.get("stage").or(l.get("name")).unwrap().clone()).collect();
    assert!(stages.iter().all(|stage| stage == "transfer at 0.2"), "{stages:?}");
    // One shot to 10 % is the first round.
    f.config("run.toml", "method = 'omp'\nsparsity = 0.1");
    assert_eq!(run(&f, "omp", "store", &[])["trained"], 0);
}

#[test]
fn a_stage_is_judged_as_each_run_asks() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let settings = ["train.updates=20"];
    assert_eq!(run(&f, "a", "store", &settings)["trained"], 1);
    assert_eq!(validations(&f, "a"), [20]);
    // Every five updates: the way is gone once more to look at it, and the stage stays what it is.
    let every = ["train.updates=20", "evaluate.every=5"];
    let before = stage_files(&f, "store");
    let judged = run(&f, "b", "store", &every);
    assert_eq!((&judged["trained"], validations(&f, "b")), (&0.into(), vec![5, 10, 15, 20]));
    assert_eq!(before, stage_files(&f, "store"), "nothing of the stage was replaced");
    run(&f, "alone", "elsewhere", &every);
    assert_same(&f, "b", "alone", "judged later");
    // In other batches: judged anew, because for some models that matters, and nothing is trained.
    let evaluations = || std::fs::read_dir(f.path("store/evaluations")).unwrap().count();
    let known = evaluations();
    assert_eq!(run(&f, "c", "store", &["train.updates=20", "evaluate.batch_size=1"])["trained"], 0);
    assert_eq!(evaluations(), known + 1);
    assert_eq!(run(&f, "c", "store", &["train.updates=20", "evaluate.batch_size=1"])["trained"], 0);
    assert_eq!(evaluations(), known + 1);
}

/// Every file of the store's stages, with what it holds.
fn stage_files(f: &Fixture, store: &str) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for stage in std::fs::read_dir(f.path(store).join("stages")).unwrap().map(|entry| entry.unwrap().path()) {
        for file in std::fs::read_dir(stage).unwrap().map(|entry| entry.unwrap().path()) {
            files.push((file.display().to_string(), std::fs::read(&file).unwrap()));
        }
    }
    files.sort();
    files
}

#[test]
fn runs_whose_directories_are_not_to_be_seen_keep_their_stages() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    run(&f, "here", "runs/store", &[]);
    std::fs::rename(f.path("here"), f.path("there")).unwrap();
    let gc = f.run(&["gc", "--json"]).json();
    assert_eq!(gc["stages"].as_array().unwrap().len(), 0, "{gc}");
    assert!(gc["unseen"][0]["run"].as_str().unwrap().ends_with("/here"), "{gc}");
    let text = f.run(&["gc"]).ok();
    assert!(text.contains("/here") && text.contains("lopper rm"), "{text}");
    // Where it was moved to, it is the same run.
    assert_eq!(run(&f, "there", "runs/store", &[])["trained"], 0);
    assert_eq!(f.run(&["gc", "--json"]).json()["unseen"].as_array().unwrap().len(), 0);
    // A copy is another one: removing the first leaves the other what it needs.
    assert!(
        std::process::Command::new("cp")
            .args(["-r", "there", "copy"])
            .current_dir(f.path(""))
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(run(&f, "copy", "runs/store", &[])["trained"], 0);
    let asked = f.run(&["rm", "there"]).ok();
    assert!(asked.contains("there") && asked.contains("nothing was removed"), "{asked}");
    f.run(&["rm", "there", "--yes"]).ok();
    assert!(!f.path("there").exists());
    assert_eq!(f.run(&["gc", "--json"]).json()["stages"].as_array().unwrap().len(), 0);
    // One that is gone by hand is dropped by the path that it had.
    std::fs::remove_dir_all(f.path("copy")).unwrap();
    f.run(&["rm", "copy", "--yes"]).ok();
    assert_eq!(f.run(&["gc", "--yes", "--json"]).json()["stages"].as_array().unwrap().len(), 1);
    let again = f.run(&["rm", "copy", "--yes"]);
    assert!(again.code == Some(1) && again.stderr.contains("knows of no run that was there"), "{again:?}");
}

#[test]
fn a_run_that_goes_on_is_not_removed() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let mut child = spawn(&f, &arguments("busy", "runs/store", &["train.updates=1000000"]));
    while !f.path("busy/status.json").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = f.run(&["rm", "busy", "--yes"]);
    assert!(refused.code == Some(1) && refused.stderr.contains("another process is running"), "{refused:?}");
    assert_eq!(f.run(&["gc", "--yes", "--json"]).json()["stages"].as_array().unwrap().len(), 0);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// What a round of IMP ended with goes with its last reader, unless all is to be kept.
#[test]
fn weights_go_with_their_last_reader() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'imp'\nsparsity = 0.6\nstep = 0.2");
    let weights = |store: &str| std::fs::read_dir(f.path(store).join("weights")).unwrap().count();
    run(&f, "needed", "s1", &[]);
    // Those of the dense finetuning, and of the last round.
    assert_eq!(weights("s1"), 2);
    run(&f, "all", "s2", &["store.keep=all"]);
    assert_eq!(weights("s2"), 4);
    assert_same(&f, "needed", "all", "what is kept");
    // The rounds still serve a higher target: their masks and records are there, and what the next one ranks.
    assert_eq!(run(&f, "higher", "s1", &["prune.sparsity=0.8"])["trained"], 1);
}

/// A holder of a stage that is stopped for longer than its lease is taken over, and changes nothing when it wakes up.
#[test]
fn a_stopped_process_is_taken_over_and_writes_nothing_wrong() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 5");
    let settings = ["train.updates=150", "store.lease=1"];
    run(&f, "alone", "elsewhere", &settings);
    let mut sleeper = spawn(&f, &arguments("sleeper", "store", &settings));
    let begun = || std::fs::read(f.path("sleeper/metrics.jsonl")).is_ok_and(|lines| lines.len() > 3000);
    while !begun() && sleeper.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    let signal = |name: &str, child: &Child| {
        assert!(std::process::Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP", &sleeper);
    let started = Instant::now();
    let taker = ended(spawn(&f, &arguments("taker", "store", &settings)));
    assert!(taker.stderr.contains("waiting for process") && taker.stderr.contains("it is taken over"), "{taker:?}");
    assert_eq!(taker.json()["trained"], 1);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let before = stage_files(&f, "store");
    signal("-CONT", &sleeper);
    ended(sleeper).ok();
    assert_eq!(before, stage_files(&f, "store"), "the first whole stage stands");
    for out in ["taker", "sleeper"] {
        assert_same(&f, out, "alone", "taken over");
    }
}

/// A process that died is no obstacle, however long its lease is.
#[test]
fn a_dead_process_is_taken_over_at_once() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let mut dead = spawn(&f, &arguments("dead", "store", &["train.updates=100000", "store.lease=3600"]));
    let claims = || std::fs::read_dir(f.path("store/claims")).map_or(0, |entries| entries.flatten().count());
    while claims() < 2 && dead.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    dead.kill().unwrap();
    dead.wait().unwrap();
    let other = ended(spawn(&f, &arguments("other", "store", &["train.updates=20", "store.lease=3600"])));
    assert_eq!(other.json()["trained"], 1);
}

/// Two processes on one store, methods and moments drawn; some are killed and started again.
#[test]
fn races_on_one_store_end_like_runs_alone() {
    let mut dice = Dice(23);
    let f = Fixture::new();
    let common = ["train.updates=12", "evaluate.every=5", "checkpoint.every=4", "store.lease=5"];
    for (method, prune) in METHODS {
        f.config(&format!("{method}.toml"), prune);
        let (config, out) = (format!("{method}.toml"), format!("alone/{method}"));
        let store = format!("run.store=alone/store-{method}");
        let alone = [&["run", &config, "--out", &out, "--set"][..], &common].concat();
        f.run(&[&alone[..], &[&store]].concat()).ok();
    }
    for race in 0..number("LOPPER_RACES", 4) {
        let store = "run.store=race/store";
        let pair: Vec<&str> = (0..2).map(|_| METHODS[dice.below(6) as usize].0).collect();
        let spawn = |place: usize| {
            let out = format!("race/{place}");
            let config = format!("{}.toml", pair[place]);
            let run = [&["run", &config, "--out", &out, "--set"][..], &common, &[store]].concat();
            f.command(&run).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let mut children = [spawn(0), spawn(1)];
        // One of four is killed on the way.
        if dice.below(4) == 0 {
            std::thread::sleep(Duration::from_millis(200 + dice.below(600)));
            let victim = dice.below(2) as usize;
            children[victim].kill().unwrap();
            children[victim].wait().unwrap();
            children[victim] = spawn(victim);
        }
        let what = format!("race {race} of {pair:?}");
        for (place, child) in children.into_iter().enumerate() {
            let answer = ended(child);
            assert_eq!(answer.code, Some(0), "{what}: {answer:?}");
            assert_same(&f, &format!("race/{place}"), &format!("alone/{}", pair[place]), &what);
        }
        std::fs::remove_dir_all(f.path("race")).unwrap();
    }
}
