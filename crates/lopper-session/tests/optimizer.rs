//! The optimizers against `torch.optim` and against the published formulas.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

use lopper_core::{Optimizer, ParameterName};
use lopper_session::{OptimizerState, clip_gradients, gradient_norm};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use std::collections::BTreeMap;
use tch::{Device, Kind, Tensor};

type Values = BTreeMap<String, Vec<f32>>;

#[derive(Deserialize)]
struct Fixture {
    shapes: BTreeMap<String, Vec<i64>>,
    rates: Vec<f64>,
    start: Values,
    gradients: Vec<Values>,
    runs: Vec<Run>,
    clips: Vec<Clip>,
}

#[derive(Deserialize)]
struct Run {
    name: String,
    optimizer: Optimizer,
    params: Values,
    state: Values,
}

#[derive(Deserialize)]
struct Clip {
    max_norm: f64,
    norm: f64,
    clipped: Values,
}

type Named = Vec<(ParameterName, Tensor)>;

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("fixtures/optimizer.json")).unwrap()
}

impl Fixture {
    fn parameters(&self) -> Named {
        let tensor =
            |name: &String, values: &Vec<f32>| Tensor::from_slice(values).reshape(self.shapes[name].as_slice());
        self.start.iter().map(|(n, v)| (n.as_str().into(), tensor(n, v).set_requires_grad(true))).collect()
    }

    fn set_gradients(&self, parameters: &Named, update: usize) {
        for (name, parameter) in parameters {
            lopper_torch::clear_gradient(parameter).unwrap();
            if let Some(gradient) = self.gradients[update].get(name.as_str()) {
                give(parameter, &Tensor::from_slice(gradient).view_as(parameter));
            }
        }
    }
}

/// Sets a gradient: that of a sum of products is the other factor.
fn give(parameter: &Tensor, gradient: &Tensor) {
    (parameter * gradient).sum(Kind::Float).backward();
}

fn values(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.detach().flatten(0, -1)).unwrap()
}

fn assert_close(what: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (g, e)) in got.iter().zip(expected).enumerate() {
        assert!((g - e).abs() <= tolerance * e.abs().max(0.1), "{what}[{i}] is {g}, expected {e}");
    }
}

#[test]
fn equal_to_torch_optim() {
    let fixture = fixture();
    for run in &fixture.runs {
        let parameters = fixture.parameters();
        let mut state = OptimizerState::new(&run.optimizer, &parameters).unwrap();
        for (update, rate) in fixture.rates.iter().enumerate() {
            fixture.set_gradients(&parameters, update);
            state.step(*rate).unwrap();
        }
        for (name, parameter) in &parameters {
            assert_close(&format!("{} {name}", run.name), &values(parameter), &run.params[name.as_str()], 2e-6);
        }
        let own = state.state();
        for (key, expected) in &run.state {
            assert_close(&format!("{} {key}", run.name), &values(&own[key]), expected, 2e-6);
        }
        // torch keeps no state for a parameter that never had a gradient; ours is zero.
        assert!(
            own.iter().filter(|(key, _)| key.ends_with(".unused")).all(|(_, t)| t.abs().max().double_value(&[]) == 0.0)
        );
        let steps: Vec<_> = ["weight", "bias", "unused", "other"].map(|n| state.steps(&n.into())).into();
        assert_eq!(steps, [Some(6), Some(5), Some(0), None], "{}", run.name);
    }
}

#[test]
fn clipping_is_that_of_torch() {
    let fixture = fixture();
    for clip in &fixture.clips {
        let parameters = fixture.parameters();
        fixture.set_gradients(&parameters, 0);
        let norm = clip_gradients(&parameters, clip.max_norm).unwrap();
        assert!((norm - clip.norm).abs() <= 1e-6 * clip.norm, "{norm}, expected {}", clip.norm);
        for (name, parameter) in &parameters {
            match clip.clipped.get(name.as_str()) {
                Some(expected) => assert_close(name.as_str(), &values(&parameter.grad()), expected, 1e-6),
                None => assert!(!parameter.grad().defined()),
            }
        }
        let after = gradient_norm(&parameters).unwrap();
        assert!(after <= clip.max_norm.min(norm) * (1.0 + 1e-5), "norm {after} after clipping to {}", clip.max_norm);
    }
}

#[test]
fn norms_that_are_no_numbers_reach_the_caller() {
    let parameters: Named = vec![("w".into(), Tensor::from_slice(&[1f32, 2.]).set_requires_grad(true))];
    assert_eq!(clip_gradients(&parameters, 1.0).unwrap(), 0.0, "no gradient at all");
    for (bad, check) in [(f32::NAN, f64::is_nan as fn(f64) -> bool), (f32::INFINITY, f64::is_infinite)] {
        lopper_torch::clear_gradient(&parameters[0].1).unwrap();
        give(&parameters[0].1, &Tensor::from_slice(&[3f32, bad]));
        assert!(check(clip_gradients(&parameters, 1.0).unwrap()));
        assert!(check(gradient_norm(&parameters).unwrap()));
        assert_eq!(parameters[0].1.grad().double_value(&[0]), 3.0);
    }
    assert!(clip_gradients(&parameters, f64::NAN).is_err());
    assert!(clip_gradients(&parameters, -1.0).is_err());
    lopper_torch::clear_gradient(&parameters[0].1).unwrap();
    give(&parameters[0].1, &Tensor::from_slice(&[3f32, 4.]));
    assert_eq!(clip_gradients(&parameters, f64::INFINITY).unwrap(), 5.0);
    assert_eq!(values(&parameters[0].1.grad()), [3., 4.]);
}

/// One step by the papers' formulas in double precision. `m` and `v` are the moments.
fn reference(optimizer: &Optimizer, step: i32, rate: f64, w: &mut Tensor, g: &Tensor, m: &mut Tensor, v: &mut Tensor) {
    match *optimizer {
        Optimizer::Adam { beta1, beta2, epsilon, weight_decay }
        | Optimizer::AdamW { beta1, beta2, epsilon, weight_decay } => {
            let decoupled = matches!(optimizer, Optimizer::AdamW { .. });
            let g = if decoupled { g.shallow_clone() } else { g + &*w * weight_decay };
            *m = &*m * beta1 + &g * (1.0 - beta1);
            *v = &*v * beta2 + &g * &g * (1.0 - beta2);
            let (m_hat, v_hat) = (&*m / (1.0 - beta1.powi(step)), &*v / (1.0 - beta2.powi(step)));
            let decay = if decoupled { &*w * (rate * weight_decay) } else { w.zeros_like() };
            *w = &*w - decay - m_hat / (v_hat.sqrt() + epsilon) * rate;
        }
        Optimizer::Sgd { momentum, weight_decay } => {
            *m = &*m * momentum + g + &*w * weight_decay;
            *w = &*w - &*m * rate;
        }
    }
}

fn optimizers() -> [Optimizer; 4] {
    [
        Optimizer::Adam { beta1: 0.9, beta2: 0.98, epsilon: 1e-8, weight_decay: 0.01 },
        Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 },
        Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01 },
        Optimizer::Sgd { momentum: 0.0, weight_decay: 0.01 },
    ]
}

/// Numbers of a seed; libtorch's own generator is shared with the tests of other threads.
fn random(rng: &mut ChaCha8Rng, shape: &[i64]) -> Tensor {
    let numbers: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.5..1.5)).collect();
    Tensor::from_slice(&numbers).reshape(shape)
}

fn random_parameters(seed: u64) -> Named {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // Lengths around vector registers and one tensor that several threads share.
    [vec![], vec![1], vec![0], vec![7, 3], vec![16], vec![33, 5], vec![300, 301]]
        .into_iter()
        .enumerate()
        .map(|(i, shape)| (format!("p{i}").as_str().into(), random(&mut rng, &shape).set_requires_grad(true)))
        .collect()
}

#[test]
fn equal_to_the_formulas() {
    for optimizer in optimizers() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let parameters = random_parameters(3);
        let mut state = OptimizerState::new(&optimizer, &parameters).unwrap();
        let double = |t: &Tensor| t.detach().to_kind(Kind::Double);
        let mut expected: Vec<_> =
            parameters.iter().map(|(_, t)| (double(t), double(t).zeros_like(), double(t).zeros_like())).collect();
        for step in 1..=20 {
            state.zero_grad().unwrap();
            let rate = 0.02 / f64::from(step);
            for ((_, parameter), (w, m, v)) in parameters.iter().zip(&mut expected) {
                let gradient = random(&mut rng, &parameter.size()) * 0.3;
                give(parameter, &gradient);
                reference(&optimizer, step, rate, w, &double(&gradient), m, v);
            }
            state.step(rate).unwrap();
        }
        for ((name, parameter), (w, m, _)) in parameters.iter().zip(&expected) {
            assert_close(&format!("{optimizer:?} {name}"), &values(parameter), &values(&w.to_kind(Kind::Float)), 1e-5);
            if let Some((_, first)) = state.moments(name).next() {
                assert_close(&format!("{optimizer:?} {name}"), &values(first), &values(&m.to_kind(Kind::Float)), 1e-5);
            }
        }
    }
}

/// Ten updates with gradients from `seed`; returns all bits of the weights.
fn train(state: &mut OptimizerState, parameters: &Named, seed: u64) -> Vec<u32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..10 {
        state.zero_grad().unwrap();
        for (_, parameter) in parameters {
            give(parameter, &random(&mut rng, &parameter.size()));
        }
        state.step(0.01).unwrap();
    }
    parameters.iter().flat_map(|(_, t)| values(t)).map(f32::to_bits).collect()
}

#[test]
fn a_restored_optimizer_continues_to_the_bit() {
    for optimizer in optimizers() {
        let parameters = random_parameters(5);
        let mut state = OptimizerState::new(&optimizer, &parameters).unwrap();
        train(&mut state, &parameters, 1);
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("optimizer.safetensors");
        let hash = state.write_to(&file).unwrap();
        let copies: Named =
            parameters.iter().map(|(n, t)| (n.clone(), t.detach().copy().set_requires_grad(true))).collect();
        let straight = train(&mut state, &parameters, 2);
        let mut restored = OptimizerState::new(&optimizer, &copies).unwrap();
        assert_eq!(restored.read_from(&file).unwrap(), hash);
        assert!(straight == train(&mut restored, &copies, 2), "{optimizer:?}");
        assert_eq!(restored.steps(&copies[0].0), Some(20));
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let threads = tch::get_num_threads();
    for optimizer in optimizers() {
        let bits = [1, 2, 3].map(|n| {
            tch::set_num_threads(n);
            let parameters = random_parameters(8);
            train(&mut OptimizerState::new(&optimizer, &parameters).unwrap(), &parameters, 4)
        });
        assert!(bits.iter().all(|b| *b == bits[0]), "{optimizer:?}");
    }
    tch::set_num_threads(threads);
}

#[test]
fn moments_can_be_masked() {
    let parameters = random_parameters(2);
    let mut state = OptimizerState::new(&optimizers()[1], &parameters).unwrap();
    train(&mut state, &parameters, 1);
    let name = &parameters[3].0;
    for moment in state.moments_mut(name) {
        lopper_torch::write_host(moment, |values| values[4] = 0.0).unwrap();
    }
    for (kind, moment) in state.moments(name) {
        assert_eq!(values(moment)[4], 0.0, "{kind}");
        assert_ne!(values(moment)[5], 0.0, "{kind}");
        assert_eq!(values(&state.state()[&format!("{kind}.{name}")])[4], 0.0);
    }
    let kinds: Vec<_> = state.moments(name).map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["exp_avg", "exp_avg_sq"]);
    assert_eq!(state.moments(&"other".into()).count(), 0);
}

#[test]
fn a_foreign_state_is_refused_whole() {
    let parameters = random_parameters(2);
    let mut state = OptimizerState::new(&optimizers()[1], &parameters).unwrap();
    train(&mut state, &parameters, 1);
    let mut foreign: BTreeMap<_, _> = state.state().into_iter().map(|(k, t)| (k, t.copy() * 2)).collect();
    foreign.remove("exp_avg.p1");
    foreign.insert("exp_avg.p9".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    foreign.insert("exp_avg_sq.p3".into(), Tensor::zeros([3, 7], (Kind::Float, Device::Cpu)));
    foreign.insert("exp_avg.p4".into(), Tensor::zeros([16], (Kind::Double, Device::Cpu)));
    foreign.insert("step.p0".into(), Tensor::from(-1i64));
    let before = values(&state.state()["exp_avg.p3"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("optimizer.safetensors");
    let named = foreign.iter().map(|(name, tensor)| (name.as_str(), tensor));
    lopper_weights::save_tensors(&file, named, &BTreeMap::new()).unwrap();
    let error = state.read_from(&file).unwrap_err().to_string();
    for key in ["`exp_avg.p1` is missing", "`exp_avg.p9`", "`exp_avg_sq.p3`", "`exp_avg.p4`", "`step.p0`", "5 problems"]
    {
        assert!(error.contains(key), "{key} is missing in: {error}");
    }
    assert_eq!(before, values(&state.state()["exp_avg.p3"]));
}

#[test]
fn bad_hyper_parameters_and_parameters_are_refused() {
    let bad = Optimizer::AdamW { beta1: 1.0, beta2: -0.1, epsilon: f64::NAN, weight_decay: -1.0 };
    let error = OptimizerState::new(&bad, &[]).unwrap_err().to_string();
    for key in ["beta1", "beta2", "epsilon", "weight_decay"] {
        assert!(error.contains(key), "{key} is missing in: {error}");
    }
    let matrix = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
    let parameters: Named = vec![
        ("a".into(), matrix.transpose(0, 1)),
        ("b".into(), matrix.to_kind(Kind::Double)),
        ("c".into(), matrix.copy()),
        ("c".into(), matrix.copy()),
        ("d".into(), Tensor::new()),
    ];
    let error = OptimizerState::new(&optimizers()[0], &parameters).unwrap_err().to_string();
    for name in ["`a`", "`b`", "`c` occurs twice", "`d`"] {
        assert!(error.contains(name), "{name} is missing in: {error}");
    }
}

/// Biases and norms move as without weight decay, everything else as with it, to the last bit; by default nothing is spared.
#[test]
fn weight_decay_spares_biases_and_norms_where_it_is_asked_to() {
    let moved = |optimizer: Optimizer, decays: Option<bool>| -> Values {
        let parameters: Named = ["layer.weight", "layer.bias", "layer.LayerNorm.weight", "final_layer_norm.weight"]
            .map(|name| (name.into(), Tensor::from_slice(&[1f32, -2., 3.]).set_requires_grad(true)))
            .into();
        let mut state = OptimizerState::new(&optimizer, &parameters).unwrap();
        if let Some(decays) = decays {
            state = state.decaying_biases_and_norms(decays);
        }
        for update in 0..3 {
            state.zero_grad().unwrap();
            for (_, parameter) in &parameters {
                give(parameter, &Tensor::from_slice(&[0.5f32, -1., update as f32]));
            }
            state.step(0.1).unwrap();
        }
        parameters.iter().map(|(name, tensor)| (name.to_string(), values(tensor))).collect()
    };
    let adam = |weight_decay| Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay };
    let adamw = |weight_decay| Optimizer::AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay };
    let sgd = |weight_decay| Optimizer::Sgd { momentum: 0.9, weight_decay };
    for (with, without) in [(adam(0.1), adam(0.0)), (adamw(0.1), adamw(0.0)), (sgd(0.1), sgd(0.0))] {
        let (decayed, plain, spared) = (moved(with, None), moved(without, None), moved(with, Some(false)));
        assert_eq!(decayed, moved(with, Some(true)), "{with:?}");
        for (name, values) in &spared {
            assert_ne!(decayed[name], plain[name], "{name} under {with:?}");
            let expected = if name == "layer.weight" { &decayed[name] } else { &plain[name] };
            assert_eq!(values, expected, "{name} under {with:?}");
        }
    }
}
