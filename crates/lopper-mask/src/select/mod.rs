//! Exact selection: which entries a mask of a given sparsity prunes.
//!
//! Exactly as many entries are pruned as a [`Request`](crate::Request) says, the ones with the smallest keys: over all tensors
//! together, of each tensor, or of each group of a pattern. Ties go by tensor order, then index. The mask does not depend on
//! the number of threads.

mod change;
mod chunk;
mod host;
mod key;
mod shaped;
mod sides;
mod threshold;
mod warm;

pub use change::Change;
pub use host::HostSelector;
pub use key::Order;
pub use threshold::{Threshold, locate};
pub use warm::{Bracket, Candidate, Settled, most_candidates, settle, width};
