//! Landlock (landlock(7)): limits the files that the process can reach, whatever their permissions say.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::SandboxError;

/// The first ABI that can allow hard links from one directory to another: a snapshot makes one of each disk.
const ABI_MIN: i64 = 2;

const CREATE_RULESET_VERSION: u32 = 1;
const RULE_PATH_BENEATH: libc::c_int = 1;

const EXECUTE: u64 = 1 << 0;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const REMOVE_DIR: u64 = 1 << 4;
const REMOVE_FILE: u64 = 1 << 5;
const MAKE_DIR: u64 = 1 << 7;
const MAKE_REG: u64 = 1 << 8;
const MAKE_SOCK: u64 = 1 << 9;
const REFER: u64 = 1 << 13;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// All rights of ABI 2; later ones are added where the kernel has them.
const RIGHTS_ABI_2: u64 = (1 << 14) - 1;

/// Rights that apply to files that are not directories.
const FILE_RIGHTS: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;

const READ: u64 = READ_FILE | READ_DIR;
const CHANGE: u64 = READ
    | WRITE_FILE
    | REMOVE_DIR
    | REMOVE_FILE
    | MAKE_DIR
    | MAKE_REG
    | MAKE_SOCK
    | REFER
    | TRUNCATE;

/// The KVM device.
const KVM: &str = "/dev/kvm";

/// Files of `/proc` that the process reads: its page map, and the host's boot id.
const PROC_FILES: [&str; 2] = ["/proc/self/pagemap", "/proc/sys/kernel/random/boot_id"];

/// `struct landlock_ruleset_attr`. Older kernels do not know its later fields.
#[repr(C)]
struct Ruleset {
    files: u64,
    network: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// Limits the process to these paths. Answers `false` if the kernel has no Landlock.
pub(super) fn restrict(
    readable: &[impl AsRef<Path>],
    writable: &[impl AsRef<Path>],
) -> Result<bool, SandboxError> {
    let abi = version();
    if abi < ABI_MIN {
        return Ok(false);
    }
    let handled = handled(abi);
    let ruleset = create(abi, handled).map_err(failed("make a rule set"))?;
    for path in readable {
        allow(&ruleset, path.as_ref(), READ & handled)?;
    }
    for path in writable {
        allow(&ruleset, path.as_ref(), CHANGE & handled)?;
    }
    let device = (READ_FILE | WRITE_FILE | IOCTL_DEV) & handled;
    allow_if_there(&ruleset, Path::new(KVM), device)?;
    for path in PROC_FILES {
        allow_if_there(&ruleset, Path::new(path), READ_FILE)?;
    }
    // SAFETY: takes a descriptor and flags, no memory.
    let done =
        unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0_u32) };
    match done {
        0 => Ok(true),
        _ => Err(failed("apply the rule set")(io::Error::last_os_error())),
    }
}

/// Version of the kernel's Landlock ABI; 0 or less without Landlock.
fn version() -> i64 {
    // SAFETY: with this flag the call takes no attributes and answers a number.
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<Ruleset>(),
            0_usize,
            CREATE_RULESET_VERSION,
        )
    }
}

fn handled(abi: i64) -> u64 {
    let truncate = if abi >= 3 { TRUNCATE } else { 0 };
    let ioctl = if abi >= 5 { IOCTL_DEV } else { 0 };
    RIGHTS_ABI_2 | truncate | ioctl
}

/// Creates a rule set. From ABI 4 on it also denies TCP, from ABI 6 on abstract Unix sockets and signals to processes
/// outside the sandbox.
fn create(abi: i64, files: u64) -> io::Result<OwnedFd> {
    let attributes = Ruleset {
        files,
        network: 0b11,
        scoped: 0b11,
    };
    let members = match abi {
        ..4 => 1,
        4 | 5 => 2,
        _ => 3,
    };
    // SAFETY: the kernel reads so many members of the structure, which has three.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &raw const attributes,
            members * size_of::<u64>(),
            0_u32,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's; it fits, as all descriptors do.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Adds a rule for a path. A missing path gets no rule: opening it fails anyway.
fn allow_if_there(ruleset: &OwnedFd, path: &Path, allowed: u64) -> Result<(), SandboxError> {
    match path.exists() {
        true => allow(ruleset, path, allowed),
        false => Ok(()),
    }
}

fn allow(ruleset: &OwnedFd, path: &Path, allowed: u64) -> Result<(), SandboxError> {
    let file = open(path).map_err(|source| SandboxError::Path {
        path: path.to_owned(),
        source,
    })?;
    let rights = if path.is_dir() { !0 } else { FILE_RIGHTS };
    let rule = PathBeneath {
        allowed: allowed & rights,
        parent: file.as_raw_fd(),
    };
    // SAFETY: the rule is as the kernel defines it, and is only read.
    let added = unsafe {
        libc::syscall(
            libc::SYS_landlock_add_rule,
            ruleset.as_raw_fd(),
            RULE_PATH_BENEATH,
            &raw const rule,
            0_u32,
        )
    };
    if added != 0 {
        return Err(failed("add a path")(io::Error::last_os_error()));
    }
    if path.starts_with("/proc") {
        // The rule is for the inode, and procfs makes another one when nobody holds the first.
        std::mem::forget(file);
    }
    Ok(())
}

fn open(path: &Path) -> io::Result<OwnedFd> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the name ends in a zero byte and lives until the call returns.
    let fd = unsafe { libc::open(name.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn failed(step: &'static str) -> impl FnOnce(io::Error) -> SandboxError {
    move |source| SandboxError::Landlock(step, source)
}
