//! The pruning methods of the paper, one file each, and the dense baseline they are compared with.
//!
//! Every file holds a method's options, its plan and its registration. None trains or reads anything: a plan is data
//! that a session executes.

mod dense;
mod imp;
mod initial;
mod mpi;
mod omp;
mod parp;
mod parp_p;
mod reprune_interval;
mod rp;
mod transfer;

pub use dense::{Dense, DenseOptions};
pub use imp::{Imp, ImpOptions, Rounds};
pub use initial::Initial;
pub use mpi::{Mpi, MpiOptions};
pub use omp::{Omp, OmpOptions};
pub use parp::{Parp, ParpOptions};
pub use parp_p::{ParpP, ParpPOptions, StageInit};
pub use rp::{Rp, RpOptions};
pub use transfer::{Transfer, TransferOptions};
