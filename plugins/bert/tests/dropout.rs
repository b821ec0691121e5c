//! Dropout acts in training alone. A test program of its own: libtorch's generator is the process's.
#![allow(clippy::unwrap_used)]

mod common;

use common::{batch, fixtures, open, read};
use lopper_core::{Mode, Model};

#[test]
fn dropout_is_for_training_alone() {
    tch::set_num_threads(1);
    for name in ["full", "padded"] {
        let model = open(&fixtures().join(name), "hidden_dropout = 0.02\nattention_dropout = 0.02", None).unwrap();
        let inputs = batch(&read(&fixtures().join(name).join("expected.safetensors")), "");
        let loss = |mode, seed| {
            tch::manual_seed(seed);
            model.loss(&inputs, mode).unwrap().sum.double_value(&[])
        };
        let exact = loss(Mode::Evaluate, 1);
        assert_eq!(loss(Mode::Evaluate, 2), exact);
        assert_eq!(loss(Mode::Train, 1), loss(Mode::Train, 1));
        assert_ne!(loss(Mode::Train, 1), loss(Mode::Train, 2));
        let draws: Vec<f64> = (0..100).map(|seed| loss(Mode::Train, seed)).collect();
        let mean = draws.iter().sum::<f64>() / 100.0;
        let deviation = (draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 100.0).sqrt();
        assert!(
            deviation > 0.0 && (mean - exact).abs() < 0.5 * deviation,
            "{name}: {mean} ± {deviation}, exactly {exact}"
        );
        // Attention's own dropout alone must act, too.
        let only = open(&fixtures().join(name), "hidden_dropout = 0.0\nattention_dropout = 0.5", None).unwrap();
        tch::manual_seed(1);
        assert_ne!(only.loss(&inputs, Mode::Train).unwrap().sum.double_value(&[]), exact);
    }
}
