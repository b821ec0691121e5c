//! Global magnitude selection over BERT-base's encoder, against PyTorch's and against the memory.

use super::Bench;
use super::report::{Figure, Target, median};
use crate::checkout::output;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What the reference prunes too.
const ENTRIES: u64 = 84_934_656;

/// What is compared of the medians that `crates/lopper-mask/examples/mask_speed.rs` prints, in seconds.
#[derive(Debug, Deserialize)]
struct Lopper {
    read_pass: f64,
    floor_fresh: f64,
    fresh: f64,
    warm_unchanged: f64,
    #[serde(alias = "warm_thousand_swaps")]
    warm_thousand_swap: f64,
    apply: f64,
    pack: f64,
    iou: f64,
    extra_bytes: u64,
}

/// What `benches/reference/selection.py` prints.
#[derive(Debug, Deserialize, Serialize)]
struct Torch {
    global_unstructured: Vec<f64>,
    kthvalue: Vec<f64>,
    extra_bytes: u64,
}

/// The medians that `benches/lopper/selection.rs` prints, in seconds.
#[derive(Debug, Deserialize)]
struct OnDevice {
    read_pass: f64,
    fresh: f64,
    warm_unchanged: f64,
    warm_thousand_swap: f64,
}

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    if bench.options.setting.is_gpu() { on_device(bench) } else { on_host(bench) }
}

/// On a GPU there is no floor to hold it against: launches and the way to the host count as much as the memory.
fn on_device(bench: &mut Bench<'_>) -> Result<()> {
    let mut command = bench.example("device_selection")?;
    let printed = output(command.arg(&bench.options.setting.device))?;
    let printed: serde_json::Value = serde_json::from_str(&printed).context("device_selection: no JSON")?;
    let ours = OnDevice::deserialize(&printed).context("device_selection: unexpected measurements")?;
    let torch = torch(bench)?;
    let report = &mut bench.report;
    report.raw.insert("selection".into(), serde_json::json!({"lopper": printed, "torch": &torch}));
    report.conditions.push(format!(
        "Selection: {ENTRIES} entries in the 72 matrices of BERT-base's encoder, bell-shaped, 70 % pruned, all on the GPU; \
         Lopper's masks end as bits on the host and are not applied; `global_unstructured` leaves masks on the GPU and \
         multiplies them in. Medians; the first of torch's is left out"
    ));
    let seconds = Figure::seconds;
    if let Some(torch) = &torch {
        let kthvalue = "`kthvalue`, the threshold alone";
        for (what, theirs) in [("`global_unstructured`", &torch.global_unstructured), (kthvalue, &torch.kthvalue)] {
            let what = format!("torch {what} / fresh selection");
            report.compare(what, Target::None, seconds(median(theirs)), seconds(ours.fresh));
        }
        let theirs = seconds(median(&torch.global_unstructured));
        report.compare(
            "torch `global_unstructured` / warm re-prune",
            Target::None,
            theirs,
            seconds(ours.warm_unchanged),
        );
    }
    for (what, time) in [("nothing changed", ours.warm_unchanged), ("a thousand swap", ours.warm_thousand_swap)] {
        report.compare(
            format!("warm re-prune, {what} / read pass"),
            Target::None,
            seconds(time),
            seconds(ours.read_pass),
        );
    }
    Ok(())
}

fn on_host(bench: &mut Bench<'_>) -> Result<()> {
    let mut command = bench.example("mask_speed")?;
    let printed: serde_json::Value = serde_json::from_str(&output(&mut command)?).context("mask_speed: no JSON")?;
    let ours = Lopper::deserialize(&printed).context("mask_speed: unexpected measurements")?;
    let torch = torch(bench)?;
    let report = &mut bench.report;
    report.raw.insert("selection".into(), serde_json::json!({"lopper": printed, "torch": &torch}));
    report.conditions.push(format!(
        "Selection: {ENTRIES} entries in the 72 matrices of BERT-base's encoder, bell-shaped, 70 % pruned; the floor of a \
         fresh selection is the memory traffic that it cannot do without, measured; medians"
    ));
    let seconds = Figure::seconds;
    if let Some(torch) = &torch {
        let (unstructured, kthvalue) = (median(&torch.global_unstructured), median(&torch.kthvalue));
        let fresh = seconds(ours.fresh);
        report.compare(
            "torch `global_unstructured` / fresh selection",
            Target::AtLeast(100.0),
            seconds(unstructured),
            fresh,
        );
        report.compare(
            "torch `kthvalue`, the threshold alone / fresh selection",
            Target::None,
            seconds(kthvalue),
            fresh,
        );
        let (theirs, extra) = (Figure::bytes(torch.extra_bytes), Figure::bytes(ours.extra_bytes));
        report.compare("extra memory of `global_unstructured` / of a selection", Target::None, theirs, extra);
    }
    let read = seconds(ours.read_pass);
    report.compare("fresh selection / floor", Target::AtMost(3.0), seconds(ours.fresh), seconds(ours.floor_fresh));
    report.compare(
        "warm re-prune, nothing changed / read pass",
        Target::AtMost(2.0),
        seconds(ours.warm_unchanged),
        read,
    );
    let swaps = seconds(ours.warm_thousand_swap);
    report.compare("warm re-prune, a thousand swap / read pass", Target::AtMost(2.0), swaps, read);
    let weights = Figure::bytes(ENTRIES * 4);
    report.compare("extra memory / weights", Target::AtMost(0.05), Figure::bytes(ours.extra_bytes), weights);
    for (what, value) in [("apply", ours.apply), ("pack", ours.pack), ("IOU", ours.iou)] {
        report.compare(format!("{what} / read pass"), Target::None, seconds(value), read);
    }
    Ok(())
}

/// Torch's measurements, unless it is not there.
fn torch(bench: &mut Bench<'_>) -> Result<Option<Torch>> {
    let repetitions = if bench.options.short { "1" } else { "3" };
    let command = bench.references().map(|references| references.script("selection.py"));
    match command {
        Err(reason) => {
            bench.report.skip("selection beside torch", &reason);
            Ok(None)
        }
        Ok(mut command) => {
            let printed = output(command.args(["--repetitions", repetitions]))?;
            Ok(Some(serde_json::from_str(&printed).context("selection.py: unexpected measurements")?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_read_beside_whatever_else_is_printed() {
        let printed = r#"{"rounds": 15, "read_pass": 0.01, "floor_fresh": 0.05, "fresh": 0.1, "warm_unchanged": 0.012,
            "warm_thousand_swap": 0.015, "apply": 0.02, "pack": 0.03, "iou": 0.001, "extra_bytes": 1000}"#;
        let ours: Lopper = serde_json::from_str(printed).unwrap();
        assert_eq!((ours.warm_thousand_swap, ours.extra_bytes), (0.015, 1000));
        assert!(serde_json::from_str::<Lopper>("{}").is_err(), "a missing median is no measurement");
    }
}
