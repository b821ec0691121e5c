//! Sweeps: many runs in one file, what they share trained once.

use crate::fixture::{Answer, Fixture};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const BASE: &str = "device = \"cpu\"\n[model]\npath = \"model\"\n[data]\nname = \"glue\"\ntask = \"sst-2\"\npath = \"SST-2\"\n\
                    [train]\nupdates = 4\nbatch_size = 8\nlearning_rate = 1e-3\n";

/// Figure 3's panel, small: six methods and the dense line.
pub(crate) const SIX: &str = "[sweep]\nseeds = [57]\n[[sweep.group]]\nname = 'dense'\n\
    set.prune = { method = 'dense', sparsity = 0.0 }\n[[sweep.group]]\nname = 'pruned'\n\
    over.prune.sparsity = [0.1, 0.2, 0.3]\n[sweep.group.over.method]\nrp = { prune.method = 'rp' }\n\
    mpi = { prune.method = 'mpi' }\nomp = { prune.method = 'omp' }\nimp = { prune.method = 'imp' }\n\
    parp = { prune.method = 'parp', prune.every = 1 }\nparp-p = { prune.method = 'parp-p', prune.every = 1 }\n";

/// Masks of two tasks carried to two tasks.
const TRANSFER: &str = "[prune]\nsparsity = 0.3\n[sweep]\nseeds = [57]\n[[sweep.group]]\nname = 'mask'\n\
    set.prune = { method = 'imp', finetune = false }\nover.source = { key = 'train.learning_rate', values = [1e-3, 2e-3] }\n\
    [[sweep.group]]\nname = 'on'\nover.source = { values = [1e-3, 2e-3] }\n\
    over.target = { key = 'train.learning_rate', values = [1e-3, 2e-3] }\n[sweep.group.over.method]\n\
    regular = { prune.method = 'transfer', prune.mask = { mask_of = { group = 'mask', source = '${source}' } } }\n\
    parp = { prune.method = 'parp', prune.every = 2, prune.initial = { mask_of = { group = 'mask', source = '${source}' } } }\n";

fn sweep(f: &Fixture, text: &str) -> Answer {
    f.write("sweep.toml", format!("{BASE}{text}"));
    f.run(&["run", "sweep.toml"])
}

fn record(f: &Fixture, cell: &str) -> Value {
    serde_json::from_slice(&f.read(&format!("runs/sweep/cells/{cell}/record.json"))).unwrap()
}

fn counts(f: &Fixture, arguments: &[&str]) -> (u64, u64, usize) {
    let plan = f.run(&[&["plan", "--json"], arguments].concat()).json();
    let number = |key: &str| plan[key].as_u64().unwrap();
    (number("finetunings_alone"), number("finetunings"), plan["cells"].as_array().unwrap().len())
}

#[test]
fn the_papers_figures_share_what_they_should() {
    let f = Fixture::new();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let count = |figure: &str, set: &[&str]| {
        let path = examples.join(figure).to_str().unwrap().to_owned();
        let set: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
        let (alone, shared, _) = counts(&f, &[&[&*path, "--set", "sweep.seeds=[1]"][..], &set[..]].concat());
        (alone, shared)
    };
    assert_eq!(count("paper/figure-03.toml", &[]), (654, 324));
    let only = "{ panel = ['base-10min', 'base-1h', 'large-10min', 'large-1h', 'large-10h'] }";
    assert_eq!(count("paper/figure-03.toml", &[&format!("sweep.exclude=[{only}]")]), (109, 54));
    assert_eq!(count("paper/figure-03.toml", &[&format!("sweep.exclude=[{only}, {{ method = 'imp' }}]")]), (55, 46));
    assert_eq!(count("paper/figure-02.toml", &[]), (180, 20));
    // Ten languages in two settings are twenty panels of figure 3; of the joint models each has the dense one, OMP and PARP.
    assert_eq!(count("paper/figure-04.toml", &[]), (20 * 109 + 2 * 28, 20 * 54 + 2 * 19));
    // The dense line, and three methods that need one finetuning each.
    assert_eq!(count("paper/figure-06.toml", &[]), (6 * 28, 6 * 28));
    assert_eq!(count("paper/figure-07.toml", &[]), (800, 420));
    // The row of RP: regular and PARP on ten languages in two settings.
    assert_eq!(count("paper/figure-07.toml", &["sweep.exclude=[]"]), (800 + 40, 420 + 40));
    // The dense line, and IMP from four points of it.
    assert_eq!(count("paper/figure-09.toml", &[]), (2 * (1 + 4 * 54), 2 * (1 + 4 * 9)));
    // The authors' short rounds share the dense finetuning alone.
    assert_eq!(count("paper/table-1.toml", &[]), (18 + 10, 17 + 9));
    assert_eq!(count("paper/table-2.toml", &[]), (4, 4));
    // OMP's first finetuning is the dense one.
    assert_eq!(count("paper/table-3.toml", &[]), (10 * 8, 10 * 6));
    assert_eq!(count("bert_cross_task_transfer/transfer.toml", &[]), (1296, 225));
    // Three seeds share nothing.
    let path = examples.join("bert_cross_task_transfer/transfer.toml");
    assert_eq!(counts(&f, &[path.to_str().unwrap()]), (3 * 1296, 3 * 225, 3 * (9 + 2 * 81)));
}

#[test]
fn shared_stages_are_trained_once_and_a_second_run_trains_nothing() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{SIX}"));
    let plan = f.run(&["plan", "sweep.toml", "--json"]).json();
    // Dense 1, RP 3, MPI 3, OMP 3 of which one is IMP's first round, IMP 3, PARP 3, PARP-P 3; one by one 1 + 3 + 3 + 6 + 9 + 3 + 3.
    assert_eq!((plan["finetunings_alone"].as_u64(), plan["finetunings"].as_u64()), (Some(28), Some(18)));
    assert!(!f.path("runs").exists(), "a plan writes nothing");
    let answer = f.run(&["run", "sweep.toml", "--json"]);
    assert_eq!(answer.stderr.lines().filter(|line| line.starts_with('[')).count(), 19, "{answer:?}");
    let first = answer.json();
    assert_eq!(
        (first["cells"].as_u64(), first["done"].as_u64(), first["trained"].as_u64()),
        (Some(19), Some(19), Some(18))
    );
    let again = f.run(&["run", "sweep.toml", "--json"]).json();
    assert_eq!((again["done"].as_u64(), again["trained"].as_u64()), (Some(19), Some(0)));
    let plan = f.run(&["plan", "sweep.toml", "--json"]).json();
    assert_eq!(plan["to_train"].as_u64(), Some(0));
    assert!(plan["cells"].as_array().unwrap().iter().all(|cell| cell["done"] == true), "{plan}");
    // Nobody reads a stage's weights any more.
    assert_eq!(std::fs::read_dir(f.path("runs/store/weights")).unwrap().count(), 0);
    // A cell is the same run alone, bit by bit.
    let set = ["prune.method=imp", "prune.sparsity=0.3"];
    f.write("alone.toml", BASE);
    let alone = f
        .run(&["run", "alone.toml", "--json", "--set", set[0], set[1], "run.store=other", "run.save_model=false"])
        .json();
    let cell = record(&f, "pruned-imp-sparsity0.3-seed57");
    assert_eq!((&cell["metrics"], &cell["sparsity"]), (&alone["metrics"], &alone["sparsity"]));
    let mask = f.read("runs/sweep/cells/pruned-imp-sparsity0.3-seed57/mask.safetensors");
    let other =
        f.run(&["mask", "iou", "runs/sweep/cells/pruned-imp-sparsity0.3-seed57", "runs/alone", "--json"]).json();
    assert_eq!(other["iou"].as_f64(), Some(1.0), "{} bytes", mask.len());
    // Another peak of PARP's trains PARP's cells alone.
    let text = SIX.replace(
        "parp = { prune.method = 'parp', prune.every = 1 }",
        "parp = { prune.method = 'parp', prune.every = 2 }",
    );
    f.write("sweep.toml", format!("{BASE}{text}"));
    let plan = f.run(&["plan", "sweep.toml", "--json"]).json();
    assert_eq!(plan["to_train"].as_u64(), Some(3));
    let answer = f.run(&["run", "sweep.toml"]);
    let expected = "holds 3 finished cells of another configuration, such as pruned-parp-sparsity0.1-seed57";
    assert!(answer.code == Some(1) && answer.stderr.contains(expected), "{answer:?}");
    let replaced = f.run(&["run", "sweep.toml", "--replace", "--json"]).json();
    assert_eq!((replaced["done"].as_u64(), replaced["trained"].as_u64()), (Some(19), Some(3)));
}

/// The most weights that lie in a store at one look while a command goes on.
fn most_weights(f: &Fixture, store: &str, arguments: &[&str]) -> usize {
    let mut run = f.command(arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let mut most = 0;
    while run.try_wait().unwrap().is_none() {
        let names = std::fs::read_dir(f.path(store).join("weights")).into_iter().flatten().flatten();
        // Others are on their way in or out.
        let whole = names.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count();
        most = most.max(whole);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(run.wait().unwrap().success());
    most
}

#[test]
fn a_plan_tells_what_the_store_will_hold_and_how_long_it_takes() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{TRANSFER}"));
    let plan = || f.run(&["plan", "sweep.toml", "--json"]).json();
    let planned = plan();
    let copies = planned["weights_at_once"]["copies"].as_u64().unwrap();
    // IMP's round beside the one that it came from.
    assert_eq!((copies, &planned["seconds_left"]), (2, &Value::Null));
    let model = f.path("model").join("model.safetensors").metadata().unwrap().len();
    let bytes = planned["weights_at_once"]["bytes"].as_u64().unwrap();
    assert!((bytes / 2).abs_diff(model) < model / 4, "{bytes} for two of {model}");
    let most = most_weights(&f, "runs/store", &["run", "sweep.toml", "--set", "sweep.exclude=[{ target = 2e-3 }]"]);
    assert!((1..=copies as usize).contains(&most), "{most} of at most {copies}");
    // What was trained tells the pace of the rest.
    let text = f.run(&["plan", "sweep.toml"]).ok();
    assert!(
        text.contains("\nstore, at the most: the weights of ") && text.contains("\ntime, one worker: about "),
        "{text}"
    );
    assert!(plan()["seconds_left"].as_f64().unwrap() > 0.0);
    f.run(&["run", "sweep.toml"]).ok();
    let done = plan();
    assert_eq!((&done["weights_at_once"]["copies"], &done["seconds_left"]), (&json!(0), &json!(0.0)));
}

#[test]
fn every_device_has_a_worker() {
    let f = Fixture::new();
    let text = "[prune]\nmethod = 'mpi'\nsparsity = 0.3\n[sweep]\nseeds = [1, 2, 3]\n";
    f.write("sweep.toml", format!("{BASE}{text}"));
    f.run(&["run", "sweep.toml", "--out", "one", "--set", "run.store=store-1"]).ok();
    let devices = ["--set", "run.store=store-2", "sweep.devices=['cpu', 'cpu']"];
    let answer = f.run(&[&["run", "sweep.toml", "--out", "two", "--json"][..], &devices].concat());
    assert_eq!(answer.stderr.lines().filter(|line| line.starts_with("[3/3] ")).count(), 1, "{answer:?}");
    assert_eq!(answer.json()["trained"].as_u64(), Some(3));
    assert_eq!(results(&f, "one"), results(&f, "two"));
    for (set, part) in [
        ("sweep.devices=['auto']", "[sweep] devices = \"auto\" is not accepted: cpu, cuda, or cuda:N"),
        ("sweep.devices=['cpu', 'cuda:0']", "cpu, cuda:0 is not accepted: devices of one kind"),
        ("sweep.devices=['cuda:999']", "cuda:999"),
    ] {
        let answer = f.run(&["run", "sweep.toml", "--out", "three", "--set", set]);
        assert!(answer.code == Some(1) && answer.stderr.contains(part), "{set}: {answer:?}");
    }
    let both = f.run(&["run", "sweep.toml", "--out", "three", "--set", "sweep.workers=2", "sweep.devices=['cpu']"]);
    assert!(both.code == Some(1) && both.stderr.contains("either workers or devices"), "{both:?}");
    assert!(!f.path("three").exists());
    let answer = f.run(&["work", "one", "--device", "gpu"]);
    assert!(answer.code != Some(0) && answer.stderr.contains("\"gpu\""), "{answer:?}");
}

#[test]
fn a_sweep_is_drawn_where_there_is_a_terminal() {
    let f = Fixture::new();
    let text = "[prune]\nmethod = 'mpi'\nsparsity = 0.3\n[sweep]\nseeds = [1, 2]\nworkers = 2\n";
    f.write("sweep.toml", format!("{BASE}{text}").replace("updates = 4", "updates = 200"));
    let lopper = f.command(&[]).get_program().to_str().unwrap().to_owned();
    let command = format!("stty cols 120; {lopper} run sweep.toml");
    let output = f.command(&[]);
    let mut script = Command::new("script");
    script.args(["-qec", &command, "typescript"]).stdin(Stdio::null()).stdout(Stdio::null());
    script.current_dir(output.get_current_dir().unwrap()).envs(output.get_envs().filter_map(|(k, v)| Some((k, v?))));
    assert!(script.status().unwrap().success());
    let drawn = String::from_utf8_lossy(&f.read("typescript")).into_owned();
    for part in ["0 of 2 cells done", "  seed1: update ", " of 200", "[2/2] seed", "2 of 2 cells done in "] {
        assert!(drawn.contains(part), "{part} in {drawn}");
    }
    // Workers draw nothing themselves.
    assert!(!drawn.contains("/200 loss"), "{drawn}");
}

#[test]
fn data_are_opened_once_for_cells_that_share_them() {
    let f = Fixture::new();
    let text = "[prune]\nmethod = 'mpi'\nsparsity = 0.3\n[sweep]\nseeds = [1, 2, 3]\nover.data.max_length = [8, 12]\n";
    f.write("sweep.toml", format!("{BASE}{text}"));
    let run = f.command(&["run", "sweep.toml"]).env("RUST_LOG", "lopper=info").output().unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    let opened = |what: &str| told.matches(&format!("opening the {what}")).count();
    // Two are looked at before anything is trained. A model has a head of its seed in each cell.
    assert_eq!((opened("data"), opened("model")), (2 + 2, 2 + 6), "{told}");
}

#[test]
fn masks_go_from_cell_to_cell() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{TRANSFER}"));
    // A mask takes three finetunings; eight cells take one more each.
    assert_eq!(counts(&f, &["sweep.toml"]), (8 * 4, 2 * 3 + 8, 10));
    let answer = f.run(&["run", "sweep.toml", "--json"]);
    // Four cells re-prune after half of their updates.
    let told = |answer: &Answer| answer.stderr.matches("re-prunes every 2 of its 4 updates").count();
    assert_eq!((told(&answer), told(&f.run(&["plan", "sweep.toml"]))), (1, 1), "{answer:?}");
    let result = answer.json();
    assert_eq!((result["done"].as_u64(), result["trained"].as_u64()), (Some(10), Some(14)), "{result}");
    let mask = record(&f, "mask-source0.001-seed57");
    assert_eq!((&mask["metric"], mask["finetunings"].as_u64()), (&Value::Null, Some(3)), "its head knows nothing");
    let cells =
        |target: &str| ["mask-source0.002-seed57".to_owned(), format!("on-regular-source0.002-target{target}-seed57")];
    let [mask, on] = cells("0.001").map(|cell| format!("runs/sweep/cells/{cell}"));
    assert_eq!(f.run(&["mask", "iou", &mask, &on, "--json"]).json()["iou"].as_f64(), Some(1.0));
    // To itself it is IMP's last round.
    let alone = ["run", "sweep.toml", "--json", "--out", "x", "--set", "sweep.group=[{ set.prune.method = 'imp' }]"];
    assert_eq!(f.run(&alone).json()["trained"].as_u64(), Some(0));
}

#[test]
fn a_cell_that_fails_stops_no_other() {
    let f = Fixture::new();
    // The second cell's loss is not finite; the third one's stage is the first one's last.
    let text = "[sweep]\nseeds = [57]\n[[sweep.group]]\nname = 'mask'\nset.prune = { method = 'omp', sparsity = 0.3 }\n\
        over.train.learning_rate = [1e-3, 1e30]\n[[sweep.group]]\nname = 'on'\nover.train.learning_rate = [1e-3, 1e30]\n\
        set.prune = { method = 'transfer', mask = { mask_of.group = 'mask' } }\nset.\"train.max_skipped\" = 1\n";
    let answer = sweep(&f, text);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let lines: Vec<&str> = answer.stderr.lines().filter(|line| line.starts_with('[')).collect();
    assert!(lines[1].contains("failed: ") && lines[3].contains("whose mask it takes, is not done"), "{answer:?}");
    assert!(lines[0].contains("trained 2 of 2") && lines[2].contains("from the store"), "{answer:?}");
    assert!(answer.stderr.contains("is tried again"), "{answer:?}");
    assert!(answer.stderr.trim_end().ends_with("error: 2 of 4 cells are not done"), "{answer:?}");
}

#[test]
fn what_is_wrong_is_told_once_and_before_anything_is_trained() {
    let f = Fixture::new();
    let text = SIX.replace("prune.method = 'rp' }", "prune.method = 'rp', prune.knd = 'uniform' }");
    let answer = sweep(&f, &text.replace("[0.1, 0.2, 0.3]", "[0.1, 1.5]"));
    assert_eq!(answer.code, Some(1));
    assert_eq!(answer.stderr.matches("unknown key `knd`").count(), 1, "{answer:?}");
    assert!(answer.stderr.contains("2 of 13 cells, such as pruned-rp-sparsity0.1-seed57"), "{answer:?}");
    assert_eq!(answer.stderr.matches("[prune] sparsity = 1.5").count(), 1, "{answer:?}");
    // Nor is a model that is not there told once a cell.
    let answer = f.run(&[
        "run",
        "sweep.toml",
        "--set",
        "model.path=nowhere",
        "sweep.group=[{ set.prune.method = 'mpi', set.prune.sparsity = 0.5 }]",
        "sweep.seeds=[1, 2]",
    ]);
    assert_eq!(answer.stderr.matches("does not exist").count(), 1, "{answer:?}");
    assert!(answer.stderr.contains("error: nowhere ([model] path)"), "{answer:?}");
    for (set, message) in [
        ("sweep.sedes=[1]", "did you mean `seeds`"),
        ("sweep.seeds=[]", "[sweep] seeds = []"),
        ("prune.sparsity=0.3", "it is set on the axis `sparsity`"),
    ] {
        let answer = f.run(&["plan", "sweep.toml", "--set", set]);
        assert!(answer.code == Some(1) && answer.stderr.contains(message), "{set}: {answer:?}");
    }
    assert!(!f.path("runs").exists());
}

/// Before the mask is there: its cell would be trained for nothing.
#[test]
fn the_mask_of_another_models_shape_is_told_before_anything_is_trained() {
    let f = Fixture::new();
    f.model("wider", 24, &json!({}), None);
    let other = TRANSFER.replace(
        "over.target = { key = 'train.learning_rate', values = [1e-3, 2e-3] }",
        "over.target = { key = 'model.path', values = ['model', 'wider'] }",
    );
    let answer = sweep(&f, &other);
    assert!(answer.code == Some(1) && answer.stderr.contains("4 of 10 cells, such as on-"), "{answer:?}");
    let told = "the mask of another cell (mask_of) and the model do not fit";
    assert!(answer.stderr.matches(told).count() == 1 && answer.stderr.contains("[16, 16]"), "{answer:?}");
    assert!(!f.path("runs").exists());
}

/// What a sweep's cells came to, without what depends on the time of day and on who trained what.
pub(crate) fn results(f: &Fixture, directory: &str) -> Vec<(String, Value, Value, Vec<u8>)> {
    let cells = std::fs::read_dir(f.path(directory).join("cells")).unwrap();
    let mut results: Vec<_> = cells
        .map(|cell| {
            let at = cell.unwrap().path();
            let record: Value = serde_json::from_slice(&std::fs::read(at.join("record.json")).unwrap()).unwrap();
            // Its origin names the method that found it first.
            let name = at.file_name().unwrap().to_str().unwrap().to_owned();
            let mask = f.run(&["mask", "info", at.to_str().unwrap(), "--json"]).json();
            (
                name,
                record["metrics"].clone(),
                record["stages"].as_array().unwrap().len().into(),
                mask["tensors"].to_string().into(),
            )
        })
        .collect();
    results.sort_by(|one, other| one.0.cmp(&other.0));
    results
}

#[test]
fn processes_that_share_a_sweep_train_every_stage_once() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{SIX}"));
    f.run(&["run", "sweep.toml", "--out", "one", "--set", "run.store=store-1"]).ok();
    let two = ["run", "sweep.toml", "--json", "--out", "two", "--set", "run.store=store-2", "sweep.workers=2"];
    let two = f.run(&two).json();
    assert_eq!((two["done"].as_u64(), two["trained"].as_u64()), (Some(19), Some(18)), "{two}");
    assert_eq!(results(&f, "one"), results(&f, "two"));
    // Whoever comes when all is done finds nothing to do.
    f.run(&["work", "two"]).ok();
    let answer = f.run(&["work", "SST-2"]);
    assert!(answer.code == Some(1) && answer.stderr.contains("holds no sweep of Lopper"), "{answer:?}");
}

#[test]
fn tables_and_the_page_say_what_the_records_say() {
    let f = Fixture::new();
    let figures = "[[figure]]\nname = 'curve'\nkind = 'curve'\ndense = { method = 'dense' }\npaper = 'It sinks.'\n\
        [[figure]]\nname = 'drift'\nkind = 'drift'\nwhere = { method = ['parp'] }\n";
    f.write("sweep.toml", format!("{BASE}{SIX}{figures}"));
    f.run(&["run", "sweep.toml"]).ok();
    let page = String::from_utf8(f.read("runs/sweep/report.html")).unwrap();
    let csv = String::from_utf8(f.read("runs/sweep/records.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + 19);
    let (alone, distinct, _) = counts(&f, &["sweep.toml"]);
    assert!(page.contains(&format!("{distinct} distinct finetunings in place of {alone}.")), "{page}");
    let table = f.run(&["table", "runs/sweep"]).ok();
    for (name, sparsity) in [("dense-seed57", 0.0), ("pruned-parp-p-sparsity0.3-seed57", 0.3)] {
        let record = record(&f, name);
        let value = record["metric"]["value"].as_f64().unwrap();
        let row = table.lines().find(|line| line.starts_with(name)).unwrap();
        assert!(row.contains(&format!("{value:.4}")), "{row}");
        let row = csv.lines().find(|line| line.contains(name)).unwrap();
        assert!(row.split(',').any(|field| field.parse() == Ok(value)), "{value}: {row}");
        assert!((record["sparsity"].as_f64().unwrap() - sparsity).abs() < 1e-3);
        assert!(page.contains(name), "{name}");
    }
    let drift = String::from_utf8(f.read("runs/sweep/figures/drift.csv")).unwrap();
    assert_eq!(drift.lines().count(), 1 + 3, "{drift}");
    assert!(page.contains("It sinks.") && f.read("runs/sweep/figures/curve.svg").starts_with(b"<"));
    let report = f.run(&["report", "runs/sweep", "--json"]).json();
    assert_eq!(report["figures"].as_array().unwrap().len(), 2);
    assert_eq!(page.as_bytes(), f.read("runs/sweep/report.html"), "the same records make the same page");
    // What is wrong with a figure is told before anything is trained.
    let answer = f.run(&[
        "run",
        "sweep.toml",
        "--out",
        "new",
        "--set",
        "figure=[{ name = 'a', kind = 'curve', lines = 'metod' }]",
    ]);
    assert!(answer.code == Some(1) && answer.stderr.contains("metod"), "{answer:?}");
    assert!(!f.path("new").exists());
}

/// Two methods and a figure that compares them.
const TWO: &str = "[prune]\nsparsity = 0.3\n[sweep]\nseeds = [1, 2]\n[sweep.over.method]\nrp = { prune.method = 'rp' }\n\
    mpi = { prune.method = 'mpi' }\n[[figure]]\nname = 'against'\nkind = 'compare'\nbaseline = 'rp'\n";

#[test]
fn methods_are_compared_over_the_examples_that_the_runs_kept() {
    let f = Fixture::new();
    sweep(&f, TWO).ok();
    let csv = String::from_utf8(f.read("runs/sweep/figures/against.csv")).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let (header, row) = (lines.next().unwrap(), lines.next().unwrap());
    let value = |column: &str| row[header.iter().position(|name| *name == column).unwrap()];
    let kept = String::from_utf8(f.read("runs/sweep/cells/mpi-seed1/predictions-validation.csv"));
    let examples = kept.unwrap_or_default().lines().count() - 1;
    assert_eq!((value("n"), value("examples")), ("2", &*examples.to_string()), "{csv}");
    assert!(value("mcnemar_p").split(' ').count() == 2 && value("examples_p").parse::<f64>().unwrap() > 0.0, "{csv}");
}

/// What is answered to a request for an address.
fn ask(port: u16, target: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_page_is_served_anew_when_a_cell_ends() {
    let f = Fixture::new();
    sweep(&f, TWO).ok();
    let mut child =
        f.command(&["report", "runs/sweep", "--watch"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut told).unwrap();
    let port: u16 =
        told.trim().rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap_or_else(|_| panic!("{told}"));
    let page = ask(port, "/");
    assert!(page.starts_with("HTTP/1.1 200 OK") && page.contains("against") && !page.contains("seed3"), "{page}");
    let state = ask(port, "/state");
    // The port is taken, and told so.
    let other = f.run(&["report", "runs/sweep", "--watch", "--port", &port.to_string()]);
    assert!(other.code == Some(1) && other.stderr.contains(&port.to_string()), "{other:?}");
    f.run(&["run", "sweep.toml", "--set", "sweep.seeds=[1, 2, 3]"]).ok();
    let begun = Instant::now();
    while ask(port, "/state") == state || !ask(port, "/").contains("seed3") {
        assert!(begun.elapsed() < Duration::from_secs(30), "the page stays as it was");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert_eq!(answer.code, Some(0), "{answer:?}");
}
