//! Masks, plans and the four traits of Lopper.
//!
//! A [`Model`], a [`Dataset`], a [`PruningStrategy`] and a [`MaskSchedule`] are plugins; this crate knows none by name.
//! It opens no file, reads no clock, and starts no thread it does not join.

mod data;
mod dataset;
mod error;
mod model;
mod next_mask;
mod options;
mod parameters;
mod plan;
pub mod registry;
mod schedule;
mod scores;
mod select;
mod stage;
mod strategy;
mod task;
mod tensors;
mod view;
mod weights;

pub use data::*;
pub use dataset::*;
pub use error::{Cause, Error, Result, nearest};
pub use lopper_mask::{
    Allocation, Among, Change, Comparison, Error as MaskError, HostSelector, Layout, MASK_METADATA_KEY, MaskOrigin,
    MaskSet, Order, ParameterName, Pattern, Quota, Request, Sparsity, TensorLayout, pack_bits, pack_bits_into,
};
pub use lopper_metrics::{Errors, Outcomes};
pub use model::*;
pub use options::{OptionDoc, parse_leniently};
pub use parameters::{Parameter, Parameters, Role};
pub use plan::*;
pub use schedule::{ConstantOptions, ListOptions, MaskSchedule, MaskScheduleEntry, RampOptions};
pub use scores::Scores;
pub use select::Selector;
pub use stage::*;
pub use strategy::*;
pub use task::*;
pub use tensors::MaskTensors;
pub use view::*;
pub use weights::*;

#[doc(hidden)]
pub mod __private {
    pub use crate::options::{parse_option, parse_options};
    pub use {inventory, toml};
}
