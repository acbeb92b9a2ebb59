//! Sandbox steps that take rights away from the process: namespaces, descriptors, limits, user, capabilities.

use std::io;
use std::os::fd::RawFd;

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use super::SandboxError;
use super::slot::NAMESPACES;

/// Most descriptors of one VMM: 1024 vsock streams, and the disks, eventfds and vCPUs of a machine with room to spare.
const DESCRIPTORS_MAX: libc::rlim_t = 4096;

/// First descriptor behind standard input, output and error.
const FIRST_INHERITED: RawFd = 3;

/// Most threads of one VMM: 16 vCPUs, a thread for each disk, and the sealing thread. The kernel counts by user, so
/// this is set only for a VMM that has a user of its own.
const THREADS_MAX: libc::rlim_t = 128;

/// `_LINUX_CAPABILITY_VERSION_3` (capget(2)).
const CAPABILITY_VERSION: u32 = 0x2008_0522;

/// Upper bound of capability numbers: the kernel's sets have 64 bits.
const CAPABILITIES_MAX: libc::c_ulong = 64;

/// Header of capset(2).
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// One half of the sets of capset(2).
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct CapabilitySets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Enters namespaces that contain no network and no IPC object of the host. Answers `false` if the process is not root.
/// Unix sockets with a path are found by their file, so the node still reaches the process.
pub(super) fn leave_namespaces(
    prepared: Option<[RawFd; NAMESPACES]>,
) -> Result<bool, SandboxError> {
    const KINDS: [libc::c_int; NAMESPACES] =
        [libc::CLONE_NEWNET, libc::CLONE_NEWIPC, libc::CLONE_NEWUTS];
    if let Some(prepared) = prepared {
        for (namespace, kind) in prepared.into_iter().zip(KINDS) {
            // SAFETY: changes which namespace this thread sees; of a descriptor of anything else the kernel says so.
            check(unsafe { libc::setns(namespace, kind) }).map_err(SandboxError::Enter)?;
        }
        return Ok(true);
    }
    if !is_root() {
        return Ok(false);
    }
    let all = KINDS.iter().fold(0, |all, kind| all | kind);
    // SAFETY: changes which namespaces this thread sees; no memory is involved.
    check(unsafe { libc::unshare(all) }).map_err(SandboxError::Namespaces)?;
    Ok(true)
}

/// Closes all descriptors but those in `keep` and the standard ones: no other layer protects a descriptor that the node
/// left open by mistake.
pub(super) fn close_descriptors(keep: &[RawFd]) -> Result<(), SandboxError> {
    let mut keep: Vec<RawFd> = keep.to_vec();
    keep.retain(|fd| *fd >= FIRST_INHERITED);
    keep.sort_unstable();
    let mut first = FIRST_INHERITED;
    for fd in keep {
        if fd > first {
            close_range(first, fd - 1)?;
        }
        first = fd + 1;
    }
    close_range(first, RawFd::MAX)
}

fn close_range(first: RawFd, last: RawFd) -> Result<(), SandboxError> {
    // SAFETY: called before the process opens anything of its own; nothing owns these descriptors.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    check(closed as libc::c_int).map_err(SandboxError::Descriptors)
}

/// Forbids core dumps, which would hold the guest's memory, and bounds the number of descriptors.
pub(super) fn limit_resources() -> Result<(), SandboxError> {
    set_limit(libc::RLIMIT_CORE, 0).map_err(|error| SandboxError::Limit("RLIMIT_CORE", error))?;
    set_limit(libc::RLIMIT_NOFILE, DESCRIPTORS_MAX)
        .map_err(|error| SandboxError::Limit("RLIMIT_NOFILE", error))
}

/// Switches from root to a user and a group that no other process on the host has. The effective capabilities go with
/// it. Must be called while the process has one thread, as the system calls bypass the C library.
pub(super) fn become_user(number: u32) -> Result<(), SandboxError> {
    let failed = |errno: rustix::io::Errno| SandboxError::User(number, errno.into());
    set_limit(libc::RLIMIT_NPROC, THREADS_MAX)
        .map_err(|error| SandboxError::Limit("RLIMIT_NPROC", error))?;
    let (user, group) = (Uid::from_raw(number), Gid::from_raw(number));
    set_thread_groups(&[]).map_err(failed)?;
    set_thread_res_gid(group, group, group).map_err(failed)?;
    set_thread_res_uid(user, user, user).map_err(failed)
}

/// Sets both limits to `value`, or to the hard limit where that is lower already.
fn set_limit(resource: libc::__rlimit_resource_t, value: libc::rlim_t) -> io::Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the structure is valid for writing.
    check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
    let value = value.min(limit.rlim_max);
    (limit.rlim_cur, limit.rlim_max) = (value, value);
    // SAFETY: the structure is valid for reading.
    check(unsafe { libc::setrlimit(resource, &raw const limit) })
}

/// Sets `no_new_privs`: no program that this process executes gets more rights than it has. seccomp and Landlock
/// require it.
pub(super) fn no_new_privileges() -> Result<(), SandboxError> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(SandboxError::NoNewPrivileges)
}

/// Drops all five sets of capabilities. An unprivileged process cannot change its bounding set, but with `no_new_privs`
/// it can gain nothing from it.
pub(super) fn drop_capabilities() -> Result<(), SandboxError> {
    let failed = |set| move |error| SandboxError::Capabilities(set, error);
    let ambient = libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong;
    prctl(libc::PR_CAP_AMBIENT, ambient).map_err(failed("ambient"))?;
    if is_root() {
        let drop = |capability| prctl(libc::PR_CAPBSET_DROP, capability);
        for capability in 0..CAPABILITIES_MAX {
            match drop(capability) {
                // The first number that this kernel does not know ends the list.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
                dropped => dropped.map_err(failed("bounding"))?,
            }
        }
    }
    let header = CapabilityHeader {
        version: CAPABILITY_VERSION,
        pid: 0,
    };
    let none = [CapabilitySets::default(); 2];
    // SAFETY: version 3 takes two sets, and both structures are as capset(2) defines them.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) };
    check(set as libc::c_int).map_err(failed("permitted, effective and inheritable"))
}

fn is_root() -> bool {
    // SAFETY: reads an id and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Keeps other processes of the same user from reading this one's memory, and forbids dumps. Done only as root: the
/// files in `/proc/self` become root's, and a snapshot reads one of them.
pub(super) fn become_opaque() -> Result<(), SandboxError> {
    if !is_root() {
        return Ok(());
    }
    prctl(libc::PR_SET_DUMPABLE, 0).map_err(SandboxError::Dumpable)
}

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> io::Result<()> {
    prctl_value(option, argument).map(drop)
}

fn prctl_value(option: libc::c_int, argument: libc::c_ulong) -> io::Result<libc::c_int> {
    const UNUSED: libc::c_ulong = 0;
    // SAFETY: the options that are used here take numbers, no pointers.
    let value = unsafe { libc::prctl(option, argument, UNUSED, UNUSED, UNUSED) };
    check(value.min(0)).map(|()| value)
}

fn check(result: libc::c_int) -> io::Result<()> {
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
