//! From a configuration to a run, in three steps: a *table* becomes a draft, which knows what is right and all that is
//! wrong; its `[train]` becomes a *recipe*; a draft without problems becomes an [`Experiment`], *resolved*: nothing after it
//! sees a name or a number out of range.

mod defaults;
mod further;
mod outline;
mod recipe;
mod resolved;
mod table;
mod target;
mod unfinetuned;
mod written;

pub use outline::Outline;
pub(crate) use outline::Outlined;
pub use resolved::Experiment;
pub(crate) use resolved::in_place_of;
