//! wav2vec 2.0 encoders of any size with a CTC head: the model plugins `wav2vec2` and `xlsr`, which differ in what they
//! recognise alone.
//!
//! Checkpoints are Hugging Face's, fairseq's and torchaudio's; parameter names are Hugging Face's with the `wav2vec2.`
//! prefix.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test panics"))]

mod architecture;
mod audio;
mod config;
mod ctc;
mod derive;
mod encoder;
mod extractor;
mod fairseq;
mod fairseq2;
mod features;
mod foreign;
mod head;
mod load;
mod masking;
mod model;
mod names;
mod options;
mod shapes;
mod tokenizer;
mod told;

pub use audio::Wav2Vec2Preprocessor;
pub use config::{Convolution, Dropouts, FeatureNorm, Spans, Wav2Vec2Config};
pub use ctc::{Alignable, CtcLoss, ctc_loss};
pub use masking::{SpanSettings, dropped_blocks, spans};
pub use model::Wav2Vec2Model;
pub use options::Wav2Vec2Options;
pub use shapes::{parameter_shapes, prunable_layout};

use lopper_core::ModelEntry;

inventory::submit! {
    ModelEntry::new(
        "wav2vec2",
        "wav2vec 2.0 encoder with a CTC head: base, large, and any other size",
        Wav2Vec2Options::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        |path| load::recognise(path) == Some(false),
        |request| Ok(Box::new(Wav2Vec2Model::open(request)?)),
    )
}

inventory::submit! {
    ModelEntry::new(
        "xlsr",
        "wav2vec 2.0 with layer norms in its feature encoder and before every part: XLSR-53, and large on Libri-light",
        Wav2Vec2Options::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        |path| load::recognise(path) == Some(true),
        |request| Ok(Box::new(Wav2Vec2Model::open(request)?)),
    )
}
