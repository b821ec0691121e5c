//! The encoder of wav2vec 2.0 (Baevski et al. 2020): features, their projection, the positional convolution, and
//! transformer blocks that normalise before or after their parts.

use crate::config::{Dropouts, Wav2Vec2Config};
use crate::features::FeatureEncoder;
use crate::masking::{SpanSettings, dropped_blocks, spans};
use lopper_core::{Error, Mode, Result};
use lopper_nn::{Activation, LayerNorm, Linear, Packing, attend, dropout};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// A convolution over time that tells positions apart, whose weight is a length `g` for each step of its kernel times a
/// direction `v` (Salimans and Kingma 2016).
#[derive(Debug)]
struct Positions {
    length: Tensor,
    direction: Tensor,
    bias: Tensor,
    kernel: i64,
    groups: i64,
    activation: Activation,
}

impl Positions {
    fn new(config: &Wav2Vec2Config, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let mut take = |part: &str| take(&format!("wav2vec2.encoder.pos_conv_embed.conv.{part}"));
        Ok(Self {
            bias: take("bias")?,
            length: take("weight_g")?,
            direction: take("weight_v")?,
            kernel: config.num_conv_pos_embeddings(),
            groups: config.num_conv_pos_embedding_groups(),
            activation: config.feat_extract_activation,
        })
    }

    /// `[batch, steps, width]` to the same shape.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let weight = Tensor::f_internal_weight_norm(&self.direction, &self.length, 2)?;
        let steps = x.size()[1];
        let x = x.f_transpose(1, 2)?.f_conv1d(&weight, Some(&self.bias), 1, self.kernel / 2, 1, self.groups)?;
        // Padded by half a kernel on both sides, an even one gives one step too many: the last is dropped.
        let x = x.f_narrow(2, 0, steps)?;
        Ok(self.activation.forward(&x)?.f_transpose(1, 2)?)
    }
}

#[derive(Debug)]
struct Block {
    query: Linear,
    key: Linear,
    value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    heads: i64,
    activation: Activation,
    norm_first: bool,
}

impl Block {
    fn new(index: usize, config: &Wav2Vec2Config, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let name = format!("wav2vec2.encoder.layers.{index}");
        let mut linear = |part: &str| Linear::new(&format!("{name}.{part}"), take);
        let (query, key, value, attention_output) = (
            linear("attention.q_proj")?,
            linear("attention.k_proj")?,
            linear("attention.v_proj")?,
            linear("attention.out_proj")?,
        );
        let (intermediate, output) = (linear("feed_forward.intermediate_dense")?, linear("feed_forward.output_dense")?);
        let epsilon = config.layer_norm_eps();
        Ok(Self {
            query,
            key,
            value,
            attention_output,
            attention_norm: LayerNorm::new(&format!("{name}.layer_norm"), epsilon, take)?,
            intermediate,
            output,
            output_norm: LayerNorm::new(&format!("{name}.final_layer_norm"), epsilon, take)?,
            heads: config.num_attention_heads(),
            activation: config.hidden_act,
            norm_first: config.do_stable_layer_norm(),
        })
    }

    /// `[n, width]` to `[n, width]`.
    fn forward(&self, x: &Tensor, packing: &Packing, p: &Dropouts) -> Result<Tensor> {
        if self.norm_first {
            let x = x.f_add(&self.attention(&self.attention_norm.forward(x)?, packing, p)?)?;
            return Ok(x.f_add(&self.feed_forward(&self.output_norm.forward(&x)?, p)?)?);
        }
        let x = self.attention_norm.forward(&x.f_add(&self.attention(x, packing, p)?)?)?;
        self.output_norm.forward(&x.f_add(&self.feed_forward(&x, p)?)?)
    }

    fn attention(&self, x: &Tensor, packing: &Packing, p: &Dropouts) -> Result<Tensor> {
        let heads = |x: Tensor| packing.heads(&x, self.heads);
        let (query, key) = (heads(self.query.forward(x)?)?, heads(self.key.forward(x)?)?);
        let value = heads(self.value.forward(x)?)?;
        let context = attend(&query, &key, &value, packing.bias(), p.attention)?;
        let context = packing.pack(context.f_transpose(1, 2)?.f_reshape([-1, x.size()[1]])?)?;
        dropout(self.attention_output.forward(&context)?, p.hidden)
    }

    fn feed_forward(&self, x: &Tensor, p: &Dropouts) -> Result<Tensor> {
        let inner = dropout(self.activation.forward(&self.intermediate.forward(x)?)?, p.activation)?;
        dropout(self.output.forward(&inner)?, p.hidden)
    }
}

/// What one forward pass in training hides, beside the dropout of single entries.
#[derive(Debug, Default)]
struct Hidden {
    /// Flat indices among the packed steps.
    steps: Option<Vec<i64>>,
    /// Masked channels of each row.
    channels: Option<Vec<Vec<usize>>>,
    /// Which blocks are left out.
    blocks: Vec<bool>,
}

/// Features, projection, positions and blocks.
#[derive(Debug)]
pub(crate) struct Encoder {
    features: FeatureEncoder,
    projection_norm: LayerNorm,
    projection: Linear,
    mask: Option<Tensor>,
    positions: Positions,
    norm: LayerNorm,
    blocks: Vec<Block>,
    norm_first: bool,
    dropouts: Dropouts,
    mask_time: SpanSettings,
    mask_feature: SpanSettings,
    width: i64,
}

impl Encoder {
    /// Takes every tensor of the encoder by its Hugging Face name, with the `wav2vec2.` prefix. With `apart`, rows of
    /// unlike length go through the feature encoder apart, so that none of them sees padding. `mask` is the vector for
    /// masked steps, without which it cannot be trained with them.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn new(
        config: &Wav2Vec2Config,
        apart: bool,
        mask: Option<Tensor>,
        take: &mut impl FnMut(&str) -> Result<Tensor>,
    ) -> Result<Self> {
        let epsilon = config.layer_norm_eps();
        let settings = |s: crate::config::Spans| SpanSettings {
            probability: s.probability(),
            length: s.length() as usize,
            min: s.min() as usize,
        };
        Ok(Self {
            features: FeatureEncoder::new(config, apart, take)?,
            projection_norm: LayerNorm::new("wav2vec2.feature_projection.layer_norm", epsilon, take)?,
            projection: Linear::new("wav2vec2.feature_projection.projection", take)?,
            mask,
            positions: Positions::new(config, take)?,
            norm: LayerNorm::new("wav2vec2.encoder.layer_norm", epsilon, take)?,
            blocks: (0..config.num_hidden_layers()).map(|i| Block::new(i, config, take)).collect::<Result<_>>()?,
            norm_first: config.do_stable_layer_norm(),
            dropouts: config.dropouts,
            mask_time: settings(config.mask_time()),
            mask_feature: settings(config.mask_feature()),
            width: config.hidden_size(),
        })
    }

    /// The encoded steps of every row, `[n, width]`, with where they stand, from `[batch, samples]` of which `lengths`
    /// are valid; `steps` are the valid steps of each row, at least one.
    ///
    /// # Errors
    /// Errors of libtorch.
    pub(crate) fn forward(
        &self,
        samples: &Tensor,
        lengths: &[i64],
        steps: &[i64],
        longest: i64,
        mode: Mode,
    ) -> Result<(Tensor, Packing)> {
        let (p, hidden) = match mode {
            Mode::Train => (self.dropouts, self.hide(steps)?),
            Mode::Evaluate => (Dropouts::NONE, Hidden::default()),
        };
        let packing = Packing::from_lengths(steps, longest, samples.device())?;
        let features = self.features.forward(samples, lengths, longest)?;
        let channels = features.size()[2];
        let x = packing.pack(features.f_reshape([-1, channels])?)?;
        let x = dropout(self.projection.forward(&self.projection_norm.forward(&x)?)?, p.projection)?;
        let x = self.mask_steps(x, hidden.steps.as_deref())?;
        // Padding is zero from here on: the positional convolution must not see what the features are there.
        let x = self.mask_channels(packing.unpack(&x)?, hidden.channels.as_deref())?;
        let x = x.f_add(&self.positions.forward(&x)?)?;
        let mut x = packing.pack(x.f_reshape([-1, self.width])?)?;
        if !self.norm_first {
            x = self.norm.forward(&x)?;
        }
        x = dropout(x, p.hidden)?;
        for (i, block) in self.blocks.iter().enumerate() {
            if !hidden.blocks.get(i).is_some_and(|dropped| *dropped) {
                x = block.forward(&x, &packing, &p)?;
            }
        }
        if self.norm_first {
            x = self.norm.forward(&x)?;
        }
        Ok((x, packing))
    }

    /// Samples what is hidden from a generator that one draw of libtorch's seeds: the session seeds that one for every
    /// micro-batch.
    fn hide(&self, steps: &[i64]) -> Result<Hidden> {
        let (time, feature, layer) = (self.mask_time, self.mask_feature, self.dropouts.layer);
        if time.probability == 0.0 && feature.probability == 0.0 && layer == 0.0 {
            return Ok(Hidden::default());
        }
        let mut draw = Tensor::f_empty([1], (Kind::Int64, tch::Device::Cpu))?;
        let seed = draw.f_random_from_(i64::MIN, None)?.f_int64_value(&[0])? as u64;
        // Streams of their own: what one draws does not move what another does.
        let stream = |number: u64| {
            let mut generator = ChaCha8Rng::seed_from_u64(seed);
            generator.set_stream(number);
            generator
        };
        let mut hidden =
            Hidden { blocks: dropped_blocks(&mut stream(2), self.blocks.len(), layer), ..Hidden::default() };
        if time.probability > 0.0 {
            let sizes: Vec<usize> = steps.iter().map(|n| *n as usize).collect();
            let rows = spans(&mut stream(0), &sizes, time);
            let firsts = steps.iter().scan(0, |next, n| Some(std::mem::replace(next, *next + n)));
            let flat = rows.iter().zip(firsts).flat_map(|(row, first)| row.iter().map(move |at| first + *at as i64));
            hidden.steps = Some(flat.collect());
        }
        if feature.probability > 0.0 {
            hidden.channels = Some(spans(&mut stream(1), &vec![self.width as usize; steps.len()], feature));
        }
        Ok(hidden)
    }

    /// The learned vector in the place of those steps of `[n, width]`.
    fn mask_steps(&self, x: Tensor, steps: Option<&[i64]>) -> Result<Tensor> {
        let Some(steps) = steps.filter(|steps| !steps.is_empty()) else { return Ok(x) };
        let mask = self.mask.as_ref().ok_or_else(|| Error::Unsupported {
            what: "this wav2vec 2.0, which was opened without a task and has no vector for masked steps,".into(),
            feature: "training with masked steps".into(),
        })?;
        let index = Tensor::f_from_slice(steps)?.f_to_device(x.device())?;
        let learned = mask.f_to_kind(x.kind())?.f_unsqueeze(0)?.f_expand([steps.len() as i64, self.width], true)?;
        Ok(x.f_index_copy(0, &index, &learned)?)
    }

    /// Zeros in the place of those channels of each row of `[batch, steps, width]`.
    fn mask_channels(&self, x: Tensor, rows: Option<&[Vec<usize>]>) -> Result<Tensor> {
        let Some(rows) = rows else { return Ok(x) };
        let mut keep = vec![1f32; rows.len() * self.width as usize];
        for (row, channels) in keep.chunks_mut(self.width as usize).zip(rows) {
            channels.iter().for_each(|channel| row[*channel] = 0.0);
        }
        let keep = Tensor::f_from_slice(&keep)?.f_view([-1, 1, self.width])?.f_to_kind(x.kind())?;
        Ok(x.f_mul(&keep.f_to_device(x.device())?)?)
    }
}
