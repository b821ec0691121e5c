//! Logits, loss and gradients are those of Hugging Face's transformers, from fixtures of make_parity_fixtures.py.
#![allow(clippy::unwrap_used)]

mod common;

use common::{batch, fixtures, open, peak, read, relative_error, task};
use lopper_bert::BertModel;
use lopper_core::{Head, Mode, Model};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::{Kind, Tensor};

/// Bound on max |a - b| / max |b| of every tensor.
const TOLERANCE: f64 = 1e-5;

/// A gradient below this share of the case's largest is rounding error around an exact zero (a key's bias moves all
/// scores of a row alike): no relative error can be asked of it, only that it is as small.
const ZERO: f64 = 1e-6;

/// Runs forward and backward, compares logits and mean loss, and leaves the gradients of the mean loss.
fn check_forward(model: &BertModel, fixture: &BTreeMap<String, Tensor>, prefix: &str, mode: Mode) {
    for parameter in model.parameters().iter() {
        let mut tensor = parameter.tensor.shallow_clone();
        tensor.zero_grad();
    }
    let batch = batch(fixture, prefix);
    let expect = |name: &str, found: &Tensor| {
        let error = relative_error(found, &fixture[&format!("{prefix}{name}")]);
        assert!(error <= TOLERANCE, "{prefix}{name}: relative error {error:e}");
    };
    expect("logits", &model.predict(&batch).unwrap().logits);
    let loss = model.loss(&batch, mode).unwrap();
    assert_eq!(loss.count, batch.len as f64);
    let mean = loss.sum / loss.count;
    mean.backward();
    expect("loss", &mean.detach().view([1]));
}

#[track_caller]
fn check_gradient(name: &str, found: &Tensor, expected: &Tensor, largest: f64) {
    if peak(expected) < ZERO * largest {
        assert!(peak(found) < ZERO * largest, "{name}: {} is not zero", peak(found));
    } else {
        let error = relative_error(found, expected);
        assert!(error <= TOLERANCE, "{name}: relative error {error:e}");
    }
}

#[track_caller]
fn check(name: &str) {
    let directory = fixtures().join(name);
    let fixture = read(&directory.join("expected.safetensors"));
    let largest = fixture.iter().filter(|(n, _)| n.starts_with("gradient.")).map(|(_, t)| peak(t)).fold(0.0, f64::max);
    // Without dropout, training goes through the same computation as evaluation, or through the fused kernel.
    for (options, mode) in [("", Mode::Evaluate), ("hidden_dropout = 0.0\nattention_dropout = 0.0", Mode::Train)] {
        let model = open(&directory, options, None).unwrap();
        check_forward(&model, &fixture, "", mode);
        let expected = fixture.keys().filter(|n| n.starts_with("gradient.")).count();
        assert_eq!(model.parameters().iter().count(), expected, "{name}: number of parameters");
        for parameter in model.parameters().iter() {
            let expected = &fixture[&format!("gradient.{}", parameter.name)];
            check_gradient(&format!("{name}: {}", parameter.name), &parameter.tensor.grad(), expected, largest);
        }
    }
}

#[test]
fn rows_without_padding() {
    check("full");
}

#[test]
fn padded_rows_and_three_classes() {
    check("padded");
}

#[test]
fn pairs_with_three_segments_and_tanh_gelu() {
    check("pairs");
}

#[test]
fn regression_with_one_segment_and_relu() {
    check("regression");
}

#[test]
fn another_epsilon_and_padding_token() {
    check("wide_eps");
}

#[test]
fn five_blocks_and_no_padding_token() {
    check("deep");
}

#[test]
fn single_tokens() {
    check("one_token");
}

/// The head that make_parity_fixtures.py computes: 0.05 sin(0.37 i + 0.2) of the flat index i.
fn head(rows: i64, width: i64) -> Tensor {
    let index = Tensor::arange(rows * width, (Kind::Double, tch::Device::Cpu));
    ((index * 0.37 + 0.2).sin() * 0.05).to_kind(Kind::Float).view([rows, width])
}

/// Where `cargo xtask setup` puts MiniLM, unless `LOPPER_MINILM` says otherwise.
fn minilm() -> PathBuf {
    let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.models/minilm");
    let path = std::env::var_os("LOPPER_MINILM").map_or(usual, PathBuf::from);
    let found = path.join("config.json").is_file();
    assert!(found, "no checkpoint at {}: run `cargo xtask setup`, which fetches MiniLM", path.display());
    path
}

#[test]
fn minilm_agrees() {
    let fixture = read(&fixtures().join("minilm/expected.safetensors"));
    let labels = ["a", "b", "c"].map(str::to_owned).to_vec();
    let model = open(&minilm(), "", Some(&task(Head::Classification { labels }))).unwrap();
    tch::no_grad(|| {
        for (name, value) in [("classifier.weight", head(3, 384)), ("classifier.bias", head(3, 1).view([3]))] {
            model.parameters().get(&name.into()).unwrap().tensor.shallow_clone().copy_(&value);
        }
    });
    for case in ["padded.", "full."] {
        check_forward(&model, &fixture, case, Mode::Evaluate);
        let values = fixture.iter().filter(|(n, _)| n.starts_with(&format!("{case}value.")));
        let largest = values.map(|(_, t)| peak(t)).fold(0.0, f64::max);
        for parameter in model.parameters().iter() {
            let kept = |part: &str| &fixture[&format!("{case}{part}.{}", parameter.name)];
            let gradient = parameter.tensor.grad().view([-1]);
            let name = format!("{case}{}", parameter.name);
            check_gradient(&name, &gradient.index_select(0, kept("index")), kept("value"), largest);
            if peak(kept("value")) >= ZERO * largest {
                let norm = gradient.to_kind(Kind::Double).norm().view([1]);
                let error = relative_error(&norm, kept("norm"));
                assert!(error <= TOLERANCE, "{name}: norm, relative error {error:e}");
            }
        }
    }
}
