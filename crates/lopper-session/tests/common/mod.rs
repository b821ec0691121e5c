//! What tests of whole runs have in common: a toy that trains within milliseconds, and what a session is told of it.

use lopper_core::{
    Artifact, Batch, Loss, Mode, Model, Parameter, ParameterName, Parameters, Predictions, PruningStrategy, Result,
    RunSpec, Sparsity,
};
use lopper_session::{
    CheckpointEvery, EvaluationBatches, Keep, LEASE, OpenDataset, Participants, Precision, RunIdentity,
    SessionSettings, Stop,
};
use lopper_testkit::{ToyConfig, ToyData, ToyDataset, ToyModel, run_spec};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tch::Device;

/// Updates of a stage.
pub(crate) const UPDATES: u64 = 14;

/// A run of that many updates to a sparsity.
pub(crate) fn spec(sparsity: f64) -> RunSpec {
    run_spec(Sparsity::new(sparsity).unwrap(), UPDATES)
}

/// In memory where that is possible: a thousand runs would otherwise wait for a disk.
pub(crate) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

pub(crate) fn model(dropout: f64) -> ToyModel {
    let config = ToyConfig { hidden: vec![16, 12], dropout, ..Default::default() };
    ToyModel::new(config, 1, 2, Device::Cpu).unwrap()
}

pub(crate) fn data() -> ToyDataset {
    ToyDataset::new(&ToyData { train: 100, validation: 40, ..Default::default() }).unwrap()
}

/// What a model held when a run began, for the run to come back to.
struct Pretrained {
    parameters: Parameters,
    prunable: Vec<ParameterName>,
}

impl Pretrained {
    fn of(model: &dyn Model) -> Self {
        let copied = model.parameters().iter().map(|Parameter { name, role, tensor }| Parameter {
            name: name.clone(),
            role: *role,
            tensor: tensor.detach().copy(),
        });
        Self { parameters: Parameters::new(copied.collect()).unwrap(), prunable: model.prunable().to_vec() }
    }
}

impl Model for Pretrained {
    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn prunable(&self) -> &[ParameterName] {
        &self.prunable
    }

    fn loss(&self, _: &Batch, _: Mode) -> Result<Loss> {
        unreachable!("it is never trained")
    }

    fn predict(&self, _: &Batch) -> Result<Predictions> {
        unreachable!("it is never judged")
    }

    fn identity(&self) -> String {
        unreachable!("its weights alone are looked at")
    }

    fn artifacts(&self) -> Result<Vec<Artifact>> {
        unreachable!("it is never saved")
    }
}

/// `strategy` on the toy's data; the strategy comes with its name and its origin.
pub(crate) fn participants(
    model: impl Model + 'static,
    dataset: impl lopper_core::Dataset + 'static,
    (strategy, name, origin): (Box<dyn PruningStrategy>, &str, &str),
) -> Participants {
    let pretrained = Pretrained::of(&model);
    Participants {
        model: Box::new(model),
        open_model: Box::new(move || Ok(Box::new(Pretrained::of(&pretrained)))),
        dataset: OpenDataset::new(Box::new(dataset)),
        strategy,
        identity: RunIdentity {
            model: "toy".into(),
            model_origin: "testkit 1".into(),
            dataset_origin: "testkit 1".into(),
            strategy: name.into(),
            strategy_origin: origin.into(),
            strategy_options: Default::default(),
        },
    }
}

/// One sitting of `spec`, writing into `out` and sharing `store`.
pub(crate) fn settings(spec: &RunSpec, out: &Path, store: &Path, stop: Arc<AtomicBool>) -> SessionSettings {
    // Two sessions must not train at once (`serial`), so more threads than one only wait for each other.
    tch::set_num_threads(1);
    SessionSettings {
        seed: spec.seed,
        device: Device::Cpu,
        precision: Precision::Float32,
        out: out.to_owned(),
        store: store.to_owned(),
        // Runs of one directory follow each other here, and each would let go of what the one before ended with.
        keep: Keep::All,
        wanted_by_others: Default::default(),
        lease: LEASE,
        evaluate_every: 0,
        evaluation: EvaluationBatches { rows: 64, budget: None },
        checkpoint: CheckpointEvery::OnInterrupt,
        checkpoints_kept: 1,
        save_model: true,
        save_dtype: lopper_weights::SaveDtype::Float32,
        replace: true,
        configuration: None,
        progress: false,
        tensorboard: false,
        max_skipped: 0,
        stop: Stop::watching(stop),
    }
}
