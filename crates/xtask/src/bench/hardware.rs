//! The machine that a result was measured on.

use crate::checkout::output;
use serde::Serialize;
use std::fs;
use std::process::Command;

/// What Linux says of a machine. What it does not say is empty or 0.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Hardware {
    pub(crate) host: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// Name, memory and driver of each GPU, where one was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) gpu: Vec<String>,
}

impl Hardware {
    pub(crate) fn here(with_gpu: bool) -> Self {
        let host = read("/proc/sys/kernel/hostname");
        Self {
            host: host.split('.').next().unwrap_or_default().to_owned(),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: cores(),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal")
                .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok())
                .map_or(0, |kib| kib * 1024),
            kernel: read("/proc/sys/kernel/osrelease"),
            gpu: if with_gpu { gpus() } else { Vec::new() },
        }
    }

    /// The machine's name in that of a file: the host, and the first GPU.
    pub(crate) fn stem(&self) -> String {
        let gpu = self.gpu.first().and_then(|gpu| gpu.split(',').next()).unwrap_or_default();
        let words = std::iter::once(self.host.as_str()).chain(gpu.split_whitespace());
        words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
    }
}

/// All GPUs; a word for them where the driver's tool does not tell.
fn gpus() -> Vec<String> {
    let told = nvidia_smi(&["--query-gpu=name,memory.total,driver_version"]).filter(|told| !told.is_empty());
    told.unwrap_or_else(|| "gpu".to_owned()).lines().map(str::to_owned).collect()
}

/// What the driver's own tool answers, a line for each thing it was asked about.
fn nvidia_smi(query: &[&str]) -> Option<String> {
    let answer = output(Command::new("nvidia-smi").args(query).arg("--format=csv,noheader")).ok()?;
    Some(answer.trim().to_owned())
}

/// Bytes that a process holds on a GPU, its context and what its allocator keeps in reserve included. `None` where the
/// driver does not tell.
pub(crate) fn gpu_memory(process: u32) -> Option<u64> {
    on_gpu(&nvidia_smi(&["--query-compute-apps=pid,used_gpu_memory"])?, process)
}

/// What an answer of the form `4711, 1234 MiB` says of a process.
fn on_gpu(answer: &str, process: u32) -> Option<u64> {
    let held = answer.lines().filter_map(|line| {
        let (id, memory) = line.split_once(',')?;
        let mib: u64 = memory.trim().strip_suffix("MiB")?.trim().parse().ok()?;
        (id.trim().parse() == Ok(process)).then_some(mib << 20)
    });
    // A line for each GPU that it is on.
    held.reduce(|a, b| a + b)
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get())
}

/// Mean number of processes that wanted to run: over one, five and fifteen minutes.
pub(crate) fn load() -> String {
    read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Today in UTC, YYYY-MM-DD.
///
/// # Errors
/// Without `date`.
pub(crate) fn today() -> anyhow::Result<String> {
    Ok(output(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The first `name : value` of a text.
fn field(text: &str, name: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gpu_is_part_of_the_machine() {
        assert_eq!(on_gpu("17, 300 MiB\n4711, 1234 MiB\n4711, 1 MiB", 4711), Some(1235 << 20));
        assert_eq!(on_gpu("4711, [N/A]", 4711).or(on_gpu("", 4711)), None);
        let gpu = vec!["NVIDIA H200, 143771 MiB, 580.1".to_owned(); 2];
        let machine = Hardware { host: "vm".into(), gpu, ..Hardware::here(false) };
        assert_eq!(machine.stem(), "vm-nvidia-h200");
        assert_eq!(Hardware { gpu: Vec::new(), ..machine }.stem(), "vm");
    }

    #[test]
    fn fields_are_found_by_their_name() {
        let text = "model\t\t: 106\nmodel name\t: A Processor @ 2.80GHz\nMemTotal:       24 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A Processor @ 2.80GHz"));
        assert_eq!(field(text, "MemTotal").as_deref(), Some("24 kB"));
        assert_eq!(field(text, "name"), None);
    }
}
