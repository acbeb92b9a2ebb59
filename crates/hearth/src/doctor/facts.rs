//! Reads the facts about this host. A fact that cannot be read is missing, and the checks report that.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hearth_emulated::QemuVersion;
use hearth_image::Runtimes;
use hearth_vmm::probe::{self, Finding};
use rustix::process::{Resource, getrlimit};

use crate::damaged::{self, Damaged};
use crate::shared::Shared;
use crate::up::UpRecord;

/// File with the controllers that groups below the root have.
const HANDED_DOWN: &str = "/sys/fs/cgroup/cgroup.subtree_control";

/// The place of control groups.
const GROUPS: &str = "/sys/fs/cgroup";

/// What bounds the memory of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServiceBound {
    NotRunning,
    /// No group that it is in has a bound, or that cannot be told.
    Nothing,
    /// The smallest bound of all groups that it is in.
    Bytes(u64),
}

impl ServiceBound {
    fn of_running(data: &Path) -> Self {
        let Ok(Some(running)) = UpRecord::running(data) else {
            return Self::NotRunning;
        };
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", running.pid));
        Self::of(Path::new(GROUPS), &cgroup.unwrap_or_default())
    }

    fn of(root: &Path, cgroup: &str) -> Self {
        let group = cgroup.lines().find_map(|line| line.strip_prefix("0::/"));
        let places = group
            .into_iter()
            .flat_map(|group| Path::new(group).ancestors());
        let bounds = places.filter_map(|place| {
            let bound = fs::read_to_string(root.join(place).join("memory.max")).ok()?;
            // A group without a bound says `max`.
            bound.trim().parse().ok()
        });
        bounds.min().map_or(Self::Nothing, Self::Bytes)
    }
}

/// A host, as far as it is judged.
#[derive(Debug, Clone)]
pub(super) struct Facts {
    pub(super) kvm: Finding,
    pub(super) is_root: bool,
    /// Version of QEMU, which runs the emulated host.
    pub(super) qemu: Option<QemuVersion>,
    /// Whether programs and devices exist.
    pub(super) has_busybox: bool,
    pub(super) has_mmdebstrap: bool,
    /// The runtimes of functions that were built.
    pub(super) runtimes: Vec<String>,
    pub(super) has_mke2fs: bool,
    pub(super) has_nft: bool,
    pub(super) has_tun: bool,
    /// `net.netfilter.nf_conntrack_max`; `None` before a firewall rule tracks connections.
    pub(super) connection_table: Option<u64>,
    /// Whether the base images of builds exist.
    pub(super) has_bases: bool,
    /// Whether microVMs are to have networks.
    pub(super) wants_network: bool,
    /// The API's address, and the error of listening there, if any.
    pub(super) listen: String,
    pub(super) listen_error: Option<String>,
    /// `6.12.1-...`
    pub(super) kernel: String,
    /// `/sys/kernel/security/lsm`
    pub(super) security_modules: Option<String>,
    /// `/proc/mounts`
    pub(super) mounts: String,
    /// `/proc/meminfo`
    pub(super) meminfo: String,
    /// `/proc/swaps`
    pub(super) swaps: String,
    /// Free bytes of the data directory's file system.
    pub(super) free_bytes: Option<u64>,
    pub(super) data: String,
    /// The data directory's device that a control group can limit, or why none can.
    pub(super) limitable_device: Result<String, String>,
    /// Whether microVMs are to have control groups.
    pub(super) wants_host_limits: bool,
    /// `/sys/fs/cgroup/cgroup.controllers`
    pub(super) controllers: Option<String>,
    /// `/sys/fs/cgroup/cgroup.subtree_control`, and whether this process may write it.
    pub(super) handed_down: Option<String>,
    pub(super) can_hand_down: bool,
    /// `/proc/pressure/memory`, and whether anybody is to be told of it.
    pub(super) pressure: Option<String>,
    pub(super) wants_pressure: bool,
    /// What the service may take of the host's memory, and what bounds the one that runs.
    pub(super) service_bytes: u64,
    pub(super) service_bound: ServiceBound,
    /// Whether microVMs are to have limits of disk there.
    pub(super) wants_disk_limits: bool,
    /// Permissions of the data directory; `None` if it does not exist yet.
    pub(super) data_mode: Option<u32>,
    /// Everything that was set aside as damaged, or why that cannot be listed.
    pub(super) damaged: Result<Vec<Damaged>, String>,
    pub(super) open_files: u64,
    /// Range of the users under which VMMs run.
    pub(super) users: RangeInclusive<u32>,
    /// `/etc/passwd`, and `/etc/subuid` with the ranges of containers.
    pub(super) passwd: String,
    pub(super) subuid: String,
    /// `/proc/sys/kernel/printk`
    pub(super) console_level: Option<String>,
    /// Whether a memory controller reports corrected errors.
    pub(super) has_ecc: bool,
    pub(super) smt_active: Option<String>,
    pub(super) ksm_run: Option<String>,
    /// The kernel's status of each vulnerability, by name.
    pub(super) vulnerabilities: BTreeMap<String, String>,
}

impl Facts {
    pub(super) fn read(shared: &Shared) -> Self {
        let text = |path: &str| {
            fs::read_to_string(path)
                .ok()
                .map(|text| text.trim().to_owned())
        };
        let data = &shared.data;
        let exists = |path: &str| Path::new(path).exists();
        let listen = shared.config.listen;
        let is_ours = UpRecord::running(data).is_ok_and(|running| running.is_some());
        Self {
            kvm: probe::probe(),
            is_root: rustix::process::geteuid().is_root(),
            qemu: QemuVersion::installed(),
            has_busybox: hearth_emulated::find_static_busybox().is_some(),
            has_mmdebstrap: exists("/usr/bin/mmdebstrap"),
            runtimes: built_runtimes(data),
            has_mke2fs: exists("/usr/sbin/mke2fs") || exists("/sbin/mke2fs"),
            has_nft: exists(hearth_net::PROGRAM),
            has_tun: exists("/dev/net/tun"),
            connection_table: text("/proc/sys/net/netfilter/nf_conntrack_max")
                .and_then(|entries| entries.parse().ok()),
            has_bases: data.join("bases/bases.json").exists(),
            wants_network: shared.config.network.enabled,
            listen: listen.to_string(),
            listen_error: match TcpListener::bind(listen) {
                Err(error) if !is_ours => Some(error.to_string()),
                _ => None,
            },
            kernel: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
            security_modules: text("/sys/kernel/security/lsm"),
            mounts: text("/proc/mounts").unwrap_or_default(),
            meminfo: text("/proc/meminfo").unwrap_or_default(),
            swaps: text("/proc/swaps").unwrap_or_default(),
            free_bytes: free_bytes(data),
            data: data.display().to_string(),
            limitable_device: hearth_node::limitable_device(data)
                .map(|device| device.to_string())
                .map_err(|reason| reason.to_string()),
            wants_host_limits: shared.config.host_limits,
            controllers: text("/sys/fs/cgroup/cgroup.controllers"),
            handed_down: text(HANDED_DOWN),
            can_hand_down: rustix::fs::access(HANDED_DOWN, rustix::fs::Access::WRITE_OK).is_ok(),
            pressure: text("/proc/pressure/memory"),
            wants_pressure: shared.config.memory.short().is_some(),
            service_bytes: shared.config.memory.service_bytes(),
            service_bound: ServiceBound::of_running(data),
            wants_disk_limits: shared.config.host_limits
                && shared.config.limits.to_node().disk.is_some(),
            data_mode: fs::metadata(data)
                .ok()
                .map(|metadata| metadata.permissions().mode()),
            damaged: damaged::read(shared).map_err(|error| format!("{error:#}")),
            // No limit is as good as any.
            open_files: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            users: shared.config.users.0.clone(),
            passwd: text("/etc/passwd").unwrap_or_default(),
            subuid: text("/etc/subuid").unwrap_or_default(),
            console_level: text("/proc/sys/kernel/printk"),
            has_ecc: exists("/sys/devices/system/edac/mc/mc0"),
            smt_active: text("/sys/devices/system/cpu/smt/active"),
            ksm_run: text("/sys/kernel/mm/ksm/run"),
            vulnerabilities: vulnerabilities(),
        }
    }
}

/// Free bytes of the file system of the directory, or of its nearest existing ancestor.
fn free_bytes(data: &Path) -> Option<u64> {
    let data = std::path::absolute(data).ok()?;
    let place = data.ancestors().find(|place| place.exists())?;
    let file_system = rustix::fs::statvfs(place).ok()?;
    Some(file_system.f_bavail.saturating_mul(file_system.f_frsize))
}

fn vulnerabilities() -> BTreeMap<String, String> {
    let listed = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let entries = listed.into_iter().flatten().flatten();
    let known = entries.filter_map(|entry| {
        let word = fs::read_to_string(entry.path()).ok()?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Some((name, word.trim().to_owned()))
    });
    known.collect()
}

/// The runtimes of functions that were built, by name. What cannot be read is told by `hearth runtime ls`.
fn built_runtimes(data: &Path) -> Vec<String> {
    let versions = Runtimes::new(data.join("runtimes")).list();
    let versions = versions.unwrap_or_default().into_iter();
    let mut names: Vec<_> = versions.map(|version| version.runtime).collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_bound_on_the_way_up_counts() {
        let root = tempfile::tempdir().unwrap();
        let unit = root.path().join("system.slice/hearth.service");
        fs::create_dir_all(&unit).unwrap();
        let cgroup = "1:name=systemd:/x\n0::/system.slice/hearth.service\n";
        let found = || ServiceBound::of(root.path(), cgroup);
        assert_eq!(found(), ServiceBound::Nothing);
        fs::write(unit.join("memory.max"), "max\n").unwrap();
        assert_eq!(found(), ServiceBound::Nothing);
        let above = root.path().join("system.slice/memory.max");
        fs::write(&above, "2048\n").unwrap();
        assert_eq!(found(), ServiceBound::Bytes(2048));
        fs::write(unit.join("memory.max"), "1024\n").unwrap();
        assert_eq!(found(), ServiceBound::Bytes(1024));
        assert_eq!(ServiceBound::of(root.path(), ""), ServiceBound::Nothing);
    }
}
