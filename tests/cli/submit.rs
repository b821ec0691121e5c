//! Sweeps on a scheduler, without one: what is submitted is run by a shell script in the scheduler's place.

use crate::fixture::{Answer, Fixture};
use crate::sweeps::{BASE, results};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Few cells.
const FEW: &str = "[sweep]\nseeds = [57]\nworkers = 2\n[[sweep.group]]\nname = 'pruned'\nset.prune.sparsity = 0.3\n\
    [sweep.group.over.method]\nmpi = { prune.method = 'mpi' }\nomp = { prune.method = 'omp' }\n";

/// Notes its arguments, and runs the tasks of an array one after another, each in an environment that holds nothing.
const SBATCH: &str = "#!/bin/bash
echo \"$@\" >> sbatch.txt
script=${@: -1}
directive() { sed -n \"s/^#SBATCH --$1=//p\" \"$script\" | tr -d '\"'; }
last=$(directive array); last=${last#0-}
log=$(directive output)
cd \"$(directive chdir)\"
for task in $(seq 0 $last); do
  name=${log//%A/4711}; name=${name//%a/$task}
  env -i PATH=\"$PATH\" SLURM_JOB_ID=$((4711 + task)) bash \"$script\" > \"$name\" 2>&1
  echo \"task $task: $?\" >> sbatch.txt
done
echo '4711;cluster'
";

/// Runs `lopper` where a directory with this executable comes first on PATH, and nothing but the shell's own tools beside it.
fn with(f: &Fixture, name: &str, script: &str, arguments: &[&str]) -> Answer {
    f.write(&format!("bin/{name}"), script);
    fs::set_permissions(f.path(&format!("bin/{name}")), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", f.path("bin").display());
    Answer::of(f.command(arguments).env("PATH", path).output().unwrap())
}

fn without(f: &Fixture, arguments: &[&str]) -> Answer {
    Answer::of(f.command(arguments).env("PATH", f.path("bin")).output().unwrap())
}

#[test]
fn an_array_comes_to_what_one_process_comes_to() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{FEW}"));
    f.run(&["run", "sweep.toml", "--out", "one", "--set", "run.store=store-1"]).ok();
    let arguments =
        ["submit", "sweep.toml", "--json", "--out", "a sweep", "--set", "run.store=store-2", "--", "--time=1"];
    let answer = with(&f, "sbatch", SBATCH, &[&arguments[..], &["-p", "gpu"]].concat());
    let plan = "2 cells: 3 finetunings one by one, 3 shared (3 to train), 12 updates";
    assert!(answer.stderr.contains(plan), "{answer:?}");
    let submitted = answer.json();
    let of = |key: &str| submitted[key].clone();
    assert_eq!((of("job"), of("workers"), of("cells")), ("4711".into(), 2.into(), 2.into()), "{submitted}");
    assert_eq!(of("script"), "a sweep/submit.slurm");
    assert_eq!(results(&f, "one"), results(&f, "a sweep"));
    let said = String::from_utf8(f.read("sbatch.txt")).unwrap();
    assert_eq!(said, "--parsable a sweep/submit.slurm\ntask 0: 0\ntask 1: 0\n");
    let script = String::from_utf8(f.read("a sweep/submit.slurm")).unwrap();
    assert!(script.contains("#SBATCH --time=1\n#SBATCH -p gpu\n") && !script.contains("--gres"), "{script}");
    // The worker that sees the last cell end writes the report, and the other one leaves it.
    let log = |task: u32| String::from_utf8(f.read(&format!("a sweep/logs/4711_{task}.log"))).unwrap();
    assert!(log(0).contains("2 of 2 cells done in a sweep: trained 3 of 3 finetunings"), "{}", log(0));
    assert!(log(0).trim_end().ends_with("report  a sweep/report.html") && log(1).is_empty(), "{}", log(1));
    assert!(f.read("a sweep/report.html").starts_with(b"<!"));
}

#[test]
fn a_dry_run_prints_the_script_and_writes_none() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{FEW}"));
    // Neither a GPU nor a scheduler need be here.
    let text = |engine: &str, more: &[&str]| {
        let arguments = ["submit", "sweep.toml", "--dry-run", "--engine", engine, "--workers", "9"];
        without(&f, &[&arguments[..], &["--set", "device=cuda"], more].concat())
    };
    let answer = text("slurm", &["--", "--time=1:00:00"]);
    assert!(answer.stderr.contains("2 workers for 2 cells: more would have nothing to do"), "{answer:?}");
    let script = answer.ok();
    for line in ["#SBATCH --array=0-1", "#SBATCH --gres=gpu:1", "#SBATCH --time=1:00:00", "export OMP_NUM_THREADS=1"] {
        assert!(script.lines().any(|of| of == line), "{line}: {script}");
    }
    let program = fs::canonicalize(env!("CARGO_BIN_EXE_lopper")).unwrap();
    assert!(script.contains(&format!("\n{} work runs/sweep &\n", program.display())), "{script}");
    let script = text("hyperqueue", &[]).ok();
    assert!(script.contains("\n#HQ --array=0-1\n#HQ --resource=gpus/nvidia=1\n#HQ --cwd="), "{script}");
    assert!(!f.path("runs/sweep").exists());
    let planned: Value = text("slurm", &["--json"]).json();
    assert_eq!(planned["script"], "runs/sweep/submit.slurm");
}

#[test]
fn what_cannot_be_submitted_is_told() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{FEW}")).write("single.toml", BASE);
    let fails = |answer: Answer, expected: &[&str]| {
        assert_eq!(answer.code, Some(1), "{answer:?}");
        expected.iter().for_each(|part| assert!(answer.stderr.contains(part), "{part}: {answer:?}"));
    };
    let none = without(&f, &["submit", "sweep.toml"]);
    fails(none, &["`sbatch` and `hq` are in no directory of PATH", "bin", "--dry-run and --engine"]);
    fails(without(&f, &["submit", "sweep.toml", "--engine", "hyperqueue"]), &["`hq` is in no directory of PATH"]);
    fails(f.run(&["submit", "single.toml", "--engine", "slurm"]), &["single.toml: has no [sweep]"]);
    let dry = ["submit", "sweep.toml", "--dry-run", "--engine", "slurm"];
    let set = |more: &[&str]| f.run(&[&dry[..], more].concat());
    fails(set(&["--", "gpu", "--array=0-9", "-J", "a\"b"]), &["sbatch = gpu", "--workers says", "no quotes"]);
    fails(set(&["--set", "device=cuda:1"]), &["device = cuda:1", "one GPU, its first"]);
    fails(set(&["--set", "device=cudda"]), &["device = \"cudda\""]);
    // What is wrong with the sweep is told before anything is submitted, all of it.
    fails(set(&["--set", "model.path=nowhere", "train.updates=0"]), &["updates = 0"]);
    assert!(!f.path("runs/sweep").exists());
    let refusal =
        "#!/bin/bash\necho 'sbatch: error: Batch job submission failed: Invalid job array specification' >&2\nexit 1\n";
    let said = ["nothing was submitted", "/bin/sbatch --parsable runs/sweep/submit.slurm", "exit status: 1"];
    let answer = with(&f, "sbatch", refusal, &["submit", "sweep.toml"]);
    fails(
        answer,
        &[&said[..], &["failed: Invalid job array specification; an array has at most MaxArraySize"]].concat(),
    );
    let hq = "#!/bin/bash\necho \"$@\" > hq.txt\necho 12\n";
    let answer = with(&f, "hq", hq, &["submit", "sweep.toml", "--engine", "hyperqueue"]);
    assert!(answer.ok().contains("hq job info 12"));
    let script = fs::canonicalize(f.path("runs/sweep/submit.hq.sh")).unwrap();
    let said = String::from_utf8(f.read("hq.txt")).unwrap();
    assert_eq!(said, format!("--output-mode=quiet submit --directives=file {}\n", script.display()));
}

#[test]
fn cells_that_fail_make_the_task_fail_that_reports_them() {
    let f = Fixture::new();
    let text = "max_skipped = 1\n[sweep]\nseeds = [57]\nretries = 0\n[[sweep.group]]\nset.prune = { method = 'dense', sparsity = 0.0 }\n\
        over.train.learning_rate = [1e-3, 1e30]\n";
    f.write("sweep.toml", format!("{}{text}", BASE.replace("learning_rate = 1e-3\n", "")));
    with(&f, "sbatch", SBATCH, &["submit", "sweep.toml", "--workers", "1"]).ok();
    let said = String::from_utf8(f.read("sbatch.txt")).unwrap();
    assert!(said.ends_with("task 0: 1\n"), "{said}");
    let log = String::from_utf8(f.read("runs/sweep/logs/4711_0.log")).unwrap();
    assert!(log.contains("failed: ") && log.trim_end().ends_with("error: 1 of 2 cells are not done"), "{log}");
    assert!(f.path("runs/sweep/report.html").exists());
}

#[test]
fn workers_of_another_version_or_another_sweep_take_no_part() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{FEW}"));
    f.run(&["run", "sweep.toml"]).ok();
    let source = String::from_utf8(f.read("runs/sweep/sweep.toml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let as_written = format!("lopper = \"{version}\"");
    assert!(source.contains(&as_written), "{source}");
    let before = f.read("runs/sweep/cells/pruned-mpi-seed57/status.json");
    f.write("runs/sweep/sweep.toml", source.replace(&as_written, "lopper = \"9.0.1\""));
    let answer = f.run(&["work", "runs/sweep"]);
    let expected = format!("the sweep was started by Lopper 9.0.1, results 2, and this one is Lopper {version}");
    assert!(answer.code == Some(1) && answer.stderr.contains(&expected), "{answer:?}");
    assert_eq!(before, f.read("runs/sweep/cells/pruned-mpi-seed57/status.json"));
    // To look at it is no harm, and this one may start it again.
    f.run(&["table", "runs/sweep"]).ok();
    let again = f.run(&["run", "sweep.toml", "--json"]).json();
    assert_eq!((again["done"].as_u64(), again["trained"].as_u64()), (Some(2), Some(0)));
    // The source in its directory is a configuration too.
    let plan = f.run(&["plan", "runs/sweep/sweep.toml", "--out", "runs/sweep", "--json"]).json();
    assert_eq!(plan["to_train"].as_u64(), Some(0), "{plan}");
}
