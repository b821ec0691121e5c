//! This machine and its processes, as far as others can tell them apart.

use std::fs;

/// A machine, or a container on it that sees processes of its own.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    id: Option<String>,
    name: String,
}

impl Machine {
    /// The one that this process runs on.
    pub(crate) fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        // Hosts may share a name, and containers on one host a kernel: the boot and the view of processes together tell
        // whether a process's number means the same here.
        let boot = read("/proc/sys/kernel/random/boot_id");
        let processes = fs::read_link("/proc/self/ns/pid").ok();
        let id = boot.zip(processes).map(|(boot, processes)| format!("{boot} {}", processes.display()));
        Self { id, name: read("/proc/sys/kernel/hostname").unwrap_or_else(|| "an unnamed host".to_owned()) }
    }

    /// What processes are numbered in; `None` where that cannot be told from others.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Its name, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// When a process of this machine began, in the kernel's ticks since its boot; `None` when there is no such process, or
    /// it has ended and waits for its parent.
    pub(crate) fn started(&self, process: u32) -> Option<u64> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // The command's name stands in parentheses and may hold anything, parentheses and spaces too.
        let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?;
        // Field 22 of proc(5); the state is field 3.
        fields.nth(18).filter(|_| !matches!(state, "Z" | "X"))?.parse().ok()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_and_its_beginning() {
        let machine = Machine::this();
        assert!(machine.id().is_some() && !machine.name().is_empty());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let (here, there) = (machine.started(std::process::id()).unwrap(), machine.started(child.id()).unwrap());
        assert!(here <= there);
        child.kill().unwrap();
        // Dead, and not yet waited for.
        while machine.started(child.id()).is_some() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(machine.started(child.id()), None);
    }
}
