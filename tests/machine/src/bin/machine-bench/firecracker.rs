//! Firecracker, from a binary that the caller has.
//!
//! Its API is HTTP over a Unix socket (its docs/api_requests and docs/snapshotting); the few requests needed
//! are written by hand.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use hearth_machine_tests::guest::{self, Fixture, MEMORY_MIB};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::peer;

/// A Firecracker with a snapshot to restore.
pub(crate) struct Firecracker {
    program: PathBuf,
    directory: PathBuf,
}

impl Firecracker {
    /// Boots the tests' kernel and initramfs and takes a snapshot.
    pub(crate) async fn prepare(program: &Path, fixture: &Fixture) -> Result<Self> {
        let directory = guest::scratch().join("firecracker");
        fs::create_dir_all(&directory)?;
        let firecracker = Self {
            program: program.to_owned(),
            directory,
        };
        let request = fixture.boot_request(1, Vec::new());
        let console = firecracker.directory.join("console");
        let mut child = firecracker.spawn(Stdio::from(fs::File::create(&console)?))?;
        let boot = json!({
            "kernel_image_path": request.kernel,
            "initrd_path": request.initramfs,
            "boot_args": format!("console=ttyS0 reboot=k panic=1 {}", request.command_line),
        });
        firecracker.put("/boot-source", &boot).await?;
        firecracker
            .put(
                "/machine-config",
                &json!({"vcpu_count": 1, "mem_size_mib": MEMORY_MIB}),
            )
            .await?;
        firecracker
            .put("/actions", &json!({"action_type": "InstanceStart"}))
            .await?;
        peer::wait_until_idle(&console)
            .await
            .context("boot a guest in Firecracker")?;
        firecracker
            .call("PATCH", "/vm", &json!({"state": "Paused"}))
            .await?;
        let target = json!({
            "snapshot_type": "Full",
            "snapshot_path": firecracker.directory.join("state"),
            "mem_file_path": firecracker.directory.join("memory"),
        });
        firecracker.put("/snapshot/create", &target).await?;
        peer::end(&mut child).await?;
        Ok(firecracker)
    }

    /// Spawns a process that loads the snapshot and lets it run.
    pub(crate) async fn restore(&self) -> Result<Child> {
        let child = self.spawn(Stdio::null())?;
        let source = json!({
            "snapshot_path": self.directory.join("state"),
            "mem_backend": {"backend_type": "File", "backend_path": self.directory.join("memory")},
            "resume_vm": true,
        });
        self.put("/snapshot/load", &source).await?;
        Ok(child)
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
        let mut stream = peer::connect(&self.socket()).await?;
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
}
