//! The CTC loss (Graves et al. 2006), with everything checked that libtorch does not check.
//!
//! On a CPU libtorch reads out of bounds for an id that is no output, takes the blank for a symbol, and has gradients that
//! are not numbers for a row whose symbols do not fit into its steps. So ids and lengths are judged here, before.

use lopper_core::{Error, Result};
use tch::{Kind, Reduction, Tensor};

/// Most wrong ids that an error names.
const MAX_NAMED: usize = 8;

/// What libtorch is asked to align: every argument of its CTC but the outputs. [`Alignable::new`], which checks all of
/// them, alone makes one, and the loss is computed from nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alignable {
    /// Of the outputs: `[batch, steps, outputs]`.
    shape: [i64; 3],
    blank: i64,
    rows: Vec<i64>,
    ids: Vec<i64>,
    input_lengths: Vec<i64>,
    target_lengths: Vec<i64>,
    empty: Vec<(i64, i64)>,
    too_long: Vec<usize>,
}

impl Alignable {
    /// Judges the `targets` of a batch and the valid steps of each row, `lengths`, for outputs of `shape`
    /// `[batch, steps, outputs]`.
    ///
    /// # Errors
    /// [`Error::InvalidValue`], all problems at once: another shape or number of rows, a length that is not from 1 to
    /// `steps`, an id that is not from 0 to `outputs` - 1 or is the blank, a blank that is no output.
    pub fn new(targets: &[Vec<i64>], lengths: &[i64], shape: &[i64], blank: usize) -> Result<Self> {
        let &[batch, steps, outputs] = shape else {
            return Err(Error::invalid("logits", format!("of shape {shape:?}"), "[batch, steps, outputs]"));
        };
        if batch != lengths.len() as i64 {
            let found = format!("{} rows", lengths.len());
            return Err(Error::invalid("lengths", found, format!("{batch}, as logits have")));
        }
        let blank = i64::try_from(blank).unwrap_or(i64::MAX);
        check(targets, lengths, steps, outputs, blank)?;
        let mut all = Self {
            shape: [batch, steps, outputs],
            blank,
            rows: Vec::new(),
            ids: Vec::new(),
            input_lengths: Vec::new(),
            target_lengths: Vec::new(),
            empty: Vec::new(),
            too_long: Vec::new(),
        };
        for (row, (ids, length)) in targets.iter().zip(lengths).enumerate() {
            let needed = ids.len() + ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
            if needed == 0 {
                all.empty.push((row as i64, *length));
            } else if needed as i64 > *length {
                all.too_long.push(row);
            } else {
                all.rows.push(row as i64);
                all.ids.extend(ids);
                all.input_lengths.push(*length);
                all.target_lengths.push(ids.len() as i64);
            }
        }
        Ok(all)
    }

    /// Rows with at least one symbol whose symbols fit into their steps.
    pub fn rows(&self) -> &[i64] {
        &self.rows
    }

    /// The symbols of [`rows`](Self::rows), one row behind the other.
    pub fn ids(&self) -> &[i64] {
        &self.ids
    }

    /// The valid steps of each of [`rows`](Self::rows).
    pub fn input_lengths(&self) -> &[i64] {
        &self.input_lengths
    }

    /// The number of symbols of each of [`rows`](Self::rows).
    pub fn target_lengths(&self) -> &[i64] {
        &self.target_lengths
    }

    /// Rows without a symbol, each with its valid steps: only the blank at every one of them spells nothing.
    pub fn empty(&self) -> &[(i64, i64)] {
        &self.empty
    }

    /// Rows with more symbols than their steps can spell. Two equal symbols in a row need a blank between them.
    pub fn too_long(&self) -> &[usize] {
        &self.too_long
    }

    /// The sum over all rows that can be aligned of -ln p(target | outputs).
    fn loss(&self, logits: &Tensor) -> Result<Tensor> {
        if logits.size() != self.shape {
            let found = format!("of shape {:?}", logits.size());
            return Err(Error::invalid("logits", found, format!("{:?}, as was checked", self.shape)));
        }
        let log_probabilities = logits.f_log_softmax(-1, Kind::Float)?;
        // An empty sum, which is zero and still belongs to the graph.
        let mut sum = log_probabilities.f_narrow(0, 0, 0)?.f_sum(Kind::Float)?;
        for (row, length) in &self.empty {
            let own = log_probabilities.f_select(0, *row)?.f_narrow(0, 0, *length)?;
            sum = sum.f_sub(&own.f_select(1, self.blank)?.f_sum(Kind::Float)?)?;
        }
        if self.rows.is_empty() {
            return Ok(sum);
        }
        let device = logits.device();
        let chosen = if self.rows.len() as i64 == self.shape[0] {
            log_probabilities
        } else {
            log_probabilities.f_index_select(0, &Tensor::f_from_slice(&self.rows)?.f_to_device(device)?)?
        };
        let aligned = Tensor::f_ctc_loss(
            &chosen.f_transpose(0, 1)?,
            &Tensor::f_from_slice(&self.ids)?.f_to_device(device)?,
            self.input_lengths.as_slice(),
            self.target_lengths.as_slice(),
            self.blank,
            Reduction::Sum,
            true,
        )?;
        Ok(sum.f_add(&aligned)?)
    }
}

/// Whether ids and lengths are in their ranges.
fn check(targets: &[Vec<i64>], lengths: &[i64], steps: i64, outputs: i64, blank: i64) -> Result<()> {
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
    let ids =
        targets.iter().enumerate().flat_map(|(row, ids)| ids.iter().enumerate().map(move |(at, id)| (row, at, *id)));
    let allowed = |id: i64| (0..outputs).contains(&id) && id != blank;
    for (row, at, id) in ids.filter(|(_, _, id)| !allowed(*id)).take(MAX_NAMED) {
        let expected = format!("an id from 0 to {}, and not the blank {blank}", outputs.saturating_sub(1));
        problems.push(Error::invalid(format!("symbol {at} of the target of row {row}"), id, expected));
    }
    Error::all(problems)
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
/// Those of [`Alignable::new`], and errors of libtorch.
pub fn ctc_loss(logits: &Tensor, targets: &[Vec<i64>], lengths: &[i64], blank: usize) -> Result<CtcLoss> {
    let all = Alignable::new(targets, lengths, &logits.size(), blank)?;
    Ok(CtcLoss { sum: all.loss(logits)?, too_long: all.too_long.len() })
}
