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
}

impl Hardware {
    pub(crate) fn here() -> Self {
        let host = read("/proc/sys/kernel/hostname");
        Self {
            host: host.split('.').next().unwrap_or_default().to_owned(),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            cores: cores(),
            memory_bytes: field(&read("/proc/meminfo"), "MemTotal")
                .and_then(|value| value.strip_suffix("kB")?.trim().parse::<u64>().ok())
                .map_or(0, |kib| kib * 1024),
            kernel: read("/proc/sys/kernel/osrelease"),
        }
    }
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
    fn fields_are_found_by_their_name() {
        let text = "model\t\t: 106\nmodel name\t: A Processor @ 2.80GHz\nMemTotal:       24 kB\n";
        assert_eq!(field(text, "model name").as_deref(), Some("A Processor @ 2.80GHz"));
        assert_eq!(field(text, "MemTotal").as_deref(), Some("24 kB"));
        assert_eq!(field(text, "name"), None);
    }
}
