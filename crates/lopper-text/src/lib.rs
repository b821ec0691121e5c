//! Labelled texts as a dataset: tokenised once, batched, judged, hashed.
//!
//! A plugin that brings texts makes [`Example`]s and hands them to [`TextDataset`]; the model at hand tokenises them
//! through its [`Preprocessor`](lopper_core::Preprocessor). This crate registers nothing and opens no file.

mod dataset;
mod encoded;
mod example;
mod kind;

pub use dataset::{Content, TextDataset};
pub use encoded::EncodedSplit;
pub use example::Example;
pub use kind::{Kind, Label};
