//! Metrics of a model over a split.

use crate::ahead::fetch_ahead;
use crate::{EvaluationBatches, Precision, Stop, evaluation_batches};
use lopper_core::{Dataset, Error, Evaluation, Model, Outcomes, Predictions, Result, Split};
use lopper_torch::AutocastGuard;
use tch::{Device, Kind};

/// What a model is worth on `split`, found in batches of examples of like length.
///
/// # Errors
/// [`Error::Other`] for a split without examples, and for a batch without one of the examples that it should have;
/// [`Error::Interrupted`] when `stop` is requested, which is looked at between batches; errors of the model, the dataset and
/// libtorch.
pub fn evaluate(
    model: &dyn Model,
    dataset: &dyn Dataset,
    split: &Split,
    device: Device,
    precision: Precision,
    batches: EvaluationBatches,
    stop: &Stop,
) -> Result<Evaluation> {
    let costs = costs(dataset, split);
    if costs.is_empty() {
        return Err(Error::Other(format!(
            "task {} has no examples in its {} split",
            dataset.task().name,
            split.as_str()
        )));
    }
    let _no_grad = tch::no_grad_guard();
    let mut outputs = Vec::new();
    let order = evaluation_batches(&costs, batches.rows, batches.budget).into_iter();
    fetch_ahead(dataset, split, order, stop, |ahead| {
        while let Some((indices, batch)) = ahead.next()? {
            stop.check("evaluating")?;
            if batch.len != indices.len() {
                let (task, split, wanted) = (&dataset.task().name, split.as_str(), indices.len());
                let found = format!("{} of {wanted} examples of the {split} split of {task}", batch.len);
                return Err(Error::Other(format!("a batch holds {found}; metrics need all of them")));
            }
            let batch = batch.to_device(device)?;
            let _autocast = autocast(device, precision)?;
            let predictions = model.predict(&batch)?;
            let logits = predictions.logits.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
            // Before the next batch, so that memory need not grow with the split.
            let kept = dataset.keep(split, Predictions { logits, lengths: predictions.lengths })?;
            outputs.push((indices, kept));
        }
        Ok(())
    })?;
    let evaluation = dataset.evaluate(split, &outputs)?;
    // Another number of them would be compared with other examples.
    if let Some(told) = evaluation.outcomes.as_ref().map(Outcomes::len).filter(|told| *told != costs.len()) {
        let (task, split, all) = (&dataset.task().name, split.as_str(), costs.len());
        let what = format!("{task} tells of {told} examples of its {split} split, which has {all}");
        return Err(Error::Other(format!("{what}; it must tell of each, or of none")));
    }
    Ok(evaluation)
}

pub(crate) fn costs(dataset: &dyn Dataset, split: &Split) -> Vec<u32> {
    (0..dataset.len(split)).map(|index| dataset.cost(split, index)).collect()
}

pub(crate) fn autocast(device: Device, precision: Precision) -> Result<Option<AutocastGuard>> {
    match precision {
        Precision::Float32 => Ok(None),
        Precision::Bf16 => AutocastGuard::new(device, Kind::BFloat16).map(Some),
    }
}
