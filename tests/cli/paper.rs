//! The configurations of the paper's tables and figures: every one is accepted, and takes the finetunings it should.

use crate::fixture::Fixture;
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

fn outline(path: &Path, settings: &[lopper::Setting]) -> lopper::Outline {
    lopper::Experiment::outline(path, settings).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn every_row_and_every_curve_can_be_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/paper");
    let all = ["table-1", "table-2", "table-3"].map(|table| configurations(&root.join(table))).concat();
    assert_eq!(all.len(), 18);
    for path in &all {
        let plan = outline(path, &[]);
        let method = plan.method;
        let file = path.file_stem().unwrap().to_str().unwrap();
        let named = file == method || file.ends_with(&format!("-{method}")) || file.starts_with(&format!("{method}-"));
        assert!(named || method == "dense", "{}: {method}", path.display());
        // BASE and LARGE, and XLSR-53, at full length each time.
        let updates: Vec<u64> = plan.stages.iter().map(|stage| stage.updates).collect();
        let full = |updates: &u64| [12_000, 15_000, 20_000].contains(updates);
        if file == "imp-short-rounds" {
            // The authors' speech code: full at both ends, and short in between.
            assert_eq!(updates, [&[20_000][..], &[2_000; 8], &[20_000]].concat());
            let rates: Vec<f64> = plan.stages.iter().map(|stage| stage.recipe.learning_rate).collect();
            assert_eq!(rates, [&[5e-5][..], &[1e-5; 8], &[5e-5]].concat());
        } else {
            assert!(updates.iter().all(full), "{}: {updates:?} updates", path.display());
        }
    }
    // Table 1's column "# ASR finetunings", as the command line prints it.
    let f = Fixture::new();
    for (row, finetunings) in
        [("rp", 1), ("mpi", 1), ("omp", 2), ("imp", 10), ("parp", 1), ("parp-p-70-90", 1), ("parp-p-60-80-90", 2)]
    {
        let path = root.join(format!("table-1/{row}.toml"));
        let plan = f.run(&["plan", "--outline", "--json", path.to_str().unwrap()]).json();
        assert_eq!((plan["finetunings"].as_u64(), plan["sparsity"].as_f64()), (Some(finetunings), Some(0.9)), "{row}");
    }
}

/// The languages of Figures 31 to 40, in their order, as CPC_audio calls them.
const LANGUAGES: [&str; 10] = ["es", "fr", "it", "ky", "nl", "ru", "sv", "tr", "tt", "zh"];

#[test]
fn every_language_of_table_3_can_be_planned() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/paper");
    let stages = |path: &Path, settings: &[lopper::Setting]| {
        outline(path, settings).stages.into_iter().map(|stage| (stage.name, stage.updates)).collect::<Vec<_>>()
    };
    for path in configurations(&root.join("table-3")) {
        check_data(&path);
        let default = stages(&path, &[]);
        for language in LANGUAGES {
            let setting = format!("data.languages=[\"{language}\"]").parse().unwrap();
            assert_eq!(stages(&path, &[setting]), default, "{}: {language}", path.display());
        }
    }
}

/// Whatever is read is a language's own, under CPC_audio's names.
fn check_data(path: &Path) {
    let table: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let data = table["data"].as_table().unwrap();
    let at = path.display();
    for key in ["train", "validation", "test", "phones", "phone_symbols", "clips"] {
        assert!(data[key].as_str().unwrap().starts_with("{language}/"), "{at}: {key}");
    }
    assert_eq!(data["validation"].as_str(), Some("{language}/valSeqs_1.0_uniform_new_version.txt"), "{at}");
    assert_eq!(data["phone_symbols"].as_str(), Some("{language}/phonesMatches_reduced.json"), "{at}");
}

#[test]
fn every_curve_and_every_language_of_the_figures_is_a_cell() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/paper");
    let f = Fixture::new();
    let plan = |figure: &str| {
        let path = root.join(figure);
        let plan = f.run(&["plan", "--json", path.to_str().unwrap(), "--set", "sweep.seeds=[1]"]).json();
        plan["cells"].as_array().unwrap().clone()
    };
    // Six panels of six methods at nine sparsities, each with its dense line.
    assert_eq!(plan("figure-03.toml").len(), 6 * (6 * 9 + 1));
    let cells = plan("figure-04.toml");
    // Ten languages in two panels; the third has two methods and the dense line of two joint models.
    assert_eq!(cells.len(), 10 * 2 * (6 * 9 + 1) + 2 * (2 * 9 + 1));
    for figure in ["figure-02.toml", "figure-04.toml", "figure-07.toml"] {
        check_data(&root.join(figure));
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
