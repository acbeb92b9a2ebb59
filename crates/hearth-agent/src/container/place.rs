//! Brings a child process into the container: creates the container (for the application) or joins it (for an exec).
//!
//! Mount points inside the root belong to the image, which may contain a symbolic link in place of any of them. So the
//! root is entered first and everything is mounted from within, where no link leads out. Device nodes and files from
//! outside are brought along as detached mounts.

use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
};
use rustix::thread::{ThreadNameSpaceType, UnshareFlags};

use super::cgroup::{self, ProgramGroup};
use super::{files, storage};
use crate::fault::{Fault, Step};
use crate::program::Capabilities;
use crate::sys::process;

/// Device nodes of every container (the OCI runtime specification's default devices).
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Additional device node for applications with all capabilities, which may mount.
const FUSE_DEVICE: &str = "fuse";

/// Links in `/dev`.
const DEVICE_LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
    ("pts/ptmx", "/dev/ptmx"),
];

/// Paths that Docker hides, because they expose the machine.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Paths that Docker makes read-only, because they are settings of the machine.
const READ_ONLY: &[&str] = &[
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
];

/// Mount flags that forbid setuid programs, devices and executables.
const INERT: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// The parameters of a container to create.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub(crate) hostname: &'a str,
    /// Size of `/dev/shm`; `None` for none, and no message queues.
    pub(crate) shm_mib: Option<u32>,
    pub(crate) capabilities: Capabilities,
}

impl Container<'_> {
    /// Makes the calling child, which is alone in a new PID namespace, the first process of a new container.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        cgroup::join()?;
        process::unshare(
            UnshareFlags::NEWNS
                | UnshareFlags::NEWUTS
                | UnshareFlags::NEWIPC
                // Rooted at the group that was just joined.
                | UnshareFlags::NEWCGROUP,
        )
        .step("make the namespaces")?;
        rustix::mount::mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .step("make the mounts private")?;
        rustix::system::sethostname(self.hostname.as_bytes()).step("set the host name")?;
        let outside = Outside::take(self.is_privileged())?;
        enter_root()?;
        self.mount_kernel_file_systems()?;
        self.mount_devices(&outside)?;
        mount_files(&outside)?;
        self.restrict()?;
        mount_boot_id(&outside)
    }

    fn is_privileged(&self) -> bool {
        self.capabilities == Capabilities::All
    }

    fn mount_kernel_file_systems(&self) -> Result<(), Fault> {
        let settings = if self.is_privileged() {
            INERT
        } else {
            INERT | MountFlags::RDONLY
        };
        mount("proc", "/proc", INERT, "")?;
        mount("sysfs", "/sys", settings, "")?;
        mount("cgroup2", "/sys/fs/cgroup", settings, "")
    }

    /// Creates `/dev`. Device nodes are bind-mounted from outside into a file system without working device nodes, so
    /// that nodes which the application creates there with `mknod` open no disk of the machine.
    fn mount_devices(&self, outside: &Outside) -> Result<(), Fault> {
        let scratch = MountFlags::NOSUID | MountFlags::NODEV;
        let live = MountFlags::NOSUID | MountFlags::NOEXEC;
        mount("tmpfs", "/dev", scratch, "mode=0755,size=1m")?;
        for (name, tree) in &outside.devices {
            attach_file(tree, &format!("/dev/{name}"))?;
        }
        let terminals = "newinstance,ptmxmode=0666,mode=0620,gid=5";
        mount("devpts", "/dev/pts", live, terminals)?;
        if let Some(size) = self.shm_mib {
            let shared = format!("mode=1777,size={size}m");
            mount("tmpfs", "/dev/shm", INERT, &shared)?;
            match mount("mqueue", "/dev/mqueue", INERT, "") {
                // A kernel without message queues.
                Err(fault) if fault.errno == Errno::NODEV => {}
                mounted => mounted?,
            }
        }
        for (target, link) in DEVICE_LINKS {
            symlink(target, link).step_with(|| format!("make {link}"))?;
        }
        Ok(())
    }

    /// Hides and protects the same paths as Docker. An application with all capabilities could undo it.
    fn restrict(&self) -> Result<(), Fault> {
        if self.is_privileged() {
            return Ok(());
        }
        for path in READ_ONLY {
            make_read_only(path)?;
        }
        for path in MASKED {
            mask(path)?;
        }
        Ok(())
    }
}

/// Brings the calling child, which is in the PID namespace already, into the container of `process`.
pub(crate) fn join(process: &OwnedFd) -> Result<(), Fault> {
    cgroup::join()?;
    join_namespaces(process)
}

/// Same as [`join`], for a program of a function with a group of its own.
pub(crate) fn join_as(process: &OwnedFd, group: &ProgramGroup) -> Result<(), Fault> {
    group.join()?;
    join_namespaces(process)
}

fn join_namespaces(process: &OwnedFd) -> Result<(), Fault> {
    rustix::thread::move_into_thread_name_spaces(
        process.as_fd(),
        ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::CONTROL_GROUP,
    )
    .step("join the application's namespaces")
}

/// Detached mounts of the device nodes and files that the container gets from outside.
struct Outside {
    devices: Vec<(&'static str, OwnedFd)>,
    files: Vec<(&'static str, OwnedFd)>,
    boot_id: OwnedFd,
}

impl Outside {
    fn take(is_privileged: bool) -> Result<Self, Fault> {
        let mut devices = Vec::new();
        for name in DEVICES {
            devices.push((*name, clone_mount(&format!("/dev/{name}"))?));
        }
        if is_privileged && Path::new("/dev").join(FUSE_DEVICE).exists() {
            devices.push((FUSE_DEVICE, clone_mount(&format!("/dev/{FUSE_DEVICE}"))?));
        }
        let mut etc_files = Vec::new();
        for name in files::ETC_FILES {
            etc_files.push((*name, clone_mount(&files::path(name))?));
        }
        Ok(Self {
            devices,
            files: etc_files,
            boot_id: clone_mount(files::BOOT_ID)?,
        })
    }
}

fn clone_mount(path: &str) -> Result<OwnedFd, Fault> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    rustix::mount::open_tree(CWD, path, flags).step_with(|| format!("take {path} along"))
}

/// Makes the overlay the root and lets go of everything else (pivot_root(2), "pivot_root(".", ".")").
fn enter_root() -> Result<(), Fault> {
    let step = "enter the root";
    rustix::process::chdir(storage::ROOT).step(step)?;
    rustix::process::pivot_root(".", ".").step(step)?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step(step)?;
    rustix::process::chdir("/").step(step)
}

fn mount(kind: &'static str, target: &str, flags: MountFlags, data: &str) -> Result<(), Fault> {
    let step = || format!("mount {target} of the container");
    make_directory(target).step_with(step)?;
    let data = CString::new(data).unwrap_or_default();
    rustix::mount::mount(kind, target, kind, flags, data.as_c_str()).step_with(step)
}

/// A directory, or a link to one, at `path`.
fn make_directory(path: &str) -> io::Result<()> {
    if Path::new(path).is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)
}

/// Mounts one file over `target`, which is made when it is missing.
fn attach_file(tree: &OwnedFd, target: &str) -> Result<(), Fault> {
    let step = || format!("mount {target} of the container");
    make_file(target).step_with(step)?;
    rustix::mount::move_mount(
        tree,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
    .step_with(step)
}

fn make_file(target: &str) -> io::Result<()> {
    if fs::exists(target)? {
        return Ok(());
    }
    let make = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(target)
    };
    match make() {
        // A link into nowhere, as systemd leaves it for `/etc/resolv.conf`.
        Err(error) if error.kind() == io::ErrorKind::NotFound && Path::new(target).is_symlink() => {
            fs::remove_file(target)?;
            make()?;
        }
        made => drop(made?),
    }
    Ok(())
}

fn mount_files(outside: &Outside) -> Result<(), Fault> {
    make_directory("/etc").step("make /etc of the container")?;
    for (name, tree) in &outside.files {
        attach_file(tree, &format!("/etc/{name}"))?;
    }
    Ok(())
}

/// After `/proc/sys` was made read-only, which puts a mount of its own there.
fn mount_boot_id(outside: &Outside) -> Result<(), Fault> {
    attach_file(&outside.boot_id, files::KERNEL_BOOT_ID)?;
    remount_read_only(files::KERNEL_BOOT_ID)
}

fn make_read_only(path: &str) -> Result<(), Fault> {
    match rustix::mount::mount_bind_recursive(path, path) {
        Err(Errno::NOENT) => return Ok(()),
        bound => bound.step_with(|| format!("protect {path}"))?,
    }
    remount_read_only(path)
}

fn remount_read_only(path: &str) -> Result<(), Fault> {
    rustix::mount::mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | INERT, c"")
        .step_with(|| format!("protect {path}"))
}

fn mask(path: &str) -> Result<(), Fault> {
    let masked = match rustix::mount::mount_bind("/dev/null", path) {
        // A directory.
        Err(Errno::NOTDIR) => rustix::mount::mount(
            "tmpfs",
            path,
            "tmpfs",
            INERT | MountFlags::RDONLY,
            c"size=0",
        ),
        result => result,
    };
    match masked {
        Err(Errno::NOENT) => Ok(()),
        result => result.step_with(|| format!("hide {path}")),
    }
}
