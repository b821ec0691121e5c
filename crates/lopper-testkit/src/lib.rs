//! Toy model and data, and the laws every plugin must obey.
