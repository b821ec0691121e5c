//! What the methods cost: finetunings of one run (paper, Table 1), and of whole figures when equal stages are shared.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::{InitialMask, PruningStrategy, RewindPoint, RunSpec, Sparsity, Stage, StrategyEntry, registry};
use lopper_strategies as _;
use std::collections::BTreeSet;

const NINE: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

fn open(method: &str, options: &str) -> Box<dyn PruningStrategy> {
    let entry = registry::find::<StrategyEntry>(method).unwrap();
    (entry.open)(&options.parse().unwrap()).unwrap()
}

fn spec(sparsity: f64) -> RunSpec {
    lopper_testkit::run_spec(Sparsity::new(sparsity).unwrap(), 300)
}

fn plan(method: &str, options: &str, sparsity: f64) -> Vec<Stage> {
    open(method, options).plan(&spec(sparsity)).unwrap()
}

fn finetunings(stages: &[Stage]) -> usize {
    stages.iter().filter(|stage| stage.is_finetuning()).count()
}

#[test]
fn table_1_at_90_percent() {
    for (method, options, expected) in [
        ("rp", "", 1),
        ("mpi", "", 1),
        ("omp", "", 2),
        ("imp", "", 10),
        ("imp", "rounds = 'geometric'", 23),
        ("imp", "bert_tickets_compat = true", 10),
        ("parp", "", 1),
        ("parp-p", "from = [0.7]", 1),
        ("parp-p", "from = [0.6, 0.8]", 2),
    ] {
        assert_eq!(finetunings(&plan(method, options, 0.9)), expected, "{method} {options}");
    }
}

fn sparsities(stages: &[Stage]) -> Vec<f64> {
    stages
        .iter()
        .filter_map(|stage| match stage.mask {
            InitialMask::Discover { sparsity, .. } => Some(sparsity.get()),
            _ => None,
        })
        .collect()
}

#[test]
fn imp_s_rounds_prune_what_they_say() {
    assert_eq!(sparsities(&plan("imp", "", 0.9)), NINE);
    assert_eq!(sparsities(&plan("imp", "", 0.25)), [0.1, 0.2, 0.25]);
    assert_eq!(sparsities(&plan("imp", "step = 0.5", 1.0)), [0.5, 1.0]);
    let geometric = sparsities(&plan("imp", "rounds = 'geometric'", 0.9));
    assert_eq!(geometric.len(), 22);
    assert_eq!(geometric[..3], [0.1, 0.19, 0.271]);
    assert_eq!(*geometric.last().unwrap(), 0.9);
    assert!(geometric.is_sorted_by(|a, b| a < b));
}

#[test]
fn imp_rewinds_every_round_to_one_snapshot() {
    let stages = plan("imp", "rewind = 0.1", 0.3);
    assert_eq!(stages[0].snapshots, [30]);
    for round in &stages[1..] {
        assert_eq!(round.weights, RewindPoint::Update(30), "{}", round.name);
        assert!(matches!(round.mask, InitialMask::Discover { on: RewindPoint::Current, .. }), "{}", round.name);
    }
}

#[test]
fn chained_stages_meet_at_the_sparsities_in_between() {
    let stages = plan("parp-p", "from = [0.6, 0.8]\nevery = 10", 0.9);
    let ends = |stage: &Stage| {
        let schedule = stage.schedule.as_ref().unwrap();
        (schedule.options["initial"].as_float().unwrap(), schedule.options["sparsity"].as_float().unwrap())
    };
    assert_eq!(stages.iter().map(ends).collect::<Vec<_>>(), [(0.6, 0.8), (0.8, 0.9)]);
    assert_eq!(stages[1].mask, InitialMask::Keep);
    assert_eq!(stages[1].weights, RewindPoint::Current);
    assert_eq!(plan("parp-p", "from = [0.6, 0.8]\nstage_init = 'pretrained'", 0.9)[1].weights, RewindPoint::Pretrained);
}

/// A stage's keys hold what it consists of: n that is not given is the n that it comes to.
#[test]
fn n_is_a_share_of_the_updates_unless_it_is_given() {
    for (method, more, updates, n) in [
        ("parp", "", 300, 1),
        ("parp", "initial = 'rp'", 1000, 4),
        ("parp-p", "", 12_000, 48),
        ("parp-p", "from = [0.6, 0.8]", 535, 2),
    ] {
        let spec = lopper_testkit::run_spec(Sparsity::new(0.9).unwrap(), updates);
        let planned = |options: &str| open(method, options).plan(&spec).unwrap();
        let stages = planned(more);
        let every = |stage: &Stage| stage.schedule.as_ref().unwrap().every();
        assert!(stages.iter().all(|stage| every(stage) == Some(n)), "{method}, {more}: {stages:?}");
        assert_eq!(stages, planned(&format!("{more}\nevery = {n}")));
        assert_ne!(stages, planned(&format!("{more}\nevery = {}", n + 1)));
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    for (method, options, named) in [
        ("imp", "step = 0", "step"),
        ("imp", "step = 1.5", "step"),
        ("imp", "rounds = 'geometric'\nstep = 1.0", "step"),
        ("imp", "rewind = 1.0", "rewind"),
        ("imp", "round_learning_rate = 1e-5", "round_learning_rate"),
        ("imp", "rounds = 'cubic'", "rounds"),
        ("parp", "every = 0", "every"),
        ("parp", "freeze_last = 5\nlast_reprune = false", "0 where last_reprune is false"),
        ("parp", "evry = 5", "every"),
        ("parp", "initial = 'mip'", "mip"),
        ("parp-p", "from = [0.8, 0.6]", "from"),
        ("parp-p", "from = [1.5]", "1.5"),
        ("rp", "kind = 'uniforn'", "uniform"),
        ("mpi", "every = 5", "every"),
        ("transfer", "", "mask"),
    ] {
        let entry = registry::find::<StrategyEntry>(method).unwrap();
        match (entry.open)(&options.parse().unwrap()) {
            Ok(_) => panic!("{method} accepts {options}"),
            Err(error) => assert!(error.to_string().contains(named), "{method} {options}: {error}"),
        }
    }
    assert!(open("dense", "").plan(&spec(0.5)).is_err());
    assert!(open("parp-p", "from = [0.7]").plan(&spec(0.5)).is_err());
}

/// Distinct finetunings: a stage is the same as another when it is the same data in the same setting (task, head, seed,
/// checkpoint) and, where it depends on the stage before, so is that one.
#[derive(Default)]
struct Shared {
    naive: usize,
    chains: BTreeSet<String>,
}

impl Shared {
    fn add(&mut self, setting: &str, stages: &[Stage]) {
        self.naive += finetunings(stages);
        let mut chain = String::new();
        for stage in stages {
            let anonymous = stage.clone().named("").snapshots([]);
            let previous = if stage.needs_previous() { chain } else { String::new() };
            chain = format!("{previous} / {setting} {}", serde_json::to_string(&anonymous).unwrap());
            if stage.is_finetuning() {
                self.chains.insert(chain.clone());
            }
        }
    }

    fn counts(&self) -> (usize, usize) {
        (self.naive, self.chains.len())
    }
}

fn panel(shared: &mut Shared, setting: &str, methods: &[&str]) {
    shared.add(setting, &plan("dense", "", 0.0));
    for method in methods {
        for sparsity in NINE {
            shared.add(setting, &plan(method, "", sparsity));
        }
    }
}

#[test]
fn figure_3_shares_more_than_half() {
    let mut one = Shared::default();
    panel(&mut one, "base 10h", &["rp", "mpi", "omp", "imp", "parp", "parp-p"]);
    assert_eq!(one.counts(), (109, 54));

    let mut without_imp = Shared::default();
    panel(&mut without_imp, "base 10h", &["rp", "mpi", "omp", "parp", "parp-p"]);
    assert_eq!(without_imp.counts(), (55, 46));

    let mut six = Shared::default();
    for setting in ["base 10min", "base 1h", "base 10h", "large 10min", "large 1h", "large 10h"] {
        panel(&mut six, setting, &["rp", "mpi", "omp", "imp", "parp", "parp-p"]);
    }
    assert_eq!(six.counts(), (654, 324));
}

/// The stages that find a mask: all but the one that trains under it.
fn discovery(method: &str, sparsity: f64) -> Vec<Stage> {
    let mut stages = plan(method, "", sparsity);
    stages.pop();
    stages
}

#[test]
fn masks_of_one_finetuning_serve_every_sparsity() {
    let mut shared = Shared::default();
    for (setting, language) in (0..2).flat_map(|setting| (0..10).map(move |language| (setting, language))) {
        for sparsity in NINE {
            shared.add(&format!("{setting} {language}"), &discovery("omp", sparsity));
        }
    }
    assert_eq!(shared.counts(), (180, 20));
}

fn transfers(settings: usize, tasks: usize, method: &str, sparsity: f64) -> (usize, usize) {
    let mut shared = Shared::default();
    for setting in 0..settings {
        for (source, target) in (0..tasks).flat_map(|source| (0..tasks).map(move |target| (source, target))) {
            let mask = format!("./{setting}-{source}.safetensors");
            let transfers = [("transfer", format!("mask = '{mask}'")), ("parp", format!("initial = '{mask}'"))];
            for (transfer, options) in transfers {
                shared.add(&format!("{setting} {source}"), &discovery(method, sparsity));
                shared.add(&format!("{setting} {target}"), &plan(transfer, &options, sparsity));
            }
        }
    }
    shared.counts()
}

#[test]
fn transfer_figures_share_their_sources() {
    assert_eq!(transfers(2, 10, "omp", 0.5), (800, 420), "figures 7 and 28");
    assert_eq!(transfers(1, 9, "imp", 0.7), (1296, 225), "figure 29");
}

#[test]
fn bert_tickets_compatibility_shares_nothing_between_rounds_and_omp() {
    let mut shared = Shared::default();
    shared.add("", &plan("omp", "", 0.1));
    shared.add("", &plan("imp", "bert_tickets_compat = true", 0.1));
    assert_eq!(shared.counts(), (4, 4));
}
