//! What a method is shown while a stage trains, and what of it reaches another stage.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;

use common::{UPDATES, data, directory, model};
use lopper_core::*;
use lopper_session::{LEASE, RunRecord, Session, StageStore};
use lopper_testkit::serial;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tch::Tensor;

type Planned = fn(&RunSpec) -> Vec<Stage>;
type Scored = fn(&mut Notes, &View<'_>) -> Result<Scores>;

/// What a method notes down, for a test to look at.
#[derive(Default)]
struct Notes {
    /// As its own memory, and as its state.
    tensors: BTreeMap<String, Tensor>,
    text: BTreeMap<String, String>,
}

type Book = Arc<Mutex<Vec<BTreeMap<String, Tensor>>>>;

/// A strategy of two functions: what it plans, and how it scores. Every method that ends leaves its notes in the book.
struct Custom {
    plan: Planned,
    after_backward: fn(&mut Notes, &View<'_>) -> Result<()>,
    score: Scored,
    book: Book,
}

impl Custom {
    fn new(plan: Planned, score: Scored) -> Self {
        Self { plan, after_backward: |_, _| Ok(()), score, book: Book::default() }
    }
}

struct Method {
    notes: Notes,
    after_backward: fn(&mut Notes, &View<'_>) -> Result<()>,
    score: Scored,
    book: Book,
}

impl Drop for Method {
    fn drop(&mut self) {
        self.book.lock().unwrap().push(std::mem::take(&mut self.notes.tensors));
    }
}

impl PruningStrategy for Custom {
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        Ok((self.plan)(run))
    }

    fn method(&self, _: &Stage, _: &Arc<Layout>) -> Result<Box<dyn StageMethod>> {
        let Self { after_backward, score, ref book, .. } = *self;
        Ok(Box::new(Method { notes: Notes::default(), after_backward, score, book: book.clone() }))
    }
}

impl StageMethod for Method {
    fn after_backward(&mut self, view: &View<'_>) -> Result<()> {
        (self.after_backward)(&mut self.notes, view)
    }

    fn score(&mut self, view: &View<'_>) -> Result<Scores> {
        (self.score)(&mut self.notes, view)
    }

    fn measures(&self) -> Measures {
        Measures::from([("notes".to_owned(), self.notes.tensors.len() as f64), ("nothing".to_owned(), f64::NAN)])
    }

    fn state(&self) -> MethodState {
        let MethodState { tensors, .. } = MethodState::of(&self.notes.tensors);
        MethodState::new(tensors, self.notes.text.clone())
    }

    fn load_state(&mut self, state: MethodState) -> Result<()> {
        self.notes = Notes { tensors: state.tensors, text: state.text };
        Ok(())
    }
}

fn session(strategy: Custom, sparsity: f64, out: &Path, store: &Path) -> Result<Session> {
    let spec = common::spec(sparsity);
    let participants = common::participants(model(0.1), data(), (Box::new(strategy), "custom", "tests 1"));
    let settings = common::settings(&spec, out, store, Default::default());
    Session::new(participants, spec, settings)
}

fn run(strategy: Custom, sparsity: f64, at: &Path) -> RunRecord {
    session(strategy, sparsity, &at.join("out"), &at.join("store")).unwrap().run().unwrap()
}

fn mask(at: &Path, record: &RunRecord, stage: usize) -> MaskSet {
    StageStore::open(at.join("store"), LEASE).unwrap().find(&record.stages[stage].key).unwrap().mask().unwrap()
}

/// Pruned from the first update on, and ranked by gradients.
fn hard_and_growing(run: &RunSpec) -> Vec<Stage> {
    let stage =
        Stage::dense(run).named("hard").discovered(run.sparsity).schedule(ScheduleSpec::constant(4, run.sparsity));
    vec![stage.mask_grows().own_scores().gradients(Gradients::WhenDue)]
}

fn by_gradients(notes: &mut Notes, view: &View<'_>) -> Result<Scores> {
    for index in 0..view.weights().len() {
        if let Some(gradient) = view.gradient(index)? {
            // Kept as it came; nothing is copied.
            notes.tensors.insert(format!("{:02} {index}", view.update()), gradient);
        }
    }
    view.scores(|index, weight| match view.gradient(index)? {
        Some(gradient) => Ok(gradient.abs()),
        None => Ok(weight.tensor.abs()),
    })
}

#[test]
fn gradients_are_dense_in_score_and_safe_to_keep() {
    let _serial = serial();
    let at = directory();
    let strategy = Custom::new(hard_and_growing, by_gradients);
    let book = strategy.book.clone();
    let record = run(strategy, 0.5, at.path());
    assert_eq!(record.pruned * 2, record.entries);
    let book = book.lock().unwrap();
    let seen: Vec<&String> = book[0].keys().collect();
    // Every fourth of 14 updates and the last, of two tensors.
    assert_eq!(seen, ["04 0", "04 1", "08 0", "08 1", "12 0", "12 1", "14 0", "14 1"]);
    for (name, gradient) in &book[0] {
        let zeros = gradient.eq(0.0).sum(tch::Kind::Int64).int64_value(&[]);
        // Half would be, if they were masked; a unit of which nothing goes on has none either way.
        assert!(zeros * 3 < gradient.numel() as i64, "{name}: {zeros} of {} are zero", gradient.numel());
    }
}

#[test]
fn a_hard_mask_grows_where_its_stage_says_so() {
    let _serial = serial();
    let at = directory();
    let record = run(Custom::new(hard_and_growing, by_gradients), 0.5, at.path());
    let lines = std::fs::read_to_string(at.path().join("out/metrics.jsonl")).unwrap();
    let revived: u64 = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter_map(|line| line["revived"].as_u64())
        .sum();
    assert!(revived > 0, "{lines}");
    assert_eq!(mask(at.path(), &record, 0).pruned(), record.pruned);
    let shrinking: Planned = |run| {
        hard_and_growing(run)
            .into_iter()
            .map(|mut stage| {
                stage.mask_grows = false;
                stage
            })
            .collect()
    };
    let other = directory();
    run(Custom::new(shrinking, by_gradients), 0.5, other.path());
    let lines = std::fs::read_to_string(other.path().join("out/metrics.jsonl")).unwrap();
    assert!(
        lines.lines().filter(|line| line.contains("\"mask\"")).all(|line| line.contains("\"revived\":0")),
        "{lines}"
    );
}

#[test]
fn measures_are_lines_of_their_own() {
    let _serial = serial();
    let at = directory();
    run(Custom::new(hard_and_growing, by_gradients), 0.5, at.path());
    let lines = std::fs::read_to_string(at.path().join("out/metrics.jsonl")).unwrap();
    let measures: Vec<&str> = lines.lines().filter(|line| line.contains("\"measures\"")).collect();
    let expected = |update: u64, notes: f64| {
        format!(
            r#"{{"event":"measures","stage":"hard","update":{update},"measures":{{"notes":{notes:?},"nothing":null}}}}"#
        )
    };
    assert_eq!(measures, [expected(0, 0.0), expected(4, 2.0), expected(8, 4.0), expected(12, 6.0), expected(14, 8.0)]);
}

#[test]
fn what_a_stage_does_not_ask_for_is_refused_by_name() {
    let _serial = serial();
    let plan: Planned = |run| {
        let schedule = ScheduleSpec::constant(4, run.sparsity);
        vec![Stage::dense(run).named("blind").discovered(run.sparsity).schedule(schedule).own_scores()]
    };
    let refused = |score: Scored| {
        let at = directory();
        let mut session =
            session(Custom::new(plan, score), 0.5, &at.path().join("out"), &at.path().join("store")).unwrap();
        session.run().unwrap_err().to_string()
    };
    let error = refused(by_gradients);
    let asks =
        "method `custom` looks at gradients that stage blind does not ask for: Stage::gradients(Gradients::WhenDue)";
    assert_eq!(error, asks);
    let error = refused(|_, view| view.scores(|index, _| Ok(view.calibrated(index)?.unwrap().shallow_clone())));
    assert!(error.starts_with("method `custom` looks at calibration"), "{error}");
    let error = refused(|_, view| view.scores(|_, weight| Ok(weight.tensor.full_like(f64::NAN))));
    assert!(error.starts_with("the scores of method `custom` in stage blind have NaN at encoder.layer.0"), "{error}");
    let error = refused(|_, view| view.scores(|_, weight| Ok(weight.tensor.flatten(0, -1))));
    assert!(error.contains("do not fit the prunable tensors: `encoder.layer.0"), "{error}");
}

/// Scores that are what calibration collected.
fn by_calibration(notes: &mut Notes, view: &View<'_>) -> Result<Scores> {
    let norms = view.stage().calibration.is_some_and(|calibration| calibration.collects == Collect::InputNorms);
    view.scores(|index, weight| {
        let collected = view.calibrated(index)?.unwrap();
        notes.tensors.insert(index.to_string(), collected.shallow_clone());
        Ok(if norms { weight.tensor.abs() * collected } else { collected.abs() })
    })
}

fn calibrated(collects: fn(&RunSpec) -> Vec<Stage>) -> (BTreeMap<String, Tensor>, MaskSet) {
    let at = directory();
    let strategy = Custom::new(collects, by_calibration);
    let book = strategy.book.clone();
    let record = run(strategy, 0.5, at.path());
    let mut book = book.lock().unwrap();
    (book.remove(0), mask(at.path(), &record, 0))
}

fn stage_with(run: &RunSpec, collects: Collect) -> Vec<Stage> {
    let stage = Stage::dense(run).named("calibrated").discovered(run.sparsity).own_scores();
    vec![stage.calibration(Calibration::new(3, collects))]
}

/// What PyTorch's user would write: three batches, in training's order, through the model at theta_0.
#[test]
fn calibration_collects_what_it_says_and_again_the_same() {
    let _serial = serial();
    let toy = model(0.1);
    let spec = common::spec(0.5);
    let costs: Vec<u32> = (0..100).map(|index| data().cost(&Split::TRAIN, index)).collect();
    let batcher = lopper_session::Batcher::new(&costs, &spec.recipe.batching, false, spec.seed).unwrap();
    let batches: Vec<Batch> = (0..3).map(|n| data().batch(&Split::TRAIN, &batcher.batch(n)).unwrap()).collect();
    let close = |a: &Tensor, b: &Tensor| assert!(a.allclose(b, 1e-5, 1e-6, false), "{a:?} and {b:?}");

    let (norms, first) = calibrated(|run| stage_with(run, Collect::InputNorms));
    let features = Tensor::cat(&batches.iter().map(|b| b.input("features").unwrap()).collect::<Vec<_>>(), 0);
    close(&norms["0"], &features.square().sum_dim_intlist(0, false, tch::Kind::Float));
    assert_eq!(norms["1"].size(), [16]);
    let (again, second) = calibrated(|run| stage_with(run, Collect::InputNorms));
    assert!(norms.iter().all(|(index, tensor)| tensor == &again[index]) && first == second);

    let (gradients, first) = calibrated(|run| stage_with(run, Collect::Gradients));
    let (again, second) = calibrated(|run| stage_with(run, Collect::Gradients));
    assert!(gradients.iter().all(|(index, tensor)| tensor == &again[index]) && first == second);
    let (sensitivity, other) = calibrated(|run| stage_with(run, Collect::Sensitivity));
    for (index, name) in toy.prunable().iter().enumerate() {
        let weight = toy.parameters().get(name).unwrap().tensor.detach();
        close(&sensitivity[&index.to_string()], &(weight * &gradients[&index.to_string()]).abs());
    }
    assert_ne!(first, other);

    // Without dropout the mean loss over all three batches has exactly this gradient.
    let plain = model(0.0);
    let mut sum = Tensor::from(0f32);
    for batch in &batches {
        sum += plain.loss(batch, Mode::Train).unwrap().sum;
    }
    (sum / 48.0).backward();
    let at = directory();
    let strategy = Custom::new(|run| stage_with(run, Collect::Gradients), by_calibration);
    let book = strategy.book.clone();
    let participants = common::participants(model(0.0), data(), (Box::new(strategy), "custom", "tests 1"));
    let settings = common::settings(&spec, &at.path().join("out"), &at.path().join("store"), Default::default());
    Session::new(participants, spec, settings).unwrap().run().unwrap();
    for (index, name) in plain.prunable().iter().enumerate() {
        close(&book.lock().unwrap()[0][&index.to_string()], &plain.parameters().get(name).unwrap().tensor.grad());
    }
}

/// A second stage whose mask comes from what its method has seen, in both stages.
fn two_stages(run: &RunSpec, carry: bool) -> Vec<Stage> {
    let seen = |stage: Stage| stage.own_scores().gradients(Gradients::EveryUpdate);
    let half = Sparsity::new(run.sparsity.get() / 2.0).unwrap();
    let first = seen(Stage::dense(run).named("first").schedule(ScheduleSpec::constant(100, half)));
    let ranked = InitialMask::Discover { on: RewindPoint::Current, sparsity: run.sparsity, among: Among::All };
    let second = seen(Stage::dense(run).named("second").mask(ranked));
    vec![first, if carry { second.carry() } else { second }]
}

fn remember(notes: &mut Notes, view: &View<'_>) -> Result<()> {
    for index in 0..view.weights().len() {
        let gradient = view.gradient(index)?.unwrap();
        let sum = notes.tensors.get(&index.to_string()).map_or(gradient.copy(), |sum| sum + &gradient);
        notes.tensors.insert(index.to_string(), sum);
    }
    notes.text.insert("updates".into(), (view.update() + 1).to_string());
    Ok(())
}

fn by_memory(notes: &mut Notes, view: &View<'_>) -> Result<Scores> {
    view.scores(|index, weight| Ok(notes.tensors.get(&index.to_string()).map_or(weight.tensor.abs(), Tensor::abs)))
}

/// The second stage after its first was trained, and after it was found in the store.
#[test]
fn a_stage_from_the_store_is_followed_by_the_same_stage() {
    let _serial = serial();
    for plan in [(|run| two_stages(run, false)) as Planned, |run| two_stages(run, true)] {
        let at = directory();
        let custom = || Custom { after_backward: remember, ..Custom::new(plan, by_memory) };
        let record = run(custom(), 0.6, at.path());
        let trained = mask(at.path(), &record, 1);
        std::fs::remove_dir_all(at.path().join("store/stages").join(&record.stages[1].key)).unwrap();
        let again = run(custom(), 0.6, at.path());
        assert_eq!(again.stages.iter().map(|stage| stage.trained).collect::<Vec<_>>(), [false, true]);
        assert_eq!(again.stages[1].key, record.stages[1].key);
        assert_eq!(mask(at.path(), &again, 1), trained);
        assert_eq!(again.metrics, record.metrics);
    }
}

#[test]
fn what_is_carried_is_in_the_key_and_decides() {
    let _serial = serial();
    let with = |plan: Planned| {
        let at = directory();
        let record = run(Custom { after_backward: remember, ..Custom::new(plan, by_memory) }, 0.6, at.path());
        (mask(at.path(), &record, 1), record)
    };
    let (carried, a) = with(|run| two_stages(run, true));
    let (alone, b) = with(|run| two_stages(run, false));
    // The first stages differ in what they leave behind.
    assert!(a.stages[0].key != b.stages[0].key && a.stages[1].key != b.stages[1].key);
    assert_ne!(carried, alone);
    assert_eq!(a.stages[0].metrics, b.stages[0].metrics);
}

#[test]
fn an_impossible_stage_is_refused_before_anything_is_trained() {
    let refused = |plan: Planned| {
        let at = directory();
        let error = session(Custom::new(plan, by_memory), 0.5, &at.path().join("out"), &at.path().join("store"));
        error.err().unwrap().to_string()
    };
    let error = refused(|run| vec![Stage::dense(run).discovered(run.sparsity).pattern(Pattern::NofM { n: 1, m: 3 })]);
    assert!(error.contains("stage dense: the pattern 1 of 3") && error.contains("no multiple of 3"), "{error}");
    let error = refused(|run| vec![Stage::dense(run).calibration(Calibration::new(0, Collect::Gradients))]);
    assert!(error.contains("calibration.batches = 0") && error.contains("first mask is discovered"), "{error}");
    let error = refused(|run| vec![Stage::dense(run).carry()]);
    assert!(error.contains("carry = true is not accepted: only for a stage that follows another"), "{error}");
    let ramp: Planned = |run| {
        let ramp = ScheduleSpec::linear(1, Sparsity::DENSE, run.sparsity);
        vec![Stage::dense(run).schedule(ramp).pattern(Pattern::NofM { n: 2, m: 4 })]
    };
    assert!(refused(ramp).contains("has no other sparsity"), "{}", refused(ramp));
}

#[test]
fn a_strategy_is_asked_first_what_it_accepts() {
    struct Fussy;
    impl PruningStrategy for Fussy {
        fn plan(&self, _: &RunSpec) -> Result<Vec<Stage>> {
            panic!("it was not asked")
        }
        fn accepts(&self, layout: &Layout, target: Sparsity) -> Result<()> {
            Err(Error::invalid(
                "sparsity",
                target,
                format!("another model than one of {} tensors", layout.tensors().len()),
            ))
        }
    }
    let at = directory();
    let spec = common::spec(0.5);
    let participants = common::participants(model(0.1), data(), (Box::new(Fussy), "fussy", "tests 1"));
    let settings = common::settings(&spec, &at.path().join("out"), &at.path().join("store"), Default::default());
    let error = Session::new(participants, spec, settings).err().unwrap().to_string();
    assert_eq!(error, "sparsity = 0.5 is not accepted: another model than one of 2 tensors");
    assert_eq!(UPDATES, 14);
}
