//! Checkpoints of the kinds that people have, saved by transformers 4.57.1 and 5.24.0, read and saved again: what
//! transformers says of each stands beside it (make_checkpoint_kinds.py).
#![allow(clippy::unwrap_used)]

mod common;

use common::{ctc, fixtures, open, peak, read, task};
use lopper_core::{Artifact, Features, Head, Input, MaskOrigin, Model, Role};
use lopper_wav2vec2::Wav2Vec2Model;
use lopper_weights::save_model;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

fn kinds() -> Vec<PathBuf> {
    let all = std::fs::read_dir(fixtures().join("kinds")).unwrap().map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = all.filter(|path| path.join("expected.json").is_file()).collect();
    all.sort();
    assert_eq!(all.len(), 25);
    all
}

fn kind(name: &str) -> PathBuf {
    fixtures().join("kinds").join(name)
}

fn object(path: PathBuf) -> Value {
    serde_json::from_slice(&std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))).unwrap()
}

/// The waveform of the script.
fn waveform() -> Vec<f32> {
    (0..160).map(|i| (f64::from((i * 37) % 101 + (i * 11) % 7) / 101.0 - 0.2) as f32).collect()
}

fn logits(model: &Wav2Vec2Model) -> Tensor {
    let preprocessor = model.preprocessor().unwrap();
    let wave = waveform();
    let features = preprocessor.features(Input::Audio { samples: &wave, sample_rate: 16_000 }, None).unwrap();
    assert!(matches!(&features, Features::Samples(samples) if samples.len() == 160));
    let batch = lopper_core::Batch::new(preprocessor.collate(&[&features]).unwrap(), None, 1);
    model.predict(&batch).unwrap().logits
}

/// Every tensor under the name that this crate saves it by.
fn tensors(directory: &Path) -> BTreeMap<String, Tensor> {
    let names = [("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v")];
    let saved = |name: String| names.iter().fold(name, |name, (new, old)| name.replace(new, old));
    let all = read(&directory.join("model.safetensors")).into_iter();
    all.map(|(name, tensor)| (saved(name).replace("mask_time_emb_vector", "masked_spec_embed"), tensor)).collect()
}

#[test]
fn what_transformers_says_of_a_checkpoint_is_said_of_it_here() {
    for path in kinds() {
        let (name, expected) =
            (path.file_name().unwrap().to_string_lossy().into_owned(), object(path.join("expected.json")));
        let model = open(&path, "", None).unwrap_or_else(|e| panic!("{name}: {e}"));
        let normalized = model.preprocessor().unwrap().identity().ends_with("-normalized");
        assert_eq!(json!(normalized), expected["normalize"], "{name}");
        let ctc = !["classes", "speakers", "pretraining"].iter().any(|other| name.ends_with(other));
        assert_eq!(model.head().is_some(), ctc, "{name}");
        if ctc {
            let rows = expected["answer"].as_array().unwrap().iter().flat_map(|row| row.as_array().unwrap());
            let answer: Vec<f32> = rows.map(|x| x.as_f64().unwrap() as f32).collect();
            let found = logits(&model);
            let error = peak(&(found.flatten(0, -1) - Tensor::from_slice(&answer)));
            assert!(error <= 1e-4, "{name}: {error}");
        }
    }
}

#[test]
fn a_checkpoint_that_is_only_saved_again_stays_what_it_was() {
    for path in kinds() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let model = open(&path, "", None).unwrap();
        let saved = tempfile::tempdir().unwrap();
        let saved = saved.path().join("saved");
        save_model(&saved, &model, None, &MaskOrigin::new()).unwrap();
        for entry in std::fs::read_dir(&path).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            if !["config.json", "model.safetensors", "expected.json"].contains(&file.as_str()) && name != "5_differ" {
                assert!(
                    std::fs::read(path.join(&file)).unwrap() == std::fs::read(saved.join(&file)).unwrap(),
                    "{name}: {file}"
                );
            }
        }
        let (mut before, mut after) = (object(path.join("config.json")), object(saved.join("config.json")));
        for config in [&mut before, &mut after] {
            for key in ["dtype", "torch_dtype"] {
                config.as_object_mut().unwrap().remove(key);
            }
        }
        assert_eq!(before, after, "{name}");
        let (before, after) = (tensors(&path), tensors(&saved));
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{name}");
        assert!(before.iter().all(|(key, tensor)| after[key] == *tensor), "{name}");
        // Whichever file a transformers looks into, it says the same.
        let old = object(saved.join("preprocessor_config.json"));
        assert_eq!(old["do_normalize"], object(path.join("expected.json"))["normalize"], "{name}");
        if let Ok(new) = std::fs::read(saved.join("processor_config.json")) {
            let new: Value = serde_json::from_slice(&new).unwrap();
            assert_eq!(new["feature_extractor"]["do_normalize"], old["do_normalize"], "{name}");
        }
        let again = open(&saved, "", None).unwrap();
        assert_eq!((again.head(), again.identity()), (model.head(), model.identity()), "{name}");
    }
}

#[test]
fn outputs_have_the_names_that_any_file_gives_them() {
    let symbols = |name: &str| match open(&kind(name), "", None).unwrap().head() {
        Some(Head::Ctc { vocabulary, blank }) => (vocabulary.join(" "), *blank),
        other => panic!("{other:?}"),
    };
    for version in ["4", "5"] {
        let of = |name: &str| symbols(&format!("{version}_{name}"));
        assert_eq!(of("plain"), ("| A B C [UNK] [PAD]".into(), 5));
        assert_eq!(of("added"), ("| A B C [UNK] [PAD] <s> </s>".into(), 5));
        assert_eq!(of("gaps"), ("| A <2> C [UNK] [PAD] <6> <7> <8>".into(), 5));
        assert_eq!(of("languages"), ("| A B C [UNK] [PAD]".into(), 5));
        assert_eq!(of("phones"), ("<s> <pad> </s> <unk> ts a aː t".into(), 1));
    }
}

#[test]
fn a_new_head_gets_a_tokenizer_of_its_own() {
    for (name, head) in [
        ("letters", ctc(&["<s>", "<pad>", "</s>", "<unk>", "|", "A", "B"], 0)),
        ("spaces", ctc(&[" ", "a", "b", "[PAD]", "[UNK]"], 3)),
        ("phones", ctc(&["<s>", "<pad>", "</s>", "<unk>", "ts", "a", "aː"], 0)),
    ] {
        let model = open(&kind("5_space"), "", Some(&task(head))).unwrap();
        let artifacts = model.artifacts().unwrap();
        let of =
            |file: &str| artifacts.iter().find(|a| a.name == file).map(|a| String::from_utf8(a.bytes.clone()).unwrap());
        for file in ["vocab.json", "tokenizer_config.json"] {
            let expected = std::fs::read_to_string(fixtures().join("tokenizers").join(name).join(file)).unwrap();
            assert_eq!(of(file).unwrap(), expected.trim_end(), "{name}: {file}");
        }
        assert_eq!((of("special_tokens_map.json"), of("added_tokens.json")), (None, None), "what was another head's");
        let config: Value = serde_json::from_str(&of("config.json").unwrap()).unwrap();
        assert_eq!(
            (&config["architectures"], &config["ctc_zero_infinity"]),
            (&json!(["Wav2Vec2ForCTC"]), &json!(true))
        );
    }
}

/// Files as a test writes them over those of a kind.
fn with(name: &str, files: &[(&str, Option<&str>)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(kind(name)).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), directory.path().join(entry.file_name())).unwrap();
    }
    for (file, text) in files {
        let path = directory.path().join(file);
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
    directory
}

#[test]
fn both_files_say_how_recordings_are_prepared() {
    const OLD: &str = "preprocessor_config.json";
    const NEW: &str = "processor_config.json";
    let normalized = |files: &[(&str, Option<&str>)], options: &str| {
        let model = open(with("5_plain", files).path(), options, None).map_err(|e| e.to_string())?;
        let files: BTreeMap<String, Vec<u8>> =
            model.artifacts().unwrap().into_iter().map(|Artifact { name, bytes }| (name, bytes)).collect();
        Ok::<_, String>((model.preprocessor().unwrap().identity().ends_with("-normalized"), files))
    };
    let is = |files: &[(&str, Option<&str>)]| normalized(files, "").unwrap().0;
    assert!(is(&[]));
    let nested = |value: &str| format!("{{\"feature_extractor\": {{\"do_normalize\": {value}}}}}");
    assert!(!is(&[(NEW, Some(&nested("false")))]));
    assert!(!is(&[(NEW, Some(&nested("false").replace("feature_extractor", "audio_processor")))]));
    assert!(is(&[(NEW, Some("{\"feature_extractor\": {}}"))]), "the default of transformers");
    // The new file is believed, unless it is a processor's alone.
    let plain = Some("{\"do_normalize\": false}");
    assert!(is(&[(NEW, Some(&nested("true"))), (OLD, plain)]));
    assert!(!is(&[(NEW, Some("{\"processor_class\": \"Wav2Vec2Processor\"}")), (OLD, plain)]));
    // transformers 4 looks for the nested settings in the old file too.
    assert!(!is(&[(NEW, None), (OLD, Some(&nested("false")))]));
    assert!(is(&[(NEW, None)]), "assumed");
    // An option changes both files, and nothing else in them.
    let (is, files) = normalized(&[(OLD, Some("{\"x\": 1}"))], "normalize = false").unwrap();
    let file = |name: &str| serde_json::from_slice::<Value>(&files[name]).unwrap();
    assert!(!is);
    assert_eq!(file(OLD), json!({"x": 1, "do_normalize": false}));
    assert_eq!(
        (&file(NEW)["feature_extractor"]["do_normalize"], &file(NEW)["processor_class"]),
        (&json!(false), &json!("Wav2Vec2Processor"))
    );
    // What no wav2vec 2.0 reads.
    let refused = |file: &str, text: &str, part: &str| {
        let message = normalized(&[(file, Some(text))], "").unwrap_err();
        assert!(message.contains(file) && message.contains(part), "`{part}` is not in: {message}");
    };
    for class in ["WhisperFeatureExtractor", "SeamlessM4TFeatureExtractor"] {
        refused(OLD, &format!("{{\"feature_extractor_type\": \"{class}\"}}"), class);
        refused(NEW, &format!("{{\"feature_extractor\": {{\"feature_extractor_type\": \"{class}\"}}}}"), class);
    }
    refused(NEW, "{\"feature_extractor\": {\"sampling_rate\": 8000}}", "sampling_rate = 8000");
    refused(NEW, "{\"feature_extractor\": {\"do_normalize\": \"yes\"}}", "do_normalize = \"yes\"");
    refused(NEW, "{\"feature_extractor\": 1}", "feature_extractor = 1");
    refused(NEW, "[1]", "not a JSON object");
}

/// Tensors of another class stay when nothing is learned, and go when a new head comes.
#[test]
fn the_head_of_another_class_is_kept_or_left_out() {
    let names = |model: &Wav2Vec2Model| model.parameters().iter().map(|p| p.name.to_string()).collect::<Vec<_>>();
    for (name, tensor) in [
        ("5_classes", "classifier.weight"),
        ("4_speakers", "tdnn.0.kernel.weight"),
        ("5_pretraining", "quantizer.codevectors"),
    ] {
        let model = open(&kind(name), "", None).unwrap();
        let kept: BTreeMap<String, Tensor> = model.carried().unwrap().into_iter().collect();
        assert!(kept[tensor] == read(&kind(name).join("model.safetensors"))[tensor], "{name}");
        assert!(!names(&model).iter().any(|name| name == tensor) && model.other_head().is_some(), "{name}");
        let head = task(ctc(&["<s>", "a"], 0));
        let fresh = open(&kind(name), "", Some(&head)).unwrap();
        assert!(fresh.carried().unwrap().is_empty() && fresh.other_head().is_none(), "{name}");
        assert!(names(&fresh).iter().any(|name| name == "lm_head.weight"), "{name}");
    }
    // What is called as CTC's is no CTC head where the class answers otherwise.
    let foreign = with("4_plain", &[]);
    let config = object(kind("4_plain").join("config.json")).to_string();
    let config = config.replace("Wav2Vec2ForCTC", "Wav2Vec2ForSequenceClassification");
    std::fs::write(foreign.path().join("config.json"), config).unwrap();
    let model = open(foreign.path(), "", None).unwrap();
    assert_eq!(model.head(), None);
    assert!(model.carried().unwrap().iter().any(|(name, _)| name == "lm_head.weight"));
}

/// A vector for masked steps is drawn where it is trained, and nowhere else.
#[test]
fn nothing_is_written_that_was_drawn_and_not_trained() {
    let mask = |model: &Wav2Vec2Model| model.parameters().get(&"wav2vec2.masked_spec_embed".into()).map(|p| p.role);
    let config = |model: &Wav2Vec2Model| {
        let file = model.artifacts().unwrap().into_iter().find(|a| a.name == "config.json").unwrap();
        serde_json::from_slice::<Value>(&file.bytes).unwrap()
    };
    let path = kind("5_no_mask");
    let head = task(ctc(&["<s>", "a"], 0));
    for options in ["", "mask_time_prob = 0.5"] {
        assert_eq!(mask(&open(&path, options, None).unwrap()), None, "{options}");
    }
    assert_eq!(mask(&open(&path, "", Some(&head)).unwrap()), None);
    let trained = open(&path, "mask_time_prob = 0.5", Some(&head)).unwrap();
    assert_eq!((mask(&trained), config(&trained)["mask_time_prob"].as_f64()), (Some(Role::Encoder), Some(0.5)));
    for kind_of in ["4_old_mask", "5_old_mask"] {
        let old = open(&kind(kind_of), "", None).unwrap();
        let given = read(&kind(kind_of).join("model.safetensors"));
        let taken = old.parameters().get(&"wav2vec2.masked_spec_embed".into()).unwrap();
        assert!(taken.tensor == given["wav2vec2.mask_time_emb_vector"]);
    }
}

#[test]
fn an_encoder_of_fairseq2_is_that_of_transformers() {
    let config = with("5_pretraining", &[("model.safetensors", None)]);
    std::fs::copy(fixtures().join("kinds/fairseq2.pt"), config.path().join("model.pt")).unwrap();
    let (found, expected) = (open(config.path(), "", None).unwrap(), open(&kind("5_pretraining"), "", None).unwrap());
    assert_eq!((found.head(), found.config()), (None, expected.config()));
    let ours = |model: &Wav2Vec2Model| {
        let all = model.parameters().iter().filter(|p| p.name.as_str().starts_with("wav2vec2."));
        all.map(|p| (p.name.to_string(), p.tensor.copy())).collect::<Vec<_>>()
    };
    assert!(ours(&found) == ours(&expected));
    // Alone, it tells all but what no tensor shows.
    let message = open(&fixtures().join("kinds/fairseq2.pt"), "", None).err().unwrap().to_string();
    for part in ["number of attention heads", "strides of its convolutions"] {
        assert!(message.contains(part), "{message}");
    }
    // With the width of omniASR_W2V_300M and the usual convolutions nothing else is needed; the CTC head is `final_proj`.
    let directory = tempfile::tempdir().unwrap();
    let wide = |name: &str, tensor: Tensor| {
        let mut shape: Vec<i64> = tensor.size().into_iter().map(|d| if d == 8 { 1024 } else { d }).collect();
        if name.ends_with("conv.weight_v") {
            shape[1] = 64;
        }
        (name.to_owned(), Tensor::zeros(shape, (Kind::Float, Device::Cpu)))
    };
    let source = lopper_weights::Checkpoint::open(&fixtures().join("kinds/fairseq2.pt")).unwrap();
    let names = source.names().filter(|n| !["quantizer.", "final_"].iter().any(|part| n.starts_with(part)));
    let mut all: Vec<_> = names
        .filter(|name| !name.contains("feature_extractor.layers."))
        .map(|name| wide(name, source.tensor(name).unwrap()))
        .collect();
    let zeros = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
    for (layer, kernel) in [10, 3, 3, 3, 3, 2, 2].into_iter().enumerate() {
        let at = format!("encoder_frontend.feature_extractor.layers.{layer}");
        all.push((format!("{at}.conv.weight"), zeros(&[6, if layer == 0 { 1 } else { 6 }, kernel])));
        all.extend(
            ["conv.bias", "layer_norm.weight", "layer_norm.bias"].map(|part| (format!("{at}.{part}"), zeros(&[6]))),
        );
    }
    all.extend([("final_proj.weight".to_owned(), zeros(&[5, 1024])), ("final_proj.bias".to_owned(), zeros(&[5]))]);
    common::save(directory.path(), &all);
    let model = open(directory.path(), "", None).unwrap();
    assert_eq!((model.config().num_attention_heads(), model.config().do_stable_layer_norm()), (16, true));
    assert_eq!(model.head(), Some(&Head::numbered(5, 0)));
    assert!(model.preprocessor().unwrap().identity().ends_with("-normalized"));
}

#[test]
fn adapters_are_refused_by_name() {
    let path = with("4_plain", &[]);
    let mut all = read(&path.path().join("model.safetensors"));
    for part in ["linear_1.weight", "linear_1.bias", "norm.weight"] {
        let name = format!("wav2vec2.encoder.layers.0.adapter_layer.{part}");
        all.insert(name, Tensor::zeros([2], (Kind::Float, Device::Cpu)));
    }
    common::save(path.path(), &all.into_iter().collect::<Vec<_>>());
    let message = open(path.path(), "", None).err().unwrap().to_string();
    let says =
        "holds adapters (`wav2vec2.encoder.layers.0.adapter_layer.linear_1.bias` and 2 more tensors), which are not";
    assert!(message.contains(says) && message.lines().count() == 1, "{message}");
}
