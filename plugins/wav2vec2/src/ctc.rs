//! The CTC loss (Graves et al. 2006), with everything checked that libtorch does not check.
//!
//! On a CPU libtorch reads out of bounds for an id that is no output, takes the blank for a symbol, and has gradients that
//! are not numbers for a row whose symbols do not fit into its steps. So ids and lengths are judged here, before.

use lopper_core::{Error, Result};
use tch::{Kind, Reduction, Tensor};

/// Most wrong ids that an error names.
const MAX_NAMED: usize = 8;

/// What libtorch may be asked to align.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignable {
    /// Rows with at least one symbol whose symbols fit into their steps.
    pub rows: Vec<usize>,
    /// Rows without a symbol: only the blank at every step spells them.
    pub empty: Vec<usize>,
    /// Rows with more symbols than their steps can spell. Two equal symbols in a row need a blank between them.
    pub too_long: Vec<usize>,
}

/// Judges the `targets` of a batch and the valid steps of each row, `lengths`, for outputs `[batch, steps, outputs]`.
///
/// # Errors
/// [`Error::InvalidValue`], all problems at once: another number of rows, a length that is not from 1 to `steps`, an id
/// that is not from 0 to `outputs` - 1 or is the blank, a blank that is no output.
pub fn alignable(targets: &[Vec<i64>], lengths: &[i64], steps: i64, outputs: usize, blank: usize) -> Result<Alignable> {
    let mut problems = Vec::new();
    if targets.len() != lengths.len() {
        let expected = format!("one for each of the {} rows", lengths.len());
        problems.push(Error::invalid("targets", format!("{} sequences", targets.len()), expected));
    }
    if blank >= outputs {
        problems.push(Error::invalid("blank", blank, format!("one of the {outputs} outputs, counted from 0")));
    }
    for (row, length) in lengths.iter().enumerate().filter(|(_, length)| !(1..=steps).contains(*length)).take(MAX_NAMED)
    {
        problems.push(Error::invalid(format!("steps of row {row}"), length, format!("from 1 to {steps}")));
    }
    let allowed = |id: i64| usize::try_from(id).is_ok_and(|id| id < outputs && id != blank);
    let ids =
        targets.iter().enumerate().flat_map(|(row, ids)| ids.iter().enumerate().map(move |(at, id)| (row, at, *id)));
    for (row, at, id) in ids.filter(|(_, _, id)| !allowed(*id)).take(MAX_NAMED) {
        let expected = format!("an id from 0 to {}, and not the blank {blank}", outputs.saturating_sub(1));
        problems.push(Error::invalid(format!("symbol {at} of the target of row {row}"), id, expected));
    }
    Error::all(problems)?;

    let mut all = Alignable { rows: Vec::new(), empty: Vec::new(), too_long: Vec::new() };
    for (row, (ids, length)) in targets.iter().zip(lengths).enumerate() {
        let needed = ids.len() + ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
        let place = match needed {
            0 => &mut all.empty,
            needed if needed as i64 <= *length => &mut all.rows,
            _ => &mut all.too_long,
        };
        place.push(row);
    }
    Ok(all)
}

/// The loss of a batch.
#[derive(Debug)]
pub struct CtcLoss {
    /// Scalar, float32, differentiable: the sum over rows of -ln p(target | outputs).
    pub sum: Tensor,
    /// Rows that cannot be aligned; they add nothing to the sum.
    pub too_long: usize,
}

/// The loss of `logits` `[batch, steps, outputs]`, whose first `lengths` steps of each row are valid, for `targets`. It is
/// computed in float32, with targets of 64 bits so that libtorch's own kernel does it on every device. A row that cannot
/// be aligned contributes nothing, as with fairseq's and torch's `zero_infinity`.
///
/// # Errors
/// Those of [`alignable`], [`Error::InvalidValue`] for logits of another shape, and errors of libtorch.
pub fn ctc_loss(logits: &Tensor, targets: &[Vec<i64>], lengths: &[i64], blank: usize) -> Result<CtcLoss> {
    let &[batch, steps, outputs] = logits.size().as_slice() else {
        return Err(Error::invalid("logits", format!("of shape {:?}", logits.size()), "[batch, steps, outputs]"));
    };
    if batch != lengths.len() as i64 {
        return Err(Error::invalid("lengths", format!("{} rows", lengths.len()), format!("{batch}, as logits have")));
    }
    let all = alignable(targets, lengths, steps, outputs as usize, blank)?;
    let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?;
    // An empty sum, which is zero and still belongs to the graph.
    let mut sum = log_probabilities.f_narrow(0, 0, 0)?.f_sum(Kind::Float)?;
    for row in &all.empty {
        let own = log_probabilities.f_select(0, *row as i64)?.f_narrow(0, 0, lengths[*row])?;
        sum = sum.f_sub(&own.f_select(1, blank as i64)?.f_sum(Kind::Float)?)?;
    }
    if !all.rows.is_empty() {
        let device = logits.device();
        let chosen = if all.rows.len() == targets.len() {
            log_probabilities
        } else {
            let rows: Vec<i64> = all.rows.iter().map(|row| *row as i64).collect();
            log_probabilities.f_index_select(0, &Tensor::f_from_slice(&rows)?.f_to_device(device)?)?
        };
        let ids: Vec<i64> = all.rows.iter().flat_map(|row| targets[*row].iter().copied()).collect();
        let (input, target): (Vec<i64>, Vec<i64>) =
            all.rows.iter().map(|row| (lengths[*row], targets[*row].len() as i64)).unzip();
        let aligned = Tensor::f_ctc_loss(
            &chosen.f_transpose(0, 1)?,
            &Tensor::f_from_slice(&ids)?.f_to_device(device)?,
            input.as_slice(),
            target.as_slice(),
            blank as i64,
            Reduction::Sum,
            true,
        )?;
        sum = sum.f_add(&aligned)?;
    }
    Ok(CtcLoss { sum, too_long: all.too_long.len() })
}
