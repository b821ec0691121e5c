//! What is wrong is said once, clearly, with a code that is not zero, and never as a panic.

use crate::fixture::Fixture;
use serde_json::json;

/// A command that must fail with `code` and say every one of `parts`.
fn check(fixture: &Fixture, arguments: &[&str], code: i32, parts: &[&str]) {
    let answer = fixture.run(arguments);
    let said = format!("`lopper {}`: {answer:?}", arguments.join(" "));
    assert_eq!(answer.code, Some(code), "{said}");
    assert_eq!(answer.stdout, "", "{said}");
    assert!(!answer.stderr.contains("panicked") && !answer.stderr.contains("defect"), "{said}");
    assert_eq!(answer.stderr.matches("error:").count(), 1, "{said}");
    for part in parts {
        assert!(answer.stderr.contains(part), "`{part}` is not in {said}");
    }
}

/// A configuration that must be refused with all of `parts`.
fn refused(fixture: &Fixture, config: &str, parts: &[&str]) {
    fixture.write("bad.toml", config);
    check(fixture, &["run", "bad.toml"], 1, parts);
}

const GOOD: &str = "device = 'cpu'\n[model]\npath = 'model'\n[data]\nname = 'glue'\ntask = 'sst-2'\npath = 'SST-2'\n";

#[test]
fn missing_files() {
    let f = Fixture::new();
    check(&f, &["run", "nowhere.toml"], 1, &["nowhere.toml", "does not exist"]);
    check(&f, &["plan", "SST-2"], 1, &["SST-2", "is a directory"]);
    check(&f, &["mask", "info", "m.safetensors"], 1, &["m.safetensors", "does not exist"]);
    check(&f, &["mask", "info", "SST-2"], 1, &["SST-2", "no mask.safetensors"]);
    check(&f, &["predict", "nomodel", "--text", "a"], 1, &["nomodel", "does not exist"]);
    check(&f, &["predict", "classifier", "--file", "texts"], 1, &["texts", "does not exist"]);
    check(&f, &["predict", "classifier/config.json", "--text", "a"], 1, &["is a file", "directory"]);
    check(&f, &["eval", "classifier", "--task", "sst-2", "--data", "gone"], 1, &["gone", "does not exist"]);
    check(&f, &["mask", "iou", "x", "y"], 1, &["2 problems", "x: does not exist", "y: does not exist"]);
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    check(&f, &["run", "run.toml", "--set", "model.path=modell"], 1, &["modell", "did you mean", "model"]);
    check(&f, &["run", "run.toml", "--set", "data.path=gone"], 1, &["gone", "does not exist"]);
    let transfer = ["run", "run.toml", "--set", "prune.method=transfer", "prune.mask=gone.safetensors"];
    check(&f, &transfer, 1, &["gone.safetensors"]);
}

#[test]
fn wrong_names() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let set = |setting| ["run", "run.toml", "--set", setting];
    check(&f, &set("prune.method=prap"), 1, &["no strategy is called `prap`", "did you mean `parp`", "omp"]);
    check(&f, &set("data.name=gleu"), 1, &["no dataset is called `gleu`", "did you mean `glue`"]);
    check(&f, &set("model.name=brt"), 1, &["no model is called `brt`", "did you mean `bert`"]);
    check(&f, &set("data.task=sst2x"), 1, &["sst2x", "sst-2"]);
    check(&f, &set("device=gpu"), 1, &["device", "gpu", "cpu"]);
    check(&f, &set("precision=float64"), 1, &["precision", "float64", "float32"]);
    check(&f, &set("train.optimizer=adamx"), 1, &["[train] optimizer", "adamx", "adamw"]);
    check(&f, &["plugins", "prap"], 1, &["prap", "did you mean `parp`"]);
    check(&f, &["eval", "classifier", "--task", "rtee", "--data", "SST-2"], 1, &["rtee", "did you mean `rte`"]);
    check(&f, &["prune", "model", "--by", "weight", "--sparsity", "0.5", "--out", "o"], 2, &["weight", "magnitude"]);
    check(&f, &["rnu", "run.toml"], 2, &["rnu", "--help"]);
    check(&f, &["run", "run.toml", "--set", "sparsity"], 2, &["sparsity", "key=value"]);
    check(&f, &["predict", "classifier"], 2, &["--text", "--file"]);
    check(&f, &["mask", "iou", "only-one"], 2, &["2 values"]);
}

#[test]
fn typos_in_keys_come_all_at_once() {
    let f = Fixture::new();
    let config = "sede = 3\n[model]\npath = 'model'\nname = 'bert'\nhaed = 'fresh'\n[data]\nname = 'glue'\ntask = 'sst-2'\n\
        path = 'SST-2'\nmax_lenght = 9\n[prune]\nmethod = 'parp'\nsparsty = 0.5\nevry = 2\n[train]\nepoch = 1\n\
        learning_rate = 'fast'\n[evaluat]\nevery = 1\n";
    refused(
        &f,
        config,
        &[
            "unknown key `sede` (did you mean `seed`?)",
            "unknown key `evaluat` (did you mean `evaluate`?)",
            "[model]: unknown key `haed` (did you mean `head`?)",
            "[data]: unknown key `max_lenght` (did you mean `max_length`?)",
            "[prune]: unknown key `sparsty` (did you mean `sparsity`?)",
            "[prune]: unknown key `evry` (did you mean `every`?)",
            "[prune] sparsity = (not given)",
            "[train]: unknown key `epoch` (did you mean `epochs`?)",
            "[train] learning_rate = \"fast\"",
            "9 problems",
        ],
    );
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    for (setting, hint) in
        [("trian.epochs=1", "`train`"), ("train.epochz=1", "`epochs`"), ("prune.method.x=1", "no table")]
    {
        check(&f, &["plan", "run.toml", "--set", setting], 1, &[hint]);
    }
    // The model's plugin is not named here, so its keys are checked once it is recognised.
    check(&f, &["plan", "run.toml", "--set", "model.hed=x"], 1, &["[model]: unknown key `hed`", "`head`"]);
}

#[test]
fn numbers_out_of_range() {
    let f = Fixture::new();
    for sparsity in ["1.5", "nan", "-0.1", "inf"] {
        let shown = if sparsity == "nan" { "NaN" } else { sparsity };
        let expected = format!("sparsity = {shown} is not accepted: a number from 0 (dense) to 1");
        refused(&f, &format!("{GOOD}[prune]\nmethod = 'mpi'\nsparsity = {sparsity}\n"), &[&expected]);
        let flag = format!("--sparsity={sparsity}");
        check(&f, &["prune", "model", "--by", "magnitude", &flag, "--out", "o"], 1, &[&format!("--{expected}")]);
    }
    check(&f, &["prune", "model", "--by", "random", "--sparsity", "half", "--out", "o"], 2, &["half"]);
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    check(&f, &["plan", "run.toml", "--set", "prune.sparsity=abc"], 1, &["[prune] sparsity = \"abc\"", "f64"]);
    let train = "epochs = 0\nbatch_size = 0\naccumulate = 0\nlearning_rate = -1e-3\nweight_decay = nan\nclip_norm = inf\n\
        beta1 = 1.0\nmomentum = 0.9\nwarmup = 2.0\nhold = 0.1\n[evaluate]\nbatch_size = 0\n[run]\ncheckpoint_minutes = -1\n";
    refused(
        &f,
        &format!("{GOOD}[prune]\nmethod = 'parp'\nevery = 0\nsparsity = 0.5\n[train]\n{train}"),
        &[
            "[prune] every = 0",
            "[train] epochs = 0 ",
            "[train] batch_size = 0 is not accepted: from 1",
            "[train] accumulate = 0",
            "[train] learning_rate = -0.001",
            "[train] weight_decay = NaN",
            "[train] clip_norm = inf",
            "[train] beta1 = 1 ",
            "[train] momentum = 0.9 is not accepted: only with optimizer = \"sgd\"",
            "[train] warmup = 2 ",
            "[train] hold = 0.1 is not accepted: only with schedule = \"tri-stage\"",
            "[evaluate] batch_size = 0",
            "[run] checkpoint_minutes = -1",
        ],
    );
    let both =
        "[prune]\nmethod = 'mpi'\nsparsity = 0.5\n[train]\nepochs = 1\nupdates = 5\nbatch_size = 1\nbudget = 9\n";
    refused(&f, &format!("{GOOD}{both}"), &["either epochs or updates", "either batch_size or budget"]);
    refused(&f, &format!("seed = -1\n{GOOD}[prune]\nmethod = 'dense'\nsparsity = 0.0\n"), &["seed = -1"]);
    refused(&f, &format!("{GOOD}[prune]\nmethod = 'dense'\nsparsity = 0.5\n"), &["sparsity = 0.5", "`dense`"]);
    refused(&f, "[train]\n", &["[model] path", "[data] name", "agreement, glue", "[prune] method", "[prune] sparsity"]);
    check(
        &f,
        &["predict", "classifier", "--text", "a", "--max-length", "1"],
        1,
        &["--max-length = 1", "to 128 tokens"],
    );
}

#[test]
fn configurations_that_are_no_configuration() {
    let f = Fixture::new();
    refused(&f, "[model\npath = 3", &["bad.toml", "is not TOML", "line 1"]);
    refused(&f, "model = 3\n[data]\nname = 3\n", &["model = 3", "[model]", "[data] name = 3"]);
    f.write("bad.toml", b"# \xff\n");
    check(&f, &["plan", "bad.toml"], 1, &["bad.toml", "byte 2 is not UTF-8"]);
}

#[test]
fn damaged_weights() {
    let f = Fixture::new();
    let whole = f.read("classifier/model.safetensors");
    let mut far = whole.clone();
    far[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases: [(&str, &[u8], &str); 6] = [
        ("empty", b"", "is empty"),
        ("short", &whole[..5], "too few"),
        ("header", &whole[..100], "truncated"),
        ("truncated", &whole[..whole.len() - 7], "model.safetensors"),
        ("garbage", b"PK\x03\x04 this is a zip, or pretends to be one", "model.safetensors"),
        ("far", &far, "header"),
    ];
    for (name, bytes, part) in cases {
        f.model(name, 16, &json!({}), Some(2));
        f.write(&format!("{name}/model.safetensors"), bytes);
        check(&f, &["predict", name, "--text", "good"], 1, &[name, part]);
        check(&f, &["prune", name, "--by", "magnitude", "--sparsity", "0.5", "--out", "out"], 1, &[name, part]);
        f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
        check(&f, &["run", "run.toml", "--set", &format!("model.path={name}")], 1, &[name, part]);
        // The same bytes where a mask is expected.
        f.write("mask.safetensors", bytes);
        check(&f, &["mask", "info", "mask.safetensors"], 1, &["mask.safetensors"]);
        assert!(!f.path("out").exists());
    }
    f.write("classifier/mask.safetensors", &whole);
    check(&f, &["mask", "info", "classifier"], 1, &["mask.safetensors", "not a Lopper mask"]);
}

#[test]
fn a_config_of_another_shape() {
    let f = Fixture::new();
    f.model("wide", 20, &json!({}), None);
    let (narrow, wide) = (f.read("model/config.json"), f.read("wide/config.json"));
    f.write("wide/config.json", narrow);
    check(
        &f,
        &["prune", "wide", "--by", "magnitude", "--sparsity", "0.5", "--out", "o"],
        1,
        &[
            "does not fit its config.json",
            "`bert.encoder.layer.0.attention.self.query.weight` has shape [20, 20]; by config.json it is [16, 16]",
            "`bert.pooler.dense.bias`",
        ],
    );
    f.write("wide/config.json", wide);
    // Masks of two shapes.
    for (model, out) in [("model", "a"), ("wide", "b")] {
        f.run(&["prune", model, "--by", "magnitude", "--sparsity", "0.5", "--out", out]).ok();
    }
    for command in ["iou", "diff"] {
        check(&f, &["mask", command, "a", "b"], 1, &["a and b", "query.weight", "[16, 16]", "[20, 20]"]);
    }
    f.config("run.toml", "method = 'transfer'\nmask = 'b/mask.safetensors'\nsparsity = 0.5");
    check(&f, &["run", "run.toml"], 1, &["b/mask.safetensors", "[20, 20]"]);
    for (name, config) in [("not-json", "{"), ("gpt", "{\"model_type\": \"gpt2\"}"), ("list", "[]")] {
        f.model(name, 16, &json!({}), Some(2));
        f.write(&format!("{name}/config.json"), config);
        check(&f, &["predict", name, "--text", "a"], 1, &[name, "config.json"]);
    }
    f.model("headless", 16, &json!({"hidden_size": 15, "num_attention_heads": 5}), None);
    f.write("headless/config.json", r#"{"model_type": "bert", "hidden_size": 15, "num_attention_heads": 2}"#);
    check(&f, &["predict", "headless", "--text", "a"], 1, &["num_attention_heads"]);
}

#[test]
fn data_that_is_no_data() {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    let whole = f.read("SST-2/train.tsv");
    let eval = ["eval", "classifier", "--task", "sst-2", "--data", "SST-2/dev.tsv"];
    for (content, part) in [
        ("", "is empty"),
        ("sentence\tlabel\n", "a header and no rows"),
        ("sentence\tlabel\ngood film\t2\n", "line 2: the label `2`"),
        ("sentence\tlabel\ngood film\t1\nbad\t-1\n", "line 3"),
        ("sentence\tlabel\ngood film\n", "line 2: has 1 tab-separated fields, not 2"),
        ("text\tlabel\ngood\t1\n", "no column `sentence`"),
    ] {
        f.write("SST-2/train.tsv", content);
        check(&f, &["run", "run.toml"], 1, &["SST-2/train.tsv", part]);
        f.write("SST-2/train.tsv", &whole).write("SST-2/dev.tsv", content);
        check(&f, &eval, 1, &["SST-2/dev.tsv", part]);
        f.write("SST-2/dev.tsv", &whole);
    }
    std::fs::remove_file(f.path("SST-2/train.tsv")).unwrap();
    check(&f, &["plan", "run.toml"], 1, &["sst-2", "no training examples"]);
    for (content, part) in [("", "is empty"), ("a\tb\tc\n", "line 1: has 3 tab-separated fields")] {
        f.write("texts", content);
        check(&f, &["predict", "classifier", "--file", "texts"], 1, &["texts", part]);
    }
    f.write("texts", b"good\nb\xffd\n");
    check(&f, &["predict", "classifier", "--file", "texts"], 1, &["texts, line 2: byte 2 is not UTF-8"]);
}

#[test]
fn models_that_cannot_do_it() {
    let f = Fixture::new();
    check(&f, &["predict", "model", "--text", "good"], 1, &["without a head", "finetune"]);
    check(&f, &["eval", "model", "--task", "sst-2", "--data", "SST-2"], 1, &["no head", "finetune"]);
    f.model("three", 16, &json!({"num_labels": 3}), Some(3));
    check(&f, &["eval", "three", "--task", "sst-2", "--data", "SST-2"], 1, &["LABEL_2", "negative, positive"]);
    check(&f, &["eval", "classifier", "--task", "sst-2"], 1, &["--data", "sst-2"]);
    check(
        &f,
        &["eval", "classifier", "--task", "sst-2", "--data", "SST-2", "--set", "max_len=8"],
        1,
        &["`max_length`"],
    );
    check(
        &f,
        &["prune", "model", "--by", "magnitude", "--kind", "uniform", "--sparsity", "0.5", "--out", "o"],
        1,
        &["--kind"],
    );
    check(
        &f,
        &["prune", "model", "--by", "magnitude", "--sparsity", "0.5", "--out", "SST-2"],
        1,
        &["SST-2", "not empty"],
    );
    std::fs::remove_file(f.path("classifier/vocab.txt")).unwrap();
    check(&f, &["predict", "classifier", "--text", "good"], 1, &["no tokenizer", "vocab.txt"]);
    check(&f, &["predict", "hf:org/name", "--text", "good"], 1, &["org/name", "HF_HUB_OFFLINE"]);
}
