//! Zips of functions and layers: files that are named by the digest of their bytes.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hearth_zip::{Archive, ArchiveError, ArchiveLimits};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{CodeError, FunctionError};
use crate::limits::FunctionLimits;

/// How many digits of a digest give the directory.
const SPREAD_DIGITS: usize = 2;

/// Where zips arrive.
const ARRIVING: &str = "arriving";

/// Bytes that are copied at a time.
const COPY_BYTES: usize = 128 << 10;

/// Most files, directories and links of a zip: what fits into the largest one with contents of a kilobyte each.
const MAX_ENTRIES: usize = 250_000;

/// Longest path in a zip, in bytes.
const MAX_NAME_BYTES: usize = 1024;

/// A zip on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodeFile {
    /// The file. It is never changed.
    pub path: PathBuf,
    /// The SHA-256 of its bytes: lower-case hex.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A zip that is stored, and that no record refers to yet. It stays at least as long as this value.
#[derive(Debug)]
pub struct NewCode {
    pub(crate) sha256: String,
    pub(crate) bytes: u64,
    pub(crate) unzipped_bytes: u64,
    _arriving: Arriving,
}

/// The directory of zips.
#[derive(Debug)]
pub(crate) struct Codes {
    directory: PathBuf,
    /// Digests of zips that are about to get a record, with the number of requests that bring them.
    arriving: Arc<Mutex<HashMap<String, usize>>>,
}

/// Keeps a zip while its record is written.
#[derive(Debug)]
struct Arriving {
    sha256: String,
    all: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Arriving {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.sha256) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.sha256);
            }
        }
    }
}

impl Codes {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory.join(ARRIVING))?;
        // What a crash has left behind.
        for file in fs::read_dir(directory.join(ARRIVING))? {
            fs::remove_file(file?.path())?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            arriving: Arc::default(),
        })
    }

    pub(crate) fn file(&self, sha256: &str, bytes: u64) -> CodeFile {
        CodeFile {
            path: self.path(sha256),
            sha256: sha256.to_owned(),
            bytes,
        }
    }

    fn path(&self, sha256: &str) -> PathBuf {
        let spread = sha256.get(..SPREAD_DIGITS).unwrap_or_default();
        self.directory.join(spread).join(sha256)
    }

    /// Stores a zip of at most `max_bytes`, and judges it before it gets its name.
    pub(crate) fn receive(
        &self,
        source: &mut dyn Read,
        max_bytes: u64,
        limits: &FunctionLimits,
    ) -> Result<NewCode, CodeError> {
        let arrived = ArrivedFile(
            self.directory
                .join(ARRIVING)
                .join(Uuid::new_v4().to_string()),
        );
        let mut open = OpenOptions::new();
        open.read(true).write(true).create_new(true).mode(0o600);
        let mut file = open.open(&arrived.0)?;
        let (sha256, bytes) = copy(source, &mut file, max_bytes)?;
        let unzipped_bytes = judge(file.try_clone()?, bytes, limits)?;
        file.sync_all()?;
        let arriving = self.arrive(&sha256);
        let path = self.path(&sha256);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
            fs::rename(&arrived.0, &path)?;
            File::open(parent)?.sync_all()?;
        }
        Ok(NewCode {
            sha256,
            bytes,
            unzipped_bytes,
            _arriving: arriving,
        })
    }

    fn arrive(&self, sha256: &str) -> Arriving {
        *self.arriving().entry(sha256.to_owned()).or_default() += 1;
        Arriving {
            sha256: sha256.to_owned(),
            all: Arc::clone(&self.arriving),
        }
    }

    /// Removes a zip, unless a record refers to it or is about to.
    pub(crate) fn forget(
        &self,
        sha256: &str,
        is_used: impl FnOnce() -> Result<bool, FunctionError>,
    ) -> Result<(), FunctionError> {
        // Locked to the end: a zip that arrives meanwhile gets its name again afterwards.
        let arriving = self.arriving();
        if arriving.contains_key(sha256) || is_used()? {
            return Ok(());
        }
        match fs::remove_file(self.path(sha256)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The digests of all zips that lie here.
    pub(crate) fn all(&self) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        for spread in fs::read_dir(&self.directory)? {
            let spread = spread?;
            if spread.file_name() == ARRIVING || !spread.file_type()?.is_dir() {
                continue;
            }
            for file in fs::read_dir(spread.path())? {
                let name = file?.file_name();
                let name = name.to_str().filter(|name| is_digest(name));
                all.extend(name.map(str::to_owned));
            }
        }
        Ok(all)
    }

    fn arriving(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.arriving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A file that arrives. It is removed if it did not get another name.
struct ArrivedFile(PathBuf);

impl Drop for ArrivedFile {
    fn drop(&mut self) {
        // It is gone if it was renamed. What cannot be removed now goes at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

fn copy(source: &mut dyn Read, file: &mut File, max: u64) -> Result<(String, u64), CodeError> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; COPY_BYTES];
    let mut bytes = 0;
    loop {
        let length = source.read(&mut buffer).map_err(CodeError::Source)?;
        if length == 0 {
            return Ok((hex(&digest.finalize()), bytes));
        }
        let part = &buffer[..length];
        bytes += part.len() as u64;
        if bytes > max {
            return Err(CodeError::ZippedTooLarge(max));
        }
        digest.update(part);
        file.write_all(part)?;
    }
}

/// The size of the zip's content, in bytes.
fn judge(file: File, bytes: u64, limits: &FunctionLimits) -> Result<u64, CodeError> {
    let archive = Archive::of_file(
        file,
        &ArchiveLimits {
            archive_bytes: bytes,
            entries: MAX_ENTRIES,
            content_bytes: limits.unzipped_bytes.saturating_sub(1),
            // What the content may take is limited already.
            ratio: u64::MAX,
            name_bytes: MAX_NAME_BYTES,
        },
    );
    let archive = archive.map_err(|error| match error {
        ArchiveError::ContentTooLarge { .. } => CodeError::UnzippedTooLarge(limits.unzipped_bytes),
        other => CodeError::Refused(other),
    })?;
    if archive.entries() == 0 {
        return Err(CodeError::Empty);
    }
    archive.verify().map_err(CodeError::Refused)?;
    Ok(archive.content_bytes())
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        // Writing into a text does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}
