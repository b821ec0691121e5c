//! `cargo xtask demo`: four methods on a real pre-trained BERT, one table.

use crate::checkout::{Checkout, output, output_later, run as run_command};
use crate::{libtorch, minilm};
use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Also what `gpu-check` trains.
pub(crate) const CONFIG: &str = "examples/quickstart.toml";
const OUT: &str = "runs/quickstart";
const SPARSITY: f64 = 0.5;
/// After dense, which no sparsity changes. The first is what the others' masks are compared with.
const METHODS: [&str; 3] = ["mpi", "omp", "parp"];
/// One seed says nothing. Models are saved of the first alone.
const SEEDS: [u64; 3] = [57, 1, 2];

/// What the demo reads of `lopper run --json`.
#[derive(Debug, Deserialize)]
struct Record {
    metric: Metric,
    sparsity: f64,
    finetunings: u64,
    seconds: f64,
    model_dir: Option<PathBuf>,
    mask: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Metric {
    name: String,
    value: f64,
}

#[derive(Debug, Deserialize)]
struct Overlap {
    iou: f64,
}

/// One line of the table: a method at a sparsity, over the seeds.
struct Row {
    method: &'static str,
    /// One a seed.
    records: Vec<Record>,
    /// With MPI's mask at the same sparsity; one a seed, but for MPI itself and for dense.
    ious: Vec<f64>,
}

/// The built command line.
struct Lopper<'a> {
    checkout: &'a Checkout,
    binary: PathBuf,
}

impl Lopper<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.checkout.root());
        command
    }

    /// Runs a method with every seed, all at once: small matrices keep two threads less busy than two runs.
    fn prune(&self, method: &'static str, sparsity: Option<f64>, reference: Option<&Row>) -> Result<Row> {
        let ended = std::thread::scope(|scope| {
            let runs = SEEDS.map(|seed| scope.spawn(move || self.prune_once(method, sparsity, seed)));
            runs.map(|run| run.join().unwrap_or_else(|_| Err(anyhow!("a thread of the demo panicked"))))
        });
        let records = ended.into_iter().collect::<Result<Vec<_>>>()?;
        let pairs = reference.iter().flat_map(|row| row.records.iter().zip(&records));
        let ious = pairs.map(|(one, other)| self.iou(&one.mask, &other.mask)).collect::<Result<Vec<_>>>()?;
        Ok(Row { method, records, ious })
    }

    fn prune_once(&self, method: &str, sparsity: Option<f64>, seed: u64) -> Result<Record> {
        let name = sparsity.map_or_else(|| method.to_owned(), |sparsity| format!("{method}-{sparsity}"));
        let out = format!("{OUT}/{name}-{seed}");
        let mut command = self.command();
        // The directory is the demo's own, whatever another version of it left there.
        command.args(["run", CONFIG, "--out", &out, "--replace", "--json", "--set"]);
        command.args([format!("prune.method={method}"), format!("seed={seed}")]);
        command.args(sparsity.map(|sparsity| format!("prune.sparsity={sparsity}")));
        command.args((seed != SEEDS[0]).then_some("run.save_model=false"));
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        command.env("OMP_NUM_THREADS", (cores / SEEDS.len()).max(1).to_string());
        println!("$ lopper {}", crate::checkout::line(&command).split_once(' ').map_or("", |(_, arguments)| arguments));
        // Several progress bars on one terminal would draw over each other.
        let record = if seed == SEEDS[0] { output(&mut command) } else { output_later(&mut command) };
        serde_json::from_str(&record?).with_context(|| format!("{out}: unexpected record"))
    }

    fn iou(&self, a: &Path, b: &Path) -> Result<f64> {
        let overlap = output(self.command().args(["mask", "iou"]).args([a, b]).arg("--json"))?;
        Ok(serde_json::from_str::<Overlap>(&overlap).context("unexpected overlap of masks")?.iou)
    }
}

/// The mean; `None` of nothing.
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, number) = values.fold((0.0, 0u32), |(sum, number), value| (sum + value, number + 1));
    (number > 0).then(|| sum / f64::from(number))
}

/// The table, what its numbers are, and where the models lie.
fn table(rows: &[Row]) -> String {
    let metric = rows.iter().flat_map(|row| &row.records).next().map_or("metric", |record| record.metric.name.as_str());
    let mut text = format!(
        "{:<8} {:>9} {metric:>10} {:>16} {:>11} {:>8} {:>13}\n",
        "method", "sparsity", "lowest, highest", "finetunings", "minutes", "IOU with MPI"
    );
    for Row { method, records, ious } in rows {
        let of = |value: fn(&Record) -> f64| records.iter().map(value);
        let lowest = of(|record| record.metric.value).fold(f64::INFINITY, f64::min);
        let highest = of(|record| record.metric.value).fold(f64::NEG_INFINITY, f64::max);
        let iou = mean(ious.iter().copied()).map_or_else(|| "-".to_owned(), |iou| format!("{iou:.6}"));
        text += &format!(
            "{method:<8} {:>9.6} {:>10.4} {:>16} {:>11} {:>8.2} {iou:>13}\n",
            mean(of(|record| record.sparsity)).unwrap_or_default(),
            mean(of(|record| record.metric.value)).unwrap_or_default(),
            format!("{lowest:.4}, {highest:.4}"),
            records.first().map_or(0, |record| record.finetunings),
            mean(of(|record| record.seconds)).unwrap_or_default() / 60.0,
        );
    }
    text += &format!(
        "\n{metric}, minutes, IOU: means of {} seeds ({}), and of {metric} the lowest and the highest. Where the ranges of two \
         methods\noverlap, no difference between them is shown. minutes: what the method costs alone, for one seed; a dense \
         finetuning\nthat several share was trained once\n\nmodels, of seed {}\n",
        SEEDS.len(),
        SEEDS.map(|seed| seed.to_string()).join(", "),
        SEEDS[0],
    );
    for model in rows.iter().flat_map(|row| &row.records).filter_map(|record| record.model_dir.as_ref()) {
        text += &format!("  {}\n", model.display());
    }
    text
}

/// Sets up, builds and runs the quickstart.
///
/// # Errors
/// A failed set-up, build or run.
pub(crate) fn run(checkout: &Checkout) -> Result<()> {
    let start = Instant::now();
    libtorch::ensure(checkout, false)?;
    minilm::ensure(checkout)?;
    let set_up = start.elapsed();

    let start = Instant::now();
    let binary = build(checkout)?;
    let build = start.elapsed();

    let start = Instant::now();
    let lopper = Lopper { checkout, binary };
    let mut rows = vec![lopper.prune("dense", None, None)?];
    for method in METHODS {
        let row = lopper.prune(method, Some(SPARSITY), rows.get(1))?;
        rows.push(row);
    }
    let table = table(&rows);
    let path = checkout.path(OUT).join("table.txt");
    fs::write(&path, &table).with_context(|| format!("{}: cannot be written", path.display()))?;
    println!("\n{table}");
    let minutes = |time: std::time::Duration| time.as_secs_f64() / 60.0;
    println!(
        "set-up {:.1} min, build {:.1} min, {} runs {:.1} min",
        minutes(set_up),
        minutes(build),
        rows.iter().map(|row| row.records.len()).sum::<usize>(),
        minutes(start.elapsed())
    );
    Ok(())
}

/// Builds the command line and returns where it is.
///
/// In the development profile, which is optimised, and with the features of the whole workspace: another profile or fewer
/// features would build torch-sys' C++ a second time, for minutes, and the tests need the first one anyway.
///
/// # Errors
/// A failed build.
pub(crate) fn build(checkout: &Checkout) -> Result<PathBuf> {
    run_command(&mut checkout.cargo(["build", "--locked", "--workspace", "--bin", "lopper"]))?;
    Ok(target_directory(checkout)?.join("debug/lopper"))
}

/// Where cargo builds, which a user's configuration may have moved.
///
/// # Errors
/// When cargo cannot say.
pub(crate) fn target_directory(checkout: &Checkout) -> Result<PathBuf> {
    #[derive(Deserialize)]
    struct Place {
        target_directory: PathBuf,
    }
    let metadata = output(&mut checkout.cargo(["metadata", "--no-deps", "--format-version", "1"]))?;
    Ok(serde_json::from_str::<Place>(&metadata)?.target_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_means_ranges_and_the_models_of_one_seed() {
        let record = |value: f64, model: &str| {
            let json = format!(
                r#"{{"metric": {{"name": "accuracy", "value": {value}, "higher_is_better": true}}, "sparsity": 0.5,
                    "finetunings": 2, "seconds": 90.0, {model} "mask": "runs/omp/mask", "more": 1}}"#
            );
            serde_json::from_str::<Record>(&json).unwrap()
        };
        let records = vec![record(0.9, r#""model_dir": "runs/omp/model","#), record(0.6, ""), record(0.75, "")];
        let row = Row { method: "omp", records, ious: vec![0.98, 0.99, 0.97] };
        let dense = Row { method: "dense", records: vec![record(1.0, "")], ious: vec![] };
        let table = table(&[row, dense]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "method    sparsity   accuracy  lowest, highest finetunings  minutes  IOU with MPI");
        assert_eq!(lines[1], "omp       0.500000     0.7500   0.6000, 0.9000           2     1.50      0.980000");
        assert_eq!(lines[2], "dense     0.500000     1.0000   1.0000, 1.0000           2     1.50             -");
        assert!(table.contains("means of 3 seeds (57, 1, 2)"), "{table}");
        assert_eq!(lines.last(), Some(&"  runs/omp/model"));
    }
}
