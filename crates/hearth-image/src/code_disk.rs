//! Disks with the code and the layers of functions, made from their zips and kept for the next environment.
//!
//! ```text
//! <directory>/<digest>.erofs             of one list of zips, which lie one above the other
//!             <digest>.erofs.<number>    unfinished
//! ```
//!
//! A disk is read-only, has the permissions, links and times of its zips, and belongs to root. Of two files with one
//! path the later zip's counts. Equal zips give equal disks, so a disk is named by the digests of its zips. Disks that
//! no environment uses go when all together are too large.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hearth_zip::{Archive, ArchiveError, ArchiveLimits, Member, MemberKind};

use crate::erofs::{self, Attributes, Item, PathError, Tree, WriteError};

/// End of the names of disks.
const ENDING: &str = ".erofs";

/// Time of directories that no zip names: 1980-01-01, the earliest that a zip can say.
const MODIFIED: u64 = 315_532_800;

/// Permissions of directories that no zip names.
const DIRECTORY: u16 = 0o755;

/// A zip of a function: its code, or a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeZip {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, as whoever stored it has computed it.
    pub sha256: [u8; 32],
}

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum CodeDiskError {
    /// A zip cannot be read, or is refused.
    #[error(transparent)]
    Zip(#[from] ArchiveError),
    /// All zips together are too large.
    #[error("code and layers are larger than {} MiB when unpacked", limit >> 20)]
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// A name that cannot be on a disk.
    #[error("{0}")]
    Name(String),
    /// The zip is not the one that it was.
    #[error("a file of the zip does not have the size that the zip says")]
    Changed,
    /// A file of this host cannot be used.
    #[error("cannot {step} ({path})")]
    Io {
        /// The step that failed.
        step: &'static str,
        /// Its file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl CodeDiskError {
    /// Whether the zips are to blame, and not this host.
    #[must_use]
    pub fn is_of_the_code(&self) -> bool {
        match self {
            Self::Zip(error) => !matches!(error, ArchiveError::Read(_) | ArchiveError::Sink(_)),
            Self::TooLarge { .. } | Self::Name(_) | Self::Changed => true,
            Self::Io { .. } => false,
        }
    }
}

/// The disks of this host.
#[derive(Debug)]
pub struct CodeDisks {
    directory: PathBuf,
    /// What each zip may be. `content_bytes` is the limit of one list of zips.
    limits: ArchiveLimits,
    /// Bytes that all disks may take together, beside those that are used.
    kept_bytes: u64,
    next: AtomicU64,
}

impl CodeDisks {
    /// The disks in `directory`, which is made if it is missing. Unfinished ones of an earlier process are removed.
    /// Blocks.
    ///
    /// # Errors
    ///
    /// The directory cannot be used.
    pub fn open(
        directory: PathBuf,
        limits: ArchiveLimits,
        kept_bytes: u64,
    ) -> Result<Self, CodeDiskError> {
        fs::create_dir_all(&directory).map_err(failed("make the directory", &directory))?;
        for entry in fs::read_dir(&directory).map_err(failed("read", &directory))? {
            let path = entry.map_err(failed("read", &directory))?.path();
            if path.extension().is_none_or(|ending| ending != "erofs") {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(Self {
            directory,
            limits,
            kept_bytes,
            next: AtomicU64::new(0),
        })
    }

    /// The disk with the content of these zips, the first at the bottom. Without zips it is empty. It is made if it is
    /// missing. Blocks.
    ///
    /// # Errors
    ///
    /// A zip is refused, or this host has no room for the disk.
    pub fn make(&self, zips: &[CodeZip]) -> Result<PathBuf, CodeDiskError> {
        let path = self.directory.join(format!("{}{ENDING}", name_of(zips)));
        if let Ok(file) = File::options().write(true).open(&path) {
            // It was used just now; see `remove_unused`.
            let _ = file.set_modified(SystemTime::now());
            return Ok(path);
        }
        let archives: Vec<Archive> = zips
            .iter()
            .map(|zip| Archive::open(&zip.path, &self.limits))
            .collect::<Result<_, _>>()?;
        let tree = self.tree(&archives)?;
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let unfinished = self
            .directory
            .join(format!("{}{ENDING}.{number}", name_of(zips)));
        let written = write(&tree, &archives, &unfinished)
            .and_then(|()| fs::rename(&unfinished, &path).map_err(failed("rename", &unfinished)));
        written.inspect_err(|_| {
            // Of a full disk the part that was written is of no use.
            let _ = fs::remove_file(&unfinished);
        })?;
        Ok(path)
    }

    fn tree(&self, archives: &[Archive]) -> Result<Tree<Content>, CodeDiskError> {
        let missing = Attributes::of_root(DIRECTORY, MODIFIED);
        let mut tree = Tree::new(missing);
        let limit = self.limits.content_bytes;
        let bytes: u64 = archives.iter().map(Archive::content_bytes).sum();
        if bytes > limit {
            return Err(CodeDiskError::TooLarge { limit });
        }
        for (zip, archive) in archives.iter().enumerate() {
            for member in archive.members() {
                let member = member?;
                let item = item_of(&member, zip);
                let put = tree.put(member.name.as_bytes(), item, missing);
                put.map_err(|error: PathError| CodeDiskError::Name(error.to_string()))?;
            }
        }
        Ok(tree)
    }

    /// Removes the disks that were not used for the longest time, until all that are not used take no more than they
    /// may. Blocks.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub fn remove_unused(&self, is_used: impl Fn(&Path) -> bool) -> Result<(), CodeDiskError> {
        let mut unused = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(failed("read", &self.directory))? {
            let path = entry.map_err(failed("read", &self.directory))?.path();
            let is_disk = path.extension().is_some_and(|ending| ending == "erofs");
            // One that was removed meanwhile takes nothing.
            if let Ok(found) = fs::metadata(&path)
                && is_disk
                && !is_used(&path)
            {
                let used_at = found.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                unused.push((used_at, found.len(), path));
            }
        }
        unused.sort_unstable_by(|a, b| b.cmp(a));
        let mut kept = 0;
        for (_, bytes, path) in unused {
            kept += bytes;
            if kept > self.kept_bytes {
                fs::remove_file(&path).map_err(failed("remove", &path))?;
            }
        }
        Ok(())
    }
}

/// A file's content: which zip, and which file in it.
type Content = (usize, usize);

fn item_of(member: &Member<'_>, zip: usize) -> Item<Content> {
    let attributes = Attributes::of_root((member.permissions & 0o777) as u16, member.modified);
    match &member.kind {
        MemberKind::Directory => Item::empty(attributes),
        MemberKind::Link(target) => Item::Link {
            attributes: Attributes::of_root(0o777, member.modified),
            target: target.as_bytes().to_vec(),
        },
        MemberKind::File { index, bytes } => Item::File {
            attributes,
            bytes: *bytes,
            content: (zip, *index),
        },
    }
}

fn write(tree: &Tree<Content>, archives: &[Archive], path: &Path) -> Result<(), CodeDiskError> {
    let file = File::create(path).map_err(failed("create", path))?;
    let mut sink = BufWriter::with_capacity(1 << 20, &file);
    let written = erofs::write(tree, &mut sink, |(zip, file), sink| {
        archives[*zip].copy_file(*file, sink)
    });
    written.map_err(|error| match error {
        WriteError::Content(error) => CodeDiskError::Zip(error),
        WriteError::Length { .. } => CodeDiskError::Changed,
        WriteError::TooLarge => CodeDiskError::Name(error.to_string()),
        WriteError::Sink(source) => failed("write", path)(source),
    })?;
    let finished = sink.flush().and_then(|()| file.sync_all());
    finished.map_err(failed("write", path))
}

/// The name of the disk of these zips. Version 1 of the layout is part of it.
fn name_of(zips: &[CodeZip]) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(b"1");
    for zip in zips {
        digest.update(&zip.sha256);
    }
    digest.finalize().to_hex()[..32].to_owned()
}

fn failed(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CodeDiskError {
    let path = path.to_owned();
    move |source| CodeDiskError::Io { step, path, source }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn zip(directory: &Path, name: &str, files: &[(&str, u32, &[u8])]) -> CodeZip {
        let mut archive = rawzip::ZipArchiveWriter::new(Vec::new());
        for (name, mode, content) in files {
            let file = archive.new_file(*name).unix_permissions(*mode);
            let (mut entry, config) = file.start().unwrap();
            let mut writer = config.wrap(&mut entry);
            io::Write::write_all(&mut writer, content).unwrap();
            let (_, descriptor) = writer.finish().unwrap();
            entry.finish(descriptor).unwrap();
        }
        let bytes = archive.finish().unwrap();
        let path = directory.join(name);
        fs::write(&path, &bytes).unwrap();
        CodeZip {
            path,
            // Any digest tells them apart.
            sha256: *blake3::hash(&bytes).as_bytes(),
        }
    }

    fn disks(directory: &Path, kept_bytes: u64) -> CodeDisks {
        let limits = ArchiveLimits {
            content_bytes: 1 << 20,
            ..ArchiveLimits::default()
        };
        CodeDisks::open(directory.join("disks"), limits, kept_bytes).unwrap()
    }

    fn contains(path: &Path, wanted: &[u8]) -> bool {
        let mut bytes = Vec::new();
        File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    }

    #[test]
    fn the_later_zip_counts_and_a_disk_is_made_once() {
        let scratch = tempfile::tempdir().unwrap();
        let first = zip(
            scratch.path(),
            "1",
            &[("a", 0o100_644, b"first a"), ("b", 0o100_755, b"first b")],
        );
        let second = zip(scratch.path(), "2", &[("a", 0o100_644, b"second a")]);
        let disks = disks(scratch.path(), 1 << 30);
        let made = disks.make(&[first.clone(), second.clone()]).unwrap();
        assert!(contains(&made, b"second a") && contains(&made, b"first b"));
        assert!(!contains(&made, b"first a"));
        let turned = disks.make(&[second.clone(), first.clone()]).unwrap();
        assert!(contains(&turned, b"first a") && turned != made);
        let before = fs::read(&made).unwrap();
        fs::remove_file(&first.path).unwrap();
        assert_eq!(disks.make(&[first, second]).unwrap(), made);
        assert_eq!(fs::read(&made).unwrap(), before);
        assert!(disks.make(&[]).unwrap().is_file());
    }

    #[test]
    fn what_is_no_zip_or_too_large_leaves_nothing() {
        let scratch = tempfile::tempdir().unwrap();
        let disks = disks(scratch.path(), 1 << 30);
        let large = vec![b'x'; 700 << 10];
        let large = [("large", 0o100_644, large.as_slice())];
        let zips = [
            zip(scratch.path(), "1", &large),
            zip(scratch.path(), "2", &large),
        ];
        assert!(disks.make(&zips[..1]).is_ok());
        let error = disks.make(&zips).unwrap_err();
        assert!(matches!(error, CodeDiskError::TooLarge { .. }) && error.is_of_the_code());
        let none = CodeZip {
            path: scratch.path().join("none"),
            sha256: [1; 32],
        };
        assert!(
            !disks
                .make(std::slice::from_ref(&none))
                .unwrap_err()
                .is_of_the_code()
        );
        fs::write(&none.path, "no zip").unwrap();
        assert!(disks.make(&[none]).unwrap_err().is_of_the_code());
        assert_eq!(
            fs::read_dir(scratch.path().join("disks")).unwrap().count(),
            1
        );
    }

    #[test]
    fn what_is_not_used_goes_when_there_is_too_much() {
        let scratch = tempfile::tempdir().unwrap();
        let roomy = disks(scratch.path(), 1 << 20);
        let make = |name: &str| {
            let made = roomy.make(&[zip(scratch.path(), name, &[(name, 0o100_644, b"x")])]);
            made.unwrap()
        };
        let [old, used, new] = ["old", "used", "new"].map(make);
        for (path, seconds) in [(&old, 1), (&used, 0), (&new, 2)] {
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        }
        let room_for_one = disks(scratch.path(), fs::metadata(&new).unwrap().len());
        room_for_one.remove_unused(|path| path == used).unwrap();
        assert!(used.exists());
        room_for_one.remove_unused(|_| false).unwrap();
        assert!(new.exists() && !old.exists() && !used.exists());
    }
}
