//! The options of the model plugins.

use lopper_core::{Error, Result, options};

options! {
    /// Options of the model plugins `wav2vec2` and `xlsr`.
    pub struct Wav2Vec2Options {
        /// Head for a task: "fresh" draws one from the run's seed, "checkpoint" takes the checkpoint's.
        head: String = "fresh".to_owned(),
        /// "exact" keeps padding from changing a result; "reference" lets the group norm of base and large models see it, as fairseq and transformers do.
        padding: String = "exact".to_owned(),
        /// Whether the convolutions that turn samples into features stay as they are.
        freeze_feature_encoder: bool = true,
        /// Whether the biases of the prunable layers are ranked with their weights, as PARP's code does.
        prune_biases: bool = true,
        /// Whether waveforms get zero mean and unit variance, instead of what the checkpoint says.
        normalize: Option<bool> = None,
        /// Dropout before the encoder and after both parts of a block, instead of the checkpoint's.
        hidden_dropout: Option<f64> = None,
        /// Dropout of attention probabilities, instead of the checkpoint's.
        attention_dropout: Option<f64> = None,
        /// Dropout within the feed-forward network, instead of the checkpoint's.
        activation_dropout: Option<f64> = None,
        /// Dropout of projected features, instead of the checkpoint's.
        feat_proj_dropout: Option<f64> = None,
        /// Dropout before the head, instead of the checkpoint's.
        final_dropout: Option<f64> = None,
        /// Probability of leaving out a block in training, instead of the checkpoint's.
        layerdrop: Option<f64> = None,
        /// Share of time steps that masked spans would cover without overlaps (fairseq's mask_prob), instead of the checkpoint's.
        mask_time_prob: Option<f64> = None,
        /// Time steps a masked span, instead of the checkpoint's.
        mask_time_length: Option<u32> = None,
        /// Share of channels that masked spans would cover without overlaps (fairseq's mask_channel_prob), instead of the checkpoint's.
        mask_feature_prob: Option<f64> = None,
        /// Channels a masked span, instead of the checkpoint's.
        mask_feature_length: Option<u32> = None,
    }
}

/// Whether padding may change a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Padding {
    /// It never does: a batch of many is many batches of one.
    Exact,
    /// As in fairseq and transformers, where a group norm sees it.
    Reference,
}

impl Wav2Vec2Options {
    /// Whether a task gets the checkpoint's head, and what padding may do.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] for each that is another word.
    pub(crate) fn choices(&self) -> Result<(bool, Padding)> {
        let from_checkpoint = match self.head.as_str() {
            "fresh" => Ok(false),
            "checkpoint" => Ok(true),
            other => Err(Error::invalid("[model] head", other, "`fresh` or `checkpoint`")),
        };
        let padding = match self.padding.as_str() {
            "exact" => Ok(Padding::Exact),
            "reference" => Ok(Padding::Reference),
            other => Err(Error::invalid("[model] padding", other, "`exact` or `reference`")),
        };
        Error::both(from_checkpoint, padding)
    }
}
