//! SIGINT and SIGTERM, wherever a run is when they come: seen within two seconds, answered with 130, and nothing lost.

use crate::fixture::{Answer, Fixture};
use serde_json::json;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two seconds, and what a machine takes that runs other tests beside this one.
const SEEN: Duration = Duration::from_secs(4);

/// A run on the way.
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    said: String,
}

impl Running {
    fn start(f: &Fixture, settings: &[&str]) -> Self {
        let arguments = [&["run", "run.toml", "--json", "-v", "--set"][..], settings].concat();
        let mut child = f.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stderr, said: String::new() }
    }

    /// Waits until it logs something.
    fn until_it_says(mut self, what: &str) -> Self {
        while !self.said.contains(what) {
            let read = self.stderr.read_line(&mut self.said).unwrap();
            assert!(read > 0, "it ends without {what}: {}", self.said);
        }
        self
    }

    /// Waits for something that can be seen in its files.
    fn until(mut self, mut there: impl FnMut() -> bool) -> Self {
        while !there() {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it was over too soon: {ended:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
        self
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn end(mut self) -> Answer {
        self.stderr.read_to_string(&mut self.said).unwrap();
        let answer = Answer::of(self.child.wait_with_output().unwrap());
        Answer { stderr: self.said, ..answer }
    }

    /// Interrupts it, and checks that it ends in time.
    fn interrupted(self, what: &str) -> Answer {
        self.signal("-INT");
        let signalled = Instant::now();
        let answer = self.end();
        let took = signalled.elapsed();
        assert_eq!(answer.code, Some(130), "{what}: {answer:?}");
        assert!(answer.stderr.contains("interrupted"), "{what}: {answer:?}");
        assert!(took < SEEN, "{what}: it took {took:?}");
        eprintln!("{what}: ended {:.2} s after the signal", took.as_secs_f64());
        answer
    }
}

/// Lines of `metrics.jsonl` with that in them.
fn lines(f: &Fixture, what: &str) -> usize {
    let text = std::fs::read_to_string(f.path("runs/run/metrics.jsonl")).unwrap_or_default();
    text.lines().filter(|line| line.contains(what)).count()
}

/// A corpus of so many sentences.
fn corpus(f: &Fixture, file: &str, rows: usize) {
    let mut text = String::from("sentence\tlabel\n");
    for row in 0..rows {
        let (word, label) = if row % 2 == 0 { ("good", 1) } else { ("bad", 0) };
        text += &format!("the {word} film is {}{label}\n", "the play is a good book . ".repeat(3 + row % 3) + "\t");
    }
    f.write(file, text);
}

fn status(f: &Fixture) -> (String, u64) {
    let status = f.run(&["status", "runs/run", "--json"]).json();
    (status["state"].as_str().unwrap().to_owned(), status["stages"][0]["done"].as_u64().unwrap())
}

/// What the uninterrupted run leaves, in `whole/`.
fn whole(f: &Fixture, settings: &[&str]) {
    let arguments = ["run", "run.toml", "--json", "--out", "whole", "--set", "run.store=whole/store"];
    f.run(&[&arguments[..], settings].concat()).ok();
}

fn check_ended_like_whole(f: &Fixture, what: &str) {
    for file in ["model/model.safetensors", "model/mask.safetensors", "metrics.jsonl"] {
        assert!(f.read(&format!("runs/run/{file}")) == f.read(&format!("whole/{file}")), "{what}: {file} differs");
    }
    assert!(!f.path("runs/run/checkpoints").exists(), "{what}: a checkpoint stays behind");
}

#[test]
fn while_the_data_are_read_and_tokenised() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    corpus(&f, "SST-2/train.tsv", 600_000);
    let running = Running::start(&f, &["train.updates=2"]).until_it_says("opening the data");
    // Well within what takes many seconds.
    std::thread::sleep(Duration::from_millis(200));
    running.interrupted("reading the data");
    assert!(!Path::new(&f.path("runs/run/metrics.jsonl")).exists(), "the data were read to the end before it was seen");
}

#[test]
fn in_the_last_validation_nothing_is_trained_again() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 3");
    corpus(&f, "SST-2/dev.tsv", 8_000);
    for every in ["0", "7", "10min"] {
        let every = format!("checkpoint.every={every}");
        let settings = ["train.updates=12", &every, "evaluate.batch_size=4"];
        whole(&f, &settings);
        let running = Running::start(&f, &settings).until(|| lines(&f, "\"update\":12,\"loss\"") == 1);
        running.interrupted(&format!("the last validation, {every}"));
        assert_eq!(status(&f), ("interrupted".into(), 12));
        // And once more: by then the stage is in the store, whether the first signal came before or after it was put there.
        Running::start(&f, &settings).until_it_says("evaluating").interrupted("the validation, again");
        assert_eq!(status(&f), ("interrupted".into(), 12));
        let answer = Running::start(&f, &settings).end();
        assert!(answer.stderr.contains("taken from the store"), "{every}: {answer:?}");
        assert_eq!(answer.json()["trained"], 0, "{every}");
        check_ended_like_whole(&f, &every);
        for directory in ["runs", "whole"] {
            std::fs::remove_dir_all(f.path(directory)).unwrap();
        }
    }
}

/// No signal that could be answered: what was trained is in the store before it is judged.
#[test]
fn killed_in_the_last_validation_nothing_is_trained_again() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 3");
    corpus(&f, "SST-2/dev.tsv", 8_000);
    let settings = ["train.updates=12", "evaluate.batch_size=4"];
    whole(&f, &settings);
    let running = Running::start(&f, &settings).until_it_says("evaluating");
    running.signal("-KILL");
    assert_eq!(running.end().code, None);
    assert_eq!(status(&f), ("killed".into(), 12));
    assert_eq!(Running::start(&f, &settings).end().json()["trained"], 0);
    check_ended_like_whole(&f, "a kill in the last validation");
}

#[test]
fn in_a_validation_on_the_way_it_is_made_up_for() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'parp'\nsparsity = 0.5\nevery = 3");
    corpus(&f, "SST-2/dev.tsv", 5_000);
    let settings = ["train.updates=12", "evaluate.every=5", "evaluate.batch_size=4"];
    whole(&f, &settings);
    let running = Running::start(&f, &settings).until(|| lines(&f, "\"update\":5,\"loss\"") == 1);
    running.interrupted("a validation on the way");
    assert_eq!(status(&f), ("interrupted".into(), 5));
    assert_eq!(lines(&f, "validation"), 0);
    Running::start(&f, &settings).end().ok();
    assert_eq!(lines(&f, "validation"), 3);
    check_ended_like_whole(&f, "a validation on the way");
}

/// An update of a hundred thousand micro-batches would take far longer than this test.
#[test]
fn between_micro_batches_the_update_is_not_counted() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    f.sst(100_000);
    let settings = ["train.updates=2", "train.batch_size=1", "train.accumulate=1000000"];
    let running = Running::start(&f, &settings).until(|| lines(&f, "\"stage\"") == 1);
    std::thread::sleep(Duration::from_millis(100));
    let answer = running.interrupted("an update under way");
    assert!(answer.stderr.contains("stands at its beginning"), "{answer:?}");
    assert_eq!(status(&f), ("interrupted".into(), 0));
    assert_eq!(lines(&f, "\"loss\""), 0);
}

/// A forward and backward pass of many seconds: nobody looks, so the process is ended where it stands, and has said so before. On a
/// machine that is through with it in time the run says it itself.
#[test]
fn in_a_micro_batch_that_takes_long_it_is_interrupted_all_the_same() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    f.model("model", 1024, &json!({"intermediate_size": 4096}), None);
    f.sst(1000);
    let settings = ["train.updates=1000", "train.batch_size=1000"];
    let running = Running::start(&f, &settings).until(|| lines(&f, "\"stage\"") == 1);
    // Until it has taken the batch: while it waits for one it looks.
    std::thread::sleep(Duration::from_secs(2));
    let answer = running.interrupted("a micro-batch under way");
    eprintln!("ended from outside: {}", answer.stderr.contains("nothing is lost by it"));
    assert_eq!(status(&f), ("interrupted".into(), lines(&f, "\"loss\"") as u64));
}

/// A terminal signals all of a group of processes, a scheduler all of a job; a parent and a job's script tell their children besides.
#[test]
fn signals_that_come_together_are_one_request() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let settings = ["train.updates=1000000", "checkpoint.every=0"];
    let running = Running::start(&f, &settings).until(|| lines(&f, "\"loss\"") > 10);
    // Both are there before it can act on the first.
    ["-STOP", "-INT", "-TERM", "-CONT"].into_iter().for_each(|signal| running.signal(signal));
    let answer = running.end();
    assert_eq!(answer.code, Some(130), "{answer:?}");
    let (state, saved) = status(&f);
    assert!(state == "interrupted" && saved > 10, "{state}: {saved} updates");
}

#[test]
fn a_second_signal_ends_a_run_at_once() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    f.model("model", 1024, &json!({"intermediate_size": 4096}), None);
    f.sst(1000);
    let settings = ["train.updates=1000", "train.batch_size=1000"];
    let mut running = Running::start(&f, &settings).until(|| lines(&f, "\"stage\"") == 1);
    // It has taken a batch, and looks no more for many seconds.
    std::thread::sleep(Duration::from_secs(1));
    running.signal("-INT");
    while running.child.try_wait().unwrap().is_none() {
        running.signal("-TERM");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert_eq!(running.end().code, Some(130));
    // It had no time to say so itself.
    assert_eq!(status(&f), ("killed".into(), 0));
}
