//! `cargo xtask gpu-check`: every path that a GPU takes, held against the CPU.
//!
//! One script, so that a machine with a GPU and nothing else of ours can run it: it needs this program, the `lopper`
//! binary, `examples/quickstart.toml` and `.models/minilm`. With `--device cpu` it compares the CPU with itself, which
//! shows that the script works.

use crate::checkout::{Checkout, output};
use crate::demo;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const UPDATES: u32 = 12;
const SPARSITY: &str = "0.7";
/// Between float32 losses of the same update: summation order differs, and the difference grows with each update.
const LOSS_TOLERANCE: f64 = 1e-3;
/// Between bf16 and float32 losses of the same update.
const BF16_TOLERANCE: f64 = 5e-2;
/// Between logits of one model and text.
const LOGIT_TOLERANCE: f64 = 1e-4;
/// Masks are found on weights that differ by rounding after training; before any training they must be equal.
const LEAST_IOU: f64 = 0.999;

/// Methods and their settings; between them every kind of initial mask, rewinding, re-pruning and moment masking.
const RUNS: [(&str, &[&str]); 5] = [
    ("rp", &["prune.kind=random_init_magnitude"]),
    ("omp", &[]),
    ("imp", &["prune.rounds=linear", "prune.step=0.35", "prune.rewind=0.25"]),
    ("parp", &["prune.every=4", "prune.moments=zero"]),
    ("parp-p", &["prune.every=4", "prune.from=[0.3, 0.5]"]),
];

#[derive(Deserialize)]
struct Record {
    seconds: f64,
    updates: u64,
    mask: PathBuf,
}

#[derive(Deserialize)]
struct Overlap {
    iou: f64,
}

#[derive(Deserialize)]
struct Prediction {
    logits: Vec<f64>,
}

/// What one device made of one method.
struct Outcome {
    record: Record,
    losses: Vec<f64>,
}

struct Check<'a> {
    lopper: &'a Path,
    root: &'a Path,
    out: PathBuf,
    failures: Vec<String>,
}

impl Check<'_> {
    fn lopper(&self, arguments: &[&str]) -> Result<String> {
        output(Command::new(self.lopper).current_dir(self.root).args(arguments))
    }

    fn path(&self, name: &str) -> String {
        self.out.join(name).display().to_string()
    }

    /// Notes a comparison, and whether it holds.
    fn hold(&mut self, what: &str, value: f64, holds: bool, wanted: &str) {
        println!("{} {what}: {value:.3e} (wanted {wanted})", if holds { "ok  " } else { "FAIL" });
        if !holds {
            self.failures.push(what.to_owned());
        }
    }

    fn iou(&self, a: &Path, b: &Path) -> Result<f64> {
        let text = self.lopper(&["mask", "iou", &a.display().to_string(), &b.display().to_string(), "--json"])?;
        Ok(serde_json::from_str::<Overlap>(&text).context("unexpected overlap of masks")?.iou)
    }

    /// The same weights, ranked on each device, give the same mask bit by bit.
    fn selection(&mut self, device: &str) -> Result<()> {
        let mut masks = Vec::new();
        for (name, device) in [("select-cpu", "cpu"), ("select-device", device)] {
            let out = self.path(name);
            let by = ["--by", "magnitude", "--sparsity", SPARSITY, "--device", device, "--out", &out];
            self.lopper(&[&["prune", ".models/minilm"], &by[..]].concat())?;
            masks.push(fs::read(Path::new(&out).join("mask.safetensors")).with_context(|| out.clone())?);
        }
        let equal = masks[0] == masks[1];
        self.hold("mask of the pre-trained weights", f64::from(u8::from(!equal)), equal, "0, equal files");
        Ok(())
    }

    fn train(&self, name: &str, device: &str, precision: &str, method: &str, settings: &[&str]) -> Result<Outcome> {
        let out = self.path(name);
        let mut all = vec![
            format!("device={device}"),
            format!("precision={precision}"),
            format!("prune.method={method}"),
            format!("prune.sparsity={SPARSITY}"),
            format!("train.updates={UPDATES}"),
            format!("run.store={}", self.path(&format!("{name}-store"))),
            "data.validation=100".to_owned(),
        ];
        // Devices draw dropout from different generators.
        all.extend(["hidden", "attention", "classifier"].map(|kind| format!("model.{kind}_dropout=0.0")));
        all.extend(settings.iter().map(|s| (*s).to_owned()));
        let mut command = Command::new(self.lopper);
        command.current_dir(self.root).args(["run", demo::CONFIG, "--json", "--out", &out]);
        for setting in &all {
            command.args(["--set", setting]);
        }
        let record = serde_json::from_str(&output(&mut command)?).context("unexpected record")?;
        let lines = fs::read_to_string(Path::new(&out).join("metrics.jsonl")).with_context(|| out.clone())?;
        let events = lines.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
        let updates = events.iter().filter(|event| event["event"] == "update");
        Ok(Outcome { record, losses: updates.map(|event| event["loss"].as_f64().unwrap_or(f64::NAN)).collect() })
    }

    /// Every method trains alike on both devices.
    fn training(&mut self, device: &str) -> Result<()> {
        for (method, settings) in RUNS {
            let cpu = self.train(&format!("{method}-cpu"), "cpu", "float32", method, settings)?;
            let other = self.train(&format!("{method}-device"), device, "float32", method, settings)?;
            let worst = furthest(&cpu.losses, &other.losses)?;
            let wanted = format!("at most {LOSS_TOLERANCE}");
            self.hold(&format!("{method}: losses, float32"), worst, worst <= LOSS_TOLERANCE, &wanted);
            let iou = self.iou(&cpu.record.mask, &other.record.mask)?;
            self.hold(
                &format!("{method}: IOU of final masks"),
                iou,
                iou >= LEAST_IOU,
                &format!("at least {LEAST_IOU}"),
            );
            let speed = |outcome: &Outcome| 1e3 * outcome.record.seconds / outcome.record.updates as f64;
            println!("     {method}: {:.1} ms an update on the CPU, {:.1} ms here", speed(&cpu), speed(&other));
            if method == "parp" {
                let half = self.train("parp-bf16", device, "bf16", method, settings)?;
                let worst = furthest(&cpu.losses, &half.losses)?;
                let wanted = format!("at most {BF16_TOLERANCE}");
                self.hold("parp: losses, bf16 against float32", worst, worst <= BF16_TOLERANCE, &wanted);
                println!("     parp, bf16: {:.1} ms an update", speed(&half));
            }
        }
        Ok(())
    }

    /// A saved model answers alike on both devices.
    fn prediction(&mut self, device: &str) -> Result<()> {
        let model = self.path("parp-cpu/model");
        let ask = |check: &Self, device: &str| -> Result<Vec<f64>> {
            let text = ["--text", "The author near these kings is tired.", "--device", device, "--json"];
            let answer = check.lopper(&[&["predict", &model], &text[..]].concat())?;
            let value: serde_json::Value = serde_json::from_str(&answer).context("unexpected prediction")?;
            let one = value.as_array().and_then(|all| all.first()).cloned().unwrap_or(value);
            Ok(serde_json::from_value::<Prediction>(one).context("unexpected prediction")?.logits)
        };
        let worst = furthest(&ask(self, "cpu")?, &ask(self, device)?)?;
        self.hold("logits of a saved model", worst, worst <= LOGIT_TOLERANCE, &format!("at most {LOGIT_TOLERANCE}"));
        Ok(())
    }
}

/// The largest difference, relative to the first where that is above 1. Not a number is the furthest of all.
fn furthest(a: &[f64], b: &[f64]) -> Result<f64> {
    if a.len() != b.len() || a.is_empty() {
        bail!("{} numbers on the CPU, {} on the device", a.len(), b.len());
    }
    let distances = a.iter().zip(b).map(|(a, b)| (a - b).abs() / a.abs().max(1.0));
    Ok(distances.fold(0.0, |worst, d| if d.is_nan() { f64::INFINITY } else { worst.max(d) }))
}

/// Compares `device` with the CPU, using `lopper`.
///
/// # Errors
/// A comparison that does not hold, all of them named; a command that fails, as it does without a GPU.
pub(crate) fn run(checkout: &Checkout, lopper: &Path, device: &str) -> Result<()> {
    let out = checkout.path("runs/gpu-check");
    if out.exists() {
        // Stored stages of an earlier check would be compared instead of trained.
        fs::remove_dir_all(&out).with_context(|| format!("{}: cannot be removed", out.display()))?;
    }
    fs::create_dir_all(&out).with_context(|| format!("{}: cannot be made", out.display()))?;
    let lopper = std::path::absolute(lopper)?;
    let mut check = Check { lopper: &lopper, root: checkout.root(), out, failures: Vec::new() };
    check.selection(device)?;
    check.training(device)?;
    check.prediction(device)?;
    if check.failures.is_empty() {
        println!("{device} agrees with the CPU");
        return Ok(());
    }
    bail!("{device} does not agree with the CPU: {}", check.failures.join("; "))
}

#[cfg(test)]
mod tests {
    use super::furthest;

    #[test]
    fn distances_are_relative_above_one_and_never_hide_a_nan() {
        assert_eq!(furthest(&[0.5, 10.0], &[0.25, 12.0]).unwrap(), 0.25);
        assert_eq!(furthest(&[1.0, 1.0], &[f64::NAN, 1.0]).unwrap(), f64::INFINITY);
        assert!(furthest(&[1.0], &[]).is_err());
    }
}
