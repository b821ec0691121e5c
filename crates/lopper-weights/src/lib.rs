//! Reads and writes checkpoints.
