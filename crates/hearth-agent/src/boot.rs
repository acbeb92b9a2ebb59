//! Early init: sets up a machine that starts from a bare initramfs, so that programs can run.
//!
//! The steps, in order: a root that can be pivoted away from, file systems, kernel modules, network. Only a missing
//! file system ends the boot. Other failures are printed on the console, and operations that depend on the failed step
//! are refused later with their own reason.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hearth_wire::host_mode::HOST_SETUP_SCRIPT;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};

use crate::fault::{Fault, Step};
use crate::settings::Network;
use crate::sys::{interface, ioctl};

/// How long the driver of a network card may take to register it after its module is loaded.
const CARD_DEADLINE: Duration = Duration::from_secs(2);

/// Mounts the file systems that the agent and other programs need.
pub(crate) fn mount_file_systems() -> Result<(), Fault> {
    make_root_pivotable()?;
    let secure = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    let device = MountFlags::NOSUID | MountFlags::NOEXEC;
    let scratch = MountFlags::NOSUID | MountFlags::NODEV;
    mount("proc", "/proc", "proc", secure, "")?;
    mount("sysfs", "/sys", "sysfs", secure, "")?;
    mount("devtmpfs", "/dev", "devtmpfs", device, "mode=0755")?;
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        device,
        "gid=5,mode=620,ptmxmode=666",
    )?;
    mount("tmpfs", "/dev/shm", "tmpfs", secure, "mode=1777")?;
    mount("tmpfs", "/run", "tmpfs", scratch, "mode=0755")?;
    mount("tmpfs", "/tmp", "tmpfs", scratch, "mode=1777")?;
    mount("cgroup2", "/sys/fs/cgroup", "cgroup2", secure, "")
}

/// Mounts a bind mount of the root over the root and enters it.
///
/// The initial ramfs is the bottom of its mount namespace and cannot be pivoted away from (pivot_root(2));
/// the mount above it can, so that containers get a root of their own and not just a chroot.
fn make_root_pivotable() -> Result<(), Fault> {
    let tree = rustix::mount::open_tree(
        CWD,
        "/",
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC,
    )
    .step("clone the root mount")?;
    rustix::mount::move_mount(&tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .step("mount the root on itself")?;
    rustix::process::fchdir(&tree).step("enter the new root")?;
    rustix::process::chroot(".").step("enter the new root")
}

fn mount(
    source: &str,
    target: &'static str,
    kind: &str,
    flags: MountFlags,
    data: &str,
) -> Result<(), Fault> {
    fs::create_dir_all(target).step_with(|| format!("create {target}"))?;
    let data = std::ffi::CString::new(data).unwrap_or_default();
    rustix::mount::mount(source, target, kind, flags, data.as_c_str())
        .step_with(|| format!("mount {target}"))
}

/// Brings up the loopback interface, and the first network card if there are addresses for it.
pub(crate) fn configure_network(network: Option<&Network>) {
    if let Err(fault) = bring_up_loopback() {
        report("the loopback is not up", &fault);
    }
    let Some(network) = network else { return };
    if let Err(fault) = configure_card("eth0", network) {
        report("the network is not up", &fault);
    }
}

fn bring_up_loopback() -> Result<(), Fault> {
    let control = interface::control_socket().step("open a socket for interfaces")?;
    interface::bring_up(&control, "lo").step("bring lo up")
}

fn configure_card(name: &str, network: &Network) -> Result<(), Fault> {
    wait_for(&format!("/sys/class/net/{name}"));
    let control = interface::control_socket().step("open a socket for interfaces")?;
    interface::set_address(&control, name, network.address, network.netmask)
        .step("set the card's address")?;
    interface::bring_up(&control, name).step("bring the card up")?;
    if let Some(gateway) = network.gateway {
        interface::add_default_route(&control, gateway).step("add the default route")?;
    }
    if let Some(nameserver) = network.nameserver {
        fs::write("/etc/resolv.conf", format!("nameserver {nameserver}\n"))
            .step("write /etc/resolv.conf")?;
    }
    Ok(())
}

/// Waits until a path exists: drivers probe asynchronously after their module is loaded.
fn wait_for(path: &str) {
    let deadline = Instant::now() + CARD_DEADLINE;
    while !Path::new(path).exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Runs the emulated host's own set-up script, when it has one.
pub(crate) fn run_host_setup() {
    if !Path::new(HOST_SETUP_SCRIPT).exists() {
        return;
    }
    match Command::new("/bin/busybox")
        .args(["sh", HOST_SETUP_SCRIPT])
        .status()
    {
        Ok(status) if status.success() => {}
        Ok(status) => say(&format!("{HOST_SETUP_SCRIPT} ended with {status}")),
        Err(error) => say(&format!("{HOST_SETUP_SCRIPT} did not run: {error}")),
    }
}

/// Creates one idle virtual machine and keeps it for the lifetime of the emulated host.
pub(crate) fn hold_vm() {
    let held = rustix::fs::open("/dev/kvm", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .and_then(ioctl::create_idle_vm);
    match held {
        // Never closed: that is what it is for.
        Ok(machine) => std::mem::forget(machine),
        Err(error) => say(&format!("no KVM machine is held: {error}")),
    }
}

/// Prints a line on the console. Best effort.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "hearth-agent: {line}");
}

/// Prints a failure with its cause on the console.
pub(crate) fn report(what: &str, fault: &Fault) {
    say(&format!("{what}: {fault}: {}", fault.errno));
}
