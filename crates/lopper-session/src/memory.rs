//! Out of memory: libtorch's error, with what to lower.

use lopper_core::{Batching, Error, Recipe, Result};

use crate::EvaluationBatches;

/// How libtorch says it, on the host and on a GPU.
const WORDS: [&str; 4] =
    ["DefaultCPUAllocator: ", "CUDA out of memory", "CUDA error: out of memory", "CUBLAS_STATUS_ALLOC_FAILED"];
/// What makes a single example smaller, whichever the data are.
const SHORTER: &str = "data.max_length (texts) or data.max_seconds (recordings)";

/// The same error, unless it says that memory was short: then an [`Error::OutOfMemory`] that keeps its sizes.
pub(crate) fn explain(error: Error, during: &str, advice: impl FnOnce() -> String) -> Error {
    // A plugin may have panicked over an error of libtorch.
    if !matches!(error, Error::Torch(_) | Error::Panicked { .. } | Error::Other(_)) {
        return error;
    }
    match reason(&error.to_string()) {
        Some(reason) => Error::OutOfMemory { during: during.to_owned(), reason, advice: advice() },
        None => error,
    }
}

/// Runs code of plugins outside of a run: a panic is an error that names them as `who`, and where memory was short the error
/// says what was going on, with libtorch's sizes and what to lower.
///
/// # Errors
/// Those of `call`, [`Error::Other`] for a panic, and [`Error::OutOfMemory`].
pub fn guarded<T>(
    who: &str,
    during: &str,
    advice: impl FnOnce() -> String,
    call: impl FnOnce() -> Result<T>,
) -> Result<T> {
    lopper_torch::guarded(who, call).map_err(|error| explain(error, during, advice))
}

/// The sentence with the sizes; what surrounds it are the places in libtorch's sources.
fn reason(text: &str) -> Option<String> {
    let start = WORDS.iter().filter_map(|words| text.find(words)).min()?;
    let text = &text[start..];
    // As a line break stands in a panic's message.
    let end = text.find('\n').into_iter().chain(text.find("\\n")).min().unwrap_or(text.len());
    Some(text[..end].trim_end().trim_end_matches('.').to_owned())
}

/// What to lower when training runs out of memory.
pub(crate) fn in_training(recipe: &Recipe) -> String {
    let batch = match recipe.batching {
        Batching::Examples(examples) => format!("train.batch_size ({examples})"),
        Batching::Budget(budget) => format!("train.budget ({budget})"),
    };
    let accumulate = recipe.accumulate;
    format!("lower {batch}, and raise train.accumulate ({accumulate}) to keep an update as it is, or lower {SHORTER}")
}

/// What to lower when an evaluation runs out of memory.
pub(crate) fn in_evaluation(batches: EvaluationBatches) -> String {
    let EvaluationBatches { rows, budget } = batches;
    match budget {
        Some(budget) => format!("lower evaluate.budget ({budget}), evaluate.batch_size ({rows}), or {SHORTER}"),
        None => format!("lower evaluate.batch_size ({rows}), or {SHORTER}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind, TchError, Tensor};

    /// More than any machine can address.
    const ABSURD: [i64; 1] = [1 << 50];

    fn explained(error: Error) -> Error {
        explain(error, "training stage dense", || "lower train.batch_size (32)".into())
    }

    #[test]
    fn what_the_host_refuses_keeps_its_sizes() {
        let options = (Kind::Float, Device::Cpu);
        let raw = Tensor::f_zeros(ABSURD, options).map(|_| ()).unwrap_err();
        let panicked = lopper_torch::guarded("model plugin `m`", || {
            drop(Tensor::zeros(ABSURD, options));
            Ok(())
        });
        for error in [Error::Torch(raw), panicked.unwrap_err()] {
            let Error::OutOfMemory { during, reason, advice } = explained(error) else { panic!("not seen") };
            assert_eq!((during.as_str(), advice.as_str()), ("training stage dense", "lower train.batch_size (32)"));
            assert!(reason.contains(&(4u64 << 50).to_string()), "{reason}");
            assert!(!reason.contains('\n') && !reason.contains("frame #"), "{reason}");
        }
    }

    #[test]
    fn what_a_gpu_refuses_keeps_its_sizes() {
        let text = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.10 GiB of which 3.25 \
                    GiB is free.\nException raised from malloc at CUDACachingAllocator.cpp:1";
        let error = explained(Error::Torch(TchError::Torch(text.into()))).to_string();
        assert_eq!(
            error,
            "out of memory while training stage dense: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total \
             capacity of 79.10 GiB of which 3.25 GiB is free; lower train.batch_size (32)"
        );
    }

    #[test]
    fn other_errors_stay_what_they_are() {
        let shapes = explained(Error::Torch(TchError::Torch("mat1 and mat2 shapes cannot be multiplied".into())));
        assert!(matches!(shapes, Error::Torch(_)), "{shapes}");
        let file = explained(Error::file("a", "DefaultCPUAllocator: not enough memory"));
        assert!(matches!(file, Error::File { .. }), "{file}");
    }

    #[test]
    fn the_advice_names_the_options_in_use() {
        let run = lopper_testkit::run_spec(lopper_core::Sparsity::DENSE, 1);
        let recipe = run.recipe.batching(Batching::Budget(640)).accumulate(3);
        assert!(in_training(&recipe).starts_with("lower train.budget (640), and raise train.accumulate (3)"));
        assert!(
            in_evaluation(EvaluationBatches { rows: 64, budget: None }).starts_with("lower evaluate.batch_size (64)")
        );
        let advice = in_evaluation(EvaluationBatches { rows: 64, budget: Some(9) });
        assert!(advice.starts_with("lower evaluate.budget (9)"), "{advice}");
    }
}
