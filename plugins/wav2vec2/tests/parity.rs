//! Logits, loss and gradients are those of transformers and torchaudio, from fixtures of make_parity_fixtures.py.
#![allow(clippy::unwrap_used)]

mod common;

use common::{CASES, Fixture, STILL, batch, expected, fixtures, integers, open, peak, relative_error, row};
use lopper_core::{Mode, Model};
use lopper_wav2vec2::Wav2Vec2Model;
use tch::Tensor;

/// Bound on max |a - b| / max |b| of every tensor.
const TOLERANCE: f64 = 1e-4;

/// A gradient below this share of the case's largest is rounding error around an exact zero (a key's bias moves all
/// scores of a row alike): no relative error can be asked of it, only that it is as small.
const ZERO: f64 = 1e-5;

const REFERENCE: &str = "padding = \"reference\"\nfreeze_feature_encoder = false\n";

fn check_logits(name: &str, found: &Tensor, steps: &[i64], wanted: &Tensor) {
    assert_eq!(found.size(), wanted.size(), "{name}");
    for (index, steps) in steps.iter().enumerate() {
        let error = relative_error(&row(found, index, *steps), &row(wanted, index, *steps));
        assert!(error <= TOLERANCE, "{name}, row {index}: relative error {error:e}");
    }
}

fn check_gradients(name: &str, model: &Wav2Vec2Model, fixture: &Fixture) {
    let largest = fixture.iter().filter(|(n, _)| n.starts_with("gradient.")).map(|(_, t)| peak(t)).fold(0.0, f64::max);
    let mut compared = 0;
    for parameter in model.parameters().iter() {
        let Some(wanted) = fixture.get(&format!("gradient.{}", parameter.name)) else {
            assert_eq!(parameter.name.as_str(), "wav2vec2.masked_spec_embed", "{name} lacks a gradient");
            continue;
        };
        compared += 1;
        let found = parameter.tensor.grad();
        if peak(wanted) < ZERO * largest {
            assert!(peak(&found) < ZERO * largest, "{name}: {}: {} is not zero", parameter.name, peak(&found));
        } else {
            let error = relative_error(&found, wanted);
            assert!(error <= TOLERANCE, "{name}: {}: relative error {error:e}", parameter.name);
        }
    }
    assert_eq!(compared, fixture.keys().filter(|n| n.starts_with("gradient.")).count(), "{name}");
}

#[track_caller]
fn check(case: &str) {
    let fixture = expected(case);
    // Without dropout, training goes through the same computation as evaluation.
    for (options, mode) in [(REFERENCE.to_owned(), Mode::Evaluate), (format!("{REFERENCE}{STILL}"), Mode::Train)] {
        let model = open(&fixtures().join(case), &options, None).unwrap();
        let inputs = batch(&fixture);
        let predictions = model.predict(&inputs).unwrap();
        let steps = integers(&fixture["steps"]);
        assert_eq!(predictions.lengths.as_ref(), Some(&steps), "{case}");
        check_logits(case, &predictions.logits, &steps, &fixture["logits"]);
        if let (Some(logits), Some(loss)) = (fixture.get("torchaudio_logits"), fixture.get("torchaudio_loss")) {
            check_logits(&format!("torchaudio, {case}"), &predictions.logits, &steps, logits);
            assert!(relative_error(loss, &fixture["loss"]) <= TOLERANCE, "{case}: torchaudio's loss");
        }
        let loss = model.loss(&inputs, mode).unwrap();
        assert_eq!(loss.count, inputs.len as f64);
        loss.sum.backward();
        let error = relative_error(&loss.sum.detach().view([1]), &fixture["loss"]);
        assert!(error <= TOLERANCE, "{case}: loss, relative error {error:e}");
        check_gradients(case, &model, &fixture);
    }
}

#[test]
fn group_norm_and_norms_last() {
    check("base");
}

#[test]
fn layer_norm_and_norms_first() {
    check("xlsr");
}

#[test]
fn group_norm_and_norms_first() {
    check("group_first");
}

#[test]
fn layer_norm_and_norms_last() {
    check("layer_last");
}

#[test]
fn another_epsilon_and_other_activations() {
    check("other");
}

#[test]
fn the_usual_convolutions() {
    check("usual");
}

#[test]
fn without_an_attention_mask_all_of_every_row_counts() {
    for case in CASES {
        let fixture = expected(case);
        let model = open(&fixtures().join(case), REFERENCE, None).unwrap();
        let mut inputs = batch(&fixture);
        inputs.inputs.remove("lengths");
        let predictions = model.predict(&inputs).unwrap();
        let steps = predictions.lengths.unwrap();
        assert!(steps.iter().all(|own| *own == fixture["unmasked_logits"].size()[1]));
        check_logits(case, &predictions.logits, &steps, &fixture["unmasked_logits"]);
    }
}

/// What transformers says of every row alone.
fn check_alone(case: &str, options: &str) -> f64 {
    let fixture = expected(case);
    let model = open(&fixtures().join(case), options, None).unwrap();
    let logits = model.predict(&batch(&fixture)).unwrap().logits;
    let steps = integers(&fixture["steps"]);
    let errors = steps
        .iter()
        .enumerate()
        .map(|(index, steps)| relative_error(&row(&logits, index, *steps), &fixture[&format!("alone.{index}")]));
    errors.fold(0.0, f64::max)
}

#[test]
fn padding_changes_nothing_unless_it_is_to() {
    for case in CASES {
        let error = check_alone(case, "");
        assert!(error <= TOLERANCE, "{case}: relative error {error:e}");
        let seen = check_alone(case, REFERENCE);
        let group = matches!(case, "base" | "group_first" | "other" | "usual");
        assert_eq!(seen > 100.0 * TOLERANCE, group, "{case}: with padding in the group norm {seen:e}");
    }
}
