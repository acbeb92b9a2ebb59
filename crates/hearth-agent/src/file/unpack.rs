//! Unpacks a tar archive into a directory, while the application may change it.
//!
//! Nothing is created outside the directory: `..` is refused, and no name leads through a symbolic link, whether the
//! archive or the application made it. Files and links are created under temporary names and renamed. Existing entries
//! are replaced, but no directory by a file. Entries that were unpacked before a failure stay.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use hearth_wire::agent::Refusal;
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, Timespec, Timestamps};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use super::new_file::{NewFile, with_temporary};
use super::owner::{DIRECTORY_MODE, Owner};
use super::sparse::{self, PaxSparse};
use crate::bounds::refused;
use crate::fault::Step;

/// Unpacks everything and makes it durable.
///
/// New entries belong to `owner`, whatever the archive says: its user ids are those of the machine that packed it.
pub(super) fn receive(archive: impl Read, top: &OwnedFd, owner: Owner) -> Result<(), Refusal> {
    let mut archive = Archive::new(archive);
    let unreadable =
        |error: std::io::Error| refused(format!("the archive cannot be read: {error}"));
    for entry in archive.entries().map_err(unreadable)? {
        unpack(top, owner, entry.map_err(unreadable)?)?;
    }
    rustix::fs::syncfs(top).step("sync the files")?;
    Ok(())
}

fn unpack(top: &OwnedFd, owner: Owner, mut entry: Entry<'_, impl Read>) -> Result<(), Refusal> {
    let sparse = PaxSparse::of(&mut entry)?;
    let path = match &sparse {
        Some(sparse) => sparse.name.clone(),
        None => entry.path_bytes().into_owned(),
    };
    let names = names(&path)?;
    let Some((name, parents)) = names.split_last() else {
        // The top itself, which is there and stays as it is.
        return Ok(());
    };
    let header = entry.header();
    let mode = header.mode().unwrap_or(0o644);
    let mtime_s = header.mtime().unwrap_or_default();
    match header.entry_type() {
        EntryType::Directory => {
            let directory = descend(top, &names, Some(owner))?;
            set_mode(&directory, mode)?;
            Ok(())
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            sparse::check_size(&path, entry.size())?;
            let parent = descend(top, parents, Some(owner))?;
            let text = name
                .to_str()
                .ok_or_else(|| refused("a name is not UTF-8"))?;
            let mut file = NewFile::in_directory(parent, text, mode, owner)?;
            write(&mut entry, sparse.as_ref(), &mut file.file)
                .map_err(|error| broken(&path, &error))?;
            rustix::fs::futimens(&file.file, &times(mtime_s)).step("set the file's time")?;
            Ok(file.rename()?)
        }
        EntryType::Symlink => {
            let target = entry.link_name_bytes().unwrap_or_default();
            let target = Path::new(OsStr::from_bytes(&target));
            let parent = descend(top, parents, Some(owner))?;
            put_link(&parent, name, |new| {
                rustix::fs::symlinkat(target, &parent, new)?;
                owner.take_named(&parent, new)
            })
        }
        EntryType::Link => {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            let target = self::names(&target)?;
            let (target, target_parents) = target
                .split_last()
                .ok_or_else(|| refused("a hard link leads to the top"))?;
            let source = descend(top, target_parents, None)?;
            let parent = descend(top, parents, Some(owner))?;
            put_link(&parent, name, |new| {
                rustix::fs::linkat(&source, *target, &parent, new, AtFlags::empty())
            })
        }
        // Of all entries; there is nothing in it that we take.
        EntryType::XGlobalHeader => Ok(()),
        other => {
            let path = String::from_utf8_lossy(&path);
            Err(refused(format!(
                "{path} is neither file, directory nor link ({other:?})"
            )))
        }
    }
}

/// Writes the content of a file.
fn write(
    entry: &mut Entry<'_, impl Read>,
    sparse: Option<&PaxSparse>,
    file: &mut File,
) -> std::io::Result<()> {
    let Some(sparse) = sparse else {
        let copied = sparse::copy(entry, file)?;
        return match copied == entry.size() {
            true => Ok(()),
            false => Err(std::io::ErrorKind::UnexpectedEof.into()),
        };
    };
    sparse.write(entry, file)
}

/// The names that lead to an entry, from the top.
fn names(path: &[u8]) -> Result<Vec<&OsStr>, Refusal> {
    let path = Path::new(OsStr::from_bytes(path));
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            // As `tar` does: what is absolute begins at the top.
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(refused(format!(
                    "{} leads out of the directory",
                    path.display()
                )));
            }
        }
    }
    Ok(names)
}

/// Opens the directory at the end of these names. Missing ones are created with `owner`, if that is given.
fn descend(top: &OwnedFd, names: &[&OsStr], owner: Option<Owner>) -> Result<OwnedFd, Refusal> {
    let mut directory = top.try_clone().step("open the directory")?;
    for name in names {
        let mut opened = enter(&directory, name);
        if let Some(owner) = owner
            && opened.as_ref().is_err_and(|errno| *errno == Errno::NOENT)
        {
            let made = rustix::fs::mkdirat(&directory, *name, DIRECTORY_MODE);
            opened = enter(&directory, name);
            match made {
                Ok(()) => {
                    if let Ok(new) = &opened {
                        owner
                            .take(new)
                            .step_with(|| format!("make {}", name.display()))?;
                    }
                }
                // Somebody else was faster.
                Err(Errno::EXIST) => {}
                Err(errno) => Err(errno).step_with(|| format!("make {}", name.display()))?,
            }
        }
        directory = match opened {
            Ok(opened) => opened,
            Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => {
                return Err(refused(format!("{} is not a directory", name.display())));
            }
            Err(errno) => Err(errno).step_with(|| format!("open {}", name.display()))?,
        };
    }
    Ok(directory)
}

fn enter(directory: &OwnedFd, name: &OsStr) -> Result<OwnedFd, Errno> {
    rustix::fs::openat2(
        directory,
        name,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS,
    )
}

/// Creates a link under a temporary name and renames it into place.
fn put_link(
    parent: &OwnedFd,
    name: &OsStr,
    make: impl Fn(&str) -> Result<(), Errno>,
) -> Result<(), Refusal> {
    let (new, ()) = with_temporary(make).step_with(|| format!("link {}", name.display()))?;
    let renamed = rustix::fs::renameat(parent, &new, parent, name);
    // It is still there when renaming failed, or when both names already were the same file.
    let _ = rustix::fs::unlinkat(parent, &new, AtFlags::empty());
    renamed.step_with(|| format!("link {}", name.display()))?;
    Ok(())
}

fn set_mode(directory: impl AsFd, mode: u32) -> Result<(), Refusal> {
    let mode = Mode::from_raw_mode(mode & 0o7777);
    Ok(rustix::fs::fchmod(directory, mode).step("set the directory's permissions")?)
}

fn times(mtime_s: u64) -> Timestamps {
    let modified = Timespec {
        tv_sec: i64::try_from(mtime_s).unwrap_or_default(),
        tv_nsec: 0,
    };
    Timestamps {
        last_access: modified,
        last_modification: modified,
    }
}

/// Either the archive ended too early, or the file could not be written.
fn broken(path: &[u8], error: &std::io::Error) -> Refusal {
    refused(format!("{}: {error}", String::from_utf8_lossy(path)))
}

#[cfg(test)]
mod tests;
