//! The checks: what was found, why it matters, how to fix it.
//!
//! Checks that *fail* keep microVMs from running. The others are *advice*, most of it from Firecracker's checklist for
//! production hosts (docs/prod-host-setup.md there), for hosts on which strangers run code.

mod connection_table;
mod groups;
mod service_memory;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use hearth_emulated::QemuVersion;
use hearth_vmm::probe::Finding;
use serde::Serialize;

use super::facts::Facts;
use crate::damaged::Damaged;
use crate::view::size;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    #[serde(rename = "ok")]
    Good,
    Advice,
    Fails,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Advice => "advice",
            Self::Fails => "FAILS",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    /// The findings, one a line.
    pub(super) found: String,
    pub(super) why: &'static str,
    /// How to fix the findings, one a line: a command if there is one.
    pub(super) mend: Option<String>,
}

/// All checks. Those that are required to run microVMs come first.
pub(super) const ALL: &[fn(&Facts) -> Check] = &[
    kvm,
    root,
    busybox,
    disk_tools,
    base_images,
    runtimes,
    network_rules,
    network_cards,
    connection_table::connection_table,
    listen,
    memory,
    disk,
    open_files,
    kernel,
    landlock,
    cgroups,
    groups::controllers,
    groups::pressure,
    service_memory::service_memory,
    disk_limits,
    data_directory,
    damaged,
    users,
    console,
    swap,
    smt,
    ksm,
    mitigations,
    ecc,
];

/// With less memory only the smallest microVM fits beside its build.
const LEAST_MEMORY_BYTES: u64 = 1 << 30;
/// Memory for some microVMs of the default size.
const FAIR_MEMORY_BYTES: u64 = 8 << 30;

/// Base images and one build take about 3 GiB.
const LEAST_DISK_BYTES: u64 = 5 << 30;
const FAIR_DISK_BYTES: u64 = 30 << 30;

/// About twenty descriptors for each of a thousand microVMs, and as many connections again.
const FAIR_OPEN_FILES: u64 = 65_536;

/// The first kernel version with `PAGEMAP_SCAN`.
const FAST_SUSPEND_KERNEL: (u32, u32) = (6, 7);

/// Console level at which the kernel prints only errors and worse.
const QUIET_CONSOLE: u32 = 4;

/// Name and reason of a check, to which a finding is added.
struct Subject {
    name: &'static str,
    why: &'static str,
}

impl Subject {
    fn good(self, found: impl Into<String>) -> Check {
        self.check(Verdict::Good, found.into(), None)
    }

    fn advice(self, found: impl Into<String>, mend: &str) -> Check {
        self.check(Verdict::Advice, found.into(), Some(mend.to_owned()))
    }

    fn fails(self, found: impl Into<String>, mend: &str) -> Check {
        self.check(Verdict::Fails, found.into(), Some(mend.to_owned()))
    }

    fn check(self, verdict: Verdict, found: String, mend: Option<String>) -> Check {
        Check {
            name: self.name,
            verdict,
            found,
            why: self.why,
            mend,
        }
    }
}

fn kvm(facts: &Facts) -> Check {
    let subject = Subject {
        name: "kvm",
        why: "without it the emulated host takes its place, some twenty times slower; that one needs QEMU",
    };
    let found = facts.kvm.to_string();
    let mend = match &facts.kvm {
        Finding::Works => return subject.good(found),
        Finding::NoDevice => {
            "modprobe kvm_intel || modprobe kvm_amd; if that fails, switch virtualization on in the firmware, or nested virtualization for this machine"
        }
        Finding::NoPermission => "usermod -aG kvm $USER, or run as root",
        _ => "run on bare metal, or on a machine with nested virtualization",
    };
    match &facts.qemu {
        Some(version) => {
            let speed = if *version >= QemuVersion::FAST {
                ""
            } else {
                ", which is slower than version 10 (Debian 12 has that in bookworm-backports)"
            };
            let found = format!("{found}; the emulated host runs on QEMU {version}{speed}");
            subject.advice(found, mend)
        }
        None => {
            let mend = format!("{mend}. Or: apt-get install qemu-system-x86");
            subject.fails(found, &mend)
        }
    }
}

fn root(facts: &Facts) -> Check {
    let subject = Subject {
        name: "root",
        why: "base images are made of packages, and microVMs have namespaces and network cards of their own",
    };
    if facts.is_root {
        subject.good("this is root")
    } else {
        subject.fails("this is not root", "sudo hearth up")
    }
}

fn busybox(facts: &Facts) -> Check {
    let subject = Subject {
        name: "busybox",
        why: "builds find their tools in a static one",
    };
    if facts.has_busybox {
        subject.good("a static busybox is there")
    } else {
        subject.fails(
            "there is no static busybox",
            "apt-get install busybox-static",
        )
    }
}

fn disk_tools(facts: &Facts) -> Check {
    let subject = Subject {
        name: "mke2fs",
        why: "it makes the file systems of base images and of the emulated host",
    };
    if facts.has_mke2fs {
        subject.good("it is there")
    } else {
        subject.fails("it is not there", "apt-get install e2fsprogs")
    }
}

fn base_images(facts: &Facts) -> Check {
    let subject = Subject {
        name: "base images",
        why: "Dockerfiles stand on images that are made of Debian's packages, once",
    };
    match (facts.has_bases, facts.has_mmdebstrap) {
        (true, _) => subject.good("they are there"),
        (false, true) => subject.good("mmdebstrap is there to make them at the first start"),
        (false, false) => subject.fails(
            "they are not there, and neither is mmdebstrap",
            "apt-get install mmdebstrap debian-archive-keyring",
        ),
    }
}

fn runtimes(facts: &Facts) -> Check {
    let subject = Subject {
        name: "runtimes",
        why: "Lambda functions run in runtimes that are built on this host before",
    };
    match facts.runtimes.is_empty() {
        true => subject.good("none is built; `hearth runtime build python3.11` builds one"),
        false => subject.good(format!("built: {}", facts.runtimes.join(", "))),
    }
}

fn network_rules(facts: &Facts) -> Check {
    let subject = Subject {
        name: "nftables",
        why: "the kernel's rules decide what a microVM reaches",
    };
    if !facts.wants_network {
        subject.good("not needed: network.enabled = false")
    } else if facts.has_nft {
        subject.good("nft is there")
    } else {
        subject.fails(
            "nft is not there",
            "apt-get install nftables, or hearth up --no-network",
        )
    }
}

fn network_cards(facts: &Facts) -> Check {
    let subject = Subject {
        name: "tap devices",
        why: "a microVM's network card ends in one",
    };
    // The emulated host brings its own kernel.
    if !facts.wants_network || !facts.kvm.is_usable() {
        subject.good("not needed")
    } else if facts.has_tun {
        subject.good("/dev/net/tun is there")
    } else {
        subject.fails(
            "there is no /dev/net/tun",
            "modprobe tun, or hearth up --no-network",
        )
    }
}

fn listen(facts: &Facts) -> Check {
    let subject = Subject {
        name: "api port",
        why: "clients reach the API there",
    };
    match &facts.listen_error {
        None => subject.good(format!("{} is free, or ours", facts.listen)),
        Some(error) => subject.fails(
            format!("{} cannot be listened on: {error}", facts.listen),
            "hearth up --listen 127.0.0.1:PORT, or `listen` in the configuration",
        ),
    }
}

fn memory(facts: &Facts) -> Check {
    let subject = Subject {
        name: "memory",
        why: "the baselines of all microVMs together fit what is available",
    };
    let bytes = meminfo_bytes(&facts.meminfo, "MemAvailable").unwrap_or_default();
    let found = format!("{} are available", size(bytes));
    match bytes {
        FAIR_MEMORY_BYTES.. => subject.good(found),
        LEAST_MEMORY_BYTES.. => subject.advice(found, "add memory, or end what else runs here"),
        _ => subject.fails(found, "add memory, or end what else runs here"),
    }
}

fn meminfo_bytes(meminfo: &str, name: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
    let kib = line.strip_prefix(':')?.trim().strip_suffix("kB")?;
    Some(kib.trim().parse::<u64>().ok()? * 1024)
}

fn disk(facts: &Facts) -> Check {
    let subject = Subject {
        name: "disk",
        why: "snapshots, objects and logs are kept there; a full disk fails builds and suspends",
    };
    let Some(bytes) = facts.free_bytes else {
        return subject.advice("the free space is unknown", "df --human-readable");
    };
    let found = format!("{} are free for {}", size(bytes), facts.data);
    match bytes {
        FAIR_DISK_BYTES.. => subject.good(found),
        LEAST_DISK_BYTES.. => subject.advice(found, "name a larger file system with --data"),
        _ => subject.fails(found, "name a larger file system with --data"),
    }
}

fn open_files(facts: &Facts) -> Check {
    let subject = Subject {
        name: "open files",
        why: "each microVM and each connection takes some",
    };
    let found = format!("at most {}", facts.open_files);
    if facts.open_files >= FAIR_OPEN_FILES {
        subject.good(found)
    } else {
        subject.advice(found, "ulimit -n 1048576, or LimitNOFILE= of the unit")
    }
}

fn kernel(facts: &Facts) -> Check {
    let subject = Subject {
        name: "kernel",
        why: "before 6.7 a suspend asks for changed pages one by one; old kernels also lack fixes",
    };
    match version(&facts.kernel) {
        Some(version) if version >= FAST_SUSPEND_KERNEL => subject.good(&facts.kernel),
        Some(_) => subject.advice(&facts.kernel, "install a newer kernel of the distribution"),
        None => subject.advice(
            format!("{:?} is not a version", facts.kernel),
            "uname --kernel-release",
        ),
    }
}

/// Parses a kernel release: `6.12` of `6.12.1-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn landlock(facts: &Facts) -> Check {
    let subject = Subject {
        name: "landlock",
        why: "it keeps a VMM that was taken over from files that are not its own",
    };
    match &facts.security_modules {
        Some(modules) if modules.split(',').any(|module| module == "landlock") => {
            subject.good("the kernel has it")
        }
        Some(_) => subject.advice(
            "the kernel does not have it, or it is disabled",
            "boot with landlock in front of the list that follows lsm=",
        ),
        None => subject.advice(
            "unknown",
            "mount -t securityfs securityfs /sys/kernel/security",
        ),
    }
}

fn cgroups(facts: &Facts) -> Check {
    let subject = Subject {
        name: "cgroups",
        why: "restores are slower with version 1",
    };
    let is_unified = facts.mounts.lines().any(|mount| {
        let mut words = mount.split(' ').skip(1);
        words.next() == Some("/sys/fs/cgroup") && words.next() == Some("cgroup2")
    });
    if is_unified {
        subject.good("version 2")
    } else {
        subject.advice(
            "version 2 is not the only hierarchy at /sys/fs/cgroup",
            "boot with systemd.unified_cgroup_hierarchy=1",
        )
    }
}

fn disk_limits(facts: &Facts) -> Check {
    let subject = Subject {
        name: "disk limits",
        why: "without them one microVM may keep the disk from all others with what its VMM reads and writes of snapshots; its own disks are limited all the same",
    };
    // The emulated host brings its own kernel and disk.
    if !facts.wants_disk_limits || !facts.kvm.is_usable() {
        return subject.good("not needed");
    }
    match &facts.limitable_device {
        Ok(device) => subject.good(format!("control groups limit the device {device}")),
        Err(reason) => subject.advice(
            reason,
            "put the data directory on ext4 or XFS, under a kernel with the io controller",
        ),
    }
}

fn data_directory(facts: &Facts) -> Check {
    let subject = Subject {
        name: "data",
        why: "the memory of every tenant's microVMs is in it",
    };
    match facts.data_mode {
        None => subject.good(format!("{} will be made", facts.data)),
        Some(mode) if mode & 0o077 == 0 => {
            subject.good(format!("{} is its owner's alone", facts.data))
        }
        Some(mode) => {
            let found = format!("{} has the permissions {:o}", facts.data, mode & 0o7777);
            subject.advice(found, &format!("chmod 700 {}", facts.data))
        }
    }
}

fn damaged(facts: &Facts) -> Check {
    let subject = Subject {
        name: "damaged files",
        why: "what could not be read was set aside, so that the rest goes on",
    };
    match &facts.damaged {
        Ok(damaged) if damaged.is_empty() => subject.good("none"),
        Ok(damaged) => {
            let found: Vec<_> = damaged.iter().map(Damaged::sentence).collect();
            let mends: Vec<_> = damaged.iter().map(|one| one.what_helps.as_str()).collect();
            subject.advice(found.join("\n"), &mends.join("\n"))
        }
        Err(error) => subject.advice(
            format!("unknown: {error}"),
            "sudo hearth doctor, or see `damaged` in the data directory",
        ),
    }
}

fn users(facts: &Facts) -> Check {
    let subject = Subject {
        name: "users",
        why: "each VMM is a user of its own; somebody else with the same number could end it and read its memory",
    };
    let (first, last) = (*facts.users.start(), *facts.users.end());
    match owners(facts).find(|(_, range)| *range.start() <= last && first <= *range.end()) {
        None => subject.good(format!("nobody else has {first}-{last}")),
        Some((owner, range)) => subject.advice(
            format!(
                "{owner} has {}-{} of {first}-{last}",
                range.start(),
                range.end()
            ),
            "name another range as `users` in the configuration",
        ),
    }
}

/// The owners of user ids, by `passwd` (`name:x:uid:...`) and `subuid` (`name:first:count`).
fn owners(facts: &Facts) -> impl Iterator<Item = (&str, RangeInclusive<u32>)> {
    fn single(text: &str) -> Option<(&str, RangeInclusive<u32>)> {
        let mut fields = text.split(':');
        let (name, user) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        Some((name, user..=user))
    }
    fn range(text: &str) -> Option<(&str, RangeInclusive<u32>)> {
        let mut fields = text.split(':');
        let (name, first) = (fields.next()?, fields.next()?.parse::<u32>().ok()?);
        let count: u32 = fields.next()?.parse().ok()?;
        Some((name, first..=first.saturating_add(count.max(1) - 1)))
    }
    let singles = facts.passwd.lines().filter_map(single);
    singles.chain(facts.subuid.lines().filter_map(range))
}

fn console(facts: &Facts) -> Check {
    let subject = Subject {
        name: "console",
        why: "what a tenant makes the kernel say is written to the console by the processor that all share",
    };
    let level = facts.console_level.as_deref().and_then(|text| {
        let first = text.split_whitespace().next()?;
        first.parse::<u32>().ok()
    });
    match level {
        Some(level) if level <= QUIET_CONSOLE => subject.good(format!("quiet (level {level})")),
        Some(level) => subject.advice(
            format!("level {level}"),
            "sysctl kernel.printk=1, or boot with quiet loglevel=1",
        ),
        None => subject.advice("unknown", "cat /proc/sys/kernel/printk"),
    }
}

fn swap(facts: &Facts) -> Check {
    let subject = Subject {
        name: "swap",
        why: "guests' memory is written to disk in the clear, and stays there",
    };
    // The first line is a heading.
    match facts.swaps.lines().count() {
        0 | 1 => subject.good("off"),
        _ => subject.advice("on", "swapoff --all, or encrypt it"),
    }
}

fn smt(facts: &Facts) -> Check {
    let subject = Subject {
        name: "smt",
        why: "threads of one core share what side channels read; two tenants may be on them",
    };
    match facts.smt_active.as_deref() {
        Some("0") => subject.good("off"),
        Some("1") => subject.advice("on", "echo off > /sys/devices/system/cpu/smt/control"),
        _ => subject.advice("unknown", "lscpu"),
    }
}

fn ksm(facts: &Facts) -> Check {
    let subject = Subject {
        name: "ksm",
        why: "merged pages tell one tenant what is in another one's memory",
    };
    match facts.ksm_run.as_deref() {
        None | Some("0" | "2") => subject.good("off"),
        Some(_) => subject.advice("on", "echo 2 > /sys/kernel/mm/ksm/run"),
    }
}

fn mitigations(facts: &Facts) -> Check {
    let subject = Subject {
        name: "mitigations",
        why: "the processor leaks between tenants where its flaws are not mitigated",
    };
    let open: Vec<_> = facts
        .vulnerabilities
        .iter()
        .filter(|(_, word)| word.starts_with("Vulnerable"))
        .map(|(name, _)| name.as_str())
        .collect();
    if open.is_empty() {
        subject.good(format!(
            "none of {} known flaws is open",
            facts.vulnerabilities.len()
        ))
    } else {
        subject.advice(
            format!("open: {}", open.join(", ")),
            "install the newest microcode and kernel, and boot without mitigations=off",
        )
    }
}

fn ecc(facts: &Facts) -> Check {
    let subject = Subject {
        name: "ecc",
        why: "a tenant that flips bits beside its own (Rowhammer) is noticed, and most flips are corrected",
    };
    if facts.has_ecc {
        subject.good("memory errors are corrected and counted")
    } else {
        subject.advice(
            "no memory controller reports corrected errors",
            "use memory with ECC and target row refresh; in a virtual machine, ask who runs its host",
        )
    }
}
