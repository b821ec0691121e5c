//! Event files for TensorBoard, read back by a reader of the test's own.

use crate::fixture::Fixture;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Update, tag, and the bits of the value.
type Point = (u64, String, u32);

/// CRC-32C bit by bit, masked as TFRecord does it.
fn masked_crc(bytes: &[u8]) -> u32 {
    let crc = bytes.iter().fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg()))
    });
    (!crc).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The contents of the records of an event file, of which all checksums must be right.
fn contents(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut contents = Vec::new();
    let mut checked = |length: usize| {
        let (part, rest) = bytes.split_at(length);
        let (crc, rest) = rest.split_first_chunk().unwrap();
        assert_eq!(u32::from_le_bytes(*crc), masked_crc(part));
        bytes = rest;
        (part, rest.is_empty())
    };
    loop {
        let length = u64::from_le_bytes(checked(8).0.try_into().unwrap());
        let (content, last) = checked(length as usize);
        contents.push(content);
        if last {
            return contents;
        }
    }
}

/// The fields of a protocol buffer: of numbers the value or bits, of others the bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let (number, rest) = bytes.split_at(length);
        *bytes = rest;
        number.iter().rev().fold(0, |all, byte| all << 7 | u64::from(byte & 0x7f))
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let (number, content) = match key & 7 {
            0 => (varint(&mut bytes), &[][..]),
            kind => {
                let length = [8, 0, 0, 4][[1, 0, 2, 5].iter().position(|of| *of == kind).unwrap()];
                let length = if kind == 2 { varint(&mut bytes) as usize } else { length };
                let (content, rest) = bytes.split_at(length);
                bytes = rest;
                let bits = if kind == 2 { 0 } else { content.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b)) };
                (bits, content)
            }
        };
        fields.push((key >> 3, number, content));
    }
    fields
}

/// The points of an event file, in order. It begins with a version and a start, and its times ascend from then to now.
fn points(bytes: &[u8]) -> Vec<Point> {
    let mut points = Vec::new();
    let mut before = 1.7e9;
    for (index, content) in contents(bytes).into_iter().enumerate() {
        let fields = fields(content);
        let find = |field: u64| fields.iter().find(|(found, ..)| *found == field);
        let time = f64::from_bits(find(1).unwrap().1);
        assert!(time >= before && time < 1e10, "{time} after {before}");
        before = time;
        match index {
            0 => assert_eq!(find(3).unwrap().2, b"brain.Event:2"),
            1 => assert_eq!((find(2), find(7).unwrap().2), (None, &[8, 1][..])),
            _ => {
                let step = find(2).map_or(0, |(_, step, _)| *step);
                for (_, _, value) in self::fields(find(5).unwrap().2) {
                    let value = self::fields(value);
                    let [(1, _, tag), (2, bits, _)] = value[..] else { panic!("{value:?}") };
                    points.push((step, String::from_utf8(tag.to_vec()).unwrap(), bits as u32));
                }
            }
        }
    }
    points
}

/// The points that the event files of a run hold, by the names of their directories, of which each has one file.
fn event_files(out: &Path) -> BTreeMap<String, Vec<Point>> {
    let stages = fs::read_dir(out.join("tensorboard")).unwrap().map(|entry| entry.unwrap().path());
    let points = stages.map(|stage| {
        let files: Vec<_> = fs::read_dir(&stage).unwrap().map(|entry| entry.unwrap().path()).collect();
        let [file] = &files[..] else { panic!("{files:?}") };
        (stage.file_name().unwrap().to_str().unwrap().to_owned(), points(&fs::read(file).unwrap()))
    });
    points.collect()
}

/// The points of `metrics.jsonl`, by the names of the stages.
fn lines(out: &Path) -> Vec<(String, Vec<Point>)> {
    let number = |value: &Value| (value.as_f64().unwrap_or(f64::NAN) as f32).to_bits();
    let mut stages: Vec<(String, Vec<Point>)> = Vec::new();
    for line in fs::read_to_string(out.join("metrics.jsonl")).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["event"] == "stage" {
            stages.push((line["name"].as_str().unwrap().to_owned(), Vec::new()));
            continue;
        }
        let points = &mut stages.last_mut().unwrap().1;
        let mut push = |tag: String, bits| points.push((line["update"].as_u64().unwrap(), tag, bits));
        match line["event"].as_str().unwrap() {
            "update" => {
                for name in ["loss", "learning_rate", "gradient_norm"] {
                    push(format!("training/{name}"), number(&line[name]));
                }
                push("training/skipped".into(), f32::from(u8::from(line["skipped"] == true)).to_bits());
            }
            "mask" => {
                for name in ["sparsity", "revived"] {
                    push(format!("mask/{name}"), number(&line[name]));
                }
            }
            "validation" => {
                for split in line["splits"].as_array().unwrap() {
                    for metric in split["metrics"].as_array().unwrap() {
                        let names = (split["split"].as_str().unwrap(), metric["name"].as_str().unwrap());
                        push(format!("evaluation/{}/{}", names.0, names.1), number(&metric["value"]));
                    }
                }
            }
            other => panic!("{other}"),
        }
    }
    stages
}

/// Checks that the event files of a run hold what its lines do, each point once, and returns their directories and numbers.
fn check(out: &Path) -> Vec<(String, usize)> {
    let (files, lines) = (event_files(out), lines(out));
    assert_eq!(files.len(), lines.len(), "{:?}", files.keys());
    for ((directory, points), (index, (stage, expected))) in files.iter().zip(lines.iter().enumerate()) {
        assert_eq!(*directory, format!("{:02}-{}", index + 1, stage.replace(' ', "-")));
        assert!(points == expected, "{directory}: {points:?} instead of {expected:?}");
    }
    files.into_iter().map(|(directory, points)| (directory, points.len())).collect()
}

/// Kills a process as soon as `when` says so; false when it had ended well before.
fn is_killed_when(mut command: Command, when: impl Fn() -> bool) -> bool {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !when() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{status}");
    !status.success()
}

#[test]
fn event_files_hold_what_metrics_jsonl_does_each_point_once() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'imp'\nsparsity = 0.5\nstep = 0.25");
    let arguments = |out: &'static str, more: &[&'static str]| {
        let settings = ["--set", "train.updates=40", "evaluate.every=15", "checkpoint.every=12"];
        [&["run", "run.toml", "--json", "--out", out], &settings[..], more].concat()
    };
    let killed = ["track.tensorboard=true", "run.store=other"];
    // Once more where it was done before it was seen that it was in the middle.
    while !is_killed_when(f.command(&arguments("killed", &killed)), || {
        fs::read_to_string(f.path("killed/metrics.jsonl")).is_ok_and(|lines| lines.lines().count() > 50)
    }) {
        ["killed", "other"].iter().for_each(|directory| fs::remove_dir_all(f.path(directory)).unwrap());
    }
    assert!(!f.path("killed/record.json").exists());
    // Another one is never stopped and writes no event files: then what the first one does is not told from what it does without.
    let off = f.run(&arguments("off", &["run.store=store"])).json();
    assert!(off["trained"] == 3 && !f.path("off/tensorboard").exists());
    f.run(&arguments("killed", &killed)).ok();
    assert_eq!(f.read("killed/metrics.jsonl"), f.read("off/metrics.jsonl"));
    let stages = check(&f.path("killed"));
    let names: Vec<_> = stages.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["01-dense", "02-imp-round-1-at-0.25", "03-imp-round-2-at-0.5"]);
    assert!(stages.iter().all(|(_, points)| *points == 40 * 4 + 3), "{stages:?}");

    // The option is in no key: all stages are found in the store, and told from there.
    let again = f.run(&arguments("off", &["track.tensorboard=true", "run.store=store"])).json();
    assert_eq!((&again["trained"], check(&f.path("off"))), (&0.into(), stages));
    assert_eq!(event_files(&f.path("off")), event_files(&f.path("killed")));
    // Another run in its place leaves none of them.
    f.config("run.toml", "method = 'rp'\nsparsity = 0.5");
    f.run(&["run", "run.toml", "--out", "off", "--replace", "--set", "train.updates=1", "run.store=store"]).ok();
    assert!(f.path("off/record.json").exists() && !f.path("off/tensorboard").exists());
}

#[test]
fn cells_of_a_sweep_have_event_files() {
    let f = Fixture::new();
    f.config("sweep.toml", "method = 'parp'\nevery = 2");
    let sweep = "[track]\ntensorboard = true\n[sweep]\nseeds = [57]\nover.prune.sparsity = [0.25, 0.5]\n";
    f.write("sweep.toml", [&f.read("sweep.toml")[..], sweep.as_bytes()].concat());
    f.run(&["run", "sweep.toml", "--out", "s"]).ok();
    for cell in fs::read_dir(f.path("s/cells")).unwrap().map(|cell| cell.unwrap().path()) {
        let [(directory, points)] = &check(&cell)[..] else { panic!("{cell:?}") };
        assert!(directory.starts_with("01-parp-at-0."), "{directory}");
        assert_eq!(*points, 8 * 4 + 4 * 2 + 1, "updates, masks and an evaluation");
    }
}
