//! The encoder of BERT (Devlin et al. 2019): embeddings, post-norm transformer blocks and the pooler.

use crate::config::{Activation, BertConfig};
use crate::dropout::dropout;
use lopper_core::{Batch, Error, Mode, Result};
use tch::{Kind, Tensor};

/// y = x Wᵀ + b.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    /// Takes `{name}.weight` `[out, in]` and `{name}.bias` `[out]`.
    pub(crate) fn new(name: &str, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        Ok(Self { weight: take(&format!("{name}.weight"))?, bias: take(&format!("{name}.bias"))? })
    }

    /// `[…, in]` to `[…, out]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_linear(&self.weight, Some(&self.bias))?)
    }
}

#[derive(Debug)]
struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    epsilon: f64,
}

impl LayerNorm {
    fn new(name: &str, config: &BertConfig, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let (weight, bias) = (take(&format!("{name}.weight"))?, take(&format!("{name}.bias"))?);
        Ok(Self { weight, bias, epsilon: config.layer_norm_eps() })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(x.f_layer_norm(self.weight.size(), Some(&self.weight), Some(&self.bias), self.epsilon, true)?)
    }
}

/// Probabilities of dropout in one forward pass: 0 everywhere in evaluation.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    hidden: f64,
    attention: f64,
}

/// Where the tokens of a batch stand. Padding is left out of everything but attention: no output depends on it, and on
/// texts of unlike length it is most of the work.
#[derive(Debug)]
struct Tokens {
    batch: i64,
    length: i64,
    padding: Option<Padding>,
}

#[derive(Debug)]
struct Padding {
    /// Flat positions in `[batch · length]` of the `n` real tokens: `[n]`, int64.
    packed: Tensor,
    /// For each flat position its index among the real tokens, 0 for padding: `[batch · length]`, int64.
    unpacked: Tensor,
    /// Index of each row's first token among the real tokens: `[batch]`, int64.
    first: Tensor,
    /// 0 for real tokens and -∞ for padding: `[batch, 1, 1, length]`, float32.
    bias: Tensor,
}

impl Tokens {
    fn new(mask: Option<&Tensor>, batch: i64, length: i64) -> Result<Self> {
        let Some(mask) = mask else { return Ok(Self { batch, length, padding: None }) };
        let mask = mask.f_ne(0)?;
        let real = mask.f_sum(Kind::Int64)?.f_int64_value(&[])?;
        if real == batch * length {
            return Ok(Self { batch, length, padding: None });
        }
        if !bool::try_from(mask.f_select(1, 0)?.f_all()?)? {
            let expected = "1 in the first column of every row: the pooler reads that token";
            return Err(Error::invalid("attention_mask", "0 in the first column", expected));
        }
        let flat = mask.f_reshape([-1])?;
        let packed = flat.f_nonzero()?.f_squeeze_dim(1)?;
        let unpacked = (flat.f_cumsum(0, Kind::Int64)? - 1).f_mul(&flat)?;
        let first = unpacked.f_view([batch, length])?.f_select(1, 0)?.f_contiguous()?;
        let bias =
            mask.f_zeros_like()?.f_to_kind(Kind::Float)?.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?;
        let bias = bias.f_view([batch, 1, 1, length])?;
        Ok(Self { batch, length, padding: Some(Padding { packed, unpacked, first, bias }) })
    }

    /// `[batch · length]` or `[batch · length, width]` to `[n]` or `[n, width]`.
    fn pack(&self, x: Tensor) -> Result<Tensor> {
        match &self.padding {
            None => Ok(x),
            Some(padding) => Ok(x.f_index_select(0, &padding.packed)?),
        }
    }

    /// `[n, width]` to `[batch, heads, length, width / heads]`; what stands at padding is any real token's.
    fn heads(&self, x: &Tensor, heads: i64) -> Result<Tensor> {
        let width = x.size()[1];
        let x = match &self.padding {
            None => x.shallow_clone(),
            Some(padding) => x.f_index_select(0, &padding.unpacked)?,
        };
        Ok(x.f_view([self.batch, self.length, heads, width / heads])?.f_transpose(1, 2)?)
    }

    /// The rows of `[n, width]` that are first tokens: `[batch, width]`.
    fn first(&self, x: &Tensor) -> Result<Tensor> {
        match &self.padding {
            None => Ok(x.f_view([self.batch, self.length, -1])?.f_select(1, 0)?),
            Some(padding) => Ok(x.f_index_select(0, &padding.first)?),
        }
    }

    fn bias(&self) -> Option<&Tensor> {
        self.padding.as_ref().map(|p| &p.bias)
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
}

impl Block {
    fn new(name: &str, config: &BertConfig, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        let mut linear = |part: &str| Linear::new(&format!("{name}.{part}"), take);
        let (query, key, value) =
            (linear("attention.self.query")?, linear("attention.self.key")?, linear("attention.self.value")?);
        let (attention_output, intermediate, output) =
            (linear("attention.output.dense")?, linear("intermediate.dense")?, linear("output.dense")?);
        Ok(Self {
            query,
            key,
            value,
            attention_output,
            attention_norm: LayerNorm::new(&format!("{name}.attention.output.LayerNorm"), config, take)?,
            intermediate,
            output,
            output_norm: LayerNorm::new(&format!("{name}.output.LayerNorm"), config, take)?,
            heads: config.num_attention_heads(),
            activation: config.hidden_act(),
        })
    }

    /// `[n, width]` to `[n, width]`; with `only_first` to `[batch, width]`, the first tokens alone.
    fn forward(&self, x: &Tensor, tokens: &Tokens, p: Dropout, only_first: bool) -> Result<Tensor> {
        let key = tokens.heads(&self.key.forward(x)?, self.heads)?;
        let value = tokens.heads(&self.value.forward(x)?, self.heads)?;
        let x = if only_first { tokens.first(x)? } else { x.shallow_clone() };
        let query = self.query.forward(&x)?;
        let width = query.size()[1];
        let context = if only_first {
            let query = query.f_view([tokens.batch, 1, self.heads, width / self.heads])?.f_transpose(1, 2)?;
            attend(&query, &key, &value, tokens.bias(), p.attention)?.f_reshape([tokens.batch, width])?
        } else {
            let context = attend(&tokens.heads(&query, self.heads)?, &key, &value, tokens.bias(), p.attention)?;
            tokens.pack(context.f_transpose(1, 2)?.f_reshape([-1, width])?)?
        };
        let x =
            self.attention_norm.forward(&(dropout(self.attention_output.forward(&context)?, p.hidden)?.f_add(&x)?))?;
        let inner = self.intermediate.forward(&x)?;
        let inner = match self.activation {
            Activation::Gelu => inner.f_gelu("none")?,
            Activation::GeluNew => inner.f_gelu("tanh")?,
            Activation::Relu => inner.f_relu()?,
        };
        self.output_norm.forward(&(dropout(self.output.forward(&inner)?, p.hidden)?.f_add(&x)?))
    }
}

/// softmax(q kᵀ / √d + bias) v with dropout of the probabilities (Vaswani et al. 2017, equation 1).
/// `query` is `[batch, heads, rows, d]`, `key` and `value` `[batch, heads, length, d]`; the answer is as `query`.
fn attend(query: &Tensor, key: &Tensor, value: &Tensor, bias: Option<&Tensor>, p: f64) -> Result<Tensor> {
    if p == 0.0 || query.device() != tch::Device::Cpu {
        let (size, length) = (query.size(), key.size()[2]);
        let bias =
            bias.map(|b| b.f_to_kind(query.kind())?.f_expand([size[0], size[1], size[2], length], true)).transpose()?;
        return Ok(Tensor::f_scaled_dot_product_attention(query, key, value, bias, p, false, None, false)?);
    }
    // libtorch's fused kernel for the CPU has no dropout, and what it falls back to is slower than this.
    let scale = (query.size()[3] as f64).sqrt().recip();
    let mut scores = query.f_mul_scalar(scale)?.f_matmul(&key.f_transpose(-2, -1)?)?;
    if let Some(bias) = bias {
        let _ = scores.f_add_(bias)?;
    }
    let probabilities = dropout(scores.f_softmax(-1, None)?, p)?;
    Ok(probabilities.f_matmul(value)?)
}

/// Embeddings, blocks and pooler.
#[derive(Debug)]
pub(crate) struct Encoder {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    embedding_norm: LayerNorm,
    blocks: Vec<Block>,
    pooler: Linear,
    padding_id: i64,
    dropout: Dropout,
}

impl Encoder {
    /// Takes every tensor of the encoder by its Hugging Face name, with the `bert.` prefix.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn new(config: &BertConfig, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            words: take("bert.embeddings.word_embeddings.weight")?,
            positions: take("bert.embeddings.position_embeddings.weight")?,
            segments: take("bert.embeddings.token_type_embeddings.weight")?,
            embedding_norm: LayerNorm::new("bert.embeddings.LayerNorm", config, take)?,
            blocks: (0..config.num_hidden_layers())
                .map(|i| Block::new(&format!("bert.encoder.layer.{i}"), config, take))
                .collect::<Result<_>>()?,
            pooler: Linear::new("bert.pooler.dense", take)?,
            // libtorch's word for no padding token.
            padding_id: config.pad_token_id().unwrap_or(-1),
            dropout: Dropout { hidden: config.hidden_dropout(), attention: config.attention_dropout() },
        })
    }

    /// The pooled first token of every row, `[batch, width]`, from `input_ids` and, where present, `attention_mask`
    /// and `token_type_ids`, all `[batch, length]` int64.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for inputs of another shape, too long, or with a row whose first token is padding, and
    /// errors of libtorch, an id outside the vocabulary among them.
    pub(crate) fn forward(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let p = if mode == Mode::Train { self.dropout } else { Dropout { hidden: 0.0, attention: 0.0 } };
        let ids = batch.input("input_ids")?;
        let (mask, segments) = (batch.inputs.get("attention_mask"), batch.inputs.get("token_type_ids"));
        let size = self.check(ids, &[("attention_mask", mask), ("token_type_ids", segments)])?;
        let tokens = Tokens::new(mask, size[0], size[1])?;

        let words = embedding(&self.words, &tokens.pack(ids.f_reshape([-1])?)?, self.padding_id)?;
        let positions = match &tokens.padding {
            None => self.positions.f_narrow(0, 0, size[1])?.f_unsqueeze(0)?,
            Some(padding) => embedding(&self.positions, &padding.packed.f_remainder(size[1])?, -1)?,
        };
        let segments = match segments {
            None => self.segments.f_select(0, 0)?,
            Some(segments) => embedding(&self.segments, &tokens.pack(segments.f_reshape([-1])?)?, -1)?,
        };
        let width = words.size()[1];
        let x = words.f_add(&segments)?;
        let x = match tokens.padding {
            None => x.f_view([size[0], size[1], width])?.f_add(&positions)?.f_view([-1, width])?,
            Some(_) => x.f_add(&positions)?,
        };
        let mut x = dropout(self.embedding_norm.forward(&x)?, p.hidden)?;
        let last = self.blocks.len() - 1;
        for (i, block) in self.blocks.iter().enumerate() {
            // The pooler reads first tokens only, so the last block computes no other row.
            x = block.forward(&x, &tokens, p, i == last)?;
        }
        Ok(self.pooler.forward(&x)?.f_tanh()?)
    }

    fn check(&self, ids: &Tensor, others: &[(&str, Option<&Tensor>)]) -> Result<[i64; 2]> {
        let max = self.positions.size()[0];
        let &[batch, length] = ids.size().as_slice() else {
            return Err(Error::invalid("input_ids", format!("of shape {:?}", ids.size()), "[batch, length]"));
        };
        let mut problems = Vec::new();
        if batch == 0 || length == 0 || length > max {
            let expected = format!("at least one row of 1 to {max} tokens (max_position_embeddings)");
            problems.push(Error::invalid("input_ids", format!("of shape [{batch}, {length}]"), expected));
        }
        for (name, tensor) in others.iter().filter_map(|(name, tensor)| Some((*name, (*tensor)?))) {
            if tensor.size() != [batch, length] {
                let expected = format!("[{batch}, {length}] like input_ids");
                problems.push(Error::invalid(name, format!("of shape {:?}", tensor.size()), expected));
            }
        }
        Error::all(problems)?;
        Ok([batch, length])
    }
}

fn embedding(weight: &Tensor, ids: &Tensor, padding_id: i64) -> Result<Tensor> {
    Ok(Tensor::f_embedding(weight, ids, padding_id, false, false)?)
}
