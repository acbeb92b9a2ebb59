//! The root directory of the benchmark.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use hearth_machine_tests::guest;
use nix::sched::{CloneFlags, unshare};
use rustix::mount::mount_bind_recursive;
use rustix::process::{chdir, chroot};

/// Leaves the initial ramdisk, where the emulated host runs, for a mount of the same files: the ramdisk cannot be the
/// old root of pivot_root(2), which Firecracker's jailer calls. For the calling thread, and the threads that it starts.
pub(crate) fn leave_initial() -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read the mounts")?;
    if !mounts.lines().any(|line| line.starts_with("rootfs / ")) {
        return Ok(());
    }
    let same = guest::scratch().join("root");
    fs::create_dir_all(&same).context("make a directory to mount at")?;
    unshare(CloneFlags::CLONE_NEWNS).context("leave the mount namespace")?;
    mount_bind_recursive(Path::new("/"), &same).context("mount the root once more")?;
    chroot(&same).context("change the root")?;
    chdir("/").context("go to the root")
}
