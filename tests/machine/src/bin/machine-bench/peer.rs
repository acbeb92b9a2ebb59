//! Other VMMs, measured in the same run: each restores a snapshot of the same kernel and initramfs with the same RAM.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hearth_machine_tests::guest::{Fixture, MEMORY_MIB};

use crate::firecracker::{Firecracker, Jailed};
use crate::memory::pss_beside_guest_mib;
use crate::process::end;
use crate::qemu::Qemu;

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
