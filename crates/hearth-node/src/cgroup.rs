//! Limits on what one VMM takes of the host: a cgroup (version 2) for each.
//!
//! ```text
//! /sys/fs/cgroup/hearth/            cpu.weight as any other group's: what is not a guest keeps half of a busy host
//!   <data directory>/               so that two nodes do not meet
//!     <machine>/                    memory.max cpu.max cpu.weight pids.max io.max
//! ```
//!
//! `io.max` is of the one device that the data directory is on, where the kernel can limit it ([`limitable_device`]). It counts
//! what the limiters of the virtual disks do not see: pages that come from snapshots, and what a suspend writes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hearth_wire::vmm::RateLimit;

use crate::block_device::{BlockDevice, NoBlockDevice};
use crate::error::{NodeError, failed};
use crate::layout::MachineName;

/// Where the kernel's one hierarchy is.
const ROOT: &str = "/sys/fs/cgroup";

/// Controllers that are needed.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The one that is used where it is there.
const IO: &str = "io";

/// What a VMM may take beside the guest's RAM: its own memory, page tables, queues of vsock. Measured it is 2 MiB beside an idle
/// guest; the rest is for the kernel's side of disks and network under load.
const OVERHEAD_MIB: u64 = 96;

/// Share of a processor that a vCPU stands for when processors are short: a quarter, as its size tier says, where 100 is the
/// share of any other group.
const WEIGHT_PER_VCPU: u32 = 25;

/// How many times that much it is for a microVM that goes first (`shares.rs`): beside one of the largest size, one of the smallest has half
/// then. The kernel's largest weight is 10,000.
const FIRST: u32 = 16;

/// What devices may take of a processor beside the vCPUs, in thousandths.
const DEVICES_PERMILLE: u32 = 250;

/// Threads beside vCPUs: the main one, disks, a snapshot's.
const THREADS: u32 = 32;

/// Period of `cpu.max`, in microseconds.
const PERIOD_US: u32 = 100_000;

/// The groups of one node.
#[derive(Debug, Clone)]
pub struct Groups {
    own: PathBuf,
    /// What `io.max` is of.
    device: Option<BlockDevice>,
}

/// Why the host cannot limit what a microVM takes of its disk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDiskLimit {
    /// Nobody to enforce it.
    #[error(
        "the kernel's control groups have no io controller (CONFIG_BLK_CGROUP, CONFIG_BLK_DEV_THROTTLING)"
    )]
    NoController,
    /// Nothing to enforce it on.
    #[error(transparent)]
    NoDevice(#[from] NoBlockDevice),
}

/// The device of a data directory, whose use a control group can limit.
///
/// # Errors
///
/// Where the kernel has no such controller, or the directory no such device.
pub fn limitable_device(data: &Path) -> Result<BlockDevice, NoDiskLimit> {
    let listed = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers"));
    if !lists(&listed.unwrap_or_default(), IO) {
        return Err(NoDiskLimit::NoController);
    }
    Ok(BlockDevice::of(data)?)
}

/// What a machine is to get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memory_mib: u32,
    pub(crate) vcpus: u8,
    /// Of the host's disk, reading and writing each on its own.
    pub(crate) disk: Option<RateLimit>,
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
            if !lists(&available, controller) {
                return Err(NodeError::NoController(controller));
            }
        }
        let all = root.join("hearth");
        let data = std::path::absolute(data).map_err(failed("resolve", data))?;
        let own = all.join(name_of(&data));
        let device = limitable_device(&data).ok();
        let controllers: Vec<_> = CONTROLLERS.into_iter().chain(device.map(|_| IO)).collect();
        for (parent, child) in [(root, &all), (&all, &own)] {
            delegate(parent, &controllers)?;
            make(child)?;
        }
        delegate(&own, &controllers)?;
        Ok(Self { own, device })
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
        // It has used nothing yet.
        write(&group, "cpu.weight", &weight(vcpus, true).to_string())?;
        write(&group, "pids.max", &(vcpus + THREADS).to_string())?;
        if let (Some(device), Some(limit)) = (self.device, size.disk) {
            write(&group, "io.max", &io_max(device, limit))?;
        }
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
        for name in self.machines().filter(|name| !is_there(name)) {
            self.remove(&name);
        }
    }

    /// The machines that have a group.
    pub(crate) fn machines(&self) -> impl Iterator<Item = MachineName> + use<> {
        let entries = fs::read_dir(&self.own).into_iter().flatten().flatten();
        let groups = entries.filter(|entry| entry.path().is_dir());
        groups.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
    }

    /// Processor time that a machine has used since its group was made.
    pub(crate) fn used(&self, name: &MachineName) -> Option<Duration> {
        let text = fs::read_to_string(self.group(name).join("cpu.stat")).ok()?;
        used_of(&text)
    }

    /// The vCPUs that a machine's group was made for.
    pub(crate) fn vcpus(&self, name: &MachineName) -> Option<u32> {
        let text = fs::read_to_string(self.group(name).join("cpu.max")).ok()?;
        vcpus_of(&text)
    }

    /// Says how much of a processor a machine has when they are short.
    pub(crate) fn weigh(&self, name: &MachineName, vcpus: u32, goes_first: bool) {
        let weight = weight(vcpus, goes_first).to_string();
        if let Err(error) = write(&self.group(name), "cpu.weight", &weight) {
            tracing::debug!(%error, %name, "no weight for a machine that has just ended");
        }
    }

    fn group(&self, name: &MachineName) -> PathBuf {
        self.own.join(name.to_string())
    }
}

fn weight(vcpus: u32, goes_first: bool) -> u32 {
    WEIGHT_PER_VCPU * vcpus * if goes_first { FIRST } else { 1 }
}

/// `cpu.stat`.
fn used_of(text: &str) -> Option<Duration> {
    let used = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    used.trim().parse().map(Duration::from_micros).ok()
}

/// `cpu.max` as [`Groups::make`] writes it: what devices may take is less than a vCPU.
fn vcpus_of(text: &str) -> Option<u32> {
    let quota: u32 = text.split_whitespace().next()?.parse().ok()?;
    Some(quota / PERIOD_US).filter(|vcpus| *vcpus > 0)
}

/// The directory as one name that an operator recognises, as systemd writes paths: dashes for slashes.
fn name_of(data: &Path) -> String {
    let path = data.to_string_lossy();
    path.trim_matches('/')
        .replace('-', "\\x2d")
        .replace('/', "-")
}

/// Whether one of the kernel's lists has a word.
fn lists(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|listed| listed == word)
}

/// A line of `io.max`. What is not limited is `max`, as a group that is there already may have had a limit.
fn io_max(device: BlockDevice, limit: RateLimit) -> String {
    let value = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |n| n.to_string());
    let (bytes, operations) = (
        value(limit.bytes_per_second),
        value(limit.operations_per_second),
    );
    format!("{device} rbps={bytes} wbps={bytes} riops={operations} wiops={operations}")
}

/// Lets a group's children be limited.
fn delegate(group: &Path, controllers: &[&str]) -> Result<(), NodeError> {
    let wanted: Vec<_> = controllers.iter().map(|name| format!("+{name}")).collect();
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

    #[test]
    fn what_a_group_says_is_read() {
        let stat = "usage_usec 1500000\nuser_usec 1000000\nsystem_usec 500000\n";
        assert_eq!(used_of(stat), Some(Duration::from_millis(1500)));
        assert_eq!(used_of("user_usec 1\n"), None);
        assert_eq!(vcpus_of("425000 100000\n"), Some(4));
        assert_eq!(vcpus_of("max 100000\n"), None);
    }

    #[test]
    fn no_weight_is_beyond_the_kernels() {
        // The largest size has sixteen vCPUs.
        assert!(weight(16, true) <= 10_000);
    }

    #[test]
    fn a_limit_of_the_disk_is_a_line_that_the_kernel_reads() {
        let device = BlockDevice {
            major: 254,
            minor: 0,
        };
        let limit = RateLimit {
            bytes_per_second: Some(1 << 20),
            operations_per_second: None,
        };
        assert_eq!(
            io_max(device, limit),
            "254:0 rbps=1048576 wbps=1048576 riops=max wiops=max"
        );
    }
}
