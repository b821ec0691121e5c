//! Laws of plans.

use crate::laws::{Broken, Law, holds};
use lopper_core::{
    Among, HeadStart, InitialMask, MaskScheduleEntry, PruningStrategy, RewindPoint, RunSpec, Sparsity, Stage, registry,
};

pub(super) const SPARSITIES: [f64; 9] = [0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0];
/// Prunable entries of a toy, an odd number, and of BERT-base: equal sparsities prune equally many of each.
const ENTRIES: [u64; 3] = [1280, 1_000_003, 85_524_480];

fn runs() -> Result<Vec<RunSpec>, Broken> {
    let mut runs = Vec::new();
    for sparsity in SPARSITIES {
        for updates in [1, 7, 100] {
            runs.push(crate::run_spec(Sparsity::new(sparsity)?, updates));
        }
    }
    Ok(runs)
}

/// Checks every plan that the strategy does not refuse; it must not refuse all.
pub(super) fn for_plans(
    open: &impl Fn() -> Box<dyn PruningStrategy>,
    check: impl Fn(&RunSpec, &[Stage]) -> Law,
) -> Law {
    let mut refusal = None;
    let mut planned = false;
    for run in runs()? {
        match open().plan(&run) {
            Err(error) => refusal = Some(error),
            Ok(stages) => {
                planned = true;
                check(&run, &stages).map_err(|Broken(why)| {
                    Broken(format!("at {} with {} updates: {why}", run.sparsity, run.updates))
                })?;
            }
        }
    }
    holds!(
        planned,
        "no sparsity of {SPARSITIES:?} is accepted: {}",
        refusal.map(|e| e.to_string()).unwrap_or_default()
    );
    Ok(())
}

pub(super) fn plan_is_pure(open: &impl Fn() -> Box<dyn PruningStrategy>) -> Law {
    let used = open();
    for run in runs()? {
        let plan = used.plan(&run);
        match (&plan, used.plan(&run), open().plan(&run)) {
            (Ok(first), Ok(again), Ok(fresh)) => {
                holds!(*first == again, "at {} a second plan differs from the first", run.sparsity);
                holds!(*first == fresh, "at {} a fresh strategy plans something else", run.sparsity);
            }
            (Err(_), Err(_), Err(_)) => {}
            _ => return Err(Broken(format!("at {} one plan is refused and another is not", run.sparsity))),
        }
    }
    Ok(())
}

/// Sparsity that a plan ends at; `None` where a mask file decides.
pub(super) fn walk(run: &RunSpec, stages: &[Stage]) -> Result<Option<Sparsity>, Broken> {
    holds!(!stages.is_empty(), "the plan has no stages");
    let mut sparsity = Some(Sparsity::DENSE);
    for (index, stage) in stages.iter().enumerate() {
        let name = &stage.name;
        holds!(!name.is_empty(), "stage {index} has no name");
        holds!(stages[..index].iter().all(|s| s.name != *name), "two stages are called {name}");
        holds!(stage.recipe.accumulate > 0, "{name} accumulates no micro-batches");
        holds!(
            stage.recipe.learning_rate.is_finite() && stage.recipe.learning_rate >= 0.0,
            "{name} trains at {}",
            stage.recipe.learning_rate
        );
        holds!(
            stage.snapshots.iter().all(|update| *update <= stage.updates),
            "{name} has {} updates and snapshots at {:?}",
            stage.updates,
            stage.snapshots
        );
        let ranked = match &stage.mask {
            InitialMask::Discover { on, .. } => Some(*on),
            _ => None,
        };
        if index == 0 {
            holds!(!stage.carry, "{name} is the first and carries on the state of a stage before it");
            holds!(stage.mask != InitialMask::Keep, "{name} is the first and keeps the mask of a stage before it");
            holds!(stage.head == HeadStart::Rewound, "{name} is the first and takes the head of a stage before it");
        }
        for point in [Some(stage.weights), ranked].into_iter().flatten() {
            match point {
                RewindPoint::Pretrained => {}
                RewindPoint::Current => {
                    holds!(index > 0, "{name} is the first and needs the weights of a stage before it")
                }
                RewindPoint::Update(update) => holds!(
                    index > 0 && (update == 0 || stages[0].snapshots.contains(&update)),
                    "{name} rewinds to update {update}; the first stage keeps {:?}",
                    stages[0].snapshots
                ),
            }
        }
        let before = sparsity;
        sparsity = match &stage.mask {
            InitialMask::Dense => Some(Sparsity::DENSE),
            InitialMask::Keep => before,
            InitialMask::Discover { sparsity, among: Among::Survivors, .. } => {
                holds!(
                    before.is_none_or(|before| before <= *sparsity),
                    "{name} ranks survivors of {before:?} for {sparsity}, which is fewer pruned entries"
                );
                Some(*sparsity)
            }
            InitialMask::Discover { sparsity, .. } | InitialMask::Random { sparsity, .. } => Some(*sparsity),
            InitialMask::Load(_) => None,
        };
        if let Some(spec) = &stage.schedule {
            let schedule = (registry::find::<MaskScheduleEntry>(&spec.name)?.open)(&spec.options)?;
            for target in (1..=stage.updates).filter_map(|update| schedule.target(update, stage.updates)) {
                holds!(
                    stage.re_ranks_among() == Among::All || sparsity.is_none_or(|before| before <= target),
                    "{name} has a hard mask of {sparsity:?} and shall go back to {target}"
                );
                sparsity = Some(target);
            }
        }
    }
    holds!(run.updates == 0 || stages.iter().any(Stage::is_finetuning), "nothing is trained");
    Ok(sparsity)
}

pub(super) fn ends_at_target(run: &RunSpec, stages: &[Stage]) -> Law {
    let Some(sparsity) = walk(run, stages)? else { return Ok(()) };
    for entries in ENTRIES {
        let (found, wanted) = (sparsity.pruned_of(entries), run.sparsity.pruned_of(entries));
        holds!(found == wanted, "of {entries} entries the plan prunes {found} and not {wanted}");
    }
    Ok(())
}

pub(super) fn survives_json(stages: &[Stage]) -> Law {
    let text = serde_json::to_string(stages)?;
    let read: Vec<Stage> = serde_json::from_str(&text)?;
    holds!(read == stages, "{text} is read back as {read:?}");
    Ok(())
}
