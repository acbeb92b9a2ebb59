//! Small files with the identity of the machine. They are kept in memory and bind-mounted over their paths, in the
//! guest and in the container. After a restore the agent only rewrites them, without a mount or a fork.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::fault::{Fault, Step};

/// Directory of the files that the application sees and may write. It is a file system of bounded size.
pub(crate) const DIRECTORY: &str = "/run/hearth/files";

/// File with the boot id of guest and container. The application cannot write it.
pub(crate) const BOOT_ID: &str = "/run/hearth/boot_id";

/// The kernel's file with the boot id.
pub(crate) const KERNEL_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's file that gives a random UUID at each read.
const KERNEL_UUID: &str = "/proc/sys/kernel/random/uuid";

/// Files bound into the container's `/etc`.
pub(crate) const ETC_FILES: &[&str] = &["hostname", "hosts", "resolv.conf", "machine-id"];

/// Most bytes that are read back of a file that the application may have written.
const MAX_FILE_BYTES: usize = 64 << 10;

/// Mounts a file that the agent can rewrite over the kernel's boot id, which is fixed for a boot.
pub(crate) fn replace_boot_id() -> Result<(), Fault> {
    let step = "replace the boot id";
    let current = fs::read(KERNEL_BOOT_ID).step(step)?;
    fs::create_dir_all("/run/hearth").step(step)?;
    fs::write(BOOT_ID, current).step(step)?;
    rustix::mount::mount_bind(BOOT_ID, KERNEL_BOOT_ID).step(step)
}

/// Writes a new boot id for the guest and the container.
pub(crate) fn renew_boot_id() -> Result<(), Fault> {
    let step = "renew the boot id";
    let fresh = fs::read(KERNEL_UUID).step(step)?;
    rewrite(BOOT_ID, &fresh).step(step)
}

/// Creates the container's files.
pub(crate) fn create(hostname: &str) -> Result<(), Fault> {
    let step = "make the container's files";
    fs::create_dir_all(DIRECTORY).step(step)?;
    if fs::exists(path("hostname")).step(step)? {
        // A start that failed later on left them.
        rustix::mount::unmount(DIRECTORY, UnmountFlags::DETACH).step(step)?;
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", DIRECTORY, "tmpfs", flags, c"mode=0755,size=1m").step(step)?;
    let nameservers = fs::read("/etc/resolv.conf").unwrap_or_default();
    let machine_id = fs::read("/etc/machine-id").unwrap_or_default();
    write_new("hostname", format!("{hostname}\n").as_bytes()).step(step)?;
    write_new("hosts", hosts(hostname).as_bytes()).step(step)?;
    write_new("resolv.conf", &nameservers).step(step)?;
    write_new("machine-id", &machine_id).step(step)
}

/// Writes the new host name and machine id to the container's files.
pub(crate) fn rename(hostname: &str, machine_id: &str) -> Result<(), Fault> {
    if !fs::exists(path("hostname")).unwrap_or(false) {
        return Ok(());
    }
    let old = fs::read_to_string(path("hostname")).unwrap_or_default();
    let known = fs::read(path("hosts")).step("read the container's hosts")?;
    // The application may have added lines of its own.
    if known.len() <= MAX_FILE_BYTES
        && let Ok(known) = std::str::from_utf8(&known)
    {
        let renamed = rename_in_hosts(known, old.trim_end(), hostname);
        rewrite(&path("hosts"), renamed.as_bytes()).step("write the container's hosts")?;
    }
    rewrite(&path("hostname"), format!("{hostname}\n").as_bytes())
        .step("write the container's host name")?;
    rewrite(&path("machine-id"), format!("{machine_id}\n").as_bytes())
        .step("write the container's machine id")
}

/// The path of a file of the container.
pub(crate) fn path(name: &str) -> String {
    format!("{DIRECTORY}/{name}")
}

/// Writes a file of the guest itself.
pub(crate) fn write_own(path: &'static str, content: &str) -> Result<(), Fault> {
    fs::write(path, content).step_with(|| format!("write {path}"))
}

fn hosts(hostname: &str) -> String {
    format!(
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{}",
        own_line(hostname)
    )
}

/// The line of the hosts file for the machine's own name. The name gets an address of its own, as in Debian, so that it
/// resolves without a network.
fn own_line(hostname: &str) -> String {
    format!("127.0.1.1\t{hostname}\n")
}

fn rename_in_hosts(text: &str, old: &str, new: &str) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            if line == own_line(old) {
                own_line(new)
            } else {
                line.to_owned()
            }
        })
        .collect()
}

fn write_new(name: &str, content: &[u8]) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(path(name))?;
    io::Write::write_all(&mut &file, content)
}

/// Rewrites a file in place: a bind mount shows the inode, so a rename would not be seen.
fn rewrite(path: &str, content: &[u8]) -> io::Result<()> {
    let file = fs::OpenOptions::new()
        .write(true)
        .truncate(true)
        .open(path)?;
    io::Write::write_all(&mut &file, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_machines_own_line_is_renamed() {
        let text = format!("{}10.0.0.1\told\n", hosts("old"));
        let renamed = rename_in_hosts(&text, "old", "new");
        assert_eq!(renamed, format!("{}10.0.0.1\told\n", hosts("new")));
    }
}
