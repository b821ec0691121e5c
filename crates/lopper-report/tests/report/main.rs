//! What the report says, beside what it was given. One program, so that it is linked once.
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod common;
mod curves;
mod masks;
mod page;
mod parse;
mod significance;
mod statistics;
