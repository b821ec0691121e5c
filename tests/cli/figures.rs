//! The small siblings of the paper's figures and tables: whatever lies there runs, and every figure in it has numbers.

use crate::fixture::Fixture;
use crate::speech::{Speech, Wav, spoken};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use toml::Table;

/// Tiny sizes in place of small ones.
const TEXT: &[&str] =
    &["model.path=model", "data.train=16", "data.validation=8", "train.updates=2", "train.batch_size=4"];
const SPEECH: &[&str] = &[
    "model.path=small",
    "data.path=tones/{language}",
    "data.frame_window=30",
    "data.frame_stride=20",
    "train.updates=2",
    "train.batch_size=2",
];

fn siblings() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/paper");
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let small = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with("small-") && name.ends_with(".toml")
    };
    let mut found: Vec<PathBuf> = paths.filter(small).collect();
    found.sort();
    found
}

/// `tones/LANGUAGE` with two recordings for each split.
fn tones(f: &Fixture, language: &str) {
    for split in ["train", "dev", "test"] {
        let mut lines = String::new();
        for (number, phones) in ["a b", "c"].iter().enumerate() {
            let audio = format!("{split}{number}.wav");
            let said = spoken(&phones.to_uppercase().replace(' ', ""));
            f.write(&format!("tones/{language}/{audio}"), Wav::new(said).bytes());
            lines += &format!("{}\n", json!({"audio": audio, "phones": phones}));
        }
        f.write(&format!("tones/{language}/{split}.jsonl"), lines);
    }
}

/// Leaves out all but the lowest sparsity, and the two lowest values of every other axis of numbers.
fn exclusions(plan: &Value) -> String {
    let mut axes: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for cell in plan["cells"].as_array().unwrap() {
        for (axis, value) in cell["axes"].as_object().unwrap() {
            axes.entry(axis).or_default().extend(value.as_f64());
        }
    }
    let excluded = axes.into_iter().filter_map(|(axis, mut values)| {
        values.sort_by(f64::total_cmp);
        values.dedup();
        let kept = if axis == "sparsity" { 1 } else { 2 };
        (values.len() > kept).then(|| format!("{{ {axis} = {:?} }}", &values[kept..]))
    });
    format!("sweep.exclude=[{}]", excluded.collect::<Vec<_>>().join(", "))
}

/// The rows of a figure's CSV, by column.
fn rows(csv: &str) -> Vec<BTreeMap<&str, &str>> {
    let mut lines = csv.lines().map(|line| line.split(','));
    let header: Vec<&str> = lines.next().unwrap().collect();
    lines.map(|line| header.iter().copied().zip(line).collect()).collect()
}

/// A figure has numbers, and all that it asks for beside its cells: rows of references, differences to the diagonal.
fn check(figure: &Table, csv: &str) {
    let rows = rows(csv);
    let is_number = |row: &BTreeMap<&str, &str>, column: &str| row[column].parse().is_ok_and(f64::is_finite);
    assert!(rows.iter().any(|row| is_number(row, "mean")), "{figure}: no number in\n{csv}");
    let of_part = |part: &str| rows.iter().filter(|row| row["part"] == part).collect::<Vec<_>>();
    if figure.contains_key("reference") {
        assert!(!of_part("reference").is_empty(), "{figure}: no references in\n{csv}");
    }
    if figure.contains_key("relative") {
        assert!(of_part("cell").iter().all(|row| is_number(row, "difference_mean")), "{figure}: {csv}");
    }
}

fn runs(f: &Fixture, path: &Path, sizes: &[&str]) {
    let (file, name) = (path.to_str().unwrap(), path.file_stem().unwrap().to_str().unwrap());
    let store = format!("run.store={name}/store");
    let mut settings = [&["--set", "device=cpu", "sweep.seeds=[57]", &store], sizes].concat();
    let plan = |settings: &[&str]| f.run(&[&["plan", file, "--json"], settings].concat()).json();
    let exclude = exclusions(&plan(&settings));
    settings.push(&exclude);
    let planned = plan(&settings);
    let cells = planned["cells"].as_array().unwrap().len() as u64;
    let run = f.run(&[&["run", file, "--json", "--out", name], &settings[..]].concat()).json();
    assert_eq!((run["cells"].as_u64(), run["done"].as_u64()), (Some(cells), Some(cells)), "{name}: {run}");
    // What is alike by content alone may be shared beyond the plan.
    let trained = run["trained"].as_u64().unwrap();
    assert!((1..=planned["finetunings"].as_u64().unwrap()).contains(&trained), "{name}: {run}");
    let table: Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let figures = table["figure"].as_array().unwrap();
    for figure in figures.iter().map(|figure| figure.as_table().unwrap()) {
        let file = |ending: &str| {
            let path = format!("{name}/figures/{}.{ending}", figure["name"].as_str().unwrap());
            String::from_utf8(f.read(&path)).unwrap()
        };
        assert!(file("svg").starts_with("<svg"), "{name}: {figure}");
        check(figure, &file("csv"));
    }
    let page = String::from_utf8(f.read(&format!("{name}/report.html"))).unwrap();
    assert!(figures.iter().all(|figure| page.contains(figure["name"].as_str().unwrap())), "{name}: report.html");
}

#[test]
fn every_small_figure_runs_and_has_numbers() {
    let f = Fixture::new();
    let speech = Speech::new();
    ["es", "fr", "nl"].into_iter().for_each(|language| tones(&speech.f, language));
    let siblings = siblings();
    assert!(siblings.len() > 1, "{siblings:?}");
    // Two at a time: a run of so little waits for the disk most of the time.
    let (one, other) = siblings.split_at(siblings.len() / 2);
    let run = |paths: &[PathBuf]| {
        for path in paths {
            let is_speech = std::fs::read_to_string(path).unwrap().contains("\nname = \"speech\"");
            if is_speech { runs(&speech.f, path, SPEECH) } else { runs(&f, path, TEXT) }
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| run(one));
        run(other);
    });
}
