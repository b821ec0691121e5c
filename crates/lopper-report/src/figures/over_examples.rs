//! Pairs of cells over the examples that both were judged by.

use super::Ask;
use crate::bootstrap::{ExampleSet, Resampled, paired_bootstrap};
use crate::mcnemar::McNemar;
use crate::sample::{Pair, Point, Seeds};
use lopper_metrics::Outcomes;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

/// How far a metric of the predictions may lie from the recorded one: a file that is not the record's is off by more.
const SAME: f64 = 1e-9;

/// Predictions that are open; none is opened twice for one figure.
pub(super) struct Predictions<'a> {
    ask: Ask<'a>,
    wanted: Option<&'a str>,
    open: BTreeMap<PathBuf, Result<Rc<Outcomes>, String>>,
}

/// What the examples say of some pairs.
#[derive(Debug)]
pub(super) struct OverExamples {
    pub(super) resampled: Resampled,
    /// One a pair, in the order of seeds; none where answers are not right or wrong.
    pub(super) mcnemar: Vec<McNemar>,
}

/// Pairs over the same examples.
struct Set<'a> {
    metric: &'a str,
    split: &'a str,
    task: &'a str,
    first: Vec<(f64, Rc<Outcomes>)>,
    second: Vec<(f64, Rc<Outcomes>)>,
}

impl<'a> Predictions<'a> {
    /// `wanted` is the figure's metric.
    pub(super) fn new(ask: Ask<'a>, wanted: Option<&'a str>) -> Self {
        Self { ask, wanted, open: BTreeMap::new() }
    }

    /// The difference of those pairs that make the means of `seeds`, weighted as there; `None` where there are no pairs.
    ///
    /// # Errors
    /// Why the predictions do not tell.
    pub(super) fn compare(&mut self, pairs: &[Pair<'a>], seeds: &Seeds) -> Option<Result<OverExamples, String>> {
        let mut counting: Vec<&Pair<'a>> =
            pairs.iter().filter(|pair| seeds.values.contains_key(&pair.first.cell.seed)).collect();
        counting.sort_by_key(|pair| pair.first.cell.seed);
        (!counting.is_empty()).then(|| self.over_examples(&counting, seeds.values.len()))
    }

    fn over_examples(&mut self, pairs: &[&Pair<'a>], seeds: usize) -> Result<OverExamples, String> {
        let (mut sets, mut mcnemar): (Vec<Set<'a>>, Vec<McNemar>) = (Vec::new(), Vec::new());
        for pair in pairs {
            // As `Seeds::of_parts` takes means: first over what differs in nothing, then over the parts of a seed.
            let alike = pairs.iter().filter(|other| other.first.cell.seed == pair.first.cell.seed);
            let twins = alike.clone().filter(|other| other.first.cell.axes == pair.first.cell.axes).count();
            let mut parts: Vec<_> = alike.map(|other| &other.first.cell.axes).collect();
            parts.sort();
            parts.dedup();
            let weight = 1.0 / (seeds * parts.len() * twins) as f64;
            let (outcomes, metric, split) = self.of(&pair.first)?;
            let task = pair.first.result.task.as_str();
            let found = sets.iter().position(|set| {
                let same = (set.metric, set.split, set.task) == (metric, split, task);
                same && outcomes.may_be_of_the_same_examples_as(&set.first[0].1)
            });
            let place = found.unwrap_or_else(|| {
                sets.push(Set { metric, split, task, first: Vec::new(), second: Vec::new() });
                sets.len() - 1
            });
            for other in &pair.second {
                let (against, name, _) = self.of(other)?;
                if name != metric || !outcomes.may_be_of_the_same_examples_as(&against) {
                    let cells = (&pair.first.cell.name, &other.cell.name);
                    return Err(format!("{} and {} were not judged by the same examples", cells.0, cells.1));
                }
                if let (Some(a), Some(b)) = (outcomes.correct(), against.correct()) {
                    mcnemar.push(McNemar::of(&a, &b));
                }
                sets[place].second.push((weight / pair.second.len() as f64, against));
            }
            sets[place].first.push((weight, outcomes));
        }
        fn each(models: &[(f64, Rc<Outcomes>)]) -> Vec<(f64, &Outcomes)> {
            models.iter().map(|(weight, outcomes)| (*weight, outcomes.as_ref())).collect()
        }
        let sets: Vec<ExampleSet<'_>> = sets
            .iter()
            .map(|set| ExampleSet { metric: set.metric, first: each(&set.first), second: each(&set.second) })
            .collect();
        let resampled = paired_bootstrap(&sets).ok_or("there are no examples")?;
        Ok(OverExamples { resampled, mcnemar })
    }

    /// A cell's predictions with the metric's name and split.
    fn of(&mut self, point: &Point<'a>) -> Result<(Rc<Outcomes>, &'a str, &'a str), String> {
        let name = &point.cell.name;
        let metric = point.result.metric(self.wanted).ok_or_else(|| format!("{name} has no such metric"))?;
        let path = point.result.predictions.get(&metric.split).ok_or_else(|| {
            let kept = "it was judged by a Lopper that did not keep them, or its dataset does not tell them";
            format!("{name} has no predictions of {}: {kept}", metric.split)
        })?;
        let artefacts = self.ask.artefacts;
        let open = self.open.entry(path.clone()).or_insert_with(|| artefacts.predictions(path).map(Rc::new));
        let outcomes = open.clone()?;
        match outcomes.metric(&metric.name) {
            Some(value) if (value - metric.value).abs() <= SAME => Ok((outcomes, &metric.name, &metric.split)),
            Some(value) => Err(format!(
                "{} has {} {value}, and the record of {name} {}; it is of other predictions",
                path.display(),
                metric.name,
                metric.value
            )),
            None => Err(format!("{} is nothing that {} can be computed of", path.display(), metric.name)),
        }
    }
}
