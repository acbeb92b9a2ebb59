//! The service tests: `hearth up` as a user starts it, and boto3 against it (`tests/service`).
//!
//! Where KVM runs no guests, `hearth up` starts an emulated host of its own. Kernels and base images are kept between
//! runs; everything that the service itself wrote is not.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_emulated::EmulatedHost;

use crate::outcome::{Outcome, run_counted};
use crate::place::{self, Place};
use crate::workspace::{self, Binaries};
use crate::{lab, python};

/// What outlives a run: everything else in the data directory is of the service.
const KEPT: &[&str] = &["bases", "kernels"];

/// Ports for endpoints: more than microVMs that live at one time in the tests.
const ENDPOINT_PORTS: u16 = 16;

/// How long the service may take to stop: the emulated host syncs and powers off.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Starts `hearth up`, runs pytest against it, and stops it.
pub(crate) fn run() -> Result<Outcome> {
    let binaries = Binaries::build()?;
    let environment = python::environment()?;
    let place = place::find(&binaries)?;
    if place == Place::Lab {
        // Two emulated hosts at once would take each other's processor and memory.
        lab::power_off();
    }
    let data = workspace::target_dir().join("service");
    clear(&data)?;
    let mut up = Up::start(&binaries, &data)?;
    up.wait_until_serving()?;
    let outcome = run_counted(
        Command::new(environment.join("bin/pytest"))
            .args(["service", "--durations=15"])
            .current_dir(workspace::root().join("tests"))
            .env("HEARTH_DATA", &data)
            .env("HEARTH", &binaries.hearth)
            .env("HEARTH_PLACE", place.name()),
    );
    up.stop()?;
    outcome
}

fn clear(data: &Path) -> Result<()> {
    fs::create_dir_all(data)?;
    // Of a run that was killed.
    if let Some(host) = EmulatedHost::attach(&data.join("emulated")) {
        host.kill();
    }
    for entry in fs::read_dir(data)? {
        let entry = entry?;
        if KEPT.iter().any(|kept| entry.file_name() == *kept) {
            continue;
        }
        let path = entry.path();
        if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        }
        .with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// A running `hearth up`; killed when dropped.
struct Up {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Up {
    fn start(binaries: &Binaries, data: &Path) -> Result<Self> {
        let first = free_ports(ENDPOINT_PORTS + 1)?;
        let ports = format!("{}-{}", first + 1, first + ENDPOINT_PORTS);
        let mut process = Command::new(&binaries.hearth)
            .arg("--data")
            .arg(data)
            .args(["up", "--listen", &format!("127.0.0.1:{first}")])
            .args(["--endpoint-ports", &ports])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start hearth up")?;
        let output = process.stdout.take().context("its output is piped")?;
        Ok(Self {
            process,
            output: BufReader::new(output),
        })
    }

    fn wait_until_serving(&mut self) -> Result<()> {
        let mut line = String::new();
        while self.output.read_line(&mut line)? > 0 {
            print!("{line}");
            if line.contains("hearth is up") {
                return Ok(());
            }
            line.clear();
        }
        bail!("hearth up ended before it served")
    }

    /// As Ctrl-C does.
    fn stop(&mut self) -> Result<()> {
        let pid = self.process.id().to_string();
        python::checked(Command::new("kill").args(["-TERM", &pid]))?;
        let deadline = Instant::now() + STOP_LIMIT;
        while Instant::now() < deadline {
            if self.process.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("hearth up did not stop within {STOP_LIMIT:?}")
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It has ended already unless something went wrong.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The first of so many ports in a row that nobody listens on.
fn free_ports(count: u16) -> Result<u16> {
    (21_000..31_000)
        .step_by(usize::from(count))
        .find(|first| {
            let mut all = *first..*first + count;
            all.all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        })
        .context("no ports are free")
}
