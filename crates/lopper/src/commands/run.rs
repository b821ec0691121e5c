//! `lopper run`: the main job.

use super::ConfigArguments;
use crate::output::{self, Table, count, duration, quantity};
use crate::signals::stop_on_signals;
use crate::sweep::Beginning;
use crate::terminal;
use lopper_core::Result;
use lopper_session::{RunRecord, StoreCache, warn_of_long_intervals};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArguments,

    /// Read every file of the data again, also those that have not changed since a run looked at them
    #[arg(long)]
    verify: bool,

    /// Take the place of the finished run of another configuration in the run's directory, which is refused otherwise
    #[arg(long)]
    replace: bool,
}

impl Arguments {
    pub(super) fn execute(&self, json: bool) -> Result<()> {
        let stop = stop_on_signals(super::INTERRUPTED)?;
        if let Some(sweep) = self.config.sweep()? {
            let beginning = Beginning { stop: &stop, verify: self.verify, replace: self.replace, elsewhere: false };
            let record = sweep.run(&beginning, |told| terminal::line(&told.line()))?;
            output::report(json, &record, || record.text())?;
            return record.result();
        }
        let mut experiment = self.config.load()?;
        experiment.set_replace(self.replace);
        let cache = StoreCache::new(experiment.store(), self.verify);
        let mut session = experiment.into_session(stop, &cache)?;
        warn_of_long_intervals(session.stages());
        // It saves time alone.
        cache.write().unwrap_or_else(|e| tracing::warn!("{e}"));
        let record = session.run()?;
        output::report(json, &record, || text(&record))
    }
}

/// What was left out of splits and updates; `None` when nothing was.
fn counted(record: &RunRecord) -> Option<Table> {
    let splits = record.counts.iter().map(|(split, counts)| (format!("split {split}"), counts));
    let stages = record.stages.iter().map(|stage| (format!("updates of {}", stage.name), &stage.counts));
    let all: Vec<_> = splits.chain(stages).filter(|(_, counts)| !counts.is_empty()).collect();
    let mut table = Table::new(["<in", "<counted", "number"]);
    for (place, counts) in &all {
        counts.iter().for_each(|(what, number)| table.row([place.clone(), what.clone(), count(*number)]));
    }
    (!all.is_empty()).then_some(table)
}

fn text(record: &RunRecord) -> String {
    let mut stages = Table::new(["<stage", "updates", "sparsity", "time", "<"]);
    for stage in &record.stages {
        stages.row([
            stage.name.clone(),
            count(stage.updates),
            format!("{:.6}", stage.sparsity),
            duration(stage.seconds),
            if stage.trained { "trained" } else { "from the store" }.to_owned(),
        ]);
    }
    let mut metrics = Table::new(["<split", "<metric", "value"]);
    for split in &record.metrics {
        for metric in &split.metrics {
            metrics.row([split.split.as_str().to_owned(), metric.name.clone(), format!("{:.4}", metric.value)]);
        }
    }
    let not_judged = || "not finetuned, so not judged".to_owned();
    let metric = record.metric.as_ref().map_or_else(not_judged, |m| format!("{} {:.4}", m.name, m.value));
    let before = match record.zeros_at_start {
        0 => String::new(),
        zeros => format!("\n{} of these entries were zero before the run", count(zeros)),
    };
    let counted = counted(record).map(|table| format!("\n{}", table.render())).unwrap_or_default();
    let model = record.model_dir.as_ref().map_or(String::new(), |at| format!("\nmodel  {}", at.display()));
    format!(
        "{} on {}: {metric} at sparsity {:.6} ({} of {} pruned), {}, {}{before}\n\n{}\n{}{counted}{model}\nmask   {}",
        record.method,
        record.task,
        record.sparsity,
        count(record.pruned),
        count(record.entries),
        quantity(record.finetunings, "finetuning"),
        duration(record.seconds),
        stages.render(),
        metrics.render(),
        record.mask.display(),
    )
}
