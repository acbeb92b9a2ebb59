//! The application's root file system: read-only disks below, a writable one above, stacked by overlayfs.

use std::ffi::CString;
use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use hearth_wire::agent::{Refusal, RootSpec};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::bounds::refused;
use crate::fault::{Fault, Step};

/// Where the root is.
pub(crate) const ROOT: &str = "/run/hearth/root";

/// Where the disks are.
const DISKS: &str = "/run/hearth/disks";

/// Read-only disks of one root. Their paths have to fit the one page of overlayfs's mount options.
const MAX_LOWER: usize = 32;

/// How long the driver may take to register a disk after its module is loaded.
const DISK_DEADLINE: Duration = Duration::from_secs(2);

/// File systems of read-only disks, in the order in which they are tried. The journal of a sealed disk is
/// not replayed.
const READ_ONLY_KINDS: &[(&str, &str)] = &[("erofs", ""), ("ext4", "noload")];

/// A root that is mounted; it is unmounted again unless it is kept.
#[derive(Debug)]
pub(crate) struct Storage {
    /// What was mounted, in order.
    mounts: Vec<String>,
    is_kept: bool,
}

impl Storage {
    /// Mounts the root at [`ROOT`].
    pub(crate) fn mount(spec: &RootSpec) -> Result<Self, Refusal> {
        let mut storage = Self {
            mounts: Vec::new(),
            is_kept: false,
        };
        match spec {
            RootSpec::Disks { lower, upper } => storage.mount_disks(lower, upper.as_deref())?,
            // The agent's own files are below and cannot be written through the overlay.
            RootSpec::Initramfs => storage.mount_overlay("/", None)?,
        }
        Ok(storage)
    }

    /// Leaves the root mounted for the life of the machine.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }

    fn mount_disks(&mut self, lower: &[String], upper: Option<&str>) -> Result<(), Refusal> {
        if lower.is_empty() || lower.len() > MAX_LOWER {
            return Err(refused(format!(
                "a root has 1 to {MAX_LOWER} read-only disks"
            )));
        }
        let mut directories = Vec::new();
        for (index, serial) in lower.iter().enumerate() {
            let target = format!("{DISKS}/{index}");
            self.mount_read_only(serial, &target)?;
            directories.push(target);
        }
        Ok(self.mount_overlay(&directories.join(":"), upper)?)
    }

    fn mount_read_only(&mut self, serial: &str, target: &str) -> Result<(), Fault> {
        let device = find_disk(serial)?;
        let flags = MountFlags::RDONLY | MountFlags::NODEV | MountFlags::NOATIME;
        let mut reason = Errno::NODEV;
        for (kind, options) in READ_ONLY_KINDS {
            match self.mount_one(&device, target, kind, flags, options) {
                Ok(()) => return Ok(()),
                Err(fault) => reason = fault.errno,
            }
        }
        Err(Fault::new(format!("mount the disk {serial}"), reason))
    }

    /// Stacks the writable directory (a disk, or memory) on the read-only ones.
    fn mount_overlay(&mut self, lower: &str, upper: Option<&str>) -> Result<(), Fault> {
        let writable = format!("{DISKS}/upper");
        let flags = MountFlags::NODEV | MountFlags::NOATIME;
        match upper {
            Some(serial) => {
                let device = find_disk(serial)?;
                self.mount_one(&device, &writable, "ext4", flags, "")?;
            }
            None => self.mount_one("tmpfs", &writable, "tmpfs", flags, "mode=0755")?,
        }
        for name in ["upper", "work"] {
            let path = format!("{writable}/{name}");
            fs::create_dir_all(&path).step_with(|| format!("make {path}"))?;
        }
        let options = format!("lowerdir={lower},upperdir={writable}/upper,workdir={writable}/work");
        // Device nodes of an image are of no use: the container has those of its own `/dev`.
        self.mount_one("overlay", ROOT, "overlay", flags, &options)
    }

    fn mount_one(
        &mut self,
        source: &str,
        target: &str,
        kind: &str,
        flags: MountFlags,
        options: &str,
    ) -> Result<(), Fault> {
        let step = || format!("mount {target}");
        fs::create_dir_all(target).step_with(step)?;
        let options = CString::new(options)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
            .step_with(step)?;
        rustix::mount::mount(source, target, kind, flags, options.as_c_str()).step_with(step)?;
        self.mounts.push(target.to_owned());
        Ok(())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        for target in self.mounts.iter().rev() {
            // Detached: what still uses it keeps it until it ends.
            let _ = rustix::mount::unmount(target.as_str(), UnmountFlags::DETACH);
        }
    }
}

/// The device node of the disk with this serial number (virtio-blk, VIRTIO 1.3 section 5.2.6.1).
fn find_disk(serial: &str) -> Result<String, Fault> {
    let deadline = Instant::now() + DISK_DEADLINE;
    loop {
        if let Some(name) = disk_with_serial(Path::new("/sys/block"), serial) {
            return Ok(format!("/dev/{name}"));
        }
        if Instant::now() >= deadline {
            return Err(Fault::new(format!("find the disk {serial}"), Errno::NODEV));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn disk_with_serial(blocks: &Path, serial: &str) -> Option<String> {
    let entries = fs::read_dir(blocks).ok()?;
    entries.flatten().find_map(|entry| {
        let found = fs::read_to_string(entry.path().join("serial")).ok()?;
        (found.trim_end_matches(['\n', '\0']) == serial)
            .then(|| entry.file_name().to_string_lossy().into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_found_by_its_whole_serial() {
        let blocks = tempfile::tempdir().unwrap();
        for (name, serial) in [("vda", "base"), ("vdb", "layer1\n"), ("vdc", "layer10")] {
            fs::create_dir(blocks.path().join(name)).unwrap();
            fs::write(blocks.path().join(name).join("serial"), serial).unwrap();
        }
        fs::create_dir(blocks.path().join("loop0")).unwrap();
        let find = |serial| disk_with_serial(blocks.path(), serial);
        assert_eq!(find("layer1").as_deref(), Some("vdb"));
        assert_eq!(find("base").as_deref(), Some("vda"));
        assert_eq!(find("bas"), None);
    }
}
