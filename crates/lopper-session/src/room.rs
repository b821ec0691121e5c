//! The disk that a run needs, told before it begins.

use crate::needs::{Moment, SMALL, Sizes, Task, moments, size};
use crate::{PlannedStage, SessionSettings};
use lopper_core::{Error, Layout, Model, Result};
use lopper_weights::free_space;
use serde::Serialize;
use std::path::Path;

/// Bytes that a run will have on disk at the most, beyond what is there before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DiskNeeds {
    /// In the store, whose stages stay.
    pub store: u64,
    /// In the run's own directory, whose checkpoints go.
    pub out: u64,
    /// In both at the same moment: what a disk needs that holds both.
    pub together: u64,
}

impl DiskNeeds {
    pub(crate) fn of(model: &dyn Model, layout: &Layout, plan: &[PlannedStage], settings: &SessionSettings) -> Self {
        let moments = moments(&Sizes::of(model, layout), &Task::remaining(plan, settings));
        let most = |bytes: fn(&Moment) -> u64| moments.iter().map(bytes).max().unwrap_or(0);
        Self {
            store: most(|moment| moment.store),
            out: most(|moment| moment.out),
            together: most(|moment| moment.store.saturating_add(moment.out)),
        }
    }
}

/// Refuses a disk that cannot even hold the model that every run ends with: what is known before the data are read and the
/// run is planned.
///
/// # Errors
/// [`Error::File`] naming the directory, what is free and what is needed.
pub fn check_room_for_model(model: &dyn Model, out: &Path) -> Result<()> {
    let Some(free) = free_space(out)? else { return Ok(()) };
    let sizes = Sizes::of(model, &model.layout()?);
    holds(&sizes, out, free.bytes)
}

fn holds(sizes: &Sizes, out: &Path, free: u64) -> Result<()> {
    let needed = sizes.weights + sizes.mask + SMALL;
    if needed <= free {
        return Ok(());
    }
    let (free, needed) = (size(free), size(needed));
    let advice = "checkpoints come on top. Free some, or set run.out to a larger disk";
    Err(Error::file(out, format!("{free} are free and the run's model alone takes {needed}; {advice}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_without_room_for_the_model_is_refused() {
        let sizes = Sizes { weights: 400 << 20, trainable: 0, mask: 10 << 20 };
        let needed = 411 << 20;
        holds(&sizes, Path::new("runs/a"), needed).unwrap();
        let message = holds(&sizes, Path::new("runs/a"), needed - 1).unwrap_err().to_string();
        assert!(
            message.starts_with("runs/a: 411.0 MiB are free and the run's model alone takes 411.0 MiB; checkpoints"),
            "{message}"
        );
    }
}
