//! Which finetunings a sweep's cells consist of, and which of them are one: from configurations alone.
//!
//! The keys here are made like those of `lopper-session`, with what is not known before anything is opened put symbolically:
//! theta_0 is the model's path and options, a mask that will be ranked is the rule by which it is. Two stages of one key here
//! are one stage there. The other way round it need not hold: two paths may lead to one checkpoint, two rules to one mask.

use crate::experiment::Outlined;
use lopper_core::{Among, Error, HeadStart, InitialMask, Result, RewindPoint, Scoring, Stage};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// One distinct stage.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// The hash by which it is known here.
    pub(crate) key: String,
    /// Its name in the plan of the first cell that has it.
    pub(crate) name: String,
    pub(crate) updates: u64,
    /// The cells that it is a stage of, by number.
    pub(crate) cells: Vec<usize>,
    /// The nodes whose weights it starts from or ranks, by number.
    pub(super) reads: BTreeSet<usize>,
    /// Updates after which stages of these cells want its weights.
    pub(super) points: BTreeSet<u64>,
}

/// What a cell's run comes to.
#[derive(Debug, Clone, PartialEq)]
struct Outcome {
    /// What stands for its final mask.
    mask: String,
    /// Finetunings before that mask is known, those of other cells that it takes masks from among them.
    until_mask: usize,
    /// Finetunings of the cell and of all that its masks need.
    alone: usize,
    /// Whether its final mask is all there is to it: nothing is trained under it.
    is_mask_alone: bool,
}

/// The stages of all cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Node>,
    /// The stages of each cell, in order, by number.
    pub(crate) of_cell: Vec<Vec<usize>>,
    /// Finetunings when every cell is run alone, with everything that its masks need. Cells that are there for their masks
    /// count with those that take them.
    pub(crate) naive: usize,
    /// Whether only the data tell how many updates stages have.
    pub(crate) in_epochs: bool,
}

impl Graph {
    /// The stages of cells with these outlines. `masks` are the files of other cells' masks that each one is given, with the
    /// cell's number, which is lower than its own.
    ///
    /// # Errors
    /// A stage that JSON cannot hold, which is a bug.
    pub(crate) fn of(cells: &[Outlined], masks: &[BTreeMap<&Path, usize>]) -> Result<Self> {
        let mut graph = Self::default();
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut taken: BTreeSet<usize> = BTreeSet::new();
        for (index, (cell, given)) in cells.iter().zip(masks).enumerate() {
            graph.in_epochs |= cell.in_epochs;
            taken.extend(given.values());
            let mut numbers: Vec<usize> = Vec::new();
            let (keys, mask) = keys(cell, |path| given.get(path).map(|source| outcomes[*source].mask.clone()))?;
            let stages = &cell.outline.stages;
            for (key, stage) in keys.into_iter().zip(stages) {
                let number = *known.entry(key.clone()).or_insert_with(|| {
                    let reads = reads(stage, &numbers);
                    graph.nodes.push(Node {
                        key,
                        name: stage.name.clone(),
                        updates: stage.updates,
                        cells: Vec::new(),
                        reads,
                        points: BTreeSet::new(),
                    });
                    graph.nodes.len() - 1
                });
                let node = &mut graph.nodes[number];
                if node.cells.last() != Some(&index) {
                    node.cells.push(index);
                }
                numbers.push(number);
            }
            let points = stages.iter().flat_map(points).filter_map(|point| match point {
                RewindPoint::Update(update) if update > 0 => Some(update),
                RewindPoint::Update(_) | RewindPoint::Current | RewindPoint::Pretrained => None,
            });
            if let Some(first) = numbers.first() {
                graph.nodes[*first].points.extend(points);
            }
            graph.of_cell.push(numbers);
            let sources: usize =
                given.values().collect::<BTreeSet<_>>().into_iter().map(|s| outcomes[*s].until_mask).sum();
            let finetunings = stages.iter().filter(|stage| stage.is_finetuning()).count();
            let last = stages.last().filter(|stage| stage.is_finetuning());
            let under_mask = usize::from(last.is_some_and(|stage| stage.schedule.is_none()));
            outcomes.push(Outcome {
                mask,
                until_mask: sources + finetunings - under_mask,
                alone: sources + finetunings,
                is_mask_alone: last.is_none(),
            });
        }
        let counts = |(index, outcome): &(usize, &Outcome)| !(outcome.is_mask_alone && taken.contains(index));
        graph.naive = outcomes.iter().enumerate().filter(counts).map(|(_, outcome)| outcome.alone).sum();
        Ok(graph)
    }

    /// The keys of a cell's stages.
    pub(crate) fn keys(&self, cell: usize) -> Vec<&str> {
        self.of_cell[cell].iter().map(|node| self.nodes[*node].key.as_str()).collect()
    }

    /// The stages of a cell, by their place in its plan, whose weights other cells still want: cells that are open. What the
    /// cell itself trains of theirs needs nothing any more when it is done.
    pub(crate) fn wanted_by(&self, open: &[usize], cell: usize) -> BTreeSet<usize> {
        let own = &self.of_cell[cell];
        let left = open.iter().flat_map(|other| &self.of_cell[*other]).filter(|node| !own.contains(node));
        let wanted: BTreeSet<usize> = left.flat_map(|node| self.nodes[*node].reads.iter().copied()).collect();
        let stages = own.iter().enumerate();
        stages.filter(|(_, node)| wanted.contains(node)).map(|(place, _)| place).collect()
    }

    /// Distinct finetunings.
    pub(crate) fn shared(&self) -> usize {
        self.nodes.iter().filter(|node| node.updates > 0).count()
    }
}

/// The weights that a stage starts from, and those that it ranks.
fn points(stage: &Stage) -> impl Iterator<Item = RewindPoint> {
    let ranked = match &stage.mask {
        InitialMask::Discover { on, .. } => Some(*on),
        _ => None,
    };
    [Some(stage.weights), ranked].into_iter().flatten()
}

/// The nodes whose weights a stage starts from or ranks, when those `before` it are these.
fn reads(stage: &Stage, before: &[usize]) -> BTreeSet<usize> {
    let Some(previous) = before.last() else { return BTreeSet::new() };
    let points = points(stage).filter_map(|point| match point {
        RewindPoint::Current => Some(*previous),
        RewindPoint::Update(update) if update > 0 => before.first().copied(),
        RewindPoint::Pretrained | RewindPoint::Update(_) => None,
    });
    points.chain((stage.head == HeadStart::Previous).then_some(*previous)).collect()
}

/// The keys of a cell's stages, and what stands for its final mask. `of_cell` tells what stands for the mask in a file that
/// another cell will leave.
fn keys(cell: &Outlined, of_cell: impl Fn(&Path) -> Option<String>) -> Result<(Vec<String>, String)> {
    let model = hash(&cell.model);
    let surroundings = hash(&json!({ "data": cell.data, "general": cell.general }));
    let strategy = hash(&cell.strategy);
    let dense = || hash(&json!("dense"));
    let pretrained = || hash(&json!({ "pretrained": model }));
    let stages = &cell.outline.stages;
    let mut keys: Vec<String> = Vec::new();
    // What stands for the mask at the end of each.
    let mut masks: Vec<String> = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let before = index.checked_sub(1);
        let mask_before = || before.map_or_else(dense, |before| masks[before].clone());
        let weights = |point: RewindPoint| match (point, before) {
            (RewindPoint::Current, Some(before)) => hash(&json!({ "end of": keys[before] })),
            (RewindPoint::Update(update), Some(_)) if update > 0 => hash(&json!({ "update": update, "of": keys[0] })),
            (RewindPoint::Pretrained | RewindPoint::Current | RewindPoint::Update(_), _) => pretrained(),
        };
        let ranked_by = || match stage.scoring {
            Scoring::Magnitude => Value::Null,
            _ => {
                json!({ "strategy": strategy, "calibration": stage.calibration, "way": keys, "around": surroundings })
            }
        };
        let start = match &stage.mask {
            InitialMask::Dense => dense(),
            InitialMask::Keep => mask_before(),
            InitialMask::Discover { sparsity, .. } | InitialMask::Random { sparsity, .. } if sparsity.get() == 0.0 => {
                dense()
            }
            InitialMask::Load(path) => of_cell(path).unwrap_or_else(|| hash(&json!({ "file": path }))),
            InitialMask::Random { .. } => hash(&json!({
                "drawn": stage.mask, "for": model, "allocation": stage.allocation, "pattern": stage.pattern,
            })),
            InitialMask::Discover { on, sparsity, among } => hash(&json!({
                "ranked": weights(*on),
                "among": if *among == Among::Survivors { mask_before() } else { dense() },
                "sparsity": sparsity, "allocation": stage.allocation, "pattern": stage.pattern, "by": ranked_by(),
            })),
        };
        let hands_on = stages.get(index + 1).is_some_and(|next| next.carry);
        let own = stage.depends_on_method() || hands_on;
        let key = hash(&json!({
            "model": model,
            "around": surroundings,
            "stage": stage.without_start(),
            "mask": start,
            "weights": weights(stage.weights),
            "head": (stage.head == HeadStart::Previous).then(|| before.map(|before| &keys[before])),
            "strategy": own.then_some(&strategy),
            "way": own.then_some(&keys),
        }));
        masks.push(if stage.schedule.is_some() { hash(&json!({ "mask of": key })) } else { start });
        keys.push(key);
    }
    let last = masks.pop().ok_or_else(|| Error::Other("the strategy planned no stages".into()))?;
    Ok((keys, last))
}

/// Keys of objects are sorted, so equal values are equal text.
fn hash(value: &Value) -> String {
    let mut hasher = blake3::Hasher::new();
    // Writing into a hasher cannot fail, and a value is always JSON.
    let _ = serde_json::to_writer(&mut hasher, value);
    hasher.finalize().to_hex().to_string()
}
