//! Small files that say who the machine is. They lie in memory and are bound over their places, in the
//! guest and in the container; after a restore the agent only rewrites them, without a mount or a fork.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::fault::{Fault, Step};

/// Files that the application sees and may write: as much of this file system as it likes, and no more.
pub(crate) const DIRECTORY: &str = "/run/hearth/files";

/// The boot identity of guest and container; the application cannot write it.
pub(crate) const BOOT_ID: &str = "/run/hearth/boot_id";

/// Where the kernel shows the boot identity.
pub(crate) const KERNEL_BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Where the kernel makes random identities.
const KERNEL_UUID: &str = "/proc/sys/kernel/random/uuid";

/// Files bound into the container's `/etc`.
pub(crate) const ETC_FILES: &[&str] = &["hostname", "hosts", "resolv.conf", "machine-id"];

/// What is read back of a file that the application may have written.
const MAX_FILE_BYTES: usize = 64 << 10;

/// Replaces the kernel's boot identity, which is fixed for a boot, by a file that the agent can rewrite.
pub(crate) fn replace_boot_id() -> Result<(), Fault> {
    let step = "replace the boot id";
    let current = fs::read(KERNEL_BOOT_ID).step(step)?;
    fs::create_dir_all("/run/hearth").step(step)?;
    fs::write(BOOT_ID, current).step(step)?;
    rustix::mount::mount_bind(BOOT_ID, KERNEL_BOOT_ID).step(step)
}

/// Gives the guest and the container a new boot identity.
pub(crate) fn renew_boot_id() -> Result<(), Fault> {
    let step = "renew the boot id";
    let fresh = fs::read(KERNEL_UUID).step(step)?;
    rewrite(BOOT_ID, &fresh).step(step)
}

/// Makes the container's files.
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

/// Tells the container's files the new host name and machine id.
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

/// The line that names the machine; an address of its own, as Debian does it, so that the name resolves
/// without a network.
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

/// Writes the same file anew: binds show the file and not its name.
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
