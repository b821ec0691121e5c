use super::*;

/// Puts something into the store that looks like a finished stage that took 25 seconds, planned under `plan`.
pub(crate) fn pretend(store: &StageStore, plan: &str) {
    pretend_as(
        store,
        plan,
        &"e".repeat(64 - plan.len().min(63)).chars().chain(plan.chars()).take(64).collect::<String>(),
    );
}

/// The same with the training key `key`.
pub(crate) fn pretend_as(store: &StageStore, plan: &str, key: &str) {
    let run = lopper_testkit::run_spec(lopper_core::Sparsity::DENSE, 100);
    let layout = lopper_core::Layout::new([(lopper_core::ParameterName::new("w"), vec![4])]).unwrap();
    let mask = MaskSet::dense(Arc::new(layout));
    let record = StageRecord {
        key: key.to_owned(),
        stage: lopper_core::Stage::dense(&run),
        sparsity: 0.0,
        pruned: 0,
        entries: 4,
        weights: String::new(),
        skipped_updates: 0,
        counts: Default::default(),
        seconds: 25.0,
        made_by: made_by(),
        files: Default::default(),
    };
    store
        .add(Finished {
            record,
            start_mask: &mask,
            mask: &mask,
            method: None,
            origin: &Default::default(),
            events: b"",
        })
        .unwrap();
    store.note_alias(plan, key).unwrap();
}

fn made_by() -> Provenance {
    Provenance::here(tch::Device::Cpu, Default::default())
}

fn key(digit: char) -> String {
    digit.to_string().repeat(64)
}

fn open(directory: &Path) -> StageStore {
    StageStore::open(directory.join("store"), LEASE).unwrap()
}

fn reference(id: &str, stages: &[&str], weights: &[ArtefactId]) -> Reference {
    Reference {
        id: id.to_owned(),
        run: Path::new("/nowhere").join(id),
        host: "here".into(),
        stages: stages.iter().map(|key| (*key).to_owned()).collect(),
        weights: weights.iter().map(|id| id.name.clone()).collect(),
    }
}

fn free(store: &StageStore) -> Vec<String> {
    store.unreferenced().unwrap().into_iter().map(|stage| stage.key).collect()
}

/// An artefact of some bytes under a name.
fn put(store: &StageStore, id: &ArtefactId) {
    store.store.add(id, &mut |at| files::write_atomic(&at.join("content"), &[0; 100])).unwrap();
}

#[test]
fn only_what_no_run_refers_to_is_removed_and_no_run_is_forgotten_unasked() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let [a, b, c] = ['a', 'b', 'c'].map(key);
    for (plan, key) in ["1", "2", "3"].map(|digit| digit.repeat(64)).iter().zip([&a, &b, &c]) {
        pretend_as(&store, plan, key);
        put(&store, &ArtefactId::weights(key, 100));
    }
    fs::write(store.root().join("notes"), b"mine").unwrap();
    // The directories of both runs are nowhere to be seen: they may lie on another host.
    store.refer(&reference("one", &[&a], &[])).unwrap();
    // By its plan key alone: it has not come so far yet.
    store.refer(&reference("two", &["2".repeat(64).as_str()], &[])).unwrap();
    assert_eq!(free(&store), [c.as_str()]);
    // Even when asked to, it removes nothing that a run needs.
    let freed = store.remove(&[a.clone(), b.clone(), c.clone()]).unwrap();
    assert!(freed > 100 && free(&store).is_empty(), "{freed}");
    assert!(store.has_weights(&a, 100) && store.has_weights(&b, 100) && !store.has_weights(&c, 100));
    assert_eq!((store.resolve(&"3".repeat(64)), store.find(&c).map(|_| ())), (None, None));
    store.forget("two").unwrap();
    assert_eq!(free(&store), [b.as_str()]);
    assert!(store.root().join("notes").is_file());
}

#[test]
fn weights_go_unless_another_run_wants_them() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let a = key('a');
    let id = ArtefactId::weights(&a, 8);
    put(&store, &id);
    store.refer(&reference("one", &[&a], std::slice::from_ref(&id))).unwrap();
    store.refer(&reference("two", &[&a], std::slice::from_ref(&id))).unwrap();
    assert_eq!(store.remove_weights(std::slice::from_ref(&id), "one").unwrap(), 0);
    store.refer(&reference("two", &[&a], &[])).unwrap();
    assert_eq!(store.remove_weights(std::slice::from_ref(&id), "one").unwrap(), 100);
}

#[test]
fn a_stage_that_stands_is_not_replaced_and_a_damaged_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (plan, a) = (key('1'), key('a'));
    pretend_as(&store, &plan, &a);
    let at = store.find_planned(&plan).unwrap().directory;
    let before = fs::read(at.join(RECORD)).unwrap();
    pretend_as(&store, &plan, &a);
    assert_eq!(fs::read(at.join(RECORD)).unwrap(), before);
    store.find(&a).unwrap().verify().unwrap();
    fs::write(at.join(MASK), b"?").unwrap();
    let error = store.find(&a).unwrap().verify().unwrap_err().to_string();
    assert!(error.contains("mask.safetensors: is damaged"), "{error}");
    fs::write(at.join(RECORD), &before[..before.len() / 2]).unwrap();
    assert!(store.find(&a).is_none());
    pretend_as(&store, &plan, &a);
    store.find(&a).unwrap().verify().unwrap();
}

#[test]
fn an_alias_leads_to_one_stage() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let (plan, [a, b]) = (key('1'), ['a', 'b'].map(key));
    assert_eq!(store.resolve(&plan), None);
    store.note_alias(&plan, &a).unwrap();
    assert_eq!(store.resolve(&plan).as_ref(), Some(&a));
    // A start that was made again and came out differently.
    store.note_alias(&plan, &b).unwrap();
    assert_eq!(store.resolve(&plan).as_ref(), Some(&b));
}

#[test]
fn an_evaluation_is_kept_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let record = |value: f64| EvaluationRecord {
        key: key('e'),
        stage: key('a'),
        update: 8,
        metrics: SplitMetrics {
            split: lopper_core::Split::VALIDATION,
            metrics: vec![lopper_core::MetricValue { name: "f1".into(), value }],
        },
        seconds: 1.0,
        made_by: made_by(),
        predictions: None,
    };
    assert_eq!(store.evaluation(&key('e')), None);
    for value in [0.25, 0.5] {
        assert_eq!(store.add_evaluation(record(value), None).unwrap(), record(0.25).metrics);
    }
    assert_eq!(store.outcomes(&key('e')), None);
    // It goes with its stage.
    assert_eq!(free(&store), [key('a')]);
    store.remove(&[key('a')]).unwrap();
    assert_eq!(store.evaluation(&key('e')), None);
}

#[test]
fn what_was_said_of_each_example_lies_beside_its_evaluation() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path());
    let record = EvaluationRecord {
        key: key('e'),
        stage: key('a'),
        update: 8,
        metrics: SplitMetrics { split: lopper_core::Split::VALIDATION, metrics: Vec::new() },
        seconds: 1.0,
        made_by: made_by(),
        predictions: None,
    };
    let outcomes = Outcomes::Classes((0..40_000).map(|n| (n % 3, n % 2)).collect());
    store.add_evaluation(record.clone(), Some(&outcomes)).unwrap();
    assert_eq!(store.outcomes(&key('e')), Some(outcomes.clone()));
    let at = directory.path().join("store/evaluations").join(key('e'));
    let bytes: u64 = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 25_000, "40,000 examples take {bytes} bytes");
    // The first that was kept stands, like its metrics.
    store.add_evaluation(record.clone(), None).unwrap();
    assert_eq!(store.outcomes(&key('e')), Some(outcomes));
    let path = at.join(PREDICTIONS);
    let mut damaged = fs::read(&path).unwrap();
    damaged[100] ^= 1;
    fs::write(&path, damaged).unwrap();
    assert_eq!(store.outcomes(&key('e')), None);
    assert_eq!(store.evaluation(&key('e')), Some(record.metrics));
}
