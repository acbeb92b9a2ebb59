//! `hearth host`: does KVM here run guests? If not, the emulated host takes its place.
//!
//! ```text
//! check   one sentence: what the probe found
//! start   keeps the emulated host running in the foreground, restarts it when it dies
//! exec    a command inside it, with this hearth in its PATH
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hearth_base::{BuildOptions, KernelSource};
use hearth_emulated::{
    AgentClient, DataDisk, EmulatedHost, Event, HostConfig, PortForward, default_memory_mib,
    keep_running,
};
use hearth_vmm::probe;
use hearth_wire::agent::{ExecPlace, ExecSpec};
use serde::Serialize;

use crate::cli::{HostCommand, Shared};
use crate::{base, exec, output, vmm};

/// Size of a new data disk; sparse, so only what is used takes room.
const DISK_GIB: u32 = 64;

/// Where Hearth's data and programs are in the emulated host.
const INNER_DATA: &str = "/data/hearth";
const INNER_BIN: &str = "/data/bin";

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
    eprintln!("starting the emulated host: the same Hearth, some twenty times slower");
    let agent = base::agent_beside_us()?;
    let config = HostConfig {
        state_dir: state_dir(shared),
        data_dir: shared.data.clone(),
        agent,
        kernel: KernelSource::Cached,
        cpus: 1,
        memory_mib: default_memory_mib(),
        data_disk: DataDisk::Keep,
        disk_gib: DISK_GIB,
        forwards: ports
            .iter()
            .map(|port| PortForward {
                host_port: *port,
                guest_port: *port,
            })
            .collect(),
    };
    let began = Instant::now();
    let stop = stop_on_signal()?;
    keep_running(&config, &stop, &mut |event| match event {
        Event::Up(agent) => match furnish(shared, &agent) {
            Ok(()) => eprintln!(
                "the emulated host is up after {:.1} s; try `hearth host exec -- hearth machine boot first`",
                began.elapsed().as_secs_f64()
            ),
            Err(error) => eprintln!("warning: the emulated host is up, but {error:#}"),
        },
        Event::Died(death) => {
            eprintln!("{death}; starting it again (microVMs in it are as after a power cut)");
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Brings this program, the guest's kernel and the agent inside.
fn furnish(shared: &Shared, agent: &AgentClient) -> Result<()> {
    let version = hearth_base::build(&BuildOptions {
        data_dir: shared.data.clone(),
        agent: base::agent_beside_us()?,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: KernelSource::Cached,
        progress: &|step| eprintln!("{step} ..."),
    })?;
    let base = format!("{INNER_DATA}/base/{}", version.id);
    let mkdir = ["/bin/busybox", "mkdir", "-p", &base, INNER_BIN].map(str::to_owned);
    agent.exec(spec(mkdir.to_vec()), None, &mut io::sink(), &mut io::sink())?;
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let vmlinux = version.vmlinux();
    send(agent, &own, 0o755, &format!("{INNER_BIN}/hearth"))?;
    let vmm = vmm::program()?;
    send(agent, &vmm, 0o755, &format!("{INNER_BIN}/hearth-vmm"))?;
    send(agent, &vmlinux, 0o444, &format!("{base}/vmlinux"))?;
    send(
        agent,
        &version.initramfs(),
        0o444,
        &format!("{base}/initramfs.cpio"),
    )?;
    let record = vmlinux.with_file_name("base.json");
    send(agent, &record, 0o444, &format!("{base}/base.json"))
}

fn send(agent: &AgentClient, from: &Path, mode: u32, to: &str) -> Result<()> {
    let mut file = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    agent
        .write_file(to, mode, &mut file)
        .with_context(|| format!("cannot send {} inside", from.display()))
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

fn spec(argv: Vec<String>) -> ExecSpec {
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

fn state_dir(shared: &Shared) -> PathBuf {
    shared.data.join("emulated")
}

/// A channel that closes when this process is asked to end.
fn stop_on_signal() -> Result<mpsc::Receiver<()>> {
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
