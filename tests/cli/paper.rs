//! The configurations of the paper's tables and figures: every one is accepted, and takes the finetunings it should.

use crate::fixture::Fixture;
use lopper::Outline;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn paper() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/paper")
}

/// The plan of a sweep with one seed.
fn plan(f: &Fixture, file: &str) -> Value {
    f.run(&["plan", "--json", paper().join(file).to_str().unwrap(), "--set", "sweep.seeds=[1]"]).json()
}

/// Method, sparsity and updates of the finetunings of each cell, by the name of the cell without its seed.
fn cells(plan: &Value) -> BTreeMap<String, (String, f64, Vec<u64>)> {
    let cell = |cell: &Value| {
        let stages =
            cell["stages"].as_array().unwrap().iter().map(|stage| &plan["stages"][stage.as_u64().unwrap() as usize]);
        let updates =
            stages.filter(|stage| stage["finetuning"] == true).map(|stage| stage["updates"].as_u64().unwrap());
        let what = (cell["method"].as_str().unwrap().to_owned(), cell["sparsity"].as_f64().unwrap(), updates.collect());
        (cell["name"].as_str().unwrap().strip_suffix("-seed1").unwrap().to_owned(), what)
    };
    plan["cells"].as_array().unwrap().iter().map(cell).collect()
}

/// A row of a table as a run of its own: the sweep's configuration with what the row's group sets.
fn alone(f: &Fixture, file: &str, row: &str) -> Outline {
    let mut table: toml::Table = std::fs::read_to_string(paper().join(file)).unwrap().parse().unwrap();
    table.remove("figure");
    let sweep = table.remove("sweep").unwrap();
    let groups = sweep["group"].as_array().unwrap();
    let group = groups.iter().find(|group| group["name"].as_str() == Some(row)).unwrap();
    let prune = group["set"]["prune"].as_table().unwrap().clone();
    table["prune"].as_table_mut().unwrap().extend(prune);
    f.write("row.toml", table.to_string());
    lopper::Experiment::outline(&f.path("row.toml"), &[]).unwrap_or_else(|e| panic!("{row}: {e}"))
}

#[test]
fn every_row_of_table_1_takes_the_finetunings_that_the_paper_counts() {
    let f = Fixture::new();
    let cells = cells(&plan(&f, "table-1.toml"));
    let rows = [
        ("rp", "rp", 1),
        ("mpi", "mpi", 1),
        ("omp", "omp", 2),
        ("imp", "imp", 10),
        ("imp-short-rounds", "imp", 10),
        ("parp", "parp", 1),
        ("parp-p-70-90", "parp-p", 1),
        ("parp-p-60-80-90", "parp-p", 2),
    ];
    assert_eq!(cells.len(), rows.len());
    for (row, method, finetunings) in rows {
        // The authors' speech code has IMP's rounds short, in between.
        let short = |round: usize| row == "imp-short-rounds" && (1..9).contains(&round);
        let updates = (0..finetunings).map(|round| if short(round) { 2_000 } else { 20_000 }).collect::<Vec<_>>();
        assert_eq!(cells[row], (method.to_owned(), 0.9, updates.clone()), "{row}");
        let outline = alone(&f, "table-1.toml", row);
        let rates: Vec<(u64, f64)> =
            outline.stages.iter().map(|stage| (stage.updates, stage.recipe.learning_rate)).collect();
        let expected = updates.iter().enumerate().map(|(round, n)| (*n, if short(round) { 1e-5 } else { 5e-5 }));
        assert_eq!(rates, expected.collect::<Vec<_>>(), "{row}");
    }
}

#[test]
fn tables_2_and_3_have_every_row_of_the_paper() {
    let f = Fixture::new();
    let row = |method: &str, sparsity: f64, updates: &[u64]| (method.to_owned(), sparsity, updates.to_vec());
    let expected = [
        ("base", row("dense", 0.0, &[12_000])),
        ("large", row("dense", 0.0, &[12_000])),
        ("base-parp", row("parp", 0.1, &[12_000])),
        ("large-parp", row("parp", 0.1, &[12_000])),
    ];
    let expected: BTreeMap<_, _> = expected.map(|(name, row)| (name.to_owned(), row)).into();
    assert_eq!(cells(&plan(&f, "table-2.toml")), expected);
    let rows = [
        ("base", row("dense", 0.0, &[15_000])),
        ("base-omp", row("omp", 0.7, &[15_000; 2])),
        ("base-parp", row("parp", 0.9, &[15_000])),
        ("xlsr", row("dense", 0.0, &[12_000])),
        ("xlsr-omp", row("omp", 0.9, &[12_000; 2])),
        ("xlsr-parp-p", row("parp-p", 0.9, &[12_000])),
    ];
    let expected =
        rows.iter().flat_map(|(name, row)| LANGUAGES.map(|language| (format!("{name}-{language}"), row.clone())));
    assert_eq!(cells(&plan(&f, "table-3.toml")), expected.collect());
    // Nothing is validated, or that would be what the table shows.
    let data = check_data(&paper().join("table-3.toml"));
    assert_eq!(
        (data["test"].as_str(), data.get("validation")),
        (Some("{language}/testSeqs_uniform_new_version.txt"), None)
    );
}

/// The languages of Figures 31 to 40, in their order, as CPC_audio calls them.
const LANGUAGES: [&str; 10] = ["es", "fr", "it", "ky", "nl", "ru", "sv", "tr", "tt", "zh"];

/// Whatever is read is a language's own, under CPC_audio's names.
fn check_data(path: &Path) -> toml::Table {
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let data = table["data"].as_table().unwrap();
    let at = path.display();
    for key in ["train", "test", "phones", "phone_symbols", "clips"] {
        assert!(data[key].as_str().unwrap().starts_with("{language}/"), "{at}: {key}");
    }
    assert_eq!(data["phone_symbols"].as_str(), Some("{language}/phonesMatches_reduced.json"), "{at}");
    data.clone()
}

#[test]
fn every_curve_and_every_language_of_the_figures_is_a_cell() {
    let f = Fixture::new();
    let plan = |figure: &str| plan(&f, figure)["cells"].as_array().unwrap().clone();
    // Six panels of six methods at nine sparsities, each with its dense line.
    assert_eq!(plan("figure-03.toml").len(), 6 * (6 * 9 + 1));
    let cells = plan("figure-04.toml");
    // Ten languages in two panels; the third has two methods and the dense line of two joint models.
    assert_eq!(cells.len(), 10 * 2 * (6 * 9 + 1) + 2 * (2 * 9 + 1));
    for figure in ["figure-02.toml", "figure-04.toml", "figure-07.toml"] {
        let validation = check_data(&paper().join(figure))["validation"].clone();
        assert_eq!(validation.as_str(), Some("{language}/valSeqs_1.0_uniform_new_version.txt"), "{figure}");
        let cells = plan(figure);
        for language in LANGUAGES {
            let named = |cell: &&serde_json::Value| {
                let name = cell["name"].as_str().unwrap();
                name.split('-').any(|part| part == language)
            };
            assert!(cells.iter().filter(named).count() > 0, "{figure}: {language}");
        }
    }
}

#[test]
fn speech_recipes_leave_no_number_to_a_default() {
    let f = Fixture::new();
    let all = f.run(&["recipes", "--json"]).json();
    let names = all.as_array().unwrap().iter().map(|recipe| recipe["name"].as_str().unwrap().to_owned());
    let every = |name: &str| match name.rsplit('-').collect::<Vec<_>>()[..] {
        ["xlsr", ..] => 5,
        ["base", "10h", ..] => 5,
        ["base", ..] => 50,
        ["large", "10min", ..] => 5,
        ["large", "1h", ..] => 2,
        _ => 1,
    };
    let mut speech = 0;
    for name in names.filter(|name| name != "glue-bert-tickets") {
        let text = f.run(&["recipes", &name]).ok();
        let recipe: toml::Table = text.parse().unwrap();
        let model = recipe["model"].as_table().unwrap();
        assert!(text.contains(&format!("[prune] every = {})", every(&name))), "{name}: {text}");
        assert_eq!(recipe["precision"].as_str(), Some("float32"), "{name}");
        let seed = if name.starts_with("fairseq") { 1 } else { 2337 };
        assert_eq!(recipe["seed"].as_integer(), Some(seed), "{name}");
        for key in ["prune_biases", "freeze_feature_encoder"] {
            assert_eq!(model[key].as_bool(), Some(true), "{name}: {key}");
        }
        // The group norm of BASE and LARGE; in XLSR-53 padding changes nothing.
        let padding = model.get("padding").and_then(toml::Value::as_str);
        assert_eq!(padding, if name.ends_with("xlsr") { None } else { Some("reference") }, "{name}");
        speech += 1;
    }
    assert_eq!(speech, 16);
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
