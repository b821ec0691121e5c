//! The feature encoder (Baevski et al. 2020, section 2): convolutions from samples to features.

use crate::config::{Convolution, FeatureNorm, Wav2Vec2Config};
use lopper_core::Result;
use lopper_nn::Activation;
use tch::Tensor;

/// Added to the variance in every normalisation of the feature encoder, whatever `layer_norm_eps` says.
const EPSILON: f64 = 1e-5;

#[derive(Debug)]
struct Layer {
    convolution: Convolution,
    weight: Tensor,
    bias: Option<Tensor>,
    norm: Option<(FeatureNorm, Tensor, Tensor)>,
    activation: Activation,
}

impl Layer {
    fn new(index: usize, config: &Wav2Vec2Config, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let name = format!("wav2vec2.feature_extractor.conv_layers.{index}");
        let mut take = |part: &str| take(&format!("{name}.{part}"));
        let kind = config.feat_extract_norm();
        Ok(Self {
            convolution: config.convolutions()[index],
            weight: take("conv.weight")?,
            bias: if config.conv_bias() { Some(take("conv.bias")?) } else { None },
            norm: if index == 0 || kind == FeatureNorm::Layer {
                Some((kind, take("layer_norm.weight")?, take("layer_norm.bias")?))
            } else {
                None
            },
            activation: config.feat_extract_activation,
        })
    }

    /// `[rows, channels, steps]` to `[rows, outputs, fewer steps]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Convolution { outputs, stride, .. } = self.convolution;
        let x = x.f_conv1d(&self.weight, self.bias.as_ref(), stride, 0, 1, 1)?;
        let x = match &self.norm {
            None => x,
            // As many groups as channels: each channel by its own mean and variance over time.
            Some((FeatureNorm::Group, weight, bias)) => {
                x.f_group_norm(outputs, Some(weight), Some(bias), EPSILON, true)?
            }
            Some((FeatureNorm::Layer, weight, bias)) => {
                let x = x.f_transpose(1, 2)?;
                x.f_layer_norm(weight.size(), Some(weight), Some(bias), EPSILON, true)?.f_transpose(1, 2)?
            }
        };
        self.activation.consume(x)
    }
}

/// All convolutions.
#[derive(Debug)]
pub(crate) struct FeatureEncoder {
    layers: Vec<Layer>,
    apart: bool,
}

impl FeatureEncoder {
    /// Takes every tensor by its Hugging Face name. With `apart`, rows of unlike length go through it apart, so that none
    /// of them sees padding.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn new(
        config: &Wav2Vec2Config,
        apart: bool,
        take: &mut impl FnMut(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        let layers = (0..config.convolutions().len()).map(|i| Layer::new(i, config, take)).collect::<Result<_>>()?;
        Ok(Self { layers, apart })
    }

    /// `[batch, samples]`, of which `lengths` are valid, to `[batch, steps, channels]`. What stands at padding depends on
    /// the padding; with `apart` it is zero.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn forward(&self, x: &Tensor, lengths: &[i64], steps: i64) -> Result<Tensor> {
        let samples = x.size()[1];
        if !self.apart || lengths.iter().all(|length| *length == samples) {
            return self.rows(x);
        }
        let mut parts = Vec::new();
        let mut first = 0;
        // Rows as long as their neighbour go together.
        for run in lengths.chunk_by(|a, b| a == b) {
            let rows = x.f_narrow(0, first, run.len() as i64)?.f_narrow(1, 0, run[0])?;
            let features = self.rows(&rows)?;
            let missing = steps - features.size()[1];
            parts.push(if missing == 0 { features } else { features.f_constant_pad_nd([0, 0, 0, missing])? });
            first += run.len() as i64;
        }
        Ok(Tensor::f_cat(&parts, 0)?)
    }

    fn rows(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.f_unsqueeze(1)?;
        for layer in &self.layers {
            x = layer.forward(&x)?;
        }
        Ok(x.f_transpose(1, 2)?)
    }
}
