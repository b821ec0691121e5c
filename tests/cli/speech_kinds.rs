//! Speech checkpoints as people have them, through the command line: what is assumed, left out and refused is said.

use crate::fixture::{Answer, Fixture};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// A checkpoint of plugins/wav2vec2/tests/make_checkpoint_kinds.py.
fn kind(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/wav2vec2/tests/fixtures/kinds").join(name)
}

/// The same in the fixture, without some of its files.
fn copied(f: &Fixture, name: &str, without: &[&str]) {
    for entry in fs::read_dir(kind(name)).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if !without.contains(&file.as_str()) {
            f.write(&format!("{name}/{file}"), fs::read(kind(name).join(&file)).unwrap());
        }
    }
}

/// The waveform of the script as WAV, in float32, so that nothing is rounded.
fn waveform() -> Vec<u8> {
    let samples = (0..160).map(|i| (f64::from((i * 37) % 101 + (i * 11) % 7) / 101.0 - 0.2) as f32);
    let data: Vec<u8> = samples.flat_map(f32::to_le_bytes).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x03\0\x01\0");
    file.extend([16_000u32, 64_000].map(u32::to_le_bytes).concat());
    file.extend([4u16, 32].map(u16::to_le_bytes).concat());
    file.extend(b"data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

fn prune(f: &Fixture, name: &str) -> Answer {
    let out = format!("pruned-{name}");
    f.run(&["prune", name, "--by", "magnitude", "--sparsity", "0", "--out", &out, "--device", "cpu"])
}

/// A command that must succeed and say this once.
#[track_caller]
fn says(answer: &Answer, part: &str) {
    assert_eq!((answer.code, answer.stderr.matches(part).count()), (Some(0), 1), "`{part}` is not once in: {answer:?}");
}

#[test]
fn what_is_assumed_of_a_checkpoint_is_said() {
    let f = Fixture::new();
    copied(&f, "5_plain", &["processor_config.json"]);
    says(&prune(&f, "5_plain"), "nothing says whether recordings are normalised");
    copied(&f, "5_differ", &[]);
    says(
        &prune(&f, "5_differ"),
        "do_normalize is false by processor_config.json, which transformers 5 believes, and true by",
    );
    copied(&f, "4_gaps", &[]);
    says(&prune(&f, "4_gaps"), "4 of 9 outputs (2, 6, 7, 8) have no symbol");
    for name in ["4_plain", "5_added", "5_no_mask", "5_classes", "4_pretraining"] {
        copied(&f, name, &[]);
        let answer = prune(&f, name);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
    }
}

/// As transformers decodes, but that special tokens are not shown.
#[test]
fn transcripts_are_spelled_as_the_tokenizer_decodes() {
    let f = Fixture::new();
    f.write("a.wav", waveform());
    for name in ["4_plain", "5_as_is", "5_added", "4_gaps", "4_space", "5_space", "4_phones", "5_phones", "5_languages"]
    {
        copied(&f, name, &[]);
        let expected: Value = serde_json::from_slice(&f.read(&format!("{name}/expected.json"))).unwrap();
        let special = expected["special"].as_object().unwrap().values().filter_map(Value::as_str);
        let text = expected["decoded"][0].as_str().unwrap().to_owned();
        let text = special.fold(text, |text, token| text.replace(token, "").replace(&token.to_lowercase(), ""));
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let found = f.run(&["transcribe", name, "a.wav", "--json", "--device", "cpu"]).json();
        assert_eq!(found["text"], json!(text), "{name}");
    }
}

#[test]
fn no_answer_is_given_from_the_head_of_another_class() {
    let f = Fixture::new();
    f.write("a.wav", waveform());
    for (name, class) in [
        ("4_classes", "Wav2Vec2ForSequenceClassification, a head for sequence classification"),
        ("5_speakers", "Wav2Vec2ForXVector, a head for speakers' vectors"),
    ] {
        copied(&f, name, &[]);
        let answer = f.run(&["transcribe", name, "a.wav", "--device", "cpu"]);
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "{answer:?}");
        assert!(answer.stderr.contains(&format!("{name}, a {class}, does not support transcripts")), "{answer:?}");
    }
}

#[test]
fn a_run_says_once_what_its_model_lost() {
    let f = Fixture::new();
    copied(&f, "5_pretraining", &[]);
    for split in ["train", "valid"] {
        f.write("data/a.wav", waveform());
        f.write(&format!("data/{split}.jsonl"), json!({"audio": "a.wav", "text": "A"}).to_string());
    }
    f.write(
        "run.toml",
        "device = 'cpu'\n[model]\npath = '5_pretraining'\n[data]\nname = 'speech'\npath = 'data'\nframe_window = 30\n\
         frame_stride = 20\nmin_seconds = 0.001\n[prune]\nmethod = 'omp'\nsparsity = 0.5\n[train]\nupdates = 1\n\
         batch_size = 1\nlearning_rate = 1e-3\n",
    );
    let answer = f.run(&["run", "run.toml", "--out", "r"]);
    let lost = "left out: 7 tensors of Wav2Vec2ForPreTraining (project_hid, project_q, quantizer)";
    says(&answer, lost);
    let config: Value = serde_json::from_slice(&f.read("r/model/config.json")).unwrap();
    assert_eq!(config["architectures"], json!(["Wav2Vec2ForCTC"]));
    for file in ["preprocessor_config.json", "processor_config.json", "tokenizer_config.json"] {
        assert!(f.path("r/model").join(file).is_file(), "{file}");
    }
}
