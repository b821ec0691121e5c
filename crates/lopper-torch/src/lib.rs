//! The C++ shim over libtorch, and everything unsafe about it.
