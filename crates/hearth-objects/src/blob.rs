//! Files that hold the bytes of objects. Written once, then only read or removed.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// The directory of blobs.
#[derive(Debug)]
pub(crate) struct Blobs {
    directory: PathBuf,
}

/// A blob that nobody names yet. It is removed when dropped, unless it was given to the store.
#[derive(Debug)]
pub struct NewBlob {
    pub(crate) name: String,
    path: PathBuf,
    is_kept: bool,
}

impl NewBlob {
    /// Where its bytes are to be written. They must be synced before it is given to the store.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewBlob {
    fn drop(&mut self) {
        if !self.is_kept {
            // What cannot be removed now is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Blobs {
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
        })
    }

    pub(crate) fn create(&self) -> io::Result<NewBlob> {
        let name = Uuid::new_v4().simple().to_string();
        let path = self.path(&name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(NewBlob {
            name,
            path,
            is_kept: false,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let spread = name.get(..2).unwrap_or_default();
        self.directory.join(spread).join(name)
    }

    /// Removes blobs that the index has forgotten.
    pub(crate) fn remove(&self, names: impl IntoIterator<Item = String>) {
        for name in names {
            if let Err(error) = fs::remove_file(self.path(&name)) {
                tracing::warn!(%error, "a forgotten blob stays until the next start");
            }
        }
    }

    /// Removes every blob that is not named.
    pub(crate) fn retain(&self, named: &HashSet<String>) -> io::Result<()> {
        for spread in fs::read_dir(&self.directory)? {
            for blob in fs::read_dir(spread?.path())? {
                let blob = blob?;
                let is_named = blob
                    .file_name()
                    .to_str()
                    .is_some_and(|name| named.contains(name));
                if !is_named {
                    fs::remove_file(blob.path())?;
                }
            }
        }
        Ok(())
    }
}
