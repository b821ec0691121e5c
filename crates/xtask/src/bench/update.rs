//! An update of MiniLM beside one in `transformers`.

use super::Bench;
use super::arm::{Arm, interleave, peaks};
use super::data::write_even;
use super::report::{Figure, Target, median};
use anyhow::Result;
use serde_json::json;
use toml::Table;

const LENGTHS: [usize; 3] = [16, 48, 128];
/// Updates left out at the start, where memory is fetched.
const WARM_UP: usize = 3;
/// Updates in a row of one process: few enough that noise meets all alike, enough to fill the caches again.
const TURN: usize = 3;

/// Attention and optimizer of each reference. The first decides.
const REFERENCES: [(&str, &str, &str); 3] = [
    ("eager, fused AdamW", "eager", "fused"),
    ("eager, default AdamW", "eager", "default"),
    ("sdpa, fused AdamW", "sdpa", "fused"),
];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let updates = if bench.options.short { 2 * TURN } else { 12 * TURN };
    let memory = bench.memory();
    let (model, precision) = (bench.options.model_name(), bench.precision());
    bench.report.conditions.push(format!(
        "An update: {model}, {precision}, dropout 0.1, batches of 32 sentences of one length without padding; {updates} updates \
         of each process, {TURN} in turn, the first {WARM_UP} left out; medians. A time of Lopper is a whole update: batch, \
         forward, backward, norm and clipping, AdamW, metrics; one of transformers is zero_grad, forward, backward, \
         clip_grad_norm_, AdamW on batches made beforehand. {memory}"
    ));
    for length in LENGTHS {
        at_length(bench, length, updates)?;
    }
    Ok(())
}

fn at_length(bench: &mut Bench<'_>, length: usize, updates: usize) -> Result<()> {
    println!("  {length} tokens");
    let folder = bench.folder(&format!("update {length}"))?;
    write_even(&bench.model()?.join("vocab.txt"), length, &folder)?;
    let mut arms = vec![Arm::start("lopper", &mut bench.lopper(&folder, &folder, Table::new())?, &folder)?];
    for (name, attention, adamw) in REFERENCES {
        let mut command = bench.references()?.script("update.py");
        command.args(["--attention", attention, "--adamw", adamw]).arg(bench.model()?).arg(&folder);
        arms.push(Arm::start(name, &mut command, &folder)?);
    }
    interleave(&mut arms, WARM_UP + updates, TURN)?;

    let peaks = peaks(&arms, bench.options.setting.is_gpu())?;
    let seconds = |arm: &Arm| Figure::seconds(median(&arm.seconds()[WARM_UP..]));
    let mut raw = serde_json::Map::new();
    let ours = &arms[0];
    for (place, arm) in arms.iter().enumerate() {
        raw.insert(arm.name().into(), json!({"seconds": arm.seconds(), "peak_bytes": peaks[place]}));
        if place > 0 {
            let target = if place == 1 { Target::AtLeast(1.0) } else { Target::None };
            let what = format!("{length} tokens: transformers ({}) / Lopper", arm.name());
            bench.report.compare(what, target, seconds(arm), seconds(ours));
        }
    }
    let memory = format!("{length} tokens: peak memory / transformers'");
    bench.report.compare_memory(memory, Target::AtMost(1.0), peaks[0], peaks[1]);
    bench.report.raw.insert(format!("update_{length}"), raw.into());
    Ok(())
}
