//! Starting, finding again, and stopping an emulated host.
//!
//! ```text
//! <state>/lock             held while one process starts or stops the host
//! <state>/keeper           held by the process that keeps it running
//! <state>/host.json        the running one: process, port, token (0600)
//! <state>/initramfs.cpio   agent, modules, busybox, token (0600)
//! <state>/data.raw         data disk, sparse
//! <state>/console.log      its kernel's messages, bounded
//! <state>/qemu.pid
//! ```
//!
//! QEMU is detached: it outlives the command that started it. Later commands attach by the record.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hearth_base::{
    EMULATED_HOST_MODULES, ExtraFile, FileContent, InitramfsError, InitramfsSpec, Kernel,
    KernelError, KernelSource, Progress,
};
use hearth_wire::agent::Token;
use hearth_wire::host_mode::{HOST_MODE_CONFIG, HOST_SETUP_SCRIPT, HostModeConfig};
use rustix::process::{Pid, Signal, kill_process};

use crate::agent::HostAgentClient;
use crate::clock;
use crate::console;
use crate::disk::{self, DiskError, InitialFile};
use crate::health::{Death, Health, Look, Watch};
use crate::qemu::{self, AGENT_PORT, PortForward, QemuMachine};
use crate::record::{Record, private_file, start_ticks};

/// How long the boot may take. It takes 4-6 s; a machine under load needed 30.
const BOOT_TIMEOUT: Duration = Duration::from_secs(180);

/// Longest wait for the agent's answer to one probe.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two polls while waiting for a process to start or to end.
const POLL: Duration = Duration::from_millis(50);

/// How many ports are tried: another process may take a port that was free a moment ago.
const PORT_ATTEMPTS: u32 = 5;

/// Run by the agent of the emulated host before it listens.
const SETUP_SCRIPT: &str = include_str!("host-setup.sh");

/// How an emulated host is made.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Directory of this emulated host; made if missing.
    pub state_dir: PathBuf,
    /// Hearth's data directory, for the kernel cache.
    pub data_dir: PathBuf,
    /// The static agent: its PID 1.
    pub agent: PathBuf,
    /// Its kernel.
    pub kernel: KernelSource,
    /// Processors. More than one is faster and less stable under QEMU 7.2. The agent then keeps an idle KVM machine
    /// open: without it the emulated host panics after some twenty machines.
    pub cpus: u8,
    /// Memory, in MiB.
    pub memory_mib: u32,
    /// Whether the data disk of an earlier start is kept.
    pub data_disk: DataDisk,
    /// Size of a new data disk, in GiB. The file is sparse.
    pub disk_gib: u32,
    /// Files that a new data disk holds from the start.
    pub initial_files: Vec<InitialFile>,
    /// Ports of the loopback that lead inside, beside the agent's.
    pub forwards: Vec<PortForward>,
}

/// Whether a data disk that exists at the start is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataDisk {
    /// Keep it, as a machine keeps its disk over a power cut.
    Keep,
    /// Replace it with a new disk.
    Fresh,
}

/// Why an emulated host did not start.
#[derive(Debug, thiserror::Error)]
pub enum HostStartError {
    /// Its directory cannot be used.
    #[error("cannot use the emulated host's directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// An emulated host runs already.
    #[error("an emulated host is running in {0} already")]
    Running(PathBuf),
    /// Another process keeps it running, and would start it again.
    #[error(
        "another process{} keeps the emulated host in {path} running; stop that one first",
        named(.pid)
    )]
    Kept {
        /// The directory.
        path: PathBuf,
        /// The process, if it is known.
        pid: Option<u32>,
    },
    /// A port that leads inside is taken.
    #[error("port {0} of 127.0.0.1, which is to lead into the emulated host, is in use")]
    PortInUse(u16),
    /// QEMU is missing.
    #[error("qemu-system-x86_64 is not installed (package qemu-system-x86)")]
    NoQemu,
    /// busybox is missing or needs libraries.
    #[error("no statically linked busybox is installed (package busybox-static)")]
    NoBusybox,
    /// No kernel.
    #[error("cannot prepare the emulated host's kernel")]
    Kernel(#[from] KernelError),
    /// No initramfs.
    #[error("cannot prepare the emulated host's initramfs")]
    Initramfs(#[from] InitramfsError),
    /// No data disk.
    #[error("cannot prepare the emulated host's data disk")]
    Disk(#[from] DiskError),
    /// A step on this side failed.
    #[error("cannot {step}")]
    Step {
        /// What was tried.
        step: &'static str,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// QEMU ended at once.
    #[error("QEMU does not start: {0}")]
    Qemu(String),
    /// It died while it booted.
    #[error("the emulated host died while booting: {death}; its last console lines:\n{console}")]
    Died {
        /// How.
        death: Death,
        /// End of the console.
        console: String,
    },
    /// It was started again and again.
    #[error("the emulated host keeps dying, the last time so: {0}")]
    KeepsDying(Death),
    /// Its agent never answered.
    #[error(
        "the emulated host's agent did not answer within {} s; its last console lines:\n{console}",
        BOOT_TIMEOUT.as_secs()
    )]
    Silent {
        /// End of the console.
        console: String,
    },
}

fn named(pid: &Option<u32>) -> String {
    pid.map(|pid| format!(" ({pid})")).unwrap_or_default()
}

/// A running emulated host. Dropping the value leaves it running.
#[derive(Debug)]
pub struct EmulatedHost {
    state_dir: PathBuf,
    record: Record,
}

impl EmulatedHost {
    /// Boots an emulated host and waits until its agent answers.
    pub fn start(config: &HostConfig, progress: Progress<'_>) -> Result<Self, HostStartError> {
        let _lock = lock_directory(&config.state_dir)?;
        if Self::attach(&config.state_dir).is_some() {
            return Err(HostStartError::Running(config.state_dir.clone()));
        }
        let qemu = qemu::find_program(&std::env::var("PATH").unwrap_or_default())
            .ok_or(HostStartError::NoQemu)?;
        let kernel = Kernel::obtain(&config.data_dir, &config.kernel, progress)?;
        let token = fresh_token().map_err(step("read /dev/urandom"))?;
        write_initramfs(config, &kernel, &token)?;
        prepare_disk(config, progress)?;
        progress("booting the emulated host");
        let host = Self {
            record: launch(config, &qemu, &kernel, token)?,
            state_dir: config.state_dir.clone(),
        };
        host.record
            .write(&host.state_dir.join("host.json"))
            .map_err(step("write host.json"))?;
        if let Err(error) = host.wait_for_agent() {
            host.kill();
            return Err(error);
        }
        Ok(host)
    }

    /// Finds the emulated host that runs in `state_dir`, if one does.
    pub fn attach(state_dir: &Path) -> Option<Self> {
        // An unreadable record is as good as none: nobody could talk to that host.
        let record = Record::read(&state_dir.join("host.json")).ok().flatten()?;
        record.is_alive().then(|| Self {
            state_dir: state_dir.to_owned(),
            record,
        })
    }

    /// A client of its agent.
    pub fn agent(&self) -> HostAgentClient {
        HostAgentClient::new(self.record.agent_port, Token(self.record.token))
    }

    /// Its processors.
    pub fn cpus(&self) -> u8 {
        self.record.cpus
    }

    /// Its memory, in MiB.
    pub fn memory_mib(&self) -> u32 {
        self.record.memory_mib
    }

    /// Ports of this machine's loopback that lead inside, beside the agent's.
    pub fn forwards(&self) -> &[PortForward] {
        &self.record.forwards
    }

    /// Process id of its QEMU.
    pub fn pid(&self) -> i32 {
        self.record.pid
    }

    /// The end of its console log.
    pub fn console_tail(&self) -> String {
        console::tail(&self.console()).unwrap_or_default()
    }

    /// Looks at it once, and keeps its console log within bounds.
    pub fn health(&self, watch: &mut Watch) -> Health {
        // A log that cannot be cut is no reason to call the host dead.
        let _ = console::bound(&self.console());
        let is_running = self.record.is_alive();
        let is_answering = is_running && self.agent().hello(HELLO_TIMEOUT).is_ok();
        let tail = self.console_tail();
        let last_words = console::last_words(&tail).map(str::to_owned);
        watch.judge(
            Instant::now(),
            Look {
                is_running,
                is_answering,
                last_words: last_words.filter(|_| !is_answering),
            },
        )
    }

    /// Syncs its disks and powers it off; kills it when that takes longer than `limit`.
    pub fn stop(&self, limit: Duration) {
        // The agent's answer does not matter: only the end of the process counts.
        let _ = self.agent().shutdown(limit);
        if !self.wait_until_gone(limit) {
            self.kill();
        }
        self.forget();
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&self) {
        if self.record.is_alive()
            && let Some(pid) = Pid::from_raw(self.record.pid)
        {
            // It may have ended between the two lines.
            let _ = kill_process(pid, Signal::KILL);
            self.wait_until_gone(Duration::from_secs(10));
        }
        self.forget();
    }

    fn forget(&self) {
        // A record that stays is harmless: its process is gone.
        let _ = fs::remove_file(self.state_dir.join("host.json"));
    }

    fn console(&self) -> PathBuf {
        self.state_dir.join("console.log")
    }

    fn wait_until_gone(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        while self.record.is_alive() {
            if Instant::now() > deadline {
                return false;
            }
            thread::sleep(POLL);
        }
        true
    }

    fn wait_for_agent(&self) -> Result<(), HostStartError> {
        let deadline = Instant::now() + BOOT_TIMEOUT;
        let agent = self.agent();
        loop {
            if agent.hello(Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            let console = self.console_tail();
            let death = match console::last_words(&console) {
                Some(words) => Some(Death::Panic(words.to_owned())),
                None if !self.record.is_alive() => Some(Death::Gone),
                None => None,
            };
            if let Some(death) = death {
                return Err(HostStartError::Died { death, console });
            }
            if Instant::now() > deadline {
                return Err(HostStartError::Silent { console });
            }
            thread::sleep(POLL);
        }
    }
}

/// Memory for an emulated host on this machine: half of what is free, between 2 and 8 GiB, in MiB.
pub fn default_memory_mib() -> u32 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    memory_for(available_mib(&meminfo).unwrap_or(0))
}

fn memory_for(available_mib: u64) -> u32 {
    (available_mib / 2).clamp(2048, 8192) as u32
}

fn available_mib(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024)
}

fn lock_directory(directory: &Path) -> Result<File, HostStartError> {
    let prepare = || {
        fs::create_dir_all(directory)?;
        // The directory holds the token.
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let file = private_file(&directory.join("lock"))?;
        file.lock()?;
        Ok(file)
    };
    prepare().map_err(|source| HostStartError::Directory {
        path: directory.to_owned(),
        source,
    })
}

fn write_initramfs(
    config: &HostConfig,
    kernel: &Kernel,
    token: &[u8; 32],
) -> Result<(), HostStartError> {
    let settings = HostModeConfig {
        port: AGENT_PORT,
        token: Token(*token),
        hold_vm: config.cpus > 1,
    };
    let bytes = |path: &str, permissions, text: String| ExtraFile {
        path: path.into(),
        permissions,
        content: FileContent::Bytes(text.into_bytes()),
    };
    let spec = InitramfsSpec {
        init: config.agent.clone(),
        modules: EMULATED_HOST_MODULES
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
        on_demand: vec![],
        files: vec![
            bytes(HOST_MODE_CONFIG, 0o600, settings.to_text()),
            bytes(HOST_SETUP_SCRIPT, 0o644, SETUP_SCRIPT.into()),
            ExtraFile {
                path: "bin/busybox".into(),
                permissions: 0o755,
                content: FileContent::CopyOf(
                    find_static_busybox().ok_or(HostStartError::NoBusybox)?,
                ),
            },
        ],
    };
    let target = config.state_dir.join("initramfs.cpio");
    // Made private before the token is in it; writing keeps the permissions.
    private_file(&target).map_err(step("create the initramfs"))?;
    spec.write(kernel, &target)?;
    pad(&target).map_err(step("pad the initramfs"))
}

/// Fills the last page of an initramfs; its kernel skips the zeros.
///
/// QEMU 10 puts the end of the initramfs into the last page of memory below 4 GiB. At the end of that page the firmware
/// has put the ACPI tables. An initramfs that leaves less than about a thousand bytes of the page overwrites them, and
/// the kernel finds no devices. QEMU leaves the whole page to the tables if the size is a multiple of the page.
fn pad(initramfs: &Path) -> io::Result<()> {
    const PAGE_BYTES: u64 = 4096;
    let file = File::options().write(true).open(initramfs)?;
    file.set_len(file.metadata()?.len().next_multiple_of(PAGE_BYTES))
}

/// The path of a statically linked busybox on this machine.
pub fn find_static_busybox() -> Option<PathBuf> {
    // A dynamically linked program names its loader.
    let loader = b"/ld-linux";
    ["/bin/busybox", "/usr/bin/busybox"]
        .into_iter()
        .map(PathBuf::from)
        .find(|path| {
            fs::read(path)
                .is_ok_and(|program| !program.windows(loader.len()).any(|part| part == loader))
        })
}

fn prepare_disk(config: &HostConfig, progress: Progress<'_>) -> Result<(), HostStartError> {
    let path = config.state_dir.join("data.raw");
    if config.data_disk == DataDisk::Fresh || !path.exists() {
        progress("making the emulated host's data disk");
        disk::create(&path, config.disk_gib, &config.initial_files)?;
    }
    Ok(())
}

fn launch(
    config: &HostConfig,
    program: &Path,
    kernel: &Kernel,
    token: [u8; 32],
) -> Result<Record, HostStartError> {
    let at = |name: &str| config.state_dir.join(name);
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").map_err(step("read /proc/cpuinfo"))?;
    let mut attempt = 0;
    let agent_port = loop {
        attempt += 1;
        private_file(&at("console.log")).map_err(step("create the console log"))?;
        let agent_port = free_port().map_err(step("find a free port"))?;
        let mut forwards = vec![PortForward {
            host_port: agent_port,
            guest_port: AGENT_PORT,
        }];
        forwards.extend(&config.forwards);
        let output = Command::new(program)
            .args(qemu::arguments(&QemuMachine {
                vmlinux: &kernel.vmlinux(),
                initramfs: &at("initramfs.cpio"),
                disk: &at("data.raw"),
                console: &at("console.log"),
                pid_file: &at("qemu.pid"),
                cpus: config.cpus,
                memory_mib: config.memory_mib,
                tsc_khz: clock::tsc_khz(&cpuinfo),
                forwards: &forwards,
            }))
            .output()
            .map_err(step("run QEMU"))?;
        if output.status.success() {
            break agent_port;
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        match qemu::port_in_use(&message) {
            // Another process took it a moment ago.
            Some(port) if port == agent_port && attempt < PORT_ATTEMPTS => {}
            Some(port) => return Err(HostStartError::PortInUse(port)),
            None => return Err(HostStartError::Qemu(message)),
        }
    };
    let pid = fs::read_to_string(at("qemu.pid")).map_err(step("read QEMU's pid file"))?;
    let pid = pid
        .trim()
        .parse()
        .map_err(|_| HostStartError::Qemu(format!("it wrote {pid:?} as its process id")))?;
    Ok(Record {
        pid,
        start_ticks: start_ticks(pid).map_err(step("find the QEMU process"))?,
        agent_port,
        token,
        cpus: config.cpus,
        memory_mib: config.memory_mib,
        forwards: config.forwards.clone(),
    })
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

fn fresh_token() -> io::Result<[u8; 32]> {
    let mut token = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut token)?;
    Ok(token)
}

fn step(step: &'static str) -> impl Fn(io::Error) -> HostStartError {
    move |source| HostStartError::Step { step, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_the_machine_within_bounds() {
        assert_eq!(memory_for(1000), 2048);
        assert_eq!(memory_for(10_000), 5000);
        assert_eq!(memory_for(500_000), 8192);
        assert_eq!(
            available_mib("MemTotal: 9 kB\nMemAvailable:  2048 kB\n"),
            Some(2)
        );
    }

    #[test]
    fn an_initramfs_fills_its_last_page() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("initramfs.cpio");
        for (bytes, padded) in [(4096, 4096), (4097, 8192), (8191, 8192)] {
            fs::write(&path, vec![1; bytes]).unwrap();
            pad(&path).unwrap();
            let content = fs::read(&path).unwrap();
            assert_eq!(content.len(), padded);
            assert!(content[bytes..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn nothing_runs_in_an_empty_directory() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(EmulatedHost::attach(scratch.path()).is_none());
    }
}
