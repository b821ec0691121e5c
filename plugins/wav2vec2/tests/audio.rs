//! From audio to batches.
#![allow(clippy::unwrap_used)]

mod common;

use common::{fixtures, open, peak, read};
use lopper_core::{Features, Input, Model, Preprocessor};
use std::sync::Arc;
use tch::{Kind, Tensor};

fn preprocessor(case: &str, options: &str) -> Arc<dyn Preprocessor> {
    open(&fixtures().join(case), options, None).unwrap().preprocessor().unwrap()
}

fn samples(preprocessor: &dyn Preprocessor, samples: &[f32], max_length: Option<u32>) -> Vec<f32> {
    match preprocessor.features(Input::Audio { samples, sample_rate: 16_000 }, max_length).unwrap() {
        Features::Samples(samples) => samples,
        other => panic!("{other:?}"),
    }
}

#[test]
fn normalises_as_hugging_face_does() {
    let fixture = read(&fixtures().join("normalization.safetensors"));
    let (normalising, plain) = (preprocessor("xlsr", ""), preprocessor("base", "normalize = false"));
    for case in 0..3 {
        let raw = Vec::<f32>::try_from(&fixture[&format!("{case}.raw")]).unwrap();
        assert_eq!(samples(&*plain, &raw, None), raw);
        let found = Tensor::from_slice(&samples(&*normalising, &raw, None));
        let expected = &fixture[&format!("{case}.normalized")];
        // numpy's means are of float32, which shows where the mean is much larger than the deviation.
        let tolerance = if case == 2 { 2e-3 } else { 1e-5 };
        assert!(peak(&(&found - expected)) <= tolerance, "case {case}: {}", peak(&(&found - expected)));
    }
    let silent = samples(&*normalising, &[0.0; 450], None);
    assert!(silent.iter().all(|x| *x == 0.0));
}

#[test]
fn whether_to_normalise_is_decided_in_order() {
    let identity =
        |path: &std::path::Path, options: &str| open(path, options, None).unwrap().preprocessor().unwrap().identity();
    // A directory of transformers is taken as transformers takes it by default, other libraries' files by their norms.
    assert!(identity(&fixtures().join("base"), "").ends_with("normalized"));
    assert!(identity(&fixtures().join("base"), "normalize = false").ends_with("as-is"));
    let torchaudio = tempfile::tempdir().unwrap();
    std::fs::copy(fixtures().join("torchaudio_base.pt"), torchaudio.path().join("model.pt")).unwrap();
    std::fs::copy(fixtures().join("base/config.json"), torchaudio.path().join("config.json")).unwrap();
    assert!(identity(torchaudio.path(), "").ends_with("as-is"));
    let directory = common::changed("xlsr", |_| {});
    assert!(identity(directory.path(), "").ends_with("normalized"));
    let file = directory.path().join("preprocessor_config.json");
    std::fs::write(&file, r#"{"do_normalize": false}"#).unwrap();
    assert!(identity(directory.path(), "").ends_with("as-is"));
    std::fs::write(&file, r#"{"sampling_rate": 8000, "do_normalize": 1, "feature_size": 2}"#).unwrap();
    let message = open(directory.path(), "", None).err().unwrap().to_string();
    for part in
        ["3 problems", "sampling_rate = 8000", "do_normalize = 1", "feature_size = 2", "preprocessor_config.json"]
    {
        assert!(message.contains(part), "{part} in:\n{message}");
    }
}

#[test]
fn refuses_what_the_model_cannot_read() {
    let preprocessor = preprocessor("base", "");
    let message = |input: Input<'_>, limit| preprocessor.features(input, limit).unwrap_err().to_string();
    let audio = |samples, sample_rate| Input::Audio { samples, sample_rate };
    assert!(message(audio(&[0.0; 100], 8000), None).contains("sample rate = 8000"));
    assert!(message(audio(&[0.0; 29], 16_000), None).contains("at least 30 samples"));
    assert!(message(audio(&[], 16_000), None).contains("of 0 samples"));
    assert!(message(audio(&[0.0; 100], 16_000), Some(29)).contains("max_length = 29"));
    let mut broken = [0.0; 100];
    broken[7] = f32::NAN;
    assert!(message(audio(&broken, 16_000), None).contains("sample 7 = NaN"));
    assert!(message(Input::Text { first: "a", second: None }, None).contains("inputs other than audio"));
}

#[test]
fn batches_are_padded_with_silence() {
    let preprocessor = preprocessor("xlsr", "");
    let wave: Vec<f32> = (0..200).map(|i| (i as f32 * 0.1).sin() + 0.3).collect();
    let (long, short) = (samples(&*preprocessor, &wave, None), samples(&*preprocessor, &wave, Some(120)));
    assert_eq!(short, samples(&*preprocessor, &wave[..120], None), "cut before it is normalised");
    let features = [Features::Samples(long.clone()), Features::Samples(short)];
    let inputs = preprocessor.collate(&features.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(common::integers(&inputs["lengths"]), [200, 120]);
    assert_eq!((inputs["input_values"].size(), inputs["input_values"].kind()), (vec![2, 200], Kind::Float));
    assert!(inputs["input_values"].get(0) == Tensor::from_slice(&long));
    assert_eq!(peak(&inputs["input_values"].get(1).narrow(0, 120, 80)), 0.0);
    let tokens = Features::Tokens { ids: vec![1], segments: vec![0] };
    assert!(preprocessor.collate(&[&tokens]).is_err() && preprocessor.collate(&[]).is_err());
}
