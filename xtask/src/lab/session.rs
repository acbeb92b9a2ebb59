//! A running emulated host with the workspace's binaries in it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth_base::{BaseVersion, BuildOptions, KernelSource};
use hearth_emulated::{
    DataDisk, Death, EmulatedHost, Health, HostAgentClient, HostAgentError, HostConfig, Watch,
    default_memory_mib,
};
use hearth_wire::agent::{ExecPlace, ExecSpec, ExitStatus};

use super::sync::shell;
use super::{Shape, data_dir, deaths_file, sync};
use crate::workspace::{Binaries, lab_dir};

/// Size of the data disk; sparse, so only what tests write takes room.
const DISK_GIB: u32 = 32;

/// Hearth's data directory in the lab.
const GUEST_DATA: &str = "/data/hearth";

/// How often the host's health is checked while a command runs.
const WATCH_INTERVAL: Duration = Duration::from_secs(10);

/// Whether a running emulated host may be reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Boot {
    Reuse,
    Fresh,
}

/// The stdin of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    Inherit,
    Empty,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With this status, as a shell would say it.
    Status(u8),
    HostDied(Death),
}

/// The emulated host, ready for commands.
pub(crate) struct Session {
    host: EmulatedHost,
    base: BaseVersion,
    binary_dir: PathBuf,
}

impl Session {
    /// Attaches to the running emulated host or boots one, and brings binaries and base version up to date.
    pub(crate) fn open(shape: &Shape, binaries: &Binaries, boot: Boot) -> Result<Self> {
        // Held to the end of the function: tests run in parallel and one boot serves them all.
        let _lock = lock()?;
        let base = build_base(binaries)?;
        let host = match usable(shape, boot) {
            Some(host) => host,
            None => start(shape, binaries)?,
        };
        let session = Self {
            host,
            base,
            binary_dir: binaries
                .hearth
                .parent()
                .context("the hearth binary has no directory")?
                .to_owned(),
        };
        session.send(&binaries.hearth, &binaries.hearth)?;
        session.send(&binaries.vmm(), &binaries.vmm())?;
        session.send(&binaries.agent, &binaries.agent)?;
        // The rules of guests' networks are applied with this host's program; tests of them build a world around it.
        for program in [hearth_net::PROGRAM, "/usr/sbin/ip"] {
            for file in hearth_emulated::with_libraries(Path::new(program))? {
                session.send(&file, &file)?;
            }
        }
        session.install_base()?;
        Ok(session)
    }

    /// Process id of its QEMU.
    pub(crate) fn host_pid(&self) -> i32 {
        self.host.pid()
    }

    /// Sends the file `source` to the path `target` inside, unless the same bytes are there.
    pub(crate) fn send(&self, source: &Path, target: &Path) -> Result<()> {
        sync::send(&self.host.agent(), source, target)
            .with_context(|| format!("cannot send {} into the lab", source.display()))
    }

    pub(super) fn agent(&self) -> HostAgentClient {
        self.host.agent()
    }

    /// Makes a directory inside, with its parents.
    pub(crate) fn make_directory(&self, path: &str) -> Result<()> {
        shell(&self.host.agent(), &format!("mkdir -p '{path}'"))
    }

    /// Reads a file from inside.
    pub(crate) fn fetch(&self, path: &str, limit_bytes: usize) -> Result<Vec<u8>> {
        Ok(self.host.agent().read_file(path, limit_bytes)?)
    }

    /// Makes the base version the only one of the lab's data directory, as `hearth base build` would. The kernel,
    /// which is most of it, travels once for all agents.
    fn install_base(&self) -> Result<()> {
        const INCOMING: &str = "/data/incoming";
        let directory = guest_base_dir(&self.base);
        let index = directory.join("base.json");
        if self
            .host
            .agent()
            .read_file(&index.display().to_string(), 1 << 16)
            .is_ok()
        {
            return Ok(());
        }
        let kernel = format!("/data/kernels/{}", self.base.kernel_package_version);
        self.send(&self.base.vmlinux(), &Path::new(&kernel).join("vmlinux"))?;
        let incoming = Path::new(INCOMING);
        self.send(&self.base.initramfs(), &incoming.join("initramfs.cpio"))?;
        let host_index = self.base.vmlinux().with_file_name("base.json");
        self.send(&host_index, &incoming.join("base.json"))?;
        // The index comes last: with it the version is complete.
        let script = format!(
            "set -e; rm -rf /data/hearth/base; mkdir -p {0}; ln {kernel}/vmlinux {0}/vmlinux; \
             mv {INCOMING}/initramfs.cpio {INCOMING}/base.json {0}; rm -r {INCOMING}",
            directory.display()
        );
        shell(&self.host.agent(), &script).context("cannot install the base version in the lab")
    }

    /// The environment of a command: `forwarded`, and what the lab itself provides.
    pub(crate) fn environment(
        &self,
        forwarded: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let mut environment = forwarded.clone();
        let path = format!("{}:/bin:/sbin:/usr/bin", self.binary_dir.display());
        environment.extend([
            ("PATH".into(), path),
            ("HOME".into(), "/root".into()),
            ("HEARTH_LAB".into(), "1".into()),
            // The lab's data disk is the only place with room and with a real file system.
            ("HEARTH_DATA".into(), GUEST_DATA.into()),
            ("TMPDIR".into(), "/data/tmp".into()),
        ]);
        environment.extend(base_variables(&guest_base_dir(&self.base)));
        environment
    }

    /// Runs a command inside, with its output passed through.
    pub(crate) fn exec(
        &self,
        argv: &[String],
        environment: &BTreeMap<String, String>,
        directory: &str,
        input: Input,
    ) -> Result<Ended> {
        let spec = ExecSpec {
            argv: argv.to_vec(),
            env: environment.clone(),
            cwd: directory.into(),
            user: String::new(),
            tty: None,
            place: ExecPlace::Agent,
        };
        let stdin: Option<Box<dyn Read + Send>> = match input {
            Input::Inherit => Some(Box::new(io::stdin())),
            Input::Empty => None,
        };
        let agent = self.host.agent();
        let (result, death) =
            self.watched(|| agent.exec(spec, stdin, &mut io::stdout(), &mut io::stderr()));
        match (result, death) {
            (Ok(status), _) => Ok(Ended::Status(exit_code(status))),
            (Err(_), Some(death)) => Ok(Ended::HostDied(death)),
            (Err(error @ (HostAgentError::Lost(_) | HostAgentError::Connect(_))), None) => {
                match self.autopsy() {
                    Some(death) => Ok(Ended::HostDied(death)),
                    None => Err(error.into()),
                }
            }
            (Err(error), None) => Err(error.into()),
        }
    }

    /// Runs `work` while a second thread watches the host's health. A dead host is killed, which makes `work` end too.
    fn watched<T>(&self, work: impl FnOnce() -> T) -> (T, Option<Death>) {
        thread::scope(|scope| {
            let (done, is_done) = mpsc::channel::<()>();
            let watcher = scope.spawn(move || {
                let mut watch = Watch::new(Instant::now());
                while is_done.recv_timeout(WATCH_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                    if let Health::Dead(death) = self.host.health(&mut watch) {
                        self.bury(&death);
                        return Some(death);
                    }
                }
                None
            });
            let result = work();
            drop(done);
            // A panic of the watcher is one more reason not to trust the host, but not a death of it.
            (result, watcher.join().unwrap_or(None))
        })
    }

    /// Finds out whether a stream broke because the host died. A dying QEMU closes its sockets before it has ended.
    fn autopsy(&self) -> Option<Death> {
        let mut watch = Watch::new(Instant::now());
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            match self.host.health(&mut watch) {
                Health::Dead(death) => {
                    self.bury(&death);
                    return Some(death);
                }
                _ if Instant::now() > deadline => return None,
                _ => thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    fn bury(&self, death: &Death) {
        eprintln!("lab: {death}");
        eprintln!(
            "lab: its last console lines:\n{}",
            last_lines(&self.host.console_tail(), 25)
        );
        self.host.kill();
        let written = OpenOptions::new()
            .create(true)
            .append(true)
            .open(deaths_file())
            .and_then(|mut file| writeln!(file, "{death}"));
        if let Err(error) = written {
            eprintln!("lab: cannot write this death down: {error}");
        }
    }
}

/// The base version of the built agent, in the lab's data directory.
pub(crate) fn build_base(binaries: &Binaries) -> Result<BaseVersion> {
    Ok(hearth_base::build(&BuildOptions {
        data_dir: data_dir(),
        agent: binaries.agent.clone(),
        agent_version: env!("CARGO_PKG_VERSION").into(),
        kernel: KernelSource::Cached,
        progress: &say,
    })?)
}

/// The environment of a command on this machine, where KVM works: what [`Session::environment`] is in the lab.
pub(crate) fn native_environment(binaries: &Binaries) -> Result<BTreeMap<String, String>> {
    let base = build_base(binaries)?;
    let vmlinux = base.vmlinux();
    let mut environment = base_variables(vmlinux.parent().unwrap_or(&vmlinux));
    let own = binaries
        .hearth
        .parent()
        .context("the hearth binary has no directory")?;
    let path = format!(
        "{}:{}",
        own.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    environment.extend([
        ("PATH".into(), path),
        ("HEARTH_DATA".into(), data_dir().display().to_string()),
    ]);
    Ok(environment)
}

fn base_variables(directory: &Path) -> BTreeMap<String, String> {
    let shown = |name: &str| directory.join(name).display().to_string();
    BTreeMap::from([
        ("HEARTH_TEST_KERNEL".into(), shown("vmlinux")),
        ("HEARTH_TEST_INITRAMFS".into(), shown("initramfs.cpio")),
    ])
}

/// Where the base version stands in the lab.
fn guest_base_dir(base: &BaseVersion) -> PathBuf {
    Path::new(GUEST_DATA).join("base").join(&base.id)
}

/// Directory of the emulated host's own state.
pub(super) fn host_dir() -> PathBuf {
    lab_dir().join("host")
}

pub(super) fn lock() -> Result<File> {
    fs::create_dir_all(lab_dir()).context("cannot create target/lab")?;
    let file = File::create(lab_dir().join("lock")).context("cannot create target/lab/lock")?;
    file.lock().context("cannot lock target/lab/lock")?;
    Ok(file)
}

/// The running host, if it is healthy and has the wanted shape. Another one is stopped.
fn usable(shape: &Shape, boot: Boot) -> Option<EmulatedHost> {
    let host = EmulatedHost::attach(&host_dir())?;
    let fits = shape.smp.is_none_or(|smp| smp == host.cpus())
        && shape
            .memory
            .is_none_or(|memory| memory == host.memory_mib());
    if boot == Boot::Fresh || !fits {
        host.kill();
        return None;
    }
    let mut watch = Watch::new(Instant::now());
    loop {
        match host.health(&mut watch) {
            Health::Well => return Some(host),
            Health::Silent => {}
            Health::Dead(death) => {
                eprintln!("lab: {death}; booting a new one");
                host.kill();
                return None;
            }
        }
    }
}

fn start(shape: &Shape, binaries: &Binaries) -> Result<EmulatedHost> {
    let began = Instant::now();
    let host = EmulatedHost::start(
        &HostConfig {
            state_dir: host_dir(),
            data_dir: data_dir(),
            agent: shape
                .agent
                .clone()
                .unwrap_or_else(|| binaries.agent.clone()),
            kernel: KernelSource::Cached,
            cpus: shape.smp.unwrap_or(1),
            memory_mib: shape.memory.unwrap_or_else(default_memory_mib),
            data_disk: DataDisk::Fresh,
            disk_gib: DISK_GIB,
            // The bases are sent for the tests that need them; with a new disk they would take 20 s at every boot.
            initial_files: vec![],
            forwards: vec![],
        },
        &say,
    )?;
    shell(&host.agent(), &format!("mkdir -p /data/tmp {GUEST_DATA}"))
        .context("cannot prepare the lab's data disk")?;
    say(&format!(
        "it is up after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    Ok(host)
}

/// The exit code as in a shell.
fn exit_code(status: ExitStatus) -> u8 {
    match status {
        ExitStatus::Code(code) => code as u8,
        ExitStatus::Signal(signal) => 128_u8.wrapping_add(signal as u8),
    }
}

pub(super) fn say(text: &str) {
    eprintln!("lab: {text}");
}

/// The end of a text.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
