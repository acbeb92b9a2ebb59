//! Limits on the memory, processor time, threads and disk I/O of each VMM: one cgroup (version 2) a VMM.
//!
//! ```text
//! /sys/fs/cgroup/hearth/            cpu.weight as any other group's: what is not a guest keeps half of a busy host
//!   <data directory>/               so that two nodes do not meet
//!     <machine>/                    memory.max memory.min cpu.max cpu.weight pids.max io.max
//! ```
//!
//! `memory.min` of a machine is its baseline, which is guaranteed. Memory beyond that, up to `memory.max`, is
//! overcommitted. Each group above has the sum of its children's `memory.min`, without which the kernel would guarantee
//! nothing.
//!
//! `io.max` limits the one device that the data directory is on, if the kernel can limit it ([`limitable_device`]). It
//! also counts I/O that the rate limiters of the virtual disks do not see: pages read from snapshots, and the writes of
//! a suspend.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hearth_wire::vmm::RateLimit;

use crate::block_device::{BlockDevice, NoBlockDevice};
use crate::error::{NodeError, failed};
use crate::layout::MachineName;
use crate::memory_guard;

/// Mount point of the cgroup hierarchy.
const ROOT: &str = "/sys/fs/cgroup";

/// Controllers that are required.
const CONTROLLERS: [&str; 3] = ["cpu", "memory", "pids"];

/// The controller that is used if it is available.
const IO: &str = "io";

/// Memory of a VMM beside the guest's RAM, in MiB: its own memory, page tables, vsock queues. It measures 2 MiB with an
/// idle guest; the rest is for the kernel's memory for disks and network under load.
const OVERHEAD_MIB: u64 = 96;

/// `cpu.weight` of each vCPU. It guarantees a quarter of a processor under contention, as the size tier promises; 100
/// is the weight of any other group.
const WEIGHT_PER_VCPU: u32 = 25;

/// Factor on the weight of a prioritised microVM (`shares.rs`): with it, one of the smallest size gets half of a
/// processor beside one of the largest size. The kernel's largest weight is 10,000.
const FIRST: u32 = 16;

/// Processor time for the devices of a VMM beside its vCPUs, in thousandths of a processor.
const DEVICES_PERMILLE: u32 = 250;

/// Most threads of a VMM beside its vCPUs: the main thread, disks, a sealing thread.
const THREADS: u32 = 32;

/// File with the memory of a group that the kernel never reclaims.
const MEMORY_MIN: &str = "memory.min";

/// Period of `cpu.max`, in microseconds.
const PERIOD_US: u32 = 100_000;

/// Least quota of `cpu.max`, in microseconds, that the kernel takes.
const LEAST_QUOTA_US: u32 = 1000;

/// The groups of one node.
#[derive(Debug, Clone)]
pub struct Groups {
    own: PathBuf,
    /// The device that `io.max` limits.
    device: Option<BlockDevice>,
    /// Guaranteed memory (`memory.min`) of each machine, in bytes.
    kept: Arc<Mutex<HashMap<MachineName, u64>>>,
}

/// Why the host cannot limit the disk I/O of a microVM.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDiskLimit {
    /// The kernel has no io controller.
    #[error(
        "the kernel's control groups have no io controller (CONFIG_BLK_CGROUP, CONFIG_BLK_DEV_THROTTLING)"
    )]
    NoController,
    /// The directory is not on a single block device.
    #[error(transparent)]
    NoDevice(#[from] NoBlockDevice),
}

/// The block device of a data directory, if control groups can limit its use.
///
/// # Errors
///
/// The kernel has no io controller, or the directory is not on a single block device.
pub fn limitable_device(data: &Path) -> Result<BlockDevice, NoDiskLimit> {
    let listed = fs::read_to_string(Path::new(ROOT).join("cgroup.controllers"));
    if !lists(&listed.unwrap_or_default(), IO) {
        return Err(NoDiskLimit::NoController);
    }
    Ok(BlockDevice::of(data)?)
}

/// The resources of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) memory_mib: u32,
    pub(crate) vcpus: u8,
    /// Rate limit of the host's disk, for reads and writes each.
    pub(crate) disk: Option<RateLimit>,
}

impl Groups {
    /// Creates the node's groups.
    ///
    /// # Errors
    ///
    /// cgroup version 2 is not mounted at its usual place, lacks a controller, or may not be changed.
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
        Ok(Self::at(own, device))
    }

    pub(crate) fn at(own: PathBuf, device: Option<BlockDevice>) -> Self {
        // Those of microVMs that outlived an earlier service.
        let kept = groups_in(&own).filter_map(|group| {
            let name = group.file_name()?.to_str()?.parse().ok()?;
            Some((name, memory_min(&group)))
        });
        Self {
            kept: Arc::new(Mutex::new(kept.collect())),
            own,
            device,
        }
    }

    /// Removes the group of a data directory that has no machines, and the group above if no other Hearth uses it.
    pub fn leave(data: &Path) {
        let all = Path::new(ROOT).join("hearth");
        if let Ok(data) = std::path::absolute(data) {
            // A directory of groups that are still used cannot be removed.
            let _ = fs::remove_dir(all.join(name_of(&data)));
        }
        let _ = fs::remove_dir(all);
    }

    /// Creates a machine's group and sets its limits.
    pub(crate) fn make(&self, name: &MachineName, size: Size) -> Result<(), NodeError> {
        let group = self.group(name);
        make(&group)?;
        let memory = (u64::from(size.memory_mib) + OVERHEAD_MIB) << 20;
        let vcpus = u32::from(size.vcpus);
        let quota = vcpus * PERIOD_US + PERIOD_US / 1000 * DEVICES_PERMILLE;
        write(&group, "memory.max", &memory.to_string())?;
        let baseline = (memory_guard::baseline_mib(size.memory_mib) + OVERHEAD_MIB) << 20;
        self.keep(name, baseline)?;
        // All of the process or nothing: half a VMM is of no use.
        write(&group, "memory.oom.group", "1")?;
        write(&group, "cpu.max", &format!("{quota} {PERIOD_US}"))?;
        // What it uses is not known yet (shares.rs).
        write(&group, "cpu.weight", &weight(vcpus, false).to_string())?;
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

    /// Limits a machine to this many thousandths of a processor, with its devices.
    pub(crate) fn limit_processors(
        &self,
        name: &MachineName,
        permille: u32,
    ) -> Result<(), NodeError> {
        let quota = (PERIOD_US / 1000 * permille).max(LEAST_QUOTA_US);
        write(
            &self.group(name),
            "cpu.max",
            &format!("{quota} {PERIOD_US}"),
        )
    }

    /// Moves a process into its machine's group. Takes some milliseconds, in which the kernel synchronises all
    /// processors.
    pub(crate) fn put(&self, name: &MachineName, pid: u32) -> Result<(), NodeError> {
        write(&self.group(name), "cgroup.procs", &pid.to_string())
    }

    /// Removes the group of a machine whose process has ended. No-op if it does not exist.
    pub(crate) fn remove(&self, name: &MachineName) {
        const TRIES: u32 = 50;
        const PAUSE: Duration = Duration::from_millis(2);
        let group = self.group(name);
        self.keep_no_longer(name);
        for _ in 0..TRIES {
            match fs::remove_dir(&group) {
                // The kernel is not done with the process yet.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                    std::thread::sleep(PAUSE);
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%error, %name, "cannot remove a control group; the next start removes it");
                    return;
                }
                _ => return,
            }
        }
    }

    /// Removes the groups of machines that do not exist any more.
    pub(crate) fn sweep(&self, is_there: impl Fn(&MachineName) -> bool) {
        for name in self.machines().filter(|name| !is_there(name)) {
            self.remove(&name);
        }
    }

    /// The machines that have a group.
    pub(crate) fn machines(&self) -> impl Iterator<Item = MachineName> + use<> {
        groups_in(&self.own).filter_map(|group| group.file_name()?.to_str()?.parse().ok())
    }

    /// Sets the guaranteed memory of a machine (`memory.min`): the kernel reclaims nothing of the group below it. The
    /// kernel bounds a group's guarantee by that of the groups above, so these are set to the sums.
    fn keep(&self, name: &MachineName, bytes: u64) -> Result<(), NodeError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name.clone(), bytes);
        write(&self.group(name), MEMORY_MIN, &bytes.to_string())?;
        self.sum_up(&kept)
    }

    fn keep_no_longer(&self, name: &MachineName) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.remove(name).is_some()
            && let Err(error) = self.sum_up(&kept)
        {
            tracing::warn!(%error, "the memory that is guaranteed to microVMs was not lowered");
        }
    }

    fn sum_up(&self, kept: &HashMap<MachineName, u64>) -> Result<(), NodeError> {
        let own: u64 = kept.values().sum();
        write(&self.own, MEMORY_MIN, &own.to_string())?;
        let Some(all) = self.own.parent() else {
            return Ok(());
        };
        // Other data directories have their own.
        let sum = groups_in(all).map(|group| memory_min(&group)).sum::<u64>();
        write(all, MEMORY_MIN, &sum.to_string())
    }

    /// Whether the kernel's OOM killer has killed a process of a machine's group.
    pub(crate) fn was_out_of_memory(&self, name: &MachineName) -> bool {
        let events = fs::read_to_string(self.group(name).join("memory.events"));
        kills_of(&events.unwrap_or_default()) > 0
    }

    /// Processor time that a machine has used since its group was created.
    pub(crate) fn used(&self, name: &MachineName) -> Option<Duration> {
        let text = fs::read_to_string(self.group(name).join("cpu.stat")).ok()?;
        used_of(&text)
    }

    /// Number of vCPUs that a machine's group was created for.
    pub(crate) fn vcpus(&self, name: &MachineName) -> Option<u32> {
        let text = fs::read_to_string(self.group(name).join("cpu.max")).ok()?;
        vcpus_of(&text)
    }

    /// Sets a machine's `cpu.weight`, its share of the processors under contention.
    pub(crate) fn weigh(&self, name: &MachineName, vcpus: u32, goes_first: bool) {
        let weight = weight(vcpus, goes_first).to_string();
        if let Err(error) = write(&self.group(name), "cpu.weight", &weight) {
            tracing::debug!(%error, %name, "cannot set the processor weight of a machine that has just ended");
        }
    }

    fn group(&self, name: &MachineName) -> PathBuf {
        self.own.join(name.to_string())
    }
}

fn weight(vcpus: u32, goes_first: bool) -> u32 {
    WEIGHT_PER_VCPU * vcpus * if goes_first { FIRST } else { 1 }
}

/// The child groups of a group.
fn groups_in(group: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
}

/// Guaranteed memory of a group in bytes; 0 if the group does not exist any more.
fn memory_min(group: &Path) -> u64 {
    let text = fs::read_to_string(group.join(MEMORY_MIN)).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// Parses `memory.events`: the number of processes that the OOM killer has killed.
fn kills_of(text: &str) -> u64 {
    let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    kills
        .and_then(|kills| kills.trim().parse().ok())
        .unwrap_or(0)
}

/// Parses `cpu.stat`: the processor time used.
fn used_of(text: &str) -> Option<Duration> {
    let used = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "))?;
    used.trim().parse().map(Duration::from_micros).ok()
}

/// Parses the number of vCPUs from `cpu.max` as [`Groups::make`] writes it: the share of the devices is less than one
/// vCPU. A machine that is limited to a part of a processor counts as one.
fn vcpus_of(text: &str) -> Option<u32> {
    let quota: u32 = text.split_whitespace().next()?.parse().ok()?;
    Some((quota / PERIOD_US).max(1))
}

/// The directory as one file name that an operator recognises: dashes for slashes, like systemd's escaped paths.
fn name_of(data: &Path) -> String {
    let path = data.to_string_lossy();
    path.trim_matches('/')
        .replace('-', "\\x2d")
        .replace('/', "-")
}

/// Whether a list of the kernel contains a word.
fn lists(list: &str, word: &str) -> bool {
    list.split_whitespace().any(|listed| listed == word)
}

/// A line of `io.max`. Values without a limit are written as `max`, to overwrite earlier limits of an existing group.
fn io_max(device: BlockDevice, limit: RateLimit) -> String {
    let value = |limit: Option<u64>| limit.map_or_else(|| "max".to_owned(), |n| n.to_string());
    let (bytes, operations) = (
        value(limit.bytes_per_second),
        value(limit.operations_per_second),
    );
    format!("{device} rbps={bytes} wbps={bytes} riops={operations} wiops={operations}")
}

/// Enables controllers for a group's children.
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

    /// On directories as the kernel's files are: the sums are what matters (finding H7).
    #[test]
    fn what_is_kept_for_machines_is_kept_by_the_groups_above() {
        let all = tempfile::tempdir().unwrap();
        let (own, other) = (all.path().join("data"), all.path().join("other"));
        let group = |name: &str| own.join(name);
        for directory in [&own, &other, &group("old"), &group("a"), &group("b")] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(other.join(MEMORY_MIN), "5\n").unwrap();
        fs::write(group("old").join(MEMORY_MIN), "7\n").unwrap();
        let groups = Groups::at(own.clone(), None);
        let name = |text: &str| text.parse::<MachineName>().unwrap();
        let sums = || (memory_min(&own), memory_min(all.path()));
        groups.keep(&name("a"), 10).unwrap();
        assert_eq!((memory_min(&group("a")), sums()), (10, (17, 22)));
        // A copy is of the same groups; a machine that is made again counts once.
        groups.clone().keep(&name("b"), 100).unwrap();
        groups.keep(&name("b"), 200).unwrap();
        assert_eq!(sums(), (217, 222));
        groups.keep_no_longer(&name("old"));
        groups.keep_no_longer(&name("b"));
        groups.keep_no_longer(&name("b"));
        assert_eq!(sums(), (10, 15));
    }

    #[test]
    fn kills_for_want_of_memory_are_counted() {
        let events = "low 0\nhigh 0\nmax 31\noom 1\noom_kill 1\noom_group_kill 1\n";
        assert_eq!(kills_of(events), 1);
        assert_eq!(kills_of("oom 3\noom_kill 0\n"), 0);
        assert_eq!(kills_of(""), 0);
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
