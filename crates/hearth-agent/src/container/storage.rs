//! The application's root file system: read-only disks below, a writable one above, stacked by overlayfs.

use std::ffi::CString;
use std::fs;
use std::io;

use hearth_wire::agent::{
    FUNCTION_SCRATCH_BYTES, FunctionDisks, LowerDirectory, Refusal, RootSpec,
};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use crate::bounds::refused;
use crate::disks;
use crate::fault::{Fault, Step};
use crate::sys::ioctl;

/// Where the root is.
pub(crate) const ROOT: &str = "/run/hearth/root";

/// Directory of the mounted disks.
const DISKS: &str = "/run/hearth/disks";

/// Most read-only layers of one root; overlayfs allows 500.
const MAX_LOWER: usize = 128;

/// Most bytes of mount(2)'s options: one page, with the terminator.
const MAX_OPTION_BYTES: usize = 4095;

/// File systems of read-only disks, in the order in which they are tried. The journal of a sealed disk is
/// not replayed.
const READ_ONLY_KINDS: &[(&str, &str)] = &[("erofs", ""), ("ext4", "noload")];

/// Flags of the disks of functions.
const INERT: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Size of a block of `/tmp`, as the host makes the file system.
const EXT4_BLOCK_BYTES: u64 = 4096;

/// A mounted root. It is unmounted on drop, unless [`Storage::keep`] was called.
#[derive(Debug)]
pub(crate) struct Storage {
    /// Mount points, in the order of mounting.
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

    /// Mounts a runtime's disk as the root at [`ROOT`].
    pub(crate) fn mount_runtime(serial: &str) -> Result<Self, Fault> {
        let mut storage = Self {
            mounts: Vec::new(),
            is_kept: false,
        };
        storage.mount_inert(serial, ROOT)?;
        Ok(storage)
    }

    /// Mounts the disks of a function into the root of its runtime.
    pub(crate) fn mount_function(disks: &FunctionDisks) -> Result<Self, Fault> {
        let mut storage = Self {
            mounts: Vec::new(),
            is_kept: false,
        };
        storage.mount_inert(&disks.code, &format!("{ROOT}/var/task"))?;
        storage.mount_inert(&disks.layers, &format!("{ROOT}/opt"))?;
        let device = disks::find(&disks.scratch)?;
        let target = format!("{ROOT}/tmp");
        let flags = INERT | MountFlags::NOATIME;
        storage.mount_one(&device, &target, "ext4", flags, "")?;
        let step = "make /tmp as large as it may be";
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(&target, flags, Mode::empty()).step(step)?;
        if disks.scratch_bytes > FUNCTION_SCRATCH_BYTES {
            ioctl::resize_ext4(&directory, disks.scratch_bytes / EXT4_BLOCK_BYTES).step(step)?;
        }
        let everybody = Mode::RWXU | Mode::RWXG | Mode::RWXO | Mode::SVTX;
        rustix::fs::fchmod(&directory, everybody).step("let everybody write /tmp")?;
        Ok(storage)
    }

    /// Mounts a read-only disk on which no program gives rights and no device works.
    fn mount_inert(&mut self, serial: &str, target: &str) -> Result<(), Fault> {
        let device = disks::find(serial)?;
        let flags = INERT | MountFlags::RDONLY | MountFlags::NOATIME;
        self.mount_one(&device, target, "erofs", flags, "")
    }

    /// Leaves the root mounted for the lifetime of the machine.
    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }

    fn mount_disks(
        &mut self,
        lower: &[LowerDirectory],
        upper: Option<&str>,
    ) -> Result<(), Refusal> {
        if lower.is_empty() || lower.len() > MAX_LOWER {
            return Err(refused(format!(
                "a root has 1 to {MAX_LOWER} read-only layers"
            )));
        }
        let mut disks: Vec<&str> = Vec::new();
        let mut directories = Vec::new();
        for layer in lower {
            check_directory(&layer.directory)?;
            let index = match disks.iter().position(|serial| *serial == layer.serial) {
                Some(index) => index,
                None => {
                    self.mount_read_only(&layer.serial, &format!("{DISKS}/{}", disks.len()))?;
                    disks.push(&layer.serial);
                    disks.len() - 1
                }
            };
            directories.push(find_directory(
                &format!("{DISKS}/{index}"),
                &layer.directory,
            )?);
        }
        Ok(self.mount_overlay(&directories.join(":"), upper)?)
    }

    fn mount_read_only(&mut self, serial: &str, target: &str) -> Result<(), Fault> {
        let device = disks::find(serial)?;
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

    /// Mounts an overlay of the writable directory (a disk, or memory) over the read-only ones.
    fn mount_overlay(&mut self, lower: &str, upper: Option<&str>) -> Result<(), Fault> {
        let writable = format!("{DISKS}/upper");
        let flags = MountFlags::NODEV | MountFlags::NOATIME;
        match upper {
            Some(serial) => {
                let device = disks::find(serial)?;
                self.mount_one(&device, &writable, "ext4", flags, "")?;
            }
            None => self.mount_one("tmpfs", &writable, "tmpfs", flags, "mode=0755")?,
        }
        for name in ["upper", "work"] {
            let path = format!("{writable}/{name}");
            fs::create_dir_all(&path).step_with(|| format!("make {path}"))?;
        }
        let options = format!("lowerdir={lower},upperdir={writable}/upper,workdir={writable}/work");
        if options.len() > MAX_OPTION_BYTES {
            return Err(Fault::new("stack the layers of the root", Errno::TOOBIG));
        }
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

/// Checks the directory of a layer. It becomes part of overlayfs's options, where `:`, `,` and `\` have a meaning.
fn check_directory(directory: &str) -> Result<(), Refusal> {
    let is_plain = |name: &str| {
        !matches!(name, "" | "." | "..")
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if directory.is_empty() || directory.split('/').all(is_plain) {
        return Ok(());
    }
    Err(refused(format!("{directory:?} is no directory of a layer")))
}

/// The path of a directory on a mounted disk. The content of a disk is not trusted, so symbolic links are not followed
/// out of it.
fn find_directory(disk: &str, directory: &str) -> Result<String, Fault> {
    if directory.is_empty() {
        return Ok(disk.to_owned());
    }
    let step = || format!("find the layer {directory}");
    let kind = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::open(disk, kind, Mode::empty()).step_with(step)?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(top, directory, kind, Mode::empty(), inside).step_with(step)?;
    Ok(format!("{disk}/{directory}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_of_layers_are_plain() {
        for good in ["", "l0", "overlay/0a1b/diff", "a.b/c-d_e"] {
            assert!(check_directory(good).is_ok(), "{good}");
        }
        for bad in [
            "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a:b", "a,b", "a\\b", "a b", "ä",
        ] {
            assert!(check_directory(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_link_of_a_disk_is_followed() {
        let disk = tempfile::tempdir().unwrap();
        fs::create_dir_all(disk.path().join("a/b")).unwrap();
        std::os::unix::fs::symlink("a", disk.path().join("link")).unwrap();
        fs::write(disk.path().join("file"), "").unwrap();
        let path = disk.path().to_str().unwrap();
        assert_eq!(find_directory(path, "").unwrap(), path);
        assert_eq!(find_directory(path, "a/b").unwrap(), format!("{path}/a/b"));
        for (bad, errno) in [
            ("link", Errno::LOOP),
            ("link/b", Errno::LOOP),
            ("file", Errno::NOTDIR),
            ("c", Errno::NOENT),
        ] {
            assert_eq!(find_directory(path, bad).unwrap_err().errno, errno, "{bad}");
        }
    }
}
