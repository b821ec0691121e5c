//! Masks, plans and the four traits of Lopper.
//!
//! A [`Model`], a [`Dataset`], a [`PruningStrategy`] and a [`MaskSchedule`] are plugins; this crate knows none by name.
//! It opens no file, reads no clock, and starts no thread it does not join.

mod allocation;
mod bits;
mod dataset;
mod error;
mod layout;
mod mask;
mod mask_file;
mod model;
mod options;
mod parameters;
mod pattern;
mod plan;
mod random;
pub mod registry;
mod request;
mod schedule;
mod select;
mod sparsity;
mod stage;
mod strategy;
mod view;

pub use allocation::Allocation;
pub use bits::{pack_bits, pack_bits_into};
pub use dataset::*;
pub use error::{Cause, Error, Result, nearest};
pub use layout::{Layout, TensorLayout};
pub use mask::*;
pub use mask_file::*;
pub use model::*;
pub use options::{OptionDoc, parse_leniently};
pub use parameters::{Parameter, ParameterName, Parameters, Role};
pub use pattern::Pattern;
pub use plan::*;
pub use registry::{DatasetEntry, MaskScheduleEntry, ModelEntry, StrategyEntry};
pub use request::{Quota, Request};
pub use schedule::{ConstantOptions, ListOptions, MaskSchedule, RampOptions};
pub use select::{Change, HostSelector, Order, Selector};
pub use sparsity::Sparsity;
pub use stage::*;
pub use strategy::*;
pub use view::*;

#[doc(hidden)]
pub mod __private {
    pub use crate::options::{parse_option, parse_options};
    pub use {inventory, toml};
}
