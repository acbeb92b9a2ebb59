//! Firecracker, from a binary that the caller has.
//!
//! Its API is HTTP over a Unix socket (its docs/api_requests and docs/snapshotting); the few requests needed
//! are written by hand.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail};
use hearth_machine_tests::guest::{self, Fixture, MEMORY_MIB};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::process;

/// The user that a jailed Firecracker becomes, any one that nobody else is.
const JAIL_USER: &str = "64000";
/// Name of its jail.
const JAIL: &str = "bench";

/// A Firecracker with a snapshot to restore.
#[derive(Debug, Clone)]
pub(crate) struct Firecracker {
    program: PathBuf,
    directory: PathBuf,
}

/// The same Firecracker and the same snapshot, started by Firecracker's `jailer`.
pub(crate) struct Jailed {
    jailer: PathBuf,
    firecracker: Firecracker,
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
        process::wait_until_idle(&console)
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
        process::end(&mut child).await?;
        Ok(firecracker)
    }

    /// Spawns a process that loads the snapshot and lets it run.
    pub(crate) async fn restore(&self) -> Result<Child> {
        let child = self.spawn(Stdio::null())?;
        load(&self.socket(), &self.directory).await?;
        Ok(child)
    }

    /// The same in a jail.
    pub(crate) fn jailed(&self, jailer: &Path) -> Result<Jailed> {
        for file in ["state", "memory"] {
            // A link in the jail, opened by the jail's user.
            let everyone = fs::Permissions::from_mode(0o444);
            fs::set_permissions(self.directory.join(file), everyone)?;
        }
        Ok(Jailed {
            jailer: jailer.to_owned(),
            firecracker: self.clone(),
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
        call(&self.socket(), method, path, body).await
    }
}

impl Jailed {
    /// Spawns the jailer, which makes a root directory, a mount namespace and a user of its own for Firecracker, and loads the
    /// snapshot there. There is no control group and no process namespace, both of which Hearth's VMM has.
    pub(crate) async fn restore(&self) -> Result<Child> {
        let root = self.root()?;
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).context("make room for the jail")?;
        for file in ["state", "memory"] {
            fs::hard_link(self.firecracker.directory.join(file), root.join(file))
                .with_context(|| format!("put the snapshot's {file} into the jail"))?;
        }
        let child = Command::new(&self.jailer)
            .args(["--id", JAIL, "--uid", JAIL_USER, "--gid", JAIL_USER])
            .arg("--exec-file")
            .arg(&self.firecracker.program)
            .arg("--chroot-base-dir")
            .arg(&self.firecracker.directory)
            .args(["--", "--api-sock", "/api.sock"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.jailer.display()))?;
        load(&root.join("api.sock"), Path::new("/")).await?;
        Ok(child)
    }

    /// Where the jailer makes the root directory (Firecracker's docs/jailer).
    fn root(&self) -> Result<PathBuf> {
        let program = self.firecracker.program.file_name();
        let program = program.context("a program has a name")?;
        let jails = self.firecracker.directory.join(program);
        Ok(jails.join(JAIL).join("root"))
    }
}

/// Loads the snapshot of a directory, as Firecracker sees it, and lets it run.
async fn load(socket: &Path, directory: &Path) -> Result<()> {
    let source = json!({
        "snapshot_path": directory.join("state"),
        "mem_backend": {"backend_type": "File", "backend_path": directory.join("memory")},
        "resume_vm": true,
    });
    call(socket, "PUT", "/snapshot/load", &source).await
}

async fn call(socket: &Path, method: &str, path: &str, body: &Value) -> Result<()> {
    let mut stream = process::connect(socket).await?;
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
