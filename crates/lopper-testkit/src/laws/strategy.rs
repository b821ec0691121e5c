//! The laws of pruning strategies.

use super::{Broken, Law, bits, deep_copy, for_all, holds, law};
use lopper_core::{
    Among, Error, HeadStart, InitialMask, Layout, MaskScheduleEntry, MaskSet, ParameterName, PrunableWeight,
    PrunedWeights, PruningStrategy, Ranking, Result, RewindPoint, RunSpec, Scores, Selector, Sparsity, Stage,
    StrategyState, WeightView, registry,
};
use proptest::prelude::*;
use std::sync::Arc;
use tch::Tensor;

const CASES: u32 = 1000;
const SPARSITIES: [f64; 9] = [0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 1.0];
/// Prunable entries of a toy, an odd number, and of BERT-base: equal sparsities prune equally many of each.
const ENTRIES: [u64; 3] = [1280, 1_000_003, 85_524_480];

/// Everything that the core and the session rely on in a [`PruningStrategy`]. `open` makes it with one set of options;
/// call the suite once for each set that matters.
///
/// 1. A plan is pure: equal for equal runs, whatever was done in between, and refused rather than wrong.
/// 2. Stages refer to what exists: the first needs no stage before it, rewind points are snapshots of the first,
///    schedules are registered, hard masks only shrink.
/// 3. A plan ends at exactly the target sparsity.
/// 4. Stages survive JSON.
/// 5. Masks have exactly round(sparsity · n) pruned entries, nest among survivors, are the same for equal weights and
///    history, and are the core's where [`Ranking::Magnitude`] is promised; weights and gradients are only read. 1000
///    random cases, with ties, zeros, empty tensors and scalars.
/// 6. NaN and infinities are refused by name when magnitudes are ranked, and never panic.
/// 7. A strategy that is restored from its state goes on as if nothing had happened.
///
/// # Panics
/// When a law is broken, with its name and the smallest case found that breaks it.
pub fn strategy(open: impl Fn() -> Box<dyn PruningStrategy>) {
    let _one_thread = OneThread::new();
    law("a plan is pure", || plan_is_pure(&open));
    law("stages refer to what exists", || for_plans(&open, |run, stages| walk(run, stages).map(drop)));
    law("a plan ends at exactly the target sparsity", || for_plans(&open, ends_at_target));
    law("stages survive JSON", || for_plans(&open, |_, stages| survives_json(stages)));
    for_all("masks are exact, nested and deterministic", CASES, case(), |case| masks(&open, &case));
    let poison = prop::sample::select(vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    for_all(
        "what is not finite is refused",
        CASES,
        (case(), poison, any::<prop::sample::Index>()),
        |(case, poison, at)| refuses_non_finite(&open, case, poison, at),
    );
    for_all("a restored strategy goes on as if nothing had happened", CASES / 4, case(), |case| restores(&open, &case));
    law("a foreign state does not panic", || {
        let mut state = StrategyState::default();
        state.tensors.insert("no such tensor".into(), Tensor::f_from_slice(&[1f32])?);
        state.text.insert("no such text".into(), "?".into());
        // Refused or ignored: both are sound.
        let _ = open().load_state(state);
        Ok(())
    });
}

/// While it lives, libtorch uses one thread: on tensors this small, several spend their time waiting for each other.
struct OneThread {
    before: i32,
}

impl OneThread {
    fn new() -> Self {
        let before = tch::get_num_threads();
        tch::set_num_threads(1);
        Self { before }
    }
}

impl Drop for OneThread {
    fn drop(&mut self) {
        tch::set_num_threads(self.before);
    }
}

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
fn for_plans(open: &impl Fn() -> Box<dyn PruningStrategy>, check: impl Fn(&RunSpec, &[Stage]) -> Law) -> Law {
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

fn plan_is_pure(open: &impl Fn() -> Box<dyn PruningStrategy>) -> Law {
    let mut used = open();
    let weights = Weights::new(&[vec![3, 4]], &[(0..12).map(|i| i as f32 - 6.0).collect()])?;
    for run in runs()? {
        let before = used.state();
        let plan = used.plan(&run);
        same_state(&before, &used.state())
            .map_err(|Broken(why)| Broken(format!("planning changes the state: {why}")))?;
        weights.feed(used.as_mut(), &[vec![vec![0.5; 12]]], 0)?;
        let _ = used.next_mask(
            &weights.view(1, None, true)?,
            &MaskSet::dense(weights.layout.clone()),
            run.sparsity,
            Among::All,
        );
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
fn walk(run: &RunSpec, stages: &[Stage]) -> Result<Option<Sparsity>, Broken> {
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
                    stage.pruned != PrunedWeights::Frozen || sparsity.is_none_or(|before| before <= target),
                    "{name} has a hard mask of {sparsity:?} and shall go back to {target}"
                );
                sparsity = Some(target);
            }
        }
    }
    holds!(run.updates == 0 || stages.iter().any(Stage::is_finetuning), "nothing is trained");
    Ok(sparsity)
}

fn ends_at_target(run: &RunSpec, stages: &[Stage]) -> Law {
    let Some(sparsity) = walk(run, stages)? else { return Ok(()) };
    for entries in ENTRIES {
        let (found, wanted) = (sparsity.pruned_of(entries), run.sparsity.pruned_of(entries));
        holds!(found == wanted, "of {entries} entries the plan prunes {found} and not {wanted}");
    }
    Ok(())
}

fn survives_json(stages: &[Stage]) -> Law {
    let text = serde_json::to_string(stages)?;
    let read: Vec<Stage> = serde_json::from_str(&text)?;
    holds!(read == stages, "{text} is read back as {read:?}");
    Ok(())
}

/// Prunable weights on the CPU.
struct Weights {
    layout: Arc<Layout>,
    tensors: Vec<Tensor>,
}

impl Weights {
    fn new(shapes: &[Vec<u64>], values: &[Vec<f32>]) -> Result<Self, Broken> {
        let named = shapes.iter().enumerate().map(|(i, s)| (ParameterName::new(format!("w{i}")), s.clone()));
        let layout = Arc::new(Layout::new(named)?);
        Ok(Self { tensors: tensors(&layout, values)?, layout })
    }

    /// `host` gives the weights as slices too, as on a CPU; without, as on a GPU.
    fn view(&self, update: u64, gradients: Option<Vec<Tensor>>, host: bool) -> Result<WeightView<'_>, Broken> {
        let mut gradients = gradients.map(Vec::into_iter);
        let weights = self.layout.tensors().iter().zip(&self.tensors).map(|(layout, tensor)| PrunableWeight {
            name: layout.name(),
            tensor,
            host: host.then(|| lopper_torch::host_slice(tensor)).flatten(),
            gradient: gradients.as_mut().and_then(Iterator::next),
        });
        Ok(WeightView::new(&self.layout, weights.collect(), update))
    }

    /// Shows the strategy one backward pass after another, if it wants to see them. `from` counts finished updates.
    fn feed(&self, strategy: &mut dyn PruningStrategy, gradients: &[Vec<Vec<f32>>], from: u64) -> Law {
        if !strategy.wants_gradients() {
            return Ok(());
        }
        for (index, values) in gradients.iter().enumerate() {
            let shown = tensors(&self.layout, values)?;
            let copies = shown.iter().map(Tensor::shallow_clone).collect();
            let last = index + 1 == gradients.len();
            strategy.after_backward(&self.view(from + index as u64, Some(copies), true)?, last)?;
            for (shown, values) in shown.iter().zip(values) {
                holds!(same_bits(&bits(shown)?, values), "after_backward writes into the gradients");
            }
        }
        Ok(())
    }
}

fn tensors(layout: &Layout, values: &[Vec<f32>]) -> Result<Vec<Tensor>, Broken> {
    let pairs = layout.tensors().iter().zip(values);
    pairs
        .map(|(tensor, values)| {
            let shape: Vec<i64> = tensor.shape().iter().map(|d| *d as i64).collect();
            Ok(Tensor::f_from_slice(values)?.f_reshape(shape)?)
        })
        .collect()
}

fn same_bits(found: &[u32], values: &[f32]) -> bool {
    found.iter().copied().eq(values.iter().map(|v| v.to_bits()))
}

#[derive(Debug, Clone)]
struct Case {
    shapes: Vec<Vec<u64>>,
    weights: Vec<Vec<f32>>,
    /// Of each update, of each tensor.
    gradients: Vec<Vec<Vec<f32>>>,
    target: Sparsity,
    /// Share of the target's pruned entries that the current mask prunes already.
    before: f64,
    among: Among,
    seed: u64,
}

impl Case {
    fn weights(&self) -> Result<Weights, Broken> {
        Weights::new(&self.shapes, &self.weights)
    }

    fn current(&self, layout: &Arc<Layout>) -> Result<MaskSet, Broken> {
        let sparsity = Sparsity::new(self.target.get() * self.before)?;
        Ok(MaskSet::random(layout.clone(), sparsity, self.seed))
    }
}

fn case() -> impl Strategy<Value = Case> {
    let shape = prop_oneof![
        1 => Just(vec![]),
        3 => prop::collection::vec(0u64..30, 1),
        6 => prop::collection::vec(0u64..10, 2),
    ];
    let target = prop_oneof![Just(0.0), Just(1.0), Just(0.5), 0.0..=1.0f64];
    let before = prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0f64];
    let among = prop::sample::select(vec![Among::All, Among::Survivors]);
    prop::collection::vec(shape, 1..5).prop_flat_map(move |shapes| {
        let lengths: Vec<usize> = shapes.iter().map(|s| s.iter().product::<u64>() as usize).collect();
        let gradient: Vec<_> = lengths.iter().map(|n| prop::collection::vec(-1.0f32..1.0, *n)).collect();
        let weights: Vec<_> = lengths.iter().map(|n| prop::collection::vec(weight(), *n)).collect();
        let gradients = prop::collection::vec(gradient, 1..4);
        (Just(shapes), weights, gradients, target.clone(), before.clone(), among.clone(), any::<u64>()).prop_filter_map(
            "a sparsity",
            |(shapes, weights, gradients, target, before, among, seed)| {
                let target = Sparsity::new(target).ok()?;
                Some(Case { shapes, weights, gradients, target, before, among, seed })
            },
        )
    })
}

/// Ties, both zeros, subnormal and large numbers; small enough that products of a few do not overflow.
fn weight() -> impl Strategy<Value = f32> {
    prop_oneof![
        prop::sample::select(vec![0.0f32, -0.0, 0.25, -0.25, 1.0, -1.0]),
        -2.0f32..2.0,
        prop::sample::select(vec![1e-40f32, -1e-40, 1e9, -1e9]),
    ]
}

fn masks(open: &impl Fn() -> Box<dyn PruningStrategy>, case: &Case) -> Law {
    let weights = case.weights()?;
    let current = case.current(&weights.layout)?;
    let rank = |host: bool| -> Result<MaskSet, Broken> {
        let mut strategy = open();
        weights.feed(strategy.as_mut(), &case.gradients, 0)?;
        let view = weights.view(case.gradients.len() as u64, None, host)?;
        Ok(strategy.next_mask(&view, &current, case.target, case.among)?)
    };
    let mask = rank(true)?;
    holds!(mask.layout() == &weights.layout, "the mask is of another layout");
    let (pruned, wanted) = (mask.pruned(), case.target.pruned_of(weights.layout.entries()));
    holds!(pruned == wanted, "{pruned} of {} entries are pruned, not {wanted}", weights.layout.entries());
    if case.among == Among::Survivors {
        let revived = mask.difference(&current)?.kept();
        holds!(revived == 0, "{revived} entries come back among survivors");
    }
    holds!(rank(true)? == mask, "equal weights and history give another mask");
    holds!(rank(false)? == mask, "weights that are no host slice give another mask");
    for (tensor, values) in weights.tensors.iter().zip(&case.weights) {
        holds!(same_bits(&bits(tensor)?, values), "the weights are written to");
    }
    if open().ranking() == Ranking::Magnitude {
        let view = weights.view(0, None, true)?;
        let magnitude = Selector::new().select(&view, &Scores::Magnitude, &current, case.target, case.among)?;
        holds!(mask == magnitude, "Ranking::Magnitude is promised, and the mask is not that of the magnitudes");
    }
    // The share that is pruned already is above the new target: nothing among survivors can be exact.
    if case.among == Among::Survivors && current.pruned() > 0 {
        let view = weights.view(case.gradients.len() as u64, None, true)?;
        let mut strategy = open();
        weights.feed(strategy.as_mut(), &case.gradients, 0)?;
        let result = strategy.next_mask(&view, &current, Sparsity::DENSE, Among::Survivors);
        holds!(result.is_err(), "survivors of {} are ranked for sparsity 0, and nobody complains", current.sparsity());
    }
    Ok(())
}

fn refuses_non_finite(
    open: &impl Fn() -> Box<dyn PruningStrategy>,
    mut case: Case,
    poison: f32,
    at: prop::sample::Index,
) -> Law {
    let places: Vec<(usize, usize)> =
        case.weights.iter().enumerate().flat_map(|(i, w)| (0..w.len()).map(move |j| (i, j))).collect();
    if places.is_empty() {
        return Ok(());
    }
    let (tensor, index) = *at.get(&places);
    let mut strategy = open();
    let magnitudes = strategy.ranking() == Ranking::Magnitude;
    if magnitudes {
        case.weights[tensor][index] = poison;
    } else {
        case.gradients[0][tensor][index] = poison;
    }
    let weights = case.weights()?;
    let entries = weights.layout.entries();
    let dense = MaskSet::dense(weights.layout.clone());
    let fed = weights.feed(strategy.as_mut(), &case.gradients, 0);
    let result = strategy.next_mask(&weights.view(0, None, true)?, &dense, case.target, Among::All);
    match result {
        // Scores of a strategy's own need not look at what is not finite, but masks stay exact.
        Ok(mask) if !magnitudes => holds!(mask.pruned() == case.target.pruned_of(entries), "the mask is not exact"),
        Ok(_) => return Err(Broken(format!("{poison} at w{tensor}[{index}] is ranked"))),
        Err(_) if !magnitudes => {}
        Err(Error::NonFinite { tensor: name, index: place, .. }) => {
            fed?;
            holds!(
                name == format!("w{tensor}") && place == index as u64,
                "{poison} at w{tensor}[{index}] is reported at {name}[{place}]"
            );
        }
        Err(other) => return Err(Broken(format!("{poison} is refused, but not as NonFinite: {other}"))),
    }
    Ok(())
}

fn restores(open: &impl Fn() -> Box<dyn PruningStrategy>, case: &Case) -> Law {
    let weights = case.weights()?;
    let current = case.current(&weights.layout)?;
    let (first, rest) = case.gradients.split_at(case.gradients.len() / 2);
    let mut kept = open();
    weights.feed(kept.as_mut(), first, 0)?;
    let mut restored = open();
    restored.load_state(copy(&kept.state())?)?;
    same_state(&kept.state(), &restored.state())?;
    let done = first.len() as u64;
    let rank = |strategy: &mut dyn PruningStrategy| -> Result<MaskSet, Broken> {
        weights.feed(strategy, rest, done)?;
        let view = weights.view(done + rest.len() as u64, None, true)?;
        Ok(strategy.next_mask(&view, &current, case.target, case.among)?)
    };
    let (of_kept, of_restored) = (rank(kept.as_mut())?, rank(restored.as_mut())?);
    holds!(of_kept == of_restored, "its next mask differs in {} entries", of_kept.difference(&of_restored)?.kept());
    same_state(&kept.state(), &restored.state())
}

/// As a checkpoint does it: nothing is shared with the strategy.
fn copy(state: &StrategyState) -> Result<StrategyState, Broken> {
    let tensors = state.tensors.iter().map(|(name, tensor)| Ok((name.clone(), deep_copy(tensor)?)));
    Ok(StrategyState { tensors: tensors.collect::<Result<_, Broken>>()?, text: state.text.clone() })
}

fn same_state(a: &StrategyState, b: &StrategyState) -> Law {
    holds!(a.text == b.text, "text {:?} is now {:?}", a.text, b.text);
    holds!(a.tensors.keys().eq(b.tensors.keys()), "other tensors than before");
    for ((name, a), b) in a.tensors.iter().zip(b.tensors.values()) {
        holds!(a.size() == b.size() && a.kind() == b.kind(), "`{name}` has another shape or kind");
        holds!(bits(a)? == bits(b)?, "`{name}` has other values");
    }
    Ok(())
}
