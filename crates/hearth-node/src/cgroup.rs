//! Limits on what one VMM takes of the host: a cgroup (version 2) for each.
//!
//! ```text
//! /sys/fs/cgroup/hearth/            cpu.weight as any other group's: what is not a guest keeps half of a busy host
//!   <data directory>/               so that two nodes do not meet
//!     <machine>/                    memory.max cpu.max cpu.weight pids.max
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{NodeError, failed};
use crate::layout::MachineName;

/// Where the kernel's one hierarchy is.
const ROOT: &str = "/sys/fs/cgroup";

/// Controllers that are needed.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// What a VMM may take beside the guest's RAM: its own memory, page tables, queues of vsock. Measured it is 2 MiB beside an idle
/// guest; the rest is for the kernel's side of disks and network under load.
const OVERHEAD_MIB: u64 = 96;

/// Share of a processor that a vCPU stands for when processors are short: a quarter, as its size tier says, where 100 is the
/// share of any other group.
const WEIGHT_PER_VCPU: u32 = 25;

/// What devices may take of a processor beside the vCPUs, in thousandths.
const DEVICES_PERMILLE: u32 = 250;

/// Threads beside vCPUs: the main one, disks, a snapshot's.
const THREADS: u32 = 32;

/// Period of `cpu.max`, in microseconds.
const PERIOD_US: u32 = 100_000;

/// The groups of one node.
#[derive(Debug, Clone)]
pub struct Groups(PathBuf);

/// What a machine is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memory_mib: u32,
    pub(crate) vcpus: u8,
}

impl Groups {
    /// Makes the node's groups.
    ///
    /// # Errors
    ///
    /// Where cgroup version 2 is not at its place, lacks a controller, or may not be changed.
    pub fn open(data: &Path) -> Result<Self, NodeError> {
        let root = Path::new(ROOT);
        let listed = root.join("cgroup.controllers");
        let available = fs::read_to_string(&listed).map_err(failed(
            "find cgroup version 2; mount it, or start without limits:",
            &listed,
        ))?;
        for controller in CONTROLLERS {
            if !available.split_whitespace().any(|word| word == controller) {
                return Err(NodeError::NoController(controller));
            }
        }
        let all = root.join("hearth");
        let data = std::path::absolute(data).map_err(failed("resolve", data))?;
        let own = all.join(name_of(&data));
        for (parent, child) in [(root, &all), (&all, &own)] {
            delegate(parent)?;
            make(child)?;
        }
        delegate(&own)?;
        Ok(Self(own))
    }

    /// Removes the groups of a data directory without machines, and those of all if no other Hearth has any.
    pub fn leave(data: &Path) {
        let all = Path::new(ROOT).join("hearth");
        if let Ok(data) = std::path::absolute(data) {
            // A directory of groups that are still used cannot be removed.
            let _ = fs::remove_dir(all.join(name_of(&data)));
        }
        let _ = fs::remove_dir(all);
    }

    /// Makes a machine's group.
    pub(crate) fn make(&self, name: &MachineName, size: Size) -> Result<(), NodeError> {
        let group = self.group(name);
        make(&group)?;
        let memory = (u64::from(size.memory_mib) + OVERHEAD_MIB) << 20;
        let vcpus = u32::from(size.vcpus);
        let quota = vcpus * PERIOD_US + PERIOD_US / 1000 * DEVICES_PERMILLE;
        write(&group, "memory.max", &memory.to_string())?;
        // All of the process or nothing: half a VMM is of no use.
        write(&group, "memory.oom.group", "1")?;
        write(&group, "cpu.max", &format!("{quota} {PERIOD_US}"))?;
        write(&group, "cpu.weight", &(WEIGHT_PER_VCPU * vcpus).to_string())?;
        write(&group, "pids.max", &(vcpus + THREADS).to_string())?;
        match write(&group, "memory.swap.max", "0") {
            // A kernel without swap has no such limit.
            Err(NodeError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            written => written,
        }
    }

    /// Puts a process into its machine's group. The kernel waits for all processors to have noticed, some milliseconds.
    pub(crate) fn put(&self, name: &MachineName, pid: u32) -> Result<(), NodeError> {
        write(&self.group(name), "cgroup.procs", &pid.to_string())
    }

    /// Removes a machine's group, whose process has ended. Of none, it is a success.
    pub(crate) fn remove(&self, name: &MachineName) {
        const TRIES: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(2);
        let group = self.group(name);
        for _ in 0..TRIES {
            match fs::remove_dir(&group) {
                // The kernel is not done with the process yet.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, %name, "a control group is left; the next start removes it");
                    return;
                }
                _ => return,
            }
        }
    }

    /// Removes the groups of machines that are not there.
    pub(crate) fn sweep(&self, is_there: impl Fn(&MachineName) -> bool) {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.path().is_dir());
        let names = groups.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        for name in names.filter(|name| !is_there(name)) {
            self.remove(&name);
        }
    }

    fn group(&self, name: &MachineName) -> PathBuf {
        self.0.join(name.to_string())
    }
}

/// The directory as one name that an operator recognises, as systemd writes paths: dashes for slashes.
fn name_of(data: &Path) -> String {
    let path = data.to_string_lossy();
    path.trim_matches('/')
        .replace('-', "\\x2d")
        .replace('/', "-")
}

/// Lets a group's children be limited.
fn delegate(group: &Path) -> Result<(), NodeError> {
    let wanted = CONTROLLERS.map(|controller| format!("+{controller}"));
    write(group, "cgroup.subtree_control", &wanted.join(" "))
}

fn make(group: &Path) -> Result<(), NodeError> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(failed("make the control group", group)),
    }
}

fn write(group: &Path, file: &str, value: &str) -> Result<(), NodeError> {
    let path = group.join(file);
    fs::write(&path, value).map_err(failed("set the limit", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_have_names_of_their_own() {
        assert_eq!(name_of(Path::new("/var/lib/hearth")), "var-lib-hearth");
        assert_ne!(name_of(Path::new("/a-b")), name_of(Path::new("/a/b")));
    }
}
