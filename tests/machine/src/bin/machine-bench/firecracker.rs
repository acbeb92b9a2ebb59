//! Firecracker, from a binary that the caller has, doing the same: restore one snapshot of the same kernel and
//! initramfs with the same RAM.
//!
//! Its API is HTTP over a Unix socket (its docs/api_requests and docs/snapshotting); the few requests needed
//! are written by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_machine_tests::guest::{self, Fixture, MEMORY_MIB};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::memory::pss_beside_guest_mib;

/// Pause between two attempts to reach a socket or to find a line in a log.
const PAUSE: Duration = Duration::from_micros(500);
/// What the kernel says last before its init runs.
const BOOTED: &str = "Run /init as init process";

/// A Firecracker with a snapshot to restore.
pub(crate) struct Peer {
    program: PathBuf,
    directory: PathBuf,
}

/// What one restore came to.
pub(crate) struct Figures {
    pub(crate) spawn_to_running: Duration,
    pub(crate) pss_beside_guest_mib: f64,
}

impl Peer {
    /// Boots the tests' kernel and initramfs and takes a snapshot.
    pub(crate) async fn prepare(program: &Path, fixture: &Fixture) -> Result<Self> {
        let directory = guest::scratch().join("firecracker");
        fs::create_dir_all(&directory)?;
        let peer = Self {
            program: program.to_owned(),
            directory,
        };
        let request = fixture.boot_request(1, Vec::new());
        let console = peer.directory.join("console");
        let mut child = peer.spawn(Stdio::from(fs::File::create(&console)?))?;
        let boot = json!({
            "kernel_image_path": request.kernel,
            "initrd_path": request.initramfs,
            "boot_args": format!("console=ttyS0 reboot=k panic=1 {}", request.command_line),
        });
        peer.put("/boot-source", &boot).await?;
        peer.put(
            "/machine-config",
            &json!({"vcpu_count": 1, "mem_size_mib": MEMORY_MIB}),
        )
        .await?;
        peer.put("/actions", &json!({"action_type": "InstanceStart"}))
            .await?;
        wait_for_line(&console, BOOTED).await?;
        // Init itself takes a moment more; a guest that is idle is what ours is snapshotted as.
        tokio::time::sleep(Duration::from_secs(10)).await;
        peer.call("PATCH", "/vm", &json!({"state": "Paused"}))
            .await?;
        let target = json!({
            "snapshot_type": "Full",
            "snapshot_path": peer.directory.join("state"),
            "mem_file_path": peer.directory.join("memory"),
        });
        peer.put("/snapshot/create", &target).await?;
        child.kill().await?;
        Ok(peer)
    }

    /// Spawns a process that loads the snapshot and lets it run.
    pub(crate) async fn restore(&self) -> Result<Figures> {
        let start = Instant::now();
        let mut child = self.spawn(Stdio::null())?;
        let source = json!({
            "snapshot_path": self.directory.join("state"),
            "mem_backend": {"backend_type": "File", "backend_path": self.directory.join("memory")},
            "resume_vm": true,
        });
        self.put("/snapshot/load", &source).await?;
        let spawn_to_running = start.elapsed();
        let pid = child.id().context("firecracker is gone")?;
        let pss_beside_guest_mib = pss_beside_guest_mib(pid, MEMORY_MIB)?;
        child.kill().await?;
        Ok(Figures {
            spawn_to_running,
            pss_beside_guest_mib,
        })
    }

    fn spawn(&self, stdout: Stdio) -> Result<Child> {
        let socket = self.socket();
        let _ = fs::remove_file(&socket);
        Command::new(&self.program)
            .arg("--api-sock")
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("api.sock")
    }

    async fn put(&self, path: &str, body: &Value) -> Result<()> {
        self.call("PUT", path, body).await
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        let mut stream = self.connect().await?;
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        // The connection is kept open by the other side, so the status line is all that is waited for.
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer).await?;
        let answer = String::from_utf8_lossy(&answer[..count]);
        if !answer.starts_with("HTTP/1.1 20") {
            bail!("firecracker refused {method} {path}: {answer}");
        }
        Ok(())
    }

    async fn connect(&self) -> Result<UnixStream> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(self.socket()).await {
                Ok(stream) => return Ok(stream),
                Err(error) if start.elapsed() > Duration::from_secs(10) => {
                    return Err(error).context("firecracker does not open its API socket");
                }
                Err(_) => tokio::time::sleep(PAUSE).await,
            }
        }
    }
}

async fn wait_for_line(log: &Path, line: &str) -> Result<()> {
    let start = Instant::now();
    while !fs::read_to_string(log)?.contains(line) {
        if start.elapsed() > Duration::from_secs(120) {
            bail!(
                "firecracker's guest did not boot: {}",
                fs::read_to_string(log)?
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
