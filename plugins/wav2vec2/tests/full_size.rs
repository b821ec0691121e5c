//! One update's worth of numbers of a checkpoint of any size, for check_full_size.py; without one, of a fixture.
#![allow(clippy::unwrap_used)]

mod common;

use common::{STILL, batch, expected, fixtures, open, read};
use lopper_core::{Mode, Model};
use std::path::PathBuf;
use tch::{Kind, Tensor};

/// The directory is `LOPPER_WAV2VEC2`, with the checkpoint and `expected.safetensors` in it: a batch, and what is compared
/// of transformers: logits, loss, and of each gradient its norm and the entries at `index.{name}`.
#[test]
fn a_model_of_any_size_agrees() {
    let given = std::env::var_os("LOPPER_WAV2VEC2").map(PathBuf::from);
    let path = given.clone().unwrap_or_else(|| fixtures().join("base"));
    let fixture = if given.is_some() { read(&path.join("expected.safetensors")) } else { expected("base") };
    let options = format!("padding = \"reference\"\nfreeze_feature_encoder = false\n{STILL}");
    let model = open(&path, &options, None).unwrap();
    let inputs = batch(&fixture);
    let logits = model.predict(&inputs).unwrap();
    for (index, steps) in logits.lengths.unwrap().into_iter().enumerate() {
        let [found, wanted] = [&logits.logits, &fixture["logits"]].map(|all| common::row(all, index, steps));
        let error = common::relative_error(&found, &wanted);
        assert!(error < 1e-4, "logits of row {index}: {error:e}");
    }
    let loss = model.loss(&inputs, Mode::Train).unwrap().sum;
    loss.backward();
    let error = common::relative_error(&loss.detach().view([1]), &fixture["loss"]);
    assert!(error < 1e-4, "loss: {error:e}");
    let norms = fixture.iter().filter_map(|(name, norm)| Some((name.strip_prefix("norm.")?, norm.double_value(&[0]))));
    let largest = norms.clone().map(|(_, norm)| norm).fold(0.0, f64::max);
    let mut worst = (0.0, "");
    for (name, norm) in norms {
        let gradient = model.parameters().get(&name.into()).unwrap().tensor.grad().view([-1]);
        let found = gradient.to_kind(Kind::Double).norm().double_value(&[]);
        let entries: Tensor = gradient.index_select(0, &fixture[&format!("index.{name}")]);
        if norm < 1e-6 * largest {
            assert!(found < 1e-5 * largest, "{name}: {found} is not zero");
            continue;
        }
        let error =
            common::relative_error(&entries, &fixture[&format!("value.{name}")]).max((found - norm).abs() / norm);
        if error > worst.0 {
            worst = (error, name);
        }
    }
    println!("largest relative error of a gradient: {:e} ({})", worst.0, worst.1);
    assert!(worst.0 < 1e-4, "{worst:?}");
}
