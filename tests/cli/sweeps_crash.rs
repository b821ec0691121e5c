//! Sweeps that are killed, or whose disk is full: the same command ends as if nothing had come in its way.

use crate::crash::{Dice, number, shim, temporaries};
use crate::fixture::{Answer, Fixture};
use crate::sweeps::{BASE, SIX, results};
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What a sweep has written for people, byte for byte but for times and for who trained what: both stand in columns of the
/// records, and in the page's copy of them.
fn written(f: &Fixture, directory: &str) -> BTreeMap<String, String> {
    let (parent, _) = directory.split_once('/').unwrap();
    let text = |path: &str| {
        let text = String::from_utf8(f.read(&format!("{directory}/{path}"))).unwrap();
        text.replace(&format!("{parent}/"), "")
    };
    let records = text("records.csv");
    let mut lines = records.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let chance: Vec<usize> = (0..header.len()).filter(|at| ["trained", "seconds"].contains(&header[*at])).collect();
    assert_eq!(chance.len(), 2, "{records}");
    let kept = |fields: Vec<&str>| -> String {
        let fields = fields.into_iter().enumerate().filter(|(at, _)| !chance.contains(at));
        fields.map(|(_, field)| field).collect::<Vec<_>>().join(",")
    };
    let mut all = BTreeMap::from([("records.csv".to_owned(), lines.map(kept).collect::<Vec<_>>().join("\n"))]);
    for figure in std::fs::read_dir(f.path(directory).join("figures")).unwrap() {
        let name = format!("figures/{}", figure.unwrap().file_name().to_str().unwrap());
        all.insert(name.clone(), text(&name));
    }
    let page = text("report.html");
    let row = |line: &str| {
        let fields: Vec<&str> = line.split("<td>").collect();
        let kept = fields
            .iter()
            .enumerate()
            .filter(|(at, _)| fields.len() != header.len() + 1 || !chance.contains(&(at.wrapping_sub(1))));
        kept.map(|(_, field)| *field).collect::<String>()
    };
    let lines = page.lines().filter(|line| !line.contains("data:text/csv")).map(row);
    all.insert("report.html".to_owned(), lines.collect::<Vec<_>>().join("\n"));
    all
}

/// Two directories of sweeps that came to the same.
fn check_same(f: &Fixture, one: &str, other: &str) {
    assert_eq!(results(f, one), results(f, other));
    let (one, other) = (written(f, one), written(f, other));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    for (file, text) in one {
        let differ = text.lines().zip(other[&file].lines()).find(|(one, other)| one != other);
        assert!(text == other[&file], "{file}: {differ:?}");
    }
}

/// The sweep that is killed, and what it comes to when it is not.
fn whole(f: &Fixture) -> Duration {
    let figures = "[[figure]]\nname = 'curve'\nkind = 'curve'\ndense = { method = 'dense' }\n\
        [[figure]]\nname = 'overlap'\nkind = 'overlap'\nover = 'method'\nwhere = { group = ['pruned'] }\n\
        [[figure]]\nname = 'drift'\nkind = 'drift'\nwhere = { method = ['parp'] }\n";
    f.write("sweep.toml", format!("{BASE}{}{figures}", SIX.replace("[0.1, 0.2, 0.3]", "[0.1, 0.2]")));
    let started = Instant::now();
    f.run(&["run", "sweep.toml", "--out", "whole/sweep", "--set", "run.store=whole/store"]).ok();
    started.elapsed()
}

/// `cargo xtask crash-campaign` kills twenty times and more, by the variable read here; without it there are few.
#[test]
fn a_sweep_that_is_killed_goes_on() {
    let f = Fixture::new();
    let length = whole(&f).as_millis() as u64;
    let (mut dice, mut killed, mut sweeps) = (Dice(13), 0, 0);
    while killed < number("LOPPER_KILLS", 2) {
        let out = format!("killed{sweeps}");
        let (directory, store) = (format!("{out}/sweep"), format!("run.store={out}/store"));
        let arguments = ["run", "sweep.toml", "--out", &directory, "--set", &store];
        sweeps += 1;
        for attempt in 1.. {
            let mut child = f.command(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            // A start takes a good part of a second, or longer than any wait where others are at work on this machine: the
            // waits grow.
            std::thread::sleep(Duration::from_millis(attempt * length / 8 + dice.below(length / 3)));
            child.kill().unwrap();
            match child.wait().unwrap().signal() {
                Some(9) => killed += 1,
                _ => break,
            }
        }
        f.run(&arguments).ok();
        check_same(&f, "whole/sweep", &directory);
        let again = f.run(&[&arguments[..], &["--json"]].concat()).json();
        assert_eq!(again["trained"].as_u64(), Some(0));
        check_same(&f, "whole/sweep", &directory);
    }
    eprintln!("a sweep: {killed} kills in {sweeps} sweeps, each ended as the one that was not killed");
}

/// Three that anybody has started, on a sweep that was begun.
#[test]
fn workers_that_are_killed_leave_nothing_undone() {
    let f = Fixture::new();
    let length = whole(&f).as_millis() as u64;
    let (mut dice, mut killed, mut sweeps) = (Dice(17), 0, 0);
    while killed < number("LOPPER_KILLS", 2) {
        let out = format!("killed{sweeps}");
        let (directory, store) = (format!("{out}/sweep"), format!("run.store={out}/store"));
        let arguments = ["run", "sweep.toml", "--out", &directory, "--set", &store];
        sweeps += 1;
        // Whoever begins the sweep is killed as soon as it has.
        let mut begins = f.command(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        while !f.path(&directory).join("cells").is_dir() {
            std::thread::sleep(Duration::from_millis(5));
        }
        begins.kill().unwrap();
        begins.wait().unwrap();
        let start = || f.command(&["work", &directory]).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        let mut workers = [start(), start(), start()];
        loop {
            std::thread::sleep(Duration::from_millis(length / 8 + dice.below(length / 3)));
            let victim = &mut workers[dice.below(3) as usize];
            victim.kill().unwrap();
            match victim.wait().unwrap().signal() {
                Some(9) => killed += 1,
                // It has ended: nothing is left to do.
                _ => break,
            }
            *victim = start();
        }
        for worker in &mut workers {
            assert!(worker.wait().unwrap().success());
        }
        let end = f.run(&[&arguments[..], &["--json"]].concat()).json();
        assert_eq!((end["trained"].as_u64(), end["done"].as_u64()), (Some(0), Some(13)), "{end}");
        check_same(&f, "whole/sweep", &directory);
    }
    eprintln!("three workers: {killed} kills in {sweeps} sweeps, each ended as the one that was not killed");
}

#[test]
fn a_worker_that_is_killed_is_missed_by_nobody() {
    let f = Fixture::new();
    f.write("sweep.toml", format!("{BASE}{SIX}"));
    f.run(&["run", "sweep.toml", "--out", "whole", "--set", "run.store=store-1"]).ok();
    let arguments = ["run", "sweep.toml", "--out", "killed", "--set", "run.store=store-2", "sweep.workers=2"];
    let child = f.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let children = format!("/proc/{0}/task/{0}/children", child.id());
    let workers = || std::fs::read_to_string(&children).unwrap_or_default();
    let cells = f.path("killed/cells");
    // Both have started, and one of them has begun a cell.
    while workers().split_whitespace().count() < 2 || !cells.is_dir() {
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(150));
    let victim = workers().split_whitespace().next().unwrap().to_owned();
    assert!(Command::new("kill").args(["-9", &victim]).status().unwrap().success());
    let answer = Answer::of(child.wait_with_output().unwrap());
    assert!(answer.stderr.contains(&format!("worker {victim} ended with signal: 9")), "{answer:?}");
    answer.ok();
    assert_eq!(results(&f, "whole"), results(&f, "killed"));
}

/// Every call that changes something in the sweep's directory or its store may be the first that fails.
#[test]
fn a_sweep_whose_disk_fails_loses_nothing() {
    let f = Fixture::new();
    let text = "[sweep]\nseeds = [57]\nover.prune.sparsity = [0.1, 0.2]\n[[figure]]\nname = 'curve'\nkind = 'curve'\n";
    f.write("sweep.toml", format!("{BASE}[prune]\nmethod = 'omp'\n{text}"));
    let library = shim(&f);
    let run = |name: &str, fault: Option<(&str, usize)>| {
        let (out, store) = (format!("{name}/sweep"), format!("run.store={name}/store"));
        let mut command = f.command(&["run", "sweep.toml", "--out", &out, "--set", &store]);
        if let Some((mode, at)) = fault {
            command.env("LD_PRELOAD", &library).env("FAULT_ROOT", f.path(name)).env("FAULT_COUNT", f.path("calls"));
            command.env("FAULT_MODE", mode).env("FAULT_AT", at.to_string());
        }
        Answer::of(command.output().unwrap())
    };
    run("whole", Some(("count", 0))).ok();
    let calls: usize = String::from_utf8(f.read("calls")).unwrap().trim().parse().unwrap();
    assert!(calls > 300, "only {calls} calls: the shim does not see them all");
    let mut dice = Dice(17);
    for round in 0..number("LOPPER_SWEEP_FAULTS", 1) {
        for mode in ["full", "rofs", "eio"] {
            let at = 1 + dice.below(calls as u64 * 4 / 5) as usize;
            let (what, name) = (format!("{mode} at call {at} of {calls}"), format!("{mode}{round}"));
            let answer = run(&name, Some((mode, at)));
            // One error is what a cell is tried again for, and what only tells of a run may fail without harm.
            assert!(answer.code == Some(1) || (mode == "eio" && answer.code == Some(0)), "{what}: {answer:?}");
            let named = answer.stderr.contains("error: ") && answer.stderr.contains(&format!("{name}/"));
            assert!((named || answer.code == Some(0)) && !answer.stderr.contains("defect"), "{what}: {answer:?}");
            run(&name, None).ok();
            check_same(&f, "whole/sweep", &format!("{name}/sweep"));
            let left = temporaries(&f.path(&name));
            assert!(left.is_empty(), "{what}: {left:?} are left");
        }
    }
}

/// What a disk or another program did to the files of finished cells.
#[test]
fn cells_that_are_damaged_are_made_anew_from_the_store() {
    let f = Fixture::new();
    whole(&f);
    let arguments = ["run", "sweep.toml", "--out", "damaged/sweep", "--set", "run.store=damaged/store", "--json"];
    f.run(&arguments).ok();
    let cells = [
        ("pruned-mpi-sparsity0.1-seed57", "record.json"),
        ("pruned-rp-sparsity0.1-seed57", "status.json"),
        ("pruned-omp-sparsity0.2-seed57", "mask.safetensors"),
        ("pruned-imp-sparsity0.2-seed57", "config.toml"),
        ("pruned-parp-sparsity0.2-seed57", "metrics.jsonl"),
    ];
    for (cell, file) in cells {
        let path = format!("damaged/sweep/cells/{cell}/{file}");
        let half = f.read(&path);
        std::fs::remove_file(f.path(&path)).unwrap();
        f.write(&path, &half[..half.len() / 2]);
    }
    // Until they are, those that cannot be read are not taken for done.
    let table = f.run(&["table", "damaged/sweep"]);
    assert!(table.code == Some(0) && table.stdout.contains("its record cannot be read"), "{table:?}");
    let again = f.run(&arguments).json();
    assert_eq!((again["done"].as_u64(), again["trained"].as_u64()), (Some(13), Some(0)), "{again}");
    check_same(&f, "whole/sweep", "damaged/sweep");
}
