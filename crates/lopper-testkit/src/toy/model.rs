//! A multi-layer perceptron as a [`Model`].

use lopper_core::{
    Artifact, Batch, Error, Loss, Mode, Model, Parameter, ParameterName, Parameters, Predictions, Result, Role, Targets,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tch::{Device, Kind, Reduction, Tensor};

/// The shape of a [`ToyModel`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToyConfig {
    /// Numbers an input has.
    pub features: u64,
    /// Width of each hidden layer; its weights are prunable.
    pub hidden: Vec<u64>,
    /// Outputs.
    pub classes: u64,
    /// Probability with which a hidden unit is dropped in training.
    pub dropout: f64,
}

impl Default for ToyConfig {
    /// 8 features, two hidden layers of 32, 3 classes, dropout 0.1: 1280 prunable entries.
    fn default() -> Self {
        Self { features: 8, hidden: vec![32, 32], classes: 3, dropout: 0.1 }
    }
}

/// `classifier(tanh(… tanh(features ⊙ scale · W + b)))`: a frozen scale, a "pre-trained" encoder whose weights are
/// prunable and biases not, and a fresh head.
#[derive(Debug)]
pub struct ToyModel {
    config: ToyConfig,
    parameters: Parameters,
    prunable: Vec<ParameterName>,
    scale: Tensor,
    layers: Vec<Linear>,
    head: Linear,
}

#[derive(Debug)]
struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        Ok(input.f_linear(&self.weight, Some(&self.bias))?)
    }
}

impl ToyModel {
    /// A model whose theta_0 is drawn from `pretrained_seed` and whose head from `head_seed`, on `device`.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for a size of 0 or a dropout outside `[0, 1)`, all at once; errors of libtorch.
    pub fn new(config: ToyConfig, pretrained_seed: u64, head_seed: u64, device: Device) -> Result<Self> {
        check(&config)?;
        let mut rng = ChaCha8Rng::seed_from_u64(pretrained_seed);
        let scale = Tensor::f_ones([config.features as i64], (Kind::Float, device))?;
        let mut entries =
            vec![Parameter { name: "input.scale".into(), role: Role::Frozen, tensor: scale.shallow_clone() }];
        let mut prunable = Vec::new();
        let mut layers = Vec::new();
        let inputs = std::iter::once(&config.features).chain(&config.hidden);
        for (index, (inputs, outputs)) in inputs.zip(&config.hidden).enumerate() {
            let weight = leaf(normal(&mut rng, &[*outputs, *inputs])?, device)?;
            let bias = leaf(normal(&mut rng, &[*outputs])?, device)?;
            let name = ParameterName::new(format!("encoder.layer.{index}.dense.weight"));
            prunable.push(name.clone());
            let bias_name = ParameterName::new(format!("encoder.layer.{index}.dense.bias"));
            entries.push(Parameter { name, role: Role::Encoder, tensor: weight.shallow_clone() });
            entries.push(Parameter { name: bias_name, role: Role::Encoder, tensor: bias.shallow_clone() });
            layers.push(Linear { weight, bias });
        }
        let width = config.hidden.last().copied().unwrap_or(config.features);
        let mut rng = ChaCha8Rng::seed_from_u64(head_seed);
        let head = Linear {
            weight: leaf(normal(&mut rng, &[config.classes, width])?, device)?,
            bias: leaf(Tensor::f_zeros([config.classes as i64], (Kind::Float, Device::Cpu))?, device)?,
        };
        for (name, tensor) in [("classifier.weight", &head.weight), ("classifier.bias", &head.bias)] {
            entries.push(Parameter { name: name.into(), role: Role::Head, tensor: tensor.shallow_clone() });
        }
        let parameters = Parameters::new(entries)?;
        Ok(Self { config, parameters, prunable, scale, layers, head })
    }

    /// Its shape.
    pub fn config(&self) -> &ToyConfig {
        &self.config
    }

    /// `[batch, classes]`; `see` is shown what enters each prunable layer.
    fn forward(&self, batch: &Batch, mode: Mode, mut see: impl FnMut(&Tensor) -> Result<()>) -> Result<Tensor> {
        let mut x = batch.input("features")?.f_mul(&self.scale)?;
        for layer in &self.layers {
            see(&x)?;
            x = layer.forward(&x)?.f_tanh()?;
            // Not even called in evaluation: it must leave the generator alone.
            if mode == Mode::Train && self.config.dropout > 0.0 {
                x = x.f_dropout(self.config.dropout, true)?;
            }
        }
        self.head.forward(&x)
    }
}

impl Model for ToyModel {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prunable(&self) -> &[ParameterName] {
        &self.prunable
    }

    fn loss(&self, batch: &Batch, mode: Mode) -> Result<Loss> {
        let Some(Targets::Classes(classes)) = &batch.targets else {
            return Err(Error::Other("the toy model needs targets that are classes".into()));
        };
        let logits = self.forward(batch, mode, |_| Ok(()))?;
        let sum = logits.f_cross_entropy_loss(classes, None::<&Tensor>, Reduction::Sum, -100, 0.0)?;
        Ok(Loss::new(sum, batch.len as f64))
    }

    fn predict(&self, batch: &Batch) -> Result<Predictions> {
        let _no_grad = tch::no_grad_guard();
        Ok(Predictions { logits: self.forward(batch, Mode::Evaluate, |_| Ok(()))?, lengths: None })
    }

    fn random_prunable(&self, seed: u64) -> Result<Vec<Tensor>> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let layout = self.layout()?;
        layout.tensors().iter().map(|tensor| normal(&mut rng, tensor.shape())).collect()
    }

    fn squared_input_norms(&self, batch: &Batch) -> Result<BTreeMap<ParameterName, Tensor>> {
        let _no_grad = tch::no_grad_guard();
        let mut norms = Vec::new();
        let _logits = self.forward(batch, Mode::Evaluate, |x| {
            norms.push(x.f_square()?.f_sum_dim_intlist(0, false, Kind::Float)?);
            Ok(())
        })?;
        Ok(self.prunable.iter().cloned().zip(norms).collect())
    }

    fn identity(&self) -> String {
        format!("toy {:?}", self.config)
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        let bytes = serde_json::to_vec_pretty(&self.config).map_err(|e| Error::Other(format!("config.json: {e}")))?;
        Ok(vec![Artifact { name: "config.json".into(), bytes }])
    }
}

fn check(config: &ToyConfig) -> Result<()> {
    let mut problems = Vec::new();
    let sizes = [("features", config.features), ("classes", config.classes)];
    for (key, size) in sizes.into_iter().chain(config.hidden.iter().map(|width| ("hidden", *width))) {
        if size == 0 {
            problems.push(Error::invalid(key, size, "a size from 1 up"));
        }
    }
    if !(0.0..1.0).contains(&config.dropout) {
        problems.push(Error::invalid("dropout", config.dropout, "a probability from 0, below 1"));
    }
    Error::all(problems)
}

/// Normal numbers of variance 1 / fan-in, drawn without libtorch's generator.
fn normal(rng: &mut ChaCha8Rng, shape: &[u64]) -> Result<Tensor> {
    let fan_in = shape.last().copied().unwrap_or(1) as f32;
    let normal = Normal::new(0.0, fan_in.sqrt().recip()).map_err(|e| Error::Other(format!("normal numbers: {e}")))?;
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| normal.sample(rng)).collect();
    let shape: Vec<i64> = shape.iter().map(|dimension| *dimension as i64).collect();
    Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?)
}

fn leaf(tensor: Tensor, device: Device) -> Result<Tensor> {
    Ok(tensor.f_to_device(device)?.f_set_requires_grad(true)?)
}
