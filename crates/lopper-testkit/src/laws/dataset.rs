//! The laws of datasets.

use super::{Broken, Law, bits, close, deep_copy, for_all, holds, law};
use lopper_core::{Batch, Dataset, Evaluation, Head, MetricValue, Predictions, Result, Split, Targets};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tch::{Device, Kind, Tensor};

/// Everything that the session relies on in a [`Dataset`].
///
/// 1. The task has a name, labels that differ, and a split to evaluate; the identity of each split stays, and is no other's.
/// 2. Costs are positive within a split; a split of no such name is empty.
/// 3. A batch has as many rows as indices, in inputs and targets, lies on the CPU, fits the head, and repeats bit by bit;
///    a row's target does not depend on its company. 200 random lists of indices.
/// 4. An index out of range is refused.
/// 5. Metrics are finite, named once, and hold the primary one; for heads other than CTC, perfect predictions score 1
///    (0 for error rates) and wrong ones worse. Predictions may come in any order.
/// 6. Predictions that do not cover a split once, or are of another shape, are refused.
/// 7. What is told of every example tells each of the split, gives every metric to the last bit, and is the same in whatever order
///    predictions come.
/// 8. What is kept of predictions is judged as the predictions are: 20 random ones of each split.
///
/// # Panics
/// When a law is broken, with its name and what breaks it.
pub fn dataset(dataset: &dyn Dataset) {
    law("the task is complete and identities stay", || task(dataset));
    law("costs are positive", || costs(dataset));
    let splits: Vec<Split> = splits(dataset);
    for_all(
        "a batch has the rows that were asked for",
        200,
        (prop::sample::select(splits.clone()), prop::collection::vec(any::<prop::sample::Index>(), 1..9)),
        |(split, places)| {
            let indices: Vec<usize> = places.iter().map(|place| place.index(dataset.len(&split))).collect();
            batch(dataset, &split, &indices)
        },
    );
    law("an index out of range is refused", || {
        for split in &splits {
            for index in [dataset.len(split), usize::MAX] {
                let at = split.as_str();
                holds!(
                    dataset.batch(split, &[index]).is_err(),
                    "{at} has {} examples and one at {index}",
                    dataset.len(split)
                );
                holds!(dataset.batch(split, &[0, index]).is_err(), "a batch with {index} of {at} is made");
            }
        }
        holds!(dataset.batch(&Split::named("no such split"), &[0]).is_err(), "a batch of no split is made");
        Ok(())
    });
    for split in dataset.evaluation_splits().iter().filter(|split| dataset.len(split) > 0) {
        law("perfect predictions score best", || perfect(dataset, split));
        law("predictions must cover the split once", || covers(dataset, split));
        for_all("what is told of examples gives the metrics", 20, any::<i64>(), |seed| told(dataset, split, seed));
        for_all("what is kept of predictions is judged as they are", 20, any::<i64>(), |seed| {
            kept(dataset, split, seed)
        });
    }
}

/// Training and evaluation splits that hold examples.
fn splits(dataset: &dyn Dataset) -> Vec<Split> {
    let names: BTreeSet<Split> = dataset.evaluation_splits().into_iter().chain([Split::TRAIN]).collect();
    names.into_iter().filter(|split| dataset.len(split) > 0).collect()
}

fn task(dataset: &dyn Dataset) -> Law {
    let task = dataset.task();
    holds!(!task.name.is_empty() && !task.primary_metric.is_empty(), "{task:?}");
    match &task.head {
        Head::Classification { labels } => {
            let distinct: BTreeSet<_> = labels.iter().collect();
            holds!(labels.len() >= 2 && distinct.len() == labels.len(), "labels {labels:?}");
        }
        Head::Ctc { vocabulary, blank } => {
            holds!(*blank < vocabulary.len(), "blank {blank} of {} symbols", vocabulary.len());
        }
        _ => {}
    }
    let evaluated = dataset.evaluation_splits();
    holds!(evaluated.iter().any(|split| dataset.len(split) > 0), "{evaluated:?} hold no examples");
    let mut identities = BTreeSet::new();
    for split in splits(dataset) {
        let identity = dataset.identity(&split);
        holds!(!identity.is_empty(), "the identity of {} is empty", split.as_str());
        dataset.batch(&split, &[0])?;
        holds!(dataset.identity(&split) == identity, "the identity of {} changes", split.as_str());
        holds!(identities.insert(identity), "the identity of {} is that of another split", split.as_str());
    }
    Ok(())
}

fn costs(dataset: &dyn Dataset) -> Law {
    for split in splits(dataset) {
        for index in 0..dataset.len(&split) {
            holds!(dataset.cost(&split, index) > 0, "example {index} of {} costs nothing", split.as_str());
        }
    }
    holds!(dataset.len(&Split::named("no such split")) == 0, "a split of no such name has examples");
    Ok(())
}

fn batch(dataset: &dyn Dataset, split: &Split, indices: &[usize]) -> Law {
    let Batch { inputs, targets, len, .. } = dataset.batch(split, indices)?;
    holds!(len == indices.len(), "{} indices give a batch of {len}", indices.len());
    holds!(!inputs.is_empty(), "there are no inputs");
    for (name, tensor) in &inputs {
        holds!(tensor.size().first() == Some(&(len as i64)), "{len} rows give `{name}` of shape {:?}", tensor.size());
        holds!(tensor.device() == Device::Cpu, "`{name}` lies on {:?}", tensor.device());
    }
    let truth = truth(&dataset.task().head, targets, len)?;
    let again = dataset.batch(split, indices)?;
    for (name, tensor) in &inputs {
        holds!(bits(tensor)? == bits(again.input(name)?)?, "`{name}` of a second batch has other bits");
    }
    for (row, index) in indices.iter().enumerate() {
        let alone = self::truth(&dataset.task().head, dataset.batch(split, &[*index])?.targets, 1)?;
        holds!(alone[0] == truth[row], "example {index} is {:?} alone and {:?} among others", alone[0], truth[row]);
    }
    Ok(())
}

/// What one row should be answered.
#[derive(Debug, Clone, PartialEq)]
enum Truth {
    Class(i64),
    Value(f32),
    Sequence(Vec<i64>),
}

fn truth(head: &Head, targets: Option<Targets>, len: usize) -> Result<Vec<Truth>, Broken> {
    let rows: Vec<Truth> = match (head, targets) {
        (Head::Classification { labels }, Some(Targets::Classes(classes))) => {
            holds!(classes.kind() == Kind::Int64, "classes are {:?}, not int64", classes.kind());
            let classes = Vec::<i64>::try_from(classes)?;
            let range = 0..labels.len() as i64;
            holds!(classes.iter().all(|class| range.contains(class)), "classes {classes:?} of {} labels", labels.len());
            classes.into_iter().map(Truth::Class).collect()
        }
        (Head::Regression, Some(Targets::Values(values))) => {
            holds!(values.kind() == Kind::Float, "values are {:?}, not float32", values.kind());
            let values = Vec::<f32>::try_from(values)?;
            holds!(values.iter().all(|value| value.is_finite()), "values {values:?}");
            values.into_iter().map(Truth::Value).collect()
        }
        (Head::Ctc { vocabulary, blank }, Some(Targets::Sequences(rows))) => {
            let sound = |id: &i64| (0..vocabulary.len() as i64).contains(id) && *id != *blank as i64;
            holds!(rows.iter().flatten().all(sound), "a sequence of {rows:?} holds the blank or no symbol");
            rows.into_iter().map(Truth::Sequence).collect()
        }
        (head, targets) => return Err(Broken(format!("{head:?} with targets {targets:?}"))),
    };
    holds!(rows.len() == len, "{len} rows have {} targets", rows.len());
    Ok(rows)
}

/// Indices of a batch, and what is said about them.
type Predicted = (Vec<usize>, Predictions);

/// Predictions for a whole split in batches of 64, right ones or wrong ones; `None` for heads that have no simple ones.
fn predictions(dataset: &dyn Dataset, split: &Split, right: bool) -> Result<Option<Vec<Predicted>>, Broken> {
    let head = &dataset.task().head;
    let outputs = head.outputs();
    let all: Vec<usize> = (0..dataset.len(split)).collect();
    let mut batches = Vec::new();
    for indices in all.chunks(64) {
        let targets = dataset.batch(split, indices)?.targets;
        let mut logits = vec![0f32; indices.len() * outputs];
        for (row, truth) in logits.chunks_exact_mut(outputs).zip(truth(head, targets, indices.len())?) {
            match truth {
                Truth::Class(class) => row[(class as usize + usize::from(!right)) % outputs] = 1.0,
                Truth::Value(value) => row[0] = if right { value } else { -value },
                Truth::Sequence(_) => return Ok(None),
            }
        }
        let logits = Tensor::f_from_slice(&logits)?.f_reshape([indices.len() as i64, outputs as i64])?;
        batches.push((indices.to_vec(), Predictions { logits, lengths: None }));
    }
    Ok(Some(batches))
}

fn primary(dataset: &dyn Dataset, metrics: &[MetricValue]) -> Result<f64, Broken> {
    let name = &dataset.task().primary_metric;
    let distinct: BTreeSet<_> = metrics.iter().map(|metric| &metric.name).collect();
    holds!(distinct.len() == metrics.len(), "a metric of {metrics:?} is there twice");
    holds!(metrics.iter().all(|metric| metric.value.is_finite()), "{metrics:?} are not all finite");
    let found = metrics.iter().find(|metric| metric.name == *name);
    found
        .map(|metric| metric.value)
        .ok_or_else(|| Broken(format!("the primary metric {name} is not among {metrics:?}")))
}

fn perfect(dataset: &dyn Dataset, split: &Split) -> Law {
    let (Some(mut right), Some(wrong)) = (predictions(dataset, split, true)?, predictions(dataset, split, false)?)
    else {
        return Ok(());
    };
    let metrics = dataset.evaluate(split, &right)?.metrics;
    let best = primary(dataset, &metrics)?;
    let ideal = if dataset.task().higher_is_better { 1.0 } else { 0.0 };
    holds!(close(best, ideal), "{} of perfect predictions is {best}", dataset.task().primary_metric);
    let worse = primary(dataset, &dataset.evaluate(split, &wrong)?.metrics)?;
    let loses = if dataset.task().higher_is_better { worse < best } else { worse > best };
    holds!(loses, "{} of wrong predictions is {worse}, of perfect ones {best}", dataset.task().primary_metric);
    right.reverse();
    holds!(dataset.evaluate(split, &right)?.metrics == metrics, "predictions in another order give other metrics");
    Ok(())
}

fn told(dataset: &dyn Dataset, split: &Split, seed: i64) -> Law {
    let outputs = chance(dataset, split, seed)?;
    let Evaluation { metrics, outcomes: Some(outcomes) } = dataset.evaluate(split, &outputs)? else { return Ok(()) };
    let (found, all) = (outcomes.len(), dataset.len(split));
    holds!(found == all, "{found} of {all} examples are told of");
    for MetricValue { name, value } in metrics {
        let again = outcomes.metric(&name);
        let same = again.is_some_and(|again| again.to_bits() == value.to_bits());
        holds!(same, "{name} is {value}, and from what is told of each example {again:?}");
    }
    let mut turned = outputs;
    turned.reverse();
    holds!(
        dataset.evaluate(split, &turned)?.outcomes == Some(outcomes),
        "predictions in another order tell of other examples"
    );
    Ok(())
}

/// Predictions by chance that cover a split.
fn chance(dataset: &dyn Dataset, split: &Split, seed: i64) -> Result<Vec<Predicted>, Broken> {
    let all: Vec<usize> = (0..dataset.len(split)).collect();
    let batch = |(number, indices): (i64, &[usize])| {
        Ok((indices.to_vec(), random(&dataset.task().head, indices.len(), seed.wrapping_add(number))?))
    };
    (0..).zip(all.chunks(64)).map(batch).collect()
}

/// Logits by chance, for a CTC head of rows that are not all as long.
fn random(head: &Head, rows: usize, seed: i64) -> Result<Predictions, Broken> {
    tch::manual_seed(seed);
    let (rows, outputs, options) = (rows as i64, head.outputs() as i64, (Kind::Float, Device::Cpu));
    if !matches!(head, Head::Ctc { .. }) {
        return Ok(Predictions { logits: Tensor::f_randn([rows, outputs], options)?, lengths: None });
    }
    let time = 9;
    let lengths = (0..rows).map(|row| (row + seed.rem_euclid(time)) % (time + 1)).collect();
    Ok(Predictions { logits: Tensor::f_randn([rows, time, outputs], options)?, lengths: Some(lengths) })
}

fn kept(dataset: &dyn Dataset, split: &Split, seed: i64) -> Law {
    let whole = chance(dataset, split, seed)?;
    let mut less = Vec::new();
    for (indices, Predictions { logits, lengths }) in &whole {
        let given = Predictions { logits: deep_copy(logits)?, lengths: lengths.clone() };
        less.push((indices.clone(), dataset.keep(split, given)?));
    }
    let (whole, less) = (dataset.evaluate(split, &whole)?, dataset.evaluate(split, &less)?);
    // As text, because a metric of chance answers may be NaN.
    let (expected, found) = (format!("{:?}", whole.metrics), format!("{:?}", less.metrics));
    holds!(found == expected, "{expected} become {found}");
    holds!(less.outcomes == whole.outcomes, "what is kept of a batch tells otherwise of its examples");
    Ok(())
}

fn covers(dataset: &dyn Dataset, split: &Split) -> Law {
    let Some(complete) = predictions(dataset, split, true)? else { return Ok(()) };
    let shared = |batches: &[Predicted]| -> Vec<Predicted> {
        let share = |p: &Predictions| Predictions { logits: p.logits.shallow_clone(), lengths: p.lengths.clone() };
        batches.iter().map(|(indices, predictions)| (indices.clone(), share(predictions))).collect()
    };
    holds!(dataset.evaluate(split, &complete[1..]).is_err(), "a batch is missing, and nobody complains");
    let mut twice = shared(&complete);
    twice.extend(shared(&complete[..1]));
    holds!(dataset.evaluate(split, &twice).is_err(), "a batch is there twice, and nobody complains");
    let mut wide = shared(&complete);
    if let Some((indices, predictions)) = wide.first_mut() {
        let outputs = dataset.task().head.outputs() as i64 + 1;
        predictions.logits = Tensor::f_zeros([indices.len() as i64, outputs], (Kind::Float, Device::Cpu))?;
    }
    holds!(dataset.evaluate(split, &wide).is_err(), "logits of another head are judged, and nobody complains");
    Ok(())
}
