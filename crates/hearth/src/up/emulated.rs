//! `hearth up` where KVM cannot run guests: keeps the emulated host running and the service in it.
//!
//! ```text
//! 127.0.0.1:4580, :20000-20063 ──QEMU's port forwarding──> hearth up --in-emulated-host
//! ```
//!
//! The service inside writes what clients need; it is copied out, so that `hearth env` works here.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_emulated::{AgentClient, EmulatedHost, Event, PortForward, keep_running};
use hearth_service::ClientSettings;
use hearth_wire::agent::ExitStatus;

use crate::cli::{Shared, UpArguments};
use crate::host::{self, INNER_DATA};

/// Most ports that QEMU forwards: each is a listener of its own from the start.
const MAX_ENDPOINT_PORTS: usize = 256;

/// More ends of the service than this within the window mean that starting it again does not help.
const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(600);
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// How long the service inside may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(300);

/// Pause between two looks for it.
const POLL: Duration = Duration::from_millis(500);

/// Largest file that says what clients need: a certificate and a few lines.
const MAX_SETTINGS_BYTES: usize = 256 << 10;

pub(super) fn run(shared: &Shared, arguments: &UpArguments) -> Result<ExitCode> {
    if arguments.endpoint_domain.is_some() {
        bail!("endpoints by domain need KVM that runs guests; leave --endpoint-domain out here");
    }
    let forwards = forwards(arguments)?;
    match EmulatedHost::attach(&host::state_dir(shared)) {
        None => eprintln!("starting the emulated host: the same Hearth, some twenty times slower"),
        // It outlived the `hearth` that started it.
        Some(running) if running.forwards() == forwards => {
            eprintln!("the emulated host is running already");
        }
        Some(_) => bail!(
            "an emulated host with other ports uses this --data; stop the `hearth` that started it first"
        ),
    }
    let config = host::config(shared, forwards)?;
    let stop = host::stop_on_signal()?;
    let began = Instant::now();
    let command = inner_command(arguments);
    let (failed, failures) = mpsc::channel();
    let stop = merge(stop, failures);
    keep_running(&config, &stop, &mut |event| match event {
        Event::Up(agent) => {
            let up = Up {
                shared: shared.clone(),
                agent,
                command: command.clone(),
                ca_bundle: arguments.build_ca_bundle.clone(),
                began,
            };
            let failed = failed.clone();
            // Apart, so that the watchdog goes on watching.
            std::thread::spawn(move || {
                if let Err(error) = up.run() {
                    eprintln!("error: the service in the emulated host: {error:#}");
                    let _ = failed.send(());
                }
            });
        }
        Event::Died(death) => {
            eprintln!(
                "{death}; starting it again (running microVMs are lost, suspended ones are not)"
            );
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Ends when the user wants it or when the service inside cannot go on.
fn merge(stop: mpsc::Receiver<()>, failures: mpsc::Receiver<()>) -> mpsc::Receiver<()> {
    let (sender, merged) = mpsc::channel();
    for source in [stop, failures] {
        let sender = sender.clone();
        std::thread::spawn(move || {
            // A message and a closed channel mean the same: stop.
            let _ = source.recv();
            let _ = sender.send(());
        });
    }
    merged
}

fn forwards(arguments: &UpArguments) -> Result<Vec<PortForward>> {
    let ports = arguments.endpoint_ports.0.clone();
    if ports.len() > MAX_ENDPOINT_PORTS {
        bail!(
            "the emulated host has at most {MAX_ENDPOINT_PORTS} endpoint ports; narrow --endpoint-ports"
        );
    }
    let all = ports.chain([arguments.listen.port()]);
    Ok(all
        .map(|port| PortForward {
            host_port: port,
            guest_port: port,
        })
        .collect())
}

fn inner_command(arguments: &UpArguments) -> Vec<String> {
    let ports = &arguments.endpoint_ports.0;
    let mut command = [
        "hearth",
        "up",
        "--in-emulated-host",
        "--listen",
        &format!("0.0.0.0:{}", arguments.listen.port()),
        "--region",
        arguments.region.as_str(),
        "--endpoint-ports",
        &format!("{}-{}", ports.start(), ports.end()),
    ]
    .map(str::to_owned)
    .to_vec();
    for alias in &arguments.image_aliases {
        command.push("--image-alias".to_owned());
        command.push(format!("{}={}", alias.name, alias.base));
    }
    if arguments.no_limits {
        command.push("--no-limits".to_owned());
    }
    if arguments.no_network {
        command.push("--no-network".to_owned());
    }
    if arguments.no_endpoint_limits {
        command.push("--no-endpoint-limits".to_owned());
    }
    command
}

/// One life of the emulated host.
struct Up {
    shared: Shared,
    agent: AgentClient,
    command: Vec<String>,
    ca_bundle: Option<PathBuf>,
    began: Instant,
}

impl Up {
    /// Keeps the service inside running; returns when it has ended as it was asked to.
    fn run(self) -> Result<()> {
        host::furnish(&self.shared, &self.agent)?;
        if !self.command.iter().any(|word| word == "--no-network") {
            host::furnish_nftables(&self.agent)?;
        }
        if let Some(bundle) = super::ca_bundle(self.ca_bundle.as_deref())? {
            host::furnish_certificates(&self.agent, &bundle)?;
        }
        host::furnish_bases(&self.shared, &self.agent)?;
        let mut deaths = VecDeque::new();
        loop {
            let status = self.serve()?;
            if status == ExitStatus::Code(0) {
                return Ok(());
            }
            let now = Instant::now();
            deaths.retain(|death| now.duration_since(*death) < RESTART_WINDOW);
            deaths.push_back(now);
            if deaths.len() > RESTARTS {
                bail!("it keeps ending, the last time with {status:?}");
            }
            eprintln!("the service ended with {status:?}; starting it again, microVMs run on");
            std::thread::sleep(RESTART_PAUSE);
        }
    }

    /// Runs the service once.
    fn serve(&self) -> Result<ExitStatus> {
        let settings = format!("{INNER_DATA}/client.json");
        let remove = ["/bin/busybox", "rm", "-f", &settings].map(str::to_owned);
        host::run_inside(&self.agent, remove.to_vec())?;
        let agent = self.agent.clone();
        let (shared, began) = (self.shared.clone(), self.began);
        std::thread::spawn(move || announce(&shared, &agent, &settings, began));
        Ok(self.agent.exec(
            host::spec(self.command.clone()),
            None,
            &mut io::sink(),
            &mut io::stderr(),
        )?)
    }
}

/// Copies out what clients need once the service has written it, and says that it is up.
fn announce(shared: &Shared, agent: &AgentClient, inner: &str, began: Instant) {
    let deadline = Instant::now() + START_LIMIT;
    while Instant::now() < deadline {
        if let Ok(text) = agent.read_file(inner, MAX_SETTINGS_BYTES) {
            match copy_out(shared, &text) {
                Ok(url) => println!(
                    "hearth is up: {url}, in the emulated host, after {:.0} s; clients: eval \"$(hearth env)\"",
                    began.elapsed().as_secs_f64()
                ),
                Err(error) => eprintln!("warning: `hearth env` will not work: {error:#}"),
            }
            return;
        }
        std::thread::sleep(POLL);
    }
}

fn copy_out(shared: &Shared, text: &[u8]) -> Result<String> {
    let settings: ClientSettings =
        serde_json::from_slice(text).context("the service wrote something else")?;
    settings.write(&shared.data)?;
    Ok(settings.endpoint_url)
}
