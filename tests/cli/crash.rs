//! Killed, full, read-only: whatever comes in a run's way, the same command ends as if nothing had.
//!
//! `cargo xtask crash-campaign` runs these tests at full size, by the variables read here; without them they are short.

use crate::fixture::{Answer, Fixture};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The six methods, each with a mask that changes or stages that follow one another where the method has them.
pub(crate) const METHODS: [(&str, &str); 6] = [
    ("rp", "method = 'rp'\nsparsity = 0.5"),
    ("mpi", "method = 'mpi'\nsparsity = 0.5"),
    ("omp", "method = 'omp'\nsparsity = 0.5"),
    ("imp", "method = 'imp'\nsparsity = 0.5\nstep = 0.25\nrewind = 0.3"),
    ("parp", "method = 'parp'\nsparsity = 0.5\nevery = 5"),
    ("parp-p", "method = 'parp-p'\nsparsity = 0.5\nfrom = [0.2, 0.35]\nevery = 5"),
];

/// Each method with kill -9, for every one of these calls once.
const FAULTS: [&str; 4] = ["kill", "eio", "full", "rofs"];

pub(crate) fn number(variable: &str, short: usize) -> usize {
    std::env::var(variable).map_or(short, |text| text.parse().unwrap())
}

/// Well spread numbers, the same every time; the moments they lead to are not.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
    }
}

/// A run of a method, with a directory and a store of its own under `name`.
struct Run<'a> {
    fixture: &'a Fixture,
    name: String,
    settings: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(fixture: &'a Fixture, name: &str, settings: &[&str]) -> Self {
        Self {
            fixture,
            name: name.to_owned(),
            settings: settings.iter().map(|s| (*s).to_owned()).chain([format!("run.store={name}/store")]).collect(),
        }
    }

    fn command(&self) -> Command {
        let out = format!("{}/out", self.name);
        let mut arguments = vec!["run", "run.toml", "--json", "--out", &out, "--set"];
        arguments.extend(self.settings.iter().map(String::as_str));
        let mut command = self.fixture.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn answer(&self) -> Answer {
        Answer::of(self.command().output().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.fixture.path(&self.name).join(name)
    }

    /// What must be equal, bit by bit.
    fn outcome(&self) -> Vec<(&'static str, Vec<u8>)> {
        ["model/model.safetensors", "model/mask.safetensors", "metrics.jsonl"]
            .map(|file| (file, std::fs::read(self.path("out").join(file)).unwrap()))
            .into()
    }

    fn check_ended_like(&self, whole: &Run<'_>, what: &str) {
        for ((file, bytes), (_, expected)) in self.outcome().iter().zip(whole.outcome()) {
            assert!(*bytes == expected, "{what}: {file} differs");
        }
        let left = temporaries(&self.path(""));
        assert!(left.is_empty(), "{what}: {left:?} are left");
        assert!(!self.path("out/checkpoints").exists(), "{what}: a checkpoint stays behind");
    }

    fn remove(&self) {
        std::fs::remove_dir_all(self.path("")).unwrap();
    }
}

/// Leftovers of interrupted writes below a directory.
pub(crate) fn temporaries(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.file_name().unwrap().to_string_lossy().starts_with(".lopper-tmp-") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(temporaries(&path));
        }
    }
    found
}

/// Kills a process after some time; false when it was quicker.
fn kill_after(mut child: Child, wait: Duration) -> Result<(), Answer> {
    let started = Instant::now();
    while started.elapsed() < wait && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    match output.status.signal() {
        Some(_) => Ok(()),
        None => Err(Answer::of(output)),
    }
}

#[test]
fn killed_at_random_moments_a_run_ends_as_if_it_had_not_been() {
    let mut dice = Dice(7);
    for (method, prune) in METHODS {
        let settings = ["train.updates=40", "evaluate.every=15", "checkpoint.every=6"];
        kill_at_random_moments(method, prune, &settings, &mut dice);
    }
}

/// Most kills come between the micro-batches of an update, and checkpoints by time fall where they fall.
#[test]
fn killed_while_gradients_accumulate_a_run_ends_as_if_it_had_not_been() {
    let settings = ["train.updates=10", "train.accumulate=5", "evaluate.every=4", "checkpoint.every=0.05s"];
    kill_at_random_moments("parp, accumulating", METHODS[4].1, &settings, &mut Dice(11));
}

/// Kills a method's runs until enough were hit, and checks that each ends as one that was not.
fn kill_at_random_moments(what: &str, prune: &str, settings: &[&str], dice: &mut Dice) {
    let kills = number("LOPPER_KILLS", 2);
    let f = Fixture::new();
    f.config("run.toml", prune);
    let whole = Run::new(&f, "whole", settings);
    let started = Instant::now();
    whole.answer().ok();
    let length = started.elapsed().as_millis() as u64;
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        let run = Run::new(&f, &format!("run{runs}"), settings);
        runs += 1;
        // Several kills may hit one run. Late enough to get somewhere: a start alone takes a good part of the time.
        loop {
            let wait = Duration::from_millis(length / 8 + dice.below(length * 3 / 4));
            match kill_after(run.command().spawn().unwrap(), wait) {
                Ok(()) => killed += 1,
                Err(answer) => {
                    answer.ok();
                    break;
                }
            }
            if run.path("out/status.json").exists() {
                let status = f.run(&["status", &format!("{}/out", run.name), "--json"]).json();
                assert!(["killed", "done"].contains(&status["state"].as_str().unwrap()), "{status}");
            }
        }
        run.check_ended_like(&whole, what);
        run.remove();
    }
    eprintln!("{what}: {killed} kills in {runs} runs, each ended as the one that was not killed");
}

/// The library that stands between a process and its files.
pub(crate) fn shim(f: &Fixture) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/faults.c");
    let library = f.path("faults.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&library).arg(source).arg("-ldl");
    assert!(compiler.status().unwrap().success());
    library
}

#[test]
fn at_every_call_that_writes_the_old_or_the_new_state_stands() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 3");
    let library = shim(&f);
    // Two checkpoints, so that one is there when the other is written.
    let settings = ["train.updates=8", "evaluate.every=4", "checkpoint.every=3"];
    let with_fault = |run: &Run<'_>, mode: &str, at: usize| {
        let mut command = run.command();
        command
            .env("LD_PRELOAD", &library)
            .env("FAULT_ROOT", run.fixture.path(&run.name))
            .env("FAULT_COUNT", run.fixture.path("calls"))
            .env("FAULT_MODE", mode)
            .env("FAULT_AT", at.to_string());
        command.output().unwrap()
    };
    let whole = Run::new(&f, "whole", &settings);
    Answer::of(with_fault(&whole, "count", 0)).ok();
    let calls: usize = String::from_utf8(f.read("calls")).unwrap().trim().parse().unwrap();
    assert!(calls > 150, "only {calls} calls: the shim does not see them all");
    let step = number("LOPPER_FAULT_STEP", calls / 4);
    for (index, mode) in FAULTS.into_iter().enumerate() {
        let (mut failed, mut survived) = (0, 0);
        // Another offset for every fault, so that a short round meets different calls.
        for at in (1 + index * step / FAULTS.len()..=calls).step_by(step) {
            let what = format!("{mode} at call {at} of {calls}");
            let run = Run::new(&f, "run", &settings);
            let output = with_fault(&run, mode, at);
            if mode == "kill" {
                assert_eq!(output.status.signal(), Some(9), "{what}");
                failed += 1;
            } else {
                let answer = Answer::of(output);
                // What only tells of the run, or sweeps behind it, may fail without harm.
                if answer.code == Some(0) {
                    survived += 1;
                } else {
                    assert_eq!(answer.code, Some(1), "{what}: {answer:?}");
                    let named = answer.stderr.contains("error: ") && answer.stderr.contains("run/");
                    assert!(named && !answer.stderr.contains("defect"), "{what}: {answer:?}");
                    failed += 1;
                }
            }
            run.answer().ok();
            run.check_ended_like(&whole, &what);
            run.remove();
        }
        eprintln!(
            "{mode}: {failed} runs ended by it and {survived} that went on, of {calls} calls, each continued whole"
        );
    }
}

#[test]
fn a_small_disk_that_fills_up_and_turns_read_only_loses_nothing() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 3");
    let settings = ["train.updates=600", "checkpoint.every=3"];
    let whole = Run::new(&f, "whole", &settings);
    whole.answer().ok();
    let answers = if Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success()) {
        on_a_real_disk(&f, &settings)
    } else {
        eprintln!("no mount namespace is to be had: the disk is a library that answers as a full one would");
        on_a_pretended_disk(&f, &settings)
    };
    for (what, answer) in &answers {
        assert_eq!(answer.code, Some(1), "{what}: {answer:?}");
        assert!(answer.stderr.contains("error: ") && answer.stderr.contains("run/"), "{what}: {answer:?}");
        assert!(!answer.stderr.contains("defect"), "{what}: {answer:?}");
    }
    // A store and a directory as `Run` has them.
    let run = Run::new(&f, "outcome", &[]);
    run.check_ended_like(&whole, "a small disk");
    eprintln!("{} ways in which a small disk failed, then a run that ended whole", answers.len());
}

/// What a run answered while its disk, a file system of sixteen megabytes, was full or read-only; its end lies in `outcome/`.
fn on_a_real_disk(f: &Fixture, settings: &[&str]) -> Vec<(&'static str, Answer)> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/small_disk.sh");
    let mut shell = Command::new("unshare");
    shell.args(["-rm", "sh"]).arg(script).arg(env!("CARGO_BIN_EXE_lopper")).args(settings);
    let output = shell.current_dir(f.path("")).env("HF_HUB_OFFLINE", "1").env("OMP_NUM_THREADS", "1").output().unwrap();
    assert!(output.status.success(), "{:?}", Answer::of(output));
    let text = |name: String| String::from_utf8(f.read(&name)).unwrap();
    let code = |attempt: &str| text(format!("disk.{attempt}.code")).trim().parse().ok();
    assert_eq!(code("4"), Some(0), "{}", text("disk.4.err".into()));
    [("too full to start", "1"), ("filled up", "2"), ("read-only", "3")]
        .map(|(what, attempt)| {
            let stderr = text(format!("disk.{attempt}.err"));
            (what, Answer { code: code(attempt), stdout: String::new(), stderr })
        })
        .into()
}

/// The same where no file system can be mounted: everything fails from some call on, as [`shim`] has it.
fn on_a_pretended_disk(f: &Fixture, settings: &[&str]) -> Vec<(&'static str, Answer)> {
    let library = shim(f);
    let run = Run::new(f, "outcome", settings);
    let answers = [("filled up", "full", "40"), ("read-only", "rofs", "1")].map(|(what, mode, at)| {
        let mut command = run.command();
        command.env("LD_PRELOAD", &library).env("FAULT_ROOT", f.path("outcome")).env("FAULT_COUNT", f.path("calls"));
        let mut answer = Answer::of(command.env("FAULT_MODE", mode).env("FAULT_AT", at).output().unwrap());
        answer.stderr = answer.stderr.replace("outcome/", "run/");
        (what, answer)
    });
    run.answer().ok();
    answers.into()
}

/// Found with everything else that is wrong, and before anything is trained when nothing else is. The system's answer is
/// pretended, because an administrator may write everywhere.
#[test]
fn a_directory_that_cannot_be_written_is_found_with_everything_else() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    std::fs::create_dir(f.path("closed")).unwrap();
    let library = shim(&f);
    let run = |more: &[&str]| {
        let places = ["run", "run.toml", "--out", "closed/out", "--set", "run.store=closed/store/deep"];
        let mut command = f.command(&[&places[..], more].concat());
        command.env("LD_PRELOAD", &library).env("FAULT_ROOT", f.path("closed")).env("FAULT_MODE", "closed");
        Answer::of(command.output().unwrap())
    };
    let why = "give a directory that can be written; closed: cannot be written: permission denied";
    let [out, store] = [("out", "closed/out"), ("store", "closed/store/deep")]
        .map(|(key, path)| format!("  - [run] {key} = {path} is not accepted: {why}\n"));
    let answer = run(&[]);
    assert_eq!((answer.code, answer.stderr), (Some(1), format!("error: 2 problems:\n{out}{store}")));
    let answer = run(&["data.path=gone"]);
    assert!(
        answer.stderr.starts_with(&format!("error: 3 problems:\n{out}{store}  - gone ([data] path)")),
        "{answer:?}"
    );
    // The configuration itself is wrong.
    let answer = run(&["train.updates=0"]);
    assert!(answer.stderr.contains(&out) && answer.stderr.contains("[train] updates = 0"), "{answer:?}");
    assert_eq!(std::fs::read_dir(f.path("closed")).unwrap().count(), 0);
}

#[test]
fn of_two_processes_in_one_directory_one_runs_and_one_says_why_not() {
    let races = number("LOPPER_RACES", 2);
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    for race in 0..races {
        let run = Run::new(&f, &format!("race{race}"), &["train.updates=1000000"]);
        let mut both = [run.command().spawn().unwrap(), run.command().spawn().unwrap()];
        let loser = loop {
            let ended: Vec<bool> = both.iter_mut().map(|child| child.try_wait().unwrap().is_some()).collect();
            if let Some(loser) = ended.iter().position(|ended| *ended) {
                break loser;
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let [first, second] = both;
        let (loser, mut winner) = if loser == 0 { (first, second) } else { (second, first) };
        assert!(winner.try_wait().unwrap().is_none(), "race {race}: both ended");
        winner.kill().unwrap();
        winner.wait().unwrap();
        let answer = Answer::of(loser.wait_with_output().unwrap());
        assert_eq!(answer.code, Some(1), "race {race}: {answer:?}");
        assert!(answer.stderr.contains("another process is running in this directory"), "race {race}: {answer:?}");
        run.remove();
    }
    eprintln!("{races} races: one ran, one said why not");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_a_damaged_stage_trained_again() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'omp'\nsparsity = 0.5");
    let settings = ["train.updates=30", "checkpoint.every=5"];
    let whole = Run::new(&f, "whole", &settings);
    whole.answer().ok();
    let run = Run::new(&f, "run", &settings);
    // Killed as soon as there are two checkpoints.
    let checkpoints = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(run.path("out/checkpoints")).into_iter().flatten().flatten();
        let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with(".lopper-tmp-"));
        whole.map(|entry| entry.path().join("weights.safetensors")).filter(|path| path.is_file()).collect()
    };
    let mut child = run.command().spawn().unwrap();
    while checkpoints().len() < 2 && child.try_wait().unwrap().is_none() {}
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(checkpoints().len() >= 2, "the run was over before it had two checkpoints");
    let latest = std::fs::read_to_string(run.path("out/checkpoints/latest")).unwrap();
    flip(&run.path("out/checkpoints").join(latest).join("weights.safetensors"));
    let answer = run.answer();
    assert!(answer.stderr.contains("is damaged") && answer.stderr.contains("another checkpoint is used"), "{answer:?}");
    assert_eq!(answer.json()["finetunings"], 2);
    run.check_ended_like(&whole, "a damaged checkpoint");

    // Of a stage in the store, the weights of the last stage, which are saved as the model.
    let record: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.path("out/record.json")).unwrap()).unwrap();
    let key = record["stages"][1]["key"].as_str().unwrap();
    // Its record stands when the weights alone are damaged: they are made again, and must be what they were.
    for (damaged, trained) in
        [(format!("weights/{key}-30/weights.safetensors"), 0), (format!("stages/{key}/mask.safetensors"), 1)]
    {
        flip(&run.path("store").join(&damaged));
        let answer = run.answer();
        assert!(answer.stderr.contains("is damaged") && answer.stderr.contains("is trained again"), "{answer:?}");
        assert_eq!(answer.json()["trained"], trained, "{damaged}");
        run.check_ended_like(&whole, &damaged);
    }
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    std::fs::write(path, bytes).unwrap();
}
