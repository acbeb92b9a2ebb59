//! Other monitors, doing the same in the same run: restore one snapshot of the same kernel and initramfs with the same RAM.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hearth_machine_tests::guest::{Fixture, MEMORY_MIB};
use tokio::net::UnixStream;
use tokio::process::Child;

use crate::firecracker::{Firecracker, Jailed};
use crate::memory::pss_beside_guest_mib;
use crate::qemu::Qemu;

/// Pause between two attempts to reach a socket.
const PAUSE: Duration = Duration::from_micros(500);
/// What the kernel says last before its init runs.
const BOOTED: &str = "Run /init as init process";
/// Init itself takes a moment more; a guest that is idle is what ours is snapshotted as.
const SETTLE: Duration = Duration::from_secs(10);

/// Programs to measure beside Hearth.
#[derive(Debug, Default)]
pub(crate) struct PeerPrograms {
    pub(crate) firecracker: Option<PathBuf>,
    pub(crate) jailer: Option<PathBuf>,
    pub(crate) qemu: Option<PathBuf>,
}

/// A monitor with a snapshot to restore.
pub(crate) enum Peer {
    Firecracker(Firecracker),
    Jailed(Jailed),
    Qemu(Qemu),
}

/// What one restore came to.
pub(crate) struct Figures {
    pub(crate) spawn_to_running: Duration,
    pub(crate) pss_beside_guest_mib: f64,
}

impl Peer {
    /// Boots the tests' guest in each of the programs and takes a snapshot.
    pub(crate) async fn prepare(programs: &PeerPrograms, fixture: &Fixture) -> Result<Vec<Self>> {
        let mut peers = Vec::new();
        if let Some(program) = &programs.firecracker {
            let firecracker = Firecracker::prepare(program, fixture).await?;
            if let Some(jailer) = &programs.jailer {
                peers.push(Self::Jailed(firecracker.jailed(jailer)?));
            }
            peers.push(Self::Firecracker(firecracker));
        }
        if let Some(program) = &programs.qemu {
            peers.push(Self::Qemu(Qemu::prepare(program, fixture).await?));
        }
        Ok(peers)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Firecracker(_) => "firecracker",
            Self::Jailed(_) => "firecracker in its jailer",
            Self::Qemu(_) => "qemu",
        }
    }

    /// Spawns a process that loads the snapshot and lets it run, and ends it.
    pub(crate) async fn restore(&self) -> Result<Figures> {
        let start = Instant::now();
        let mut child = match self {
            Self::Firecracker(firecracker) => firecracker.restore().await?,
            Self::Jailed(jailed) => jailed.restore().await?,
            Self::Qemu(qemu) => qemu.restore().await?,
        };
        let spawn_to_running = start.elapsed();
        let pid = child.id().context("the process is gone")?;
        let pss_beside_guest_mib = pss_beside_guest_mib(pid, MEMORY_MIB)?;
        end(&mut child).await?;
        Ok(Figures {
            spawn_to_running,
            pss_beside_guest_mib,
        })
    }
}

/// Ends a process and waits until it is gone.
pub(crate) async fn end(child: &mut Child) -> Result<()> {
    child.kill().await.context("end the process")
}

/// Connects to the API socket of a process that was just started.
pub(crate) async fn connect(socket: &Path) -> Result<UnixStream> {
    let start = Instant::now();
    loop {
        match UnixStream::connect(socket).await {
            Ok(stream) => return Ok(stream),
            Err(error) if start.elapsed() > Duration::from_secs(10) => {
                return Err(error).with_context(|| format!("nobody opens {}", socket.display()));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Waits until the guest whose console goes to `console` has booted and come to rest.
pub(crate) async fn wait_until_idle(console: &Path) -> Result<()> {
    let start = Instant::now();
    while !String::from_utf8_lossy(&fs::read(console)?).contains(BOOTED) {
        if start.elapsed() > Duration::from_secs(120) {
            let said = fs::read(console)?;
            bail!("the guest did not boot: {}", String::from_utf8_lossy(&said));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(SETTLE).await;
    Ok(())
}
