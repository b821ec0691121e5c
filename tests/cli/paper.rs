//! The configurations of the paper's tables and figures: every one is accepted, and takes the finetunings it should.

use crate::fixture::Fixture;
use serde_json::Value;
use std::path::{Path, PathBuf};

fn configurations(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(configurations(&path));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn every_row_and_every_curve_can_be_planned() {
    let f = Fixture::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/paper");
    let outline = |path: &Path| -> Value { f.run(&["plan", "--outline", "--json", path.to_str().unwrap()]).json() };
    let all = configurations(&root);
    assert!(all.len() > 70, "{}", all.len());
    for path in &all {
        let plan = outline(path);
        let method = plan["method"].as_str().unwrap();
        let file = path.file_stem().unwrap().to_str().unwrap();
        let named = file == method || file.ends_with(&format!("-{method}")) || file.starts_with(&format!("{method}-"));
        assert!(named || method == "dense", "{}: {method}", path.display());
        // BASE and LARGE, and XLSR-53, at full length each time.
        let updates = plan["updates"].as_u64().unwrap() / plan["finetunings"].as_u64().unwrap();
        assert!([12_000, 15_000, 20_000].contains(&updates), "{}: {updates} updates", path.display());
    }
    // Table 1's column "# ASR finetunings".
    for (row, finetunings) in
        [("rp", 1), ("mpi", 1), ("omp", 2), ("imp", 10), ("parp", 1), ("parp-p-70-90", 1), ("parp-p-60-80-90", 2)]
    {
        let plan = outline(&root.join(format!("table-1/{row}.toml")));
        assert_eq!((plan["finetunings"].as_u64(), plan["sparsity"].as_f64()), (Some(finetunings), Some(0.9)), "{row}");
    }
}

#[test]
fn recipes_are_listed_and_their_names_checked() {
    let f = Fixture::new();
    let all = f.run(&["recipes", "--json"]).json();
    assert!(all.as_array().unwrap().iter().any(|recipe| recipe["name"] == "lsr-10h-base"), "{all}");
    assert!(f.run(&["recipes", "lsr-10h-base"]).ok().contains("budget = 3_200_000"));
    let answer = f.run(&["recipes", "lsr-10-base"]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("did you mean `lsr-10h-base`"), "{answer:?}");
    f.write("run.toml", "recipe = \"glue-bert-ticket\"\n");
    let answer = f.run(&["plan", "run.toml"]);
    assert!(answer.stderr.contains("did you mean `glue-bert-tickets`"), "{answer:?}");
    // An outline has to be told the number of updates.
    f.write("run.toml", "recipe = 'glue-bert-tickets'\n[model]\npath = 'm'\n[data]\ntask = 'rte'\npath = 'd'\n[prune]\nmethod = 'omp'\nsparsity = 0.7\n");
    let answer = f.run(&["plan", "--outline", "run.toml"]);
    assert!(answer.code == Some(1) && answer.stderr.contains("[train] epochs"), "{answer:?}");
    let plan = f.run(&["plan", "--outline", "run.toml", "--json", "--set", "train.updates=9"]).json();
    assert_eq!((plan["updates"].as_u64(), plan["task"].as_str()), (Some(18), Some("rte")));
}
