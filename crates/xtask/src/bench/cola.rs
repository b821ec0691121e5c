//! An epoch of CoLA beside `transformers`' Trainer.

use super::Bench;
use super::arm::{Arm, interleave, peaks};
use super::data::{ROWS, cola_file, write_cola};
use super::report::{Figure, Target};
use anyhow::{Context, Result};
use serde_json::json;
use std::path::PathBuf;
use toml::toml;

/// Sentences of a short run.
const SHORT: usize = 300;
/// Updates in a row of one process.
const TURN: usize = 4;

/// Padding of each reference, and how many times faster Lopper must be.
const REFERENCES: [(&str, &str, f64); 2] =
    [("Trainer, padded to 128", "fixed", 4.0), ("Trainer, dynamic padding", "dynamic", 1.2)];

/// CoLA's training file.
///
/// # Errors
/// Without `--glue`, or when it is not there.
pub(super) fn file(bench: &Bench<'_>) -> Result<PathBuf> {
    let glue = bench.options.glue.as_ref().context("give GLUE's folder with --glue=DIR")?;
    cola_file(glue).with_context(|| format!("{}: neither CoLA/train.tsv nor train.tsv is there", glue.display()))
}

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let data = bench.folder("cola")?;
    let limit = bench.options.cola_examples.or(bench.options.short.then_some(SHORT));
    let examples = write_cola(&file(bench)?, limit, &data)?;
    let updates = examples.div_ceil(ROWS);
    let bucketed = toml! { [train]
    bucket_by_length = true };
    let folder = bench.folder("cola lopper")?;
    let mut arms = vec![Arm::start("lopper", &mut bench.lopper(&data, &folder, bucketed)?, &folder)?];
    for (name, padding, _) in REFERENCES {
        let mut command = bench.references()?.script("trainer.py");
        command.args(["--padding", padding]).arg(bench.model()?).arg(&data);
        arms.push(Arm::start(name, &mut command, &folder)?);
    }
    interleave(&mut arms, updates, TURN)?;

    let total = |arm: &Arm| Figure::seconds(arm.seconds().iter().sum());
    let of =
        if limit.is_some() { format!("the first {examples} sentences") } else { format!("all {examples} sentences") };
    let (memory, model, precision) = (bench.memory(), bench.options.model_name(), bench.precision());
    let peaks = peaks(&arms, bench.options.setting.is_gpu())?;
    let report = &mut bench.report;
    report.conditions.push(format!(
        "CoLA: one epoch of {model} over {of}, {precision}, {updates} updates of 32, {TURN} in turn; times of updates summed, what they \
         wait for their batches included, tokenising and evaluation excluded on all sides. Lopper \
         forms batches of like length (bucket_by_length) and leaves padding out; the Trainer shuffles and runs eager \
         attention and its default optimizer, fused AdamW. {memory}"
    ));
    let (ours, references) = (&arms[0], &arms[1..]);
    let mut raw = serde_json::Map::from_iter([("examples".to_owned(), json!(examples))]);
    for (arm, peak) in arms.iter().zip(&peaks) {
        raw.insert(arm.name().into(), json!({"seconds": arm.seconds(), "peak_bytes": peak}));
    }
    report.raw.insert("cola".into(), raw.into());
    for ((arm, peak), (name, _, times)) in references.iter().zip(&peaks[1..]).zip(REFERENCES) {
        report.compare(format!("{name} / Lopper"), Target::AtLeast(times), total(arm), total(ours));
        report.compare_memory(format!("peak memory / {name}'s"), Target::AtMost(1.0), peaks[0], *peak);
    }
    Ok(())
}
