//! Several processes that train a stage together, as threads: each has a model, a method and directories of its own.
//!
//! libtorch has one generator for the whole process, so the models here drop nothing out: what a rank computes must not depend
//! on when another one seeds that generator.

mod threads;
mod toy;

use self::threads::Threads;
use self::toy::{Sensitive, Uneven};
use super::*;
use crate::checkpoint::CheckpointStore;
use crate::events::EventLog;
use crate::judge::Judge;
use crate::plugins::Plugins;
use crate::provenance::Provenance;
use crate::status::{RunState, RunStatus, StatusWriter};
use crate::store::{LEASE, StageStore};
use crate::weights::Weights;
use crate::world::Alone;
use crate::writer::Writer;
use crate::{
    CheckpointEvery, Counts, EvaluationBatches, Keep, Precision, RunIdentity, SessionSettings, StageStatus, Stop,
};
use lopper_core::{PruningStrategy, Selector, StrategyEntry, registry};
use lopper_strategies as _;
use lopper_testkit::{ToyConfig, ToyData, ToyDataset, ToyModel, run_spec};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tch::{Device, Tensor};

/// Of every stage.
const UPDATES: u64 = 14;

/// What is trained, by how many, and how it is stopped; the defaults are a whole stage.
#[derive(Clone)]
struct Case {
    method: &'static str,
    options: &'static str,
    /// Whose stage it is, of the plan's.
    stage: usize,
    /// Of the random mask that it starts with.
    start: f64,
    accumulate: u64,
    frozen: u64,
    leaves_out: bool,
    checkpoint: CheckpointEvery,
}

/// A stage that trains whole, with `accumulate` micro-batches an update.
fn of(method: &'static str, options: &'static str, accumulate: u64) -> Case {
    let (stage, start, frozen, leaves_out) = (0, 0.0, 0, false);
    Case { method, options, stage, start, accumulate, frozen, leaves_out, checkpoint: CheckpointEvery::OnInterrupt }
}

/// What a rank ended with.
struct Ended {
    result: std::result::Result<(MaskSet, Vec<u8>, u64, Counts), String>,
    /// Bits of every parameter.
    weights: Vec<(String, Vec<u32>)>,
    passes: u64,
    /// Files below its directory that are new or have changed.
    written: Vec<String>,
    metrics: String,
}

impl Case {
    /// Trains as one rank of `world` in `at`, going on from what `from` holds of it.
    fn train(&self, world: &dyn World, at: &Path, from: Option<&Path>, stop_at: Option<u64>) -> Ended {
        let sparsity = Sparsity::new(if self.method == "dense" { 0.0 } else { 0.6 }).unwrap();
        let mut spec = run_spec(sparsity, UPDATES);
        spec.recipe.accumulate = self.accumulate;
        spec.recipe.freeze_encoder_updates = self.frozen;
        let strategy: Box<dyn PruningStrategy> = match self.method {
            "sensitive" => Box::new(Sensitive),
            name => (registry::find::<StrategyEntry>(name).unwrap().open)(&self.options.parse().unwrap()).unwrap(),
        };
        let stage = strategy.plan(&spec).unwrap().swap_remove(self.stage);
        let stop = Stop::default();
        let config = ToyConfig { hidden: vec![16, 12], dropout: 0.0, ..Default::default() };
        let inner = ToyModel::new(config, 1, 2, Device::Cpu).unwrap();
        let (left_out, passes) = Default::default();
        let model = Uneven { inner, leaves_out: self.leaves_out, left_out, passes, stop_at, stop: stop.clone() };
        let dataset = ToyDataset::new(&ToyData { train: 100, validation: 40, ..Default::default() }).unwrap();
        let mut weights = Weights::of(&model).unwrap();
        let mut method = strategy.method(&stage, weights.layout()).unwrap();
        let start_mask = MaskSet::random(weights.layout().clone(), Sparsity::new(self.start).unwrap(), 3);
        let settings = SessionSettings {
            seed: spec.seed,
            device: Device::Cpu,
            precision: Precision::Float32,
            out: at.join("out"),
            store: at.join("store"),
            keep: Keep::All,
            wanted_by_others: Default::default(),
            lease: LEASE,
            evaluate_every: 5,
            evaluation: EvaluationBatches { rows: 64, budget: None },
            checkpoint: self.checkpoint,
            checkpoints_kept: 1,
            save_model: true,
            save_dtype: lopper_weights::SaveDtype::Float32,
            replace: false,
            configuration: None,
            progress: false,
            tensorboard: false,
            max_skipped: 0,
            stop: stop.clone(),
        };
        let identity = RunIdentity {
            model: "toy".into(),
            strategy: self.method.into(),
            strategy_options: Default::default(),
            model_origin: "testkit 1".into(),
            dataset_origin: "testkit 1".into(),
            strategy_origin: "tests 1".into(),
        };
        let store = StageStore::open(&settings.store, LEASE).unwrap();
        let (plugins, made_by) = (Plugins::of(&identity), Provenance::here(Device::Cpu, BTreeMap::new()));
        std::fs::create_dir_all(&settings.out).unwrap();
        let status = RunStatus {
            state: RunState::Running,
            error: None,
            method: String::new(),
            task: String::new(),
            process: 1,
            store: settings.store.clone(),
            stages: vec![StageStatus {
                name: String::new(),
                key: String::new(),
                updates: UPDATES,
                done: 0,
                seconds: 0.0,
            }],
            loss: None,
            metric: None,
            sparsity: None,
        };
        let mut status = StatusWriter::begin(&settings.out, status).unwrap();
        let mut events = EventLog::open(&settings.out.join("metrics.jsonl")).unwrap();
        let checkpoints = CheckpointStore::new(&settings.out);
        let resume = from.map(|from| CheckpointStore::new(&from.join("out")).load("key").unwrap().unwrap());
        let before = files(at);
        let judge = Judge {
            model: &model,
            dataset: &dataset,
            plugins: &plugins,
            identity: &identity,
            settings: &settings,
            store: &store,
            made_by: &made_by,
        };
        let sink = Sink {
            stage: &stage.name,
            key: "key",
            events: Some(&mut events),
            status: &mut status,
            progress: None,
            checkpoints: &checkpoints,
            writer: &Writer::default(),
            every: settings.checkpoint,
            judge: &judge,
            out: &settings.out,
        };
        let inputs = StageInputs {
            stage: &stage,
            key: "key",
            start_mask: &start_mask,
            first_lines: TrainingLines::default(),
            model: &model,
            weights: &mut weights,
            dataset: &dataset,
            method: method.as_mut(),
            plugins: &plugins,
            selector: &mut Selector::new(),
            seed: settings.seed,
            precision: settings.precision,
            device: settings.device,
            max_skipped: settings.max_skipped,
            resume,
            goal: Goal { until: UPDATES, snapshots: [4].into(), judged: [5, 10].into(), hands_on: false },
            stop: &stop,
        };
        let result = run_stage(inputs, world, sink);
        let bits = |tensor: &Tensor| {
            lopper_torch::read_host(tensor, |values| values.iter().map(|v| v.to_bits()).collect()).unwrap()
        };
        let of = |trained: Trained| {
            let Trained { mask, lines, progress, .. } = trained;
            (mask, lines.as_bytes().to_vec(), progress.update, progress.counts)
        };
        Ended {
            result: result.map(of).map_err(|e| e.to_string()),
            weights: weights.tensors().map(|(name, tensor)| (name.to_string(), bits(tensor))).collect(),
            passes: model.passes.get(),
            written: files(at).difference(&before).map(|(name, _)| name.clone()).collect(),
            metrics: std::fs::read_to_string(settings.out.join("metrics.jsonl")).unwrap(),
        }
    }

    /// Trains in as many ranks, each in a directory of its own below `at`; `stop_at` says of one rank when it is asked to stop.
    fn together(&self, size: usize, at: &Path, from: Option<&Path>, stop_at: Option<(usize, u64)>) -> Vec<Ended> {
        std::thread::scope(|scope| {
            let train = |world: Threads| {
                let rank = world.rank();
                let stop_at = stop_at.filter(|(asked, _)| *asked == rank).map(|(_, pass)| pass);
                scope.spawn(move || self.train(&world, &at.join(rank.to_string()), from, stop_at))
            };
            let ranks: Vec<_> = Threads::of(size).into_iter().map(train).collect();
            ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }
}

/// In memory where that is possible: waiting for a disk would take most of the time.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Every file below a directory with a hash of its content.
fn files(at: &Path) -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(at).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(files(&entry));
        } else {
            found.insert((entry.display().to_string(), blake3::hash(&std::fs::read(&entry).unwrap()).to_string()));
        }
    }
    found
}

/// Whether all ranks ended as one process alone did, and the first one alone has written.
fn check_same(ranks: &[Ended], alone: &Ended, what: &str) {
    let expected = alone.result.as_ref().unwrap();
    for (rank, ended) in ranks.iter().enumerate() {
        let (mask, lines, update, counts) = ended.result.as_ref().unwrap();
        assert_eq!((mask, update), (&expected.0, &expected.2), "{what}: mask of rank {rank}");
        assert_eq!(counts, &expected.3, "{what}: counts of rank {rank}");
        assert!(ended.weights == alone.weights, "{what}: weights of rank {rank}");
        assert_eq!(ended.written.is_empty(), rank > 0, "{what}: rank {rank} writes {:?}", ended.written);
        if rank == 0 {
            assert_eq!(String::from_utf8_lossy(lines), String::from_utf8_lossy(&expected.1), "{what}: lines");
            assert_eq!(ended.metrics, alone.metrics, "{what}: metrics");
        }
    }
}

fn cases() -> Vec<(&'static str, Case)> {
    let hard = Case { stage: 1, start: 0.5, ..of("imp", "step = 0.3", 2) };
    vec![
        ("dense", of("dense", "", 2)),
        ("dense, three", of("dense", "", 3)),
        ("dense, frozen encoder", Case { frozen: 4, ..of("dense", "", 2) }),
        ("a round of IMP", hard.clone()),
        ("a round of IMP with layers left out", Case { leaves_out: true, ..hard }),
        ("PARP", of("parp", "every = 3", 2)),
        ("PARP, four", Case { leaves_out: true, ..of("parp", "every = 3\nmoments = 'zero'", 4) }),
        ("PARP, frozen at its end", of("parp", "every = 3\nfreeze_last = 4", 2)),
        ("a method of its own", of("sensitive", "", 2)),
    ]
}

/// Losses and masks of a stage, line by line, without the masks' own lines.
fn updates(ended: &Ended) -> Vec<serde_json::Value> {
    let lines = String::from_utf8(ended.result.as_ref().unwrap().1.clone()).unwrap();
    let parse = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    lines.lines().map(parse).filter(|line| line.get("loss").is_some()).collect()
}

/// With all of its updates frozen PARP is a finetuning under its initial mask.
#[test]
fn frozen_to_its_end_parp_trains_as_under_a_hard_mask() {
    let at = directory();
    let train = |method, options: &'static str| {
        Case { start: 0.6, ..of(method, options, 1) }.train(&Alone, &at.path().join(method), None, None)
    };
    let (parp, mpi) = (train("parp", "every = 100\nfreeze_last = 100"), train("mpi", ""));
    assert_eq!(updates(&parp), updates(&mpi));
    assert!(parp.weights == mpi.weights);
    assert_eq!(parp.result.unwrap().0, mpi.result.unwrap().0);
}

/// Whether the last re-prune takes place changes no update; without it the weights are what they were, all of them.
#[test]
fn without_its_last_reprune_the_result_of_parp_is_dense() {
    let at = directory();
    let train = |name, options: &'static str| {
        Case { start: 0.6, ..of("parp", options, 1) }.train(&Alone, &at.path().join(name), None, None)
    };
    let (pruned, dense) = (train("pruned", "every = 3"), train("dense", "every = 3\nlast_reprune = false"));
    assert_eq!(updates(&pruned), updates(&dense));
    assert_eq!(dense.result.as_ref().unwrap().0.sparsity().get(), 0.0);
    let mut outside = 0;
    for ((name, pruned), (_, dense)) in pruned.weights.iter().zip(&dense.weights) {
        for (pruned, dense) in pruned.iter().zip(dense) {
            // What is zeroed has trained since the re-prune before.
            assert!(pruned == dense || f32::from_bits(*pruned) == 0.0, "{name}");
            outside += usize::from(pruned != dense);
        }
    }
    assert!(outside > 50, "{outside}");
}

/// With as many micro-batches an update as ranks, their sums are those of one process: it adds in the order of micro-batches, and
/// they in the order of ranks. An update at the end of a pass has fewer, and leaves ranks without any.
#[test]
fn together_they_compute_what_one_computes_alone() {
    tch::set_num_threads(1);
    for (what, case) in cases() {
        let directory = directory();
        let alone = case.train(&Alone, &directory.path().join("alone"), None, None);
        let ranks = case.together(case.accumulate as usize, &directory.path().join("together"), None, None);
        check_same(&ranks, &alone, what);
        let (mask, lines, ..) = alone.result.as_ref().unwrap();
        assert_eq!(mask.pruned() > 0, !what.starts_with("dense"), "{what}");
        assert_eq!(String::from_utf8_lossy(lines).contains("layers_left_out"), case.leaves_out, "{what}");
        assert!(alone.metrics.contains("\"event\":\"validation\""), "{what}");
        let passes: u64 = ranks.iter().map(|rank| rank.passes).sum();
        assert_eq!(passes, alone.passes, "{what}: the micro-batches are shared out");
        assert!(ranks[1].passes < alone.passes && ranks[1].passes > 0, "{what}");
    }
}

/// With more micro-batches than ranks each rank first adds up its own, so that the last bits may differ from one process's, but
/// never between ranks.
#[test]
fn ranks_never_differ() {
    tch::set_num_threads(1);
    for (what, case) in cases() {
        let directory = directory();
        let case = Case { accumulate: 5, ..case };
        let ranks = case.together(2, directory.path(), None, None);
        let (first, others) = ranks.split_first().unwrap();
        let mask = |ended: &Ended| ended.result.as_ref().unwrap().0.clone();
        for other in others {
            assert!(first.weights == other.weights && mask(first) == mask(other), "{what}");
        }
    }
}

/// A stop that one rank is asked for: seen in its last micro-batch of an update it ends all after that update, and in an earlier
/// one all before it. From the checkpoint of the first all go on to the end of one that was never stopped.
#[test]
fn whoever_is_asked_to_stop_all_stop_at_the_same_update() {
    tch::set_num_threads(1);
    for (what, case) in cases() {
        for (rank, pass, per_rank) in [(0, 3, 1), (1, 3, 1), (1, 4, 2), (0, 6, 2)] {
            let size = 2;
            let case = Case { accumulate: size as u64 * per_rank, ..case.clone() };
            let directory = directory();
            let at = directory.path();
            let whole = case.together(size, &at.join("whole"), None, None);
            let stopped = case.together(size, &at.join("stopped"), None, Some((rank, pass)));
            let stands = expected_update(&case, size, rank, pass);
            for (other, ended) in stopped.iter().enumerate() {
                let error = ended.result.as_ref().unwrap_err();
                let says = format!("stands at update {stands} of {UPDATES}");
                assert!(error.contains("interrupted") && error.contains(&says), "{what}, {rank} {pass}: {error}");
                assert_eq!(ended.written.is_empty(), other > 0, "{what}: rank {other} writes {:?}", ended.written);
            }
            let resumed = case.together(size, &at.join("resumed"), Some(&at.join("stopped/0")), None);
            for (rank, (whole, resumed)) in whole.iter().zip(&resumed).enumerate() {
                assert!(whole.weights == resumed.weights, "{what}: weights of rank {rank}");
                let (whole, resumed) = (whole.result.as_ref().unwrap(), resumed.result.as_ref().unwrap());
                assert!(whole.0 == resumed.0 && (rank > 0 || whole.1 == resumed.1), "{what}: rank {rank}");
            }
        }
    }
}

/// The update after which all stand when a rank is asked in that pass of its own.
fn expected_update(case: &Case, size: usize, rank: usize, pass: u64) -> u64 {
    let micro = MicroBatches::new(100u64.div_ceil(16), case.accumulate);
    let mut passes = 0;
    for update in 1.. {
        let own = together::share((rank, size), micro.of(update)).count() as u64;
        if pass <= passes + own {
            // In its last one it is through when it looks.
            return if pass == passes + own { update } else { update - 1 };
        }
        passes += own;
    }
    0
}

/// A rank that fails takes the others with it instead of leaving them waiting.
#[test]
fn a_rank_that_fails_ends_all() {
    tch::set_num_threads(1);
    struct Broken(Threads, Cell<u64>);
    impl World for Broken {
        fn rank(&self) -> usize {
            self.0.rank()
        }
        fn size(&self) -> usize {
            self.0.size()
        }
        fn all_reduce_sum(&self, tensors: &mut [Tensor], numbers: &mut [f64]) -> Result<()> {
            self.1.set(self.1.get() + 1);
            if self.rank() == 1 && self.1.get() == 3 {
                return Err(Error::Other("the cable is out".into()));
            }
            self.0.all_reduce_sum(tensors, numbers)
        }
        fn broadcast(&self, bytes: Vec<u8>) -> Result<Vec<u8>> {
            self.0.broadcast(bytes)
        }
        fn all_gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>> {
            self.0.all_gather(bytes)
        }
        fn barrier(&self) -> Result<()> {
            self.0.barrier()
        }
    }
    let directory = directory();
    let case = of("parp", "every = 3", 2);
    let (case, at) = (&case, directory.path());
    let ended: Vec<Ended> = std::thread::scope(|scope| {
        let train = |world: Threads| {
            let at = at.join(world.rank().to_string());
            scope.spawn(move || case.train(&Broken(world, Cell::new(0)), &at, None, None))
        };
        let ranks: Vec<_> = Threads::of(2).into_iter().map(train).collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    });
    let errors: Vec<_> = ended.iter().map(|ended| ended.result.as_ref().unwrap_err().as_str()).collect();
    assert_eq!(errors, ["rank 1 is gone", "the cable is out"]);
}

/// Which gradients the ranks have differs from parameter to parameter, and none of it turns a -0 into +0.
#[test]
fn a_gradient_that_a_rank_does_not_have_changes_no_bit_of_the_others() {
    let features = [[1.0, -0.0, f32::MIN_POSITIVE], [-0.0, 0.0, 2.0]];
    let given = |rank: usize| [Some(features[rank]), (rank == 1).then_some(features[0]), None, Some(features[1])];
    let expected = [Some([1.0, 0.0, f32::MIN_POSITIVE + 2.0]), Some(features[0]), None, Some([-0.0, 0.0, 4.0])];
    std::thread::scope(|scope| {
        for world in Threads::of(2) {
            scope.spawn(move || {
                let config = ToyConfig { features: 3, hidden: vec![1], classes: 3, dropout: 0.0 };
                let model = ToyModel::new(config, 1, 2, Device::Cpu).unwrap();
                let weights = Weights::of(&model).unwrap();
                // The encoder's weight and bias, then the head's.
                let parameters = weights.trainable();
                let sizes: Vec<usize> = parameters.iter().map(|(_, parameter)| parameter.numel()).collect();
                assert_eq!(sizes, [3, 1, 3, 3]);
                for ((_, parameter), gradient) in parameters.iter().zip(given(world.rank())) {
                    if let Some(gradient) = gradient {
                        let factors = Tensor::from_slice(&gradient[..parameter.numel()]).view_as(parameter);
                        (parameter * factors).sum(tch::Kind::Float).backward();
                    }
                }
                let own = Ok(together::Sums { loss: 0.5, count: 2.0, counts: Counts::new() });
                let stop = Stop::default();
                let (sums, wishes) = together::add_up(&world, &weights, own, world.rank() == 1, &stop).unwrap();
                assert_eq!((sums.loss, sums.count, wishes.save, wishes.stop), (1.0, 4.0, true, false));
                for ((name, parameter), expected) in parameters.iter().zip(expected) {
                    let gradient = parameter.grad();
                    let found =
                        gradient.defined().then(|| lopper_torch::read_host(&gradient, <[f32]>::to_vec).unwrap());
                    let expected = expected.map(|values| values[..parameter.numel()].to_vec());
                    let bits = |values: Option<Vec<f32>>| {
                        values.map(|all| all.iter().map(|v| v.to_bits()).collect::<Vec<_>>())
                    };
                    assert_eq!(bits(found), bits(expected), "{name}");
                }
            });
        }
    });
}
