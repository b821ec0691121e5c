//! From the outputs of a CTC head to symbols and text.

use crate::Dictionary;
pub use crate::spelling::Spelling;
use lopper_core::{Error, Predictions, Result};
use tch::{Device, Kind, Tensor};

/// Symbols that no text shows: fairseq's `string` leaves them out.
const SILENT: [&str; 4] = ["<s>", "</s>", "[CLS]", "[SEP]"];

/// The best path: the likeliest output of every time step, repeats collapsed, blanks dropped; the symbol ids of each
/// row. Of equally likely outputs the first counts.
///
/// # Errors
/// [`Error::Other`] unless the logits are `[batch, time, outputs]`, the lengths, where there are any, one for each row
/// and at most `time`, and `blank` an output; [`Error::Diverged`] for a logit that is not a number.
pub fn greedy(predictions: &Predictions, blank: usize) -> Result<Vec<Vec<u32>>> {
    greedy_among(predictions, blank, &|_| true)
}

/// [`greedy`] over the blank and those outputs that `allowed` accepts: one language of a joint dictionary.
///
/// # Errors
/// As [`greedy`].
pub fn greedy_among(predictions: &Predictions, blank: usize, allowed: &dyn Fn(usize) -> bool) -> Result<Vec<Vec<u32>>> {
    let paths = best_paths(predictions, blank, allowed)?;
    Ok(paths.iter().map(|path| collapse(path.iter().copied(), blank)).collect())
}

/// The likeliest output of every valid time step of each row, among the blank and those that `allowed` accepts.
///
/// # Errors
/// As [`greedy`].
pub(crate) fn best_paths(
    predictions: &Predictions,
    blank: usize,
    allowed: &dyn Fn(usize) -> bool,
) -> Result<Vec<Vec<u32>>> {
    let (time, outputs) = shape(predictions, blank)?;
    let logits = predictions.logits.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?;
    let usable: Vec<usize> = (0..outputs).filter(|output| *output == blank || allowed(*output)).collect();
    let rows = predictions.logits.size()[0];
    let mut paths = Vec::with_capacity(rows as usize);
    for row in 0..rows {
        let length = predictions.lengths.as_ref().map_or(time as i64, |lengths| lengths[row as usize]);
        paths.push(best_path(&logits.f_get(row)?.f_narrow(0, 0, length)?, outputs, blank, &usable, row)?);
    }
    Ok(paths)
}

/// What a path of outputs spells: repeats are one, and blanks none.
pub(crate) fn collapse(path: impl IntoIterator<Item = u32>, blank: usize) -> Vec<u32> {
    let (mut spelled, mut before) = (Vec::new(), blank as u32);
    for output in path {
        if output != blank as u32 && output != before {
            spelled.push(output);
        }
        before = output;
    }
    spelled
}

/// Time steps and outputs of predictions that can be decoded.
fn shape(predictions: &Predictions, blank: usize) -> Result<(usize, usize)> {
    let size = predictions.logits.size();
    let [rows, time, outputs] = size[..] else {
        return Err(Error::Other(format!("CTC needs logits of shape [batch, time, outputs], not {size:?}")));
    };
    if blank as i64 >= outputs {
        return Err(Error::Other(format!("the blank is output {blank}, and there are {outputs}")));
    }
    let fit = |lengths: &Vec<i64>| lengths.len() as i64 == rows && lengths.iter().all(|n| (0..=time).contains(n));
    match &predictions.lengths {
        Some(lengths) if !fit(lengths) => {
            let found = format!("the lengths {lengths:?} do not fit logits of shape {size:?}");
            Err(Error::Other(format!("{found}: one for each row, from 0 to {time}, was expected")))
        }
        _ => Ok((time as usize, outputs as usize)),
    }
}

fn best_path(logits: &Tensor, outputs: usize, blank: usize, usable: &[usize], row: i64) -> Result<Vec<u32>> {
    let flat = Vec::<f32>::try_from(&logits.f_contiguous()?.f_reshape([-1])?)?;
    let mut path = Vec::with_capacity(flat.len() / outputs.max(1));
    for (step, logits) in flat.chunks_exact(outputs).enumerate() {
        if logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::Diverged(format!("the model answers NaN at time step {step} of row {row}")));
        }
        let mut best = blank;
        let mut most = f32::NEG_INFINITY;
        for output in usable {
            if logits[*output] > most {
                (best, most) = (*output, logits[*output]);
            }
        }
        path.push(best as u32);
    }
    Ok(path)
}

/// Letters as text: what stands between words becomes one space. Ids that the dictionary does not have are left out.
pub fn text(ids: &[u32], dictionary: &Dictionary) -> String {
    spell(ids.iter().filter_map(|id| dictionary.symbol(*id)), dictionary.delimiter())
}

/// What a reader is shown: letters as [`text`] without any special symbol, and the symbols of a dictionary in which
/// nothing ends a word, which are phones, between single spaces.
pub fn transcript(ids: &[u32], dictionary: &Dictionary) -> String {
    Spelling::of_dictionary(dictionary).text(ids, dictionary)
}

/// The text that `symbols` spell.
pub(crate) fn spell<'a>(symbols: impl Iterator<Item = &'a str>, delimiter: &str) -> String {
    let shown = symbols.filter(|symbol| !SILENT.contains(symbol));
    let text: String = shown.map(|symbol| if symbol == delimiter { " " } else { symbol }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
