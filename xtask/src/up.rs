//! A `hearth up` of the developer commands: started as a user starts it, on ports that are free.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_emulated::EmulatedHost;

use crate::workspace::Binaries;
use crate::{lab, python};

/// What is prepared once for all developer commands and only read by a service.
const SHARED: &[&str] = &["bases", "kernels"];

/// Ports for endpoints: more than microVMs that live at one time in the tests.
const ENDPOINT_PORTS: u16 = 16;

/// How long the service may take to stop: the emulated host syncs and powers off.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Makes the data directory of a service as it is at a first start, but for what is shared.
pub(crate) fn clear(data: &Path) -> Result<()> {
    // Of a run that was killed.
    if let Some(host) = EmulatedHost::attach(&data.join("emulated")) {
        host.kill();
    }
    match fs::remove_dir_all(data) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", data.display()));
        }
        _ => fs::create_dir_all(data)?,
    }
    for name in SHARED {
        let shared = lab::data_dir().join(name);
        fs::create_dir_all(&shared)?;
        std::os::unix::fs::symlink(&shared, data.join(name))?;
    }
    Ok(())
}

/// A running `hearth up`; killed when dropped.
pub(crate) struct Up {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Up {
    /// `said` takes what it says about itself.
    pub(crate) fn start(binaries: &Binaries, data: &Path, said: Stdio) -> Result<Self> {
        let first = free_ports(ENDPOINT_PORTS + 1)?;
        let ports = format!("{}-{}", first + 1, first + ENDPOINT_PORTS);
        let mut process = Command::new(&binaries.hearth)
            .arg("--data")
            .arg(data)
            .args(["up", "--listen", &format!("127.0.0.1:{first}")])
            .args(["--endpoint-ports", &ports])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(said)
            .spawn()
            .context("cannot start hearth up")?;
        let output = process.stdout.take().context("its output is piped")?;
        Ok(Self {
            process,
            output: BufReader::new(output),
        })
    }

    /// Passes on what it says until it serves.
    pub(crate) fn wait_until_serving(&mut self) -> Result<()> {
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
    pub(crate) fn stop(&mut self) -> Result<()> {
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

/// What is left of microVMs when all have ended, seen from outside the API: names of directories.
pub(crate) fn left_behind(binaries: &Binaries, data: &Path) -> Result<Vec<String>> {
    let list = |inner: &str, outer: &Path| match EmulatedHost::attach(&data.join("emulated")) {
        Some(_) => inside(binaries, data, inner),
        None => names(outer),
    };
    let mut left = list("/data/hearth/machines", &data.join("machines"))?;
    left.extend(list("/data/hearth/snapshots", &data.join("snapshots"))?);
    left.extend(list("/data/hearth/images", &data.join("images"))?);
    Ok(left)
}

fn names(directory: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("cannot list {}", directory.display()))?
        .collect::<Result<Vec<_>, _>>()?;
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    Ok(entries.iter().map(name).collect())
}

/// The names in a directory of the emulated host.
fn inside(binaries: &Binaries, data: &Path, directory: &str) -> Result<Vec<String>> {
    let output = Command::new(&binaries.hearth)
        .arg("--data")
        .arg(data)
        .args(["host", "exec", "--", "/bin/busybox", "ls", directory])
        .stdin(Stdio::null())
        .output()
        .context("cannot run hearth host exec")?;
    if !output.status.success() {
        bail!(
            "cannot list {directory}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().map(str::to_owned).collect())
}
