//! Stops all processes and ends the machine.

use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions};
use rustix::system::RebootCommand;
use tokio::time::Instant;

use crate::agent::Agent;
use crate::boot;
use crate::sys::signal;

/// How long processes may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// Polling interval while processes end.
const POLL: Duration = Duration::from_millis(20);

/// File systems on disks; all others are in memory.
const DURABLE: &[&str] = &["ext4", "xfs", "btrfs"];

/// Ends all processes, then syncs and unmounts the disks, so that they are clean.
pub(crate) async fn stop_everything(agent: &Agent) {
    // An application that has not been started, or has ended, needs no stop.
    let _ = agent.application.stop(GRACE).await;
    signal::send_to_all(Signal::TERM);
    let deadline = Instant::now() + GRACE;
    while has_children() && Instant::now() < deadline {
        tokio::time::sleep(POLL).await;
    }
    signal::send_to_all(Signal::KILL);
    rustix::fs::sync();
    make_disks_clean();
}

/// Resets the machine, which ends it: a VMM ends on the reset of its i8042, the emulated host has
/// `-no-reboot`.
pub(crate) fn end() {
    if let Err(error) = rustix::system::reboot(RebootCommand::Restart) {
        boot::say(&format!("the machine does not end: {error}"));
    }
}

fn has_children() -> bool {
    match rustix::process::waitid(
        WaitId::All,
        WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
    ) {
        // No children at all.
        Err(Errno::CHILD) => false,
        Ok(_) | Err(_) => true,
    }
}

/// Unmounts disks if possible, and remounts the others read-only. Otherwise their journals would have to be replayed at
/// the next mount.
fn make_disks_clean() {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let durable: Vec<&str> = mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let target = fields.next()?;
            DURABLE.contains(&fields.next()?).then_some(target)
        })
        .collect();
    // The last mounted first: it may lie in an earlier one.
    for target in durable.into_iter().rev() {
        if rustix::mount::unmount(target, UnmountFlags::empty()).is_err() {
            // In use after all; read-only is as good. If that fails too the journal is there.
            let _ = rustix::mount::mount_remount(target, MountFlags::RDONLY, c"");
        }
    }
}
