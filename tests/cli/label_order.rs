//! MNLI's heads in the order of today's run_glue.py, and heads without names: judged and trained on by the labels' names.

use crate::fixture::Fixture;
use serde_json::{Value, json};

const ORDER: &str = "labels=[\"entailment\", \"neutral\", \"contradiction\"]";

/// MNLI in GLUE's own columns: `labels` one after the other.
fn mnli(labels: &[&str]) -> String {
    let rows = (0..12).map(|row| {
        let (noun, word) = (["film", "play", "book"][row % 3], ["good", "fine", "bad", "dull"][row % 4]);
        let label = labels[row % labels.len()];
        format!("{row}\tthe {noun} is {word} .\ta {word} {noun}\t{label}\n")
    });
    "index\tsentence1\tsentence2\tgold_label\n".to_owned() + &rows.collect::<String>()
}

#[test]
fn heads_are_taken_by_the_names_of_their_labels() {
    let f = Fixture::new();
    let names = json!({"0": "entailment", "1": "neutral", "2": "contradiction"});
    f.model("named", 16, &json!({ "id2label": names }), Some(3));
    let unnamed = json!({"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"});
    f.model("unnamed", 16, &json!({ "id2label": unnamed }), Some(3));
    // Labelled with what the head answers, it is always right.
    let data = mnli(&["neutral"]);
    f.write(
        "texts",
        data.lines()
            .skip(1)
            .map(|l| l.split('\t').skip(1).take(2).collect::<Vec<_>>().join("\t") + "\n")
            .collect::<String>(),
    );
    let answers = f.run(&["predict", "named", "--file", "texts", "--json"]).json();
    let answers: Vec<&str> =
        answers.as_array().unwrap().iter().map(|answer| answer["label"].as_str().unwrap()).collect();
    assert_eq!(answers.len(), 12);
    f.write("MNLI/dev_matched.tsv", mnli(&answers));
    let accuracy = |model: &str, more: &[&str]| {
        let arguments = [&["eval", model, "--task", "mnli", "--data", "MNLI", "--json"], more].concat();
        let answer = f.run(&arguments);
        let warned = answer.stderr.contains("the head has no names for its outputs");
        (answer.json()["metrics"]["accuracy"].as_f64().unwrap(), warned)
    };
    assert_eq!(accuracy("named", &[]), (1.0, false));
    assert_eq!(accuracy("named", &["--set", ORDER]), (1.0, false));
    assert_eq!(accuracy("unnamed", &[]), (0.0, true));
    assert_eq!(accuracy("unnamed", &["--set", ORDER]), (1.0, false));
    // Trained on, the head keeps its order, and so does what is saved.
    f.write("MNLI/train.tsv", mnli(&["contradiction", "entailment", "neutral"]));
    f.write(
        "run.toml",
        "device = 'cpu'\n[model]\npath = 'named'\nhead = 'checkpoint'\n[data]\nname = 'glue'\ntask = 'mnli'\npath = 'MNLI'\n\
         [prune]\nmethod = 'dense'\nsparsity = 0\n[train]\nepochs = 1\nbatch_size = 4\nlearning_rate = 1e-6\n",
    );
    f.run(&["run", "run.toml", "--out", "r"]).ok();
    let saved: Value = serde_json::from_slice(&f.read("r/model/config.json")).unwrap();
    assert_eq!(saved["id2label"], names);
    assert_eq!(accuracy("r/model", &[]), (1.0, false));
    // Other labels than the task's are none of any order.
    f.model("other", 16, &json!({"id2label": {"0": "a", "1": "b", "2": "c"}}), Some(3));
    let refused = f.run(&["eval", "other", "--task", "mnli", "--data", "MNLI"]);
    assert!(refused.stderr.contains("the classes a, b, c") && refused.code == Some(1), "{refused:?}");
}
