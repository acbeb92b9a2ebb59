//! `hearth up` where KVM cannot run guests: keeps the emulated host running and the service in it.
//!
//! ```text
//! 127.0.0.1:4580, :20000-20063 ──QEMU's port forwarding──> hearth up --in-emulated-host
//! ```
//!
//! The service in the emulated host writes its settings for clients. They are copied out, so that `hearth env` works on
//! this host.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_emulated::{EmulatedHost, HostAgentClient, PortForward, WatchdogEvent, keep_running};
use hearth_service::ClientSettings;
use hearth_wire::agent::ExitStatus;

use crate::config::Config;
use crate::host::{self, INNER_DATA};
use crate::output;
use crate::shared::Shared;
use crate::up::log::Log;
use crate::up::ports;

/// Most ports that QEMU forwards: each is a listener of its own from the start.
const MAX_ENDPOINT_PORTS: usize = 256;

/// After this many starts in a row without the service coming up it is not started again.
const RESTARTS: u32 = 5;
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// Where the service inside finds its configuration: not on the disk that outlives the emulated host.
const INNER_CONFIG: &str = "/run/hearth.toml";

/// Where it finds the password of a registry.
fn inner_password(number: usize) -> String {
    format!("/run/hearth-registry-{number}")
}

/// Where it finds the operator's certificate and its key.
const INNER_CHAIN: &str = "/run/hearth-tls-chain.pem";
const INNER_KEY: &str = "/run/hearth-tls-key.pem";

/// Where it finds the secret of another S3, and the certificates that this one is believed by.
const INNER_S3_SECRET: &str = "/run/hearth-s3-secret";
const INNER_S3_CERTIFICATES: &str = "/run/hearth-s3-certificates.pem";

/// Path of the settings for clients that the service inside writes when it serves.
fn inner_settings() -> String {
    format!("{INNER_DATA}/client.json")
}

/// Longest wait until the service inside serves.
const START_LIMIT: Duration = Duration::from_secs(300);

/// Pause between two polls for the settings.
const POLL: Duration = Duration::from_millis(500);

/// Largest file with settings for clients: certificates and a few lines.
const MAX_SETTINGS_BYTES: usize = 2 << 20;

pub(super) fn run(shared: &Shared, config: &Config) -> Result<ExitCode> {
    if config.endpoints.domain.is_some() {
        bail!("endpoints by domain need KVM that runs guests; leave the domain out here");
    }
    if config.listen.ip() != Ipv4Addr::LOCALHOST {
        bail!(
            "an emulated host is reached through 127.0.0.1 alone, and listen = \"{}\"; other addresses need KVM that runs \
             guests",
            config.listen
        );
    }
    if let Some(address) = config.metrics.listen
        && address.ip() != Ipv4Addr::LOCALHOST
    {
        bail!(
            "an emulated host is reached through 127.0.0.1 alone, and metrics.listen = \"{address}\"; other addresses need \
             KVM that runs guests"
        );
    }
    if let Some(problem) = config.s3.problem_in_emulated_host() {
        bail!(problem);
    }
    let forwards = forwards(config)?;
    match EmulatedHost::attach(&host::state_dir(shared)) {
        None => {
            ports::check(config)?;
            eprintln!("starting the emulated host: the same Hearth, some twenty times slower");
        }
        // The emulated host outlived the `hearth` that started it.
        Some(running) if running.forwards() == forwards => {
            eprintln!("the emulated host is running already");
        }
        Some(_) => bail!(
            "an emulated host with other ports uses this --data; stop the `hearth` that started it first, or start this one \
             with the same ports"
        ),
    }
    let mut host = host::config(shared, forwards)?;
    host.initial_files = host::initial_bases(shared)?;
    let stop = host::stop_on_signal()?;
    let began = Instant::now();
    let (failed, failures) = mpsc::channel();
    let stop = merge(stop, failures);
    let log = Log::open(&shared.data.join("service.log"))?;
    if let Some(path) = log.path() {
        eprintln!("the service's log: {}", path.display());
    }
    let log = Arc::new(log);
    keep_running(&host, &stop, &output::announce, &mut |event| match event {
        WatchdogEvent::Up(agent) => {
            let up = Up {
                shared: shared.clone(),
                agent,
                config: config.clone(),
                began,
                log: Arc::clone(&log),
            };
            let failed = failed.clone();
            // In a thread of its own, so that the watchdog keeps watching.
            std::thread::spawn(move || {
                if let Err(error) = up.run() {
                    eprintln!("error: the service in the emulated host: {error:#}");
                    let _ = failed.send(());
                }
            });
        }
        WatchdogEvent::Died(death) => {
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

fn forwards(config: &Config) -> Result<Vec<PortForward>> {
    let ports = config.endpoints.ports.0.clone();
    if ports.len() > MAX_ENDPOINT_PORTS {
        bail!(
            "the emulated host has at most {MAX_ENDPOINT_PORTS} endpoint ports; narrow endpoints.ports"
        );
    }
    let metrics = config.metrics.listen.map(|address| address.port());
    let all = ports.chain([config.listen.port()]).chain(metrics);
    Ok(all
        .map(|port| PortForward {
            host_port: port,
            guest_port: port,
        })
        .collect())
}

/// The configuration for the service inside. Different are the data directory, the listening addresses (only QEMU's
/// port forwarding reaches them), and the paths of files.
fn inner(config: &Config) -> Config {
    let mut inner = config.clone();
    inner.data = INNER_DATA.into();
    inner.listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, config.listen.port()));
    if let Some(address) = &mut inner.metrics.listen {
        address.set_ip(Ipv4Addr::UNSPECIFIED.into());
    }
    // `furnish_certificates` installs them as the emulated host's own certificates.
    inner.registries.ca_bundle = None;
    if let Some(chain) = &mut inner.tls.certificate {
        *chain = INNER_CHAIN.into();
    }
    if let Some(key) = &mut inner.tls.key {
        *key = INNER_KEY.into();
    }
    for (number, login) in inner.registries.credentials.values_mut().enumerate() {
        login.password_file = inner_password(number).into();
    }
    if inner.s3.endpoint.is_some() {
        inner.s3.secret_access_key_file = Some(INNER_S3_SECRET.into());
        inner.s3.ca_bundle = Some(INNER_S3_CERTIFICATES.into());
    }
    inner
}

/// One life of the emulated host.
struct Up {
    shared: Shared,
    agent: HostAgentClient,
    config: Config,
    began: Instant,
    log: Arc<Log>,
}

impl Up {
    /// Keeps the service inside running; returns after a requested end.
    fn run(self) -> Result<()> {
        output::announce("bringing Hearth and the guests' kernel inside");
        host::furnish(&self.shared, &self.agent)?;
        if self.config.network.enabled {
            host::furnish_nftables(&self.agent)?;
        }
        host::furnish_bases(&self.shared, &self.agent)?;
        host::furnish_runtimes(&self.shared, &self.agent)?;
        self.configure()?;
        let mut failures = 0;
        loop {
            let status = self.serve()?;
            if status == ExitStatus::Code(0) {
                return Ok(());
            }
            failures = if self.has_served() { 0 } else { failures + 1 };
            if failures == RESTARTS {
                let unseen = self.log.unseen();
                bail!("it ends before it serves, the last time with {status:?}{unseen}");
            }
            eprintln!("the service ended with {status:?}; starting it again, microVMs run on");
            std::thread::sleep(RESTART_PAUSE);
        }
    }

    /// Copies the configuration, and the files that it names, into the emulated host.
    fn configure(&self) -> Result<()> {
        let registries = &self.config.registries;
        if let Some(bundle) = registries.certificates()? {
            host::furnish_certificates(&self.agent, &bundle)?;
        }
        for (number, login) in registries.credentials.values().enumerate() {
            self.send(&inner_password(number), &login.password()?)?;
        }
        let tls = &self.config.tls;
        for (file, place) in [(&tls.certificate, INNER_CHAIN), (&tls.key, INNER_KEY)] {
            if let Some(file) = file {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("cannot read {}", file.display()))?;
                self.send(place, &text)?;
            }
        }
        if self.config.s3.endpoint.is_some() {
            self.send(INNER_S3_SECRET, &self.config.s3.secret()?)?;
            self.send(INNER_S3_CERTIFICATES, &self.config.s3.certificates()?)?;
        }
        self.send(INNER_CONFIG, &inner(&self.config).to_toml()?)
    }

    fn send(&self, to: &str, content: &str) -> Result<()> {
        let mut content = content.as_bytes();
        self.agent
            .write_file(to, 0o400, &mut content)
            .context("cannot send the configuration inside")
    }

    /// Whether the service came to serve since it was started last.
    fn has_served(&self) -> bool {
        self.agent
            .read_file(&inner_settings(), MAX_SETTINGS_BYTES)
            .is_ok()
    }

    /// Runs the service once.
    fn serve(&self) -> Result<ExitStatus> {
        let settings = inner_settings();
        let remove = ["/bin/busybox", "rm", "-f", &settings].map(str::to_owned);
        host::run_inside(&self.agent, remove.to_vec())?;
        let agent = self.agent.clone();
        let (shared, began) = (self.shared.clone(), self.began);
        std::thread::spawn(move || announce(&shared, &agent, &settings, began));
        output::announce("starting the service inside");
        let command = [
            "hearth",
            "up",
            "--in-emulated-host",
            "--config",
            INNER_CONFIG,
        ];
        Ok(self.agent.exec(
            host::spec(command.map(str::to_owned).to_vec()),
            None,
            &mut io::sink(),
            &mut &*self.log,
        )?)
    }
}

/// Copies out the settings for clients after the service has written them, and prints that the service is up.
fn announce(shared: &Shared, agent: &HostAgentClient, inner: &str, began: Instant) {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::config::Login;

    #[test]
    fn what_is_configured_reaches_the_service_inside() {
        let mut config = Config::default();
        config.endpoints.limits = false;
        config.listen.set_port(7);
        let login = Login {
            user: "build".to_owned(),
            password_file: "/etc/hearth/password".into(),
            ..Login::default()
        };
        config.registries.credentials = BTreeMap::from([("r.example.org".to_owned(), login)]);
        config.registries.ca_bundle = Some("/etc/hearth/ca.pem".into());
        config.tls.certificate = Some("/etc/hearth/chain.pem".into());
        config.tls.key = Some("/etc/hearth/key.pem".into());
        config.s3.endpoint = Some("https://s3.example.org".to_owned());
        config.s3.secret_access_key_file = Some("/etc/hearth/s3-secret".into());
        let inner = inner(&config);
        let secret = inner.s3.secret_access_key_file.as_deref();
        assert_eq!(secret, Some(std::path::Path::new(INNER_S3_SECRET)));
        assert_eq!(inner.listen.to_string(), "0.0.0.0:7");
        let login = &inner.registries.credentials["r.example.org"];
        assert_eq!(login.password_file, PathBuf::from(inner_password(0)));
        assert_eq!(inner.tls.key.as_deref(), Some(INNER_KEY.as_ref()));
        // All else is as it was.
        let back = Config {
            data: config.data.clone(),
            listen: config.listen,
            metrics: config.metrics.clone(),
            registries: config.registries.clone(),
            tls: config.tls.clone(),
            s3: config.s3.clone(),
            ..inner
        };
        assert_eq!(back, config);
    }

    #[test]
    fn qemu_forwards_the_api_and_every_endpoint() {
        let mut config = Config::default();
        config.endpoints.ports = "30000-30001".parse().unwrap();
        let ports: Vec<_> = forwards(&config)
            .unwrap()
            .iter()
            .map(|forward| forward.host_port)
            .collect();
        assert_eq!(ports, [30_000, 30_001, 4580]);
        config.metrics.listen = Some("127.0.0.1:9000".parse().unwrap());
        assert_eq!(forwards(&config).unwrap().len(), 4);
        config.endpoints.ports = "30000-30256".parse().unwrap();
        assert!(forwards(&config).is_err());
    }
}
