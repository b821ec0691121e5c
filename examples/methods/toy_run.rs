//! A run of any registered method on a toy, as the command line does it with a model and a dataset plugin.

use lopper::session::{
    CheckpointEvery, EvaluationBatches, Keep, LEASE, OpenDataset, Participants, Precision, RunIdentity, RunRecord,
    Session, SessionSettings,
};
use lopper::{Error, Model, Result, Sparsity, StrategyEntry, registry};
use lopper_testkit::{ToyConfig, ToyData, ToyDataset, ToyModel};
use std::path::Path;
use tch::Device;

/// One run of a registered method on the toy, as the command line would do it with a model and a dataset plugin.
pub(crate) fn run(method: &str, options: &str, sparsity: Sparsity, directory: &Path) -> Result<RunRecord> {
    let entry = registry::find::<StrategyEntry>(method)?;
    let options: toml::Table =
        options.parse().map_err(|e| Error::invalid("options", options, format!("TOML ({e})")))?;
    let open_model =
        || -> Result<Box<dyn Model>> { Ok(Box::new(ToyModel::new(ToyConfig::default(), 1, 2, Device::Cpu)?)) };
    let participants = Participants {
        model: open_model()?,
        open_model: Box::new(open_model),
        dataset: OpenDataset::new(Box::new(ToyDataset::new(&ToyData::default())?)),
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
        keep: Keep::default(),
        wanted_by_others: Default::default(),
        lease: LEASE,
        evaluate_every: 0,
        evaluation: EvaluationBatches { rows: 256, budget: None },
        checkpoint: CheckpointEvery::OnInterrupt,
        checkpoints_kept: 1,
        save_model: true,
        save_dtype: lopper::weights::SaveDtype::Float32,
        replace: false,
        configuration: None,
        progress: false,
        tensorboard: false,
        max_skipped: 3,
        stop: Default::default(),
    };
    Session::new(participants, lopper_testkit::run_spec(sparsity, 300), settings)?.run()
}
