//! BERT encoder and task heads.
