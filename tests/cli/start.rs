//! `init`, `completions` and `man`.

use crate::fixture::Fixture;

const METHODS: [&str; 8] = ["dense", "rp", "mpi", "omp", "imp", "parp", "parp-p", "transfer"];

#[test]
fn an_initial_configuration_needs_only_what_it_says() {
    let f = Fixture::new();
    let written = f.run(&["init", "--json"]).json();
    assert_eq!(written["config"], "lopper.toml");
    assert_eq!(written["fill_in"], serde_json::json!(["model.path", "data.task", "data.path"]));
    let text = String::from_utf8(f.read("lopper.toml")).unwrap();
    for part in
        ["[model]\n", "name = \"bert\"", "# head = \"fresh\"", "# every = (integer)", "# learning_rate = 0.00002"]
    {
        assert!(text.contains(part), "{part} in:\n{text}");
    }
    // As it is, it is refused for just what is to be filled in.
    let refused = f.run(&["plan", "lopper.toml"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("[model] path") && refused.stderr.contains("[data] task"), "{refused:?}");
    let filled = ["model.path=model", "data.task=sst-2", "data.path=SST-2", "device=cpu"];
    let plan = f.run(&[&["plan", "lopper.toml", "--json", "--set"], &filled[..]].concat()).json();
    assert_eq!((&plan["method"], &plan["sparsity"]), (&"parp".into(), &0.5.into()));
    // What is commented out are the defaults.
    let resolved = f.run(&[&["plan", "lopper.toml", "--resolved", "--set"], &filled[..]].concat()).ok();
    let commented: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("# ")).collect();
    let defaults = commented.iter().filter(|line| line.parse::<toml::Table>().is_ok_and(|table| !table.is_empty()));
    let missing: Vec<_> = defaults.filter(|line| !resolved.contains(*line) && !line.starts_with("device")).collect();
    assert_eq!(missing, [&""; 0], "{resolved}");
}

#[test]
fn every_method_can_be_started_with() {
    let f = Fixture::new();
    f.run(&["prune", "model", "--by", "magnitude", "--sparsity", "0.5", "--out", "pruned"]).ok();
    // A dataset of recordings brings its model.
    f.run(&["init", "speech", "--dataset", "speech"]).ok();
    assert!(String::from_utf8(f.read("speech/lopper.toml")).unwrap().contains("name = \"wav2vec2\""));
    for method in METHODS {
        f.run(&["init", method, "--method", method, "--dataset", "agreement"]).ok();
        let file = format!("{method}/lopper.toml");
        let mut arguments =
            vec!["plan", &file, "--json", "--set", "model.path=model", "data.train=8", "data.validation=2"];
        if method == "transfer" {
            arguments.push("prune.mask=pruned/mask.safetensors");
        }
        assert_eq!(f.run(&arguments).json()["method"], method);
    }
}

#[test]
fn shells_and_manuals_know_the_commands() {
    let f = Fixture::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = f.run(&["completions", shell]).ok();
        assert!(["prune", "predict", "completions", "resolved"].iter().all(|name| script.contains(name)), "{shell}");
    }
    let page = f.run(&["man"]).ok();
    assert!(page.contains(".TH lopper 1") && page.contains("lopper\\-plan(1)") && page.contains("130"), "{page}");
    f.run(&["man", "--out", "pages"]).ok();
    let page = |name: &str| String::from_utf8(f.read(&format!("pages/{name}.1"))).unwrap();
    assert!(page("lopper-run").contains("KEY=VALUE") && page("lopper-mask-iou").contains("Intersection"));
    assert_eq!(page("lopper"), f.run(&["man"]).ok());
}
