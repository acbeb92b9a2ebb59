//! `hearth host`: does KVM here run guests? If not, the emulated host takes its place.
//!
//! ```text
//! check   one sentence: what the probe found
//! start   keeps the emulated host running in the foreground, restarts it when it dies
//! exec    a command inside it, with this hearth in its PATH
//! ```

mod transfer;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hearth_base::KernelSource;
use hearth_emulated::{
    DataDisk, EmulatedHost, HostAgentClient, HostConfig, InitialFile, PortForward, WatchdogEvent,
    default_memory_mib, keep_running,
};
use hearth_image::{RUNTIMES, Runtimes};
use hearth_vmm::probe;
use hearth_wire::agent::{ExecPlace, ExecSpec, ExitStatus};
use serde::Serialize;

use crate::cli::base::HostCommand;
use crate::shared::Shared;
use crate::{base, exec, output, vmm};

/// Size of a new data disk; sparse, so only what is used takes room.
const DISK_GIB: u32 = 64;

/// Where the data disk is in the emulated host, and on it Hearth's data and programs.
const DISK: &str = "/data";
pub(crate) const INNER_DATA: &str = "/data/hearth";
const INNER_BIN: &str = "/data/bin";

/// Largest record of a base image: names and digests.
const MAX_RECORD_BYTES: usize = 1 << 20;

/// What the probe found, for programs.
#[derive(Serialize)]
struct Verdict {
    kvm_runs_guests: bool,
    finding: String,
}

pub(crate) fn run(shared: &Shared, command: Option<HostCommand>) -> Result<ExitCode> {
    match command {
        None => {
            let code = check(shared)?;
            if code == ExitCode::SUCCESS {
                return Ok(code);
            }
            start(shared, &[])
        }
        Some(HostCommand::Check) => check(shared),
        Some(HostCommand::Start { forward }) => start(shared, &forward),
        Some(HostCommand::Exec { argv }) => exec_inside(shared, argv),
    }
}

/// Prints one sentence; succeeds when guests can run here.
fn check(shared: &Shared) -> Result<ExitCode> {
    let finding = probe::probe();
    let is_usable = finding.is_usable();
    if shared.json {
        let finding = finding.to_string();
        output::json(&Verdict {
            kvm_runs_guests: is_usable,
            finding,
        })?;
    } else {
        println!("{finding}");
    }
    Ok(if is_usable {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Keeps the emulated host running until Ctrl-C or SIGTERM.
fn start(shared: &Shared, ports: &[u16]) -> Result<ExitCode> {
    // Whoever started it needs it, and it would be stopped with this command.
    if EmulatedHost::attach(&state_dir(shared)).is_some() {
        bail!(
            "an emulated host with the data directory {} is running already; `hearth host exec` runs commands in it, and \
             `hearth down` stops it with its service",
            shared.data.display()
        );
    }
    eprintln!("starting the emulated host: the same Hearth, some twenty times slower");
    let forwards = ports.iter().map(|port| PortForward {
        host_port: *port,
        guest_port: *port,
    });
    let config = config(shared, forwards.collect())?;
    let began = Instant::now();
    let stop = stop_on_signal()?;
    keep_running(
        &config,
        &stop,
        &output::announce,
        &mut |event| match event {
            WatchdogEvent::Up(agent) => match furnish(shared, &agent) {
                Ok(()) => eprintln!(
                    "the emulated host is up after {:.1} s; try `hearth host exec -- hearth machine boot first`",
                    began.elapsed().as_secs_f64()
                ),
                Err(error) => eprintln!("warning: the emulated host is up, but {error:#}"),
            },
            WatchdogEvent::Died(death) => {
                eprintln!("{death}; starting it again (microVMs in it are as after a power cut)");
            }
        },
    )?;
    Ok(ExitCode::SUCCESS)
}

/// The emulated host of this data directory.
pub(crate) fn config(shared: &Shared, forwards: Vec<PortForward>) -> Result<HostConfig> {
    Ok(HostConfig {
        state_dir: state_dir(shared),
        data_dir: shared.data.clone(),
        agent: base::agent_beside_us()?,
        kernel: KernelSource::Cached,
        cpus: 1,
        memory_mib: default_memory_mib(),
        data_disk: DataDisk::Keep,
        disk_gib: DISK_GIB,
        initial_files: Vec::new(),
        forwards,
    })
}

/// Copies this program, the guest's kernel and the agent into the emulated host.
pub(crate) fn furnish(shared: &Shared, agent: &HostAgentClient) -> Result<()> {
    let version = base::current(shared)?;
    let base = format!("{INNER_DATA}/base/{}", version.id);
    make_directory(agent, &base)?;
    make_directory(agent, INNER_BIN)?;
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let vmlinux = version.vmlinux();
    transfer::once(agent, &own, 0o755, &format!("{INNER_BIN}/hearth"))?;
    let vmm = vmm::program()?;
    transfer::once(agent, &vmm, 0o755, &format!("{INNER_BIN}/hearth-vmm"))?;
    transfer::once(agent, &vmlinux, 0o444, &format!("{base}/vmlinux"))?;
    let initramfs = format!("{base}/initramfs.cpio");
    transfer::once(agent, &version.initramfs(), 0o444, &initramfs)?;
    let record = vmlinux.with_file_name("base.json");
    transfer::once(agent, &record, 0o444, &format!("{base}/base.json"))
}

/// Makes a directory in the emulated host, with its parents.
fn make_directory(agent: &HostAgentClient, path: &str) -> Result<()> {
    let mkdir = ["/bin/busybox", "mkdir", "-p", path].map(str::to_owned);
    run_inside(agent, mkdir.to_vec())
}

/// Runs a command of the set-up in the emulated host. A status other than 0 is an error.
pub(crate) fn run_inside(agent: &HostAgentClient, argv: Vec<String>) -> Result<()> {
    let shown = argv.join(" ");
    let mut said = Vec::new();
    let status = agent.exec(spec(argv), None, &mut io::sink(), &mut said)?;
    if status != ExitStatus::Code(0) {
        bail!(
            "`{shown}` failed inside: {}",
            String::from_utf8_lossy(&said).trim()
        );
    }
    Ok(())
}

/// Copies nft and its libraries into the emulated host, which has no libraries of its own.
pub(crate) fn furnish_nftables(agent: &HostAgentClient) -> Result<()> {
    let program = Path::new(hearth_net::PROGRAM);
    let files = hearth_emulated::with_libraries(program).with_context(|| {
        format!(
            "networks for microVMs need {} (apt-get install nftables); --no-network goes without",
            program.display()
        )
    })?;
    for file in files {
        let target = file.display().to_string();
        if let Some(directory) = file.parent() {
            make_directory(agent, &directory.display().to_string())?;
        }
        transfer::once(agent, &file, 0o755, &target)?;
    }
    Ok(())
}

/// Copies the certificates that builds trust into the emulated host.
pub(crate) fn furnish_certificates(agent: &HostAgentClient, bundle: &[u8]) -> Result<()> {
    const PLACE: &str = "/etc/ssl/certs";
    make_directory(agent, PLACE)?;
    let path = format!("{PLACE}/ca-certificates.crt");
    agent
        .write_file(&path, 0o444, &mut &bundle[..])
        .context("cannot send the certificates inside")
}

/// The base images of builds, made if they are absent: the path of each on this host and in the emulated host.
pub(crate) fn bases(shared: &Shared) -> Result<Vec<(PathBuf, PathBuf)>> {
    let bases = base::prepare(shared).context("cannot prepare the base images of builds")?;
    let inside = |file: PathBuf| {
        let relative = file.strip_prefix(&shared.data);
        let relative = relative.with_context(|| format!("{} lies elsewhere", file.display()))?;
        let target = Path::new(INNER_DATA).join(relative);
        Ok((file, target))
    };
    bases.files().into_iter().map(inside).collect()
}

/// The newest version of each runtime of functions that was built: the path of each file on this host and in the
/// emulated host.
fn runtimes(shared: &Shared) -> Result<Vec<Vec<(PathBuf, PathBuf)>>> {
    let runtimes = Runtimes::new(shared.data.join("runtimes"));
    let mut newest = Vec::new();
    for recipe in RUNTIMES {
        let Some(version) = runtimes.newest(recipe.name)? else {
            continue;
        };
        let inside = |file: PathBuf| {
            let target = Path::new(INNER_DATA).join(file.strip_prefix(&shared.data)?);
            Ok((file, target))
        };
        newest.push(
            version
                .files()
                .into_iter()
                .map(inside)
                .collect::<Result<_>>()?,
        );
    }
    Ok(newest)
}

/// Copies runtimes of functions into the emulated host. No-op for those that are there.
pub(crate) fn furnish_runtimes(shared: &Shared, agent: &HostAgentClient) -> Result<()> {
    for files in runtimes(shared)? {
        // The record is copied last: if it is there, the runtime is complete.
        if let Some((record, inner)) = files.last() {
            let known = agent.read_file(&inner.display().to_string(), MAX_RECORD_BYTES);
            if known.ok() == std::fs::read(record).ok() {
                continue;
            }
        }
        for (file, target) in files {
            output::announce(&format!("bringing {} inside", file.display()));
            transfer::sparse(agent, &file, &target.display().to_string())?;
        }
    }
    Ok(())
}

/// The base images as the first files of a new data disk.
pub(crate) fn initial_bases(shared: &Shared) -> Result<Vec<InitialFile>> {
    let on_disk = |(source, target): (PathBuf, PathBuf)| {
        let target = target.strip_prefix(DISK).context("the data is elsewhere")?;
        let target = target.to_owned();
        Ok(InitialFile { source, target })
    };
    bases(shared)?.into_iter().map(on_disk).collect()
}

/// Copies base images that are newer than the data disk into the emulated host. No-op for those that are there.
pub(crate) fn furnish_bases(shared: &Shared, agent: &HostAgentClient) -> Result<()> {
    let bases = bases(shared)?;
    // The record is copied last: if it is there, the images are complete.
    if let Some((record, inner)) = bases.last() {
        let known = agent.read_file(&inner.display().to_string(), MAX_RECORD_BYTES);
        if known.ok() == std::fs::read(record).ok() {
            return Ok(());
        }
    }
    for (file, target) in bases {
        output::announce(&format!("bringing {} inside", file.display()));
        transfer::sparse(agent, &file, &target.display().to_string())?;
    }
    Ok(())
}

/// Runs a command in the emulated host that another `hearth host` keeps running.
fn exec_inside(shared: &Shared, argv: Vec<String>) -> Result<ExitCode> {
    let Some(host) = EmulatedHost::attach(&state_dir(shared)) else {
        bail!("no emulated host is running; start one with `hearth host start`");
    };
    let stdin = Box::new(io::stdin());
    let status = host.agent().exec(
        spec(argv),
        Some(stdin),
        &mut io::stdout(),
        &mut io::stderr(),
    )?;
    Ok(exec::exit_code(status))
}

pub(crate) fn spec(argv: Vec<String>) -> ExecSpec {
    let env = BTreeMap::from(
        [
            ("PATH", format!("{INNER_BIN}:/bin:/sbin").as_str()),
            ("HOME", "/root"),
            ("HEARTH_DATA", INNER_DATA),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    ExecSpec {
        argv,
        env,
        cwd: "/".to_owned(),
        user: String::new(),
        tty: None,
        place: ExecPlace::Agent,
    }
}

pub(crate) fn state_dir(shared: &Shared) -> PathBuf {
    shared.data.join("emulated")
}

/// A channel that closes when this process is asked to end.
pub(crate) fn stop_on_signal() -> Result<mpsc::Receiver<()>> {
    let (sender, receiver) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            use tokio::signal::unix::{SignalKind, signal};
            let outcome = runtime.block_on(async {
                let mut terminate = signal(SignalKind::terminate())?;
                tokio::select! {
                    _ = terminate.recv() => Ok(()),
                    outcome = tokio::signal::ctrl_c() => outcome,
                }
            });
            if let Err(error) = outcome {
                eprintln!("warning: signals are not watched ({error}); stopping");
            }
            drop(sender);
        })?;
    Ok(receiver)
}
