//! Speech with transcripts: LibriSpeech, Libri-light's limited supervision, Common Voice with CPC_audio's phones, fairseq's and
//! NeMo's manifests, JSON, TSV and CSV, folders, and tables of Parquet and Arrow with recordings in their cells.
//!
//! [`audio`] reads recordings, [`Dictionary`] and [`Unit`] turn transcripts into labels, [`decode`] turns outputs back into
//! text; [`SpeechDataset`] holds paths, lengths and labels, and decodes what a batch needs.

mod advice;
pub mod audio;
mod cache;
mod case;
mod clip;
mod corpora;
mod dataset;
pub mod decode;
mod dictionary;
mod labels;
mod names;
mod open;
mod options;
mod phone_symbols;
mod problems;
mod recordings;
mod rows;
mod settings;
mod spelling;
mod splits;
mod tables;
mod text;
mod transcript;
mod utterances;
mod vocabulary;

pub use dataset::SpeechDataset;
pub use dictionary::Dictionary;
pub use labels::Unit;
pub use open::{open, task};
pub use options::{DictionarySource, Paths, SpeechOptions};

use lopper_core::{Dataset, DatasetEntry};

inventory::submit! {
    DatasetEntry::new(
        "speech",
        "speech with letters or phones: LibriSpeech, Libri-light, Common Voice, manifests of fairseq and NeMo, JSON, TSV, CSV, Parquet, folders",
        SpeechOptions::DOCS,
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        task,
        |request| open(request).map(|dataset| Box::new(dataset) as Box<dyn Dataset>),
    )
}
