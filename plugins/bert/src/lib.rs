//! BERT encoders of any size with heads for classification and regression of texts and pairs: the model plugin `bert`.
//!
//! Checkpoints are Hugging Face directories; parameter names are Hugging Face's with the `bert.` prefix.

mod config;
mod encoder;
mod head;
mod load;
mod model;
mod shapes;
mod tokenizer;

pub use config::BertConfig;
pub use lopper_nn::Activation;
pub use model::{BertModel, BertOptions};
pub use shapes::{parameter_shapes, prunable_layout};
pub use tokenizer::BertTokenizer;

use lopper_core::ModelEntry;
use lopper_weights::read_regular;
use std::path::Path;

inventory::submit! {
    ModelEntry::new(
        "bert",
        "BERT encoder with a head for classification or regression of texts and pairs",
        BertOptions::DOCS,
        env!("CARGO_PKG_NAME"),
        recognises,
        |request| Ok(Box::new(BertModel::open(request)?)),
    )
}

fn recognises(directory: &Path) -> bool {
    let read = read_regular(&directory.join("config.json"), lopper_nn::MAX_BYTES as u64).ok();
    read.and_then(|text| serde_json::from_slice(&text).ok()).is_some_and(|source| config::is_bert(&source))
}
