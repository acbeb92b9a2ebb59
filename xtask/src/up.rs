//! Runs `hearth up` for the developer commands, as a user starts it, on free ports.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_emulated::EmulatedHost;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab;
use crate::workspace::Binaries;

/// Directories that are prepared once for all developer commands and that services only read.
const SHARED: &[&str] = &["bases", "kernels", "runtimes"];

/// Ports for endpoints: more than microVMs that live at one time in the tests.
const ENDPOINT_PORTS: u16 = 16;

/// How long the service may take to stop: the emulated host syncs and powers off.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// Longest wait until the leftovers of a microVM have been removed.
const LEAVE_LIMIT: Duration = Duration::from_secs(30);

/// A host on which nothing changes for this long is idle.
const QUIET: Duration = Duration::from_secs(2);

/// The service's data directory in the emulated host.
const INNER_DATA: &str = "/data/hearth";

/// Empties the data directory of a service, except for the shared directories.
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
    /// Starts the service. `said` receives its output.
    pub(crate) fn start(
        binaries: &Binaries,
        data: &Path,
        said: Stdio,
        options: &[&str],
    ) -> Result<Self> {
        let first = free_ports(ENDPOINT_PORTS + 1)?;
        let ports = format!("{}-{}", first + 1, first + ENDPOINT_PORTS);
        let mut process = Command::new(&binaries.hearth)
            .arg("--data")
            .arg(data)
            .args(["up", "--listen", &format!("127.0.0.1:{first}")])
            .args(["--endpoint-ports", &ports])
            .args(options)
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

    /// Waits until the service serves, and passes on its output.
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

    /// Stops the service, as Ctrl-C does.
    pub(crate) fn stop(&mut self) -> Result<()> {
        // Not by `kill`, which a minimal Debian has not.
        kill_process(Pid::from_child(&self.process), Signal::TERM)
            .context("cannot stop hearth up")?;
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

/// The first of `count` consecutive ports on which nobody listens.
fn free_ports(count: u16) -> Result<u16> {
    (21_000..31_000)
        .step_by(usize::from(count))
        .find(|first| {
            let mut all = *first..*first + count;
            all.all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        })
        .context("no ports are free")
}

/// Traces of microVMs on a host, outside the API: one line each.
pub(crate) type Traces = BTreeSet<String>;

/// Lists processes, control groups, namespaces, mounts, network cards and files. `$1` is the data directory. Cards and namespaces
/// are counted: those that are made ahead for the next microVM have other names than those that were there before.
const LIST_TRACES: &str = r#"
number() { seq $(wc -l) | sed "s/^/$1 /"; }
for pid in $(pidof hearth-vmm); do echo "process $pid"; done
find /sys/fs/cgroup -mindepth 2 -type d -path '*hearth*' | sed 's/^/control group /'
readlink /proc/[0-9]*/ns/* | sort -u | number namespace
cut -d' ' -f2 /proc/mounts | sed 's/^/mount /'
ls /sys/class/net | number 'network card'
for folder in machines images; do find "$1/$folder" -mindepth 1 | sed 's/^/file /'; done
for snapshot in "$1"/snapshots/*; do
    # Templates of booted guests stay for the next build.
    grep -q '"purpose": *"booted"' "$snapshot/node.json" 2> /dev/null || find "$snapshot" 2> /dev/null | sed 's/^/file /'
done
true
"#;

/// Lists the traces on the host of the service with this data directory, once nothing changes any more.
pub(crate) fn traces(binaries: &Binaries, data: &Path) -> Result<Traces> {
    let mut before = look(binaries, data)?;
    loop {
        std::thread::sleep(QUIET);
        let now = look(binaries, data)?;
        if now == before {
            return Ok(now);
        }
        before = now;
    }
}

fn look(binaries: &Binaries, data: &Path) -> Result<Traces> {
    let mut command = match EmulatedHost::attach(&data.join("emulated")) {
        Some(_) => {
            let mut command = Command::new(&binaries.hearth);
            let inside = ["host", "exec", "--", "/bin/busybox", "sh", "-c"];
            command.arg("--data").arg(data).args(inside);
            command.args([LIST_TRACES, "traces", INNER_DATA]);
            command
        }
        None => {
            let mut command = Command::new("sh");
            command.args(["-c", LIST_TRACES, "traces"]).arg(data);
            command
        }
    };
    let output = command.stdin(Stdio::null()).output();
    let output = output.context("cannot look at the host")?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        bail!("cannot look at the host: {why}");
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::to_owned).collect())
}

/// Traces that were not there before, after [`LEAVE_LIMIT`] at most.
pub(crate) fn left_behind(binaries: &Binaries, data: &Path, before: &Traces) -> Result<Traces> {
    let deadline = Instant::now() + LEAVE_LIMIT;
    loop {
        let left = &look(binaries, data)? - before;
        if left.is_empty() || Instant::now() > deadline {
            return Ok(left);
        }
        std::thread::sleep(QUIET);
    }
}
