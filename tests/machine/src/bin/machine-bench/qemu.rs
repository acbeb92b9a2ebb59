//! Debian's QEMU as a microvm, as Kata's templates use it: RAM is a file that clones map privately
//! (`share=off`), and the migration stream carries the rest (`x-ignore-shared`).
//!
//! Its API is QMP over a Unix socket (QEMU's docs/interop/qmp-spec): a line of JSON for each command and answer, and
//! events in between.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_machine_tests::guest::{self, Fixture, MEMORY_MIB};
use hearth_node::BootRequest;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

use crate::process;

/// A QEMU with a snapshot to restore.
pub(crate) struct Qemu {
    program: PathBuf,
    directory: PathBuf,
    guest: BootRequest,
}

/// Whether the memory file is the machine's RAM or what its RAM begins as.
#[derive(Debug, Clone, Copy)]
enum Memory {
    Shared,
    Private,
}

impl Qemu {
    /// Boots the tests' kernel and initramfs and takes a snapshot.
    pub(crate) async fn prepare(program: &Path, fixture: &Fixture) -> Result<Self> {
        let directory = guest::scratch().join("qemu");
        fs::create_dir_all(&directory)?;
        let qemu = Self {
            program: program.to_owned(),
            directory,
            guest: fixture.boot_request(1, Vec::new()),
        };
        let mut child = qemu.spawn(Memory::Shared, Stdio::null(), &[])?;
        let mut monitor = Monitor::connect(&qemu.socket()).await?;
        process::wait_until_idle(&qemu.path("console"))
            .await
            .context("boot a guest in QEMU")?;
        let state = qemu.path("state");
        let target = json!({"uri": format!("exec:cat > {}", state.display())});
        monitor.execute("migrate", target).await?;
        monitor.wait_until_migrated().await?;
        process::end(&mut child).await?;
        Ok(qemu)
    }

    /// Spawns a process that loads the snapshot and lets it run.
    pub(crate) async fn restore(&self) -> Result<Child> {
        let state = File::open(self.path("state")).context("open QEMU's snapshot")?;
        let child = self.spawn(Memory::Private, Stdio::from(state), &["-incoming", "defer"])?;
        let mut monitor = Monitor::connect(&self.socket()).await?;
        // Its standard input.
        let source = json!({"uri": "fd:0"});
        monitor.execute("migrate-incoming", source).await?;
        monitor.wait_for_event("RESUME").await?;
        Ok(child)
    }

    fn spawn(&self, memory: Memory, stdin: Stdio, further: &[&str]) -> Result<Child> {
        let _ = fs::remove_file(self.socket());
        let share = match memory {
            Memory::Shared => "on",
            Memory::Private => "off",
        };
        let shown = |path: PathBuf| path.display().to_string();
        let ram = format!(
            "memory-backend-file,id=ram,size={MEMORY_MIB}M,mem-path={},share={share}",
            shown(self.path("memory"))
        );
        let command_line = format!(
            "console=ttyS0 reboot=t panic=-1 {}",
            self.guest.command_line
        );
        Command::new(&self.program)
            .args(["-machine", "microvm,acpi=on,memory-backend=ram"])
            .args(["-accel", "kvm", "-cpu", "host", "-smp", "1"])
            .args(["-m", &MEMORY_MIB.to_string(), "-object", &ram])
            .args(["-nodefaults", "-no-user-config", "-no-reboot"])
            .args(["-display", "none"])
            .arg("-kernel")
            .arg(&self.guest.kernel)
            .arg("-initrd")
            .arg(&self.guest.initramfs)
            .args(["-append", &command_line, "-serial", "chardev:console"])
            .args([
                "-chardev",
                &format!("file,id=console,path={}", shown(self.path("console"))),
            ])
            .args([
                "-qmp",
                &format!("unix:{},server=on,wait=off", shown(self.socket())),
            ])
            .args(further)
            .stdin(stdin)
            .stdout(Stdio::null())
            .stderr(Stdio::from(File::create(self.path("log"))?))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("qmp.sock")
    }
}

/// A QMP connection that is past its greeting.
struct Monitor(BufReader<UnixStream>);

impl Monitor {
    async fn connect(socket: &Path) -> Result<Self> {
        let mut monitor = Self(BufReader::new(process::connect(socket).await?));
        monitor.line().await?;
        monitor.execute("qmp_capabilities", json!({})).await?;
        let ignore = json!({"capability": "x-ignore-shared", "state": true});
        let capabilities = json!({"capabilities": [ignore]});
        monitor
            .execute("migrate-set-capabilities", capabilities)
            .await?;
        Ok(monitor)
    }

    /// The command's answer. Events before it are nothing that anybody waits for.
    async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let request = json!({"execute": command, "arguments": arguments});
        let bytes = format!("{request}\n");
        self.0.get_mut().write_all(bytes.as_bytes()).await?;
        loop {
            let line = self.line().await?;
            if let Some(answer) = line.get("return") {
                return Ok(answer.clone());
            }
            if let Some(error) = line.get("error") {
                bail!("QEMU refused {command}: {error}");
            }
        }
    }

    async fn wait_for_event(&mut self, name: &str) -> Result<()> {
        while self.line().await?.get("event") != Some(&Value::from(name)) {}
        Ok(())
    }

    async fn wait_until_migrated(&mut self) -> Result<()> {
        let start = Instant::now();
        loop {
            let answer = self.execute("query-migrate", json!({})).await?;
            match answer.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => bail!("QEMU took no snapshot: {answer}"),
                _ if start.elapsed() > Duration::from_secs(120) => {
                    bail!("QEMU does not finish its snapshot: {answer}");
                }
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    async fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            bail!("QEMU is gone");
        }
        serde_json::from_str(&line).with_context(|| format!("QEMU said {line:?}"))
    }
}
