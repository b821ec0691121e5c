//! `cargo xtask demo`: four methods on a real pre-trained BERT, one table.

use crate::checkout::{Checkout, output, run as run_command};
use crate::{libtorch, minilm};
use anyhow::{Context, Result};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Also what `gpu-check` trains.
pub(crate) const CONFIG: &str = "examples/quickstart.toml";
const OUT: &str = "runs/quickstart";
const SPARSITIES: [f64; 3] = [0.3, 0.5, 0.7];
/// After dense, which no sparsity changes. The first is what the others' masks are compared with.
const METHODS: [&str; 3] = ["mpi", "omp", "parp"];

/// What the demo reads of `lopper run --json`.
#[derive(Debug, Deserialize)]
struct Record {
    metric: Metric,
    sparsity: f64,
    finetunings: u64,
    seconds: f64,
    model_dir: PathBuf,
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

/// One line of the table.
struct Row {
    method: &'static str,
    record: Record,
    /// With MPI's mask at the same sparsity.
    iou: Option<f64>,
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

    fn prune(&self, method: &str, sparsity: Option<f64>) -> Result<Record> {
        let out = sparsity.map_or_else(|| format!("{OUT}/{method}"), |s| format!("{OUT}/{method}-{s}"));
        let mut command = self.command();
        command.args(["run", CONFIG, "--out", &out, "--json", "--set", &format!("prune.method=\"{method}\"")]);
        if let Some(sparsity) = sparsity {
            command.args(["--set", &format!("prune.sparsity={sparsity}")]);
        }
        println!("$ lopper {}", crate::checkout::line(&command).split_once(' ').map_or("", |(_, arguments)| arguments));
        serde_json::from_str(&output(&mut command)?).with_context(|| format!("{out}: unexpected record"))
    }

    fn iou(&self, a: &Path, b: &Path) -> Result<f64> {
        let overlap = output(self.command().args(["mask", "iou"]).args([a, b]).arg("--json"))?;
        Ok(serde_json::from_str::<Overlap>(&overlap).context("unexpected overlap of masks")?.iou)
    }
}

/// The table, and below it where the models lie.
fn table(rows: &[Row]) -> String {
    let metric = rows.first().map_or("metric", |row| row.record.metric.name.as_str());
    let mut text = format!(
        "{:<8} {metric:>10} {:>9} {:>11} {:>8} {:>13}\n",
        "method", "sparsity", "finetunings", "minutes", "IOU with MPI"
    );
    for Row { method, record, iou } in rows {
        let iou = iou.map_or_else(|| "-".to_owned(), |iou| format!("{iou:.6}"));
        text += &format!(
            "{method:<8} {:>10.4} {:>9.6} {:>11} {:>8.2} {iou:>13}\n",
            record.metric.value,
            record.sparsity,
            record.finetunings,
            record.seconds / 60.0,
        );
    }
    text +=
        "\nminutes: what the method costs alone; a dense finetuning that several share was trained once\n\nmodels\n";
    for row in rows {
        text += &format!("  {}\n", row.record.model_dir.display());
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
    let mut rows = vec![Row { method: "dense", record: lopper.prune("dense", None)?, iou: None }];
    for sparsity in SPARSITIES {
        let mut reference: Option<PathBuf> = None;
        for method in METHODS {
            let record = lopper.prune(method, Some(sparsity))?;
            let iou = match &reference {
                Some(mask) => Some(lopper.iou(mask, &record.mask)?),
                None => None,
            };
            reference.get_or_insert_with(|| record.mask.clone());
            rows.push(Row { method, record, iou });
        }
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
        rows.len(),
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
    fn the_table_has_a_row_a_run_and_every_model() {
        let json = r#"{"metric": {"name": "accuracy", "value": 0.91234, "higher_is_better": true}, "sparsity": 0.5,
            "finetunings": 2, "seconds": 90.0, "model_dir": "runs/omp/model", "mask": "runs/omp/mask", "more": 1}"#;
        let record: Record = serde_json::from_str(json).unwrap();
        let table = table(&[Row { method: "omp", record, iou: Some(0.981) }]);
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines[0], "method     accuracy  sparsity finetunings  minutes  IOU with MPI");
        assert_eq!(lines[1], "omp          0.9123  0.500000           2     1.50      0.981000");
        assert_eq!(lines.last(), Some(&"  runs/omp/model"));
    }
}
