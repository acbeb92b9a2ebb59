//! Gives the process a root directory of its own: a read-only tree with nothing but the permitted paths, each in its
//! place.
//!
//! ```text
//! own mount namespace -> tmpfs at the mount point -> bind each path, with the least rights -> read-only -> pivot_root
//! ```
//!
//! Nothing has to be undone: the mount namespace goes with the process. The tree contains no devices and no `/proc`;
//! the files that are needed of these are opened before (`open_early.rs`).

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, mount_move,
    mount_remount, unmount,
};
use rustix::process::{chdir, chroot, pivot_root, umask};

use super::SandboxError;

/// Mount flags that every mount of the tree has.
const HARMLESS: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Options of the tree's tmpfs. The tree holds only directories and empty files as mount points.
const TREE: &CStr = c"mode=0755,size=256k,nr_inodes=1024";

/// Whether the process may only read a path, or also write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Change,
}

/// Builds the tree at `mount_point`, an empty directory, and makes it the root. The caller must be root and have one
/// thread only.
pub(super) fn enter(
    mount_point: &Path,
    readable: &[PathBuf],
    writable: &[PathBuf],
) -> Result<(), SandboxError> {
    // SAFETY: changes which mounts this thread sees; no memory is involved.
    let unshared = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    if unshared != 0 {
        return Err(SandboxError::Root(
            "leave the host's mount namespace",
            mount_point.to_owned(),
            io::Error::last_os_error(),
        ));
    }
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).map_err(failed("keep mounts to itself at", Path::new("/")))?;
    mount("hearth", mount_point, "tmpfs", HARMLESS, TREE)
        .map_err(failed("mount an empty tree at", mount_point))?;
    // The way to each path is open to the user that this process becomes.
    let before = umask(Mode::WGRP | Mode::WOTH);
    for (path, access) in outermost(readable, writable) {
        let inside = below(mount_point, path);
        prepare(path, &inside).map_err(|error| failed("make room for", path)(error))?;
        mount_bind(path, &inside).map_err(failed("bind", path))?;
        let flags = match access {
            Access::Read => HARMLESS | MountFlags::RDONLY,
            Access::Change => HARMLESS,
        };
        mount_remount(&inside, MountFlags::BIND | flags, c"")
            .map_err(failed("take rights away from", path))?;
    }
    umask(before);
    mount_remount(mount_point, HARMLESS | MountFlags::RDONLY, TREE)
        .map_err(failed("make read-only", mount_point))?;
    chdir(mount_point).map_err(failed("go to", mount_point))?;
    become_root().map_err(failed("make the root of", mount_point))?;
    chdir("/").map_err(failed("go to", Path::new("/")))
}

/// Makes the working directory, which must be a mount point, the root, and unmounts the old root.
fn become_root() -> Result<(), Errno> {
    // Both are the same directory: the old root lies over the new one, and is taken off (pivot_root(2), Notes).
    match pivot_root(".", ".") {
        // A host that runs in its initial ramdisk, as the emulated one does, cannot part with it. It is covered, and left: without
        // capabilities and descriptors of directories there is no way back.
        Err(Errno::INVAL) => {
            mount_move(".", "/")?;
            chroot(".")
        }
        pivoted => {
            pivoted?;
            unmount(".", UnmountFlags::DETACH)
        }
    }
}

/// The paths that are not inside another of the paths: a mounted directory brings its content along.
fn outermost<'a>(readable: &'a [PathBuf], writable: &'a [PathBuf]) -> BTreeMap<&'a Path, Access> {
    let all = readable.iter().map(|path| (path.as_path(), Access::Read));
    let all = all.chain(writable.iter().map(|path| (path.as_path(), Access::Change)));
    let all: BTreeMap<&Path, Access> = all.collect();
    let lies_within = |path: &Path| {
        path.ancestors()
            .skip(1)
            .any(|above| all.contains_key(above))
    };
    let outermost = all.iter().filter(|(path, _)| !lies_within(path));
    outermost.map(|(path, access)| (*path, *access)).collect()
}

fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// Creates the mount point of a path: a directory or an empty file.
fn prepare(path: &Path, inside: &Path) -> io::Result<()> {
    if fs::metadata(path)?.is_dir() {
        return fs::create_dir_all(inside);
    }
    if let Some(parent) = inside.parent() {
        fs::create_dir_all(parent)?;
    }
    File::create(inside).map(drop)
}

fn failed<E: Into<io::Error>>(step: &'static str, path: &Path) -> impl FnOnce(E) -> SandboxError {
    move |error| SandboxError::Root(step, path.to_owned(), error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_a_directory_is_not_mounted_again() {
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let (readable, writable) = (
            paths(&["/d/s/1", "/d/s/1/disk", "/d/s/10", "/d/k"]),
            paths(&["/d/m"]),
        );
        let found: Vec<_> = outermost(&readable, &writable).into_iter().collect();
        let expected = [
            ("/d/k", Access::Read),
            ("/d/m", Access::Change),
            ("/d/s/1", Access::Read),
            ("/d/s/10", Access::Read),
        ];
        assert_eq!(
            found,
            expected.map(|(path, access)| (Path::new(path), access))
        );
    }
}
