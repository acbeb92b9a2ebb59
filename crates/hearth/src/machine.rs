//! `hearth machine`: instances of this host by hand, without the service.

use std::collections::BTreeMap;
use std::fs::File;
use std::process::ExitCode;

use anyhow::{Result, bail};
use hearth_net::Egress;
use hearth_node::{
    BootRequest, CloneRequest, DiskRequest, Launched, MachineName, Node, NodeOptions, Purpose,
    Times,
};
use hearth_wire::agent::{ExecPlace, ExecSpec, LowerDirectory, RootSpec, StartSpec};
use serde::Serialize;

use crate::cli::machine::{DiskArgument, MachineCommand};
use crate::shared::Shared;
use crate::{base, exec, output, vmm};

/// Docker's default for `/dev/shm`, which the service uses too.
const SHM_MIB: u32 = 64;
/// Limit of open files that the service sets.
const OPEN_FILES: u32 = 1024;
/// SIGTERM.
const STOP_SIGNAL: i32 = 15;

pub(crate) fn run(shared: &Shared, command: MachineCommand) -> Result<ExitCode> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    let (node, _owned) = if command.changes_something() {
        let (node, lock) = own_node(shared)?;
        (node, Some(lock))
    } else {
        (look_at_node(shared)?, None)
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(dispatch(shared, &node, command));
    // Reading standard input blocks a thread that no command waits for.
    runtime.shutdown_background();
    outcome
}

/// The node of the given data directory, with the lock of the directory. The service keeps an index of its node in
/// memory, so no other process may change the node while the service runs.
pub(crate) fn own_node(shared: &Shared) -> Result<(Node, File)> {
    let options = node_options(shared)?;
    let lock = hearth_service::lock(&shared.data)?;
    Ok((Node::open(options)?, lock))
}

/// The node of the given data directory without the lock, for reading: also while the service runs.
pub(crate) fn look_at_node(shared: &Shared) -> Result<Node> {
    Ok(Node::look_at(node_options(shared)?)?)
}

fn node_options(shared: &Shared) -> Result<NodeOptions> {
    let config = &shared.config;
    config.check()?;
    let options = NodeOptions {
        limits: config.limits.to_node(),
        ..NodeOptions::new(shared.data.clone(), vmm::program()?)
    };
    Ok(options.with_users(config.users.0.clone()))
}

async fn dispatch(shared: &Shared, node: &Node, command: MachineCommand) -> Result<ExitCode> {
    match command {
        MachineCommand::Boot {
            name,
            vcpus,
            memory_mib,
            disks,
            base,
            command_line,
        } => {
            let base = base::find(shared, base.as_deref())?;
            let request = BootRequest {
                kernel: base.vmlinux(),
                initramfs: base.initramfs(),
                command_line,
                vcpus,
                memory_mib,
                disks: disks.into_iter().map(disk_request).collect(),
                egress: Egress::closed(),
            };
            print_launches(shared, &[node.boot(&name, request).await?])
        }
        MachineCommand::Start {
            name,
            lower,
            upper,
            env,
            argv,
        } => {
            let spec = start_spec(&name, &lower, upper, &env, argv)?;
            node.machine(&name)?.start_application(spec).await?;
            Ok(ExitCode::SUCCESS)
        }
        MachineCommand::Exec { name, agent, argv } => {
            let place = if agent {
                ExecPlace::Agent
            } else {
                ExecPlace::Application
            };
            exec::run(&node.machine(&name)?.agent(), exec_spec(place, argv)).await
        }
        MachineCommand::Snapshot { name } => {
            let (id, _) = node.machine(&name)?.snapshot().await?;
            print_id(shared, &id.to_string())
        }
        MachineCommand::Clone {
            snapshot,
            name,
            count,
        } => clone_many(shared, node, &snapshot, &name, count).await,
        MachineCommand::Fork { name, child } => {
            print_launches(shared, &[node.fork(&name, &child).await?])
        }
        MachineCommand::Suspend { name } => {
            let (id, summary) = node.machine(&name)?.suspend().await?;
            eprintln!("wrote {} KiB of memory", summary.memory_bytes / 1024);
            print_id(shared, &id.to_string())
        }
        MachineCommand::Resume { name } => print_launches(shared, &[node.resume(&name).await?]),
        MachineCommand::Terminate { names, all } => terminate(node, names, all).await,
        MachineCommand::Ls => ls(shared, node),
        MachineCommand::Serial { name } => {
            let log = node.machine(&name)?.serial_log()?;
            print!("{}", String::from_utf8_lossy(&log));
            Ok(ExitCode::SUCCESS)
        }
        MachineCommand::Sweep => {
            let swept = node.sweep().await?;
            for machine in &swept.machines {
                println!("removed what was left of microVM {machine}");
            }
            for path in &swept.partial_snapshots {
                println!("removed the unfinished snapshot {}", path.display());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn clone_many(
    shared: &Shared,
    node: &Node,
    snapshot: &str,
    name: &MachineName,
    count: Option<u32>,
) -> Result<ExitCode> {
    let id = node.find_snapshot(snapshot)?;
    let names = match count {
        None => vec![name.clone()],
        Some(count) => (1..=count)
            .map(|index| format!("{name}-{index}").parse())
            .collect::<Result<Vec<MachineName>, _>>()?,
    };
    let mut tasks = tokio::task::JoinSet::new();
    for name in names {
        let node = node.clone();
        let request = CloneRequest::new(id);
        tasks.spawn(async move { node.clone_snapshot(&name, request).await });
    }
    let mut launched = Vec::new();
    for outcome in tasks.join_all().await {
        launched.push(outcome?);
    }
    launched.sort_by(|a, b| a.machine.name().cmp(b.machine.name()));
    print_launches(shared, &launched)
}

async fn terminate(node: &Node, names: Vec<MachineName>, all: bool) -> Result<ExitCode> {
    let names = if all {
        node.machines().into_iter().map(|(name, _)| name).collect()
    } else {
        names
    };
    for name in names {
        match node.machine(&name) {
            Ok(machine) => machine.terminate().await?,
            // A suspended instance has no process; only its snapshot exists.
            Err(_) => node.delete_snapshot(node.suspended(&name)?.id).await?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A line of `hearth machine ls`.
#[derive(Serialize)]
struct Line {
    name: String,
    state: &'static str,
    pid: Option<u32>,
    vcpus: u8,
    memory_mib: u32,
    parent: Option<String>,
}

fn ls(shared: &Shared, node: &Node) -> Result<ExitCode> {
    let running = node.machines().into_iter().map(|(name, record)| Line {
        name: name.to_string(),
        state: if record.process.is_alive() {
            "running"
        } else {
            "dead"
        },
        pid: Some(record.process.pid),
        vcpus: record.vcpus,
        memory_mib: record.memory_mib,
        parent: record.parent.clone(),
    });
    let mut lines: Vec<Line> = running.collect();
    let snapshots = node.snapshots().into_iter();
    lines.extend(
        snapshots
            .filter(|snapshot| snapshot.record.purpose == Purpose::Suspended)
            .map(|snapshot| Line {
                name: snapshot.record.machine.clone(),
                state: "suspended",
                pid: None,
                vcpus: snapshot.record.vcpus,
                memory_mib: snapshot.record.memory_mib,
                parent: Some(snapshot.id.to_string()),
            }),
    );
    if shared.json {
        output::json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = lines
        .into_iter()
        .map(|line| {
            [
                line.name,
                line.state.to_owned(),
                line.pid
                    .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                line.vcpus.to_string(),
                line.memory_mib.to_string(),
                line.parent.as_deref().map_or("-", output::short).to_owned(),
            ]
        })
        .collect();
    output::table(["NAME", "STATE", "PID", "VCPUS", "MIB", "SNAPSHOT"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Times of a launch. The last three are measured by the VMM, each since it read its request.
#[derive(Serialize)]
struct LaunchLine {
    name: String,
    running_ms: f64,
    agent_ms: f64,
    memory_us: u64,
    machine_us: u64,
    vmm_us: u64,
}

fn print_launches(shared: &Shared, launched: &[Launched]) -> Result<ExitCode> {
    let lines: Vec<LaunchLine> = launched
        .iter()
        .map(|launch| {
            let Times {
                to_running,
                to_agent,
                vmm,
                ..
            } = launch.times;
            LaunchLine {
                name: launch.machine.name().to_string(),
                running_ms: to_running.as_secs_f64() * 1000.0,
                agent_ms: to_agent.as_secs_f64() * 1000.0,
                memory_us: vmm.memory_us,
                machine_us: vmm.machine_us,
                vmm_us: vmm.running_us,
            }
        })
        .collect();
    if shared.json {
        output::json(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = lines
        .into_iter()
        .map(|line| {
            let (running, agent) = (line.running_ms, line.agent_ms);
            [
                line.name,
                format!("{running:.1} ms"),
                format!("{agent:.1} ms"),
            ]
        })
        .collect();
    output::table(["NAME", "RUNNING AFTER", "AGENT AFTER"], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn print_id(shared: &Shared, id: &str) -> Result<ExitCode> {
    if shared.json {
        output::json(&serde_json::json!({ "snapshot": id }))?;
    } else {
        println!("{id}");
    }
    Ok(ExitCode::SUCCESS)
}

fn disk_request(disk: DiskArgument) -> DiskRequest {
    DiskRequest {
        serial: disk.serial,
        image: disk.file,
        overlays: Vec::new(),
        is_writable: disk.is_writable,
    }
}

fn start_spec(
    name: &MachineName,
    lower: &[String],
    upper: Option<String>,
    env: &[String],
    argv: Vec<String>,
) -> Result<StartSpec> {
    let root = if lower.is_empty() {
        RootSpec::Initramfs
    } else {
        RootSpec::Disks {
            lower: lower.iter().map(|layer| lower_directory(layer)).collect(),
            upper,
        }
    };
    Ok(StartSpec {
        root,
        argv,
        env: environment(env)?,
        cwd: "/".to_owned(),
        user: String::new(),
        hostname: name.to_string(),
        all_capabilities: false,
        open_files: OPEN_FILES,
        shm_mib: SHM_MIB,
        stop_signal: STOP_SIGNAL,
    })
}

/// `SERIAL` or `SERIAL/DIRECTORY`.
fn lower_directory(layer: &str) -> LowerDirectory {
    let (serial, directory) = layer.split_once('/').unwrap_or((layer, ""));
    LowerDirectory {
        serial: serial.to_owned(),
        directory: directory.to_owned(),
    }
}

fn environment(pairs: &[String]) -> Result<BTreeMap<String, String>> {
    let mut env = BTreeMap::from(
        [
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", "/root"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            bail!("{pair:?} is not NAME=VALUE");
        };
        env.insert(name.to_owned(), value.to_owned());
    }
    Ok(env)
}

fn exec_spec(place: ExecPlace, argv: Vec<String>) -> ExecSpec {
    ExecSpec {
        argv,
        env: BTreeMap::new(),
        cwd: String::new(),
        user: String::new(),
        tty: None,
        place,
    }
}
