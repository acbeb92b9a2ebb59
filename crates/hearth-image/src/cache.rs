//! Layers of earlier builds, for each account on a disk of its own.
//!
//! ```text
//! <directory>/<account>/<set of bases>/1.qcow2     what the first build wrote to the empty disk
//!                                      2.qcow2     what a later one added, an overlay of the one before
//!                                      <name>.new  of a running build, before its layers are added
//!                                      <digest>.*  the result of a whole build (`results.rs`)
//! ```
//!
//! A build reads the newest disk and writes to an overlay of its own. Files are never written again. So builds of one
//! account can read the same files at the same time. The first build that ends adds its overlay, and the overlays of
//! the others are dropped. A build that is killed changes nothing. Code of the account wrote the disk, so it is
//! mounted only in builders of that account, and never on the host.
//!
//! A cache is emptied if it is too large, is too old, has too many overlays, or may have caused a build to fail.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, SystemTime};

mod results;

/// Longest chain of overlays: a read may have to look into each of them, and the VMM keeps each open.
const MAX_OVERLAYS: usize = 24;

/// Oldest cache. So `RUN apt-get update` is run again at least that often.
const MAX_AGE: Duration = Duration::from_hours(7 * 24);

const OVERLAY: &str = "qcow2";
const PENDING: &str = "new";

/// The caches of all accounts of a host. One process uses them.
#[derive(Debug)]
pub struct LayerCaches {
    directory: PathBuf,
    /// Limit of one account, in bytes; 0 keeps nothing.
    limit_bytes: u64,
    /// Accounts with a running build.
    in_use: Mutex<HashMap<String, Weak<()>>>,
}

/// The cache of an account, as one build uses it.
#[derive(Debug)]
pub struct Lease {
    caches: Arc<LayerCaches>,
    account: String,
    place: PathBuf,
    /// Overlays when the build began, the first at the bottom.
    overlays: Vec<PathBuf>,
    /// Shared by all running builds of the account.
    user: Arc<()>,
}

/// What happened to the layers of a build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// They were added: the next build finds them.
    Added,
    /// Another build of this account ended first.
    Overtaken,
    /// The cache would exceed its limit, and was emptied.
    TooLarge {
        /// Size that it would have, in bytes.
        bytes: u64,
    },
}

impl LayerCaches {
    /// Caches in `directory`, each of at most `limit_bytes`.
    pub fn new(directory: PathBuf, limit_bytes: u64) -> Self {
        Self {
            directory,
            limit_bytes,
            in_use: Mutex::default(),
        }
    }

    /// The cache of `account` (a plain word) on this set of bases, for one build. `None` if caches are off, or if the
    /// directory cannot be used, which is logged.
    pub fn lease(self: &Arc<Self>, account: &str, bases: &str) -> Option<Lease> {
        if self.limit_bytes == 0 {
            return None;
        }
        match self.try_lease(account, bases) {
            Ok(lease) => Some(lease),
            Err(error) => {
                tracing::warn!(account, %error, "building without the cache of layers");
                None
            }
        }
    }

    /// Disk space of each account's cache, in bytes.
    pub fn usage(&self) -> io::Result<Vec<(String, u64)>> {
        let mut usage = Vec::new();
        for account in entries(&self.directory)? {
            let mut bytes = 0;
            for set in entries(&account)? {
                bytes += taken(&entries(&set)?);
            }
            usage.push((name(&account), bytes));
        }
        usage.sort();
        Ok(usage)
    }

    fn try_lease(self: &Arc<Self>, account: &str, bases: &str) -> io::Result<Lease> {
        let mut in_use = self.users();
        let of_account = self.directory.join(account);
        let place = of_account.join(bases);
        let user = match in_use.get(account).and_then(Weak::upgrade) {
            Some(user) => user,
            None => {
                self.tidy(&of_account, &place)?;
                Arc::new(())
            }
        };
        fs::create_dir_all(&place)?;
        in_use.retain(|_, user| user.strong_count() > 0);
        in_use.insert(account.to_owned(), Arc::downgrade(&user));
        Ok(Lease {
            caches: Arc::clone(self),
            account: account.to_owned(),
            overlays: chain(&place),
            place,
            user,
        })
    }

    /// Called while the account has no running build. Removes what a crash left, layers of other sets, and a cache
    /// that has to be emptied.
    fn tidy(&self, of_account: &Path, place: &Path) -> io::Result<()> {
        for set in entries(of_account)? {
            if set != place {
                fs::remove_dir_all(set)?;
            }
        }
        for path in entries(place)?.iter().filter(|path| is_pending(path)) {
            fs::remove_file(path)?;
        }
        let overlays = chain(place);
        let is_old = overlays.first().is_some_and(|first| is_old(first));
        // The limit may have changed.
        if is_old || overlays.len() >= MAX_OVERLAYS || taken(&entries(place)?) > self.limit_bytes {
            fs::remove_dir_all(place)?;
        }
        Ok(())
    }

    fn users(&self) -> MutexGuard<'_, HashMap<String, Weak<()>>> {
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lease {
    /// The overlays, the top one first.
    pub(crate) fn overlays(&self) -> Vec<PathBuf> {
        self.overlays.iter().rev().cloned().collect()
    }

    /// Whether an earlier build left something.
    pub(crate) fn has_layers(&self) -> bool {
        !self.overlays.is_empty()
    }

    /// The path where the build of that name puts its overlay for [`Self::keep`].
    pub(crate) fn pending(&self, name: &str) -> PathBuf {
        self.place.join(format!("{name}.{PENDING}"))
    }

    /// Adds a pending overlay to the cache if [`Kept`] names no reason against it.
    pub(crate) fn keep(self, pending: &Path) -> io::Result<Kept> {
        let _users = self.caches.users();
        let next = self
            .place
            .join(format!("{}.{OVERLAY}", self.overlays.len() + 1));
        if chain(&self.place).len() != self.overlays.len() || next.exists() {
            fs::remove_file(pending)?;
            return Ok(Kept::Overtaken);
        }
        let bytes = taken(&self.overlays) + taken(&[pending.to_owned()]);
        // Results are removed before layers.
        self.make_room(
            self.caches
                .limit_bytes
                .saturating_sub(taken(&[pending.to_owned()])),
        )?;
        if bytes > self.caches.limit_bytes {
            fs::remove_file(pending)?;
            self.start_anew()?;
            return Ok(Kept::TooLarge { bytes });
        }
        fs::rename(pending, &next)?;
        File::open(&self.place)?.sync_all()?;
        Ok(Kept::Added)
    }

    /// Disk space of layers and results, in bytes.
    fn held(&self) -> io::Result<Vec<PathBuf>> {
        let mut held = entries(&self.place)?;
        held.retain(|path| !is_pending(path));
        Ok(held)
    }

    /// Forgets all layers, because they may have caused a build to fail. Returns the empty cache, or `None` if other
    /// builds of the account still use the layers.
    pub(crate) fn discard(self) -> Option<Self> {
        let users = self.caches.users();
        if let Err(error) = self.start_anew() {
            tracing::warn!(account = self.account, %error, "a cache of layers is not removed");
        }
        drop(users);
        let overlays = chain(&self.place);
        overlays.is_empty().then_some(Self { overlays, ..self })
    }

    /// Other builds of the account may be about to open the files. Then the last of them finds the same reason.
    fn start_anew(&self) -> io::Result<()> {
        if Arc::strong_count(&self.user) > 1 {
            return Ok(());
        }
        fs::remove_dir_all(&self.place)?;
        fs::create_dir_all(&self.place)
    }
}

/// The overlays in a directory, up to the first missing number.
fn chain(place: &Path) -> Vec<PathBuf> {
    (1..)
        .map(|number: usize| place.join(format!("{number}.{OVERLAY}")))
        .take_while(|path| path.exists())
        .collect()
}

/// Whether the file belongs to a build that is running or was killed.
fn is_pending(path: &Path) -> bool {
    path.extension() == Some(OsStr::new(PENDING))
}

fn is_old(path: &Path) -> bool {
    let written = path.metadata().and_then(|metadata| metadata.modified());
    // A clock that was set back makes no difference.
    written.is_ok_and(|at| {
        SystemTime::now()
            .duration_since(at)
            .is_ok_and(|age| age > MAX_AGE)
    })
}

/// Disk space of files without their holes. A missing file counts as zero.
fn taken(files: &[PathBuf]) -> u64 {
    let blocks = |file: &PathBuf| file.metadata().map_or(0, |metadata| metadata.blocks());
    files.iter().map(blocks).sum::<u64>() * 512
}

/// The entries of a directory; none if it does not exist.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
