//! Masks, plans and the four traits of Lopper.
//!
//! A [`Model`], a [`Dataset`], a [`PruningStrategy`] and a [`MaskSchedule`] are plugins; this crate knows none by name.
//! It opens no file, reads no clock, and starts no thread it does not join.

extern crate self as lopper_core;

mod bits;
mod dataset;
mod error;
mod layout;
mod mask;
mod mask_file;
mod model;
mod options;
mod parameters;
mod plan;
mod random;
pub mod registry;
mod schedule;
mod select;
mod sparsity;
mod strategy;

pub use bits::{pack_bits, pack_bits_into};
pub use dataset::*;
pub use error::{Cause, Error, Result, nearest};
pub use layout::{Layout, TensorLayout};
pub use mask::*;
pub use mask_file::*;
pub use model::*;
pub use options::{OptionDoc, parse_leniently, parse_options};
pub use parameters::{Parameter, ParameterName, Parameters, Role};
pub use plan::*;
pub use registry::{DatasetEntry, MaskScheduleEntry, ModelEntry, StrategyEntry};
pub use schedule::{ConstantOptions, ListOptions, MaskSchedule, RampOptions};
pub use select::{Change, HostSelector, Order, Selector};
pub use sparsity::Sparsity;
pub use strategy::*;

#[doc(hidden)]
pub mod __private {
    pub use inventory;
    pub use serde;
    pub use toml;
}
