use super::*;

const STAGES: [&str; 2] = ["dense", "imp round 1 at 0.5"];

fn update(update: u64) -> String {
    format!(
        "{{\"event\":\"update\",\"stage\":\"s\",\"update\":{update},\"loss\":0.5,\"learning_rate\":0.001,\
         \"gradient_norm\":null,\"skipped\":false}}\n"
    )
}

fn updates(to: u64) -> String {
    let stage = "{\"event\":\"stage\",\"name\":\"s\",\"key\":\"k\",\"updates\":9}\n";
    (1..=to).map(update).fold(stage.to_owned(), |lines, line| lines + &line)
}

/// The files below a directory, with what they hold.
fn files_below(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for path in entries(directory).unwrap() {
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            let parts: Vec<_> = path.iter().rev().take(2).map(|part| part.to_str().unwrap()).collect();
            found.push((format!("{}/{}", parts[1], parts[0]), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// The same but for the times.
fn is_file_of(bytes: &[u8], lines: &str) -> bool {
    whole(lines.as_bytes(), bytes).unwrap() == bytes
}

#[test]
fn every_number_of_a_line_has_a_tag() {
    let lines = updates(1)
        + "{\"event\":\"update\",\"update\":2,\"loss\":0.25,\"learning_rate\":1e-3,\"gradient_norm\":2.0,\
           \"skipped\":true,\"counts\":{\"infeasible\":3}}\n\
           {\"event\":\"mask\",\"stage\":\"s\",\"update\":2,\"sparsity\":0.5,\"revived\":7}\n\
           {\"event\":\"measures\",\"stage\":\"s\",\"update\":0,\"measures\":{\"moved\":null,\"score\":1.5}}\n\
           {\"event\":\"validation\",\"stage\":\"s\",\"update\":2,\"splits\":[\
           {\"split\":\"validation_matched\",\"metrics\":[{\"name\":\"f1\",\"value\":0.75},{\"name\":\"x\",\"value\":null}]},\
           {\"split\":\"test\",\"metrics\":[{\"name\":\"f1\",\"value\":1.0}]}]}\n\
           {\"event\":\"validation\",\"stage\":\"s\",\"update\":3,\"splits\":[]}\n";
    let told: Vec<(u64, Vec<String>)> = records(lines.as_bytes())
        .unwrap()
        .into_iter()
        .map(|record| match record {
            Record::Scalars { step, values } => {
                (step, values.iter().map(|(tag, value)| format!("{tag} {value}")).collect())
            }
            other => panic!("{other:?}"),
        })
        .collect();
    let training = |loss, norm, skipped: u8| {
        vec![
            format!("training/loss {loss}"),
            "training/learning_rate 0.001".to_owned(),
            format!("training/gradient_norm {norm}"),
            format!("training/skipped {skipped}"),
        ]
    };
    let text = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
    let expected = [
        (1, training(0.5, "NaN", 0)),
        (2, [training(0.25, "2", 1), text(&["counts/infeasible 3"])].concat()),
        (2, text(&["mask/sparsity 0.5", "mask/revived 7"])),
        (0, text(&["measures/moved NaN", "measures/score 1.5"])),
        (
            2,
            text(&[
                "evaluation/validation_matched/f1 0.75",
                "evaluation/validation_matched/x NaN",
                "evaluation/test/f1 1",
            ]),
        ),
    ];
    assert_eq!(told, expected);
    let error = records(b"{\"event\":\"another\"}\n").unwrap_err().to_string();
    assert!(error.contains("a line of metrics") && error.contains("another"), "{error}");
}

#[test]
fn a_file_grows_with_its_stage_and_is_found_again() {
    let at = tempfile::tempdir().unwrap();
    let mut of = EventFiles::open(at.path(), STAGES).unwrap();
    assert!(files_below(at.path()).is_empty());
    of.begin_stage().unwrap();
    of.tell(updates(0).as_bytes()).unwrap();
    of.append(update(1).as_bytes()).unwrap();
    // Told again as a whole, when it is done: what is missing is added.
    of.tell(updates(2).as_bytes()).unwrap();
    of.begin_stage().unwrap();
    of.tell(updates(1).as_bytes()).unwrap();
    of.end_stage().unwrap();
    let written = files_below(at.path());
    let [(first, dense), (second, imp)] = &written[..] else { panic!("{written:?}") };
    assert!(first.starts_with("01-dense/events.out.tfevents.") && first.ends_with(".lopper"), "{first}");
    assert!(second.starts_with("02-imp-round-1-at-0.5/events.out.tfevents."), "{second}");
    assert!(is_file_of(dense, &updates(2)) && is_file_of(imp, &updates(1)));

    // A second sitting, in which nothing is new, and a third that goes on.
    for to in [1, 2] {
        let mut again = EventFiles::open(at.path(), STAGES).unwrap();
        again.begin_stage().unwrap();
        again.tell(updates(2).as_bytes()).unwrap();
        again.begin_stage().unwrap();
        again.tell(updates(1).as_bytes()).unwrap();
        (2..=to).for_each(|to| again.append(update(to).as_bytes()).unwrap());
        again.end_stage().unwrap();
        let (there, names) = (files_below(at.path()), [first, second]);
        assert!(there.iter().map(|(name, _)| name).eq(names), "{there:?}");
        assert!(there[0].1 == *dense && there[1].1.starts_with(imp) && is_file_of(&there[1].1, &updates(to)));
    }
}

#[test]
fn what_was_told_beyond_the_checkpoint_is_in_the_older_file_alone() {
    for torn in [0, 1, 15, 40] {
        let at = tempfile::tempdir().unwrap();
        let begin = || {
            let mut of = EventFiles::open(at.path(), STAGES).unwrap();
            of.begin_stage().unwrap();
            of
        };
        begin().tell(updates(8).as_bytes()).unwrap();
        let (name, bytes) = files_below(at.path()).swap_remove(0);
        // Killed while the last record was written; as of a time that is not now.
        let path = at.path().join(DIRECTORY).join(&name);
        let (mut earlier, end) = (Vec::new(), bytes.len() - torn);
        for record in [Record::Version, Record::Start].into_iter().chain(records(updates(8).as_bytes()).unwrap()) {
            record.write_to(7.0, &mut earlier);
        }
        fs::write(&path, &earlier[..end]).unwrap();
        let mut resumed = begin();
        resumed.tell(updates(5).as_bytes()).unwrap();
        let both = files_below(at.path());
        assert_eq!((both.len(), &both[0].0), (2, &name), "a reader may be at it: {torn}");
        assert!(both[0].1 == earlier[..end], "{torn}");
        assert!(is_file_of(&both[1].1, &updates(5)) && earlier.starts_with(&both[1].1), "the times stay: {torn}");
        (6..=8).for_each(|update_| resumed.append(update(update_).as_bytes()).unwrap());
        resumed.end_stage().unwrap();
        let one = files_below(at.path());
        assert!(one.len() == 1 && one[0].0 > name && is_file_of(&one[0].1, &updates(8)), "{torn}: {one:?}");
    }
}

#[test]
fn files_of_another_run_make_way_and_those_of_others_stay() {
    let at = tempfile::tempdir().unwrap();
    let told = |stages: &[&str], lines: &str| {
        let mut of = EventFiles::open(at.path(), stages.iter().copied()).unwrap();
        of.begin_stage().unwrap();
        of.tell(lines.as_bytes()).unwrap();
        of.end_stage().unwrap();
    };
    told(&["parp at 0.5"], &updates(3));
    let kept = at.path().join(DIRECTORY).join("notes/events.out.tfevents.1.host");
    fs::create_dir_all(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "of somebody else").unwrap();
    told(&["dense"], &updates(3));
    let names = || files_below(at.path()).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    let there = names();
    assert!(there.len() == 2 && there[0].starts_with("01-dense/") && there[1].starts_with("notes/"), "{there:?}");
    assert!(!at.path().join(DIRECTORY).join("01-parp-at-0.5").exists());
    // The same name, and other points: all of them.
    let other = updates(3).replace("0.5", "0.75");
    told(&["dense"], &other);
    let now = files_below(at.path());
    assert!(now.len() == 2 && now[0].0 > there[0] && is_file_of(&now[0].1, &other), "{now:?}");
    remove(at.path()).unwrap();
    assert_eq!(names(), ["notes/events.out.tfevents.1.host"]);
    remove(&at.path().join("nowhere")).unwrap();
}
