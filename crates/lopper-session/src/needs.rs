//! What a run needs before it starts: disk for what it will write, memory for what it will hold.
//!
//! The disk it needs follows from the plan. Of memory only a lower bound is known, because what forward and backward
//! take depends on the model and on libtorch; a run within the bound can still be too large, and then an error with
//! libtorch's sizes comes at the first update (memory.rs).

use crate::{CheckpointEvery, Keep, PlannedStage, SessionSettings};
use lopper_core::{Error, InitialMask, Layout, Model, Optimizer, PrunedWeights, Result};
use lopper_weights::{FreeSpace, free_space};
use std::path::{Path, PathBuf};
use tch::Device;

/// Bytes of a float32.
const FLOAT: u64 = 4;
/// Bytes of an update's line in `metrics.jsonl`, about, and of its record in an event file at the most.
const EVENT: u64 = 200;
/// Headers, records, tokenizer and the like: a file system's blocks, not entries.
pub(crate) const SMALL: u64 = 1 << 20;

/// Bytes of what a run stores and holds, one copy of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Every parameter.
    pub(crate) weights: u64,
    /// The parameters that an optimizer updates: gradients take as much, and so does each moment.
    pub(crate) trainable: u64,
    /// The prunable ones among them.
    pub(crate) prunable: u64,
    /// A mask, one bit an entry.
    pub(crate) mask: u64,
}

impl Sizes {
    pub(crate) fn of(model: &dyn Model, layout: &Layout) -> Self {
        let bytes = |entries: usize| entries as u64 * FLOAT;
        Self {
            weights: model.parameters().iter().map(|p| bytes(p.tensor.numel())).sum(),
            trainable: model.parameters().trainable().map(|p| bytes(p.tensor.numel())).sum(),
            prunable: layout.entries() * FLOAT,
            mask: layout.tensors().iter().map(|t| t.entries().div_ceil(8)).sum(),
        }
    }
}

/// What one stage that is still to be trained adds to the needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Task {
    updates: u64,
    snapshots: u64,
    moments: u64,
    /// Checkpoints on disk at once: those that are kept, and one more while it is written. An interrupt leaves one.
    checkpoints: u64,
    /// Share of prunable entries that are zero in all its checkpoints, and so are not in them.
    zero: f64,
    /// Share of prunable entries that are zero in what it ends with.
    pruned: f64,
}

impl Task {
    /// The stages of `plan` that are not done.
    pub(crate) fn remaining(plan: &[PlannedStage], settings: &SessionSettings) -> Vec<Self> {
        let mut before = 0.0;
        let mut tasks = Vec::new();
        for planned in plan {
            let stage = &planned.stage;
            // What a schedule makes of it later is not known here; it prunes no less.
            let pruned = match &stage.mask {
                InitialMask::Dense => 0.0,
                InitialMask::Keep => before,
                InitialMask::Load(_) => planned.loaded.as_deref().map_or(0.0, |mask| mask.sparsity().get()),
                InitialMask::Random { sparsity, .. } | InitialMask::Discover { sparsity, .. } => sparsity.get(),
            };
            before = pruned;
            if planned.done {
                continue;
            }
            tasks.push(Self {
                updates: stage.updates,
                snapshots: planned.snapshots.len() as u64,
                moments: match stage.recipe.optimizer {
                    Optimizer::Adam { .. } | Optimizer::AdamW { .. } => 2,
                    Optimizer::Sgd { momentum, .. } => u64::from(momentum > 0.0),
                },
                checkpoints: match settings.checkpoint {
                    CheckpointEvery::OnInterrupt => 1,
                    CheckpointEvery::Updates(_) | CheckpointEvery::Time(_) if stage.updates > 0 => {
                        settings.checkpoints_kept as u64 + 1
                    }
                    CheckpointEvery::Updates(_) | CheckpointEvery::Time(_) => 0,
                },
                zero: if stage.pruned == PrunedWeights::Frozen { pruned } else { 0.0 },
                pruned,
            });
        }
        tasks
    }

    /// Bytes of the weights that it ends with, in the store.
    fn weights(&self, sizes: &Sizes) -> u64 {
        let mask = if self.pruned > 0.0 { sizes.mask } else { 0 };
        sizes.weights - share(self.pruned, sizes.prunable) + mask
    }

    /// Bytes of the rest of its result, which stays in the store.
    fn stored(&self, sizes: &Sizes) -> u64 {
        self.snapshots * sizes.weights + 2 * sizes.mask + self.updates.saturating_mul(EVENT) + SMALL
    }

    /// Bytes of its checkpoints at the most.
    fn checkpoints(&self, sizes: &Sizes) -> u64 {
        let values = sizes.weights + self.moments * sizes.trainable;
        let zero = share(self.zero, (1 + self.moments) * sizes.prunable).min(values);
        (values - zero + 2 * sizes.mask + self.updates.saturating_mul(EVENT) + SMALL) * self.checkpoints
    }
}

fn share(of: f64, bytes: u64) -> u64 {
    (of * bytes as f64) as u64
}

/// What of a run stays on disk when it is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stays {
    /// See [`SessionSettings::save_model`].
    pub(crate) model: bool,
    /// Whether the weights of pruned stages stay in the store.
    pub(crate) weights: bool,
    /// Whether there are event files.
    pub(crate) event_files: bool,
}

impl Stays {
    pub(crate) fn of(settings: &SessionSettings) -> Self {
        Self { model: settings.save_model, weights: settings.keep == Keep::All, event_files: settings.tensorboard }
    }
}

/// Bytes in both directories at one point of the run, beyond what is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskUse {
    pub(crate) store: u64,
    pub(crate) out: u64,
}

/// The points of a run at which it takes most: while each stage is trained, when it is in the store and its checkpoints and the
/// weights before it are not gone yet, and when the model is saved.
pub(crate) fn disk_uses(sizes: &Sizes, tasks: &[Task], stays: Stays) -> Vec<DiskUse> {
    let (mut store, mut events) = (0, 0);
    let lines = 1 + u64::from(stays.event_files);
    // Of the stage before, until its reader is done.
    let mut passing = 0;
    let mut uses = Vec::new();
    for task in tasks {
        events += task.updates.saturating_mul(lines * EVENT);
        let checkpoints = task.checkpoints(sizes);
        uses.push(DiskUse { store: store + passing, out: checkpoints + events });
        store += task.stored(sizes);
        let weights = task.weights(sizes);
        // None is being written any more.
        let kept = checkpoints - checkpoints.checked_div(task.checkpoints).unwrap_or(0);
        uses.push(DiskUse { store: store + passing + weights, out: kept + events });
        if task.pruned > 0.0 && !stays.weights {
            passing = weights;
        } else {
            (store, passing) = (store + weights, 0);
        }
    }
    let model = if stays.model { sizes.weights } else { 0 };
    uses.push(DiskUse { store: store + passing, out: model + sizes.mask + events + SMALL });
    uses
}

/// A directory that a run writes into, and the space it has.
#[derive(Debug, Clone)]
struct Place {
    key: &'static str,
    path: PathBuf,
    space: FreeSpace,
}

/// Whether the disks can hold the most that the run takes; one problem for each file system that cannot.
fn check_disk(sizes: &Sizes, tasks: &[Task], stays: Stays, store: &Place, out: &Place) -> Result<()> {
    let uses = disk_uses(sizes, tasks, stays);
    let most = |bytes: fn(&DiskUse) -> u64| uses.iter().map(bytes).max().unwrap_or(0);
    let mut problems = Vec::new();
    let mut refuse = |path: String, key: &str, needed: u64, free: u64, parts: String| {
        let written = format!(
            "{} are free and the run may write up to {}: {parts}. Free some, or set {key} to a larger disk",
            size(free),
            size(needed)
        );
        let fewer = if tasks.iter().any(|task| task.checkpoints > 1) && key != store.key {
            ", or write no checkpoints but on an interrupt (checkpoint.every = 0)"
        } else {
            ""
        };
        problems.push(Error::file(path, format!("{written}{fewer}")));
    };
    let stages = || {
        let (number, snapshots) = (tasks.len() as u64, tasks.iter().map(|task| task.snapshots).sum::<u64>());
        let snapshots = if snapshots > 0 { format!(" and {}", counted(snapshots, "snapshot")) } else { String::new() };
        format!("{}{snapshots} of up to {} in the store", counted(number, "stage"), size(sizes.weights))
    };
    let saved = || {
        let largest = tasks.iter().map(|task| task.checkpoints(sizes)).max().unwrap_or(0);
        format!("checkpoints of {} at a time, and a model of {}", size(largest), size(sizes.weights))
    };
    let (path, other) = (out.path.display().to_string(), store.path.display());
    if store.space.file_system == out.space.file_system {
        let needed = most(|at| at.store.saturating_add(at.out));
        let free = store.space.bytes.max(out.space.bytes);
        if needed > free {
            let parts = format!("{}; {}", stages(), saved());
            refuse(format!("{path} and {other}"), "run.out or run.store", needed, free, parts);
        }
    } else {
        let (in_store, in_out) = (most(|at| at.store), most(|at| at.out));
        if in_store > store.space.bytes {
            refuse(other.to_string(), store.key, in_store, store.space.bytes, stages());
        }
        if in_out > out.space.bytes {
            refuse(path, out.key, in_out, out.space.bytes, saved());
        }
    }
    Error::all(problems)
}

/// Bytes that training will still allocate, at the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Memory {
    gradients: u64,
    moments: u64,
    masks: u64,
    /// Rewind points, on the host until the stage ends.
    snapshots: u64,
}

impl Memory {
    /// Of a stage; with the model's own weights nothing has to be allocated, as they are there.
    fn of(sizes: &Sizes, task: &Task) -> Self {
        Self {
            gradients: sizes.trainable,
            moments: task.moments * sizes.trainable,
            masks: sizes.mask,
            snapshots: task.snapshots * sizes.weights,
        }
    }

    fn total(&self) -> u64 {
        self.gradients + self.moments + self.masks + self.snapshots
    }
}

/// Whether a GPU, which holds the model already, can hold at least what is known of the run. `free` is what it has left.
fn check_device_memory(sizes: &Sizes, tasks: &[Task], device: Device, free: u64) -> Result<()> {
    // A mask lies there as one byte an entry, beside the weights; rewind points do not.
    let on_device = |task: &Task| Memory { masks: 8 * sizes.mask, snapshots: 0, ..Memory::of(sizes, task) };
    let Some(memory) = tasks.iter().map(on_device).max_by_key(Memory::total) else { return Ok(()) };
    if memory.total() <= free {
        return Ok(());
    }
    Err(Error::Other(format!(
        "memory of {}: {} are free and training takes at least {} more: gradients {}, moments {}, masks {}; \
         activations come on top. Stop what else runs there, use a smaller model or another device, or an optimizer with \
         fewer moments (train.optimizer = \"sgd\")",
        lopper_torch::device_name(device),
        size(free),
        size(memory.total()),
        size(memory.gradients),
        size(memory.moments),
        size(memory.masks),
    )))
}

/// Whether the host can hold at least what is known of the run. `free` is what can still be allocated.
fn check_host_memory(sizes: &Sizes, tasks: &[Task], device: Device, free: u64) -> Result<()> {
    let on_host = |task: &Task| match (Memory::of(sizes, task), device) {
        (memory, Device::Cpu) => memory,
        // Gradients and moments lie beside the model.
        (memory, _) => Memory { gradients: 0, moments: 0, ..memory },
    };
    let Some(memory) = tasks.iter().map(on_host).max_by_key(Memory::total) else { return Ok(()) };
    if memory.total() <= free {
        return Ok(());
    }
    let lower = if memory.moments > 0 { ", an optimizer with fewer moments (train.optimizer = \"sgd\")" } else { "" };
    Err(Error::Other(format!(
        "memory: {} are free and training takes at least {} more: gradients {}, moments {}, masks {}, snapshots of \
         the weights {}; activations come on top. Use a smaller model{lower}, or a machine with more memory",
        size(free),
        size(memory.total()),
        size(memory.gradients),
        size(memory.moments),
        size(memory.masks),
        size(memory.snapshots),
    )))
}

/// Refuses a run whose disk or memory cannot suffice, before anything is trained; all problems together.
///
/// What the run's old checkpoints take counts as free, because new ones take their place. Where the system does not tell
/// what is free, nothing is refused.
///
/// # Errors
/// [`Error::File`] naming the directories, what is needed, what is free and what to change; [`Error::Other`] with the
/// same of memory.
pub(crate) fn check(
    model: &dyn Model,
    layout: &Layout,
    plan: &[PlannedStage],
    settings: &SessionSettings,
) -> Result<()> {
    let sizes = Sizes::of(model, layout);
    let tasks = Task::remaining(plan, settings);
    let mut problems = Vec::new();
    if let (Some(store), Some(mut out)) = (free_space(&settings.store)?, free_space(&settings.out)?) {
        let old = bytes_below(&settings.out.join("checkpoints"));
        out.bytes = out.bytes.saturating_add(old);
        let store = Place { key: "run.store", path: settings.store.clone(), space: store };
        let out = Place { key: "run.out", path: settings.out.clone(), space: out };
        problems.extend(check_disk(&sizes, &tasks, Stays::of(settings), &store, &out).err());
    }
    if let Some(free) = available_memory() {
        problems.extend(check_host_memory(&sizes, &tasks, settings.device, free).err());
    }
    if let Some(free) = lopper_torch::free_device_memory(settings.device) {
        problems.extend(check_device_memory(&sizes, &tasks, settings.device, free).err());
    }
    Error::all(problems)
}

fn bytes_below(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

/// Bytes that this process can still allocate without swapping: what the machine has, or what its control groups leave.
/// `None` where neither can be told.
fn available_memory() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| meminfo_available(&text));
    let group = read(Path::new("/proc/self/cgroup")).and_then(|text| {
        let root = Path::new("/sys/fs/cgroup");
        let own = root.join(unified_group(&text)?);
        own.ancestors()
            .take_while(|group| group.starts_with(root))
            .filter_map(|group| {
                let limit = read(&group.join("memory.max"))?;
                let (current, stat) = (read(&group.join("memory.current"))?, read(&group.join("memory.stat"))?);
                group_available(&limit, &current, &stat)
            })
            .min()
    });
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of `/proc/meminfo`, in bytes.
fn meminfo_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The process's place in the unified hierarchy, from `/proc/self/cgroup`.
fn unified_group(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::/"))
}

/// What a control group (version 2) leaves, in bytes; `None` without a limit. File pages that are not in use are given
/// back before anything fails.
fn group_available(limit: &str, current: &str, stat: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let current: u64 = current.trim().parse().ok()?;
    let cached = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")?.trim().parse::<u64>().ok());
    Some(limit.saturating_sub(current.saturating_sub(cached.unwrap_or(0))))
}

fn counted(n: u64, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

/// Bytes for people: `438.0 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..0x10_0000 => (1u64 << 10, "KiB"),
        0x10_0000..0x4000_0000 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    format!("{:.1} {name}", bytes as f64 / unit as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    /// BERT-base, about.
    const SIZES: Sizes = Sizes { weights: 400 * MIB, trainable: 400 * MIB, prunable: 320 * MIB, mask: 10 * MIB };
    const TASK: Task = Task { updates: 0, snapshots: 0, moments: 2, checkpoints: 2, zero: 0.0, pruned: 0.0 };
    /// A round of IMP.
    const ROUND: Task = Task { zero: 0.5, pruned: 0.5, ..TASK };
    const NEEDED: Stays = Stays { model: true, weights: false, event_files: false };
    /// Without the weights.
    const STORED: u64 = 21 * MIB;
    const MODEL: u64 = 411 * MIB;
    const CHECKPOINT: u64 = (400 + 800 + 20 + 1) * MIB;
    const ROUND_CHECKPOINT: u64 = CHECKPOINT - 3 * 160 * MIB;
    /// With the mask that says where they belong.
    const ROUND_WEIGHTS: u64 = (400 - 160 + 10) * MIB;

    fn place(key: &'static str, file_system: u64, bytes: u64) -> Place {
        Place { key, path: format!("disk/{key}").into(), space: FreeSpace { file_system, bytes } }
    }

    #[test]
    fn dense_weights_stay_and_those_of_a_round_go_with_the_next() {
        let found = disk_uses(&SIZES, &[TASK, ROUND, Task { snapshots: 2, ..ROUND }], NEEDED);
        let dense = STORED + 400 * MIB;
        let expected = [
            DiskUse { store: 0, out: 2 * CHECKPOINT },
            DiskUse { store: 400 * MIB + STORED, out: CHECKPOINT },
            DiskUse { store: dense, out: 2 * ROUND_CHECKPOINT },
            DiskUse { store: dense + STORED + ROUND_WEIGHTS, out: ROUND_CHECKPOINT },
            DiskUse { store: dense + STORED + ROUND_WEIGHTS, out: 2 * ROUND_CHECKPOINT },
            DiskUse { store: dense + 2 * STORED + 800 * MIB + 2 * ROUND_WEIGHTS, out: ROUND_CHECKPOINT },
            DiskUse { store: dense + 2 * STORED + 800 * MIB + ROUND_WEIGHTS, out: MODEL },
        ];
        assert_eq!(found, expected);
        let all = Stays { weights: true, model: false, event_files: false };
        let end = disk_uses(&SIZES, &[TASK, ROUND, ROUND], all).pop();
        assert_eq!(end, Some(DiskUse { store: dense + 2 * (STORED + ROUND_WEIGHTS), out: 11 * MIB }));
        // Nothing to train: only the model is written, once more.
        assert_eq!(disk_uses(&SIZES, &[], NEEDED), [DiskUse { store: 0, out: MODEL }]);
        for (event_files, lines) in [(false, 1), (true, 2)] {
            let told = disk_uses(&SIZES, &[Task { updates: 1000, ..TASK }], Stays { event_files, ..NEEDED }).pop();
            assert_eq!(told.map(|end| end.out), Some(MODEL + lines * 1000 * EVENT));
        }
        let interrupted = Task { checkpoints: 1, moments: 0, updates: 1000, ..TASK };
        assert_eq!(interrupted.checkpoints(&SIZES), 421 * MIB + 1000 * EVENT);
        assert_eq!(Task { checkpoints: 0, ..TASK }.checkpoints(&SIZES), 0);
    }

    /// IMP to 90 % in steps of 10 % at the size of XLSR-53.
    #[test]
    fn what_the_rounds_of_imp_need_at_their_worst() {
        let (weights, prunable) = (4 * 315_438_720, 4 * 302_309_376);
        let sizes = Sizes { weights, trainable: weights, prunable, mask: prunable / 32 };
        let rounds = |checkpoints| -> Vec<Task> {
            let round = |n: u8| f64::from(n) * 0.1;
            (0..10).map(|n| Task { updates: 15_000, zero: round(n), pruned: round(n), checkpoints, ..TASK }).collect()
        };
        let most = |tasks: &[Task]| disk_uses(&sizes, tasks, NEEDED).iter().map(|at| at.store + at.out).max().unwrap();
        // Two checkpoints of a dense stage are 24 bytes a parameter: whoever loses nothing to kill -9 has the old one until the
        // new one is whole.
        let (floor, most, interrupted) = (24 * 315_438_720u64, most(&rounds(2)), most(&rounds(1)));
        assert!(floor < most && most < 8_900_000_000, "{most} bytes");
        assert!(interrupted < 6_000_000_000, "{interrupted} bytes");
    }

    #[test]
    fn two_directories_on_one_disk_share_it() {
        let needed = STORED + 400 * MIB + 2 * CHECKPOINT;
        let check =
            |free| check_disk(&SIZES, &[TASK, TASK], NEEDED, &place("run.store", 7, free), &place("run.out", 7, free));
        check(needed).unwrap();
        let message = check(needed - 1).unwrap_err().to_string();
        assert_eq!(
            message,
            "disk/run.out and disk/run.store: 2.8 GiB are free and the run may write up to 2.8 GiB: 2 stages of up to 400.0 MiB \
             in the store; checkpoints of 2.4 GiB at a time, and a model of 400.0 MiB. Free some, or set run.out or run.store \
             to a larger disk, or write no checkpoints but on an interrupt (checkpoint.every = 0)"
        );
        // The model is saved whatever is done already.
        assert!(check_disk(&SIZES, &[], NEEDED, &place("run.store", 7, MIB), &place("run.out", 7, MIB)).is_err());
    }

    #[test]
    fn two_disks_are_refused_each_for_itself() {
        let check = |store, out| {
            let tasks = [Task { snapshots: 1, ..TASK }];
            check_disk(&SIZES, &tasks, NEEDED, &place("run.store", 1, store), &place("run.out", 2, out))
        };
        let (store, out) = (STORED + 800 * MIB, 2 * CHECKPOINT);
        check(store, out).unwrap();
        let message = check(store - 1, out).unwrap_err().to_string();
        assert!(message.starts_with("disk/run.store: 821.0 MiB are free"), "{message}");
        assert!(
            message.contains("1 stage and 1 snapshot of up to 400.0 MiB") && message.contains("set run.store"),
            "{message}"
        );
        let message = check(store, 0).unwrap_err().to_string();
        assert!(message.starts_with("disk/run.out: 0.0 KiB are free") && message.contains("set run.out"), "{message}");
        assert!(check(0, 0).unwrap_err().to_string().starts_with("2 problems:"));
    }

    #[test]
    fn memory_is_refused_by_a_lower_bound() {
        let needed = (400 + 800 + 10) * MIB;
        let check = |device, free| check_host_memory(&SIZES, &[TASK], device, free);
        check(Device::Cpu, needed).unwrap();
        let message = check(Device::Cpu, needed - 1).unwrap_err().to_string();
        assert!(message.starts_with("memory: 1.2 GiB are free and training takes at least 1.2 GiB more"), "{message}");
        assert!(message.contains("moments 800.0 MiB") && message.contains("train.optimizer"), "{message}");
        // A GPU holds gradients and moments itself.
        check(Device::Cuda(0), 10 * MIB).unwrap();
        let message = check(Device::Cuda(0), 10 * MIB - 1).unwrap_err().to_string();
        assert!(!message.contains("train.optimizer"), "{message}");
        check_host_memory(&SIZES, &[], Device::Cpu, 0).unwrap();
    }

    #[test]
    fn a_gpu_is_refused_by_a_lower_bound() {
        let needed = (400 + 800 + 80) * MIB;
        let snapshots = Task { snapshots: 3, ..TASK };
        let check = |free| check_device_memory(&SIZES, &[snapshots], Device::Cuda(1), free);
        check(needed).unwrap();
        let message = check(needed - 1).unwrap_err().to_string();
        assert!(message.starts_with("memory of cuda:1: 1.2 GiB are free"), "{message}");
        assert!(message.contains("gradients 400.0 MiB, moments 800.0 MiB, masks 80.0 MiB"), "{message}");
        check_device_memory(&SIZES, &[], Device::Cuda(0), 0).unwrap();
    }

    #[test]
    fn what_the_kernel_says_is_read() {
        assert_eq!(meminfo_available("MemTotal: 9 kB\nMemAvailable:   1024 kB\n"), Some(MIB));
        assert_eq!(meminfo_available("MemTotal: 9 kB\n"), None);
        assert_eq!(unified_group("1:memory:/old\n0::/user.slice/a\n"), Some("user.slice/a"));
        assert_eq!(unified_group("0::/\n"), Some(""));
        assert_eq!(group_available("max\n", "5\n", ""), None);
        assert_eq!(group_available("100\n", "60\n", "anon 5\ninactive_file 20\nactive_file 3\n"), Some(60));
        assert_eq!(group_available("100\n", "130\n", "inactive_file 20\n"), Some(0));
        #[cfg(target_os = "linux")]
        assert!(available_memory().is_some_and(|bytes| bytes > MIB));
    }

    #[test]
    fn sizes_read_well() {
        let sizes = [0, 512, MIB, 438 * MIB, 3 << 29, u64::MAX].map(size);
        assert_eq!(sizes, ["0.0 KiB", "0.5 KiB", "1.0 MiB", "438.0 MiB", "1.5 GiB", "17179869184.0 GiB"]);
    }
}
