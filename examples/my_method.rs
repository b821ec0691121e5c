//! A pruning method of one's own in one file: hard movement pruning (Sanh, Wolf and Rush 2020), run on a toy beside MPI.
//!
//! Magnitude asks which weights *are* large; movement asks which *grow* while finetuning. Everything down to the
//! `inventory::submit!` is the method; a binary that links it and calls `lopper::run()` accepts `method = "movement"` in
//! its configurations.
//!
//! `cargo run --example my_method`

use lopper::session::{
    CheckpointEvery, EvaluationBatches, Participants, Precision, RunIdentity, RunRecord, Session, SessionSettings,
};
use lopper::{
    Error, InitialMask, PrunedWeights, PruningStrategy, RampOptions, Result, RunSpec, ScheduleSpec, Scores, Sparsity,
    Stage, StrategyEntry, StrategyState, WeightView, options, registry,
};
use lopper_testkit::{ToyConfig, ToyData, ToyDataset, ToyModel};
use std::collections::BTreeMap;
use std::path::Path;
use tch::{Device, Tensor};

options! {
    /// Options of movement pruning: one declaration gives defaults, parser, errors and the text of `lopper plugins`.
    struct MovementOptions {
        /// Updates between re-prunes.
        every: u64 = 5,
        /// Share of the finetuning after which the target sparsity is reached.
        until: f64 = 0.5,
    }
}

/// Prunes the weights that finetuning moves towards zero.
struct Movement {
    options: MovementOptions,
    /// `-Σ gradient ⊙ weight` over all updates, by parameter: positive where a weight has grown.
    scores: BTreeMap<String, Tensor>,
}

impl PruningStrategy for Movement {
    /// One finetuning from the dense theta_0, pruned along a cubic ramp. `Hidden` zeroes pruned weights in the forward pass
    /// alone: they keep their values and their gradients, so they can come back.
    fn plan(&self, run: &RunSpec) -> Result<Vec<Stage>> {
        let MovementOptions { every, until } = self.options;
        let ramp = RampOptions { every, initial: 0.0, sparsity: run.sparsity.get(), until };
        Ok(vec![Stage {
            name: format!("movement to {}", run.sparsity),
            mask: InitialMask::Dense,
            schedule: Some(ScheduleSpec { name: "cubic".into(), options: ramp.to_table() }),
            pruned: PrunedWeights::Hidden,
            ..Stage::dense(run)
        }])
    }

    fn wants_gradients(&self) -> bool {
        true
    }

    fn after_backward(&mut self, view: &WeightView<'_>, _mask_update_due: bool) -> Result<()> {
        for weight in view.weights() {
            let Some(gradient) = &weight.gradient else { continue };
            let movement = gradient.f_mul(&weight.tensor.f_detach()?)?.f_neg()?;
            let score = match self.scores.get(weight.name.as_str()) {
                // A checkpoint brings scores back on the CPU.
                Some(score) => score.f_to_device(movement.device())?.f_add(&movement)?,
                None => movement,
            };
            self.scores.insert(weight.name.to_string(), score);
        }
        Ok(())
    }

    /// Low scores are pruned first, ranked over all tensors together; the exact count is the core's business.
    fn score(&mut self, view: &WeightView<'_>) -> Result<Scores> {
        let score = |name: &str, like: &Tensor| match self.scores.get(name) {
            Some(score) => score.f_to_device(like.device()),
            None => like.f_zeros_like(),
        };
        let scores: Result<_, tch::TchError> =
            view.weights().iter().map(|w| score(w.name.as_str(), w.tensor)).collect();
        Ok(Scores::Values(scores?))
    }

    /// What a checkpoint must carry, so that an interrupted run goes on bit by bit.
    fn state(&self) -> StrategyState {
        let tensors = self.scores.iter().map(|(name, score)| (name.clone(), score.shallow_clone())).collect();
        StrategyState { tensors, ..Default::default() }
    }

    fn load_state(&mut self, state: StrategyState) -> Result<()> {
        self.scores = state.tensors;
        Ok(())
    }
}

inventory::submit! {
    StrategyEntry {
        name: "movement",
        summary: "keeps the weights that grow while finetuning (movement pruning)",
        options: MovementOptions::DOCS,
        origin: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
        open: |options| {
            let options = MovementOptions::parse(options, "[prune]")?;
            Ok(Box::new(Movement { options, scores: BTreeMap::new() }))
        },
    }
}

/// One run of a registered method on the toy, as the command line would do it with a model and a dataset plugin.
pub(crate) fn run(method: &str, sparsity: Sparsity, directory: &Path) -> Result<RunRecord> {
    let entry = registry::find::<StrategyEntry>(method)?;
    let options = toml::Table::new();
    let participants = Participants {
        model: Box::new(ToyModel::new(ToyConfig::default(), 1, 2, Device::Cpu)?),
        dataset: Box::new(ToyDataset::new(&ToyData::default())?),
        strategy: (entry.open)(&options)?,
        identity: RunIdentity {
            model: "toy".into(),
            model_origin: "lopper-testkit".into(),
            dataset_origin: "lopper-testkit".into(),
            strategy: method.into(),
            strategy_origin: entry.origin.into(),
            strategy_options: options,
        },
    };
    let settings = SessionSettings {
        seed: 1,
        device: Device::Cpu,
        precision: Precision::Float32,
        out: directory.join(format!("{method}-{sparsity}")),
        store: directory.join("stages"),
        evaluate_every: 0,
        evaluation: EvaluationBatches { rows: 256, budget: None },
        checkpoint: CheckpointEvery::OnInterrupt,
        configuration: None,
        max_skipped: 3,
        stop: Default::default(),
    };
    Session::new(participants, lopper_testkit::run_spec(sparsity, 300), settings)?.run()
}

#[allow(clippy::print_stdout, reason = "a program that shows a table")]
fn main() -> Result<()> {
    // A toy is too small for several threads to help.
    tch::set_num_threads(1);
    let directory = tempfile::tempdir().map_err(|e| Error::file(std::env::temp_dir(), e))?;
    println!("{:<10} {:>16} {:>10}", "method", "pruned", "accuracy");
    for (method, sparsity) in [("dense", 0.0), ("mpi", 0.8), ("movement", 0.8), ("mpi", 0.95), ("movement", 0.95)] {
        let record = run(method, Sparsity::new(sparsity)?, directory.path())?;
        let pruned = format!("{} of {}", record.pruned, record.entries);
        println!("{:<10} {pruned:>16} {:>10.3}", record.method, record.metric.value);
    }
    Ok(())
}
