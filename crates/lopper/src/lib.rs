//! Finds sparse subnetworks in pre-trained models: the facade over Lopper's crates, and its command line.
//!
//! [`plugin`] holds everything that a method, model or dataset of one's own needs. A program with plugins of its own links them by
//! naming them, and hands over:
//!
//! ```no_run,standalone_crate
//! // use my_method as _;
//! fn main() -> std::process::ExitCode {
//!     lopper::run()
//! }
//! ```
//!
//! A program that drives runs itself starts at [`Experiment`].
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed test panics"))]

mod commands;
mod config;
mod experiment;
mod inspect;
mod interval;
mod kept_data;
mod loopback;
mod models;
mod output;
pub mod plugin;
mod problems;
mod recipes;
mod signals;
mod sweep;
mod terminal;

pub use commands::run;
pub use config::{
    CheckpointOptions, DataOptions, EvaluateOptions, GeneralOptions, ModelOptions, PruneOptions, RunOptions, Setting,
    StoreOptions, TrackOptions, TrainOptions,
};
pub use config::{OptimizerName, ScheduleName};
pub use experiment::{Experiment, Outline};
pub use interval::Interval;
pub use lopper_core::*;
pub use {lopper_session as session, lopper_torch as torch, lopper_weights as weights};

// The built-in plugins: a crate that nobody names is not linked, and its registrations with it.
use lopper_agreement as _;
use lopper_bert as _;
use lopper_glue as _;
use lopper_speech as _;
use lopper_strategies as _;
use lopper_wav2vec2 as _;
