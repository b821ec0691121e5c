//! An update of wav2vec 2.0 of the base size beside one in `transformers`.

use super::Bench;
use super::arm::{Arm, interleave, peaks};
use super::report::{Figure, Target, median};
use crate::checkout::run as run_command;
use anyhow::Result;
use serde_json::json;
use toml::{Table, toml};

/// Recordings a batch and seconds each.
const ROWS: usize = 8;
const SECONDS: usize = 5;
/// Updates left out at the start, where memory is fetched.
const WARM_UP: usize = 1;

/// Attention of each reference. The first decides.
const REFERENCES: [&str; 2] = ["sdpa", "eager"];

pub(super) fn run(bench: &mut Bench<'_>) -> Result<()> {
    let updates = if bench.options.short { 1 } else { 9 };
    let model = bench.folder("speech model")?;
    let data = bench.folder("speech data")?;
    let mut make = bench.references()?.script("speech.py");
    run_command(
        make.args(["make", "--rows", &ROWS.to_string(), "--seconds", &SECONDS.to_string()]).arg(&model).arg(&data),
    )?;

    let folder = bench.folder("speech lopper")?;
    let config = toml! {
        [model]
        name = "paced-wav2vec2"
        [data]
        name = "speech"
        dictionary = "letters"
        [train]
        batch_size = 8
        optimizer = "adamw"
        learning_rate = 5e-5
    };
    let mut lopper = bench.finetune(config, &model, &data, &folder, Table::new())?;
    let mut arms = vec![Arm::start("lopper", &mut lopper, &folder)?];
    for attention in REFERENCES {
        let mut command = bench.references()?.script("speech.py");
        command.args(["train", "--attention", attention]).arg(&model).arg(&data);
        arms.push(Arm::start(attention, &mut command, &folder)?);
    }
    interleave(&mut arms, WARM_UP + updates, 1)?;

    let (precision, memory) = (bench.precision(), bench.memory());
    let peaks = peaks(&arms, bench.options.setting.is_gpu())?;
    let report = &mut bench.report;
    report.conditions.push(format!(
        "Speech: wav2vec 2.0 of the base size with random weights, {precision}, {ROWS} recordings of {SECONDS} s, feature encoder \
         frozen, dropout 0.1, time and channels masked, no layer drop; {updates} updates of each process, one in turn, the \
         first {WARM_UP} left out; medians. A time of Lopper is a whole update: batch, forward, CTC, backward, norm and \
         clipping, AdamW, metrics; one of transformers is zero_grad, forward, CTC, backward, clip_grad_norm_, fused AdamW on \
         a batch made beforehand. {memory}"
    ));
    let seconds = |arm: &Arm| Figure::seconds(median(&arm.seconds()[WARM_UP..]));
    let mut raw = serde_json::Map::new();
    let ours = &arms[0];
    let audio = Figure::seconds((ROWS * SECONDS) as f64);
    report.compare("seconds of audio a second, Lopper", Target::None, audio, seconds(ours));
    for (place, arm) in arms.iter().enumerate() {
        raw.insert(arm.name().into(), json!({"seconds": arm.seconds(), "peak_bytes": peaks[place]}));
        if place > 0 {
            let decides = place == 1;
            let what = format!("wav2vec 2.0 base: transformers ({}) / Lopper", arm.name());
            let target = if decides { Target::AtLeast(1.0) } else { Target::None };
            report.compare(what, target, seconds(arm), seconds(ours));
            let memory = format!("wav2vec 2.0 base: peak memory / transformers' ({})", arm.name());
            let target = if decides { Target::AtMost(1.0) } else { Target::None };
            report.compare_memory(memory, target, peaks[0], peaks[place]);
        }
    }
    report.raw.insert("speech".into(), raw.into());
    Ok(())
}
