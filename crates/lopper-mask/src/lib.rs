//! Masks: one bit for every prunable entry of a model, 1 = kept.
//!
//! [`MaskSet`] holds them, [`Layout`] says of which tensors, and mask files carry both. [`HostSelector`] makes the mask of a
//! given [`Sparsity`] from plain slices; [`Request`] says among which entries, spread how and in which pattern. Nothing here
//! needs libtorch, opens a file, reads a clock, or starts a thread that it does not join.
//!
//! # Reading and comparing mask files
//! ```
//! use lopper_mask::{Layout, MaskOrigin, MaskSet, ParameterName, Sparsity};
//! # use std::sync::Arc;
//! # let folder = tempfile::tempdir()?;
//! # let paths = ["cola", "mrpc"].map(|task| folder.path().join(task));
//! # let named = [("encoder.query.weight", vec![8, 8]), ("encoder.key.weight", vec![8, 8])];
//! # let layout = Arc::new(Layout::new(named.map(|(name, shape)| (ParameterName::new(name), shape)))?);
//! # for (path, seed) in paths.iter().zip(0..) {
//! #     let mask = MaskSet::random(layout.clone(), Sparsity::new(0.5)?, seed);
//! #     std::fs::write(path, mask.to_file_bytes(&MaskOrigin::from([("task".into(), "cola".into())]))?)?;
//! # }
//!
//! // Such as runs/cola/model/mask.safetensors.
//! let (cola, origin) = MaskSet::from_file_bytes(&std::fs::read(&paths[0])?)?;
//! let (mrpc, _) = MaskSet::from_file_bytes(&std::fs::read(&paths[1])?)?;
//! println!("{origin:?}: {} of {} entries are pruned", cola.pruned(), cola.layout().entries());
//! for (name, entries, kept, sparsity) in cola.tensors() {
//!     println!("{name}: {kept} of {entries} kept, sparsity {sparsity}");
//! }
//! let alike = cola.compare(&mrpc)?;
//! println!("IOU {:.3}, agreement {:.3}", alike.iou, alike.agreement);
//! let shared = cola.intersection(&mrpc)?;
//! assert_eq!(shared.kept(), alike.both);
//! # assert_eq!(origin["task"], "cola");
//! # assert_eq!(cola.sparsity().get(), 0.5);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Making a mask
//! ```
//! use lopper_mask::{HostSelector, Layout, MaskSet, Order, Request, Sparsity};
//! # use std::sync::Arc;
//!
//! let layout = Arc::new(Layout::new([("query".into(), vec![2, 2]), ("key".into(), vec![2])])?);
//! let (query, key) = ([0.1f32, -3.0, 0.2, 0.7], [-0.4f32, 5.0]);
//! let mut mask = MaskSet::dense(layout);
//! let half = Request::global(Sparsity::new(0.5)?);
//! HostSelector::new().select_as(&[&query, &key], Order::Magnitude, &mut mask, &half)?;
//! assert_eq!(mask.to_bytes(0), [0, 1, 0, 1]);
//! assert_eq!(mask.to_bytes(1), [0, 1]);
//! # Ok::<(), lopper_mask::Error>(())
//! ```

mod allocation;
mod bits;
mod error;
mod fit;
mod layout;
mod mask;
mod mask_file;
mod name;
mod pattern;
mod random;
mod request;
mod select;
mod sparsity;

pub use allocation::Allocation;
pub use bits::{LANES, WORD, pack_bits, pack_bits_into};
pub use error::{Cause, Error, Result};
pub use fit::FittedMask;
pub use layout::{Layout, TensorLayout};
pub use mask::{Comparison, MaskSet};
pub use mask_file::{MASK_METADATA_KEY, MaskOrigin};
pub use name::ParameterName;
pub use pattern::Pattern;
pub use request::{Among, Quota, Request};
pub use select::{Change, HostSelector, Order};
pub use sparsity::Sparsity;

/// What a selector for other memory is made of, such as that of a GPU: the mask that it makes is then the one of
/// [`HostSelector`], to the bit.
///
/// Numbers are ranked by their [keys](Order::key). Counting them digit by digit and [`locate`](ranking::locate) give the
/// [`Threshold`](ranking::Threshold). Where a mask of the same sparsity is made again, few entries lie within the
/// [`Bracket`](ranking::Bracket) that the last threshold gives, and [`settle`](ranking::settle) ranks those alone.
pub mod ranking {
    pub use crate::select::{Bracket, Candidate, Settled, Threshold, locate, most_candidates, settle, width};
}
