//! What is wrong is said once, clearly, with a code that is not zero, and never as a panic.
//!
//! [`CASES`] is a table: what is changed in a directory in which everything is right, a command, and its exit code. The
//! whole of what the command then says stands in `messages.txt`, to be read as a user reads it.

use crate::fixture::Fixture;
use serde_json::json;
use std::path::Path;

struct Case {
    name: &'static str,
    /// Arguments, separated by spaces.
    command: &'static str,
    code: i32,
    change: fn(&Fixture),
}

const fn case(name: &'static str, command: &'static str, code: i32, change: fn(&Fixture)) -> Case {
    Case { name, command, code, change }
}

const RUN: &str = "run run.toml";

/// All that is needed but `[prune]` and what is wrong.
const GOOD: &str = "device = 'cpu'\n[model]\npath = 'model'\n[data]\nname = 'glue'\ntask = 'sst-2'\npath = 'SST-2'\n";

/// Puts lines into the configuration after `[prune]`, the tables that follow included.
fn prune(f: &Fixture, lines: &str) {
    f.write("run.toml", format!("{GOOD}[prune]\n{lines}"));
}

fn train(f: &Fixture, rows: impl AsRef<[u8]>) {
    f.write("SST-2/train.tsv", rows);
}

/// A model directory `bad` whose weights are `bytes`.
fn weights(f: &Fixture, bytes: &[u8]) {
    f.model("bad", 16, &json!({}), None);
    f.write("bad/model.safetensors", bytes);
}

/// Writes float32 `value` over entry `index` of a tensor of `model`.
fn overwrite(f: &Fixture, tensor: &str, index: usize, value: f32) {
    let mut bytes = f.read("model/model.safetensors");
    let header = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let described: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let start = 8 + header + described[tensor]["data_offsets"][0].as_u64().unwrap() as usize + 4 * index;
    bytes[start..start + 4].copy_from_slice(&value.to_le_bytes());
    f.write("model/model.safetensors", bytes);
}

/// A configuration with `[sweep]`; `text` goes on from within `[prune]`.
fn sweep(f: &Fixture, text: &str) {
    let base = "[model]\npath = 'model'\n[data]\nname = 'glue'\ntask = 'sst-2'\npath = 'SST-2'\n[train]\nupdates = 2\n[prune]\nmethod = 'mpi'\n";
    f.write("sweep.toml", format!("{base}{text}"));
}

/// A mask of `model`, in the directory `out`.
fn mask(f: &Fixture, model: &str, sparsity: &str, out: &str) {
    f.run(&["prune", model, "--by", "magnitude", "--sparsity", sparsity, "--out", out]).ok();
}

const CASES: &[Case] = &[
    // Files that are no configuration.
    case("no configuration there", "run nowhere.toml", 1, |_| {}),
    case("a directory as configuration", "plan SST-2", 1, |_| {}),
    case("an unclosed table", RUN, 1, |f| _ = f.write("run.toml", "seed = 3\n[model\npath = 3")),
    case("a configuration that is not UTF-8", RUN, 1, |f| _ = f.write("run.toml", b"# \xff\n")),
    case("an empty configuration", RUN, 1, |f| _ = f.write("run.toml", "")),
    case("a key twice", RUN, 1, |f| _ = f.write("run.toml", "seed = 1\nseed = 2\n")),
    // Keys and names.
    case("values where tables belong", RUN, 1, |f| _ = f.write("run.toml", "model = 3\n[data]\nname = 3\n")),
    case("typos in keys", RUN, 1, |f| {
        let config = "sede = 3\n[model]\npath = 'model'\nname = 'bert'\nhaed = 'fresh'\n[data]\nname = 'glue'\n\
            task = 'sst-2'\npath = 'SST-2'\nmax_lenght = 9\n[prune]\nmethod = 'parp'\nsparsty = 0.5\nevry = 2\n\
            [train]\nepoch = 1\nlearning_rate = 'fast'\n[evaluat]\nevery = 1\n[track]\ntensorbord = true\n";
        f.write("run.toml", config);
    }),
    // Sweeps.
    case("typos in a sweep", "run sweep.toml", 1, |f| {
        sweep(
            f,
            "[sweep]\nseed = [1]\nworkers = 0\nover.prune.sparsity = { from = 0.1, to = 0.9, stp = 0.1 }\nover.task = ['a']\n\
            [[sweep.group]]\nnme = 'x'\nover.data.path = []\n",
        );
    }),
    case("cells with mistakes of their own", "run sweep.toml", 1, |f| {
        sweep(
            f,
            "[sweep]\nseeds = [1, 2]\nover.prune.sparsity = [0.5, 5]\nover.train.learning_rate = [1e-3, 'fast']\n",
        );
    }),
    case("two cells of one name", "plan sweep.toml", 1, |f| {
        sweep(f, "sparsity = 0.5\n[sweep]\nseeds = [1]\nover.data.path = ['SST-2', 'SST 2']\n");
    }),
    case("masks in a circle, and of no cell", "plan sweep.toml", 1, |f| {
        sweep(
            f,
            "[sweep]\nseeds = [1]\n[[sweep.group]]\nname = 'a'\nset.prune = { method = 'transfer', mask = { mask_of = { group = 'b' } } }\n\
            [[sweep.group]]\nname = 'b'\nset.prune = { method = 'transfer', mask = { mask_of = { group = 'a' } } }\n\
            [[sweep.group]]\nname = 'c'\nset.prune = { method = 'transfer', mask = { mask_of = { group = 'd' } } }\n",
        );
    }),
    case("a figure that is none", "run sweep.toml", 1, |f| {
        sweep(
            f,
            "sparsity = 0.5\n[sweep]\nseeds = [1]\n[[figure]]\nname = 'a'\nkind = 'curve'\nline = 'method'\n[[figure]]\nname = 'a'\nkind = 'heatmap'\n",
        );
    }),
    case("a table of what is no sweep", "table SST-2", 1, |_| {}),
    case("typos beside a method that is none", RUN, 1, |f| {
        prune(f, "method = 'prap'\nsparsity = 0.5\nevery = 3\nrond_updates = 3\nxyz = 1\n");
    }),
    case("typos beside a dataset that is none", "run run.toml --set data.name=gleu data.max_lenght=3", 1, |_| {}),
    case("a typo in an option of the recognised model", "plan run.toml --set model.hed=x", 1, |_| {}),
    case("no such model plugin", "plan run.toml --set model.name=brt", 1, |_| {}),
    case("no such task", "plan run.toml --set data.task=sst2x", 1, |_| {}),
    case("a typo in a section on the command line", "plan run.toml --set trian.epochs=1", 1, |_| {}),
    case("a key below a value", "plan run.toml --set prune.method.x=1", 1, |_| {}),
    case("a setting without a value", "run run.toml --set sparsity", 2, |_| {}),
    case("no such optimizer, precision or device", RUN, 1, |f| {
        let text = GOOD.replace("'cpu'", "'gpu'");
        let text = format!("precision = 'float64'\n{text}[prune]\nmethod = 'mpi'\nsparsity = 0.5\n[train]\n");
        f.write("run.toml", format!("{text}optimizer = 'adamx'\nschedule = 'linera'\n"));
    }),
    // Types and ranges.
    case("wrong types", RUN, 1, |f| {
        prune(f, "method = 5\nsparsity = '0.5'\n[train]\nupdates = 1.5\nbucket_by_length = 1\n[run]\nstore = 3\n");
    }),
    case("numbers out of range", RUN, 1, |f| {
        let train = "epochs = 0\nbatch_size = 0\naccumulate = 0\nlearning_rate = -1e-3\nweight_decay = nan\n\
            clip_norm = inf\nbeta1 = 1.0\nmomentum = 0.9\nwarmup = 2.0\nhold = 0.1\n[evaluate]\nbatch_size = 0\n\
            [checkpoint]\nevery = 'soon'\n";
        prune(f, &format!("method = 'parp'\nevery = 0\nsparsity = 1.5\n[train]\n{train}"));
    }),
    case("sparsity NaN", "plan run.toml --set prune.sparsity=nan", 1, |_| {}),
    case("sparsity below 0", "plan run.toml --set prune.sparsity=-0.1", 1, |_| {}),
    case("sparsity infinite", "plan run.toml --set prune.sparsity=inf", 1, |_| {}),
    case("sparsity in words", "plan run.toml --set prune.sparsity=half", 1, |_| {}),
    case("a negative seed", "plan run.toml --set seed=-1", 1, |_| {}),
    case("epochs and updates, batch size and budget", RUN, 1, |f| {
        let train = "epochs = 1\nupdates = 5\nbatch_size = 1\nbudget = 9\n";
        prune(f, &format!("method = 'mpi'\nsparsity = 0.5\n[train]\n{train}"));
    }),
    case("the same on the command line", "plan run.toml --set train.epochs=1 train.updates=5", 1, |_| {}),
    case("shares that do not add up", "plan run.toml --set train.schedule=tri-stage train.hold=0.9", 1, |_| {}),
    case("dense at a sparsity", "plan run.toml --set prune.method=dense", 1, |_| {}),
    case("a ramp from above the target", "plan run.toml --set prune.method=parp-p prune.from=[0.7]", 1, |_| {}),
    case("rounds of nothing", "plan run.toml --set prune.method=imp prune.step=0 prune.rewind=1", 1, |_| {}),
    // Paths.
    case("everything that a configuration names is missing", RUN, 1, |f| {
        let text = GOOD.replace("'model'", "'modell'").replace("'SST-2'", "'SST2'").replace("'cpu'", "'gpu'");
        let text = format!("{text}max_lenght = 3\n[prune]\nmethod = 'transfer'\nmask = 'no.safetensors'\n");
        f.write("run.toml", format!("{text}sparsity = 0.5\n"));
    }),
    case("model, data and mask are missing", RUN, 1, |f| {
        let text = GOOD.replace("'model'", "'modell'").replace("'SST-2'", "'SST2'");
        let prune = "[prune]\nmethod = 'parp'\ninitial = './no.safetensors'\nsparsity = 0.5\n";
        f.write("run.toml", format!("{text}{prune}"));
    }),
    case("paths beside plugins that are wrong", RUN, 1, |f| {
        let text = GOOD.replace("'SST-2'", "'SST2'").replace("'sst-2'", "'stt'");
        f.write("run.toml", format!("{text}[prune]\nmethod = 'trnasfer'\nmask = 'no.safetensors'\nsparsity = 0.5\n"));
    }),
    case("speech that is not there, for a model of texts", RUN, 1, |f| {
        let text = GOOD.replace("'glue'\ntask = 'sst-2'", "'speech'").replace("'SST-2'", "'speech'");
        f.write("run.toml", format!("{text}unit = 'phones'\n[prune]\nmethod = 'mpi'\nsparsity = 0.5\n"));
    }),
    case("recordings for a model of texts", RUN, 1, |f| {
        let text = GOOD.replace("'glue'\ntask = 'sst-2'", "'speech'").replace("'SST-2'", "'speech'");
        for split in ["train", "valid"] {
            f.write(&format!("speech/{split}.jsonl"), "{\"audio\": \"a.wav\", \"text\": \"SEVEN\"}\n");
        }
        let dictionary = "dictionary = 'letters'";
        f.write("run.toml", format!("{text}{dictionary}\n[prune]\nmethod = 'mpi'\nsparsity = 0.5\n"));
    }),
    case("a file as model", "plan run.toml --set model.path=model/model.safetensors", 1, |_| {}),
    case("a file of weights as data", "plan run.toml --set data.path=model/model.safetensors", 1, |_| {}),
    case("a directory as mask", "plan run.toml --set prune.method=transfer prune.mask=SST-2", 1, |_| {}),
    case("a run that is not finished as mask", "plan run.toml --set prune.method=parp prune.initial=./begun", 1, |f| {
        f.write("begun/status.json", "{}");
    }),
    case("runs as mask", "plan run.toml --set prune.method=transfer prune.mask=several", 1, |f| {
        f.write("several/b/status.json", "{}").write("several/a/status.json", "{}");
    }),
    case("no mask named", "plan run.toml --set prune.method=transfer", 1, |_| {}),
    case("a word as initial mask", "plan run.toml --set prune.method=parp prune.initial=mip", 1, |_| {}),
    case("a file where the run's directory belongs", "run run.toml --out run.toml", 1, |_| {}),
    case("a file above the run's directory", "run run.toml --out run.toml/below", 1, |_| {}),
    case("a file as store", "plan run.toml --set run.store=run.toml model.path=gone", 1, |_| {}),
    case("a device that is not there", "plan run.toml --set device=cuda:4096 data.path=gone", 1, |_| {}),
    case("a model of the hub, offline", "plan run.toml --set model.path=hf:org/name data.path=gone", 1, |_| {}),
    case("a name that is none of the hub's", "plan run.toml --set model.path=hf:org", 1, |_| {}),
    case("a name of the hub without its scheme", "plan run.toml --set model.path=org/name", 1, |_| {}),
    // Data.
    case("an empty training file", RUN, 1, |f| train(f, "")),
    case("a header alone", RUN, 1, |f| train(f, "sentence\tlabel\n")),
    case("labels that the task does not have", RUN, 1, |f| {
        train(f, "sentence\tlabel\ngood film\t2\nbad\t-1\nfine\t1\ndull\tneutral\ngood\t\"1\"\n");
    }),
    case("labels in both splits", RUN, 1, |f| {
        train(f, "sentence\tlabel\ngood film\t2\n");
        f.write("SST-2/dev.tsv", "sentence\tlabel\ngood film\tyes\n");
    }),
    case("more bad lines than are listed", RUN, 1, |f| {
        train(f, format!("sentence\tlabel\n{}", "good\t7\n".repeat(25)))
    }),
    case("rows of the wrong width", RUN, 1, |f| train(f, "sentence\tlabel\ngood film\ngood\tfilm\t1\n")),
    case("a column of another name", RUN, 1, |f| train(f, "sentense\tlabels\ngood\t1\n")),
    case("commas, and a column of another name", RUN, 1, |f| train(f, "sentense,label\n\"good, and fine\",1\n")),
    case("training data that are not UTF-8", RUN, 1, |f| train(f, b"sentence\tlabel\ngood\t1\nb\xffd\t0\n")),
    case("JSON lines that are none", "run run.toml --set data.train=t.jsonl", 1, |f| {
        let lines = "{\"sentence\": \"good\", \"label\": 1}\n{\"sentence\": 3, \"label\": 4}\n[1]\n{\"text\": \"a\"\n";
        f.write("SST-2/t.jsonl", lines);
    }),
    case("another task's data", "run run.toml --set data.task=rte", 1, |_| {}),
    case("no training file", RUN, 1, |f| std::fs::remove_file(f.path("SST-2/train.tsv")).unwrap()),
    case("no validation file", RUN, 1, |f| std::fs::remove_file(f.path("SST-2/dev.tsv")).unwrap()),
    case("a named file that is missing", "run run.toml --set data.train=tain.tsv", 1, |_| {}),
    case("training examples of one class", RUN, 1, |f| train(f, "sentence\tlabel\ngood film\t1\nfine film\t1\n")),
    case("sequences longer than the model holds", "run run.toml --set data.max_length=300", 1, |_| {}),
    case("a training example alone", "plan run.toml --set data.limit_train=1", 1, |_| {}),
    case("sequences too short for one token", "run run.toml --set data.max_length=2", 1, |_| {}),
    // Models.
    case("a model and data that are both wrong", "run run.toml --set model.path=bad", 1, |f| {
        weights(f, b"");
        f.write("bad/config.json", "{");
        train(f, "sentence\tlabel\ngood film\t2\n");
    }),
    case("an empty directory as model", "run run.toml --set model.path=bad", 1, |f| {
        std::fs::create_dir(f.path("bad")).unwrap();
    }),
    case("empty weights", "run run.toml --set model.path=bad", 1, |f| weights(f, b"")),
    case("weights of five bytes", "run run.toml --set model.path=bad", 1, |f| weights(f, b"12345")),
    case("weights cut in the header", "run run.toml --set model.path=bad", 1, |f| {
        weights(f, &f.read("model/model.safetensors")[..100]);
    }),
    case("weights cut at the end", "run run.toml --set model.path=bad", 1, |f| {
        let whole = f.read("model/model.safetensors");
        weights(f, &whole[..whole.len() - 7]);
    }),
    case("a zip as weights", "run run.toml --set model.path=bad", 1, |f| {
        weights(f, b"PK\x03\x04 this is a zip, or pretends to be one");
    }),
    case("a header of 2^64 bytes", "run run.toml --set model.path=bad", 1, |f| {
        let mut far = f.read("model/model.safetensors");
        far[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        weights(f, &far);
    }),
    case("pickled weights alone", "run run.toml --set model.path=bad", 1, |f| {
        weights(f, b"");
        std::fs::rename(f.path("bad/model.safetensors"), f.path("bad/pytorch_model.bin")).unwrap();
    }),
    case("missing, extra and misshapen tensors", "run run.toml --set model.path=bad", 1, |f| {
        f.model("bad", 16, &json!({}), None);
        let mut bytes = f.read("bad/model.safetensors");
        let renamed = [("bert.pooler.dense.bias", "bert.pooler.dense.bia_"), ("LayerNorm.bias", "LayerNorm.bais")];
        for (name, other) in renamed {
            let at = bytes.windows(name.len()).position(|window| window == name.as_bytes()).unwrap();
            bytes[at..at + name.len()].copy_from_slice(other.as_bytes());
        }
        f.write("bad/model.safetensors", bytes);
        let config = String::from_utf8(f.read("bad/config.json")).unwrap();
        let config = config.replace("\"max_position_embeddings\": 128", "\"max_position_embeddings\": 64");
        f.write("bad/config.json", config);
    }),
    case("NaN and infinity in weights", RUN, 1, |f| {
        overwrite(f, "bert.pooler.dense.weight", 6, f32::NAN);
        overwrite(f, "bert.encoder.layer.1.output.dense.bias", 3, f32::NEG_INFINITY);
    }),
    case("NaN in weights, one shot", "prune model --by magnitude --sparsity 0.5 --out o", 1, |f| {
        overwrite(f, "bert.pooler.dense.weight", 6, f32::NAN);
    }),
    case("a config.json of several wrong values", RUN, 1, |f| {
        let config = r#"{"model_type": "bert", "hidden_size": 15, "num_attention_heads": 2, "hidden_act": "swish",
            "hidden_dropout_prob": 1.5, "vocab_size": "many"}"#;
        f.write("model/config.json", config);
    }),
    case("the config.json of another architecture", RUN, 1, |f| {
        f.write("model/config.json", r#"{"model_type": "gpt2"}"#);
    }),
    case("a config.json that is a list", RUN, 1, |f| _ = f.write("model/config.json", "[]")),
    case("no tokenizer", RUN, 1, |f| std::fs::remove_file(f.path("model/vocab.txt")).unwrap()),
    case("a vocabulary without special tokens", RUN, 1, |f| _ = f.write("model/vocab.txt", "the\na\n[UNK]\n")),
    case("a vocabulary larger than the embeddings, and NaN", RUN, 1, |f| {
        let mut vocabulary = f.read("model/vocab.txt");
        vocabulary.extend(b"\nmore\nand more");
        f.write("model/vocab.txt", vocabulary);
        overwrite(f, "bert.pooler.dense.weight", 0, f32::INFINITY);
    }),
    case("no such head", "run run.toml --set model.head=frsh", 1, |_| {}),
    case("dropout out of range", "run run.toml --set model.hidden_dropout=1 model.attention_dropout=-1", 1, |_| {}),
    case("the head of a checkpoint that has none", "run run.toml --set model.head=checkpoint", 1, |_| {}),
    case("a head of other labels", "run run.toml --set model.head=checkpoint model.path=other", 1, |f| {
        f.model("other", 16, &json!({"id2label": {"0": "no", "1": "yes"}}), Some(2));
    }),
    case("a head of another number of labels", "run run.toml --set model.head=checkpoint model.path=other", 1, |f| {
        f.model("other", 16, &json!({"num_labels": 3}), Some(3));
    }),
    // Masks.
    case("a mask of another model", "run run.toml --set prune.method=transfer prune.mask=b/mask.safetensors", 1, |f| {
        f.model("wide", 20, &json!({}), None);
        mask(f, "wide", "0.5", "b");
    }),
    case(
        "a mask of another sparsity",
        "run run.toml --set prune.method=transfer prune.mask=b/mask.safetensors",
        1,
        |f| {
            mask(f, "model", "0.25", "b");
        },
    ),
    case(
        "a checkpoint as mask",
        "run run.toml --set prune.method=parp prune.initial=model/model.safetensors",
        1,
        |_| {},
    ),
    case("a changed mask", "run run.toml --set prune.method=transfer prune.mask=b/mask.safetensors", 1, |f| {
        mask(f, "model", "0.5", "b");
        let mut bytes = f.read("b/mask.safetensors");
        *bytes.last_mut().unwrap() ^= 1;
        f.write("b/mask.safetensors", bytes);
    }),
    case("no mask file", "mask info m.safetensors", 1, |_| {}),
    case("a directory without a mask", "mask info SST-2", 1, |_| {}),
    case("two masks that are missing", "mask iou x y", 1, |_| {}),
    case("masks of two models", "mask diff a b", 1, |f| {
        f.model("wide", 20, &json!({}), None);
        mask(f, "model", "0.5", "a");
        mask(f, "wide", "0.5", "b");
    }),
    // The other commands.
    case("predict: no such model", "predict nomodel --text a", 1, |_| {}),
    case("predict: no head", "predict model --text good", 1, |_| {}),
    case("predict: no tokenizer", "predict classifier --text good", 1, |f| {
        std::fs::remove_file(f.path("classifier/vocab.txt")).unwrap();
    }),
    case("predict: offline", "predict hf:org/name --text good", 1, |_| {}),
    case("predict: too short", "predict classifier --text a --max-length 1", 1, |_| {}),
    case("predict: no such file", "predict classifier --file texts", 1, |_| {}),
    case("predict: an empty file", "predict classifier --file texts", 1, |f| _ = f.write("texts", "")),
    case("predict: lines that are none", "predict classifier --file texts", 1, |f| {
        f.write("texts", b"a\tb\tc\ngood\nb\xffd\n");
    }),
    case("predict: nothing to answer", "predict classifier", 2, |_| {}),
    case("eval: no such data", "eval classifier --task sst-2 --data gone", 1, |_| {}),
    case("eval: no data named", "eval classifier --task sst-2", 1, |_| {}),
    case("eval: a run's directory", "eval r --task sst-2 --data SST-2", 1, |f| {
        f.model("r/model", 16, &json!({}), Some(2));
    }),
    case("eval: no such task", "eval classifier --task rtee --data SST-2", 1, |_| {}),
    case("eval: a typo in an option", "eval classifier --task sst-2 --data SST-2 --set max_len=8", 1, |_| {}),
    case("eval: no head", "eval model --task sst-2 --data SST-2", 1, |_| {}),
    case("eval: another head", "eval three --task sst-2 --data SST-2", 1, |f| {
        f.model("three", 16, &json!({"num_labels": 3}), Some(3));
    }),
    case("eval: data that are not UTF-8", "eval classifier --task sst-2 --data d.tsv", 1, |f| {
        f.write("d.tsv", b"sentence\tlabel\nb\xffd\t0\n");
    }),
    case("transcribe: neither model nor recording", "transcribe gone gone.wav", 1, |_| {}),
    case("prune: sparsity above 1", "prune model --by magnitude --sparsity 1.5 --out o", 1, |_| {}),
    case("prune: sparsity NaN", "prune model --by magnitude --sparsity=nan --out o", 1, |_| {}),
    case("prune: sparsity in words", "prune model --by random --sparsity half --out o", 2, |_| {}),
    case("prune: no such criterion", "prune model --by weight --sparsity 0.5 --out o", 2, |_| {}),
    case("prune: a kind for magnitudes", "prune model --by magnitude --kind uniform --sparsity 0.5 --out o", 1, |_| {}),
    case("prune: a directory in use", "prune model --by magnitude --sparsity 0.5 --out SST-2", 1, |_| {}),
    case("plugins: no such plugin", "plugins prap", 1, |_| {}),
    case("init: a file that is there", "init run.toml", 1, |_| {}),
    case("init: no such plugins", "init new.toml --method prap --dataset gleu --model brt", 1, |_| {}),
    case("completions: no such shell", "completions bosh", 2, |_| {}),
    case("no such command", "rnu run.toml", 2, |_| {}),
];

/// What a command says, without what differs from machine to machine.
fn normalised(f: &Fixture, stderr: &str) -> String {
    let text = stderr.replace(&f.path("").display().to_string(), "DIR/");
    // The cache lies in the home directory, and why a GPU cannot be used depends on the machine.
    let text = between(&text, "is not in the cache ", ", and HF_HUB", "CACHE");
    between(&text, "was asked for, but ", "; use device", "WHY")
}

fn between(text: &str, before: &str, after: &str, put: &str) -> String {
    let Some(start) = text.find(before).map(|at| at + before.len()) else { return text.to_owned() };
    let end = text[start..].find(after).map_or(text.len(), |at| start + at);
    format!("{}{put}{}", &text[..start], &text[end..])
}

fn message(case: &Case) -> String {
    let f = Fixture::new();
    f.config("run.toml", "method = 'mpi'\nsparsity = 0.5");
    (case.change)(&f);
    let arguments: Vec<_> = case.command.split(' ').collect();
    let answer = f.run(&arguments);
    let said = format!("{}: {answer:?}", case.name);
    assert_eq!(answer.code, Some(case.code), "{said}");
    assert_eq!(answer.stdout, "", "{said}");
    assert_eq!(answer.stderr.matches("error:").count(), 1, "{said}");
    assert!(!answer.stderr.contains("panicked") && !answer.stderr.contains("defect"), "{said}");
    assert!(!f.path("o").exists() && !f.path("runs").exists(), "{said}: something was written");
    format!("## {}\n$ lopper {}\n{}\n", case.name, case.command, normalised(&f, &answer.stderr))
}

#[test]
fn every_mistake_is_explained() {
    let found: String = CASES.iter().map(message).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/messages.txt");
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let blocks = |text: &str| text.split("## ").skip(1).map(str::to_owned).collect::<Vec<_>>();
    let known = blocks(&expected);
    let changed: String = blocks(&found).into_iter().filter(|block| !known.contains(block)).collect();
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join("messages.txt");
    std::fs::write(&new, &found).unwrap();
    assert!(
        found == expected,
        "these messages are new:\n\n{changed}\nRead them as a user does; if they are right: cp {} {}",
        new.display(),
        path.display()
    );
}

#[test]
fn the_same_bytes_are_refused_wherever_weights_are_read() {
    let f = Fixture::new();
    let whole = f.read("classifier/model.safetensors");
    let cases: [(&str, &[u8]); 4] =
        [("empty", b""), ("short", &whole[..5]), ("header", &whole[..100]), ("end", &whole[..whole.len() - 7])];
    for (name, bytes) in cases {
        f.model(name, 16, &json!({}), Some(2));
        f.write(&format!("{name}/model.safetensors"), bytes).write("mask.safetensors", bytes);
        let commands: [&[&str]; 3] = [
            &["predict", name, "--text", "good"],
            &["prune", name, "--by", "magnitude", "--sparsity", "0.5", "--out", "out"],
            &["mask", "info", "mask.safetensors"],
        ];
        for command in commands {
            let answer = f.run(command);
            assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "{command:?}: {answer:?}");
            assert!(answer.stderr.contains(".safetensors"), "{command:?}: {answer:?}");
        }
        assert!(!f.path("out").exists());
    }
}
