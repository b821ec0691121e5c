//! What training draws: a test program of its own, since libtorch's generator is the process's.
#![allow(clippy::unwrap_used)]

mod common;

use common::{STILL, batch, expected, fixtures, open};
use lopper_core::{Mode, Model};

fn draws(options: &str) -> Vec<f64> {
    tch::set_num_threads(1);
    let model = open(&fixtures().join("base"), options, None).unwrap();
    let inputs = batch(&expected("base"));
    let loss = |mode, seed| {
        tch::manual_seed(seed);
        model.loss(&inputs, mode).unwrap().sum.double_value(&[])
    };
    assert_eq!(loss(Mode::Evaluate, 1), loss(Mode::Evaluate, 2), "evaluation draws nothing: {options}");
    let all: Vec<f64> = (0..40).map(|seed| loss(Mode::Train, seed)).collect();
    let again: Vec<f64> = (0..40).map(|seed| loss(Mode::Train, seed)).collect();
    assert_eq!(all, again, "the same seeds give the same draws: {options}");
    all
}

fn distinct(mut values: Vec<f64>) -> usize {
    values.sort_by(f64::total_cmp);
    values.dedup();
    values.len()
}

#[test]
fn every_kind_of_hiding_acts_in_training_alone() {
    assert_eq!(distinct(draws(STILL)), 1);
    for only in [
        "hidden_dropout = 0.1",
        "attention_dropout = 0.1",
        "activation_dropout = 0.1",
        "feat_proj_dropout = 0.1",
        "final_dropout = 0.1",
        "mask_time_prob = 0.3\nmask_time_length = 2",
        "mask_feature_prob = 0.3\nmask_feature_length = 2",
    ] {
        let kept = STILL.lines().filter(|line| {
            let key = line.split(' ').next().unwrap_or_default();
            !only.lines().any(|own| own.starts_with(key))
        });
        let options = kept.chain(only.lines()).collect::<Vec<_>>().join("\n");
        assert!(distinct(draws(&options)) > 20, "{only}");
    }
    // Two blocks can be left out in four ways.
    let options = STILL.replace("layerdrop = 0.0", "layerdrop = 0.5");
    let drawn = distinct(draws(&options));
    assert_eq!(drawn, 4, "ways to leave blocks out");
}

#[test]
fn masked_steps_train_the_learned_vector() {
    let model =
        open(&fixtures().join("base"), &STILL.replace("mask_time_prob = 0.0", "mask_time_prob = 0.5"), None).unwrap();
    tch::manual_seed(1);
    model.loss(&batch(&expected("base")), Mode::Train).unwrap().sum.backward();
    let mask = &model.parameters().get(&"wav2vec2.masked_spec_embed".into()).unwrap().tensor;
    assert!(common::peak(&mask.grad()) > 0.0);
}
