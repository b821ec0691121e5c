//! The stages of a run, checked and identified before anything is trained.

use crate::identity::{Before, StartContent, Surroundings, mask_content, plan_key, training_key};
use crate::weights::Weights;
use crate::{RunIdentity, StageStore};
use lopper_core::{
    Among, Error, HeadStart, InitialMask, MaskSet, Model, RandomKind, Result, RewindPoint, RunSpec, Sparsity, Stage,
};
use lopper_weights::GivenMask;
use std::path::Path;
use std::sync::Arc;

/// A planned stage and what is known of its result.
#[derive(Debug, Clone)]
pub struct PlannedStage {
    /// What will be done.
    pub stage: Stage,
    /// Its plan key, in hexadecimal: the hash of all that its result depends on, as far as that is known before anything is
    /// trained.
    pub key: String,
    /// The key under which its result lies or will lie, once what it starts from is known.
    pub training_key: Option<String>,
    /// Updates after which its weights are kept: its own wishes, and for the first stage what later ones rewind to.
    pub snapshots: Vec<u64>,
    /// Whether its method's state is kept, because the next stage goes on from it.
    pub hands_on: bool,
    /// Whether nothing of it is to be trained any more.
    pub done: bool,
    /// Its plan key, but for versions of plugins and the kind of device.
    pub(crate) versionless: String,
    /// The mask that it loads: read once, so that a file that changes later changes nothing.
    pub(crate) loaded: Option<Arc<MaskSet>>,
}

/// What a given mask may differ by from a sparsity that is given beside it, as a share of all entries. Other tools round tensor
/// by tensor, or round after round; a run asks for no more than a few digits.
const ROUNDED: f64 = 1e-3;

/// Whom stages are identified for.
pub(crate) struct Identification<'a> {
    pub(crate) surroundings: &'a Surroundings,
    pub(crate) identity: &'a RunIdentity,
    /// Hash of theta_0 with its fresh head.
    pub(crate) pretrained: &'a str,
    pub(crate) weights: &'a Weights,
    /// Whose names given masks are read by.
    pub(crate) model: &'a dyn Model,
    pub(crate) store: &'a StageStore,
}

impl Identification<'_> {
    /// The stages with their keys. None is marked as done.
    ///
    /// # Errors
    /// Everything that keeps a plan from being run, together: a mask file that cannot be read or is of another model or
    /// sparsity, a schedule that no plugin has, rewind points that no stage has.
    pub(crate) fn identify(&self, stages: &[Stage], spec: &RunSpec) -> Result<Vec<PlannedStage>> {
        let loaded = check(stages, spec, self.weights, self.model)?;
        let without_versions = self.surroundings.without_versions();
        let mut plan: Vec<PlannedStage> = Vec::new();
        for (index, (stage, loaded)) in stages.iter().zip(loaded).enumerate() {
            let hands_on = hands_on(stages, index);
            let content = loaded.as_deref().map(mask_content).transpose()?;
            let key = |surroundings: &Surroundings, key_of: fn(&PlannedStage) -> &str| {
                let before = Before {
                    previous: plan.last().map(key_of),
                    rewind_source: plan.first().filter(|_| rewinds(stage).is_some()).map(key_of),
                    loaded: content.as_deref(),
                    pretrained: self.pretrained,
                };
                plan_key(surroundings, stage, &before, self.identity, hands_on)
            };
            let versionless = key(&without_versions, |planned| &planned.versionless)?;
            let key = key(self.surroundings, |planned| &planned.key)?;
            let snapshots = needed_snapshots(stages, index);
            let training_key = match self.store.resolve(&key) {
                Some(known) => Some(known),
                None => self.foreseen(stage, &key, content.as_deref(), hands_on)?,
            };
            plan.push(PlannedStage {
                stage: stage.clone(),
                key,
                training_key,
                snapshots,
                hands_on,
                done: false,
                versionless,
                loaded,
            });
        }
        Ok(plan)
    }

    /// The training key of a stage whose start is known without ranking or training anything.
    fn foreseen(&self, stage: &Stage, plan: &str, loaded: Option<&str>, hands_on: bool) -> Result<Option<String>> {
        if stage.weights != RewindPoint::Pretrained || stage.head != HeadStart::Rewound {
            return Ok(None);
        }
        let layout = self.weights.layout();
        let mask = match &stage.mask {
            InitialMask::Dense => mask_content(&MaskSet::dense(layout.clone()))?,
            InitialMask::Load(_) => match loaded {
                Some(content) => content.to_owned(),
                None => return Ok(None),
            },
            InitialMask::Random { kind: RandomKind::Uniform, sparsity, seed } => {
                mask_content(&MaskSet::random_as(layout.clone(), &stage.request(*sparsity, Among::All), *seed)?)?
            }
            InitialMask::Random { .. } | InitialMask::Discover { .. } | InitialMask::Keep => return Ok(None),
        };
        let start = StartContent { mask, weights: self.pretrained.to_owned() };
        training_key(self.surroundings, stage, plan, &start, self.identity, hands_on).map(Some)
    }
}

/// Refuses plans that cannot be run, before anything is trained; all problems at once. Returns the masks that stages load.
fn check(stages: &[Stage], spec: &RunSpec, weights: &Weights, model: &dyn Model) -> Result<Vec<Option<Arc<MaskSet>>>> {
    let mut problems = Vec::new();
    let mut loaded = Vec::new();
    if stages.is_empty() {
        problems.push(Error::Other("the strategy planned no stages".into()));
    }
    for (index, stage) in stages.iter().enumerate() {
        let mut mask = None;
        if let InitialMask::Load(path) = &stage.mask {
            let last = stage.schedule.is_none() && index + 1 == stages.len();
            match given(path, model, last.then_some(spec.sparsity)) {
                Ok(given) => mask = Some(Arc::new(given)),
                Err(e) => problems.push(e),
            }
        }
        loaded.push(mask);
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
    Error::all(problems)?;
    Ok(loaded)
}

/// The mask of a file as one of the model; what it needed for that is told. Where the run ends with it, `wanted` is the run's
/// sparsity, which must be the mask's but for rounding.
fn given(path: &Path, model: &dyn Model, wanted: Option<Sparsity>) -> Result<MaskSet> {
    let mask = GivenMask::read(path)?.told_for_model(model)?;
    let (entries, pruned) = (mask.layout().entries(), mask.pruned());
    let Some((wanted, asked)) = wanted.map(|sparsity| (sparsity.pruned_of(entries), sparsity)) else { return Ok(mask) };
    // Rounding one tensor after another is off by one in each.
    let rounded = (ROUNDED * entries as f64).max(mask.layout().tensors().len() as f64);
    let is = format!("{} prunes {pruned} of {entries} entries, {:.6}", path.display(), mask.sparsity().get());
    if pruned.abs_diff(wanted) as f64 > rounded {
        let turned = (entries - pruned).abs_diff(wanted) as f64 <= rounded;
        let hint =
            if turned { "; if 1 means pruned in it, `lopper mask convert --inverted` turns it round" } else { "" };
        let expected = format!("{is}: leave it out, and the mask is taken as it is{hint}");
        return Err(Error::invalid("prune.sparsity", asked, expected));
    }
    if pruned != wanted {
        tracing::warn!("{is}, where sparsity {asked} would be {wanted}: it is taken as it is");
    }
    Ok(mask)
}

/// Whether the stage after `index` goes on from the state of its method.
fn hands_on(stages: &[Stage], index: usize) -> bool {
    stages.get(index + 1).is_some_and(|next| next.carry)
}

/// The update of the first stage that a stage starts from or ranks.
pub(crate) fn rewinds(stage: &Stage) -> Option<u64> {
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
