//! The QEMU command line of the emulated host; a pure function of its settings.
//!
//! Every argument has a measurement as its reason; `docs/emulated-host.md` has them all.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

/// Address of the emulated host's agent inside the user-mode network.
pub(crate) const AGENT_PORT: u16 = 1024;

/// Translated code that QEMU keeps. The default of 1 GiB is more than small machines have; 512 MiB holds
/// the kernels of host and guests without eviction.
const TRANSLATION_CACHE_MIB: u32 = 512;

/// A TCP port of this host's loopback that leads into the emulated host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForward {
    /// Port on 127.0.0.1 here.
    pub host_port: u16,
    /// Port on the emulated host.
    pub guest_port: u16,
}

/// Settings of the command line.
#[derive(Debug)]
pub(crate) struct QemuMachine<'a> {
    pub(crate) vmlinux: &'a Path,
    pub(crate) initramfs: &'a Path,
    pub(crate) disk: &'a Path,
    pub(crate) console: &'a Path,
    pub(crate) pid_file: &'a Path,
    pub(crate) cpus: u8,
    pub(crate) memory_mib: u32,
    pub(crate) tsc_khz: Option<u32>,
    pub(crate) forwards: &'a [PortForward],
}

/// Arguments for `qemu-system-x86_64`.
pub(crate) fn arguments(machine: &QemuMachine<'_>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut push = |flag: &str, value: String| {
        arguments.push(flag.into());
        arguments.push(value.into());
    };
    // ACPI describes the virtio-mmio devices; Debian's kernel takes none from its command line. ACPI also says that
    // there is no legacy timer and no legacy interrupt controller, so the kernel sets up neither. With QEMU 10 on a
    // quiet machine two boots in three failed otherwise: the timer raised vector 0, which is a division error.
    push(
        "-M",
        "microvm,isa-serial=on,rtc=on,acpi=on,pit=off,pic=off,auto-kernel-cmdline=off".into(),
    );
    let thread = if machine.cpus > 1 { "multi" } else { "single" };
    push(
        "-accel",
        format!("tcg,thread={thread},tb-size={TRANSLATION_CACHE_MIB}"),
    );
    // `rep movsb` and `rep stosb` are emulated byte by byte; without these two flags kernels and C libraries
    // copy by larger units, which halves the cost of copying and takes a fifth off a microVM's boot.
    push("-cpu", "max,+svm,+npt,-erms,-fsrm".into());
    push("-smp", machine.cpus.to_string());
    push("-m", machine.memory_mib.to_string());
    push("-display", "none".into());
    push(
        "-chardev",
        format!(
            "file,id=console,append=on,path={}",
            escaped(machine.console)
        ),
    );
    push("-serial", "chardev:console".into());
    push("-kernel", machine.vmlinux.display().to_string());
    push("-initrd", machine.initramfs.display().to_string());
    push("-append", kernel_command_line(machine.tsc_khz));
    push(
        "-drive",
        format!(
            "if=none,id=data,format=raw,discard=unmap,file={}",
            escaped(machine.disk)
        ),
    );
    push("-device", "virtio-blk-device,drive=data,serial=data".into());
    push("-netdev", user_network(machine.forwards));
    push("-device", "virtio-net-device,netdev=network".into());
    push("-device", "virtio-rng-device".into());
    push("-pidfile", machine.pid_file.display().to_string());
    // A panic ends the process (`panic=-1` reboots, and a reboot is an end): there is nothing to wait for.
    for flag in ["-nodefaults", "-no-reboot", "-daemonize"] {
        arguments.push(flag.into());
    }
    arguments
}

/// The kernel's command line.
fn kernel_command_line(tsc_khz: Option<u32>) -> String {
    let mut words = vec![
        "console=ttyS0".to_owned(),
        "quiet".into(),
        // The microvm machine can reboot only by a triple fault.
        "reboot=t".into(),
        "panic=-1".into(),
        // After an Oops no result could be trusted.
        "oops=panic".into(),
        "no_timer_check".into(),
        // On a busy machine the emulated timer loses ticks; the kernel then blames the counter, which is right,
        // and falls back to counting ticks, which runs slow by several per cent.
        "tsc=reliable".into(),
        "cryptomgr.notests".into(),
        "nokaslr".into(),
        // Half a second of emulated boot, for things that nothing here uses.
        "initcall_blacklist=jent_mod_init,load_system_certificate_list".into(),
        // The addresses that QEMU's user-mode network gives out; the agent sets them.
        "hearth.net=10.0.2.15/24,10.0.2.2,10.0.2.3".into(),
    ];
    words.extend(tsc_khz.map(|khz| format!("tsc_early_khz={khz}")));
    words.join(" ")
}

fn user_network(forwards: &[PortForward]) -> String {
    let mut value = String::from("user,id=network,ipv6=off");
    for forward in forwards {
        value.push_str(&format!(
            ",hostfwd=tcp:127.0.0.1:{}-:{}",
            forward.host_port, forward.guest_port
        ));
    }
    value
}

/// The port of this host that QEMU could not forward: it is in use. QEMU repeats its whole `-netdev` option first, and then
/// says `Could not set up host forwarding rule 'tcp:127.0.0.1:20000-:20000'`.
pub(crate) fn port_in_use(message: &str) -> Option<u16> {
    let (_, rule) = message.split_once("host forwarding rule '")?;
    let (_, address) = rule.split_once(':')?;
    let (host, _) = address.split_once('-')?;
    let (_, port) = host.rsplit_once(':')?;
    port.parse().ok()
}

/// Commas separate options; one in a path is written twice.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// The version of a QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct QemuVersion {
    /// The 10 of 10.0.2.
    pub major: u32,
    /// The first 0 of 10.0.2.
    pub minor: u32,
}

impl QemuVersion {
    /// The oldest version that is fast. With an older one a large program takes twice as long to start in the emulated
    /// host, a suspend of a microVM nearly twice as long, and a resume half as long again. Measured with 7.2 and 10.0
    /// (docs/emulated-host.md), and not with the versions between them.
    pub const FAST: Self = Self {
        major: 10,
        minor: 0,
    };

    /// The version of the `qemu-system-x86_64` in this process's `PATH`; `None` if it is absent or cannot be run.
    pub fn installed() -> Option<Self> {
        let program = find_program(&std::env::var("PATH").unwrap_or_default())?;
        let output = Command::new(program).arg("--version").output().ok()?;
        Self::parse(&String::from_utf8_lossy(&output.stdout))
    }

    /// Reads `QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)`.
    fn parse(text: &str) -> Option<Self> {
        let (_, version) = text.split_once("version ")?;
        let mut numbers = version.split(|character: char| !character.is_ascii_digit());
        Some(Self {
            major: numbers.next()?.parse().ok()?,
            minor: numbers.next()?.parse().ok()?,
        })
    }
}

impl fmt::Display for QemuVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// Finds `qemu-system-x86_64` in `path` (the value of `PATH`).
pub(crate) fn find_program(path: &str) -> Option<PathBuf> {
    path.split(':')
        .filter(|directory| !directory.is_empty())
        .map(|directory| Path::new(directory).join("qemu-system-x86_64"))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(cpus: u8, forwards: &[PortForward]) -> String {
        let arguments = arguments(&QemuMachine {
            vmlinux: Path::new("/k/vmlinux"),
            initramfs: Path::new("/k/initramfs"),
            disk: Path::new("/d,1/disk"),
            console: Path::new("/d,1/console"),
            pid_file: Path::new("/d,1/pid"),
            cpus,
            memory_mib: 2048,
            tsc_khz: Some(2_596_104),
            forwards,
        });
        let words: Vec<_> = arguments
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        words.join(" ")
    }

    #[test]
    fn one_processor_runs_in_one_thread() {
        assert!(command_line(1, &[]).contains("tcg,thread=single,"));
        assert!(command_line(2, &[]).contains("tcg,thread=multi,"));
    }

    #[test]
    fn there_is_no_legacy_timer_to_raise_a_vector_that_nobody_set_up() {
        assert!(command_line(1, &[]).contains(",pit=off,pic=off,"));
    }

    #[test]
    fn the_clock_is_told() {
        assert!(command_line(1, &[]).contains("tsc_early_khz=2596104"));
    }

    #[test]
    fn forwards_stay_on_the_loopback() {
        let line = command_line(
            1,
            &[PortForward {
                host_port: 4000,
                guest_port: 80,
            }],
        );
        assert!(line.contains(",hostfwd=tcp:127.0.0.1:4000-:80"));
    }

    #[test]
    fn versions_are_read_and_ordered() {
        let read = |text| QemuVersion::parse(text).map(|version| version.to_string());
        let debian_12 = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c)";
        assert_eq!(read(debian_12).as_deref(), Some("7.2"));
        assert_eq!(
            read("QEMU emulator version 10.0.2").as_deref(),
            Some("10.0")
        );
        assert_eq!(read("no version at all"), None);
        assert!(QemuVersion::parse(debian_12).unwrap() < QemuVersion::FAST);
    }

    #[test]
    fn commas_in_paths_are_doubled_in_options() {
        assert!(command_line(1, &[]).contains("file=/d,,1/disk"));
    }

    #[test]
    fn a_port_in_use_is_read_from_the_message() {
        let message = "qemu-system-x86_64: -netdev user,id=network,ipv6=off,hostfwd=tcp:127.0.0.1:41000-:1024,\
                       hostfwd=tcp:127.0.0.1:20000-:20000: Could not set up host forwarding rule \
                       'tcp:127.0.0.1:20000-:20000'";
        assert_eq!(port_in_use(message), Some(20_000));
        assert_eq!(port_in_use("Could not allocate memory"), None);
    }
}
