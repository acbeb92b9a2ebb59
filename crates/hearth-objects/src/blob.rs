//! Blobs: files with the bytes of objects. Written once, then only read or removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use uuid::Uuid;

use crate::error::ObjectError;
use crate::quota::{Arriving, ArrivingShare};

/// How many digits of a blob's name give its directory.
const SPREAD_DIGITS: usize = 2;

/// The directory of blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
    /// Read-locked by those who look up a blob and have not opened it yet.
    openings: RwLock<()>,
    arriving: Arc<Arriving>,
}

/// A blob that the index does not refer to yet. Dropping it removes the file, unless it was given to the store.
#[derive(Debug)]
pub struct NewBlob {
    pub(crate) name: String,
    path: PathBuf,
    is_kept: bool,
    share: ArrivingShare,
}

impl NewBlob {
    /// The file to write the bytes to. It must be synced before the blob is given to the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reserves bytes of the account's quota before they are written.
    ///
    /// # Errors
    ///
    /// [`ObjectError::AccountFull`].
    pub fn take(&mut self, bytes: u64) -> Result<(), ObjectError> {
        self.share.take(bytes)
    }

    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if !self.is_kept {
            // A file that cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Blobs {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            openings: RwLock::default(),
            arriving: Arc::default(),
        })
    }

    /// Runs something that looks up blobs in the index and opens them. None of them is removed meanwhile.
    pub(crate) fn while_opening<T>(&self, open: impl FnOnce() -> T) -> T {
        let _opening = self.openings.read().unwrap_or_else(PoisonError::into_inner);
        open()
    }

    /// Creates a blob for an account that has `room_bytes` of its quota left.
    pub(crate) fn create(&self, account: &str, room_bytes: u64) -> io::Result<NewBlob> {
        let name = Uuid::new_v4().simple().to_string();
        let path = self.path(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(NewBlob {
            name,
            path,
            is_kept: false,
            share: self.arriving.share(account, room_bytes),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let spread = name.get(..SPREAD_DIGITS).unwrap_or_default();
        self.directory.join(spread).join(name)
    }

    /// Removes blobs that the index no longer refers to. Call it after the commit that removed the last reference.
    pub(crate) fn remove(&self, names: impl IntoIterator<Item = String>) {
        let mut names = names.into_iter().peekable();
        if names.peek().is_none() {
            return;
        }
        // A reader that looked up one of them before that commit has opened it once this lock is free. A later reader
        // does not find it.
        drop(
            self.openings
                .write()
                .unwrap_or_else(PoisonError::into_inner),
        );
        for name in names {
            if let Err(error) = fs::remove_file(self.path(&name)) {
                tracing::warn!(%error, "a forgotten blob stays until the next start");
            }
        }
    }

    /// Removes every blob that the index does not refer to. Files that the store did not write are left alone or set
    /// aside. What cannot be read or removed does not fail the start. Both are logged.
    pub(crate) fn remove_others(
        &self,
        mut is_named: impl FnMut(&str) -> Result<bool, ObjectError>,
    ) -> Result<(), ObjectError> {
        for spread in fs::read_dir(&self.directory)? {
            let spread = spread?.path();
            let blobs = match fs::read_dir(&spread) {
                Ok(blobs) => blobs,
                Err(error) => {
                    tracing::warn!(path = %spread.display(), %error, "no directory of blobs");
                    set_aside(&spread);
                    continue;
                }
            };
            for blob in blobs.flatten() {
                let blob = blob.path();
                match own_name(&blob) {
                    None => {
                        tracing::warn!(path = %blob.display(), "no blob of this store; it is left alone");
                    }
                    Some(name) if is_named(name)? => {}
                    Some(_) => {
                        if let Err(error) = fs::remove_file(&blob) {
                            tracing::warn!(path = %blob.display(), %error, "an unnamed blob stays until the next start");
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Renames a file that is in the place of a blob directory. Other stray files do no harm.
fn set_aside(path: &Path) {
    let name = path.file_name().and_then(|name| name.to_str());
    let is_in_the_way = |name: &&str| {
        name.len() == SPREAD_DIGITS && name.bytes().all(|digit| digit.is_ascii_hexdigit())
    };
    if let Some(name) = name.filter(is_in_the_way)
        && path.is_file()
        && let Err(error) = fs::rename(path, path.with_file_name(format!("stray-{name}")))
    {
        tracing::warn!(path = %path.display(), %error, "a stray file cannot be set aside; some objects cannot be written");
    }
}

/// The name of the blob at a path, if it has the form that [`Blobs::create`] gives.
fn own_name(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    let is_own = name.len() == 32 && Uuid::try_parse(name).is_ok();
    is_own.then_some(name)
}
