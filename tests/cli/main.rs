//! The command line as a user meets it: the built program on tiny models and data.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod bad_input;
mod checkpoints;
mod commands;
mod crash;
mod disk;
mod figures;
mod fixture;
mod golden;
mod label_order;
mod masks;
mod masks_of_others;
mod paper;
mod phones;
mod runs;
mod speech;
mod speech_kinds;
mod start;
mod stop;
mod submit;
mod sweeps;
mod sweeps_crash;
mod tensorboard;
mod two_runs;
