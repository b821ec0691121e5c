//! The nine GLUE tasks and their metrics.
