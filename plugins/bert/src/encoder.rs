//! The encoder of BERT (Devlin et al. 2019): embeddings, post-norm transformer blocks and the pooler.

use crate::config::BertConfig;
use lopper_core::{Batch, Error, Mode, Result};
use lopper_nn::{Activation, LayerNorm, Linear, Packing, attend, dropout};
use tch::Tensor;

/// Probabilities of dropout in one forward pass: 0 everywhere in evaluation.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    hidden: f64,
    attention: f64,
}

/// Where the tokens of a batch stand, and the first of each row.
#[derive(Debug)]
struct Tokens {
    packing: Packing,
    /// Index of each row's first token among the packed ones: `[batch]`, int64; `None` without padding.
    first: Option<Tensor>,
}

impl Tokens {
    fn new(mask: Option<&Tensor>, batch: i64, length: i64) -> Result<Self> {
        let Some(mask) = mask else { return Ok(Self { packing: Packing::full(batch, length), first: None }) };
        let mask = mask.f_ne(0)?;
        let packing = Packing::from_mask(&mask)?;
        if packing.positions().is_some() && !bool::try_from(mask.f_select(1, 0)?.f_all()?)? {
            let expected = "1 in the first column of every row: the pooler reads that token";
            return Err(Error::invalid("attention_mask", "0 in the first column", expected));
        }
        let first = packing.indices().map(|i| i.f_view([batch, length])?.f_select(1, 0)?.f_contiguous()).transpose()?;
        Ok(Self { packing, first })
    }

    /// The rows of `[n, width]` that are first tokens: `[batch, width]`.
    fn first(&self, x: &Tensor) -> Result<Tensor> {
        match &self.first {
            None => Ok(x.f_view([self.packing.batch(), self.packing.length(), -1])?.f_select(1, 0)?),
            Some(first) => Ok(x.f_index_select(0, first)?),
        }
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
            attention_norm: LayerNorm::new(
                &format!("{name}.attention.output.LayerNorm"),
                config.layer_norm_eps(),
                take,
            )?,
            intermediate,
            output,
            output_norm: LayerNorm::new(&format!("{name}.output.LayerNorm"), config.layer_norm_eps(), take)?,
            heads: config.num_attention_heads(),
            activation: config.hidden_act(),
        })
    }

    /// `[n, width]` to `[n, width]`; with `only_first` to `[batch, width]`, the first tokens alone.
    fn forward(&self, x: &Tensor, tokens: &Tokens, p: Dropout, only_first: bool) -> Result<Tensor> {
        let packing = &tokens.packing;
        let key = packing.heads(&self.key.forward(x)?, self.heads)?;
        let value = packing.heads(&self.value.forward(x)?, self.heads)?;
        let x = if only_first { tokens.first(x)? } else { x.shallow_clone() };
        let query = self.query.forward(&x)?;
        let width = query.size()[1];
        let context = if only_first {
            let query = query.f_view([packing.batch(), 1, self.heads, width / self.heads])?.f_transpose(1, 2)?;
            attend(&query, &key, &value, packing.bias(), p.attention)?.f_reshape([packing.batch(), width])?
        } else {
            let context = attend(&packing.heads(&query, self.heads)?, &key, &value, packing.bias(), p.attention)?;
            packing.pack(context.f_transpose(1, 2)?.f_reshape([-1, width])?)?
        };
        let x =
            self.attention_norm.forward(&(dropout(self.attention_output.forward(&context)?, p.hidden)?.f_add(&x)?))?;
        let inner = self.intermediate.forward(&x)?;
        let inner = self.activation.forward(&inner)?;
        self.output_norm.forward(&(dropout(self.output.forward(&inner)?, p.hidden)?.f_add(&x)?))
    }
}

/// Embeddings, blocks and pooler.
#[derive(Debug)]
pub(crate) struct Encoder {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    embedding_norm: LayerNorm,
    blocks: Vec<Block>,
    pooler: Option<Linear>,
    padding_id: i64,
    dropout: Dropout,
}

impl Encoder {
    /// Takes every tensor of the encoder by its Hugging Face name, with the `bert.` prefix; those of the pooler where it
    /// `pools`.
    ///
    /// # Errors
    /// Those of `take`.
    pub(crate) fn new(config: &BertConfig, pools: bool, take: &mut impl FnMut(&str) -> Result<Tensor>) -> Result<Self> {
        Ok(Self {
            words: take("bert.embeddings.word_embeddings.weight")?,
            positions: take("bert.embeddings.position_embeddings.weight")?,
            segments: take("bert.embeddings.token_type_embeddings.weight")?,
            embedding_norm: LayerNorm::new("bert.embeddings.LayerNorm", config.layer_norm_eps(), take)?,
            blocks: (0..config.num_hidden_layers())
                .map(|i| Block::new(&format!("bert.encoder.layer.{i}"), config, take))
                .collect::<Result<_>>()?,
            pooler: if pools { Some(Linear::new("bert.pooler.dense", take)?) } else { None },
            // libtorch's word for no padding token.
            padding_id: config.pad_token_id().unwrap_or(-1),
            dropout: Dropout { hidden: config.hidden_dropout(), attention: config.attention_dropout() },
        })
    }

    /// The pooled first token of every row, `[batch, width]`, from `input_ids` and, where present, `attention_mask`
    /// and `token_type_ids`, all `[batch, length]` int64.
    ///
    /// # Errors
    /// [`Error::Unsupported`] without a pooler; [`Error::InvalidValue`] for inputs of another shape, too long, or with a row
    /// whose first token is padding; and errors of libtorch, an id outside the vocabulary among them.
    pub(crate) fn forward(&self, batch: &Batch, mode: Mode) -> Result<Tensor> {
        let pooler = self.pooler.as_ref().ok_or_else(|| Error::Unsupported {
            what: "this BERT, which has no pooler,".into(),
            feature: "answers for whole texts".into(),
        })?;
        let p = if mode == Mode::Train { self.dropout } else { Dropout { hidden: 0.0, attention: 0.0 } };
        let ids = batch.input("input_ids")?;
        let (mask, segments) = (batch.inputs.get("attention_mask"), batch.inputs.get("token_type_ids"));
        let size = self.check(ids, &[("attention_mask", mask), ("token_type_ids", segments)])?;
        let tokens = Tokens::new(mask, size[0], size[1])?;
        let packing = &tokens.packing;

        let words = embedding(&self.words, &packing.pack(ids.f_reshape([-1])?)?, self.padding_id)?;
        let positions = match packing.positions() {
            None => self.positions.f_narrow(0, 0, size[1])?.f_unsqueeze(0)?,
            Some(packed) => embedding(&self.positions, &packed.f_remainder(size[1])?, -1)?,
        };
        let segments = match segments {
            None => self.segments.f_select(0, 0)?,
            Some(segments) => embedding(&self.segments, &packing.pack(segments.f_reshape([-1])?)?, -1)?,
        };
        let width = words.size()[1];
        let x = words.f_add(&segments)?;
        let x = match packing.positions() {
            None => x.f_view([size[0], size[1], width])?.f_add(&positions)?.f_view([-1, width])?,
            Some(_) => x.f_add(&positions)?,
        };
        let mut x = dropout(self.embedding_norm.forward(&x)?, p.hidden)?;
        let last = self.blocks.len() - 1;
        for (i, block) in self.blocks.iter().enumerate() {
            // The pooler reads first tokens only, so the last block computes no other row.
            x = block.forward(&x, &tokens, p, i == last)?;
        }
        Ok(pooler.forward(&x)?.f_tanh()?)
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
