//! `cargo xtask gpu-check`: every path that a GPU takes, held against the CPU.
//!
//! One script, so that a machine with a GPU and nothing else of ours can run it: it needs this program, the `lopper`
//! binary, `examples/quickstart.toml`, `.models/minilm` and the small wav2vec 2.0s of `plugins/wav2vec2/tests/fixtures`. With `--device cpu` it compares the CPU with itself, which
//! shows that the script works.

use crate::checkout::{Checkout, output};
use crate::demo;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

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

/// Small wav2vec 2.0s: group norm and norms behind the parts of a block; layer norms and norms before them.
const NORMS: [&str; 2] = ["base", "xlsr"];

/// Methods and their settings; between them every kind of initial mask, rewinding, re-pruning and moment masking.
const RUNS: [Method; 5] = [
    ("rp", &["prune.kind=random_init_magnitude"]),
    ("omp", &[]),
    ("imp", &["prune.rounds=linear", "prune.step=0.35", "prune.rewind=0.25"]),
    ("parp", &["prune.every=4", "prune.moments=zero"]),
    ("parp-p", &["prune.every=4", "prune.from=[0.3, 0.5]"]),
];

/// A method's name and settings.
type Method = (&'static str, &'static [&'static str]);

/// A model on a task.
struct Subject {
    name: &'static str,
    config: String,
    /// Devices draw dropout and masked spans from different generators, so there is none.
    settings: Vec<String>,
}

impl Subject {
    fn bert() -> Self {
        let still = ["hidden", "attention", "classifier"].map(|kind| format!("model.{kind}_dropout=0.0"));
        // Longer sentences, a lower rate and more weights to rank than the demo's.
        let own = ["data.validation=100", "data.train=2000", "data.distractors=1", "model.prune_pooler=true"];
        let settings = own.into_iter().chain(["train.learning_rate=1e-4"]).map(str::to_owned).chain(still).collect();
        Self { name: "bert", config: demo::CONFIG.to_owned(), settings }
    }

    /// The small wav2vec 2.0 of a norm, on recordings in `folder`.
    fn speech(name: &'static str, folder: &Path) -> Result<Self> {
        let config = folder.join(format!("{name}.toml"));
        let dropouts =
            ["hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout"];
        let still = dropouts.iter().chain(&["layerdrop", "mask_time_prob", "mask_feature_prob"]);
        let mut text = format!("[model]\npath = \"plugins/wav2vec2/tests/fixtures/{name}\"\n");
        text.extend(still.map(|key| format!("{key} = 0.0\n")));
        text += "freeze_feature_encoder = false\n[data]\nname = \"speech\"\ndictionary = \"letters\"\n";
        text += &format!("path = {:?}\nframe_stride = 0\n[train]\nbatch_size = 4\nlearning_rate = 1e-3\n", folder);
        fs::write(&config, text).with_context(|| format!("{}: cannot be written", config.display()))?;
        Ok(Self { name, config: config.display().to_string(), settings: Vec::new() })
    }
}

/// Eight recordings of tones, of half a second and longer, with letters to go with them.
fn recordings(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
    let mut rows = String::new();
    for number in 0..8u32 {
        let samples = 8_000 + 1_000 * number;
        let angle = |n: u32| f64::from(n) * f64::from(200 + 70 * number) * std::f64::consts::TAU / 16_000.0;
        let mut file = b"RIFF".to_vec();
        file.extend((36 + 2 * samples).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        file.extend([16_000u32, 32_000].map(u32::to_le_bytes).concat());
        file.extend(b"\x02\0\x10\0data");
        file.extend((2 * samples).to_le_bytes());
        file.extend((0..samples).flat_map(|n| ((9_000.0 * angle(n).sin()) as i16).to_le_bytes()));
        let path = folder.join(format!("{number}.wav"));
        fs::write(&path, file).with_context(|| format!("{}: cannot be written", path.display()))?;
        rows += &format!("{{\"audio\": \"{number}.wav\", \"text\": \"TONE {}\"}}\n", ["A", "B"][number as usize % 2]);
    }
    for name in ["train.jsonl", "validation.jsonl"] {
        let path = folder.join(name);
        fs::write(&path, &rows).with_context(|| format!("{}: cannot be written", path.display()))?;
    }
    Ok(())
}

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

    /// The command that trains what `subject` names with one method.
    fn training_of(
        &self,
        name: &str,
        device: &str,
        precision: &str,
        subject: &Subject,
        method: &Method,
        settings: &[&str],
    ) -> Command {
        let out = self.path(name);
        let mut all = vec![
            format!("device={device}"),
            format!("precision={precision}"),
            format!("prune.method={}", method.0),
            format!("prune.sparsity={SPARSITY}"),
            format!("train.updates={UPDATES}"),
            format!("run.store={}", self.path(&format!("{name}-store"))),
        ];
        all.extend(subject.settings.iter().cloned());
        all.extend(method.1.iter().chain(settings).map(|s| (*s).to_owned()));
        let mut command = Command::new(self.lopper);
        command.current_dir(self.root).args(["run", &subject.config, "--json", "--replace", "--out", &out]);
        for setting in &all {
            command.args(["--set", setting]);
        }
        command
    }

    /// Trains what `subject` names with one method.
    fn train(&self, name: &str, device: &str, precision: &str, subject: &Subject, method: &Method) -> Result<Outcome> {
        self.outcome(name, &mut self.training_of(name, device, precision, subject, method, &[]))
    }

    /// Runs the command of that name to its end.
    fn outcome(&self, name: &str, command: &mut Command) -> Result<Outcome> {
        let record = serde_json::from_str(&output(command)?).context("unexpected record")?;
        Ok(Outcome { record, losses: self.losses(name)? })
    }

    /// Losses of the updates that a run has recorded.
    fn losses(&self, name: &str) -> Result<Vec<f64>> {
        let path = Path::new(&self.path(name)).join("metrics.jsonl");
        let lines = fs::read_to_string(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
        // A line that is being written has no end yet.
        let whole = lines.rfind('\n').map_or("", |end| &lines[..end]);
        let events = whole.lines().map(serde_json::from_str).collect::<Result<Vec<serde_json::Value>, _>>()?;
        let updates = events.iter().filter(|event| event["event"] == "update");
        Ok(updates.map(|event| event["loss"].as_f64().unwrap_or(f64::NAN)).collect())
    }

    /// A run that is killed and started again ends as one that nothing happened to.
    fn continuing(&mut self, device: &str, subject: &Subject, method: &Method) -> Result<()> {
        let settings = ["train.updates=60", "checkpoint.every=5"];
        let command = |name: &str| self.training_of(name, device, "float32", subject, method, &settings);
        let whole = self.outcome("whole", &mut command("whole"))?;
        let [mut killed, mut finish] = ["killed", "killed"].map(command);
        let mut child = killed.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("a run to be killed")?;
        let seen = loop {
            let seen = self.losses("killed").map_or(0, |losses| losses.len());
            if seen >= 20 || child.try_wait()?.is_some() {
                break seen;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        child.kill().and_then(|()| child.wait()).context("a run to be killed")?;
        self.hold("updates before the kill", seen as f64, (20..60).contains(&seen), "20 or more, and less than all 60");
        let again = self.outcome("killed", &mut finish)?;
        let worst = furthest(&whole.losses, &again.losses)?;
        let wanted = format!("at most {LOSS_TOLERANCE}; 0 on a CPU");
        let most = if device == "cpu" { 0.0 } else { LOSS_TOLERANCE };
        self.hold("killed and continued: losses", worst, worst <= most, &wanted);
        let iou = self.iou(&whole.record.mask, &again.record.mask)?;
        self.hold("killed and continued: IOU of masks", iou, iou >= LEAST_IOU, &format!("at least {LEAST_IOU}"));
        Ok(())
    }

    /// A sweep's workers on devices that it names train as one run alone on that device does.
    fn sweep(&mut self, device: &str, subject: &Subject, method: &Method) -> Result<()> {
        // Workers share out the threads of a CPU, and with another number libtorch adds up in another order.
        let one_thread = |mut command: Command| {
            command.env("OMP_NUM_THREADS", "1");
            command
        };
        let mut alone = one_thread(self.training_of("alone", device, "float32", subject, method, &[]));
        let alone = self.outcome("alone", &mut alone)?;
        let config = fs::read_to_string(self.root.join(&subject.config)).with_context(|| subject.config.clone())?;
        let file = self.path("sweep.toml");
        let devices = format!("devices = [\"{device}\", \"{device}\"]");
        fs::write(&file, format!("{config}\n[sweep]\nseeds = [57, 1]\n{devices}\n")).with_context(|| file.clone())?;
        let of_sweep = Subject { name: "sweep", config: file, settings: subject.settings.clone() };
        output(&mut one_thread(self.training_of("sweep", device, "float32", &of_sweep, method, &[])))?;
        let worst = furthest(&alone.losses, &self.losses("sweep/cells/seed57")?)?;
        let most = if device == "cpu" { 0.0 } else { LOSS_TOLERANCE };
        let wanted = format!("at most {LOSS_TOLERANCE}; 0 on a CPU");
        self.hold("a worker of a sweep beside a run alone: losses", worst, worst <= most, &wanted);
        Ok(())
    }

    /// The methods train alike on both devices.
    fn training(&mut self, device: &str, subject: &Subject, methods: &[Method]) -> Result<()> {
        for method in methods {
            let name = format!("{} {}", subject.name, method.0);
            let path = format!("{}-{}", subject.name, method.0);
            let cpu = self.train(&format!("{path}-cpu"), "cpu", "float32", subject, method)?;
            let other = self.train(&format!("{path}-device"), device, "float32", subject, method)?;
            let worst = furthest(&cpu.losses, &other.losses)?;
            let wanted = format!("at most {LOSS_TOLERANCE}");
            self.hold(&format!("{name}: losses, float32"), worst, worst <= LOSS_TOLERANCE, &wanted);
            let iou = self.iou(&cpu.record.mask, &other.record.mask)?;
            let wanted = format!("at least {LEAST_IOU}");
            self.hold(&format!("{name}: IOU of final masks"), iou, iou >= LEAST_IOU, &wanted);
            let speed = |outcome: &Outcome| 1e3 * outcome.record.seconds / outcome.record.updates as f64;
            println!("     {name}: {:.1} ms an update on the CPU, {:.1} ms here", speed(&cpu), speed(&other));
            if method.0 == "parp" {
                let half = self.train(&format!("{path}-bf16"), device, "bf16", subject, method)?;
                let worst = furthest(&cpu.losses, &half.losses)?;
                let wanted = format!("at most {BF16_TOLERANCE}");
                self.hold(&format!("{name}: losses, bf16 against float32"), worst, worst <= BF16_TOLERANCE, &wanted);
                println!("     {name}, bf16: {:.1} ms an update", speed(&half));
            }
        }
        Ok(())
    }

    /// A saved model answers alike on both devices.
    fn prediction(&mut self, device: &str) -> Result<()> {
        let model = self.path("bert-parp-cpu/model");
        let text = ["predict", &model, "--text", "The author near these kings is tired."];
        self.answers("bert", device, &text)?;
        for norm in NORMS {
            let model = self.path(&format!("{norm}-parp-cpu/model"));
            let recording = self.path("speech/0.wav");
            self.answers(norm, device, &["transcribe", &model, &recording, "--logits"])?;
        }
        Ok(())
    }

    /// The logits that a command prints.
    fn answers(&mut self, name: &str, device: &str, command: &[&str]) -> Result<()> {
        let ask = |check: &Self, device: &str| -> Result<Vec<f64>> {
            let answer = check.lopper(&[command, &["--device", device, "--json"]].concat())?;
            let value: serde_json::Value = serde_json::from_str(&answer).context("unexpected answer")?;
            let one = value.as_array().and_then(|all| all.first()).unwrap_or(&value);
            let mut numbers = Vec::new();
            flatten(&one["logits"], &mut numbers);
            Ok(numbers)
        };
        let worst = furthest(&ask(self, "cpu")?, &ask(self, device)?)?;
        let wanted = format!("at most {LOGIT_TOLERANCE}");
        self.hold(&format!("{name}: logits of a saved model"), worst, worst <= LOGIT_TOLERANCE, &wanted);
        Ok(())
    }
}

/// All numbers of nested arrays, in their order.
fn flatten(value: &serde_json::Value, numbers: &mut Vec<f64>) {
    match value {
        serde_json::Value::Array(all) => all.iter().for_each(|one| flatten(one, numbers)),
        other => numbers.push(other.as_f64().unwrap_or(f64::NAN)),
    }
}

/// The largest difference, relative to the first where that is above 1. Not a number is the furthest of all.
fn furthest(a: &[f64], b: &[f64]) -> Result<f64> {
    if a.len() != b.len() || a.is_empty() {
        bail!("{} numbers beside {}", a.len(), b.len());
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
    check.training(device, &Subject::bert(), &RUNS)?;
    let folder = check.out.join("speech");
    recordings(&folder)?;
    for norm in NORMS {
        let parp = RUNS.iter().filter(|(method, _)| *method == "parp").copied().collect::<Vec<_>>();
        check.training(device, &Subject::speech(norm, &folder)?, &parp)?;
    }
    check.prediction(device)?;
    check.continuing(device, &Subject::bert(), &("parp", &["prune.every=1"]))?;
    check.sweep(device, &Subject::bert(), &("parp", &["prune.every=1"]))?;
    if check.failures.is_empty() {
        println!("{device} agrees with the CPU");
        return Ok(());
    }
    bail!("{device} does not agree with the CPU: {}", check.failures.join("; "))
}

#[cfg(test)]
mod tests {
    use super::{flatten, furthest};

    #[test]
    fn distances_are_relative_above_one_and_never_hide_a_nan() {
        assert_eq!(furthest(&[0.5, 10.0], &[0.25, 12.0]).unwrap(), 0.25);
        assert_eq!(furthest(&[1.0, 1.0], &[f64::NAN, 1.0]).unwrap(), f64::INFINITY);
        assert!(furthest(&[1.0], &[]).is_err());
        let mut numbers = Vec::new();
        flatten(&serde_json::json!([[1.0, 2], [null]]), &mut numbers);
        assert!(numbers[..2] == [1.0, 2.0] && numbers[2].is_nan(), "{numbers:?}");
    }
}
