use super::*;
use lopper_core::{Layout, MaskTensors, ParameterName, Sparsity};
use std::sync::Arc;
use tch::{Kind, Tensor};

const KEY: &str = "0123456789abcdef";

fn values(seed: i64, entries: i64) -> NamedTensors {
    let tensor = Tensor::arange(entries, (Kind::Float, tch::Device::Cpu)) * (seed as f64) + 0.25;
    [("a.weight".to_owned(), tensor), ("a.bias".to_owned(), Tensor::from_slice(&[seed as f32; 3]))].into()
}

fn checkpoint(update: u64) -> Checkpoint {
    let shapes = [(ParameterName::new("a.weight"), vec![40_000u64])];
    let layout = Arc::new(Layout::new(shapes).unwrap());
    let seed = update as i64 + 1;
    Checkpoint {
        progress: Progressed { update, seconds: 0.1 + 0.2, ..Progressed::start(KEY) },
        weights: values(seed, 40_000),
        optimizer: values(seed + 100, 40_000),
        strategy: MethodState::new(values(seed + 200, 300), [("round".to_owned(), update.to_string())].into()),
        mask: MaskSet::random(layout.clone(), Sparsity::new(0.7).unwrap(), update),
        sparse: false,
        start_mask: MaskSet::random(layout, Sparsity::new(0.6).unwrap(), update + 100),
        lines: TrainingLines::from_bytes(format!("{{\"update\":{update}}}\n").repeat(500).into_bytes()),
    }
}

/// Whether all of it is read back: the tensors into ones of the shapes that they had.
fn same(read: &Resumed, written: &Checkpoint) -> bool {
    let same_values =
        |a: &NamedTensors, b: &NamedTensors| a.len() == b.len() && a.iter().all(|(name, t)| b[name].equal(t));
    let in_place = |file: &SealedTensors, expected: &NamedTensors| {
        let into = |(name, tensor): (&String, &Tensor)| {
            let mut place = tensor.full_like(f64::NAN);
            file.read_into(name, &mut place).unwrap();
            (name.clone(), place)
        };
        file.names().eq(expected.keys()) && same_values(&expected.iter().map(into).collect(), expected)
    };
    read.progress == written.progress
        && in_place(&read.weights, &written.weights)
        && in_place(&read.optimizer, &written.optimizer)
        && same_values(&read.strategy.tensors, &written.strategy.tensors)
        && read.strategy.text == written.strategy.text
        && (&read.mask, &read.start_mask) == (&written.mask, &written.start_mask)
        && read.lines.as_bytes() == written.lines.as_bytes()
}

fn save(store: &CheckpointStore, checkpoint: &Checkpoint) {
    store.save(checkpoint, &Writer::default(), || ()).unwrap();
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files_below(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

#[test]
fn the_newest_are_kept_and_the_newest_is_loaded() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path());
    assert!(store.load(KEY).unwrap().is_none());
    let names = |updates: &[u64]| updates.iter().map(|update| format!("0123456789ab-{update:012}")).collect::<Vec<_>>();
    for update in [3, 6, 9, 9] {
        save(&store, &checkpoint(update));
        assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(update)));
        assert_eq!(store.names().unwrap(), names(&[update]));
    }
    let store = store.keeping(2);
    save(&store, &checkpoint(12));
    assert_eq!(store.names().unwrap(), names(&[12, 9]));
    store.save_behind(checkpoint(15), &Writer::default(), || ()).unwrap();
    store.settle().unwrap();
    assert_eq!(store.names().unwrap(), names(&[15, 12]));
    assert!(store.load("another stage").unwrap().is_none());
    assert_eq!(store.newest().unwrap().update, 15);
    store.clear().unwrap();
    assert!(!store.root.exists());
}

/// What a hard mask has zeroed takes no room, and is zero again wherever it is read to.
#[test]
fn of_what_is_zero_under_the_mask_nothing_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path());
    let whole = checkpoint(3);
    save(&store, &whole);
    let size = |name: &str| std::fs::metadata(store.root.join(&store.names().unwrap()[0]).join(name)).unwrap().len();
    let dense = [WEIGHTS, OPTIMIZER].map(size);
    let zeroed = |values: &NamedTensors| {
        let zero = |(name, tensor): (&String, &Tensor)| {
            let pruned = whole.mask.pruned_tensor(0, tch::Device::Cpu).unwrap();
            let masked = if name.ends_with("a.weight") { tensor.masked_fill(&pruned, 0.0) } else { tensor.copy() };
            (name.clone(), masked)
        };
        values.iter().map(zero).collect::<NamedTensors>()
    };
    let moments = |values: NamedTensors| -> NamedTensors {
        let step = ("step.a.weight".to_owned(), Tensor::from(7i64));
        values.into_iter().map(|(name, tensor)| (format!("exp_avg.{name}"), tensor)).chain([step]).collect()
    };
    let sparse = Checkpoint {
        weights: zeroed(&whole.weights),
        optimizer: moments(zeroed(&whole.optimizer)),
        sparse: true,
        ..checkpoint(3)
    };
    save(&store, &sparse);
    for (name, dense) in [WEIGHTS, OPTIMIZER].into_iter().zip(dense) {
        assert!(size(name) < dense * 35 / 100, "{} of {dense} bytes at 70 %", size(name));
    }
    let read = store.load(KEY).unwrap().unwrap();
    let kept = Kept::by(read.kept_by());
    let bits = |tensor: &Tensor| Vec::<f32>::try_from(tensor).unwrap().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    for (file, expected, prefix) in
        [(&read.weights, &sparse.weights, ""), (&read.optimizer, &sparse.optimizer, "exp_avg.")]
    {
        let name = format!("{prefix}a.weight");
        let mut place = expected[&name].full_like(f64::NAN);
        file.read_kept_into(&name, &mut place, kept.of("a.weight").unwrap()).unwrap();
        assert_eq!(bits(&place), bits(&expected[&name]), "to the sign of zero");
        let name = format!("{prefix}a.bias");
        let mut place = expected[&name].full_like(f64::NAN);
        file.read_into(&name, &mut place).unwrap();
        assert!(kept.of("a.bias").is_none() && place.equal(&expected[&name]));
    }
}

/// Every file of the newest checkpoint, with a bit flipped in and a cut at every 4 KiB and near both ends.
#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = CheckpointStore::new(directory.path()).keeping(2);
    save(&store, &checkpoint(3));
    save(&store, &checkpoint(6));
    let before = checkpoint(3);
    let newest = store.root.join(&store.names().unwrap()[0]);
    let [mut flips, mut cuts, mut bytes] = [0; 3];
    for path in files_below(&newest) {
        let whole = std::fs::read(&path).unwrap();
        let mut places: Vec<usize> = (0..whole.len()).step_by(4096).collect();
        places.extend([1, 7, 8, 9, whole.len() / 2, whole.len() - 2, whole.len() - 1]);
        for place in places.into_iter().filter(|place| *place < whole.len()) {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << (place % 8);
            for (damaged, count) in [(&flipped[..], &mut flips), (&whole[..place], &mut cuts)] {
                std::fs::write(&path, damaged).unwrap();
                let loaded = store.load(KEY).unwrap().unwrap();
                assert!(same(&loaded, &before), "{} damaged at {place}", path.display());
                *count += 1;
            }
        }
        bytes += whole.len();
        std::fs::remove_file(&path).unwrap();
        assert!(same(&store.load(KEY).unwrap().unwrap(), &before), "without {}", path.display());
        std::fs::write(&path, whole).unwrap();
    }
    println!(
        "{flips} flipped bits and {cuts} cuts in {bytes} bytes of a checkpoint: each was found, none cost more than it"
    );
    assert_eq!(flips, cuts);
    assert!(flips > 125 && flips > bytes / 4096 && bytes > 300_000, "{flips} of {bytes}");
    assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(6)));
    // The file that names the newest is no single point of failure.
    for name in ["", "elsewhere", "\u{fffd}"] {
        std::fs::write(store.latest_path(), name).unwrap();
        assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(6)));
    }
}

#[test]
fn with_no_whole_checkpoint_left_all_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path()).keeping(2);
    save(&store, &checkpoint(3));
    save(&store, &checkpoint(6));
    let [newer, older] = [0, 1].map(|place| store.root.join(&store.names().unwrap()[place]));
    std::fs::write(newer.join(WEIGHTS), b"").unwrap();
    std::fs::write(older.join(EVENTS), b"{}\n").unwrap();
    let error = store.load(KEY).map(|_| ()).unwrap_err().to_string();
    for part in [WEIGHTS, EVENTS, "is damaged", "remove", "000000000003", "000000000006"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
}

#[test]
fn a_checkpoint_is_written_while_its_owner_goes_on() {
    use std::sync::mpsc::channel;
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path());
    let (done, wait) = channel();
    for update in [3, 6, 9] {
        let done = done.clone();
        store.save_behind(checkpoint(update), &Writer::default(), move || done.send(update).unwrap()).unwrap();
        // One at a time: the one before is whole when the next begins.
        assert!(update == 3 || wait.try_recv() == Ok(update - 3));
        assert!(!store.holds(&checkpoint(update).progress));
    }
    store.settle().unwrap();
    assert_eq!(wait.try_recv(), Ok(9));
    assert!(store.holds(&checkpoint(9).progress) && !store.holds(&checkpoint(6).progress));
    assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(9)));

    // What goes wrong is told to whoever waits for it, and costs nothing that was there.
    let newest = store.root.join("0123456789ab-000000000012");
    std::fs::write(&newest, b"in the way").unwrap();
    store.save_behind(checkpoint(12), &Writer::default(), || panic!("it is not on disk")).unwrap();
    let error = store.settle().unwrap_err().to_string();
    assert!(error.contains("000000000012"), "{error}");
    store.settle().unwrap();
    assert!(store.holds(&checkpoint(9).progress));
    std::fs::remove_file(&newest).unwrap();

    // One that nobody waits for is finished all the same.
    store.save_behind(checkpoint(15), &Writer::default(), || ()).unwrap();
    drop(store);
    let store = CheckpointStore::new(directory.path());
    assert!(same(&store.load(KEY).unwrap().unwrap(), &checkpoint(15)));
    assert!(store.holds(&checkpoint(15).progress), "what was read is on disk");
}

#[test]
fn files_of_two_checkpoints_do_not_mix() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path()).keeping(2);
    save(&store, &checkpoint(3));
    save(&store, &checkpoint(6));
    let [newer, older] = [0, 1].map(|place| store.root.join(&store.names().unwrap()[place]));
    for name in [WEIGHTS, OPTIMIZER, STRATEGY, MASK, START_MASK, EVENTS, RECORD] {
        let whole = std::fs::read(newer.join(name)).unwrap();
        std::fs::copy(older.join(name), newer.join(name)).unwrap();
        assert_eq!(store.load(KEY).unwrap().unwrap().progress.update, 3, "{name}");
        std::fs::write(newer.join(name), whole).unwrap();
    }
}

#[test]
fn a_checkpoint_of_no_stage_of_the_run_is_foreign() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path()).keeping(2);
    let foreign = |keys: &[&str]| {
        let found = store
            .foreign(keys, |record| {
                let key = record.progress.key.as_str();
                key == "in the store" || keys.contains(&key)
            })
            .unwrap();
        found.map(|signed| match signed {
            Ok((record, lopper)) => {
                assert_eq!(lopper.as_deref(), Some(env!("CARGO_PKG_VERSION")));
                Ok(record.progress.update)
            }
            Err(e) => Err(e.to_string()),
        })
    };
    assert_eq!(foreign(&[]), None);
    save(&store, &checkpoint(3));
    assert_eq!(foreign(&["a later stage", KEY]), None);
    assert_eq!(foreign(&["another stage"]), Some(Ok(3)));
    let mut finished = checkpoint(6);
    finished.progress.key = "in the store".into();
    save(&store, &finished);
    assert_eq!(foreign(&[KEY]), None);
    assert_eq!(foreign(&["another stage"]), Some(Ok(3)), "an older one counts, too");

    // Damaged, it is of the run that its name tells.
    let own = store.names().unwrap().into_iter().find(|name| name.starts_with(prefix(KEY))).unwrap();
    std::fs::write(store.root.join(own).join(RECORD), b"{\"format\": 1, \"lopper\": \"0.0.7\"}").unwrap();
    assert_eq!(foreign(&[KEY]), None);
    assert!(foreign(&["another stage"]).unwrap().unwrap_err().contains("written by Lopper 0.0.7"));

    // What cannot be listed is not nothing.
    std::fs::remove_dir_all(&store.root).unwrap();
    std::fs::write(&store.root, b"").unwrap();
    assert!(store.load(KEY).is_err() && store.foreign(&[KEY], |_| false).is_err());
}

#[test]
fn a_record_that_does_not_say_who_wrote_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let store = CheckpointStore::new(directory.path());
    save(&store, &checkpoint(3));
    let record = store.record(&store.root.join(&store.names().unwrap()[0])).unwrap();
    let mut text = serde_json::to_value(&record).unwrap();
    assert!(text.as_object_mut().unwrap().remove("writer").is_some());
    assert_eq!(serde_json::from_value::<CheckpointRecord>(text).unwrap(), record);
}
