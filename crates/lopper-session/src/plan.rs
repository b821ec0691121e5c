//! The stages of a run, checked and identified before anything is trained.

use crate::identity::{Surroundings, mask_hash, stage_key};
use crate::store::read_mask;
use crate::weights::Weights;
use crate::{RunIdentity, StageStore};
use lopper_core::{Error, InitialMask, Result, RewindPoint, RunSpec, Stage};

/// A planned stage and what is known of its result.
#[derive(Debug, Clone)]
pub struct PlannedStage {
    /// What will be done.
    pub stage: Stage,
    /// Its identity, in hexadecimal.
    pub key: String,
    /// Updates after which its weights are kept: its own wishes, and for the first stage what later ones rewind to.
    pub snapshots: Vec<u64>,
    /// Whether its method's state is kept, because the next stage goes on from it.
    pub hands_on: bool,
    /// Whether the store holds its result.
    pub done: bool,
    /// Its identity, but for versions and the kind of device.
    pub(crate) versionless: String,
}

/// The stages with their identities, and whether the store holds them.
///
/// # Errors
/// A mask file that cannot be read, a schedule that no plugin has.
pub(crate) fn identify(
    stages: &[Stage],
    surroundings: &Surroundings,
    identity: &RunIdentity,
    store: &StageStore,
) -> Result<Vec<PlannedStage>> {
    let without_versions = surroundings.without_versions();
    let mut plan: Vec<PlannedStage> = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let mask_file = mask_hash(stage)?;
        let hands_on = hands_on(stages, index);
        let key = |surroundings: &Surroundings, key_of: fn(&PlannedStage) -> &str| {
            let previous = plan.last().map(key_of);
            let rewind_source = plan.first().filter(|_| rewinds(stage).is_some()).map(key_of);
            stage_key(surroundings, stage, mask_file.as_deref(), previous, rewind_source, identity, hands_on)
        };
        let versionless = key(&without_versions, |planned| &planned.versionless)?;
        let key = key(surroundings, |planned| &planned.key)?;
        let snapshots = needed_snapshots(stages, index);
        let done = store.find(&key, &snapshots).is_some();
        plan.push(PlannedStage { stage: stage.clone(), key, snapshots, hands_on, done, versionless });
    }
    Ok(plan)
}

/// Refuses plans that cannot be run, before anything is trained; all problems at once.
pub(crate) fn check(stages: &[Stage], spec: &RunSpec, weights: &Weights) -> Result<()> {
    let mut problems = Vec::new();
    if stages.is_empty() {
        problems.push(Error::Other("the strategy planned no stages".into()));
    }
    for (index, stage) in stages.iter().enumerate() {
        if let InitialMask::Load(path) = &stage.mask {
            match read_mask(path) {
                Err(e) => problems.push(e),
                Ok(mask) => {
                    if let Err(e) =
                        mask.layout().check_same(weights.layout(), &format!("{} and the model", path.display()))
                    {
                        problems.push(e);
                    } else if stage.schedule.is_none() && index + 1 == stages.len() {
                        let wanted = spec.sparsity.pruned_of(weights.layout().entries());
                        if mask.pruned() != wanted {
                            problems.push(Error::invalid(
                                "prune.sparsity",
                                spec.sparsity,
                                format!("{} is the sparsity of {}", mask.sparsity(), path.display()),
                            ));
                        }
                    }
                }
            }
        }
        if let Some(update) = rewinds(stage)
            && stages.first().is_none_or(|first| index == 0 || update > first.updates)
        {
            problems.push(Error::Other(format!(
                "stage {} rewinds to update {update}, which no stage before it has",
                stage.name
            )));
        }
        if let Err(error) = stage.check(weights.layout()) {
            problems.push(error);
        }
        if stage.carry && index == 0 {
            problems.push(Error::Stage {
                stage: stage.name.clone(),
                problem: Box::new(Error::invalid("carry", true, "only for a stage that follows another")),
            });
        }
        if stage.recipe.accumulate == 0 {
            problems.push(Error::invalid("train.accumulate", 0, "micro-batches an update, from 1 up"));
        }
    }
    Error::all(problems)
}

/// Whether the stage after `index` goes on from the state of its method.
fn hands_on(stages: &[Stage], index: usize) -> bool {
    stages.get(index + 1).is_some_and(|next| next.carry)
}

/// The update of the first stage that a stage starts from or ranks.
fn rewinds(stage: &Stage) -> Option<u64> {
    let ranked = match &stage.mask {
        InitialMask::Discover { on, .. } => Some(*on),
        _ => None,
    };
    [Some(stage.weights), ranked].into_iter().flatten().find_map(|point| match point {
        RewindPoint::Update(update) => Some(update),
        RewindPoint::Pretrained | RewindPoint::Current => None,
    })
}

/// Snapshots that stage `index` must leave: its own, and for the first what later stages rewind to.
fn needed_snapshots(stages: &[Stage], index: usize) -> Vec<u64> {
    let mut updates = stages[index].snapshots.clone();
    if index == 0 {
        updates.extend(stages.iter().filter_map(rewinds));
    }
    updates.retain(|update| *update > 0);
    updates.sort_unstable();
    updates.dedup();
    updates
}
